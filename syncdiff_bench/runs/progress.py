"""What a stage tells while it works. Silent by default; a bar with ETA on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


class Progress:
    """The silent one; the stages call these in order."""

    @contextmanager
    def stage(self, title: str, clips: int, done: int = 0) -> Iterator[None]:
        """title: "generate static". clips: of the whole stage, of which `done` were finished before."""
        del title, clips, done
        yield

    def working_on(self, clip_ids: Sequence[str], frames: int = 0) -> None:
        """The clips now in work, and how many frames they have together (0 where that says nothing)."""

    def frames_done(self, frames: int) -> None:
        """So many frames more."""

    def clips_done(self, clips: int = 1) -> None:
        """So many clips more, failed ones included."""

    def looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        """A detector has looked at so many of the frames of a clip."""

    def note(self, message: str) -> None:
        """Something to know that is no failure: clips at once that did not fit into memory."""


class Notes(Progress):
    """No bar, only the notes: for logs."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._looked_for_faces = False

    def looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        if not self._looked_for_faces:
            self._looked_for_faces = True
            self.note("clips without face boxes: a detector looks for them, once (`data prepare faces` does so ahead)")

    def note(self, message: str) -> None:
        self.console.print(f"note: {message}", markup=False, highlight=False, soft_wrap=True)


class Bar(Notes):
    """One bar per stage: clips and frames done, the clip in work, frames per second, time left.

    Within a batch the bar moves with its frames, so that a stage of three long batches moves too.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._clips = self._finished = self._batch_clips = 0
        self._batch_frames = self._batch_done = self._frames = 0

    @contextmanager
    def stage(self, title: str, clips: int, done: int = 0) -> Iterator[None]:
        from rich import progress

        self._clips, self._finished, self._frames = clips, done, 0
        self._batch_clips = self._batch_frames = self._batch_done = 0
        columns = (
            progress.TextColumn("{task.description}"),
            progress.BarColumn(bar_width=24),
            progress.TextColumn("{task.fields[counts]}"),
            progress.TimeRemainingColumn(elapsed_when_finished=True),
            progress.TextColumn("[dim]{task.fields[clip]}"),
        )
        with progress.Progress(*columns, console=self.console, transient=True) as self._bars:
            self._task = self._bars.add_task(title, total=clips, completed=done, counts="", clip="")
            self._show()
            yield
        self._bars = None

    def working_on(self, clip_ids: Sequence[str], frames: int = 0) -> None:
        self._batch_clips, self._batch_frames, self._batch_done = len(clip_ids), frames, 0
        more = f" and {len(clip_ids) - 1} more" if len(clip_ids) > 1 else ""
        self._show(clip=f"{clip_ids[0]}{more}" if clip_ids else "")

    def frames_done(self, frames: int) -> None:
        self._batch_done += frames
        self._frames += frames
        self._show()

    def clips_done(self, clips: int = 1) -> None:
        self._finished += clips
        self._batch_clips = max(0, self._batch_clips - clips)
        if not self._batch_clips:
            self._batch_frames = 0
        self._show()

    def looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        super().looking_for_faces(clip_id, done, total)
        self._show(clip=f"{clip_id}: faces in {done}/{total} frames" if done < total else clip_id)

    def _show(self, clip: str | None = None) -> None:
        if self._bars is None or self._task is None:
            return
        part = min(1.0, self._batch_done / self._batch_frames) if self._batch_frames else 0.0
        counts = f"{self._finished}/{self._clips} clips"
        if self._frames:
            counts += f" · {self._frames} frames"
        completed = self._finished + part * self._batch_clips
        self._bars.update(self._task, completed=completed, counts=counts)
        if clip is not None:
            self._bars.update(self._task, clip=clip)
