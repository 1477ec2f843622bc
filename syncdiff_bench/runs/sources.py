"""Where the videos to score come from: this run's own, or a folder that somebody else filled."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from syncdiff_bench.contracts import Clip, Dataset
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.boxes import GIVEN
from syncdiff_bench.media.fitting import LENGTH, read_fitted
from syncdiff_bench.media.video_folder import VideoFolder
from syncdiff_bench.runs.aligning import is_aligned
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.generating import decoding, open_clip, record, unfinished_clips
from syncdiff_bench.runs.records import NOT_GENERATED, Failure, Generated


class VideoSource(Protocol):
    """What scoring needs to know about the videos.

    no_reference: why a pair has no reference, where it has none.
    records: what is known of the videos, by clip; of one that was never opened there is nothing.
    """

    no_reference: str
    records: dict[str, Generated]

    def failure(self, clip_id: str) -> Failure | None:
        """Why there is no video of this clip, None where there is one."""

    def sha256(self, clip_id: str) -> str | None:
        """Of the video of a clip, None where there is none to score, or where that is not known."""

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        """(generated, reference or None) of the same length, each decoded at most once. Raises ClipError."""


class GeneratedVideos:
    """The videos of a run directory; the reference is the dataset's clip.

    A video that is not the one that was generated fails its clip.
    Raises UsageError where clips were not generated yet.
    """

    no_reference = "the sound is another clip's (pairs), so that no video shows what should be seen"

    def __init__(self, run: RunDirectory, dataset: Dataset) -> None:
        self.run = run
        self.dataset = dataset
        _, self.records = run.generation_journal()
        self._changed = set(unfinished_clips(run, self.records))
        missing = [clip_id for clip_id in run.identity.clips if clip_id in self._changed and self._missing(clip_id)]
        if missing:
            raise UsageError(
                f"{run.path}: {len(missing)} of {len(run.identity.clips)} clips are not generated yet "
                f"(first: {missing[0]}); run `syncdiff-bench generate` with the same options first"
            )

    def _missing(self, clip_id: str) -> bool:
        return clip_id not in self.records or not self.run.video_path(clip_id).exists()

    def failure(self, clip_id: str) -> Failure | None:
        if clip_id in self._changed:
            path = self.run.video_path(clip_id)
            return Failure(NOT_GENERATED, f"{path} is not the video that was generated; `generate` makes it again")
        error = self.records[clip_id].error
        return None if error is None else Failure(NOT_GENERATED, error.message)

    def sha256(self, clip_id: str) -> str | None:
        return None if clip_id in self._changed else self.records[clip_id].sha256

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        # A fresh copy: what it caches is dropped with it, even where the dataset keeps its clips.
        reference = replace(self.dataset.clip(clip_id))
        video = self.run.video_path(clip_id)
        generated = replace(reference, path=video, preloaded=None, audio_from=None, accept_damaged=False)
        if reference.audio_from is not None:
            return generated, None
        line = self.records[clip_id]
        if any(caveat.kind == LENGTH for caveat in line.caveats or ()):
            reference = reference.first(len(generated.frames))
        return generated, reference


class GivenVideos:
    """Videos of a folder, scored where they lie, with or without references of the same ids.

    With references a video is found, and brought to its reference, as `media.video_folder` and `media.fitting` say.
    """

    no_reference = "there is no reference video"

    def __init__(self, run: RunDirectory, videos: Dataset, folder: VideoFolder, reference: Dataset | None) -> None:
        self.run = run
        self._aligned = is_aligned(run.identity)
        self.videos = videos
        self.folder = folder
        self.reference = reference
        self._failures: dict[str, Failure] = {}
        self._paths: dict[str, Path] = {}
        self._sha256: dict[str, str | None] = {}
        for clip_id in run.identity.clips:
            try:
                path = self._path(clip_id)
            except ClipError as error:
                self._failures[clip_id] = Failure(NOT_GENERATED, str(error))
            else:
                self._paths[clip_id], self._sha256[clip_id] = path, run.files.sha256(path)
        self.journal, known = run.generation_journal()
        self.records = {clip_id: line for clip_id, line in known.items() if line.sha256 == self.sha256(clip_id)}

    def _path(self, clip_id: str) -> Path:
        if self.reference is not None:
            return self.folder.find(clip_id)
        path = self.videos.clip(clip_id).path
        assert path is not None, "the clips of a folder lie in it"
        return path

    def failure(self, clip_id: str) -> Failure | None:
        return self._failures.get(clip_id)

    def sha256(self, clip_id: str) -> str | None:
        return self._sha256.get(clip_id)

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        try:
            generated, reference = self._opened(clip_id)
        except ClipError as error:
            failed = Failure.of(error, NOT_GENERATED)
            self._note(Generated(clip_id, error=failed, video=str(self._paths[clip_id]), sha256=self.sha256(clip_id)))
            raise
        about: dict[str, Any] = {"video": str(generated.path), "sha256": self.sha256(clip_id)}
        n, made = len(generated.frames), generated.media
        if reference is None:
            self._note(record(generated, n, **about))
        else:
            self._note(record(reference, n, notes=made.notes, caveats=made.caveats, **about))
        return generated, reference

    def _opened(self, clip_id: str) -> tuple[Clip, Clip | None]:
        if self.reference is None:
            return open_clip(self.videos, clip_id), None
        path, reference = self._paths[clip_id], replace(self.reference.clip(clip_id))
        with decoding(clip_id):
            media = read_fitted(path, reference, any_shape=self._aligned)
        # A folder of boxes is of the reference; a guess, or a detector, is for both.
        boxes = "" if reference.boxes == GIVEN else reference.boxes
        return Clip(clip_id, self.videos.name, path, boxes=boxes, preloaded=media), reference.first(len(media.frames))

    def _note(self, line: Generated) -> None:
        if self.records.get(line.clip) != line:
            self.journal.append([line.to_row()])
            self.records[line.clip] = line
