"""Plugin options: a frozen dataclass built from `--set key=value`, from `name[key=value]` or from TOML
values.

The fields of the dataclass are the documentation: their names are the keys, their types decide what is
accepted (int, float, bool, str, Literal, Path, Optional and tuple of these), their defaults are what a run
uses. From TOML or JSON a field may itself be a dataclass, given as a table.
"""

from __future__ import annotations

import math
import os
import types
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from syncdiff_bench.errors import UsageError

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})


# ----------------------------------------------------------------------------------- reading the text


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


def split_list(text: str) -> list[str]:
    """Comma-separated items; commas inside brackets or parentheses belong to their item.

    >>> split_list("psnr, lpips[net=vgg,region=full]")
    ['psnr', 'lpips[net=vgg,region=full]']
    """
    items, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth <= 0:
            items.append("")
        else:
            items[-1] += character
    return [item.strip() for item in items if item.strip()]


@dataclass(frozen=True)
class Spec:
    """A plugin name with options: `lpips[net=vgg,region=full]`."""

    name: str
    options: Mapping[str, str]


def parse_spec(text: str) -> Spec:
    """Parse `name` or `name[key=value,...]`; a bare value in the brackets sets `protocol` (`psnr[talklip]`).

    Raises UsageError for unbalanced brackets and repeated keys.
    """
    name, bracket, rest = text.strip().partition("[")
    if not bracket:
        inner = ""
    elif rest.endswith("]"):
        inner = rest[:-1]
    else:
        raise UsageError(f"{text!r}: the bracket is not closed; write name[key=value,key=value]")
    if not name or any(c in name + inner for c in "[]"):
        raise UsageError(f"{text!r} is not a plugin name; write name or name[key=value,key=value]")
    given: dict[str, str] = {}
    for item in split_list(inner):
        key, equals, value = item.partition("=")
        key, value = (key.strip(), value.strip()) if equals else ("protocol", item)
        if key in given:
            raise UsageError(f"{text!r} sets {key!r} twice; keep one")
        given[key] = value
    return Spec(name, given)


def parse_settings(settings: Iterable[str], flag: str = "--set") -> dict[str, str]:
    """`["steps=50", "eta=0"]` as a mapping; a later setting of a key wins. Raises UsageError without `=`."""
    pairs: dict[str, str] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise UsageError(f"{flag} {setting}: expected key=value")
        pairs[key.strip()] = value.strip()
    return pairs


def address_settings(
    settings: Sequence[str], options: Mapping[str, type[Any]], flag: str = "--set"
) -> dict[str, dict[str, str]]:
    """Hand each `key=value` to the plugins that have the key, each `NAME.key=value` to that plugin alone.

    options: plugin name -> its Options class. The addressed form wins over the plain one.
    Raises UsageError for a key that no plugin has.
    """
    plain: dict[str, dict[str, str]] = {name: {} for name in options}
    addressed: dict[str, dict[str, str]] = {name: {} for name in options}
    for key, value in parse_settings(settings, flag).items():
        owner, dot, own_key = key.partition(".")
        if dot:
            if owner not in options:
                chosen = ", ".join(options)
                raise UsageError(f"{flag} {key}={value}: {owner!r} is not part of this run ({chosen})")
            addressed[owner][own_key] = value
            continue
        takers = [name for name, cls in options.items() if key in option_names(cls)]
        if not takers:
            raise UsageError(_unknown_key(key, options))
        for name in takers:
            plain[name][key] = value
    return {name: plain[name] | addressed[name] for name in options}


def _unknown_key(key: str, options: Mapping[str, type[Any]]) -> str:
    known = list(dict.fromkeys(name for cls in options.values() for name in option_names(cls)))
    owners = " and ".join(options)
    if not known:
        return f"unknown option {key!r}: {owners} has no options"
    return f"unknown option {key!r} of {owners}{nearest(key, known, 'known options')}"


# ------------------------------------------------------------------------------ building the dataclass


def option_names(cls: type[Any]) -> tuple[str, ...]:
    """Keys of an Options dataclass, in the order of declaration."""
    return tuple(f.name for f in fields(cls) if f.init)


