"""JSON and TOML files: read without trusting them, and held to the types that their readers rest on.

A file may have been cut, edited by hand, or written by another program. What passes here holds finite numbers of 64
bits and texts that UTF-8 can hold, nested a few levels deep; so it can be computed with, printed and written again.

The shape of a file is a type: a `TypedDict` or a dataclass for an object with known keys (of a TypedDict others may
stand beside them, of a dataclass not), `Mapping[str, T]`, `Sequence[T]`, `tuple[A, B]`, `Literal`, unions, `Any`;
`Annotated[int, range(16)]` is a whole number in that range.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import math
import sys
import types
import typing
from codecs import BOM_UTF8
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from syncdiff_bench.errors import UsageError, shown

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEEPEST = 40  # levels of nesting; this project writes six
LARGEST = 2**63
SEQUENCES = (list, tuple)  # no file holds a tuple, but what a program puts together does

Check = Callable[[Any], None]


class WrongValue(ValueError):  # noqa: N818 - about a value of a file
    """What is wrong with a document, in one line: where in it ("method: weights[0]"), and the problem."""

    def __init__(self, problem: str, place: tuple[str | int, ...] = ()) -> None:
        super().__init__(problem, place)
        self.problem, self.place = problem, place

    def within(self, key: str | int) -> WrongValue:
        """The same, of the object or list that holds the document under that key."""
        return WrongValue(self.problem, (key, *self.place))

    def __str__(self) -> str:
        words = [f"[{key}]" if isinstance(key, int) else f": {shown(key)[1:-1]}" for key in self.place]
        place = "".join(words).removeprefix(": ")
        return f"{place}: {self.problem}" if place else self.problem


# ------------------------------------------------------------------------------------------------- reading


def _no_number(name: str) -> NoReturn:
    raise WrongValue(f"is not JSON: {name}")


def _whole(digits: str) -> int:
    if len(digits) > 18 and not (len(digits) < 21 and -LARGEST <= int(digits) < LARGEST):
        raise WrongValue("holds a whole number of more than 64 bits")
    return int(digits)


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (math.inf, -math.inf):
        raise WrongValue(f"holds {shown(digits)[1:-1]}, a number that is too large")
    return number


_LENIENT = json.JSONDecoder(parse_int=_whole)
_STRICT = json.JSONDecoder(parse_int=_whole, parse_float=_finite, parse_constant=_no_number)


def parse_json(content: bytes | str, *, undefined: bool = False) -> Any:
    """The value of a JSON text in UTF-8, with or without its mark.

    undefined: NaN and infinity may occur, as other programs write them.
    Raises WrongValue for anything that is not JSON, or holds what this module keeps out.
    """
    try:
        text = content if isinstance(content, str) else content.removeprefix(BOM_UTF8).decode()
        value = (_LENIENT if undefined else _STRICT).decode(text)
    except RecursionError:
        raise WrongValue(f"is nested more than {DEEPEST} levels deep") from None
    except UnicodeDecodeError as error:
        raise WrongValue(f"is not JSON: not UTF-8, {error.reason} at byte {error.start}") from None
    except json.JSONDecodeError as error:
        raise WrongValue(f"is not JSON: {error}") from None
    if text.count("{") + text.count("[") > DEEPEST or "\\u" in text:
        _check_content(value)
    return value


def read_json(
    path: Path, fault: str, mend: str, kind: Any = Any, *, schema: int | None = None, undefined: bool = False
) -> Any:
    """What a JSON file holds, of that type.

    fault: what a file that does not is said to be: "is not a baseline". mend: what to do about it.
    schema: what its key of that name must be. undefined: see `parse_json`.
    Raises UsageError naming the file, and the key where it is one that is wrong.
    """
    try:
        value = parse_json(path.read_bytes(), undefined=undefined)
        if schema is not None and isinstance(value, dict) and value.get("schema", schema) != schema:
            raise UsageError(f"{path} has schema {shown(value['schema'])}, this version reads {schema}; {mend}")
        check(value, kind)
        if schema is not None and "schema" not in value:
            raise WrongValue("is missing", ("schema",))
    except OSError as error:
        raise UsageError(f"{path} cannot be read ({error.strerror}); {mend}") from None
    except WrongValue as error:
        raise UsageError(f"{path} {fault} ({error}); {mend}") from None
    return value


def parse_toml(content: str | bytes, where: str) -> dict[str, Any]:
    """The tables of a TOML file. where: the file, for messages.

    Raises UsageError for what is no TOML, is not UTF-8, or holds what this module keeps out; `nan` and `inf` are TOML.
    """
    try:
        tables = tomllib.loads(content if isinstance(content, str) else content.decode("utf-8"))
        _check_content(tables)
    except RecursionError:
        raise UsageError(f"{where}: not a TOML file (is nested more than {DEEPEST} levels deep)") from None
    except ValueError as error:  # TOMLDecodeError, UnicodeDecodeError and WrongValue are some
        raise UsageError(f"{where}: not a TOML file ({' '.join(str(error).split())})") from None
    return tables


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises UsageError, also where it cannot be read."""
    try:
        return parse_toml(path.read_bytes(), str(path))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from None


