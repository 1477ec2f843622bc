"""LRS2 (BBC) and LRS3-TED as their authors ship them (docs/spec/layouts.md).

LRS2: `mvlrs_v1/{main,pretrain}/<id>/<clip>.mp4` and its split lists.
LRS3: `{pretrain,trainval,test}/<YouTube id>/<clip>.mp4`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from syncdiff_bench.contracts import Finding
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import read_text_file
from syncdiff_bench.listing import Listing, Oddity, composed, listing
from syncdiff_bench.normalisation import TextRule
from syncdiff_datasets.on_disk import (
    DatasetOnDisk,
    contained,
    examples,
    list_lines,
    safe_relative,
)
from syncdiff_datasets.verification import Promise, check_count

# TalkLip calls the validation list valid.txt.
SPLIT_LISTS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "pretrain": ("pretrain.txt",),
        "train": ("train.txt",),
        "val": ("val.txt", "valid.txt"),
        "test": ("test.txt",),
    }
)
PRETRAIN = "pretrain"


class LRS2(DatasetOnDisk):
    """LRS2 as it comes from the BBC; `root` is `mvlrs_v1`, a parent of it, or any folder that holds `main/`.

    Ids are those of the lists (`<id>/<clip>`), with `pretrain/` before those of the pretrain split, because
    the same `<id>/<clip>` exists in both folders. Speaker: the `<id>`, which is one broadcast.

    To embed a dataset of the same layout, subclass it with another `name`, `title` and `published`, and
    override `locate`; `lists`: split -> the names that its list may have.
    """

    name: ClassVar[str] = "lrs2"
    title: ClassVar[str] = "LRS2"
    folder_names: ClassVar[tuple[str, ...]] = ("mvlrs_v1", "lrs2-bbc")
    text_rule: ClassVar[TextRule] = "official"
    markers: ClassVar[tuple[str, ...]] = ("main", PRETRAIN)
    promise: ClassVar[Promise] = Promise(side=160)
    published: ClassVar[Mapping[str, int]] = MappingProxyType({"train": 45_839, "val": 1_082, "test": 1_243})
    lists: ClassVar[Mapping[str, Sequence[str]]] = SPLIT_LISTS

    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in self.lists if self._list_file(split) is not None)

    def clip_ids(self, split: str) -> tuple[str, ...]:
        path = self._required_list(split)
        prefix = f"{PRETRAIN}/" if split == PRETRAIN else ""
        listed = [prefix + safe_relative(line, f"{path} line {number}") for number, line in list_lines(path)]
        if not listed:
            raise UsageError(f"{path}: the list of split '{split}' names no clip; download it again")
        return tuple(dict.fromkeys(listed))

    def media_path(self, clip_id: str) -> Path:
        relative = safe_relative(clip_id, f"{self.name} clip id")
        folder = self.home / "main"
        if relative.startswith(f"{PRETRAIN}/"):
            folder, relative = self.home / PRETRAIN, relative.removeprefix(f"{PRETRAIN}/")
        return contained(folder, f"{relative}.mp4")

    def speaker(self, clip_id: str) -> str | None:
        return clip_id.removeprefix(f"{PRETRAIN}/").split("/")[0]

    def check_split(self, split: str, ids: tuple[str, ...]) -> Iterator[Finding]:
        path = self._required_list(split)
        yield check_count(path.name, len(ids), self.published.get(split))
        if note := read_text_file(path).note:
            yield Finding("note", path.name, note)
        again = sum(1 for _ in list_lines(path)) - len(ids)
        if again:
            yield Finding("note", path.name, f"{again} lines name a clip a second time; each clip counts once")

    def _list_folders(self) -> list[Path]:
        """Where lists may lie: beside `main/`, in the folder that the user gave, one level higher."""
        given = [] if self.root is None else [self.root]
        return list(dict.fromkeys([self.home, *given, self.home.parent]))

    def _list_file(self, split: str) -> Path | None:
        candidates = (folder / name for folder in self._list_folders() for name in self.lists[split])
        return next((path for path in candidates if path.is_file()), None)

    def _required_list(self, split: str) -> Path:
        self.check_known(split, self.lists)
        path = self._list_file(split)
        if path is None:
            names = " or ".join(self.lists[split])
            folders = ", ".join(str(folder) for folder in self._list_folders())
            there = ", ".join(self.splits()) or "none"
            raise UsageError(
                f"no list {names} for split '{split}' in {folders} (splits found: {there}); put the list beside main/"
            )
        return path


SPLITS = ("pretrain", "trainval", "test")


class LRS3(DatasetOnDisk):
    """LRS3 as its authors ship it; `root` is the folder that holds the splits, or up to two levels above it.

    Ids are `<split>/<YouTube id>/<clip>`, sorted. Speaker: the YouTube id, which is one talk.
    """

    name: ClassVar[str] = "lrs3"
    title: ClassVar[str] = "LRS3-TED"
    folder_names: ClassVar[tuple[str, ...]] = ("lrs3-ted",)
    text_rule: ClassVar[TextRule] = "official"
    markers: ClassVar[tuple[str, ...]] = SPLITS
    promise: ClassVar[Promise] = Promise(side=224)
    published: ClassVar[Mapping[str, int]] = MappingProxyType({"test": 1_321})

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

    def oddities(self, split: str) -> Sequence[Oddity]:
        return self._listed(split).odd

    def _ids_of(self, split: str, suffix: str) -> tuple[str, ...]:
        files = (os.path.splitext(path) for path in self._listed(split).files if path.count("/") == 1)  # noqa: PTH122
        return tuple(sorted({f"{split}/{composed(name)}" for name, its in files if its.lower() == suffix}))

    def _listed(self, split: str) -> Listing:
        """Videos and transcripts of a split, looked for once. Raises UsageError for a split without a folder."""
        self.check_known(split, SPLITS)
        folder = self.home / split
        if not folder.is_dir():
            there = ", ".join(self.splits()) or "none"
            raise UsageError(f"{folder}: no folder for split '{split}' (splits found: {there}); unpack it there")
        if split not in self._listings:
            self._listings[split] = listing(folder, {".mp4", ".txt"})
        return self._listings[split]

    @cached_property
    def _listings(self) -> dict[str, Listing]:
        return {}
