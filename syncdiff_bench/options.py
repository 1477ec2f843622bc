"""Plugin options: a frozen dataclass built from the values that Python, TOML or JSON give.

The fields of the dataclass are the documentation: their names are the keys, their types decide what is accepted (int,
float, bool, str, Literal, Path, Optional and tuple of these, and dataclasses, given as a table), their defaults are
what a run uses. `syncdiff_bench.texts` makes such values of what people type.
"""

from __future__ import annotations

import math
import os
import types
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

from syncdiff_bench.errors import UsageError, shown

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})

Read = Callable[[Any, Any], Any]

# Former names of this module, for plugins that import them from here.
_MOVED_TO = "syncdiff_bench.texts"
_MOVED = ("Spec", "address_settings", "options_from_text", "parse_settings", "parse_spec", "split_list")


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name not in _MOVED:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MOVED_TO), name)


def nearest(word: str, known: Iterable[str], label: str = "") -> str:
    """The tail of a message about an unknown word: the close one, where there is one, and the known ones.

    >>> nearest("stesp", ["steps", "eta"], "known options")
    "; did you mean 'steps'? known options: steps, eta"
    >>> nearest("x", ["steps", "eta"], "known options")
    '; known options: steps, eta'
    """
    known = list(known)
    close = get_close_matches(word, known, n=1, cutoff=0.6)
    parts = [f"did you mean {close[0]!r}?"] if close else []
    if label:
        parts.append(f"{label}: {', '.join(known) or 'none'}")
    return f"; {' '.join(parts)}" if parts else ""


def option_names(cls: type[Any]) -> tuple[str, ...]:
    """Keys of an Options dataclass, in the order of declaration."""
    return tuple(f.name for f in fields(cls) if f.init)


def options_from_values(cls: type[Any], given: Mapping[str, Any], owner: str) -> Any:
    """Options from typed values, as Python, TOML and JSON have them (a list for a tuple, a string for a path).

    owner: the plugin's name, for messages.
    Raises UsageError, in one line, for an unknown key, a value of the wrong type, and a missing required key.
    """
    values = read_fields(cls, given, owner, check_value)
    for f in fields(cls):
        if f.init and f.default is MISSING and f.default_factory is MISSING and f.name not in values:
            example = _example(get_type_hints(cls)[f.name])
            raise UsageError(f"{owner} needs the option {f.name!r}; give {f.name}={example}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"options of {owner}: {error}") from None


def read_fields(cls: type[Any], given: Mapping[str, Any], owner: str, read: Read) -> dict[str, Any]:
    """What was given for some fields of a dataclass, each read by its type. Raises UsageError as `options_from_values`.

    read: (what was given, type) -> value, or WrongTypeError.
    """
    hints, values = get_type_hints(cls), {}
    for key, value in given.items():
        if key not in option_names(cls):
            raise UsageError(unknown_key(key, {owner: cls}))
        try:
            values[key] = read(value, hints[key])
        except WrongTypeError as error:
            raise UsageError(f"option {shown(key)[1:-1]} of {owner}: {shown(value)} is not {error}") from None
        except UsageError as error:  # of a table within this one
            raise UsageError(f"{owner}: {key}: {error}") from None
    return values


def options_to_json(options: Any) -> dict[str, Any]:
    """The canonical record of options: every key, defaults included, in declaration order; paths absolute.

    `options_from_values` gives the same options back.
    """
    return {name: _to_json(getattr(options, name)) for name in option_names(type(options))}


def defaults_to_json(cls: type[Any]) -> dict[str, Any]:
    """As `options_to_json`, what a run without settings records; without the keys that have no default."""
    found = {}
    for one in fields(cls):
        if one.init and one.default is not MISSING:
            found[one.name] = _to_json(one.default)
        elif one.init and one.default_factory is not MISSING:
            found[one.name] = _to_json(one.default_factory())
    return found


def _to_json(value: Any) -> Any:
    if isinstance(value, Path):
        return os.path.abspath(value)  # noqa: PTH100 - unlike resolve(), keeps the name of a link
    if isinstance(value, tuple):
        return [_to_json(item) for item in value]
    if is_dataclass(value):
        return options_to_json(value)
    return value


class WrongTypeError(Exception):
    """Its text completes "... is not"."""


def check_value(value: Any, kind: Any, read: Read | None = None) -> Any:
    """The value as a type wants it; read: how the members of a union or a tuple are read, by default likewise.

    Raises WrongTypeError.
    """
    read = read or check_value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _first_that_reads(value, [a for a in arguments if a is not type(None)], read)
    if origin is Literal:
        return _choice(value, arguments)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise WrongTypeError(_in_words(kind))
        return _read_tuple(value, arguments, read)
    if isinstance(value, int) and not isinstance(value, bool):
        if not -(2**63) <= value < 2**63:
            raise WrongTypeError("a number of at most 64 bits")
        value = float(value) if kind is float else value
    if kind is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return options_from_values(kind, value, kind.__name__)
    # bool is a subclass of int; a run of `true` steps is a mistake.
    if kind is Any or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        if isinstance(value, float) and not math.isfinite(value):
            raise WrongTypeError("a finite number")
        return value
    raise WrongTypeError(_in_words(kind))


def _first_that_reads(value: Any, kinds: Sequence[Any], read: Read) -> Any:
    for kind in kinds:
        try:
            return read(value, kind)
        except WrongTypeError as error:
            problem = error
    raise problem if len(kinds) == 1 else WrongTypeError(" or ".join(_in_words(kind) for kind in kinds))


def _choice(value: Any, choices: tuple[Any, ...]) -> Any:
    # An unhashable value (a list from TOML) is no choice either.
    if isinstance(value, str | int | float) and value in choices:
        return choices[choices.index(value)]
    names = [str(choice) for choice in choices]
    raise WrongTypeError(f"one of {', '.join(names)}{nearest(str(value), names)}")


def _read_tuple(items: Collection[Any], arguments: tuple[Any, ...], read: Read) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(read(item, arguments[0]) for item in items)
    if len(items) != len(arguments):
        raise WrongTypeError(f"{len(arguments)} values")
    return tuple(read(item, kind) for item, kind in zip(items, arguments, strict=True))


def _in_words(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is tuple:
        return f"a list of values ({_in_words(get_args(kind)[0])} each)"
    if origin is Literal:
        return f"one of {', '.join(map(str, get_args(kind)))}"
    words: dict[Any, str] = {
        int: "a whole number",
        float: "a finite number",
        bool: "true or false",
        str: "a text",
        Path: "a path",
    }
    return words.get(kind, f"a {getattr(kind, '__name__', kind)}")


def _example(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(map(str, get_args(kind)))
    words: dict[Any, str] = {Path: "PATH", int: "NUMBER", float: "NUMBER", bool: "true|false"}
    return words.get(kind, "VALUE")


def unknown_key(key: str, options: Mapping[str, type[Any]]) -> str:
    """The message about a key that none of these plugins has. options: plugin name -> its Options class."""
    known = list(dict.fromkeys(name for cls in options.values() for name in option_names(cls)))
    owners = " and ".join(options)
    if not known:
        return f"unknown option {shown(key)}: {owners} has no options"
    return f"unknown option {shown(key)} of {owners}{nearest(key, known, 'known options')}"