def options_from_text(cls: type[Any], given: Mapping[str, str], owner: str) -> Any:
    """Options from texts, as typed on a command line.

    owner: the plugin's name, for messages.
    Raises UsageError, in one line, for an unknown key, a value of the wrong type, and a missing required key.
    """
    return _build(cls, given, owner, from_text=True)


def options_from_values(cls: type[Any], given: Mapping[str, Any], owner: str) -> Any:
    """Options from typed values, as read from TOML or JSON (a list for a tuple, a string for a path).

    Raises as `options_from_text`.
    """
    return _build(cls, given, owner, from_text=False)


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


def _build(cls: type[Any], given: Mapping[str, Any], owner: str, *, from_text: bool) -> Any:
    known = option_names(cls)
    hints = get_type_hints(cls)
    values = {}
    for key, value in given.items():
        if key not in known:
            raise UsageError(_unknown_key(key, {owner: cls}))
        try:
            values[key] = _read_text(value, hints[key]) if from_text else _check(value, hints[key])
        except _WrongTypeError as error:
            raise UsageError(f"option {key} of {owner}: {value!r} is not {error}") from None
    for f in fields(cls):
        if f.init and f.default is MISSING and f.default_factory is MISSING and f.name not in values:
            raise UsageError(f"{owner} needs the option {f.name!r}; give {f.name}={_example(hints[f.name])}")
    try:
        return cls(**values)
    except (ValueError, TypeError) as error:
        raise UsageError(f"options of {owner}: {error}") from None


class _WrongTypeError(Exception):
    """Its text completes "... is not"."""


def _read_text(text: str, kind: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if type(None) in arguments and text.lower() in ("none", ""):
            return None
        return _first_that_reads(text, [a for a in arguments if a is not type(None)], _read_text)
    if origin is Literal:
        return _choice(text, {str(choice): choice for choice in arguments})
    if origin is tuple:
        inner = text[1:-1] if text.startswith("(") and text.endswith(")") else text
        return _read_tuple(split_list(inner), arguments, _read_text)
    if kind is bool:
        if text.lower() not in TRUE_WORDS | FALSE_WORDS:
            raise _WrongTypeError("true or false")
        return text.lower() in TRUE_WORDS
    if kind is int or kind is float:
        try:
            return _check(kind(text), kind)
        except ValueError:
            raise _WrongTypeError(_in_words(kind)) from None
    return _check(text, kind)


def _check(value: Any, kind: Any) -> Any:
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        return _first_that_reads(value, [a for a in arguments if a is not type(None)], _check)
    if origin is Literal:
        return _choice(value, {choice: choice for choice in arguments})
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise _WrongTypeError(_in_words(kind))
        return _read_tuple(value, arguments, _check)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind is Path and isinstance(value, str) and value:
        return Path(value).expanduser()
    if is_dataclass(kind) and isinstance(kind, type) and isinstance(value, Mapping):
        return _build(kind, value, kind.__name__, from_text=False)
    # bool is a subclass of int; a run of `true` steps is a mistake.
    if kind is Any or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
        if isinstance(value, float) and not math.isfinite(value):
            raise _WrongTypeError("a finite number")
        return value
    raise _WrongTypeError(_in_words(kind))


def _first_that_reads(value: Any, kinds: Sequence[Any], read: Any) -> Any:
    for kind in kinds:
        try:
            return read(value, kind)
        except _WrongTypeError as error:
            problem = error
    raise problem if len(kinds) == 1 else _WrongTypeError(" or ".join(_in_words(kind) for kind in kinds))


def _choice(value: Any, choices: Mapping[Any, Any]) -> Any:
    # An unhashable value (a list from TOML) is no choice either.
    if isinstance(value, str | int | float) and value in choices:
        return choices[value]
    names = [str(choice) for choice in choices]
    raise _WrongTypeError(f"one of {', '.join(names)}{nearest(str(value), names)}")


def _read_tuple(items: Collection[Any], arguments: tuple[Any, ...], read: Any) -> tuple[Any, ...]:
    if len(arguments) == 2 and arguments[1] is Ellipsis:
        return tuple(read(item, arguments[0]) for item in items)
    if len(items) != len(arguments):
        raise _WrongTypeError(f"{len(arguments)} values")
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
