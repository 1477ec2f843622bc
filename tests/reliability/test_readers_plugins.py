"""Plugins that end the process, or fail, in their import and in every call; and damaged metadata of packages."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from reading import damaged_bytes, read_all, short_and_long

from syncdiff_bench import registry
from syncdiff_bench.cli import main
from syncdiff_bench.registry import describe
from syncdiff_bench.weights.catalog import read_catalogues

SOURCE = '''
import os
from collections.abc import Iterator
from dataclasses import dataclass
import numpy as np
from syncdiff_bench.contracts import Clip, Column, Dataset, Finding, Media, Method, Metric, Pair

class Strange(BaseException):
    """No Exception, and nothing that Python ends for."""

def trouble(place, clip=""):
    if os.environ.get("ODD_PLACE") == place and clip in ("", "1"):
        what = os.environ["ODD_ERROR"]
        raise Strange("oddly") if what == "Strange" else getattr(__builtins__, what, None)("oddly") if not isinstance(
            __builtins__, dict) else __builtins__[what]("oddly")

trouble("import")

class Odd(Dataset):
    name = "odd-data"
    embedded = True
    default_metrics = ("odd-metric",)
    def __init__(self, root=None, options=None):
        trouble("dataset")
        super().__init__(root, options)
    def splits(self): return ("test",)
    def clip_ids(self, split):
        trouble("clip_ids")
        return ("0", "1", "2")
    def clip(self, clip_id):
        trouble("clip", clip_id)
        media = Media(np.full((3, 16, 16, 3), 10, np.uint8), np.zeros(1920, np.int16))
        return Clip(clip_id, "odd-data", speaker=clip_id, preloaded=media)
    def fingerprint(self, split):
        trouble("fingerprint")
        return "a" * 64
    def verify(self, split):
        trouble("verify")
        yield Finding("ok", "here", "all")

class Same(Method):
    name = "odd-method"
    def __init__(self, options=None, runtime=None):
        trouble("method")
        super().__init__(options, runtime)
    def generate(self, clips, *, seed, progress=lambda _frames: None):
        for clip in clips:
            trouble("generate", clip.id)
            yield clip.id, clip.frames
    def caveats(self, clip_id):
        trouble("caveats", clip_id)
        return ()
    def general_caveats(self):
        trouble("general_caveats")
        return ()
    def weights_used(self):
        trouble("weights_used")
        return ()

@dataclass(frozen=True)
class Stats:
    n: int

class Count(Metric[Stats]):
    name = "odd-metric"
    columns = (Column("n", "N", "up"),)
    Stats = Stats
    def prepare(self): trouble("prepare")
    def measure(self, pair):
        trouble("measure", pair.generated.id)
        return Stats(len(pair.generated.frames))
    def aggregate(self, stats):
        trouble("aggregate", "1" if len(stats) > 1 else "0")
        return {"n": sum(one.n for one in stats) / len(stats)}
'''
POINTS = """
[syncdiff_bench.methods]
odd-method = odd_plugins:Same
[syncdiff_bench.metrics]
odd-metric = odd_plugins:Count
[syncdiff_bench.datasets]
odd-data = odd_plugins:Odd
"""
METADATA = "Metadata-Version: 2.1\nName: odd-plugins\nVersion: 1.0\n"
RUN = ["run", "--method", "odd-method", "--dataset", "odd-data", "--metrics", "odd-metric", "--out", "runs"]
ONE_CLIP = ("clip", "generate", "caveats", "measure")  # cost that clip
WHOLE = ("import", "dataset", "clip_ids", "fingerprint", "method", "general_caveats", "weights_used", "aggregate")


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The plugins installed, in an empty working folder."""
    plugins, work = tmp_path / "plugins", tmp_path / "work"
    info = plugins / "odd_plugins-1.0.dist-info"
    info.mkdir(parents=True)
    work.mkdir()
    (plugins / "odd_plugins.py").write_text(SOURCE)
    (info / "entry_points.txt").write_text(POINTS)
    (info / "METADATA").write_text(METADATA)
    monkeypatch.syspath_prepend(str(plugins))
    monkeypatch.chdir(work)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    monkeypatch.delenv("SYNCDIFF_BENCH_DEBUG", raising=False)
    _forget()
    yield info
    _forget()


