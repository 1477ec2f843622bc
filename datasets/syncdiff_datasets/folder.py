"""Any tree of video files, with or without transcripts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from syncdiff_bench.contracts import Finding
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.listing import Oddity, composed, listing
from syncdiff_bench.media.video_folder import VIDEO_SUFFIXES
from syncdiff_datasets.on_disk import DatasetOnDisk, contained
from syncdiff_datasets.transcripts import beside
from syncdiff_datasets.verification import Promise, check_count


class Folder(DatasetOnDisk):
    """Every video file below `root` is the split `all`; `test` means the same, unless there are folders for splits.

    Where `root` holds a folder `train`, the folders `train`, `val` and `test` are splits of what lies below them.
    Ids are paths relative to `root` without extension, composed (NFC), sorted; where two files differ only in
    extension, both ids keep it. Transcript: the `.txt` beside the video, plain words or LRS sections, lower-cased.
    Speaker: not known. Hidden files and folders are passed over; what else is no clip is told (`odd_files`): links to
    folders, links out of `root`, and whatever is no regular file.
    """

    name: ClassVar[str] = "folder"
    title: ClassVar[str] = "a folder of videos"
    any_folder: ClassVar[bool] = True
    promise: ClassVar[Promise] = Promise(strict=False, transcripts=False, plain=True)

    def splits(self) -> tuple[str, ...]:
        if not (self.home / "train").is_dir():
            return ("all", "test")
        return ("all", *(split for split in ("train", "val", "test") if (self.home / split).is_dir()))

    def clip_ids(self, split: str) -> tuple[str, ...]:
        self.check_known(split, self.splits())
        whole = split == "all" or not (self.home / "train").is_dir()
        ids = tuple(clip_id for clip_id in self._relative_paths if whole or clip_id.startswith(f"{split}/"))
        if not ids:
            folder, kinds = self.home if whole else self.home / split, " ".join(sorted(VIDEO_SUFFIXES))
            odd = "".join(f"; {one}" for one in self.oddities(split)[:1])
            mend = "give another folder with --data-root"
            raise UsageError(f"{folder}: no video file here or below ({kinds}){odd}; {mend}")
        return ids

    def oddities(self, split: str) -> Sequence[Oddity]:
        whole = split == "all" or not (self.home / "train").is_dir()
        return [one for one in self._listed[1] if whole or one.name.startswith(f"{split}/")]

    def media_path(self, clip_id: str) -> Path:
        path = self._relative_paths.get(composed(clip_id))
        if path is None:
            raise ClipError("missing", f"{clip_id}: no video file of that name below {self.home}; copy it there")
        return contained(self.home, path)

    def speaker(self, clip_id: str) -> str | None:
        return None

    def check_split(self, split: str, ids: tuple[str, ...]) -> Iterator[Finding]:
        yield check_count(str(self.home), len(ids), None)
        silent = sum(
            1 for path in self._relative_paths.values() if not os.path.lexists(beside(self.home / path, ".txt"))
        )
        if silent:
            yield Finding(
                "note",
                str(self.home),
                f"{silent} of {len(ids)} clips have no .txt beside them: no word error rate",
            )

    @property
    def _relative_paths(self) -> dict[str, str]:
        return self._listed[0]

    @cached_property
    def _listed(self) -> tuple[dict[str, str], list[Oddity]]:
        """id -> path of the file relative to the root, sorted by id; and what stands for no clip."""
        found = listing(self.home, VIDEO_SUFFIXES)
        stems = Counter(composed(_stem(path)) for path in found.files)
        whole = {composed(path) for path in found.files if stems[composed(_stem(path))] > 1}
        paths: dict[str, list[str]] = {}
        for path in found.files:
            stem = composed(_stem(path))
            paths.setdefault(composed(path) if stems[stem] > 1 or stem in whole else stem, []).append(path)
        twice = [
            Oddity(path, f"is one of {len(same)} files of this name, their letters composed otherwise; rename one")
            for same in paths.values()
            for path in same
            if len(same) > 1
        ]
        ids = {clip_id: same[0] for clip_id, same in sorted(paths.items()) if len(same) == 1}
        return ids, [*found.odd, *twice]


def _stem(path: str) -> str:
    return path[: -len(Path(path).suffix)]
