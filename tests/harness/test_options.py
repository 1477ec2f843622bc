"""Options: texts and TOML values into frozen dataclasses, and messages that name the mend."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import option_names, options_from_values, options_to_json
from syncdiff_bench.texts import address_settings, options_from_text, parse_settings, parse_spec, split_list


@dataclass(frozen=True)
class Everything:
    steps: int = 200
    eta: float = 0.0
    fast: bool = False
    mode: Literal["sample", "epsilon"] = "epsilon"
    level: Literal[1, 2] = 1
    name: str = "x"
    checkpoint: Path | None = None
    layers: tuple[int, ...] = (1, 2)
    size: tuple[int, float] = (1, 2.0)
    limit: int | None = None


@dataclass(frozen=True)
class Required:
    folder: Path


@dataclass(frozen=True)
class Checked:
    steps: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("steps must be at least 1")


def text(**given: str) -> Any:
    return options_from_text(Everything, given, "syncdiff")


@pytest.mark.parametrize(
    ("key", "given", "expected"),
    [
        ("steps", "50", 50),
        ("eta", "1", 1.0),
        ("eta", "1e-3", 0.001),
        ("fast", "yes", True),
        ("fast", "Off", False),
        ("mode", "sample", "sample"),
        ("level", "2", 2),
        ("name", "5", "5"),
        ("checkpoint", "a/b.safetensors", Path("a/b.safetensors")),
        ("checkpoint", "none", None),
        ("layers", "3,4,5", (3, 4, 5)),
        ("layers", "(3, 4)", (3, 4)),
        ("size", "3,4", (3, 4.0)),
        ("limit", "7", 7),
        ("limit", "None", None),
    ],
)
def test_texts_become_typed_values(key: str, given: str, expected: object) -> None:
    value = getattr(text(**{key: given}), key)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("key", "given", "words"),
    [
        ("steps", "many", "'many' is not a whole number"),
        ("steps", "1.5", "'1.5' is not a whole number"),
        ("eta", "nan", "'nan' is not a finite number"),
        ("fast", "maybe", "'maybe' is not true or false"),
        ("mode", "sampel", "is not one of sample, epsilon; did you mean 'sample'?"),
        ("layers", "1,b", "is not a whole number"),
        ("size", "1", "is not 2 values"),
    ],
)
def test_wrong_types_are_told_in_one_line(key: str, given: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        text(**{key: given})
    message = str(caught.value)
    assert words in message
    assert f"option {key} of syncdiff" in message
    assert "\n" not in message


def test_misspelt_key_names_the_nearest_and_all() -> None:
    with pytest.raises(UsageError, match="unknown option 'stesp' of syncdiff; did you mean 'steps'") as caught:
        text(stesp="5")
    assert "known options: steps, eta, fast" in str(caught.value)


def test_option_of_a_plugin_without_options() -> None:
    @dataclass(frozen=True)
    class Nothing:
        pass

    with pytest.raises(UsageError, match="gt has no options"):
        options_from_text(Nothing, {"steps": "1"}, "gt")


def test_required_option_and_own_checks() -> None:
    with pytest.raises(UsageError, match="videos needs the option 'folder'; give folder=PATH"):
        options_from_text(Required, {}, "videos")
    with pytest.raises(UsageError, match="options of m: steps must be at least 1"):
        options_from_text(Checked, {"steps": "0"}, "m")


def test_toml_values_keep_their_types() -> None:
    options = options_from_values(
        Everything, {"steps": 3, "eta": 1, "layers": [4], "checkpoint": "c.bin", "fast": True}, "m"
    )
    assert options == Everything(3, 1.0, True, checkpoint=Path("c.bin"), layers=(4,))
    assert isinstance(options.eta, float)


@pytest.mark.parametrize(
    "wrong", [{"steps": "3"}, {"steps": True}, {"steps": 1.0}, {"fast": 1}, {"layers": 4}, {"name": 5}]
)
def test_toml_values_of_wrong_type_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="is not"):
        options_from_values(Everything, wrong, "m")


def test_canonical_record_is_json_with_absolute_paths_and_reads_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    record = options_to_json(text(checkpoint="c.bin", layers="7"))
    assert record["checkpoint"] == str(tmp_path / "c.bin")
    assert record["layers"] == [7]
    assert list(record) == list(option_names(Everything))
    again = options_from_values(Everything, json.loads(json.dumps(record)), "m")
    assert options_to_json(again) == record


def test_lists_respect_brackets() -> None:
    assert split_list("psnr, ssim,lpips[net=vgg,layers=(1,2)],") == [
        "psnr",
        "ssim",
        "lpips[net=vgg,layers=(1,2)]",
    ]


def test_specs() -> None:
    spec = parse_spec("lpips[net=vgg, layers=(1,2)]")
    assert (spec.name, spec.options) == ("lpips", {"net": "vgg", "layers": "(1,2)"})
    assert parse_spec("psnr[talklip]").options == {"protocol": "talklip"}
    assert parse_spec(" psnr ").options == {}


@pytest.mark.parametrize("wrong", ["psnr[a=1", "psnr]", "[a=1]", "psnr[a=1]b]", "psnr[a=1,a=2]", ""])
def test_broken_specs_are_refused(wrong: str) -> None:
    with pytest.raises(UsageError):
        parse_spec(wrong)


def test_settings_need_an_equals_sign() -> None:
    assert parse_settings(["a=1", "b=x=y", "a=2"]) == {"a": "2", "b": "x=y"}
    with pytest.raises(UsageError, match="--set steps: expected key=value"):
        parse_settings(["steps"])


def test_settings_reach_those_that_have_the_key() -> None:
    plugins: dict[str, type[Any]] = {"m": Everything, "c": Checked, "r": Required}
    given = address_settings(["steps=5", "m.steps=7", "eta=1"], plugins)
    assert given == {"m": {"steps": 7, "eta": 1.0}, "c": {"steps": 5}, "r": {}}
    with pytest.raises(UsageError, match="did you mean 'steps'"):
        address_settings(["stepps=5"], plugins)
    with pytest.raises(UsageError, match="'x' is not part of this run"):
        address_settings(["x.steps=5"], plugins)
