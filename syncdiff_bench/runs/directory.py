"""The run directory on disk: opened for writing, and read back. Its files: `layout`."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from syncdiff_bench.caveats import Counted
from syncdiff_bench.caveats import recorded as recorded_caveats
from syncdiff_bench.documents import WrongValue, parse_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import unwritable, write_whole
from syncdiff_bench.journals import Journal, read_rows
from syncdiff_bench.leftovers import sweep
from syncdiff_bench.origins import ScoringNetwork, scoring_networks
from syncdiff_bench.presenting import Presented
from syncdiff_bench.runs.data_frame import data_frame
from syncdiff_bench.runs.layout import (
    COPY,
    DEPTHS,
    DIGESTS,
    GENERATION,
    MANIFEST,
    PROTOCOLS,
    SCORES,
    TIMINGS,
    claimed,
    part_file,
    part_files,
    video_name,
)
from syncdiff_bench.runs.lines import ScoreLines, parsed, records
from syncdiff_bench.runs.manifest import AS_GIVEN, Identity, new_manifest, versions
from syncdiff_bench.runs.ranks import Ranks
from syncdiff_bench.runs.recorded import check_identity, read_manifest, read_protocols, recorded
from syncdiff_bench.runs.records import Generated, Score
from syncdiff_bench.runs.summary import ColumnSummary, few_speakers, in_words
from syncdiff_bench.runs.timing import Speed, put_together, read_timings, speed_of
from syncdiff_bench.weights.digests import KnownFiles

if TYPE_CHECKING:
    from pandas import DataFrame

logger = logging.getLogger(__name__)
Key = tuple[str, str, str]  # clip, metric, protocol
Lines = bool | Literal["passing"]
LOST_LINES = "lost-lines"  # the caveat of a run whose journals lack some


@dataclass(frozen=True, repr=False)
class Run(Presented):
    """A run as read from its directory, finished or not.

    manifest: run.json. scores: in the order of clips, then metrics; a tuple, or read as they pass (`load_run`).
    generated: clip id -> its last line of generation.jsonl.
    label: what tables and figures call it, in place of its method; no part of the directory.
    unread: its journals were not read: there are none, or they are as they were when it ended (`load_run`); no scores,
        nothing generated.
    """

    path: Path
    manifest: Mapping[str, Any]
    identity: Identity
    scores: Collection[Score]
    generated: Mapping[str, Generated]
    label: str = ""
    unread: bool = False

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        facts = {"state": "" if self.finished else "not finished", **in_words(self.summary)}
        title = f"run {self.label or self.identity.method} on {self.identity.dataset} {self.identity.split}"
        return title, {"clips": len(self.identity.clips), **facts, "in": self.path}

    @property
    def finished(self) -> bool:
        return self.manifest["finished"] is not None

    @cached_property
    def speakers(self) -> Mapping[str, str]:
        """Clip id -> what its statistics cluster on: its speaker, else the clip itself."""
        return speakers(self.identity, self.generated)

    @property
    def summary(self) -> tuple[ColumnSummary, ...]:
        """One entry per column, as in run.json."""
        return tuple(ColumnSummary.from_json(entry) for entry in self.manifest["summary"])

    @cached_property
    def judges(self) -> Mapping[tuple[str, str], ScoringNetwork]:
        """(metric, protocol) -> the weights and versions behind its numbers."""
        return scoring_networks(self.manifest)

    @cached_property
    def speed(self) -> Speed | None:
        """How fast its method was; None of a bound, and of videos that somebody else made."""
        given = self.identity.topline or self.identity.encoding == AS_GIVEN
        return None if given else speed_of(read_timings(self.path))

    @property
    def caveats(self) -> tuple[Counted, ...]:
        """What a reader should know before believing a number of this run."""
        # A version that recorded no caveats did record the speakers.
        known = few_speakers(self.speakers.values()) if "caveats" not in self.manifest else ()
        return (*recorded_caveats(self.manifest), *self._lost(), *known)

    def _lost(self) -> tuple[Counted, ...]:
        """A finished run has a line of each clip, and of each clip and metric."""
        if not self.finished or self.unread:
            return ()
        clips = self.identity.clips
        lost = len(clips) * len(self.manifest["protocols"]) - len(self.scores)
        if self.identity.encoding != AS_GIVEN:
            lost += len(clips) - sum(clip in self.generated for clip in clips)
        told = f"{lost} lines of its journals are lost; the same command makes them again"
        return (Counted(LOST_LINES, told),) if lost > 0 else ()

    def to_pandas(self) -> DataFrame:
        """One row per clip: speaker, a column "<column>[<protocol>]" per value (NaN: undefined or failed), the reasons
        of failures, and what to know of this clip (`caveats` has what is of the run); both joined.

        Where two metrics have a column of one name and protocol, theirs are "<metric>.<column>[<protocol>]".
        """
        return data_frame(self.scores, self.speakers, self.generated)


def speakers(identity: Identity, generated: Mapping[str, Generated]) -> dict[str, str]:
    """Clip id -> its speaker, else the clip itself."""
    known = {clip: record.speaker for clip, record in generated.items()}
    return {clip: known.get(clip) or clip for clip in identity.clips}


def load_run(path: Path, *, lines: Lines = True) -> Run:
    """Read a run directory. Raises UsageError where there is none, or where it is damaged.

    lines: False for a table, which is made of run.json: journals that nobody touched since the run ended stay `unread`.
        "passing" for who goes through the scores once, of which tens of thousands are then never in memory together.
    """
    manifest = read_manifest(path)
    identity = Identity.from_json(manifest)
    journals = (path / GENERATION, path / SCORES)
    if not lines and manifest["finished"] and KnownFiles(path / DIGESTS).unchanged(*journals):
        return Run(path, manifest, identity, (), {}, unread=True)
    files, clips = [path / GENERATION, *part_files(path, GENERATION)], frozenset(identity.clips)
    scores: Collection[Score] = ScoreLines(path / SCORES, clips)  # of other clips a run says nothing
    if parts := [row for file in part_files(path, SCORES) for row in records(file, Score.from_row)]:
        place = {clip: number for number, clip in enumerate(identity.clips)}
        known = {row.key: row for row in (*scores, *parts) if row.clip in clips}
        scores = tuple(sorted(known.values(), key=lambda row: place[row.clip]))
    return Run(
        path=path,
        manifest=manifest,
        identity=identity,
        scores=scores if lines == "passing" else tuple(iter(scores)),  # a length would be asked for first
        generated={line.clip: line for file in files for line in records(file, Generated.from_row)},
    )


def run_directories(folders: Iterable[Path]) -> tuple[Path, ...]:
    """The run directories among the folders and below them (`layout.DEPTHS`), in the order given, then by name.

    What `probe` records is no run and left out.
    Raises UsageError for a folder that is missing or holds no run.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder; give a run directory or the --out of a run")
        files = [file for depth in DEPTHS for file in sorted(folder.glob(depth + MANIFEST))]
        runs = [file.parent for file in files if not _of_a_probe(file)]
        if not runs:
            raise UsageError(f"{folder} holds no {MANIFEST} of a run; give a run directory or the --out of a run")
        for path in runs:
            found.setdefault(path.resolve(), path)
    return tuple(found.values())


