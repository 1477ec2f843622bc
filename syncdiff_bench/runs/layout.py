"""The files of a run directory, and who may write them.

RUN/run.json            everything needed to repeat the run, and its summary
RUN/.run.copy.json      the same, for the day that it is damaged
RUN/generation.jsonl    one line per generated (or failed) clip
RUN/videos/<id>.mp4     what the method made
RUN/scores.jsonl        one line per clip and metric
RUN/timings.jsonl       how long the method took, a line per batch (`timing`); equal runs differ in it
RUN/errors.log          tracebacks of what plugins raised (`faults.FaultLog`)
RUN/.digests.json       what is remembered of files, so that they need not be read again (`KnownFiles`)
RUN/generation.PART.jsonl, scores.PART.jsonl, timings.PART.jsonl   lines of one process of several (`Ranks.part`)
RUN/protocols.PART.json   what it knows of the metrics that its scores are by
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import TypeVar

from syncdiff_bench.errors import UsageError
from syncdiff_bench.faults import LOG
from syncdiff_bench.files import locked, unwritable
from syncdiff_bench.runs.ranks import Ranks

MANIFEST = "run.json"
COPY = ".run.copy.json"
GENERATION = "generation.jsonl"
SCORES = "scores.jsonl"
TIMINGS = "timings.jsonl"
DIGESTS = ".digests.json"
PROTOCOLS = "protocols.json"  # of a part; of the whole they stand in run.json
# Where runs lie in a folder of them: two levels down, and the trainings that `paper reproduce` makes of a row.
DEPTHS = ("", "*/", "*/*/", "*/training-*/*/")

T = TypeVar("T")
# A shard that comes while another process reads or puts together waits for it so many seconds.
PATIENCE = 60.0


def video_name(clip_id: str) -> PurePosixPath:
    """`<clip id>.mp4`. Raises UsageError for an id that leads out of its folder."""
    check_id(clip_id)
    return PurePosixPath(f"{clip_id}.mp4")


def check_id(clip_id: str) -> None:
    """Raises UsageError for an id that leads out of its folder."""
    if not clip_id or clip_id[0] == "/" or ".." in clip_id.split("/") or "\\" in clip_id or "\0" in clip_id:
        raise UsageError(f"clip id {clip_id!r} leads out of its folder; the dataset must give relative ids")


def part_file(path: Path, name: str, part: str) -> Path:
    """The file of a part: `scores.jsonl` of "rank-1" is `scores.rank-1.jsonl`; of "" the file of the whole."""
    file = path / name
    return file.with_name(f"{file.stem}.{part}{file.suffix}") if part else file


def part_files(path: Path, *names: str) -> list[Path]:
    """The files of all parts that were not put together yet."""
    found = (one for name in names for kind in ("rank", "shard") for one in path.glob(_pattern(name, kind)))
    return sorted(found)


def _pattern(name: str, kind: str) -> str:
    stem, _, suffix = name.partition(".")
    return f"{stem}.{kind}-*.{suffix}"


class InUse(UsageError):  # noqa: N818 - somebody else is at work, nothing is wrong
    """Another process is at work in the run directory."""


@contextmanager
def claimed(path: Path, ranks: Ranks, enter: Callable[[bool], T]) -> Iterator[T]:
    """Be at work in a run directory: alone, as one of the ranks of a launch, or beside other shards.

    enter: called before anybody else is let in, with whether nobody else is at work here; yields what it returns.
    Two processes that append to one journal would tear it: one that is alone is let in where nobody is; a shard where
    nobody or other shards are; a rank by the first one of its launch.
    Raises InUse, UsageError where the directory cannot be written.
    """
    with ExitStack() as mine:
        if ranks.count > 1 and not ranks.first:
            _hold(mine, path, ranks.part)
            entered = enter(False)
        elif ranks.shards == 1:
            _hold_gate(mine, path)
            _hold(mine, path)
            entered = enter(True)
        else:
            with ExitStack() as moment:
                _hold_gate(moment, path, wait=PATIENCE)
                try:
                    _hold(moment, path)
                    alone = True
                except InUse:  # by other shards: who is alone keeps the gate
                    alone = False
                _hold(mine, path, ranks.part)
                entered = enter(alone)
        yield entered


def _hold(stack: ExitStack, path: Path, part: str = "") -> None:
    _locked(stack, path, path / ".lock", part or None)


def _hold_gate(stack: ExitStack, path: Path, wait: float = 0.0) -> None:
    """Whoever wants to be alone keeps the gate; a shard passes through it."""
    last = time.monotonic() + wait
    while True:
        try:
            return _locked(stack, path, path / ".lock.gate", None)
        except InUse:
            if time.monotonic() > last:
                raise
        time.sleep(0.1)


def _locked(stack: ExitStack, path: Path, file: Path, member: str | None) -> None:
    refusal = f"{path} is in use by another process; wait for it or choose another --out"
    try:
        stack.enter_context(locked(file, refusal=refusal, member=member))
    except UsageError as error:
        raise InUse(str(error)) from None
    except OSError as error:
        raise unwritable(path, error) from None


def discard(path: Path, *, scores_only: bool = False) -> str:
    """Delete what a run wrote, so that it starts anew; returns what was deleted, in words, "" for nothing.

    scores_only: keep the videos. Files that no run writes stay.
    Raises UsageError where another process is at work there, or a file cannot be deleted.
    """
    if not (path / MANIFEST).is_file() and not (path / COPY).is_file():
        return ""
    # run.json goes last: as long as it is there, the same command finishes what was begun.
    names = (SCORES,) if scores_only else (SCORES, "videos", "logs", LOG, GENERATION, TIMINGS, DIGESTS, MANIFEST)
    with claimed(path, Ranks(), bool):
        parts = part_files(path, SCORES, PROTOCOLS, *(() if scores_only else (GENERATION, TIMINGS)))
        if not scores_only and (path / COPY).exists():
            _deleted(path / COPY)
        files = [*parts, *(path / name for name in names)]
        deleted = [_deleted(file) for file in files if file.exists() or file.is_symlink()]
    return f"deleted {', '.join(deleted)} of {path}" if deleted else ""


def _deleted(file: Path) -> str:
    try:
        if file.is_dir() and not file.is_symlink():
            n = sum(one.is_file() for one in file.rglob("*"))
            shutil.rmtree(file)
            return f"{file.name}/ ({n} files)"
        file.unlink()
    except OSError as error:
        raise UsageError(f"{file} cannot be deleted ({error.strerror}); delete it yourself") from None
    return file.name
