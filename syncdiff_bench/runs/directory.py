"""The run directory on disk: who may write where, and reading it back.

RUN/run.json           everything needed to repeat the run, and its summary
RUN/generation.jsonl   one line per generated (or failed) clip
RUN/generation.rank-N.jsonl   the same, of one process of several; merged into it at the end, or by the next run
RUN/videos/<id>.mp4    what the method made
RUN/scores.jsonl       one line per clip and metric
RUN/.digests.json      what is remembered of files, so that they need not be read again (`KnownFiles`)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

from syncdiff_bench.caveats import Counted, recorded
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import Journal, locked, read_rows, unwritable, write_whole
from syncdiff_bench.origins import ScoringNetwork, scoring_networks
from syncdiff_bench.runs.manifest import Identity, new_manifest
from syncdiff_bench.runs.ranks import Ranks
from syncdiff_bench.runs.records import SCHEMA, Generated, Score
from syncdiff_bench.runs.summary import ColumnSummary, few_speakers
from syncdiff_bench.weights.digests import KnownFiles

if TYPE_CHECKING:
    from pandas import DataFrame

MANIFEST = "run.json"
GENERATION = "generation.jsonl"
SCORES = "scores.jsonl"
DIGESTS = ".digests.json"

T = TypeVar("T")
Key = tuple[str, str, str]  # clip, metric, protocol


@dataclass(frozen=True)
class Run:
    """A run as read from its directory, finished or not.

    manifest: run.json. scores: in the order of clips, then metrics.
    generated: clip id -> its last line of generation.jsonl.
    label: what tables and figures call it, in place of its method; no part of the directory.
    """

    path: Path
    manifest: Mapping[str, Any]
    identity: Identity
    scores: tuple[Score, ...]
    generated: Mapping[str, Generated]
    label: str = ""

    @property
    def finished(self) -> bool:
        return self.manifest["finished"] is not None

    @property
    def speakers(self) -> dict[str, str]:
        """Clip id -> what its statistics cluster on: its speaker, else the clip itself."""
        return speakers(self.identity, self.generated)

    @property
    def summary(self) -> tuple[ColumnSummary, ...]:
        """One entry per column, as in run.json. Raises UsageError where it cannot be read."""
        try:
            return tuple(ColumnSummary.from_json(entry) for entry in self.manifest["summary"])
        except (KeyError, TypeError) as error:
            raise UsageError(f"{self.path / MANIFEST} has no readable summary ({error}); score it again") from None

    @cached_property
    def judges(self) -> Mapping[tuple[str, str], ScoringNetwork]:
        """(metric, protocol) -> the weights and versions behind its numbers."""
        return scoring_networks(self.manifest)

    @property
    def caveats(self) -> tuple[Counted, ...]:
        """What a reader should know before believing a number of this run."""
        # A version that recorded no caveats did record the speakers.
        known = few_speakers(self.speakers.values()) if "caveats" not in self.manifest else ()
        return (*recorded(self.manifest), *known)

    def to_pandas(self) -> DataFrame:
        """One row per clip: speaker, a column "<column>[<protocol>]" per value (NaN: undefined or failed), the reasons
        of failures, and what to know of this clip (`caveats` has what is of the run); both joined.

        Where two metrics have a column of one name and protocol, theirs are "<metric>.<column>[<protocol>]".
        """
        import pandas as pd

        from syncdiff_bench.caveats import UNRECORDED

        owners: dict[tuple[str, str], set[str]] = {}
        for score in self.scores:
            for column in score.values or {}:
                owners.setdefault((column, score.protocol), set()).add(score.metric)
        values: dict[str, dict[str, Any]] = {clip: {"speaker": speaker} for clip, speaker in self.speakers.items()}
        failures: dict[str, list[str]] = {clip: [] for clip in values}
        caveats: dict[str, list[str]] = {clip: [] for clip in values}
        for clip, line in self.generated.items():
            if clip in caveats:
                found = (UNRECORDED,) if line.caveats is None else line.caveats
                caveats[clip] += [one.alone for one in found]
        for score in self.scores:
            for column, value in (score.values or {}).items():
                owner = f"{score.metric}." if len(owners[column, score.protocol]) > 1 else ""
                values[score.clip][f"{owner}{column}[{score.protocol}]"] = float("nan") if value is None else value
            if score.error is not None and score.failed:
                failures[score.clip].append(f"{score.metric}: {score.error.message}")
            caveats[score.clip] += [f"{score.metric}: {one.alone}" for one in score.caveats]
        frame = pd.DataFrame.from_dict(values, orient="index").rename_axis("clip")
        return frame.assign(
            failures=pd.Series({clip: "; ".join(texts) for clip, texts in failures.items()}),
            caveats=pd.Series({clip: "; ".join(texts) for clip, texts in caveats.items()}),
        )


def speakers(identity: Identity, generated: Mapping[str, Generated]) -> dict[str, str]:
    """Clip id -> its speaker, else the clip itself."""
    known = {clip: record.speaker for clip, record in generated.items()}
    return {clip: known.get(clip) or clip for clip in identity.clips}


def load_run(path: Path) -> Run:
    """Read a run directory. Raises UsageError where there is none, or where it is damaged."""
    manifest = read_manifest(path)
    files = [path / GENERATION, *_rank_journals(path)]
    return Run(
        path=path,
        manifest=manifest,
        identity=identity_of(manifest, path),
        scores=tuple(_parsed(path / SCORES, read_rows(path / SCORES), Score.from_row)),
        generated={line.clip: line for file in files for line in _parsed(file, read_rows(file), Generated.from_row)},
    )


def run_directories(folders: Iterable[Path]) -> tuple[Path, ...]:
    """The run directories among the folders and at most two levels below them, in the order given, then by name.

    What `probe` records is no run and left out.
    Raises UsageError for a folder that is missing or holds no run.
    """
    found: dict[Path, Path] = {}
    for folder in folders:
        if not folder.is_dir():
            raise UsageError(f"{folder} is not a folder; give a run directory or the --out of a run")
        files = [file for level in ("", "*/", "*/*/") for file in sorted(folder.glob(level + MANIFEST))]
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
        return "probe" in json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError):
        return False  # whoever loads it says what is wrong


def read_manifest(path: Path) -> dict[str, Any]:
    """run.json of a directory. Raises UsageError where it is missing, damaged, or of another schema."""
    file = path / MANIFEST
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{file} cannot be read ({error.strerror}); is {path} a run directory?") from None
    except ValueError as error:
        raise UsageError(f"{file} is not JSON ({error}); choose another --out") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise UsageError(f"{file} has schema {schema!r}, this version reads {SCHEMA}; choose another --out")
    return dict(manifest)


def identity_of(manifest: Mapping[str, Any], path: Path) -> Identity:
    """Raises UsageError naming the file where the manifest has no complete identity."""
    try:
        return Identity.from_json(manifest)
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path / MANIFEST} is incomplete ({error}); choose another --out") from None


class RunDirectory:
    """A run directory opened for writing, by one process at a time or by the ranks of one launch together.

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

        Raises UsageError where it belongs to another identity, is in use, or cannot be written.
        """
        if not ranks.first:
            ranks.wait()
        known = check_identity(path, identity)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from None
        with _locked(path, None if ranks.first else ranks.index):
            run = cls(path, identity, known or new_manifest(identity, device), ranks)
            if known:
                run._saved = run._text()
            elif ranks.first:
                run.save()
            if ranks.first:
                run.merge_rank_journals()
                ranks.wait()
            yield run

    def save(self) -> None:
        """Write run.json where it changed, and remember the digests."""
        self.files.save()
        text = self._text()
        if text != self._saved:
            write_whole(self.path / MANIFEST, text)
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
        journal = self._generation
        return {line.clip: line for line in _parsed(journal.path, journal.rows, Generated.from_row)}

    @cached_property
    def scores(self) -> dict[Key, Score]:
        journal = self._scores
        return {score.key: score for score in _parsed(journal.path, journal.rows, Score.from_row)}

    @cached_property
    def _rank_journal(self) -> Journal:
        return Journal(self.path / f"generation.rank-{self.ranks.index}.jsonl")

    def add_generated(self, line: Generated) -> None:
        """Note a clip; one of several ranks does so in a journal of its own."""
        journal = self._generation if self.ranks.count == 1 else self._rank_journal
        journal.append([line.to_row()])
        self.generated[line.clip] = line

    def add_scores(self, rows: Sequence[Score]) -> None:
        self._scores.append(row.to_row() for row in rows)
        self.scores.update({row.key: row for row in rows})

    def merge_rank_journals(self) -> None:
        """Move the lines of all ranks into generation.jsonl. Killed in between, it does so again to the same end."""
        paths = _rank_journals(self.path)
        rows = [row for path in paths for row in read_rows(path)]
        if rows:
            self._generation.append(rows)
            lines = _parsed(self._generation.path, rows, Generated.from_row)
            self.generated.update({line.clip: line for line in lines})
        for path in paths:
            path.unlink()

    def settle_generated(self) -> None:
        """Bring generation.jsonl into plan order: the same bytes for any number of ranks and interruptions."""
        self.merge_rank_journals()
        clips = (clip for clip in self.identity.clips if clip in self.generated)
        self._generation.rewrite([self.generated[clip].to_row() for clip in clips])

    def settle_scores(self, scores: Sequence[Score]) -> None:
        """Keep these scores, in this order."""
        self._scores.rewrite([row.to_row() for row in scores])
        self.scores = {row.key: row for row in scores}

    def video_path(self, clip_id: str) -> Path:
        """Raises UsageError for a clip id that leads out of the directory."""
        return self.path / "videos" / video_name(clip_id)


def video_name(clip_id: str) -> PurePosixPath:
    """`<clip id>.mp4`. Raises UsageError for an id that leads out of its folder."""
    parts = PurePosixPath(clip_id)
    if not clip_id or parts.is_absolute() or ".." in parts.parts or "\\" in clip_id or "\0" in clip_id:
        raise UsageError(f"clip id {clip_id!r} leads out of its folder; the dataset must give relative ids")
    return PurePosixPath(f"{clip_id}.mp4")


def check_identity(path: Path, identity: Identity) -> dict[str, Any] | None:
    """run.json of `path`, None where there is none.

    Raises UsageError, naming what differs, where it is the run of another identity.
    """
    if not (path / MANIFEST).is_file():
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; choose another --out")
        return None
    manifest = read_manifest(path)
    differences = identity_of(manifest, path).differences(identity)
    if differences:
        told = "; ".join(differences)
        raise UsageError(f"{path} holds another run ({told}); choose another --out, or --fresh to start it anew")
    return manifest


def discard(path: Path, *, scores_only: bool = False) -> str:
    """Delete what a run wrote, so that it starts anew; returns what was deleted, in words, "" for nothing.

    scores_only: keep the videos. Files that no run writes stay.
    Raises UsageError where another process is at work there, or a file cannot be deleted.
    """
    if not (path / MANIFEST).is_file():
        return ""
    # run.json goes last: as long as it is there, the same command finishes what was begun.
    names = (SCORES,) if scores_only else (SCORES, "videos", "logs", GENERATION, DIGESTS, MANIFEST)
    deleted = []
    with _locked(path):
        for file in [*([] if scores_only else _rank_journals(path)), *(path / name for name in names)]:
            if file.exists() or file.is_symlink():
                deleted.append(_deleted(file))
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


def _parsed(path: Path, rows: Iterable[Mapping[str, Any]], parse: Callable[[Mapping[str, Any]], T]) -> list[T]:
    try:
        return [parse(row) for row in rows]
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path} has a line that is not of schema {SCHEMA} ({error}); delete the file") from None


def _rank_journals(path: Path) -> list[Path]:
    return sorted(path.glob("generation.rank-*.jsonl"))


@contextmanager
def _locked(path: Path, rank: int | None = None) -> Iterator[None]:
    """Two processes that append to one journal would tear it.

    rank: of a process that shares the directory with the first of its launch.
    """
    refusal = f"{path} is in use by another process; wait for it or choose another --out"
    with ExitStack() as lock:
        try:
            lock.enter_context(locked(path / ".lock", refusal=refusal, member=rank))
        except OSError as error:
            raise unwritable(path, error) from None
        yield
