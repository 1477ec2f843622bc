"""Checks of one clip on disk against what its dataset promises, and of a split against its published size."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from syncdiff_bench.contracts import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Clip, Finding, Media
from syncdiff_bench.errors import ClipError, one_line
from syncdiff_bench.faces.boxes import read_boxes
from syncdiff_bench.media.reading import MediaFacts, probe
from syncdiff_datasets.transcripts import beside, read_transcript

Level = Literal["ok", "note", "error"]
Said = tuple[Level, str]


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
    def level(self) -> Level:
        """Of a deviation."""
        return "error" if self.strict else "note"


def check_clip(open_clip: Callable[[], Clip], clip_id: str, promise: Promise) -> Iterator[Finding]:
    """Findings of one clip, a single "ok" where there is nothing to say. Decodes the file; raises nothing."""
    found: list[Said] = []
    try:
        found.extend(_findings(open_clip, promise))
    except ClipError as error:
        found.append(("error", str(error)))
    except Exception as error:  # whatever a damaged file sets off, the clips after it are looked at
        found.append(("error", f"cannot be decoded ({one_line(error)}); replace the file"))
    wrong = [(level, said) for level, said in found if level != "ok"]
    yield from (Finding(level, clip_id, said) for level, said in wrong or found)


def check_count(where: str, n_clips: int, published: int | None) -> Finding:
    """How many clips there are, beside how many were published."""
    if published is None:
        return Finding("ok", where, f"{n_clips:,} clips")
    if n_clips == published:
        return Finding("ok", where, f"{n_clips:,} clips, as published")
    return Finding("note", where, f"{n_clips:,} clips, published: {published:,}; results are not on the full split")


def _findings(open_clip: Callable[[], Clip], promise: Promise) -> Iterator[Said]:
    clip = open_clip()
    path = clip.path
    assert path is not None, "clips of a dataset on disk have a path"
    facts = probe(path)
    n_frames, notes = len(clip.frames), clip.media.notes
    audio = f"{len(clip.audio) / SAMPLE_RATE:.2f} s of audio" if len(clip.audio) else "no audio"
    yield "ok", f"{n_frames} frames {facts.width}x{facts.height}, {audio}"
    yield from _frames(facts, promise)
    yield from _audio(facts, n_frames, len(clip.audio), promise)
    yield from (("note", note) for note in notes if "late" in note or "constant" in note)
    yield from _words(beside(path, ".txt"), promise)
    if clip.boxes_path is not None:
        yield from _boxes(clip.boxes_path, clip.media)


def _frames(facts: MediaFacts, promise: Promise) -> Iterator[Said]:
    if abs(facts.fps - FPS) > 0.01:
        yield promise.level, f"{facts.fps:.5g} fps, expected {FPS}; every run retimes it and notes that"
    if promise.side is not None and (facts.width, facts.height) != (promise.side, promise.side):
        size, wanted = f"{facts.width}x{facts.height}", f"{promise.side}x{promise.side}"
        yield promise.level, f"frames are {size}, expected {wanted}: not the file of the published dataset"


def _audio(facts: MediaFacts, n_frames: int, n_samples: int, promise: Promise) -> Iterator[Said]:
    if not n_samples:
        yield promise.level, "no audio track: methods and metrics that need audio will fail on this clip"
        return
    if (facts.sample_rate, facts.channels) != (SAMPLE_RATE, 1):
        given = f"{facts.sample_rate / 1000:g} kHz, {facts.channels} channel(s)"
        yield promise.level, f"audio is {given}, expected 16 kHz mono; every run resamples it and notes that"
    short = n_frames - n_samples / SAMPLES_PER_FRAME
    if short >= 1:
        yield "note", f"audio ends {short / FPS:.2f} s before the frames"


def _words(path: Path, promise: Promise) -> Iterator[Said]:
    try:
        transcript = read_transcript(path, plain=promise.plain)
    except ClipError as error:
        yield "error", f"no word error rate: {error}"
        return
    if transcript is None and promise.transcripts:
        yield promise.level, f"transcript {path.name} is missing: the clip has no word error rate"
    elif transcript is not None and transcript.encoding:
        yield "note", f"transcript {path.name}: {transcript.encoding}: '{transcript.text}'"


def _boxes(path: Path, media: Media) -> Iterator[Said]:
    try:
        found = read_boxes(path, media)
    except ClipError as error:
        yield "error", str(error)
        return
    yield from (("note", doubt.text) for doubt in found.caveats)
