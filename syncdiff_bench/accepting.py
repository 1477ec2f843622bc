"""Damaged files as far as they go: `accept_damaged=true` makes such a data set out of any other.

What was damaged is a caveat of the clip; without the option the clip fails.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import make_dataclass, replace
from typing import Any

from syncdiff_bench.contracts import Clip, Dataset, Finding, take_after
from syncdiff_bench.options import option_names

OPTION = "accept_damaged"


def with_acceptance(options: type[Any]) -> type[Any]:
    """A data set's Options class with the field `accept_damaged` added; one that has such a field keeps its own."""
    if OPTION in option_names(options):
        return options
    frozen = options.__dataclass_params__.frozen
    return make_dataclass(options.__name__, [(OPTION, bool, False)], bases=(options,), frozen=frozen)


class AcceptingDataset(Dataset):
    """The clips of a data set, each with `accept_damaged`. `verify` still says what is damaged."""

    def __init__(self, of: Dataset, options: Any) -> None:
        super().__init__(of.root, options)
        self.of = of
        self.name = of.name  # type: ignore[misc]
        take_after(self, of)

    def splits(self) -> tuple[str, ...]:
        return self.of.splits()

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return self.of.clip_ids(split)

    def clip(self, clip_id: str) -> Clip:
        return replace(self.of.clip(clip_id), accept_damaged=True)

    def fingerprint(self, split: str) -> str:
        return self.of.fingerprint(split)

    def verify(self, split: str) -> Iterator[Finding]:
        return self.of.verify(split)

    def prepare(self, split: str, workers: int) -> Iterator[tuple[int, int]]:
        return self.of.prepare(split, workers)
