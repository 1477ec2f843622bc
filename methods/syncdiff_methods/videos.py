"""`videos`: a folder of videos that another program made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames, Method, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.listing import is_folder
from syncdiff_bench.media.fitting import read_fitted
from syncdiff_bench.media.video_folder import VideoFolder


@dataclass(frozen=True)
class VideosOptions:
    """folder: holds `<clip id>.mp4` or, where it is flat, `<clip id with / replaced by _>.mp4`; .mkv, .avi, ... too."""

    folder: Path


class Videos(Method):
    """Yields the frames of `<folder>/<clip id>.mp4`, brought to those of the clip (`media.fitting.read_fitted`)."""

    name = "videos"
    any_threads = True
    title = "Given videos"
    Options = VideosOptions
    options: VideosOptions

    def __init__(self, options: Any = None, runtime: Runtime | None = None) -> None:
        super().__init__(options, runtime)
        self._caveats: dict[str, tuple[Caveat, ...]] = {}

    @cached_property
    def _folder(self) -> VideoFolder:
        folder = self.options.folder
        if not is_folder(folder):
            raise UsageError(f"videos: {folder} is not a folder; give --set folder=DIR with <clip id>.mp4 files")
        return VideoFolder(folder)

    def given_videos(self) -> VideoFolder:
        """Raises UsageError for a missing folder."""
        return self._folder

    def caveats(self, clip_id: str) -> tuple[Caveat, ...]:
        return self._caveats.get(clip_id, ())

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """Raises UsageError for a missing folder. A video that is missing or does not fit is a ClipError."""
        del seed
        for clip in clips:
            try:
                media = read_fitted(self._folder.find(clip.id), clip)
            except ClipError as error:
                yield clip.id, error
                continue
            self._caveats[clip.id] = media.caveats
            progress(len(media.frames))
            yield clip.id, media.frames
