"""What people type, as typed values: `key=value` of an option, and specs such as `lpips[net=vgg]`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args, get_origin

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import (
    FALSE_WORDS,
    TRUE_WORDS,
    check_value,
    option_names,
    options_from_values,
    read_fields,
    unknown_key,
)
from syncdiff_bench.registry import load_class


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
    """A plugin and its options, as texts or as values."""

    name: str
    options: Mapping[str, Any]


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


def metric_specs(texts: Iterable[str]) -> tuple[Spec, ...]:
    """Metrics with the values of their options, of comma-separated texts such as "psnr,lpips[net=vgg]".

    Raises UsageError for an unknown metric, an unknown option, and a value of the wrong type.
    """
    specs = [parse_spec(item) for text in texts for item in split_list(text)]
    return tuple(
        Spec(one.name, option_values(load_class("metric", one.name).Options, one.options, one.name)) for one in specs
    )


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
) -> dict[str, dict[str, Any]]:
    """Hand each `key=value` to the plugins that have the key, each `NAME.key=value` to that plugin alone.

    options: plugin name -> its Options class. The addressed form wins over the plain one.
    Returns the values of each plugin.
    Raises UsageError for a key that no plugin has, and a value of the wrong type.
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
            raise UsageError(unknown_key(key, options))
        for name in takers:
            plain[name][key] = value
    return {name: option_values(cls, plain[name] | addressed[name], name) for name, cls in options.items()}


def method_options(names: Iterable[str], settings: Sequence[str]) -> dict[str, dict[str, Any]]:
    """The values of the options of each method, of `--set`. Raises UsageError as `address_settings`."""
    if not settings:
        return {}
    return address_settings(settings, {name: load_class("method", name).Options for name in names})


def option_values(cls: type[Any], texts: Mapping[str, str], owner: str) -> dict[str, Any]:
    """The values of an Options class, read by the types of its fields. owner: the plugin's name, for messages.

    Raises UsageError, in one line, for an unknown key and a value of the wrong type.
    """
    return read_fields(cls, texts, owner, _read_text)


def options_from_text(cls: type[Any], texts: Mapping[str, str], owner: str) -> Any:
    """Options from texts. Raises UsageError as `option_values`, and for a missing required key."""
    return options_from_values(cls, option_values(cls, texts, owner), owner)


def _read_text(text: str, kind: Any) -> Any:
    """What the text stands for where a value of this type is expected; a text that stands for nothing is refused."""
    arguments, value = get_args(kind), cast("Any", text)
    if type(None) in arguments and text.lower() in ("none", ""):
        value = None
    elif get_origin(kind) is Literal:
        value = {str(choice): choice for choice in arguments}.get(text, text)
    elif get_origin(kind) is tuple:
        value = split_list(text[1:-1] if text.startswith("(") and text.endswith(")") else text)
    elif kind is bool and text.lower() in TRUE_WORDS | FALSE_WORDS:
        value = text.lower() in TRUE_WORDS
    elif kind is int or kind is float:
        with suppress(ValueError):
            value = kind(text)
    return check_value(value, kind, _read_text)
