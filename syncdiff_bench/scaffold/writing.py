"""Write a small installable plugin package: pyproject with the entry point, one module, one test, a README."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from pathlib import Path
from string import Template

from syncdiff_bench.errors import UsageError

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
# What to do with the plugin once it is installed, by its kind, for its README.
FIRST_COMMAND = {
    "method": "syncdiff-bench run --method static --method {name} --dataset pocket",
    "metric": "syncdiff-bench run --method static --method syncdiff --metrics psnr,{name}",
    "dataset": "syncdiff-bench run --method static --dataset {name} --data-root FOLDER",
}


def write_package(kind: str, name: str, parent: Path) -> tuple[Path, ...]:
    """Write the package into `parent / name` and return its files.

    kind: of FIRST_COMMAND. name: of the plugin and the distribution ("my-method"); its module is `my_method`.
    Raises UsageError for another kind, a name that cannot be both a plugin's and a module's, and an existing folder.
    """
    if kind not in FIRST_COMMAND:
        raise UsageError(f"unknown kind {kind!r}; choose one of: {', '.join(FIRST_COMMAND)}")
    module = name.replace("-", "_")
    if not NAME.fullmatch(name) or keyword.iskeyword(module):
        raise UsageError(f"{name!r} is no name for a plugin; use lower case letters and digits, words joined by dashes")
    folder = parent / name
    if folder.exists():
        raise UsageError(f"{folder} exists already; choose another name or --out")
    title = "".join(part.capitalize() for part in name.split("-"))
    command = FIRST_COMMAND[kind].format(name=name)
    names = {"kind": kind, "name": name, "module": module, "title": title, "command": command}
    templates = {
        "pyproject.toml": "pyproject.toml",
        "README.md": "README.md",
        f"{module}.py": f"{kind}.py",
        f"tests/test_{module}.py": f"test_{kind}.py" if kind == "dataset" else "test.py",
    }
    for path, template in templates.items():
        text = files("syncdiff_bench.scaffold").joinpath("templates", f"{template}.txt").read_text(encoding="utf-8")
        file = folder / path
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(Template(text).substitute(names), encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{file} cannot be written ({error.strerror}); choose another --out") from None
    return tuple(folder / path for path in templates)
