"""A program's own Python: an environment without what belongs to ours, its one GPU, the packages that it must have."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from syncdiff_bench.errors import UsageError

IMPORT_SECONDS = 300.0
OURS = ("PYTHONPATH", "PYTHONHOME", "PYTHONSAFEPATH")

# A folder of the checkout may look like a package from inside it; one without a file is none.
_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        if getattr(importlib.import_module(name), "__file__", None) is None:
            raise ImportError("not installed")
    except BaseException as error:
        print(name + " (" + type(error).__name__ + ": " + " ".join(str(error).split()) + ")")
"""


def own_environment(device: str) -> dict[str, str]:
    """Changes to our environment: none of what belongs to our Python, and of the GPUs the one that the run is on.

    device: as torch names it; "cuda" leaves the choice of the GPU as it is.
    """
    changes = dict.fromkeys(OURS, "")
    kind, _, index = device.partition(":")
    if kind == "cuda" and index:
        visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
        changes["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if visible else index
    return changes


def packages_lacking(
    python: Path, packages: Sequence[str], folder: Path, environment: Mapping[str, str], owner: str
) -> list[str]:
    """Which packages a Python cannot import when it runs in `folder`, each with the reason.

    Raises UsageError, in the name of `owner`, where it is no Python that works.
    """
    try:
        done = subprocess.run(
            [str(python), "-c", _IMPORTS, *packages],
            cwd=folder,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{owner}: {python} does not answer ({error}); correct --set python=") from None
    said = [line for line in done.stdout.splitlines() if line.startswith(tuple(packages))]
    if done.returncode and not said:
        last = done.stderr.strip().rpartition("\n")[2]
        raise UsageError(f"{owner}: {python} is no working Python ({last}); correct --set python=")
    return said
