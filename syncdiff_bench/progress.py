"""What work tells while it goes on: nothing, a bar with the time left on a terminal, or a line now and then."""

from __future__ import annotations

import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

from syncdiff_bench.characters import one_line, spelled, visible
from syncdiff_bench.screens import console_of

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

LOG_SECONDS = 30.0  # between two lines of a log
QUIET: ContextVar[bool] = ContextVar("QUIET", default=False)  # nobody wants to be told: `silence`


class Progress:
    """The silent one; the stages call these in order."""

    @contextmanager
    def stage(self, title: str, total: int, done: int = 0, *, unit: str = "clips") -> Iterator[None]:
        """title: "generate static". total: of the whole stage, of which `done` were finished before."""
        del title, total, done, unit
        yield

    def working_on(self, clip_ids: Sequence[str], frames: int = 0, *, worker: int = 0) -> None:
        """The clips now in work, and how many frames they have together (0 where that says nothing).

        worker: which of several processes is at them.
        """

    def frames_done(self, frames: int, *, worker: int = 0) -> None:
        """So many frames more."""

    def done(self, count: int = 1, *, worker: int = 0, about: str = "") -> None:
        """So many clips (or what the stage counts) more, failed ones included. about: shown beside ("loss 0.1")."""

    def looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        """A detector has looked at so many of the frames of a clip."""

    def note(self, message: str) -> None:
        """Something to know that is no failure: clips at once that did not fit into memory."""

    def each(self, title: str, steps: Iterator[tuple[int, int]], *, unit: str = "clips") -> None:
        """A stage of work that yields how much of it is done, and how much there is."""
        first = next(iter(steps), None)
        if first is None:
            return
        before, total = first
        with self.stage(title, total, before, unit=unit):
            for now, _ in steps:
                self.done(now - before)
                before = now


class Notes(Progress):
    """Only the notes."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._looked_for_faces = False

    def looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        if not self._looked_for_faces:
            self._looked_for_faces = True
            self.note("clips without face boxes: a detector looks for them, once (`data prepare faces` does so ahead)")

    def note(self, message: str) -> None:
        self._line(message, "note: ")

    def _line(self, text: str, label: str = "") -> None:
        from rich.text import Text

        shown = visible(text)
        if self.console.is_terminal:
            shown = spelled(shown, self.console.encoding)
        self.console.print(Text.assemble((label, "cyan"), shown), highlight=False, soft_wrap=True)


@dataclass
class _Batch:
    """What a worker is at: clips not done yet, frames of all its clips, frames done."""

    clips: int = 0
    frames: int = 0
    done: int = 0

    @property
    def finished(self) -> float:
        """Of its clips, by the frames."""
        return self.clips * min(1.0, self.done / self.frames) if self.frames else 0.0


class _Counting(Notes):
    """Counts a stage: clips and frames done, of several workers.

    Within a batch it moves with the frames, so that a stage of three long batches moves too.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._begin("", 0, 0, "")

    def _begin(self, title: str, total: int, done: int, unit: str) -> None:
        self.title, self.total, self.before, self.unit = title, total, done, unit
        self.finished, self.frames, self.about = done, 0, ""
        self.batches: dict[int, _Batch] = {}

    @property
    def completed(self) -> float:
        return self.finished + sum(batch.finished for batch in self.batches.values())

    def working_on(self, clip_ids: Sequence[str], frames: int = 0, *, worker: int = 0) -> None:
        self.batches[worker] = _Batch(len(clip_ids), frames)
        more = f" and {len(clip_ids) - 1} more" if len(clip_ids) > 1 else ""
        self.about = f"{clip_ids[0]}{more}" if clip_ids else ""
        self._show()

    def frames_done(self, frames: int, *, worker: int = 0) -> None:
        self.batches.setdefault(worker, _Batch()).done += frames
        self.frames += frames
        self._show()

    def done(self, count: int = 1, *, worker: int = 0, about: str = "") -> None:
        self.finished += count
        batch = self.batches.setdefault(worker, _Batch())
        batch.clips = max(0, batch.clips - count)
        if not batch.clips:
            batch.frames = 0
        self.about = about or self.about
        self._show()

    @property
    def counts(self) -> str:
        frames = f" · {self.frames} frames" if self.frames else ""
        return f"{self.finished}/{self.total} {self.unit}{frames}"

    def _show(self) -> None:
        raise NotImplementedError


class Bar(_Counting):
    """One bar per stage: clips and frames done, the clip in work, time left."""

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars: Bars | None = None
        self._task: TaskID | None = None

    @contextmanager
    def stage(self, title: str, total: int, done: int = 0, *, unit: str = "clips") -> Iterator[None]:
        from rich import progress

        self._begin(title, total, done, unit)
        columns = (
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.fields[counts]}", markup=False),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            progress.TextColumn("{task.fields[about]}", style="dim", markup=False),
        )
        with progress.Progress(*columns, console=self.console, transient=True) as self._bars:
            self._task = self._bars.add_task(one_line(title), total=total, completed=done, counts="", about="")
            self._show()
            yield
        self._bars = None

    def looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        super().looking_for_faces(clip_id, done, total)
        self.about = f"{clip_id}: faces in {done}/{total} frames" if done < total else clip_id
        self._show()

    def _show(self) -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self.completed, counts=self.counts, about=one_line(self.about))


class Log(_Counting):
    """A line every LOG_SECONDS: done of all, speed, time left; and one when such a stage ends. For files."""

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console)
        self._clock = clock
        self._started = self._told = 0.0

    @contextmanager
    def stage(self, title: str, total: int, done: int = 0, *, unit: str = "clips") -> Iterator[None]:
        self._begin(title, total, done, unit)
        self._started = self._told = self._clock()
        yield
        if self._told > self._started:
            self._line(f"{title}: {self.counts} in {in_time(self._clock() - self._started)}")

    def _show(self) -> None:
        now = self._clock()
        if now - self._told < LOG_SECONDS:
            return
        self._told = now
        told = [self.counts]
        if speed := (self.completed - self.before) / (now - self._started):
            left = in_time((self.total - self.completed) / speed)
            share = f"{self.completed / self.total:.0%}"
            told = [f"{self.counts} ({share})", f"{60 * speed:.3g} {self.unit}/min", f"{left} left"]
        self._line(f"{self.title}: {', '.join([*told, *([self.about] if self.about else [])])}")


def stderr_progress(kind: str = "auto") -> Progress:
    """kind: "bar", "log", "off" (notes alone), or "auto": a bar on a terminal, else a log. In `silence` nothing."""
    if QUIET.get():
        return Progress()
    console = console_of(sys.stderr)
    if kind == "auto":
        kind = "bar" if console.is_terminal and sys.stderr.isatty() else "log"
    kinds: dict[str, Callable[[Console], Progress]] = {"bar": Bar, "log": Log, "off": Notes}
    return kinds[kind](console)


@contextmanager
def silence() -> Iterator[None]:
    """In the block nothing is told but errors: no progress, no notes, no warnings, neither logged nor of Python."""
    before, disabled = QUIET.set(True), logging.root.manager.disable
    logging.disable(max(disabled, logging.WARNING))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)
        QUIET.reset(before)


def in_time(seconds: float) -> str:
    """As clocks write it.

    >>> in_time(5), in_time(3725)
    ('0:05', '1:02:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
