"""The clips and videos that the stages work on: opened, noted; given videos beside our own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Dataset
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.boxes import GIVEN, FaceBoxes
from syncdiff_bench.faults import decoding
from syncdiff_bench.media.fitting import LENGTH, read_fitted
from syncdiff_bench.media.video_folder import VideoFolder
from syncdiff_bench.plugins import dataset_spec, load_dataset
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.layout import video_name
from syncdiff_bench.runs.records import NOT_GENERATED, Failure, Generated

SOURCE_CHANGED = "{n} clips, whose files changed since they were taken (first: {first})"
VIDEO_CHANGED = "{n} clips, whose videos are gone or not those that were generated (first: {first})"


def open_clip(dataset: Dataset, clip_id: str) -> Clip:
    """The clip, decoded. What it caches lives no longer than the returned object.

    Raises ClipError where its files are missing or cannot be decoded.
    """
    with decoding(clip_id):
        clip = replace(dataset.clip(clip_id))
        _ = clip.media
    return clip


def boxes_used(clip: Clip) -> FaceBoxes | None:
    """The boxes of a clip that somebody asked for; None where nobody did, or there are none, which fails who asks."""
    if "boxes" not in clip.asked_for:
        return None
    try:
        return clip.face_boxes
    except ClipError:
        return None


def clip_caveats(clip: Clip) -> tuple[Caveat, ...]:
    """What decoding a clip told, and its face boxes where somebody asked for them."""
    boxes = boxes_used(clip)
    return clip.media.caveats if boxes is None else (*clip.media.caveats, *boxes.caveats)


def record(
    clip: Clip,
    frames: int | None,
    *,
    notes: Sequence[str] = (),
    caveats: Sequence[Caveat] = (),
    **rest: Any,
) -> Generated:
    """The line of a clip: what decoding it told, then `notes` and `caveats` of how its video was made."""
    boxes = boxes_used(clip)
    every = (*clip_caveats(clip), *caveats)
    words = (*clip.media.notes, *(caveat.text for caveat in every if caveat.detail), *notes)
    source = None if boxes is None else boxes.source
    return Generated(clip.id, frames, words, source, speaker=clip.speaker, caveats=every, **rest)


def unfinished_clips(
    run: RunDirectory,
    *,
    sources: Mapping[str, str | None] = MappingProxyType({}),
    retry_failed: bool = False,
) -> dict[str, str]:
    """The clips still to generate, in plan order, and why one is to be made again ("" for the others).

    A recorded failure is final unless `retry_failed`, or the file that the clip is made from is another now. A video
    is made again where it is not the one that was generated; one without a recorded digest, where it has no bytes.
    """
    found = {}
    for clip_id in run.identity.clips:
        line = run.generated.get(clip_id)
        if line is not None and clip_id in sources and line.source != sources[clip_id]:
            found[clip_id] = SOURCE_CHANGED
        elif line is None or (line.error is not None and retry_failed):
            found[clip_id] = ""
        elif line.error is None and not _is_intact(run, line):
            found[clip_id] = VIDEO_CHANGED
    return found


def _is_intact(run: RunDirectory, line: Generated) -> bool:
    """Whether the video of a generated clip is there, and the one that was generated as far as is known."""
    path = run.video_path(line.clip)
    if line.sha256 is None:
        return path.is_file() and path.stat().st_size > 0
    return run.files.sha256(path) == line.sha256


class VideoSource(Protocol):
    """The videos to score.

    no_reference: why a pair has no reference, where it has none.
    records: what is known of the videos, by clip; of one that was never opened there is nothing.
    failures: clip -> why there is no video of it.
    digests: clip -> sha256 of its video; of a clip without one, or where that is not known, None or nothing.
    absent: clips whose videos another shard still has to make.
    dataset: whose clips say how long the videos are.
    """

    no_reference: str
    records: dict[str, Generated]
    failures: dict[str, Failure]
    digests: dict[str, str | None]
    absent: frozenset[str]

    @property
    def dataset(self) -> Dataset: ...

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        """(generated, reference or None) of the same length, each decoded at most once. Raises ClipError."""

    def told(self) -> list[Generated]:
        """What opening videos told since the last call, where the run does not know that yet."""

    def know(self, generated: Mapping[str, Generated]) -> None:
        """Take over what other processes were told. generated: clip -> its line."""


class GeneratedVideos:
    """The videos of a run directory; the reference is the dataset's clip.

    A video that is not the one that was generated fails its clip.
    partly: others still generate, and what is not there is `absent`.
    Raises UsageError where clips were not generated yet.
    """

    no_reference = "the sound is another clip's (pairs), so that no video shows what should be seen"

    def __init__(self, run: RunDirectory, dataset: Dataset, *, partly: bool = False) -> None:
        self.folder = run.path
        self.dataset = dataset
        self.records = run.generated
        self.failures: dict[str, Failure] = {}
        changed = unfinished_clips(run)
        missing = [one for one in changed if one not in self.records or not run.video_path(one).exists()]
        self.absent = frozenset(missing)
        if missing and not partly:
            raise UsageError(
                f"{run.path}: {len(missing)} of {len(run.identity.clips)} clips are not generated yet "
                f"(first: {missing[0]}); run `syncdiff-bench generate` with the same options first"
            )
        for clip_id in (one for one in run.identity.clips if one not in self.absent):
            error = self.records[clip_id].error
            if clip_id in changed:
                told = f"{run.video_path(clip_id)} is not the video that was generated; `generate` makes it again"
                self.failures[clip_id] = Failure(NOT_GENERATED, told)
            elif error is not None:
                self.failures[clip_id] = Failure(NOT_GENERATED, error.message)
        present = (one for one in run.identity.clips if one not in self.absent)
        self.digests = {one: None if one in changed else self.records[one].sha256 for one in present}

    def __getstate__(self) -> dict[str, Any]:
        return vars(self) | {"dataset": dataset_spec(self.dataset)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, dataset=load_dataset(*state["dataset"]))

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        # A fresh copy: what it caches is dropped with it, even where the dataset keeps its clips.
        reference = replace(self.dataset.clip(clip_id))
        video = self.folder / "videos" / video_name(clip_id)
        generated = replace(reference, path=video, preloaded=None, audio_from=None, accept_damaged=False)
        if reference.audio_from is not None:
            return generated, None
        line = self.records[clip_id]
        if any(caveat.kind == LENGTH for caveat in line.caveats or ()):
            reference = reference.first(len(generated.frames))
        return generated, reference

    def told(self) -> list[Generated]:
        return []

    def know(self, generated: Mapping[str, Generated]) -> None:
        self.records = dict(generated)


class GivenVideos:
    """Videos of a folder, scored where they lie, with or without references of the same ids.

    With references a video is found, and brought to its reference, as `media.video_folder` and `media.fitting` say.
    """

    no_reference = "there is no reference video"
    absent: frozenset[str] = frozenset()

    def __init__(self, run: RunDirectory, videos: Dataset, folder: VideoFolder, reference: Dataset | None) -> None:
        self.any_shape = run.identity.aligned
        self.videos = videos
        self.folder = folder
        self.reference = reference
        self.failures: dict[str, Failure] = {}
        self.digests: dict[str, str | None] = {}
        self._paths: dict[str, Path] = {}
        self._told: list[Generated] = []
        for clip_id, path in self._found(run.identity.clips).items():
            if isinstance(path, ClipError):
                self.failures[clip_id] = Failure(NOT_GENERATED, str(path))
            else:
                self._paths[clip_id], self.digests[clip_id] = path, run.files.sha256(path)
        self.records: dict[str, Generated] = {}
        self.know(run.generated)

    def __getstate__(self) -> dict[str, Any]:
        reference = None if self.reference is None else dataset_spec(self.reference)
        return vars(self) | {"videos": dataset_spec(self.videos), "reference": reference}

    def __setstate__(self, state: dict[str, Any]) -> None:
        videos, reference = (spec and load_dataset(*spec) for spec in (state["videos"], state["reference"]))
        vars(self).update(state, videos=videos, reference=reference)

    @property
    def dataset(self) -> Dataset:
        return self.videos if self.reference is None else self.reference

    def _found(self, clips: Sequence[str]) -> dict[str, Path | ClipError]:
        if self.reference is not None:
            return self.folder.find_all(clips)
        return {clip_id: self._alone(clip_id) for clip_id in clips}

    def _alone(self, clip_id: str) -> Path | ClipError:
        try:
            path = self.videos.clip(clip_id).path
        except ClipError as error:
            return error
        assert path is not None, "the clips of a folder lie in it"
        return path

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        about: dict[str, Any] = {"video": str(self._paths[clip_id]), "sha256": self.digests[clip_id]}
        try:
            generated, reference = self._opened(clip_id)
        except ClipError as error:
            self._note(Generated(clip_id, error=Failure.of(error, NOT_GENERATED), **about))
            raise
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
            media = read_fitted(path, reference, any_shape=self.any_shape)
        # A folder of boxes is of the reference; a guess, or a detector, is for both.
        boxes = "" if reference.boxes == GIVEN else reference.boxes
        return Clip(clip_id, self.videos.name, path, boxes=boxes, preloaded=media), reference.first(len(media.frames))

    def _note(self, line: Generated) -> None:
        if self.records.get(line.clip) != line:
            self.records[line.clip] = line
            self._told.append(line)

    def told(self) -> list[Generated]:
        found, self._told = self._told, []
        return found

    def know(self, generated: Mapping[str, Generated]) -> None:
        """Of other files of the same clips nothing is known."""
        known = generated.items()
        self.records = {clip_id: line for clip_id, line in known if line.sha256 == self.digests.get(clip_id)}
