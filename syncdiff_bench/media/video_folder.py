"""A folder of videos that somebody named after clips: which file belongs to which clip, and which to none."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError
from syncdiff_bench.listing import Listing, composed, listing

VIDEO_SUFFIXES = frozenset({".mp4", ".avi", ".mov", ".mkv", ".webm", ".mpg", ".mpeg", ".m4v"})
SHOWN_ODD = 10
ODD_FILES = "odd-files"  # the caveat


class VideoFolder:
    """`<clip id>.mp4` or, flat, `<clip id with / replaced by _>.mp4`; any kind of video. Its list is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find(self, clip_id: str) -> Path:
        """The video of a clip. Raises ClipError `missing`, and `ambiguous` where two files have its name."""
        names = self._named(clip_id)
        if not names:
            flat = flattened(clip_id)
            also = f" nor {flat}" if flat != clip_id else ""
            odd = "".join(f" ({one})" for one in self._listing.odd if _stem(one.name) in (clip_id, flat))
            raise ClipError("missing", f"{clip_id}: no video named {clip_id}{also} in {self.root}{odd}; add it")
        if len(names) > 1:
            raise ClipError(
                "ambiguous",
                f"{clip_id}: {' and '.join(names)} in {self.root} are both named after it; move all but one away",
            )
        return self.root / names[0]

    def find_all(self, clip_ids: Iterable[str]) -> dict[str, Path | ClipError]:
        """The video of each clip, or why it has none: as `find`, and `ambiguous` where two clips share one file."""
        found: dict[str, Path | ClipError] = {}
        owners: dict[Path, list[str]] = {}
        for clip_id in clip_ids:
            try:
                found[clip_id] = path = self.find(clip_id)
                owners.setdefault(path, []).append(clip_id)
            except ClipError as error:
                found[clip_id] = error
        for path, ids in owners.items():
            for clip_id in ids if len(ids) > 1 else ():
                told = f"{clip_id}: {path} may be of {' or of '.join(ids)}; put it into a folder as the id has it"
                found[clip_id] = ClipError("ambiguous", told)
        return found

    def unclaimed(self, clip_ids: Iterable[str]) -> tuple[Caveat, ...]:
        """What to say of the videos that belong to none of these clips, and of names that are no videos."""
        claimed = {name for clip_id in clip_ids for name in self._named(clip_id)}
        left = sorted(set(self._listing.files) - claimed)
        odd = odd_files_caveats(tuple(map(str, self._listing.odd)))
        if not left:
            return odd
        many = "1 video belongs" if len(left) == 1 else f"{len(left)} videos belong"
        told = f"{many} to no clip and took no part (first: {left[0]})"
        return (Caveat("unclaimed-videos", told), *odd)

    def _named(self, clip_id: str) -> list[str]:
        keys = (composed(clip_id), composed(flattened(clip_id)))
        return sorted({name for key in keys for name in self._by_name.get(key, ())})

    @cached_property
    def _listing(self) -> Listing:
        return listing(self.root, VIDEO_SUFFIXES)

    @cached_property
    def _by_name(self) -> dict[str, list[str]]:
        """Name without and with its suffix -> the files; a data set's ids keep the suffix where two differ in it."""
        found: dict[str, list[str]] = {}
        for name in self._listing.files:
            for key in (_stem(name), name):
                found.setdefault(composed(key), []).append(name)
        return found


def odd_files_caveats(told: Sequence[str]) -> tuple[Caveat, ...]:
    """What a run says of names that look like clips and are none; told: each with why. Nothing where there are none."""
    if not told:
        return ()
    many = "1 name is no clip" if len(told) == 1 else f"{len(told)} names are no clips"
    more = f" and {len(told) - SHOWN_ODD:,} more" if len(told) > SHOWN_ODD else ""
    return (Caveat(ODD_FILES, f"{many} and took no part: {', '.join(told[:SHOWN_ODD])}{more}"),)


def flattened(clip_id: str) -> str:
    """The id as the name of a file in a folder without folders."""
    return clip_id.replace("/", "_")


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))
