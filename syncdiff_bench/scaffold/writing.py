"""Write a small installable plugin package: pyproject with the entry point, one module, one test, a README."""

from __future__ import annotations

import keyword
import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Literal, get_args

from syncdiff_bench.errors import UsageError

Kind = Literal["method", "metric", "dataset"]

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# What to do with the plugin once it is installed, for its README.
FIRST_COMMAND = {
    "method": "syncdiff-bench run --method static --method {name} --dataset pocket",
    "metric": "syncdiff-bench run --method static --method syncdiff --metrics psnr,{name}",
    "dataset": "syncdiff-bench run --method static --dataset {name} --data-root FOLDER",
}


@dataclass(frozen=True)
class Package:
    """name: of the plugin and the distribution ("my-method"). module: importable ("my_method"). title: class name."""

    kind: Kind
    name: str

    @property
    def module(self) -> str:
        return self.name.replace("-", "_")

    @property
    def title(self) -> str:
        return "".join(part.capitalize() for part in self.name.split("-"))

    @property
    def first_command(self) -> str:
        return FIRST_COMMAND[self.kind].format(name=self.name)


def write_package(kind: str, name: str, parent: Path) -> tuple[Path, ...]:
    """Write the package into `parent / name` and return its files.

    Raises UsageError for a name that cannot be both a plugin's and a module's, and where the folder exists.
    """
    if kind not in get_args(Kind):
        raise UsageError(f"unknown kind {kind!r}; choose one of: {', '.join(get_args(Kind))}")
    package = Package(kind, name)  # type: ignore[arg-type]
    if not NAME.fullmatch(name) or keyword.iskeyword(package.module):
        raise UsageError(f"{name!r} is no name for a plugin; use lower case letters and digits, words joined by dashes")
    folder = parent / name
    if folder.exists():
        raise UsageError(f"{folder} exists already; choose another name or --out")
    written = []
    for path, text in _contents(package).items():
        file = folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{file} cannot be written ({error.strerror}); choose another --out") from None
        written.append(file)
    return tuple(written)


def _contents(package: Package) -> dict[str, str]:
    names = {
        "kind": package.kind,
        "name": package.name,
        "module": package.module,
        "title": package.title,
        "command": package.first_command,
    }
    return {
        "pyproject.toml": _filled("pyproject.toml", names),
        "README.md": _filled("README.md", names),
        f"{package.module}.py": _filled(f"{package.kind}.py", names),
        f"tests/test_{package.module}.py": _filled(f"test_{package.kind}.py", names),
    }


def _filled(template: str, names: dict[str, str]) -> str:
    text = files("syncdiff_bench.scaffold").joinpath("templates", f"{template}.txt").read_text(encoding="utf-8")
    return Template(text).substitute(names)
