"""How objects show themselves: in one short line, and as a small table in a notebook."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from html import escape
from typing import Any

from syncdiff_bench.characters import one_line
from syncdiff_bench.options import option_names

LONGEST = 200  # letters of a fact; of a longer one the middle is left out


class Presented:
    """An object with a short `repr` and a table for notebooks, both of `_presentation`."""

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        """A title ("method static"), and facts by name; one that is a function is left out where it raises."""
        raise NotImplementedError

    def __repr__(self) -> str:
        title, facts = self._presentation()
        told = ", ".join(f"{name} {text}" for name, text in known(facts).items())
        return f"<{one_line(title)}{': ' if told else ''}{told}>"

    def _repr_html_(self) -> str:
        title, facts = self._presentation()
        return card(title, known(facts))


def known(facts: Mapping[str, Any]) -> dict[str, str]:
    """The facts as texts of one line; without those that are empty or cannot be told."""
    found = {}
    for name, value in facts.items():
        try:
            text = one_line(str(value() if isinstance(value, Callable) else value))  # type: ignore[arg-type]
        except Exception:  # what a plugin's own property raises must not break a debugger
            continue
        if text:
            half = LONGEST // 2
            found[name] = text if len(text) <= LONGEST else f"{text[:half]}...{text[-half:]}"
    return found


def card(title: str, facts: Mapping[str, str], picture: str = "") -> str:
    """A table of two columns. picture: a `data:` address, shown above it."""
    shown = f'<img src="{picture}" alt=""><br>' if picture else ""
    rows = "".join(f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts.items())
    return f"{shown}<table><thead><tr><th colspan=2>{escape(one_line(title))}</th></tr></thead>{rows}</table>"


def settings(options: Any) -> dict[str, Any]:
    """Those of a plugin's options that are not the default."""
    try:
        defaults = {
            one.name: one.default_factory() if one.default_factory is not MISSING else one.default
            for one in fields(options)
        }
        given = {name: getattr(options, name) for name in option_names(type(options))}
    except Exception:  # options that are no dataclass; what else is wrong with them, `plugin check` says
        return {}
    return {name: value for name, value in given.items() if value != defaults[name]}
