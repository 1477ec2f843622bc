"""Checks of one clip on disk against what its dataset promises, and of a split against its published size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from syncdiff_bench.contracts import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Clip, Finding, Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.faces.boxes import read_boxes
from syncdiff_datasets.transcripts import read_transcript

if TYPE_CHECKING:
    from syncdiff_bench.media.reading import MediaFacts


@dataclass(frozen=True)
class Promise:
    """What every clip of a dataset should be.

    side: height and width in pixels, None for any.
    strict: a deviation is an error (not the files of the published dataset); otherwise a note (the harness converts).
    transcripts: every clip has one.
    plain: transcripts may be plain text.
    """

    side: int | None = None
    strict: bool = True
    transcripts: bool = True
    plain: bool = False

    @property
    def level(self) -> Literal["error", "note"]:
        """Of a deviation."""
        return "error" if self.strict else "note"


def check_clip(open_clip: Callable[[], Clip], clip_id: str, promise: Promise) -> Iterator[Finding]:
    """Findings of one clip, a single "ok" where there is nothing to say. Decodes the file; raises nothing."""
    found = list(_findings(open_clip, clip_id, promise))
    if any(finding.level != "ok" for finding in found):
        found = [finding for finding in found if finding.level != "ok"]
    yield from found


def check_count(where: str, n_clips: int, published: int | None) -> Finding:
    """How many clips there are, beside how many were published."""
    if published is None:
        return Finding("ok", where, f"{n_clips:,} clips")
    if n_clips == published:
        return Finding("ok", where, f"{n_clips:,} clips, as published")
    return Finding("note", where, f"{n_clips:,} clips, published: {published:,}; results are not on the full split")


def _findings(open_clip: Callable[[], Clip], clip_id: str, promise: Promise) -> Iterator[Finding]:
    from syncdiff_bench.media.reading import probe

    try:
        clip = open_clip()
        path = clip.path
        assert path is not None, "clips of a dataset on disk have a path"
        facts = probe(path)
        n_frames, notes = len(clip.frames), clip.media.notes
    except ClipError as error:
        yield Finding("error", clip_id, str(error))
        return
    except Exception as error:  # whatever a damaged file sets off, the clips after it are looked at
        yield Finding("error", clip_id, f"cannot be decoded ({type(error).__name__}: {error}); replace the file")
        return
    audio = f"{len(clip.audio) / SAMPLE_RATE:.2f} s of audio" if len(clip.audio) else "no audio"
    yield Finding("ok", clip_id, f"{n_frames} frames {facts.width}x{facts.height}, {audio}")
    yield from _frames(facts, clip_id, promise)
    yield from _audio(facts, n_frames, len(clip.audio), clip_id, promise)
    yield from (Finding("note", clip_id, note) for note in notes if "late" in note or "constant" in note)
    yield from _words(path.with_suffix(".txt"), clip_id, promise)
    if clip.boxes_path is not None:
        yield from _boxes(clip.boxes_path, clip.media, clip_id)


def _frames(facts: MediaFacts, clip_id: str, promise: Promise) -> Iterator[Finding]:
    if abs(facts.fps - FPS) > 0.01:
        yield Finding(
            promise.level, clip_id, f"{facts.fps:.5g} fps, expected {FPS}; every run retimes it and notes that"
        )
    if promise.side is not None and (facts.width, facts.height) != (promise.side, promise.side):
        size, wanted = f"{facts.width}x{facts.height}", f"{promise.side}x{promise.side}"
        yield Finding(
            promise.level, clip_id, f"frames are {size}, expected {wanted}: not the file of the published dataset"
        )


def _audio(facts: MediaFacts, n_frames: int, n_samples: int, clip_id: str, promise: Promise) -> Iterator[Finding]:
    if not n_samples:
        yield Finding(
            promise.level, clip_id, "no audio track: methods and metrics that need sound will fail on this clip"
        )
        return
    if (facts.sample_rate, facts.channels) != (SAMPLE_RATE, 1):
        given = f"{facts.sample_rate / 1000:g} kHz, {facts.channels} channel(s)"
        yield Finding(
            promise.level, clip_id, f"audio is {given}, expected 16 kHz mono; every run resamples it and notes that"
        )
    short = n_frames - n_samples / SAMPLES_PER_FRAME
    if short >= 1:
        yield Finding("note", clip_id, f"audio ends {short / FPS:.2f} s before the picture")


def _words(path: Path, clip_id: str, promise: Promise) -> Iterator[Finding]:
    try:
        transcript = read_transcript(path, plain=promise.plain)
    except ClipError as error:
        yield Finding("error", clip_id, f"no word error rate: {error}")
        return
    if transcript is None and promise.transcripts:
        yield Finding(promise.level, clip_id, f"transcript {path.name} is missing: the clip has no word error rate")
    elif transcript is not None and transcript.encoding:
        yield Finding("note", clip_id, f"transcript {path.name}: {transcript.encoding}: '{transcript.text}'")


def _boxes(path: Path, media: Media, clip_id: str) -> Iterator[Finding]:
    try:
        found = read_boxes(path, media)
    except ClipError as error:
        yield Finding("error", clip_id, str(error))
        return
    yield from (Finding("note", clip_id, doubt.text) for doubt in found.caveats)
