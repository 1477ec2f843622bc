"""Plugins small enough to check by hand, installed (as a dist-info on sys.path) for the tests of the harness.

Clip number i of `toy` has 3 frames of 16 x 16 pixels that are all 10 i, so every score has a closed form.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from syncdiff_bench.contracts import (
    Clip,
    Column,
    Dataset,
    Finding,
    Frames,
    Media,
    Method,
    Metric,
    Pair,
    WeightsUsed,
)
from syncdiff_bench.errors import ClipError, UsageError, WeightsError
from syncdiff_bench.progress import Progress

N_CLIPS = 5
FRAMES = 3


def meet(stage: str, clip_id: str) -> None:
    """With $TOY_MEET, a folder: the first process is at its second clip until another one has finished one."""
    if "TOY_MEET" not in os.environ or clip_id == "s0/0":
        return
    file = Path(os.environ["TOY_MEET"]) / stage
    if multiprocessing.parent_process() is not None:
        file.touch()
        return
    last = time.monotonic() + 120
    while not file.exists() and time.monotonic() < last:
        time.sleep(0.02)


@dataclass(frozen=True)
class ToyOptions:
    """broken: a clip that cannot be decoded. silent: no audio. mark: enters the fingerprint."""

    broken: int = -1
    silent: bool = False
    mark: str = "a"


class Toy(Dataset):
    name = "toy"
    title = "grey clips"
    Options = ToyOptions
    embedded = True
    default_metrics = ("toy-error",)

    def splits(self) -> tuple[str, ...]:
        return ("test",)

    def clip_ids(self, split: str) -> tuple[str, ...]:
        if split != "test":
            raise UsageError(f"toy has no split {split!r}; splits: test")
        return tuple(f"s{i // 2}/{i}" for i in range(N_CLIPS))

    def clip(self, clip_id: str) -> Clip:
        number = int(clip_id.partition("/")[2])
        if number == self.options.broken:
            raise ClipError("truncated", f"{clip_id}: cut short; copy it again")
        frames = np.full((FRAMES, 16, 16, 3), 10 * number, dtype=np.uint8)
        audio = np.zeros(0 if self.options.silent else 640 * FRAMES, dtype=np.int16)
        media = Media(frames, audio, ("made up",) if number == 0 else ())
        return Clip(clip_id, "toy", transcript=None if number else "one", speaker=f"s{number // 2}", preloaded=media)

    def fingerprint(self, split: str) -> str:
        return self.options.mark * 64

    def verify(self, split: str) -> Iterator[Finding]:
        yield Finding("ok", split, "made up")


class Truth(Method):
    name = "toy-truth"
    title = "the reference"
    topline = True

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        for clip in clips:
            progress(FRAMES)
            yield clip.id, clip.frames


@dataclass(frozen=True)
class NoiseOptions:
    """shift: added to every pixel. batch: clips per batch."""

    shift: int = 0
    batch: int = 2
    kind: Literal["grey", "pink"] = "grey"


class Noise(Method):
    """Adds shift + seed; logs its batches to $TOY_LOG, kills the process before clip $TOY_KILL."""

    name = "toy-noise"
    any_threads = True
    title = "shifted grey"
    Options = NoiseOptions

    @property
    def batch_size(self) -> int:
        return int(self.options.batch)

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        if "TOY_LOG" in os.environ:
            with Path(os.environ["TOY_LOG"]).open("a", encoding="utf-8") as log:
                log.write(" ".join(clip.id for clip in clips) + "\n")
        for clip in clips:
            if clip.id == os.environ.get("TOY_KILL"):
                os.kill(os.getpid(), signal.SIGKILL)
            meet("generate", clip.id)
            progress(FRAMES)
            yield clip.id, clip.frames + np.uint8(self.options.shift + seed)


class Troubled(Method):
    """One batch of five: 1 gets a wrong shape, 2 raises, 3 is never yielded, 0 and 4 are fine."""

    name = "toy-troubled"

    @property
    def batch_size(self) -> int:
        return N_CLIPS

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        for clip in clips:
            if clip.id == "s0/1":
                yield clip.id, clip.frames[:-1]
            elif clip.id == "s1/2":
                raise RuntimeError("the\nGPU is on fire")
            elif clip.id != "s1/3":
                yield clip.id, clip.frames


@dataclass(frozen=True)
class ErrorStats:
    total: float
    pixels: int


@dataclass(frozen=True)
class ErrorOptions:
    """protocol: "signed" keeps the sign. fail: raises on this clip."""

    protocol: Literal["absolute", "signed"] = "absolute"
    fail: str = ""


class Difference(Metric[ErrorStats]):
    name = "toy-error"
    title = "mean error"
    source = "closed form"
    columns = (Column("err", "ERR", "down", "grey levels", decimals=1),)
    Options = ErrorOptions
    Stats = ErrorStats

    @property
    def protocol(self) -> str:
        return str(self.options.protocol)

    def measure(self, pair: Pair) -> ErrorStats:
        assert pair.reference is not None
        if pair.generated.id == self.options.fail:
            raise ZeroDivisionError("no luck")
        if pair.generated.id == os.environ.get("TOY_KILL_SCORING"):
            os.kill(os.getpid(), signal.SIGKILL)
        meet("score", pair.generated.id)
        difference = pair.generated.frames.astype(float) - pair.reference.frames
        total = np.abs(difference).sum() if self.protocol == "absolute" else difference.sum()
        return ErrorStats(total, np.int64(difference.size))  # type: ignore[arg-type]

    def aggregate(self, stats: Sequence[ErrorStats]) -> Mapping[str, float | None]:
        return {"err": sum(s.total for s in stats) / sum(s.pixels for s in stats)}


class Words(Difference):
    name = "toy-words"
    columns = (Column("words", "WORDS", "up"),)
    requires = frozenset({"transcript", "audio"})

    def aggregate(self, stats: Sequence[ErrorStats]) -> Mapping[str, float | None]:
        return {"words": float("nan")}


class Heavy(Difference):
    """Wants weights, whose digest is in $TOY_WEIGHTS."""

    name = "toy-heavy"
    columns = (Column("heavy", "HEAVY", "down"),)

    def prepare(self) -> None:
        if "TOY_WEIGHTS" not in os.environ:
            raise WeightsError("toy.bin is not there", missing="toy")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (WeightsUsed("toy", os.environ["TOY_WEIGHTS"]),)

    def aggregate(self, stats: Sequence[ErrorStats]) -> Mapping[str, float | None]:
        return {"heavy": super().aggregate(stats)["err"]}


class Times:
    """Work for several processes: a task, so many times over, and the task that it got ready for."""

    progress = Progress()
    ready_for: int | None = None

    def __init__(self, factor: int) -> None:
        self.factor = factor

    def get_ready(self, task: int) -> None:
        self.ready_for = task

    def __call__(self, task: int, emit: Callable[[tuple[int, int | None]], None]) -> None:
        emit((self.factor * task, self.ready_for))
