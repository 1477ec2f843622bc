"""Damaged files for hypothesis: valid ones with values exchanged, dropped and made extreme, or with bytes changed."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from datetime import date, datetime, timezone
from math import isfinite
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from syncdiff_bench.errors import BenchError

Reader = Callable[[Path], object]

# Inputs for each reader, in CI and in the long run.
SHORT, LONG = 8, int(os.environ.get("RELIABILITY_INPUTS", "800"))
short_and_long = pytest.mark.parametrize(
    "tries", [pytest.param(SHORT, id="short"), pytest.param(LONG, id="long", marks=pytest.mark.reliability)]
)

DEEP: Any = []
for _ in range(300):
    DEEP = [DEEP]
# What stands in place of a value: other types, extremes, text that is none.
EXTREMES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 3, 10**9, 2**63 - 1, 2**63, -(10**40), 10**400),
    *(0.5, -0.0, 1e308, float("nan"), float("inf"), float("-inf")),
    *("", " ", "a", "x" * 5000, "\ud800", "a\0b", "line\nbreak", "\x1b[31m", "../../up", "/", "\\", "ü", "up", "n/a"),
    *([], [[]], [None], [1, 2, 3], ["a"], {}, {"": None}, {"a": {"b": []}}, DEEP),
)
DATES: tuple[Any, ...] = (date(2020, 1, 1), datetime(2020, 1, 1, tzinfo=timezone.utc))
WORDS = (b"NaN", b"-Infinity", b"1e400", b"9" * 5000, b'"\\ud800"', b"[" * 3000, b'{"a":' * 3000, b"null", b'"', b"}")


def places(document: Any) -> list[tuple[Any, Any]]:
    """(container, key) of every value in it, at any depth."""
    found: list[tuple[Any, Any]] = []
    items = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in items:
        found.append((document, key))
        if isinstance(value, dict | list):
            found += places(value)
    return found


@st.composite
def damaged_documents(draw: st.DrawFn, document: Any, extremes: tuple[Any, ...] = EXTREMES) -> Any:
    """The document with one to three of its values exchanged, dropped, doubled or renamed."""
    made = [copy.deepcopy(document)]
    for _ in range(draw(st.integers(1, 3))):
        known = [(made, 0), *(places(made[0]) if isinstance(made[0], dict | list) else [])]
        container, key = known[draw(st.integers(0, len(known) - 1))]
        way = draw(st.sampled_from(("exchange", "exchange", "drop", "other", "rename", "add")))
        if way == "drop" and container is not made:
            del container[key]
        elif way == "other":  # a value of the same document, of another kind
            other, at = known[draw(st.integers(0, len(known) - 1))]
            container[key] = copy.deepcopy(other[at])
        elif way == "rename" and isinstance(container, dict):
            container[draw(st.sampled_from(("", "x", "schema", "\x1b[31m", "ü", *map(str, container))))] = (
                container.pop(key)
            )
        elif way == "add" and isinstance(container[key], dict):
            container[key]["unheard of"] = copy.deepcopy(draw(st.sampled_from(extremes)))
        elif way == "add" and isinstance(container[key], list):
            container[key].append(copy.deepcopy(draw(st.sampled_from(extremes))))
        else:
            container[key] = copy.deepcopy(draw(st.sampled_from(extremes)))
    return made[0]


@st.composite
def damaged_bytes(draw: st.DrawFn, data: bytes) -> bytes:
    """The bytes cut, with some overwritten, put in or taken out, or as another encoding writes them."""
    way = draw(st.sampled_from(("cut", "flip", "flip", "word", "take", "double", "mark", "encode", "empty")))
    at = draw(st.integers(0, len(data)))
    if way == "cut":
        return data[:at]
    if way == "flip":
        changed = bytearray(data)
        for _ in range(draw(st.integers(1, 8)) if data else 0):
            changed[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
        return bytes(changed)
    if way == "word":
        return (
            data[:at] + draw(st.sampled_from((*WORDS, b"\0", b"\xff\xfe", b"\n", b"\r", b"\xed\xa0\x80"))) + data[at:]
        )
    if way == "take":
        return data[:at] + data[at + draw(st.integers(1, 40)) :]
    if way == "double":
        return data[:at] + data[max(0, at - 60) :]
    if way == "mark":
        return draw(st.sampled_from((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff\0\0", b"\0"))) + data
    if way == "encode":
        return data.decode("utf-8", "replace").encode(
            draw(st.sampled_from(("utf-16", "utf-32-be", "latin-1"))), "replace"
        )
    return draw(st.sampled_from((b"", b"\n", b"{}", b"[]", b"null", b"0", b"\0" * 64)))


def json_of(document: Any) -> bytes:
    """Also of what JSON does not know: NaN, half characters; what is nested deep by hand."""
    deep = "[" * 300 + "]" * 300
    text = json.dumps(_without_deep(document))
    return text.replace('"DEEP"', deep).encode()


def _without_deep(value: Any) -> Any:
    if value == DEEP:
        return "DEEP"
    if isinstance(value, dict):
        return {key: _without_deep(one) for key, one in value.items()}
    return [_without_deep(one) for one in value] if isinstance(value, list) else value


def damaged_json(data: bytes) -> st.SearchStrategy[bytes]:
    """A JSON file, damaged as a document or as bytes."""
    return damaged_documents(json.loads(data)).map(json_of) | damaged_bytes(data)


@st.composite
def damaged_lines(draw: st.DrawFn, data: bytes) -> bytes:
    """JSON lines of which some are damaged, as documents or as bytes."""
    lines = data.split(b"\n")[:-1]
    for _ in range(draw(st.integers(1, 2))):
        at = draw(st.integers(0, len(lines) - 1))
        lines[at] = draw(damaged_json(lines[at])) if _is_json(lines[at]) else b""
    return b"\n".join(lines) + b"\n"


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def toml_of(document: Any) -> bytes:
    """A document as TOML, tables in one line; null and half characters, which it does not know, are written as well."""
    pairs = document.items() if isinstance(document, dict) else [("value", document)]
    return "".join(f"{_key(key)} = {_toml(value)}\n" for key, value in pairs).encode("utf-8", "surrogatepass")


def _key(key: str) -> str:
    return json.dumps(key, ensure_ascii=False)


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_key(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" * 300 + "]" * 300 if value == DEEP else "[" + ", ".join(map(_toml, value)) + "]"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return repr(value) if isfinite(value) else str(value)
    return json.dumps(value, ensure_ascii=False)


def damaged_toml(tables: Any) -> st.SearchStrategy[bytes]:
    """A TOML file of these tables, damaged as a document or as bytes."""
    changed: st.SearchStrategy[bytes] = damaged_documents(tables, (*EXTREMES, *DATES)).map(toml_of)
    return changed | damaged_bytes(toml_of(tables))


def read_all(
    what: str, strategy: st.SearchStrategy[bytes], file: Path, reader: Reader, tries: int, *, name: str = ""
) -> None:
    """Hold a reader to it that a damaged file gives a value, or an error of one line that names the file.

    file: written anew for each of so many inputs. name: what the line says of it, by default its name.
    With $RELIABILITY_REPORT, a line of that file says how many there were.
    """
    tried = 0

    @settings(
        max_examples=tries,
        deadline=None,
        database=None,
        derandomize=tries == SHORT,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def reads(data: bytes) -> None:
        nonlocal tried
        tried += 1
        file.write_bytes(data)
        try:
            reader(file)
        except BenchError as error:
            said = str(error)
            assert "\n" not in said, f"not in one line: {said!r}"
            assert (name or file.name) in said, f"does not name the file: {said!r}"
            assert len(said) < 3000, f"too long: {said[:300]!r}"
            said.encode()

    reads()
    note(what, tried)


def note(what: str, inputs: int) -> None:
    """A line of the report of the long run; whoever comes here has seen no traceback."""
    if report := os.environ.get("RELIABILITY_REPORT"):
        with Path(report).open("a", encoding="utf-8") as lines:
            lines.write(
                json.dumps({"what": what, "kind": "reader", "tries": inputs, "inputs": inputs, "tracebacks": 0}) + "\n"
            )
