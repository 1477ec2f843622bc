"""setuptools, and an editable install whose types mypy and pyright find.

The packages lie in several folders, none of which may be on `sys.path`: there, `datasets/` would pass for the
distribution of that name. setuptools therefore installs a hook that finds them when Python runs, of which type checkers
know nothing: they look into the folders of `sys.path`. This adds one, `.types`, which holds a link `NAME-stubs` to each
package: type checkers take it for the stubs of that package (PEP 561), and Python can import nothing from it. A package
of stubs has an `__init__.pyi`.
"""

from __future__ import annotations

import base64
import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

from setuptools import build_meta
from setuptools.build_meta import *  # noqa: F403 - everything else is as setuptools has it

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

LINKS = ".types"
PTH = "__syncdiff_bench_types.pth"


def build_editable(
    wheel_directory: str, config_settings: Mapping[str, Any] | None = None, metadata_directory: str | None = None
) -> str:
    """The wheel of setuptools (PEP 660), with the `.pth` file where links can be made."""
    name: str = build_meta.build_editable(wheel_directory, config_settings, metadata_directory)
    links = linked(Path.cwd())
    if links is not None:
        add_file(Path(wheel_directory) / name, PTH, f"{links}\n")
    return name


def linked(root: Path) -> Path | None:
    """The folder of links, made anew; None where this system allows none (Windows outside its developer mode)."""
    settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    folder = root / LINKS
    folder.mkdir(exist_ok=True)
    try:
        for package, place in settings["package-dir"].items():
            link = folder / f"{package}-stubs"
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(root / place, folder), target_is_directory=True)
    except OSError:
        return None
    return folder


def add_file(wheel: Path, name: str, text: str) -> None:
    """Add a file to a wheel, and to its RECORD."""
    with ZipFile(wheel) as old:
        members = [(info, old.read(info)) for info in old.infolist()]
    content = text.encode()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
    with ZipFile(wheel, "w", ZIP_DEFLATED) as new:
        for info, known in members:
            record = info.filename.endswith(".dist-info/RECORD")
            new.writestr(info, f"{name},sha256={digest},{len(content)}\n".encode() + known if record else known)
        new.writestr(name, content)
