"""The run directory on disk: who may write where, and reading it back.

RUN/run.json           everything needed to repeat the run, and its summary
RUN/generation.jsonl   one line per generated (or failed) clip
RUN/generation.rank-N.jsonl   the same, of one process of several; merged into it at the end, or by the next run
RUN/videos/<id>.mp4    what the method made
RUN/scores.jsonl       one line per clip and metric
RUN/.digests.json      what is remembered of files, so that they need not be read again (`known_files`)
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from syncdiff_bench.caveats import Counted, recorded
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import Journal, locked, read_rows, unwritable, write_whole
from syncdiff_bench.origins import ScoringNetwork, scoring_networks
from syncdiff_bench.runs.known_files import DIGESTS, KnownFiles
from syncdiff_bench.runs.manifest import Identity, new_manifest
from syncdiff_bench.runs.ranks import Ranks
from syncdiff_bench.runs.records import SCHEMA, Generated, Score

if TYPE_CHECKING:
    from pandas import DataFrame

    from syncdiff_bench.runs.summary import ColumnSummary

MANIFEST = "run.json"
GENERATION = "generation.jsonl"
SCORES = "scores.jsonl"


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
        return {clip: self._speaker(clip) or clip for clip in self.identity.clips}

    @property
    def summary(self) -> tuple[ColumnSummary, ...]:
        """One entry per column, as in run.json. Raises UsageError where it cannot be read."""
        from syncdiff_bench.runs.summary import ColumnSummary

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
        from syncdiff_bench.runs.noticing import few_speakers

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

    def _speaker(self, clip: str) -> str | None:
        record = self.generated.get(clip)
        return None if record is None else record.speaker


def load_run(path: Path) -> Run:
    """Read a run directory. Raises UsageError where there is none, or where it is damaged."""
    manifest = read_manifest(path)
    return Run(
        path=path,
        manifest=manifest,
        identity=identity_of(manifest, path),
        scores=tuple(_parsed(path / SCORES, Score.from_row)),
        generated=_generated(path),
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

    manifest: the content of run.json; `save` writes it. files: digests of the videos that the run rests on.
    """

    def __init__(self, path: Path, identity: Identity, manifest: dict[str, Any]) -> None:
        self.path = path
        self.identity = identity
        self.manifest = manifest
        self.files = KnownFiles(path)

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
        check_identity(path, identity)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise unwritable(path, error) from None
        with _locked(path, None if ranks.first else ranks.index):
            exists = (path / MANIFEST).is_file()
            run = cls(path, identity, read_manifest(path) if exists else new_manifest(identity, device))
            if ranks.first:
                run.merge_rank_journals()
                if not exists:
                    run.save()
                ranks.wait()
            yield run

    def save(self) -> None:
        """Write run.json, and remember the digests."""
        self.files.save()
        text = json.dumps(self.manifest, indent=1, ensure_ascii=False, allow_nan=False)
        write_whole(self.path / MANIFEST, text + "\n")

    def generation_journal(self) -> tuple[Journal, dict[str, Generated]]:
        """generation.jsonl, and its last line per clip."""
        journal = Journal(self.path / GENERATION)
        return journal, _generated(self.path)

    def rank_journal(self, index: int) -> Journal:
        """Where one of several ranks notes the clips that it generated."""
        return Journal(self.path / f"generation.rank-{index}.jsonl")

    def merge_rank_journals(self) -> None:
        """Move the lines of all ranks into generation.jsonl. Killed in between, it does so again to the same end."""
        paths = _rank_journals(self.path)
        rows = [row for path in paths for row in read_rows(path)]
        if rows:
            self.generation_journal()[0].append(rows)
        for path in paths:
            path.unlink()

    def score_journal(self) -> tuple[Journal, dict[tuple[str, str, str], Score]]:
        """scores.jsonl, and its last line per (clip, metric, protocol)."""
        path = self.path / SCORES
        journal = Journal(path)
        return journal, {score.key: score for score in _parsed(path, Score.from_row)}

    def video_path(self, clip_id: str) -> Path:
        """Raises UsageError for a clip id that leads out of the directory."""
        return self.path / "videos" / video_name(clip_id)


def video_name(clip_id: str) -> PurePosixPath:
    """`<clip id>.mp4`. Raises UsageError for an id that leads out of its folder."""
    parts = PurePosixPath(clip_id)
    if not clip_id or parts.is_absolute() or ".." in parts.parts or "\\" in clip_id or "\0" in clip_id:
        raise UsageError(f"clip id {clip_id!r} leads out of its folder; the dataset must give relative ids")
    return PurePosixPath(f"{clip_id}.mp4")


def check_identity(path: Path, identity: Identity) -> None:
    """Raises UsageError, naming what differs, where `path` holds the run of another identity."""
    if not (path / MANIFEST).is_file():
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; choose another --out")
        return
    differences = identity_of(read_manifest(path), path).differences(identity)
    if differences:
        told = "; ".join(differences)
        raise UsageError(f"{path} holds another run ({told}); choose another --out, or --fresh to start it anew")


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


def _parsed(path: Path, parse: Any) -> list[Any]:
    try:
        return [parse(row) for row in read_rows(path)]
    except (KeyError, TypeError) as error:
        raise UsageError(f"{path} has a line that is not of schema {SCHEMA} ({error}); delete the file") from None


def _generated(path: Path) -> dict[str, Generated]:
    """The last line of each clip, those of ranks that were not merged yet included."""
    files = [path / GENERATION, *_rank_journals(path)]
    return {record.clip: record for file in files for record in _parsed(file, Generated.from_row)}


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
