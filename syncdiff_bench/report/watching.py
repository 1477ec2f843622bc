"""Copies of a run's videos that every player shows, and one file per clip with reference and methods side by side.

OUT/<method>/<clip id>.mp4
OUT/side-by-side/<clip id>.mp4
OUT/<dataset>-<split>/...    where runs are of several
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain, zip_longest
from pathlib import Path
from typing import IO

import numpy as np

from syncdiff_bench.contracts import FPS, SAMPLE_RATE, Audio, Frames, Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faults import decoding
from syncdiff_bench.files import unwritable
from syncdiff_bench.media.watchable import Samples, watchable
from syncdiff_bench.progress import Progress
from syncdiff_bench.report.leaderboard import boards
from syncdiff_bench.report.page.material import Material, notable_clips
from syncdiff_bench.report.page.strip import GROUND_TRUTH, reference_row
from syncdiff_bench.report.selection import REFERENCE, row_names
from syncdiff_bench.report.side_by_side import Column, Picture, Upscaling, arranged, enlargement, scaled
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.layout import MANIFEST, video_name

SIDE_BY_SIDE = "side-by-side"  # no method has this folder
LONGEST_FOLDER = 100  # letters


@dataclass(frozen=True)
class Look:
    """How copies look.

    scale: how many times as large as the video, None for `enlargement`. upscaling: how a larger one is made.
    transcript: whether what is said stands below the methods.
    """

    scale: int | None = None
    upscaling: Upscaling = "lanczos"
    transcript: bool = False


@dataclass
class Watched:
    """What was written.

    copies, side_by_side: how many files. clips: of how many clips, of the `chosen` ones, of `of` that there are.
    failed: what there is no copy of: method, clip, and why. notes: what else to know.
    """

    copies: int = 0
    side_by_side: int = 0
    clips: int = 0
    chosen: int = 0
    of: int = 0
    failed: list[tuple[str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def watch(
    runs: Sequence[Run],
    *,
    out: Path,
    wanted: Sequence[str] = (),
    limit: int | None = None,
    look: Look = Look(),
    data_root: Path | None = None,
    progress: Progress | None = None,
) -> Watched:
    """Write H.264 4:2:0 with AAC of the runs' videos, and of each clip one file with the reference and all methods.

    runs: those of one dataset and split stand side by side, whichever clips they have.
    wanted: clip ids; without any the `limit` clips of each dataset that are worth a look, the worst first
        (`notable_clips`), None for all.
    data_root: where the dataset is now; None for where it was.
    A clip that cannot be read is among `failed`, and costs no other. Raises UsageError for a clip that no run has, and
    where files cannot be written or would lie among those that are scored.
    """
    groups = _groups(runs)
    _require_known(wanted, runs)
    folders = [out] if len(groups) == 1 else [out / name for name in _folders(list(map(_title, groups)))]
    works = [_Work(Material(g, data_root), folder, look) for g, folder in zip(groups, folders, strict=True)]
    for work in works:
        for folder in work.folders.values():
            _refuse_scored(folder)
    done, progress = Watched(of=sum(len(work.clips) for work in works)), progress or Progress()
    tasks = [(work, clip_id) for work in works for clip_id in work.chosen(wanted, limit)]
    done.chosen = len(tasks)
    with progress.stage("watch", len(tasks)):
        for work, clip_id in tasks:
            progress.working_on([clip_id])
            before = done.copies
            try:
                work.write(clip_id, done)
            except OSError as error:
                raise unwritable(work.out, error) from None
            done.clips += done.copies > before
            progress.done()
    done.notes += dict.fromkeys(note for work in works for note in work.notes())
    return done


def _groups(runs: Sequence[Run]) -> list[list[Run]]:
    """By dataset, split and options, but for the boxes, which nobody sees."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        options = {key: value for key, value in run.identity.dataset_options.items() if key != "boxes"}
        key = json.dumps([run.identity.dataset, run.identity.split, options], sort_keys=True)
        groups.setdefault(key, []).append(run)
    return list(groups.values())


def _title(runs: Sequence[Run]) -> str:
    return f"{runs[0].identity.dataset}-{runs[0].identity.split}"


