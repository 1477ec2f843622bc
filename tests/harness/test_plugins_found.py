"""Plugins are found: lazy, isolating, and precise about whose fault it is; and those that others wrote still run.

Files in tests/data/third_party are as their authors left them. A change here that needs a change there breaks
somebody's package: keep the old name working instead.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench import load_dataset, load_run, plugins, registry
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Metric, Pair
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.report.paper import tables
from syncdiff_bench.texts import metric_specs
from syncdiff_bench.weights.catalog import installed

Install = Callable[[str, str, str], None]

GOOD = """
from dataclasses import dataclass
from syncdiff_bench.contracts import Method
class Good(Method):
    name = {name!r}
    title = "a good one"
    def generate(self, clips, *, seed, progress=None):
        yield from ()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one method on sys.path: install(distribution, method name, module source)."""

    def put(distribution: str, name: str, source: str) -> None:
        module = f"{distribution.replace('-', '_')}_{name}".replace("-", "_")
        sys.modules.pop(module, None)
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        with (info / "entry_points.txt").open("a", encoding="utf-8") as file:
            if file.tell() == 0:
                file.write("[syncdiff_bench.methods]\n")
            file.write(f"{name} = {module}:Good\n")
        registry.registrations.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    registry.registrations.cache_clear()
    yield put  # type: ignore[misc]
    registry.registrations.cache_clear()


def statuses() -> dict[str, registry.Description]:
    return {row.name: row for row in registry.describe("method")}


def test_a_third_party_method_loads_by_name(install: Install) -> None:
    install("third-party", "good", GOOD.format(name="good"))
    assert "good" in registry.names("method")
    assert plugins.load_method("good").name == "good"
    row = statuses()["good"]
    assert (row.title, row.distribution, row.status) == ("a good one", "third-party", "ok")


def test_names_import_nothing(install: Install) -> None:
    install("third-party", "lazy", "raise RuntimeError('imported too early')")
    assert "lazy" in registry.names("method")
    assert "third_party_lazy" not in sys.modules


def test_unknown_names_suggest_the_nearest(install: Install) -> None:
    install("third-party", "wave2lip", GOOD.format(name="wave2lip"))
    with pytest.raises(UsageError, match="unknown method 'wave2lips'; did you mean 'wave2lip'") as caught:
        plugins.load_method("wave2lips")
    assert "known methods: " in str(caught.value)


def test_two_distributions_with_one_name(install: Install) -> None:
    install("first-party", "twice", GOOD.format(name="twice"))
    install("second-party", "twice", GOOD.format(name="twice"))
    install("second-party", "good", GOOD.format(name="good"))
    with pytest.raises(UsageError, match="first-party and second-party both register it"):
        plugins.load_method("twice")
    assert plugins.load_method("good").name == "good"
    assert statuses()["twice"].distribution == "first-party, second-party"
    assert statuses()["good"].status == "ok"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        ("Bad = 1", "AttributeError"),
        ("Good = 1", "1 is not a subclass of syncdiff_bench.contracts.Method"),
        (
            "from syncdiff_bench.contracts import Method\nclass Good(Method):\n name='bad'",
            "implement generate",
        ),
        (GOOD.format(name="other"), "Good.name is 'other', its entry point says 'bad'"),
        (GOOD.format(name="bad") + "    Options = dict", "Good.Options is not a dataclass"),
        (GOOD.format(name="bad") + "    Options = property(lambda self: 1 / 0)", "is not a dataclass"),
    ],
)
def test_a_broken_plugin_is_reported_and_isolated(install: Install, source: str, words: str) -> None:
    install("broken-party", "bad", source)
    install("third-party", "good", GOOD.format(name="good"))
    with pytest.raises(UsageError) as caught:
        plugins.load_method("bad")
    message = str(caught.value)
    assert "broken-party" in message
    assert words in message
    assert "\n" not in message
    assert words in statuses()["bad"].status
    assert statuses()["good"].status == "ok"


def test_a_constructor_that_breaks_is_the_plugins_fault(install: Install) -> None:
    source = GOOD.format(name="bad") + "    def __init__(self, options=None, runtime=None):\n        1 / 0\n"
    install("broken-party", "bad", source)
    with pytest.raises(UsageError, match="broken-party cannot be used: ZeroDivisionError"):
        plugins.load_method("bad")


def test_every_group_reports_broken_and_doubled_plugins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = {group.name: "" if group.packages else ":Nothing" for group in registry.GROUPS.values()}
    for distribution, names in (("first-party", ("twice", "bad")), ("second-party", ("twice",))):
        info = tmp_path / f"{distribution}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        groups = [
            [f"[{name}]", *(f"{one} = nowhere_{distribution[:5]}{end}" for one in names)] for name, end in lines.items()
        ]
        (info / "entry_points.txt").write_text("\n".join(line for group in groups for line in group))
    monkeypatch.syspath_prepend(str(tmp_path))
    registry.registrations.cache_clear()
    installed.cache_clear()
    try:
        found = {kind: {row.name: row for row in registry.describe(kind)} for kind in registry.GROUPS}
        main(["doctor"])
        told = capsys.readouterr().out
        assert [table.number for table in tables()] and installed().entries  # those of the others are there
    finally:
        monkeypatch.undo()
        registry.registrations.cache_clear()
        installed.cache_clear()
    for kind, rows in found.items():
        assert "No module named 'nowhere_first'" in rows["bad"].status and rows["bad"].distribution == "first-party"
        assert rows["twice"].status != "ok" and rows["twice"].distribution == "first-party, second-party"
        ours = [row for row in rows.values() if row.distribution == "syncdiff-bench"]
        assert ours and all(row.status == "ok" for row in ours)
        line = next(line for line in told.splitlines() if f"{kind.replace('_', ' ')} plugin: bad" in line)
        assert line.startswith("fail") and "nowhere_first" in line


def test_the_other_groups_suggest_the_nearest_and_name_the_distribution(install: Install) -> None:
    for kind in ("trainer", "converter", "acoustic_model"):
        with pytest.raises(UsageError, match="; did you mean '"):
            registry.load_class(kind, registry.names(kind)[0] + "x")
    with pytest.raises(UsageError, match="unknown checkpoint layout 'vq-f5'; did you mean 'vq-f4'"):
        registry.load_class("converter", "vq-f5")


def test_metric_specs_and_facts(toy_plugins: Path) -> None:
    assert metric_specs(["toy-error[signed]"])[0].options == {"protocol": "signed"}
    assert plugins.load_metric("toy-error", {"protocol": "signed"}).protocol == "signed"
    with pytest.raises(UsageError, match="is not one of absolute, signed"):
        metric_specs(["toy-error[wrong]"])
    row = {row.name: row for row in registry.describe("metric")}["toy-words"]
    assert row.columns == (("WORDS", "↑", ""),)
    assert row.needs == ("audio", "transcript")
    assert (row.protocol, row.source) == ("absolute", "closed form")


def test_datasets_need_a_root_that_exists(toy_plugins: Path, tmp_path: Path) -> None:
    assert plugins.load_dataset("toy", options={"mark": "b"}).fingerprint("test") == "b" * 64
    with pytest.raises(UsageError, match="does not exist"):
        plugins.load_dataset("toy", tmp_path / "missing")


PACKAGES = Path(__file__).parents[1] / "data" / "third_party"
WRITTEN = {
    "mirror": "726a0c7f34b9fb31627aa247ccc2087b8f37a8d843bc1a5b5ee6de1e1bc6ecfa",
    "jaw": "92753947707ee5373e96e997ccd811b6d81691a43c521df0beadd62c24faf373",
    "jitter": "5819b0d131f36ab2aa831e1afe8419b599c8b9f1e7385500d77860213da02482",
    "listed": "c43326c42cfdb62823faa7a76c480d02e7580b7982f73cfad29226ee9e0d9af8",
}


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch, work_folder: Path) -> Iterator[None]:
    for package in WRITTEN:
        monkeypatch.syspath_prepend(str(PACKAGES / package))
    importlib.invalidate_caches()
    registry.registrations.cache_clear()
    yield
    for package in WRITTEN:
        sys.modules.pop(package, None)
    registry.registrations.cache_clear()


@pytest.fixture
def data(others: None, tmp_path: Path) -> Path:
    """Two clips of pocket in the layout of `listed`."""
    folder = tmp_path / "data"
    folder.mkdir()
    pocket = load_dataset("pocket")
    rows = [["split", "video", "speaker", "transcript"]]
    for number, clip_id in enumerate(pocket.clip_ids("test")[:2]):
        clip = pocket.clip(clip_id)
        assert clip.path is not None
        shutil.copy(clip.path, folder / f"{number}.mp4")
        rows.append(["test", f"{number}.mp4", f"speaker {number}", "Bin blue at F two now"])
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return folder


@pytest.mark.parametrize("package", WRITTEN)
def test_they_are_as_their_authors_left_them(package: str) -> None:
    source = (PACKAGES / package / f"{package}.py").read_bytes()
    assert hashlib.sha256(source).hexdigest() == WRITTEN[package]


def jitter(generated: Path, reference: Path) -> float:
    """The metric's definition, from the files alone."""
    moved, should = (np.diff(read_media(path).frames.astype(float), axis=0) for path in (generated, reference))
    return float(np.abs(moved - should).mean())


