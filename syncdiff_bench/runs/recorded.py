"""run.json as it lies on disk: read, held to the run that a command asks for, and taken from its copy where damaged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from syncdiff_bench.documents import read_json
from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.layout import COPY, MANIFEST
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import SCHEMA
from syncdiff_bench.runs.schema import ProtocolRecord, RunRecord


class DamagedManifest(UsageError):  # noqa: N818 - what it is about
    """run.json cannot be read. fault: the message without its mend."""

    def __init__(self, fault: str, mend: str = "the command that made the run rebuilds it") -> None:
        super().__init__(f"{fault}; {mend}, or choose another --out")
        self.fault = fault


def read_manifest(path: Path, name: str = MANIFEST, kind: Any = RunRecord) -> dict[str, Any]:
    """run.json of a directory. kind: what it is held to, another type of a probe.

    Raises UsageError where it is missing, damaged, or of another schema.
    """
    file = path / name
    if not file.exists():
        raise DamagedManifest(f"{file} does not exist", "give a run directory")
    try:
        manifest: dict[str, Any] = read_json(file, "is not the record of a run", "", kind, schema=SCHEMA)
    except UsageError as error:
        raise DamagedManifest(str(error).removesuffix("; ")) from None
    return manifest


def recorded(path: Path, identity: Identity) -> tuple[dict[str, Any] | None, str]:
    """(run.json of a directory, None where there is none, "" or what is wrong with it, so that it is of its copy).

    Raises UsageError, naming what differs, where it is the run of another identity; where it is damaged and its copy
    cannot tell of which run it was; for a file in place of the directory.
    """
    damage = ""
    if not (path / MANIFEST).is_file() and not (path / COPY).is_file():
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; choose another --out")
        return None, ""
    try:
        manifest = read_manifest(path)
        known = Identity.from_json(manifest)
    except DamagedManifest as error:
        damage = error.fault
        try:
            manifest = read_manifest(path, COPY)
            known = Identity.from_json(manifest)
        except DamagedManifest:
            raise UsageError(
                f"{damage}, and no copy tells which run it is of; bring it back from a backup, choose another --out, or"
                " --fresh to start it anew"
            ) from None
    differences = known.differences(identity)
    if differences:
        told = "; ".join(differences)
        raise UsageError(f"{path} holds another run ({told}); choose another --out, or --fresh to start it anew")
    return manifest, damage


def check_identity(path: Path, identity: Identity) -> dict[str, Any] | None:
    """run.json of `path`, None where there is none. Raises UsageError as `recorded`."""
    return recorded(path, identity)[0]


def read_protocols(file: Path) -> list[dict[str, Any]]:
    """What a part knows of the metrics that its scores are by. Raises UsageError for a damaged file."""
    scores = file.with_name(f"{file.name.replace('protocols', 'scores', 1)}l").name
    mend = f"delete it and {scores}, and score that part again"
    entries: list[dict[str, Any]] = read_json(file, "is damaged", mend, Sequence[ProtocolRecord])
    return entries
