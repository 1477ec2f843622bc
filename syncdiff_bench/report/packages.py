"""Leaderboard packages and their TOML files, read key by key.

A package registers under the entry-point group `syncdiff_bench.tables` (name = package) and brings folders of TOML:
`paper/` (tables), `anchors/`, `findings/`, `reproduction/`. Every error names the package, the file and the key.
"""

from __future__ import annotations

import collections.abc
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from syncdiff_bench.documents import parse_toml
from syncdiff_bench.errors import UsageError, shown
from syncdiff_bench.options import WrongTypeError, check_value
from syncdiff_bench.registry import packages

MISSING = object()
T = TypeVar("T")


def leaderboard_packages() -> tuple[str, ...]:
    """Names of the packages that bring tables, in the order of their entry points; without those that are broken."""
    return packages("table")


def toml_files(package: str, folder: str) -> dict[str, bytes]:
    """Name -> content of the TOML files in a folder of a leaderboard package; none where it has no such folder.

    Raises UsageError where the package is missing or a file cannot be read.
    """
    try:
        entries = files(package) / folder
        if not entries.is_dir():
            return {}
        return {entry.name: entry.read_bytes() for entry in entries.iterdir() if entry.name.endswith(".toml")}
    except (ImportError, OSError) as error:
        raise UsageError(
            f"leaderboard package {package} has no readable {folder}/ folder: {error}; reinstall it"
        ) from None


def sources(folder: str) -> Iterator[tuple[str, bytes]]:
    """(name for messages, content) of the TOML files in that folder of every leaderboard package, by name."""
    for package in leaderboard_packages():
        for name, content in sorted(toml_files(package, folder).items()):
            yield f"{package}/{folder}/{name}", content


@dataclass(frozen=True)
class Node:
    """A TOML table and the words that say where it stands ("syncdiff_leaderboards/table1.toml: rows[2]")."""

    data: Mapping[str, Any]
    where: str

    def fail(self, key: str, problem: str) -> UsageError:
        return UsageError(f"{self.where}: {key}: {problem}")

    def get(self, key: str, kind: Any, default: Any = MISSING) -> Any:
        """The value of `key`, read as that type by `options.check_value`."""
        if key not in self.data:
            if default is MISSING:
                raise self.fail(key, "is missing")
            return default
        try:
            return check_value(self.data[key], kind)
        except WrongTypeError as error:
            raise self.fail(key, f"must be {error}, is {shown(self.data[key])}") from None

    def read(self, kind: type[T], *more: str, **given: Any) -> T:
        """A dataclass whose fields are keys here; a key is optional where its field has a default.

        given: fields that are worked out otherwise. more: keys that are no fields, or whose fields are given.
        """
        wanted = [one for one in dataclasses.fields(kind) if one.name not in given]  # type: ignore[arg-type]
        self.only((*(one.name for one in wanted), *more))
        hints, absent = get_type_hints(kind), dataclasses.MISSING
        needed = {one.name for one in wanted if one.default is absent and one.default_factory is absent}
        names = (one.name for one in wanted if one.name in needed or one.name in self.data)
        return kind(**{name: self._field(name, hints[name]) for name in names}, **given)

    def _field(self, key: str, kind: Any) -> Any:
        """A dataclass is a table, and a mapping one of fields that are alike."""
        if get_origin(kind) is collections.abc.Mapping:
            table = self.node(key)
            return {name: table._field(name, get_args(kind)[1]) for name in table.data}
        nested = isinstance(kind, type) and dataclasses.is_dataclass(kind)
        return self.node(key).read(kind) if nested else self.get(key, kind)

    def nodes(self, key: str) -> list[Node]:
        """An array of tables."""
        values = self.get(key, list)
        if not values or not all(isinstance(value, dict) for value in values):
            raise self.fail(key, f"must be a non-empty array of tables ([[{key}]])")
        return [Node(value, f"{self.where}: {key}[{index}]") for index, value in enumerate(values)]

    def node(self, key: str) -> Node:
        return Node(self.get(key, dict), f"{self.where}: {key}")

    def only(self, keys: tuple[str, ...]) -> None:
        """Refuse keys that mean nothing here: a misspelt one would be lost in silence."""
        for key in self.data:
            if key not in keys:
                raise self.fail(key, f"unknown key; known: {', '.join(keys)}")


def read_root(where: str, content: bytes, schema: int, keys: tuple[str, ...] = ()) -> Node:
    """The top level of a TOML file of this schema; with `keys`, of no others. Raises UsageError."""
    root = Node(parse_toml(content, where), where)
    if root.get("schema", int) != schema:
        raise root.fail("schema", f"must be {schema}, is {root.data['schema']}; another release wrote this file")
    if keys:
        root.only(keys)
    return root
