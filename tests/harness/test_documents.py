"""JSON and TOML that are read without trusting them: what passes, what is refused, and with which words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pytest

from syncdiff_bench.documents import WrongValue, check, parse_json, parse_toml, read_json
from syncdiff_bench.errors import UsageError


@dataclass(frozen=True)
class Weights:
    name: str
    sha256: str = ""


class _Needed(TypedDict):
    n: int
    mean: float | None
    direction: Literal["up", "down"]


class Entry(_Needed, total=False):
    decimals: Annotated[int, range(16)]
    ends: tuple[float, float]
    weights: Sequence[Weights]
    more: Mapping[str, Any]


GOOD: dict[str, Any] = {"n": 3, "mean": 1, "direction": "up"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n": True}, "n: must be a whole number, is True"),
        ({"n": 3.0}, "n: must be a whole number, is 3.0"),
        ({"mean": "x"}, "mean: must be a finite number, is 'x'"),
        ({"mean": float("inf")}, "mean: must be a finite number, is inf"),
        ({"direction": "sideways"}, "direction: must be one of up, down, is 'sideways'"),
        ({"decimals": 16}, "decimals: must be from 0 to 15, is 16"),
        ({"ends": [1]}, r"ends: must be a list of 2, is [1]"),
        ({"weights": [{"name": "a"}, {}]}, "weights[1]: name: is missing"),
        ({"weights": [{"name": "a", "x": 1}]}, "weights[0]: x: unknown key; known: name, sha256"),
        ({"weights": {}}, "weights: must be a list, is {}"),
        ({"more": []}, "more: must be a table, is []"),
        ({"n": None}, "n: must be a whole number, is None"),
    ],
)
def test_a_value_of_another_type_is_named_with_its_place(changes: dict[str, Any], words: str) -> None:
    check(GOOD, Entry)
    with pytest.raises(WrongValue) as caught:
        check({**GOOD, **changes}, Entry)
    assert str(caught.value) == words


def test_keys_that_a_later_version_writes_may_stand_there() -> None:
    check({**GOOD, "later": object}, Entry)
    with pytest.raises(WrongValue, match=r"^direction: is missing$"):
        check({"n": 1, "mean": None}, Entry)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "is not JSON: Expecting value"),
        (b"NaN", "is not JSON: NaN"),
        (b"[1e400]", "1e400, a number that is too large"),
        (b"9223372036854775808", "more than 64 bits"),
        (b"-9223372036854775809", "more than 64 bits"),
        (b"9" * 5000, "more than 64 bits"),
        (b'"\\ud800"', "half a character"),
        (b"[" * 41 + b"]" * 41, "more than 40 levels"),
        (b'{"a":' * 100_000, "more than 40 levels"),
        (b"\xff\xfe{\0}\0", "is not JSON: not UTF-8"),
        ('"ü"'.encode("latin-1"), "is not JSON: not UTF-8"),
    ],
)
def test_what_cannot_be_computed_with_or_written_again_is_refused(text: bytes, words: str) -> None:
    with pytest.raises(WrongValue) as caught:
        parse_json(text)
    assert words in str(caught.value)


def test_the_largest_values_pass() -> None:
    text = b'\xef\xbb\xbf[9223372036854775807, -9223372036854775808, 1e308, "\\ud83d\\ude00"]'
    assert parse_json(text) == [2**63 - 1, -(2**63), 1e308, "😀"]
    assert parse_json(b"[" * 40 + b"]" * 40)
    assert parse_json(b"[NaN, 1e400]", undefined=True)[1] == float("inf")


def test_toml_is_held_to_the_same(tmp_path: Path) -> None:
    assert parse_toml("a = 1\n[b]\nc = nan", "x.toml")["a"] == 1
    for text in (
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        "a = 9223372036854775808",
        "a =",
        "a = " + "[" * 41 + "]" * 41,
    ):
        with pytest.raises(UsageError, match=r"^x\.toml: not a TOML file"):
            parse_toml(text, "x.toml")


def test_a_file_is_named_with_its_fault_and_its_mend(tmp_path: Path) -> None:
    file = tmp_path / "x.json"
    for text, words in (
        ("{", f"{file} is no entry (is not JSON: Expecting property name"),
        ('{"schema": 2}', f"{file} has schema 2, this version reads 1; write it again"),
        ('{"n": 1, "mean": 2.5, "direction": "up"}', f"{file} is no entry (schema: is missing); write it again"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError) as caught:
            read_json(file, "is no entry", "write it again", Entry, schema=1)
        assert str(caught.value).startswith(words)
    file.unlink()
    with pytest.raises(UsageError, match=r"cannot be read \(No such file or directory\); write it again"):
        read_json(file, "is no entry", "write it again")