def test_they_run_together(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = tmp_path / "jaw.bin"
    checkpoint.write_bytes(b"chin")
    arguments = ["run", "--method", "mirror", "--method", "jaw", "--dataset", "listed", "--data-root", str(data)]
    settings = ["--set", "jaw.drop=5", "--set", f"jaw.checkpoint={checkpoint}"]
    settings += ["--metrics", "jitter,psnr", "--out", "o"]
    assert main([*arguments, *settings]) == 0, capsys.readouterr().err
    for method in ("mirror", "jaw"):
        done = load_run(Path("o", method))
        assert {(score.clip, score.metric, score.error) for score in done.scores} == {
            (clip, metric, None) for clip in ("0", "1") for metric in ("jitter", "psnr")
        }
        for score in (score for score in done.scores if score.metric == "jitter"):
            expected = jitter(Path("o", method, "videos", f"{score.clip}.mp4"), data / f"{score.clip}.mp4")
            assert score.values["jitter"] == pytest.approx(expected, abs=1e-9)
    for clip in ("0", "1"):
        mirrored = read_media(Path("o", "mirror", "videos", f"{clip}.mp4")).frames
        np.testing.assert_array_equal(mirrored, read_media(data / f"{clip}.mp4").frames[:, :, ::-1])

    recorded = json.loads(Path("o", "jaw", "run.json").read_text(encoding="utf-8"))
    assert recorded["method"]["options"]["drop"] == 5
    assert hashlib.sha256(b"chin").hexdigest() in json.dumps(recorded)
    told = json.dumps(recorded["caveats"])
    assert "the chin was moved, not drawn" in told
    assert "jaw runs a model trained on lrs2, not on listed" in told


def test_the_cost_of_one_is_told(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--method", "jaw", "--dataset", "listed", "--data-root", str(data), "--dry-run"]) == 0
    assert "FLOP" in capsys.readouterr().out


@pytest.mark.parametrize("package", WRITTEN)
def test_they_pass_the_conformance_suite(package: str, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = ["--data-root", str(data)] if package == "listed" else []
    assert main(["plugin", "check", package, *root]) == 0, capsys.readouterr().out


def test_older_names_of_the_contract_mean_the_same(data: Path) -> None:
    class Old(Metric[Any]):
        needs = frozenset({"audio"})

    assert (Old.requires, Metric.requires) == ({"audio"}, {"reference"})
    clip = Clip("a", "test", data / "none.mp4")
    pair = Pair(Clip("a", "test", audio_from=clip), clip)
    assert pair.truth is pair.target is clip
    assert pair.generated.sound is clip