def _of_a_probe(file: Path) -> bool:
    if (file.parent / GENERATION).is_file():
        return False
    try:
        return "probe" in parse_json(file.read_bytes())
    except (OSError, WrongValue, TypeError):
        return False  # whoever loads it says what is wrong


class RunDirectory:
    """A run directory opened for writing: by one process, by the ranks of one launch, or by shards beside each other.

    manifest: the content of run.json; `save` writes it.
    files: digests of the videos that the run rests on.
    generated: clip -> its last line of generation.jsonl.
    scores: (clip, metric, protocol) -> its last line of scores.jsonl.

    Each file is read once, when it is first asked for.
    """

    def __init__(self, path: Path, identity: Identity, manifest: dict[str, Any], ranks: Ranks) -> None:
        self.path = path
        self.identity = identity
        self.manifest = manifest
        self.ranks = ranks
        self.files = KnownFiles(path / DIGESTS)
        self._saved = ""

    @classmethod
    @contextmanager
    def opened(
        cls,
        path: Path,
        identity: Identity,
        device: str,
        ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    ) -> Iterator[RunDirectory]:
        """Create the directory, or go on with it. Of several ranks the first does so, and the others come after it.

        What parts left is put together first, where nobody else is at work.
        Raises UsageError where it belongs to another identity, is in use, or cannot be written.
        """
        if not ranks.first:
            ranks.wait()
        if not path.is_dir():
            check_identity(path, identity)  # a file?
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from None

        def entered(alone: bool) -> RunDirectory:
            sweep(path, alone=alone)
            known, damage = recorded(path, identity)
            run = cls(path, identity, known or new_manifest(identity, device), ranks)
            if known and not damage:
                run._saved = run._text()
            elif ranks.first:
                if damage:
                    logger.warning(f"{damage}; it is as its copy again, which is of the same run")
                run._write()
            if alone:
                run.merge_parts()
            return run

        with claimed(path, ranks, entered) as run:
            if ranks.first:
                ranks.wait()
            yield run

    @property
    def whole(self) -> bool:
        """Whether this process is the one that puts together what all of them made."""
        return self.ranks.first and self.ranks.shards == 1

    def save(self) -> None:
        """Write run.json where it changed, and remember the digests; a part writes what it knows of the metrics."""
        if self.whole:
            self.files.save()
            self._write()
        elif self.manifest["protocols"]:
            text = json.dumps(self.manifest["protocols"], indent=1, ensure_ascii=False) + "\n"
            write_whole(part_file(self.path, PROTOCOLS, self.ranks.part), text)

    def _write(self) -> None:
        text = self._text()
        if text != self._saved:
            write_whole(self.path / MANIFEST, text)
            write_whole(self.path / COPY, text)
            self._saved = text

    def _text(self) -> str:
        return json.dumps(self.manifest, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @cached_property
    def _generation(self) -> Journal:
        return Journal(self.path / GENERATION)

    @cached_property
    def _scores(self) -> Journal:
        return Journal(self.path / SCORES)

    @cached_property
    def generated(self) -> dict[str, Generated]:
        files = part_files(self.path, GENERATION)
        rows: list[Iterable[Mapping[str, Any]]] = [self._generation.read(), *map(read_rows, files)]
        lines = (parsed(self._generation.path, some, Generated.from_row) for some in rows)
        return {line.clip: line for some in lines for line in some}

    @cached_property
    def scores(self) -> dict[Key, Score]:
        files = part_files(self.path, SCORES)
        rows: list[Iterable[Mapping[str, Any]]] = [self._scores.read(), *map(read_rows, files)]
        lines = (parsed(self._scores.path, some, Score.from_row) for some in rows)
        return {line.key: line for some in lines for line in some}

    @cached_property
    def _own_generation(self) -> Journal:
        part = self.ranks.part
        return Journal(part_file(self.path, GENERATION, part)) if part else self._generation

    @cached_property
    def _own_scores(self) -> Journal:
        part = self.ranks.part
        return Journal(part_file(self.path, SCORES, part)) if part else self._scores

    def add_generated(self, line: Generated) -> None:
        """Note a clip; one of several processes does so in a journal of its own."""
        self._own_generation.append([line.to_row()])
        self.generated[line.clip] = line

    def add_scores(self, rows: Sequence[Score]) -> None:
        """As `add_generated`."""
        self._own_scores.append(row.to_row() for row in rows)
        self.scores.update({row.key: row for row in rows})

    def merge_parts(self) -> None:
        """Move what all parts know into the files of the whole. Killed in between, it does so again to the same end.

        Raises UsageError where parts scored with different weights.
        """
        files = part_files(self.path, PROTOCOLS, GENERATION, SCORES, TIMINGS)
        if not files:
            return
        # Before the first line that rests on what run.json says of a metric.
        self._merge_protocols()
        self._write()
        for name, journal in ((GENERATION, self._generation), (SCORES, self._scores)):
            parse: Callable[[Mapping[str, Any]], Generated | Score] = (
                Generated.from_row if name == GENERATION else Score.from_row
            )
            files_of = part_files(self.path, name)
            rows = [row.to_row() for file in files_of for row in records(file, parse)]
            if rows:
                journal.append(rows)
        put_together(self.path)
        for known in ("generated", "scores"):
            self.__dict__.pop(known, None)
        for file in files:
            file.unlink()

    def _merge_protocols(self) -> None:
        joined: dict[tuple[str, str], dict[str, Any]] = {}
        known = {(one["metric"], one["protocol"]): one for one in self.manifest["protocols"]}
        for file in part_files(self.path, PROTOCOLS):
            for entry in read_protocols(file):
                key = (entry["metric"], entry["protocol"])
                mine = joined.setdefault(key, known.get(key, entry))
                if not mine["weights"]:
                    mine.update(weights=entry["weights"], provenance=entry.get("provenance") or {})
                elif entry["weights"] and entry["weights"] != mine["weights"]:
                    raise UsageError(
                        f"{file}: {entry['metric']} was scored with other weights than in {self.path}; "
                        "delete the file and the scores of that part, and `score` it again"
                    )
        if joined and list(joined.values()) != self.manifest["protocols"]:
            self.manifest.update(protocols=list(joined.values()), finished=None, versions=versions())

    def settle_generated(self) -> None:
        """Bring generation.jsonl into plan order: the same bytes for any number of processes and interruptions."""
        lines = [self.generated[clip] for clip in self.identity.clips if clip in self.generated]
        if not self._generation.holds(self.generated, lines):
            self._generation.rewrite(line.to_row() for line in lines)

    def settle_scores(self, scores: Sequence[Score]) -> None:
        """Keep these scores, in this order."""
        if not self._scores.holds(self.scores, scores):
            self._scores.rewrite(row.to_row() for row in scores)
        self.scores = {row.key: row for row in scores}

    def as_run(self) -> Run:
        """What `load_run` would read once the directory is closed."""
        manifest = json.loads(self._text())
        return Run(self.path, manifest, self.identity, tuple(self.scores.values()), self.generated)

    def video_path(self, clip_id: str) -> Path:
        """Raises UsageError for a clip id that leads out of the directory."""
        return self.path / "videos" / video_name(clip_id)
