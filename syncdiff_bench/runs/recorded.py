"""run.json as it lies on disk: read, held to the run that a command asks for, and taken from its copy where damaged."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from syncdiff_bench.errors import UsageError, shown
from syncdiff_bench.runs.layout import COPY, MANIFEST
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import SCHEMA

# What no version has left out of the run.json of a run, beside its identity.
_SHAPE: Mapping[str, type] = {"protocols": list, "versions": dict, "hardware": dict, "summary": list}
_OF_PROTOCOL = ("metric", "protocol", "options", "weights")


class DamagedManifest(UsageError):  # noqa: N818 - what it is about
    """run.json cannot be read. fault: the message without its mend."""

    def __init__(self, fault: str, mend: str = "the command that made the run rebuilds it") -> None:
        super().__init__(f"{fault}; {mend}, or choose another --out")
        self.fault = fault


def read_manifest(path: Path, name: str = MANIFEST) -> dict[str, Any]:
    """run.json of a directory. Raises UsageError where it is missing, damaged, or of another schema."""
    file = path / name
    try:
        manifest = json.loads(file.read_bytes())
    except OSError as error:
        raise DamagedManifest(f"{file} cannot be read ({error.strerror})", f"is {path} a run directory?") from None
    except (ValueError, RecursionError) as error:
        raise DamagedManifest(f"{file} is not JSON ({error})") from None
    schema = manifest.get("schema") if isinstance(manifest, dict) else None
    if schema != SCHEMA:
        raise DamagedManifest(f"{file} has schema {shown(schema)}, this version reads {SCHEMA}")
    return dict(manifest)


def identity_of(manifest: Mapping[str, Any], path: Path) -> Identity:
    """Raises UsageError naming the file where the manifest is not the complete one of a run."""
    try:
        identity = Identity.from_json(manifest)
        for key, kind in _SHAPE.items():
            if not isinstance(manifest[key], kind):
                raise TypeError(f"{key} is {shown(manifest[key])}")
        for entry in manifest["protocols"]:
            for key in _OF_PROTOCOL:
                _ = entry[key]
        for key in ("started", "finished"):
            _ = manifest[key]
        _ = manifest["hardware"]["device"]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DamagedManifest(f"{path / MANIFEST} is incomplete ({error})") from None
    return identity


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
        known = identity_of(manifest, path)
    except DamagedManifest as error:
        damage = error.fault
        try:
            manifest = read_manifest(path, COPY)
            known = identity_of(manifest, path)
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
    try:
        entries = json.loads(file.read_bytes())
        for entry in entries:
            _ = entry["metric"], entry["protocol"], entry["weights"], entry["provenance"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        scores = file.with_name(f"{file.name.replace('protocols', 'scores', 1)}l").name
        raise UsageError(f"{file} is damaged ({error}); delete it and {scores}, and score that part again") from None
    return list(entries)
