"""A network that an option names, by catalogue name or as a file: where it lies, and what the record calls it."""

from __future__ import annotations

import re
from pathlib import Path

from syncdiff_bench.contracts import Runtime, WeightsUsed
from syncdiff_bench.errors import WeightsError


def find_weights(given: str, runtime: Runtime, *, metric: str) -> tuple[Path, WeightsUsed]:
    """The file behind a catalogue name or a path, with its name and digest.

    metric: who asks, for messages.
    Raises WeightsError where the file is missing (with `missing` for a catalogue name), UsageError for a name that
    is neither in the catalogue nor looks like a file.
    """
    from syncdiff_bench.weights.digests import sha256_of
    from syncdiff_bench.weights.store import WeightsStore

    if not is_file(given):
        store = runtime.weights or WeightsStore()
        return store.ensure(given), WeightsUsed(given, store.digest(given))
    file = Path(given)
    if not file.is_file():
        raise WeightsError(f"{metric}: {file}: no such file; give a checkpoint or a catalogue name")
    return file, WeightsUsed(file.name, sha256_of(file))


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