def _check_content(document: Any) -> None:
    """Raise WrongValue for numbers beyond 64 bits, text that is none, and for what is nested deep."""
    todo: list[tuple[Any, int]] = [(document, 0)]
    while todo:
        value, depth = todo.pop()
        if depth >= DEEPEST and isinstance(value, dict | list):
            raise WrongValue(f"is nested more than {DEEPEST} levels deep")
        if isinstance(value, str):
            if not value.isascii():
                _check_text(value)
        elif isinstance(value, int):
            if not -LARGEST <= value < LARGEST:
                raise WrongValue("holds a whole number of more than 64 bits")
        elif isinstance(value, dict):
            todo += ((one, depth + 1) for pair in value.items() for one in pair)
        elif isinstance(value, list):
            todo += ((one, depth + 1) for one in value)


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WrongValue(f"holds a text with half a character ({text[error.start]!r})") from None


# ---------------------------------------------------------------------------------------- held to its type


def check(value: Any, kind: Any) -> None:
    """Raise WrongValue, naming the place, where a document (of `parse_json`) is not of that type."""
    check_of(kind)(value)


@cache
def check_of(kind: Any) -> Check:
    """`check` for one type."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any:
        return _anything
    if origin in (Union, types.UnionType):
        return _one_of(arguments)
    if origin is Literal:
        return _choice(arguments)
    if origin is Annotated:
        return _within(*arguments)
    if origin is not None and issubclass(origin, collections.abc.Mapping):
        return _mapping(check_of(arguments[1]))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return _row(tuple(map(check_of, arguments)))
    if origin is not None and issubclass(origin, collections.abc.Collection):
        return _list(check_of(arguments[0]))
    if typing.is_typeddict(kind):
        return _object(kind, kind.__required_keys__, only=False)
    if dataclasses.is_dataclass(kind):
        absent = dataclasses.MISSING
        needed = (one.name for one in dataclasses.fields(kind) if one.default is one.default_factory is absent)
        return _object(kind, frozenset(needed), only=True)
    return _leaf(kind)


WORDS: Mapping[Any, str] = {
    str: "a text",
    int: "a whole number",
    float: "a finite number",
    bool: "true or false",
    type(None): "null",
}


def _anything(_value: Any) -> None:
    return None


def _leaf(kind: Any) -> Check:
    words = WORDS.get(kind, "left out")  # no document holds a value of another type

    def check_leaf(value: Any) -> None:
        if type(value) is kind and (kind is not float or math.isfinite(value)):
            return
        if kind is not float or type(value) is not int:  # a bool is no number
            raise WrongValue(f"must be {words}, is {shown(value)}")

    return check_leaf


def _choice(choices: tuple[Any, ...]) -> Check:
    def check_choice(value: Any) -> None:
        if not any(value == one and type(value) is type(one) for one in choices):
            raise WrongValue(f"must be one of {', '.join(map(str, choices))}, is {shown(value)}")

    return check_choice


def _within(kind: Any, allowed: range) -> Check:
    check_kind = check_of(kind)

    def check_within(value: Any) -> None:
        check_kind(value)
        if value not in allowed:
            raise WrongValue(f"must be from {allowed[0]} to {allowed[-1]}, is {value}")

    return check_within


def _one_of(kinds: tuple[Any, ...]) -> Check:
    optional = type(None) in kinds
    checks = [check_of(kind) for kind in kinds if kind is not type(None)]

    def check_union(value: Any) -> None:
        if value is None and optional:
            return None
        for one in checks[:-1]:
            with suppress(WrongValue):
                return one(value)
        return checks[-1](value)

    return check_union


def _mapping(of_values: Check) -> Check:
    def check_mapping(value: Any) -> None:
        if type(value) is not dict:
            raise WrongValue(f"must be a table, is {shown(value)}")
        for key, one in value.items():
            try:
                of_values(one)
            except WrongValue as error:
                raise error.within(key) from None

    return check_mapping


def _list(of_items: Check) -> Check:
    def check_list(value: Any) -> None:
        if type(value) not in SEQUENCES:
            raise WrongValue(f"must be a list, is {shown(value)}")
        for number, one in enumerate(value):
            try:
                of_items(one)
            except WrongValue as error:
                raise error.within(number) from None

    return check_list


def _row(of_items: tuple[Check, ...]) -> Check:
    def check_row(value: Any) -> None:
        if type(value) not in SEQUENCES or len(value) != len(of_items):
            raise WrongValue(f"must be a list of {len(of_items)}, is {shown(value)}")
        for number, (one, check_item) in enumerate(zip(value, of_items, strict=True)):
            try:
                check_item(one)
            except WrongValue as error:
                raise error.within(number) from None

    return check_row


def _object(kind: Any, needed: frozenset[str], *, only: bool) -> Check:
    hints = get_type_hints(kind, include_extras=True)
    checks = {name: (_plain_types(of), check_of(of)) for name, of in hints.items()}

    def check_object(value: Any) -> None:
        if type(value) is not dict:
            raise WrongValue(f"must be a table, is {shown(value)}")
        if missing := needed - value.keys():
            raise WrongValue("is missing", (min(missing),))
        for key, one in value.items():
            known = checks.get(key)
            if known is None:
                if only:
                    raise WrongValue(f"unknown key; known: {', '.join(checks)}", (key,))
            elif type(one) not in known[0]:
                try:
                    known[1](one)
                except WrongValue as error:
                    raise error.within(key) from None

    return check_object


def _plain_types(kind: Any) -> frozenset[Any]:
    """Types of which every value fits: a journal has a million of them."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    return frozenset(kinds) & {str, int, bool, type(None)}