def _require_known(wanted: Sequence[str], runs: Sequence[Run]) -> None:
    known = {clip for run in runs for clip in run.identity.clips}
    for clip_id in wanted:
        if clip_id not in known:
            first = runs[0].identity.clips[0] if runs[0].identity.clips else "none"
            raise UsageError(f"{clip_id}: neither a folder with runs nor a clip of theirs, such as {first}")


def _folders(names: Iterable[str]) -> list[str]:
    """Names as folders of every system: one each, in small and capital letters, and none for SIDE_BY_SIDE.

    >>> _folders(["static (b/seed-0)", "../up", "CON", "Static (b seed-0)"])
    ['static-b-seed-0', 'up', 'CON-2', 'Static-b-seed-0-2']
    """
    taken = {SIDE_BY_SIDE, *("con", "prn", "aux", "nul"), *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))}
    found = []
    for name in names:
        plain = folder = re.sub(r"[^\w.,+=-]+", "-", name)[:LONGEST_FOLDER].strip("-.") or "run"
        number = 1
        while folder.casefold() in taken:
            number += 1
            folder = f"{plain}-{number}"
        taken.add(folder.casefold())
        found.append(folder)
    return found


def _refuse_scored(folder: Path) -> None:
    """Raises UsageError for a folder among the videos of a run."""
    where = folder.resolve()
    for one in (where, *where.parents):
        if one.name == "videos" and (one.parent / MANIFEST).is_file():
            raise UsageError(f"--out: {folder} is among the videos of {one.parent}, which are scored; choose another")


class _Spool:
    """The frames of a clip in a file without a name, so that those of all methods are never in memory together.

    size: width and height.
    """

    def __init__(self, file: IO[bytes], frames: Frames) -> None:
        self.file, self.count = file, len(frames)
        self.shape = frames.shape[1:]
        self.size = (self.shape[1], self.shape[0])
        for frame in frames:
            file.write(frame.tobytes())

    def frame(self, index: int) -> Picture:
        """(h, w, 3) uint8 RGB; after the last one, the last one."""
        length = int(np.prod(self.shape))
        self.file.seek(min(index, self.count - 1) * length)
        return np.frombuffer(self.file.read(length), np.uint8).reshape(self.shape)


