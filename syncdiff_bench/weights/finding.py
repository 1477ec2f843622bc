"""A network that an option names, by catalogue name or as a file: where it lies, and what the record calls it."""

from __future__ import annotations

import re
from pathlib import Path

from syncdiff_bench.contracts import Runtime, WeightsUsed
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.digests import digest_of, sha256_of
from syncdiff_bench.weights.store import WeightsStore


def find_weights(given: str, runtime: Runtime, *, owner: str) -> Path:
    """The file behind a catalogue name or a path, fetched first where the catalogue says `auto`.

    owner: the plugin that asks, for messages.
    Raises WeightsError where the file is missing (with `missing` for a catalogue name), UsageError for a name that
    is neither in the catalogue nor looks like a file.
    """
    if not is_file(given):
        return (runtime.weights or WeightsStore()).ensure(given)
    file = Path(given)
    if not file.is_file():
        raise WeightsError(f"{owner}: {given}: no such file; give a checkpoint or a name of `weights list`")
    return file


def weights_found(given: str, path: Path) -> WeightsUsed:
    """Name and digest of what was found, for the record: a catalogue name as it is, a file by its own name."""
    if is_file(given):
        return WeightsUsed(path.name, sha256_of(path))
    return WeightsUsed(given, digest_of(path).sha256)


def is_file(given: str) -> bool:
    """Whether weights are given as a file (`experts/mine.pt`); catalogue names have neither slash nor suffix."""
    return Path(given).name != given or bool(Path(given).suffix)


def slug(given: str) -> str:
    """The name of weights inside a protocol; a file is never called as a catalogue entry is.

    >>> slug("experts/AV HuBERT.pt")
    'av-hubert-file'
    """
    name = f"{Path(given).stem}-file" if is_file(given) else given
    return re.sub(r"[^a-z0-9._]+", "-", name.lower())
