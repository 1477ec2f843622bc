"""Where the videos to score come from: this run's own, or a folder that somebody else filled."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

from syncdiff_bench.contracts import Clip, Dataset
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.generating import open_clip, record, unfinished_clips
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

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        """(generated, reference or None), each decoded at most once. Raises ClipError."""


class GeneratedVideos:
    """The videos of a run directory; the reference is the dataset's clip.

    Raises UsageError where clips were not generated yet.
    """

    no_reference = "the sound is another clip's (pairs), so that no video shows what should be seen"

    def __init__(self, run: RunDirectory, dataset: Dataset) -> None:
        self.run = run
        self.dataset = dataset
        _, self.records = run.generation_journal()
        missing = unfinished_clips(run, self.records)
        if missing:
            raise UsageError(
                f"{run.path}: {len(missing)} of {len(run.identity.clips)} clips are not generated yet "
                f"(first: {missing[0]}); run `syncdiff-bench generate` with the same options first"
            )

    def failure(self, clip_id: str) -> Failure | None:
        error = self.records[clip_id].error
        return None if error is None else Failure(NOT_GENERATED, error.message)

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        # A fresh copy: what it caches is dropped with it, even where the dataset keeps its clips.
        reference = replace(self.dataset.clip(clip_id))
        video = self.run.video_path(clip_id)
        generated = replace(reference, path=video, preloaded=None, sound=None, accept_damaged=False)
        return generated, reference if reference.sound is None else None


class GivenVideos:
    """Videos of a folder, scored where they lie, with or without references of the same ids.

    A video is found under the clip's id or, in a flat folder, under the id with `/` replaced by `_`.
    """

    no_reference = "there is no reference video"

    def __init__(self, run: RunDirectory, videos: Dataset, reference: Dataset | None) -> None:
        self.run = run
        self.videos = videos
        self.reference = reference
        self.journal, self.records = run.generation_journal()
        self._known = matching_ids(run.identity.clips, videos.clip_ids(videos.default_split))

    def failure(self, clip_id: str) -> Failure | None:
        if self._known[clip_id] is None:
            message = f"{clip_id}: no video of this name in {self.videos.root}; add it or shorten --reference"
            return Failure(NOT_GENERATED, message)
        return None

    def pair(self, clip_id: str) -> tuple[Clip, Clip | None]:
        own_id = self._known[clip_id]
        if own_id is None:
            raise ClipError("missing", f"{clip_id}: no video of this name in {self.videos.root}")
        generated = open_clip(self.videos, own_id)
        if own_id != clip_id:  # what was decoded goes with it
            generated = replace(generated, id=clip_id, preloaded=generated.media)
        reference = None if self.reference is None else replace(self.reference.clip(clip_id))
        self._record(generated, reference)
        return generated, reference

    def _record(self, generated: Clip, reference: Clip | None) -> None:
        if generated.id in self.records:
            return
        truth = generated if reference is None else reference
        made = generated.media if reference is not None else None
        line = record(
            truth,
            len(generated.frames),
            notes=() if made is None else made.notes,
            caveats=() if made is None else made.caveats,
            video=str(generated.path),
        )
        self.journal.append([line.to_row()])
        self.records[generated.id] = line


def matching_ids(wanted: tuple[str, ...], have: tuple[str, ...]) -> Mapping[str, str | None]:
    """Wanted id -> the id under which there is a video, None where there is none."""
    known = set(have)
    flat = {clip_id: clip_id.replace("/", "_") for clip_id in wanted}
    return {c: c if c in known else flat[c] if flat[c] in known else None for c in wanted}