class _Columns(ExitStack):
    """What is shown of one clip: name -> frames, None where there are none; and the sound of the first that has one."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder
        self.shown: dict[str, _Spool | None] = {}
        self.sound: Audio = np.zeros(0, np.int16)

    def add(self, name: str, media: Media) -> None:
        """Raises OSError."""
        file = self.enter_context(tempfile.TemporaryFile(dir=self.folder))  # noqa: SIM115 - it is closed with this
        self.shown[name] = _Spool(file, media.frames)
        self.sound = self.sound if self.sound.size else media.audio


@contextmanager
def _noted(done: Watched, name: str, clip_id: str) -> Iterator[None]:
    try:
        yield
    except ClipError as error:
        done.failed.append((name, clip_id, str(error)))


@dataclass
class _Work:
    """Runs that stand side by side, and the folder of their copies. said: some clip had a transcript."""

    material: Material
    out: Path
    look: Look
    said: bool = False

    @cached_property
    def clips(self) -> tuple[str, ...]:
        """Those of any of the runs."""
        return tuple(dict.fromkeys(clip for run in self.material.runs for clip in run.identity.clips))

    @cached_property
    def names(self) -> Mapping[str, Run]:
        return dict(zip(row_names(self.material.runs), self.material.runs, strict=True))

    @cached_property
    def folders(self) -> Mapping[str, Path]:
        """Of each name, and of SIDE_BY_SIDE."""
        own = {name: self.out / folder for name, folder in zip(self.names, _folders(self.names), strict=True)}
        return {**own, SIDE_BY_SIDE: self.out / SIDE_BY_SIDE}

    def chosen(self, wanted: Sequence[str], limit: int | None) -> Sequence[str]:
        """As `watch` says."""
        if wanted:
            return [clip for clip in dict.fromkeys(wanted) if clip in self.clips]
        if limit is None or limit >= len(self.clips):
            return self.clips
        found = boards(self.material.runs)
        worst = [notable_clips([row.run for row in board.rows], board.columns, limit) for board in found]
        in_turn = dict.fromkeys(chain.from_iterable(zip_longest(*worst)))
        return [clip for clip in in_turn if clip is not None][:limit]

    def notes(self) -> Iterator[str]:
        """What is to be known of all clips, once they are written."""
        if self.material.problem:
            yield f"without references, as the dataset cannot be opened: {self.material.problem}"
        elif self.look.transcript and not self.said:
            yield f"--transcript: {_title(self.material.runs)} does not know what is said in these clips"

    def write(self, clip_id: str, done: Watched) -> None:
        """A copy of each run's video of a clip, then all side by side. Raises OSError."""
        self.out.mkdir(parents=True, exist_ok=True)
        runs = {name: run for name, run in self.names.items() if clip_id in run.identity.clips}
        with _Columns(self.out) as columns:
            said, taken = self._show_reference(clip_id, list(runs.values()), columns, done)
            taken += [video for run in runs.values() if (video := self.material.video(run, clip_id)) is not None]
            for name, run in runs.items():
                columns.shown[name] = None
                with _noted(done, name, clip_id):
                    self._copy(name, run, clip_id, columns, taken)
                    done.copies += 1
            if len(columns.shown) > 1 and any(columns.shown[name] is not None for name in runs):
                with _noted(done, SIDE_BY_SIDE, clip_id):
                    self._put_side_by_side(clip_id, columns, said, taken)
                    done.side_by_side += 1

    def _show_reference(
        self, clip_id: str, runs: Sequence[Run], columns: _Columns, done: Watched
    ) -> tuple[str, list[Path]]:
        """What is to stand below the columns, and the file of the reference."""
        if self.material.problem:
            return "", []
        with _noted(done, REFERENCE, clip_id):
            with decoding(clip_id):
                reference = self.material.reference(clip_id)
            for name, clip in reference_row(reference, runs).items():
                columns.add(name, clip.media)
            said = (reference.transcript or "") if self.look.transcript else ""
            self.said |= bool(said)
            return said, [] if reference.path is None else [reference.path]
        if all(run.identity.method != GROUND_TRUTH for run in runs):
            columns.shown[REFERENCE] = None
        return "", []

    def _copy(self, name: str, run: Run, clip_id: str, columns: _Columns, taken: Sequence[Path]) -> None:
        with decoding(clip_id):
            media = self.material.generated(run, clip_id).media
        columns.add(name, media)
        height, width = media.frames.shape[1:3]
        factor = self.look.scale or enlargement((width, height))
        size, frames = (factor * width, factor * height), scaled(media.frames, factor, self.look.upscaling)
        _write(self._target(name, clip_id, taken), size, frames, media.audio)

    def _put_side_by_side(self, clip_id: str, columns: _Columns, said: str, taken: Sequence[Path]) -> None:
        shown = [Column(name, None if spool is None else spool.size) for name, spool in columns.shown.items()]
        sheet = arranged(shown, scale=self.look.scale, upscaling=self.look.upscaling, below=said)
        spools = columns.shown.values()
        count = max(spool.count for spool in spools if spool is not None)
        frames = (
            sheet.picture([None if spool is None else spool.frame(index) for spool in spools]) for index in range(count)
        )
        height, width = sheet.ground.shape[:2]
        _write(self._target(SIDE_BY_SIDE, clip_id, taken), (width, height), frames, columns.sound)

    def _target(self, name: str, clip_id: str, taken: Sequence[Path]) -> Path:
        """taken: files that are shown. Raises ClipError where one of them lies there."""
        try:
            target = self.folders[name] / video_name(clip_id)
        except UsageError as error:
            raise ClipError("id", str(error)) from None
        if target.exists() and any(path.exists() and target.samefile(path) for path in taken):
            told = "is the video that is shown, which no copy replaces; choose another --out"
            raise ClipError("in-place", f"{target} {told}")
        return target


def _write(path: Path, size: tuple[int, int], frames: Iterable[Picture], audio: Audio) -> None:
    sound = Samples(audio, SAMPLE_RATE) if audio.size else None
    with watchable(path, *size, FPS, sound) as video:
        for frame in frames:
            video.write(frame)