def _forget() -> None:
    sys.modules.pop("odd_plugins", None)
    importlib.invalidate_caches()
    registry.registrations.cache_clear()


@pytest.mark.parametrize("error", ["SystemExit", "GeneratorExit", "Strange", "ValueError"])
@pytest.mark.parametrize("place", [*ONE_CLIP, *WHOLE, "prepare"])
def test_a_plugin_ends_nothing_but_itself(
    odd: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], place: str, error: str
) -> None:
    monkeypatch.setenv("ODD_PLACE", place)
    monkeypatch.setenv("ODD_ERROR", error)
    code = main(RUN)
    said = capfd.readouterr().err
    assert "Traceback" not in said
    assert error in said or place == "prepare", said
    assert "odd_plugins.py:" in said or place == "prepare", said
    log = Path("runs/odd-method/errors.log")
    if place in ONE_CLIP:
        assert code == 0
        rows = [json.loads(line) for line in Path("runs/odd-method/scores.jsonl").read_text().splitlines()]
        assert [row["clip"] for row in rows if row["error"]] == ["1"]
        assert "odd_plugins.py:" in next(row["error"]["message"] for row in rows if row["error"])
    else:
        assert code == (0 if place == "prepare" else 2)
    if place in (*ONE_CLIP, "prepare"):
        assert "Traceback (most recent call last)" in log.read_text()
        assert 'odd_plugins.py", line' in log.read_text()


def test_ctrl_c_stays_ctrl_c(odd: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("ODD_PLACE", "measure")
    monkeypatch.setenv("ODD_ERROR", "KeyboardInterrupt")
    assert main(RUN) == 130
    monkeypatch.delenv("ODD_PLACE")
    assert main(RUN) == 0


@pytest.mark.parametrize("asked", ["option", "environment", ""])
def test_a_traceback_is_shown_to_who_asks(
    odd: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], asked: str
) -> None:
    """Of a refusal and of a fault alike."""
    if asked == "environment":
        monkeypatch.setenv("SYNCDIFF_BENCH_DEBUG", "1")
    more = ["--debug"] if asked == "option" else []
    monkeypatch.setenv("ODD_PLACE", "verify")
    monkeypatch.setenv("ODD_ERROR", "ValueError")
    assert main(["data", "verify", "--dataset", "odd-data", *more]) == 3
    assert main([*more, "report", "nowhere"]) == 2
    said = capfd.readouterr().err
    assert said.count("Traceback (most recent call last)") == (2 if asked else 0)
    assert said.count("\nerror: " if asked else "error: ") == 2
    monkeypatch.delenv("ODD_PLACE")
    assert main(RUN) == 0
    assert "Traceback" not in capfd.readouterr().err


def test_the_same_fault_is_traced_once(odd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ODD_PLACE", "measure")
    monkeypatch.setenv("ODD_ERROR", "ValueError")
    assert main(RUN) == 0
    assert main([*RUN, "--retry-failed"]) == 0
    log = Path("runs/odd-method/errors.log").read_text()
    assert log.count("Traceback") == 2, "once in each process"
    assert main([*RUN, "--fresh"]) == 0
    assert Path("runs/odd-method/errors.log").read_text().count("Traceback") == 1


@short_and_long
@pytest.mark.parametrize("name", ["entry_points.txt", "METADATA"])
def test_readers_of_plugin_metadata(odd: Path, name: str, tries: int) -> None:
    def read(_file: Path) -> None:
        _forget()
        for kind in registry.GROUPS:
            for one in describe(kind):
                assert "\n" not in one.status
        read_catalogues(registry.points("weights"))

    whole = {"entry_points.txt": POINTS + "[syncdiff_bench.weights]\nodd = odd_plugins\n", "METADATA": METADATA}
    try:
        read_all(f"{name} of a package", damaged_bytes(whole[name].encode()), odd / name, read, tries)
    finally:
        (odd / name).write_text({"entry_points.txt": POINTS, "METADATA": METADATA}[name])
