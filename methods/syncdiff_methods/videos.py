"""`videos`: a folder of mp4s that somebody else's program made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.contracts import Clip, Frames, Method
from syncdiff_bench.errors import ClipError, UsageError


@dataclass(frozen=True)
class VideosOptions:
    """folder: holds `<clip id>.mp4` or, where it is flat, `<clip id with / replaced by _>.mp4`."""

    folder: Path


class Videos(Method):
    """Yields the frames of `<folder>/<clip id>.mp4`, as many and as large as the clip's."""

    name = "videos"
    title = "Given videos"
    Options = VideosOptions

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        """Raises UsageError for a missing folder, ClipError for a video that is missing or does not fit."""
        from syncdiff_bench.media.reading import read_media

        del seed
        folder: Path = self.options.folder
        if not folder.is_dir():
            raise UsageError(f"videos: {folder} is not a folder; give --set folder=DIR with <clip id>.mp4 files")
        for clip in clips:
            path = find_video(folder, clip.id)
            frames = read_media(path).frames
            _check_fit(path, frames, clip.frames)
            progress(len(frames))
            yield clip.id, frames


def find_video(folder: Path, clip_id: str) -> Path:
    """Raises ClipError `missing` naming both places where the video may lie."""
    nested, flat = folder / f"{clip_id}.mp4", folder / f"{clip_id.replace('/', '_')}.mp4"
    for path in (nested, flat):
        if path.is_file():
            return path
    places = f"{nested}" if nested == flat else f"neither {nested} nor {flat}"
    verb = "does not exist" if nested == flat else "exists"
    raise ClipError("missing", f"{places} {verb}; generate the clip into --set folder")


def _check_fit(path: Path, frames: Frames, wanted: Frames) -> None:
    if len(frames) != len(wanted):
        raise ClipError(
            "length",
            f"{path}: {len(frames)} frames at 25 fps, the clip has {len(wanted)}; make one per clip frame",
        )
    if frames.shape != wanted.shape:
        size, expected = (f"{f.shape[2]}x{f.shape[1]}" for f in (frames, wanted))
        raise ClipError(
            "size",
            f"{path}: frames are {size}, the clip's are {expected}; paste the face back and keep the size",
        )
