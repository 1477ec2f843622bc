"""Data sets that show another's clips otherwise, and the option that every data set gets for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import make_dataclass
from typing import Any

from syncdiff_bench.contracts import Clip, Dataset, Finding
from syncdiff_bench.options import option_names


class DatasetView(Dataset):
    """The clips of another data set, which it is in all that a subclass does not change.

    of: the data set that is shown. options: those of `of` and the view's own.
    """

    def __init__(self, of: Dataset, options: Any) -> None:
        super().__init__(of.root, options)
        self.of = of
        for fact in ("name", "default_split", "default_metrics", "text_rule", "drawn_faces"):
            setattr(self, fact, getattr(of, fact))

    def splits(self) -> tuple[str, ...]:
        return self.of.splits()

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return self.of.clip_ids(split)

    def clip(self, clip_id: str) -> Clip:
        return self.of.clip(clip_id)

    def fingerprint(self, split: str) -> str:
        return self.of.fingerprint(split)

    def verify(self, split: str) -> Iterator[Finding]:
        return self.of.verify(split)

    def prepare(self, split: str, workers: int) -> Iterator[tuple[int, int]]:
        return self.of.prepare(split, workers)


def with_option(options: type[Any], name: str, kind: Any, default: Any) -> type[Any]:
    """A data set's Options class with one field more; one that has a field of that name keeps its own."""
    if name in option_names(options):
        return options
    frozen = options.__dataclass_params__.frozen
    return make_dataclass(options.__name__, [(name, kind, default)], bases=(options,), frozen=frozen)
