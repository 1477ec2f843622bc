"""A folder of videos that somebody named after clips: which file belongs to which clip, and which to none."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path, PurePosixPath

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})


def video_files(root: Path) -> Iterator[str]:
    """Relative paths of the videos below a folder; hidden ones are passed over, links to folders not followed."""
    for folder, subfolders, files in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".")]
        for name in files:
            path = Path(folder, name)
            if not name.startswith(".") and path.suffix.lower() in VIDEO_SUFFIXES:
                yield path.relative_to(root).as_posix()


class VideoFolder:
    """`<clip id>.mp4` or, flat, `<clip id with / replaced by _>.mp4`; any kind of video. Its list is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, clip_id: str) -> Path:
        """The video of a clip. Raises ClipError `missing`, and `ambiguous` where two files have its name."""
        names = self._named(clip_id)
        if not names:
            flat = clip_id.replace("/", "_")
            also = f" nor {flat}" if flat != clip_id else ""
            raise ClipError("missing", f"{clip_id}: no video named {clip_id}{also} in {self.root}; add it")
        if len(names) > 1:
            raise ClipError(
                "ambiguous",
                f"{clip_id}: {' and '.join(names)} in {self.root} are both named after it; move all but one away",
            )
        return self.root / names[0]

    def unclaimed(self, clip_ids: Iterable[str]) -> tuple[Caveat, ...]:
        """What to say of the videos that belong to none of these clips; nothing where there are none."""
        claimed = {name for clip_id in clip_ids for name in self._named(clip_id)}
        left = sorted({name for names in self._by_name.values() for name in names} - claimed)
        if not left:
            return ()
        many = "1 video belongs" if len(left) == 1 else f"{len(left)} videos belong"
        told = f"{many} to no clip and took no part (first: {left[0]})"
        return (Caveat("unclaimed-videos", told),)

    def _named(self, clip_id: str) -> list[str]:
        found = [name for key in (clip_id, clip_id.replace("/", "_")) for name in self._by_name.get(key, ())]
        return sorted(dict.fromkeys(found))

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Name without and with its suffix -> the files; a data set's ids keep the suffix where two differ in it."""
        found: dict[str, list[str]] = {}
        for name in video_files(self.root):
            for key in (str(PurePosixPath(name).with_suffix("")), name):
                found.setdefault(key, []).append(name)
        return found
