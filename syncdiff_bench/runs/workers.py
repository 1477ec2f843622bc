"""Processes of this machine that share the batches of a stage: this one, and others that it starts beside itself.

This process deals the batches out, writes every line, and works itself. The others (spawned: each loads the networks
anew) are fed by a thread each, which sends a batch and passes on what comes back. One that dies costs its batch.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Generic, Protocol, TypeVar

from syncdiff_bench import platforms
from syncdiff_bench.errors import BenchError
from syncdiff_bench.progress import Progress

TaskT = TypeVar("TaskT")
Emit = Callable[[Any], None]

# Starting a process (Python, torch, the networks) costs about so much: less work than that is done alone.
START_SECONDS = 10.0
# With so many batches to do, one process gets ready beside the first batch, before it is known whether it pays.
HEAD_START = 12
HEAD_START_BYTES = 4 * 2**30  # of free memory, which nobody has measured yet
MEMORY_SHARE = 0.8  # of the memory that is free
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


class Work(Protocol):
    """What is done with a batch; made anew in each process by pickling.

    progress: whom it tells what it is at.
    """

    progress: Progress

    def get_ready(self, task: Any) -> None:
        """Load what such a batch needs, before it comes. Emits nothing; what it raises is raised by the batch too."""

    def __call__(self, task: Any, emit: Emit) -> None:
        """Do the batch and emit what came out, line by line. Raises BenchError where the run cannot go on."""


class Crew:
    """At most `workers` processes at work, this one among them; 0: as many as pay, by time, cores and memory."""

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self._others: list[_Other] = []
        self._ahead: _Other | None = None  # gets ready, and has done nothing yet

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        for other in self._others:
            other.stop(at_once=kind is not None)
        if self._ahead is not None:
            self._ahead.stop(at_once=True)
        self._others, self._ahead = [], None

    @property
    def pids(self) -> list[int | None]:
        """Of the other processes."""
        return [other._process.pid for other in (*self._others, *filter(None, [self._ahead]))]

    def each(
        self,
        tasks: Sequence[TaskT],
        work: Work,
        handle: Callable[[TaskT, Any], None],
        lost: Callable[[TaskT, str], None],
        *,
        most: int | None = None,
    ) -> None:
        """Do all tasks.

        handle: gets every line that comes out, never two at a time. lost: the same, of a task whose process died.
        most: no more processes than that.
        Raises what `work` raises, once the batches in work are done.
        """
        with _Dealing(tasks, work, handle, lost) as dealing:
            limit = min(self.workers or sys.maxsize, sys.maxsize if most is None else most)
            if limit > 1 and (self.workers or self._others):
                # Of an earlier stage there are as many as paid there, and no more are started for this one.
                self._engage(dealing, min(limit, self.workers or len(self._others) + 1, len(tasks)))
            elif limit > 1 and len(tasks) >= HEAD_START and _cores() > 1 and _free_bytes() > HEAD_START_BYTES:
                self._ahead = self._ahead or _Other(1, _cores() // min(limit, _cores()))
                self._ahead.offer(work, tasks[-1])
            started = time.monotonic()
            for done, task in enumerate(dealing.take(), start=1):
                work(task, lambda item, task=task: dealing.handle(task, item))  # type: ignore[misc]
                left = len(dealing.tasks)
                seconds = (time.monotonic() - started) / done * left
                if limit > 1 and not dealing.threads and seconds > START_SECONDS:
                    self._engage(dealing, min(limit, _cores(), _that_fit(), left + 1))

    def _engage(self, dealing: _Dealing[Any], count: int) -> None:
        """Let others take part in a stage, so that `count` processes are at work."""
        if count <= 1:
            return
        threads = max(1, _cores() // count)
        if self._ahead is not None:
            self._others.append(self._ahead)
            self._ahead = None
        while len(self._others) < count - 1:
            self._others.append(_Other(len(self._others) + 1, threads))
        dealing.share(self._others[: count - 1], threads)


class _Dealing(Generic[TaskT]):
    """The tasks of one stage while they are dealt out."""

    def __init__(
        self,
        tasks: Sequence[TaskT],
        work: Work,
        handle: Callable[[TaskT, Any], None],
        lost: Callable[[TaskT, str], None],
    ) -> None:
        self.tasks = deque(tasks)
        self.work = work
        self.threads: list[threading.Thread] = []
        self.stopped = False  # the other processes are about to be ended
        self._handle, self._lost = handle, lost
        self._one_at_a_time = threading.RLock()
        self._errors: list[BaseException] = []
        self._torch_threads: int | None = None

    def __enter__(self) -> _Dealing[TaskT]:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.tasks.clear()
        self.stopped = kind is not None and not issubclass(kind, Exception)
        try:
            for thread in self.threads if not self.stopped else ():
                thread.join()
        finally:
            if self._torch_threads is not None:
                torch_threads(self._torch_threads)
        if kind is None and self._errors:
            raise self._errors[0]

    def take(self) -> Iterator[TaskT]:
        while self.tasks and not self._errors:
            try:
                yield self.tasks.popleft()
            except IndexError:  # another thread was faster
                return

    def handle(self, task: TaskT, item: Any) -> None:
        with self._one_at_a_time:
            self._handle(task, item)

    def share(self, others: Sequence[_Other], threads: int) -> None:
        self._torch_threads = torch_threads(threads)
        for other in others:
            thread = threading.Thread(target=self._feed, args=(other,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _feed(self, other: _Other) -> None:
        try:
            if not other.begin(self.work):
                self._note(f"a worker could not start ({other.reason}); the others go on")
                return
            for task in self.take():
                if self._done(other, task):
                    continue
                with self._one_at_a_time:
                    if not self.stopped:
                        self._lost(task, other.reason)
                if self.stopped or not (self.tasks and other.begin(self.work)):
                    return
        except BaseException as error:
            self.tasks.clear()
            self._errors.append(error)

    def _done(self, other: _Other, task: TaskT) -> bool:
        """Whether the other process lived to do the task."""
        for kind, value in other.answers(task):
            if kind == "line":
                self.handle(task, value)
            elif kind == "told":
                name, arguments = value
                worker = {} if name in _OF_ALL else {"worker": other.number}
                with self._one_at_a_time:
                    getattr(self.work.progress, name)(*arguments, **worker)
            else:
                return True
        return False

    def _note(self, message: str) -> None:
        with self._one_at_a_time:
            self.work.progress.note(message)


_OF_ALL = ("looking_for_faces", "note")  # what a `Progress` is told without saying by which worker


class _Other:
    """One of the other processes. number: from 1. reason: why it ended; threads: what it reads when it starts."""

    def __init__(self, number: int, threads: int) -> None:
        self.number = number
        self.threads = threads
        self.reason = ""
        self.restart()

    def restart(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True, name=f"worker-{self.number}")
        with _environment({name: str(self.threads) for name in THREADS}):
            self._process.start()
        theirs.close()
        self._offered: Work | None = None
        self._unread = 0  # answers to offers

    def offer(self, work: Work, task: Any) -> None:
        """Hand the work over, and let it get ready for such a task; `begin` hears whether the first went well."""
        with suppress(Exception):  # a process that died, work that cannot be pickled: `begin` tries again, and says it
            self._hand_over(work)
            self._connection.send(("such a task", task))

    def begin(self, work: Work) -> bool:
        """Whether the work could be handed over."""
        if not self._process.is_alive():
            self.restart()
        try:
            if self._offered is not work:
                self._hand_over(work)
            while self._unread:
                kind, value = self._connection.recv()
                self._unread -= 1
        except (EOFError, OSError):
            return self._ended()
        except Exception as error:  # what cannot be pickled
            self.reason = " ".join(str(error).split())
            return False
        self._offered = None  # a process that dies is given it again
        if kind != "ready":
            self.reason = str(value)
        return bool(kind == "ready")

    def _hand_over(self, work: Work) -> None:
        self._connection.send(("work", work))
        self._offered, self._unread = work, self._unread + 1

    def answers(self, task: Any) -> Iterator[tuple[str, Any]]:
        """What the process says while it is at a task; ends after ("done", None), or without it where it dies."""
        try:
            self._connection.send(("task", task))
            while True:
                kind, value = self._connection.recv()
                if kind == "failed":
                    raise value
                yield kind, value
                if kind == "done":
                    return
        except (EOFError, OSError):
            self._ended()

    def _ended(self) -> bool:
        self._process.join(5)
        code = self._process.exitcode
        self.reason = f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
        return False

    def stop(self, *, at_once: bool) -> None:
        self._connection.close()
        if not at_once:
            self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()


class _Told(Progress):
    """Passes on what the work of this process tells."""

    def __init__(self, connection: Connection) -> None:
        self._send = connection.send

    def working_on(self, clip_ids: Sequence[str], frames: int = 0, *, worker: int = 0) -> None:
        self._send(("told", ("working_on", (list(clip_ids), frames))))

    def frames_done(self, frames: int, *, worker: int = 0) -> None:
        self._send(("told", ("frames_done", (frames,))))

    def looking_for_faces(self, clip_id: str, done: int, total: int) -> None:
        self._send(("told", ("looking_for_faces", (clip_id, done, total))))

    def note(self, message: str) -> None:
        self._send(("told", ("note", (message,))))


def _serve(connection: Connection) -> None:
    """What another process does: first the work comes, then a batch at a time, until this one closes the pipe."""
    for one in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and schedulers reach all; the first process ends the others
        signal.signal(one, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work: Any = None
    while True:
        try:
            kind, given = connection.recv()
        except (EOFError, OSError):
            return
        except Exception as error:
            connection.send(("unusable", " ".join(str(error).split())))
            continue
        try:
            if kind == "work":
                work = given
                work.progress = _Told(connection)
                connection.send(("ready", None))
            elif kind == "such a task":
                with suppress(Exception):
                    work.get_ready(given)
            else:
                work(given, lambda item: connection.send(("line", item)))
                connection.send(("done", None))
        except Exception as error:
            connection.send(("failed", _sendable(error)))


def _sendable(error: Exception) -> Exception:
    """The error itself, or one that says the same where it cannot be pickled: an __init__ of its own does that."""
    import copy

    try:
        return copy.copy(error)  # goes the way of pickling
    except Exception:
        return BenchError(" ".join(str(error).split()))


def _end_with_parent() -> None:
    """Also in the middle of a batch, and however the parent ended."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """A process reads how many threads to use when it starts."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def torch_threads(count: int) -> int | None:
    """Let torch use so many threads in this process; how many it used before, None where it is not in use."""
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    before = int(torch.get_num_threads())
    torch.set_num_threads(count)
    return before


def _cores() -> int:
    """Those that this process may use, shared with the other ranks of this machine."""
    return max(1, platforms.cores() // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


def _that_fit() -> int:
    """How many processes as large as this one there is memory for, this one among them."""
    import psutil

    return 1 + int(MEMORY_SHARE * _free_bytes() / psutil.Process().memory_info().rss)


def _free_bytes() -> int:
    import psutil

    return int(psutil.virtual_memory().available)
