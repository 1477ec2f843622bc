"""What a program left behind: the one video, brought to the frames of the clip."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.fitting import LENGTH, read_fitted


def only_video(folder: Path, pattern: str, clip_id: str) -> Path | None:
    """The file that matches, None where none does. Raises ClipError `two-outputs` for several."""
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:4])
        raise ClipError("two-outputs", f"{clip_id}: {len(found)} videos came out ({names}), expected one {pattern}")
    return found[0] if found else None


def read_result(path: Path, clip: Clip) -> tuple[Frames, tuple[Caveat, ...]]:
    """Frames that fit the clip, and what a reader should know of how they were made to.

    Raises ClipError of the kinds of `media.fitting.read_fitted`.
    """
    try:
        media = read_fitted(path, _as_shown(clip))
    except ClipError as error:
        # The file is gone once this is read.
        told = str(error).replace(str(path), path.name)
        does_not = "does not fit" if error.kind in (LENGTH, "size") else "cannot be read"
        raise ClipError(error.kind, f"{clip.id}: what came out {does_not} ({told})") from None
    return media.frames, tuple(replace(one, detail=f"output: {one.detail}") for one in media.caveats)


def _as_shown(clip: Clip) -> Clip:
    """The clip as the program saw it, at 25 frames per second: how many pictures its file has, nobody told it."""
    return replace(clip, audio_from=None, preloaded=replace(clip.media, source_frames=None, source_rate=None))
