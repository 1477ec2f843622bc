"""LRS3-TED: `{pretrain,trainval,test}/<YouTube id>/<clip>.mp4` (docs/spec/layouts.md#lrs3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from syncdiff_bench.contracts import Finding
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.normalisation import TextRule
from syncdiff_datasets.layout import contained, examples, find_layout, required_root, safe_relative
from syncdiff_datasets.on_disk import DatasetOnDisk
from syncdiff_datasets.verification import Promise, check_count

SPLITS = ("pretrain", "trainval", "test")


class LRS3(DatasetOnDisk):
    """LRS3 as its authors ship it; `root` is the folder that holds the splits, or up to two levels above it.

    Ids are `<split>/<YouTube id>/<clip>`, sorted. Speaker: the YouTube id, which is one talk.
    """

    name: ClassVar[str] = "lrs3"
    title: ClassVar[str] = "LRS3-TED"
    text_rule: ClassVar[TextRule] = "official"
    promise: ClassVar[Promise] = Promise(side=224)
    published: ClassVar[Mapping[str, int]] = MappingProxyType({"test": 1_321})

    def locate(self) -> Path:
        """The folder that holds the splits. Raises UsageError where there is none."""
        return find_layout(required_root(self.root, self.name), SPLITS, self.name)

    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in SPLITS if (self.home / split).is_dir())

    def clip_ids(self, split: str) -> tuple[str, ...]:
        ids = self._ids_of(split, ".mp4")
        if not ids:
            wanted = f"{self.home / split}/<YouTube id>/<clip>.mp4"
            raise UsageError(f"split '{split}' of {self.name} is empty: there is no {wanted}; unpack it there")
        return ids

    def media_path(self, clip_id: str) -> Path:
        split, _, rest = safe_relative(clip_id, f"{self.name} clip id").partition("/")
        if split not in SPLITS:
            raise ClipError("missing", f"{clip_id}: an id of {self.name} starts with one of: {', '.join(SPLITS)}")
        return contained(self.home / split, f"{rest}.mp4")

    def speaker(self, clip_id: str) -> str | None:
        return clip_id.split("/")[1]

    def check_split(self, split: str, ids: tuple[str, ...]) -> Iterator[Finding]:
        yield check_count(f"{split}/", len(ids), self.published.get(split))
        orphans = sorted(set(self._ids_of(split, ".txt")) - set(ids))
        if orphans:
            yield Finding("error", f"{split}/", f"{len(orphans)} transcript(s) without an mp4: {examples(orphans)}")

    def _ids_of(self, split: str, suffix: str) -> tuple[str, ...]:
        if split not in SPLITS:
            raise UsageError(f"{self.name} has no split '{split}'; choose one of: {', '.join(SPLITS)}")
        folder = self.home / split
        if not folder.is_dir():
            there = ", ".join(self.splits()) or "none"
            raise UsageError(f"{folder}: no folder for split '{split}' (splits found: {there}); unpack it there")
        files = (path for path in folder.glob(f"*/*{suffix}") if not path.name.startswith("."))
        return tuple(sorted(f"{split}/{path.parent.name}/{path.stem}" for path in files))
