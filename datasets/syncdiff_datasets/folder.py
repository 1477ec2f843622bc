"""Any tree of video files, with or without transcripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from syncdiff_bench.contracts import Finding
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.video_folder import VIDEO_SUFFIXES, video_files
from syncdiff_datasets.on_disk import DatasetOnDisk, contained
from syncdiff_datasets.verification import Promise, check_count


class Folder(DatasetOnDisk):
    """Every video file below `root` is the split `all`; `test` means the same, unless there are folders for splits.

    Where `root` holds a folder `train`, the folders `train`, `val` and `test` are splits of what lies below them.
    Ids are paths relative to `root` without extension, sorted; where two files differ only in extension, both
    ids keep it. Transcript: the `.txt` beside the video, plain words or LRS sections, lower-cased. Speaker:
    not known. Hidden files and folders are passed over, and links to folders are not followed; a link to a
    file outside `root` is listed and refused.
    """

    name: ClassVar[str] = "folder"
    title: ClassVar[str] = "a folder of videos"
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
            raise UsageError(f"{folder}: no video file here or below ({kinds}); give another folder with --data-root")
        return ids

    def media_path(self, clip_id: str) -> Path:
        if clip_id not in self._relative_paths:
            raise ClipError("missing", f"{clip_id}: no video file of that name below {self.home}; copy it there")
        return contained(self.home, self._relative_paths[clip_id])

    def speaker(self, clip_id: str) -> str | None:
        return None

    def check_split(self, split: str, ids: tuple[str, ...]) -> Iterator[Finding]:
        yield check_count(str(self.home), len(ids), None)
        silent = sum(
            1 for path in self._relative_paths.values() if not (self.home / path).with_suffix(".txt").is_file()
        )
        if silent:
            yield Finding(
                "note",
                str(self.home),
                f"{silent} of {len(ids)} clips have no .txt beside them: no word error rate",
            )

    @cached_property
    def _relative_paths(self) -> dict[str, str]:
        """id -> path of the file relative to the root, sorted by id."""
        paths = sorted(video_files(self.home))
        stems = Counter(_stem(path) for path in paths)
        ids = {path if stems[_stem(path)] > 1 else _stem(path): path for path in paths}
        return dict(sorted(ids.items()))


def _stem(path: str) -> str:
    return path[: -len(Path(path).suffix)]
