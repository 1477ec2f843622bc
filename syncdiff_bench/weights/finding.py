"""A network that an option names, by catalogue name or as a file: where it lies, and what the record calls it."""

from __future__ import annotations

import re
from pathlib import Path

from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.digests import WeightsUsed, digest_of, sha256_in_process, sha256_of
from syncdiff_bench.weights.store import WeightsStore


def find_weights(given: str, store: WeightsStore | None, *, owner: str) -> Path:
    """The file behind a catalogue name or a path, fetched first where the catalogue says `auto`.

    store: None for the user's. owner: the plugin that asks, for messages.
    Raises WeightsError where the file is missing (with `missing` for a catalogue name), UsageError for a name that
    is neither in the catalogue nor looks like a file.
    """
    if not is_file(given):
        return (store or WeightsStore()).ensure(given)
    file = Path(given)
    if not file.is_file():
        raise WeightsError(f"{owner}: {given}: no such file; give a checkpoint or a name of `weights list`")
    return file


def locate_weights(given: str, store: WeightsStore | None, *, owner: str) -> tuple[Path, WeightsUsed]:
    """The file, as `find_weights`, and its name and digest for the record."""
    path = find_weights(given, store, owner=owner)
    return path, weights_found(given, path)


def weights_found(given: str, path: Path) -> WeightsUsed:
    """Name and digest of what was found, for the record: a catalogue name as it is, a file by its own name."""
    if is_file(given):
        return WeightsUsed(path.name, sha256_of(path), path)
    digest = digest_of(path)
    return WeightsUsed(given, digest.sha256, path, published=not digest.accepted)


def is_file(given: str) -> bool:
    """Whether weights are given as a file (`experts/mine.pt`); catalogue names have neither slash nor suffix."""
    return Path(given).name != given or bool(Path(given).suffix)


def slug(given: str, part: str = "") -> str:
    """The name of weights inside a protocol; trained ones are called by training (or file) and short digest.

    given: a catalogue name, a file, or the folder of a training, whose file is `<part>.safetensors`.

    >>> slug("syncnet-v2"), slug("experts/AV HuBERT.pt")
    ('syncnet-v2', 'av-hubert-missing')
    """
    if not is_file(given):
        return _lower(given)
    path = Path(given)
    file = path / f"{part}.safetensors" if path.is_dir() else path
    name = training_name(path) if path.is_dir() else path.stem
    return _lower(f"{name}-{sha256_in_process(file)[:8] if file.is_file() else 'missing'}")


def training_name(folder: Path) -> str:
    """What to call the training that wrote a folder of weights: every one of them is called `model`."""
    folder = folder.absolute()
    return folder.parent.name if folder.name == "model" else folder.name


def _lower(name: str) -> str:
    return re.sub(r"[^a-z0-9._]+", "-", name.lower())
