"""Two folders compared byte for byte: what may differ between two runs of a command is said here, and nowhere else."""

from __future__ import annotations

import io
import pickletools
import re
import zipfile
from itertools import zip_longest
from pathlib import Path

# Files about this machine and this minute: locks, what was remembered of files by inode and time, what took how long.
EXEMPT_FILES = re.compile(r"(^|/)(\.lock[^/]*|\.[^/]*\.lock|\.digests\.json|timings\.jsonl|times/[^/]+\.json)$")
# Fields: when a run began and ended, how fast a training went, how old a file of weights is beside its digest; and, of
# a checkpoint, sizes and digests of the files that are compared by what they hold.
EXEMPT_FIELDS = {
    r"(^|/)(run|\.run\.copy)\.json$": rb'"(started|finished)": "[^"]*"',
    r"(^|/)log\.jsonl$": rb'"steps_per_s": [0-9.e-]+',
    r"^home/weights/[^/]+\.sha256\.json$": rb'"mtime_ns": [0-9]+',
    r"(^|/)step-\d+/training\.json$": rb'"(optimizer\.bin|random_states_\d+\.pkl|said)": ("[0-9a-f]+"|[0-9]+)',
}
# Pickled by PyTorch from objects that were made, or read from the checkpoint before: of the same values, other bytes.
BY_VALUE = re.compile(r"(^|/)step-\d+/(optimizer\.bin|random_states_\d+\.pkl)$")
STEPS = ("BINUNICODE", "step")  # of accelerate: since this process began


def contents(folder: Path) -> dict[str, bytes]:
    """Relative path -> bytes of every file but the exempt ones, exempt fields blanked."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not EXEMPT_FILES.search(name):
            data = path.read_bytes()
            for files, fields in EXEMPT_FIELDS.items():
                data = re.sub(fields, b'"exempt"', data) if re.search(files, name) else data
            found[name] = values_of(data) if BY_VALUE.search(name) else data
    return found


def values_of(data: bytes) -> bytes:
    """What a file of `torch.save` holds, whichever objects it shared: its tensors' bytes, and its pickle spelt out."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    spelt: list[tuple[str, object]] = []
    known: dict[object, tuple[str, object]] = {}
    for operation, argument, _ in pickletools.genops(parts.pop("data.pkl")):
        if operation.name in ("BINPUT", "LONG_BINPUT"):
            known[argument] = spelt[-1]
        elif operation.name in ("BINGET", "LONG_BINGET"):
            spelt.append(known[argument])
        else:
            counts = spelt[-1:] == [STEPS] and operation.name.startswith("BININT")
            spelt.append((operation.name, "exempt") if counts else (operation.name, argument))
    tensors = b"".join(parts[name] for name in sorted(parts) if name.startswith("data/"))
    return repr(spelt).encode() + tensors


def differences(ours: dict[str, bytes], theirs: dict[str, bytes]) -> dict[str, int]:
    """File -> bytes that differ, of files that are not the same; one that is not there differs in all its bytes, and
    counts as one where it has none.
    """
    found = {}
    for name in sorted(ours.keys() | theirs.keys()):
        mine, other = ours.get(name), theirs.get(name)
        if mine != other:
            found[name] = max(1, sum(a != b for a, b in zip_longest(mine or b"", other or b"")))
    return found
