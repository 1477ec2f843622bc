"""Methods and metrics that nobody installed: how a run calls them, and what it makes of code that changes."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from syncdiff_bench import compare, given, load_run, run, score
from syncdiff_bench.contracts import Column, Method, Metric, NoOptions, Pair, Runtime
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.objects import Runs
from syncdiff_bench.runs.workers import Crew
from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")
Write = Callable[[str], ModuleType]

# Clip i of `toy` is all 10 i: the mean error is how far a method moves it.
MINE = """
from dataclasses import dataclass
import numpy as np
from syncdiff_bench.contracts import Method

GAIN = 1

@dataclass(frozen=True)
class Options:
    shift: int = 0

def moved(frames, by):
    return frames + np.uint8(GAIN * by)

class Mine(Method):
    name = "mine"
    Options = Options
    any_threads = True

    def generate(self, clips, *, seed, progress=None):
        '''As it is.'''
        for clip in clips:
            yield clip.id, moved(clip.frames, 2 + self.options.shift)  # two
"""


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test gives a name, no other test knows."""
    monkeypatch.setattr("syncdiff_bench.registry._remembered", {})


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """The module of somebody's script, as it is now."""
    monkeypatch.syspath_prepend(str(tmp_path / "scripts"))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # an edit within a second keeps its old bytecode otherwise
    (tmp_path / "scripts").mkdir()

    def written(text: str) -> ModuleType:
        (tmp_path / "scripts" / "mine_script.py").write_text(text, encoding="utf-8")
        sys.modules.pop("mine_script", None)
        importlib.invalidate_caches()
        __import__("linecache").clearcache()
        return importlib.import_module("mine_script")

    return written


@dataclass(frozen=True)
class Sum:
    total: float
    pixels: int


class Brightness(Metric[Sum]):
    """Mean of the generated pixels."""

    name = "brightness"
    columns = (Column("bright", "BRIGHT", "up"),)
    requires = frozenset()
    Stats = Sum

    def measure(self, pair: Pair) -> Sum:
        return Sum(float(pair.generated.frames.sum()), pair.generated.frames.size)

    def aggregate(self, stats: Any) -> Mapping[str, float | None]:
        return {"bright": sum(one.total for one in stats) / sum(one.pixels for one in stats)}


def errors(done: Any) -> list[float]:
    return done.to_pandas()["err[absolute]"].tolist()  # type: ignore[no-any-return]


def test_an_object_and_a_class_are_run_under_their_name(write: Write, tmp_path: Path) -> None:
    cls = write(MINE).Mine
    done = run(cls(), "toy", metrics="toy-error", out=tmp_path / "a")
    assert errors(done) == [2.0] * 5
    assert done.path == tmp_path / "a" / "mine" and done.manifest["method"]["options"] == {"shift": 0}
    assert len(done.manifest["method"]["code"]) == 64
    moved = run(cls, "toy", metrics="toy-error", options={"shift": 5}, out=tmp_path / "b")
    assert (
        errors(moved) == errors(run(cls(cls.Options(5)), "toy", metrics="toy-error", out=tmp_path / "b")) == [7.0] * 5
    )
    with pytest.raises(UsageError, match="option shift of mine: '5' is not a whole number"):
        run(cls, "toy", options={"shift": "5"}, out=tmp_path / "c")
    with pytest.raises(UsageError, match="options of mine: <method mine> has its own"):
        run(cls(), "toy", options={"shift": 5}, out=tmp_path / "c")


def test_the_class_of_an_installed_method_is_that_method(tmp_path: Path) -> None:
    from toy_plugins import Noise, NoiseOptions  # type: ignore[import-not-found]

    for method in (Noise, Noise(NoiseOptions()), "toy-noise"):
        done = run(method, "toy", metrics="toy-error", out=tmp_path)
        assert "code" not in done.manifest["method"]


@pytest.mark.parametrize(
    "edit",
    [
        ("2 + self", "3 + self"),
        ("GAIN = 1", "GAIN = 2"),
        ("GAIN * by)", "GAIN * by * 1)"),
        ("any_threads = True", "any_threads = False"),
    ],
    ids=["its own lines", "a constant", "a function that it calls", "an attribute"],
)
def test_changed_code_is_another_run(edit: tuple[str, str], write: Write, tmp_path: Path) -> None:
    before = run(write(MINE).Mine, "toy", metrics="toy-error", out=tmp_path)
    changed = write(MINE.replace(*edit)).Mine
    with pytest.raises(UsageError, match=r"the code of the method changed: [0-9a-f]{8} -> [0-9a-f]{8}.*--fresh"):
        run(changed, "toy", metrics="toy-error", out=tmp_path)
    assert load_run(before.path).manifest == before.manifest
    again = run(changed, "toy", metrics="toy-error", out=tmp_path, fresh=True)
    assert again.manifest["method"]["code"] != before.manifest["method"]["code"]


def test_comments_docstrings_and_other_code_of_the_file_change_nothing(write: Write, tmp_path: Path) -> None:
    first = run(write(MINE).Mine, "toy", metrics="toy-error", out=tmp_path)
    text = (
        MINE.replace("# two", "# one and one")
        .replace("As it is.", "As it was.")
        .replace("Options = Options", "Options  =  Options")
    )
    again = run(
        write(text + "\nOTHER = 3\n\n\ndef other():\n    return OTHER\n").Mine, "toy", metrics="toy-error", out=tmp_path
    )
    assert again.manifest["finished"] == first.manifest["finished"]


def test_code_without_a_source_is_told_apart_too() -> None:
    """As of a prompt."""

    def digest(text: str) -> str:
        space: dict[str, Any] = {"__name__": "nowhere"}
        exec(compile(text, "<nowhere>", "exec", dont_inherit=True), space)
        return given.code_of("method", space["Mine"]())

    assert digest(MINE) == digest(MINE) != digest(MINE.replace("2 + self", "3 + self"))
    assert digest(MINE) != digest(MINE.replace("GAIN = 1", "GAIN = 2"))


@pytest.mark.parametrize("other", ["", "x = (\n", '"""\n', "def f(:\n", "    y\n  z\n", "\x00"])
def test_a_file_that_is_another_by_now_is_no_source(other: str, tmp_path: Path) -> None:
    """Where code says that it stands in a file that reads otherwise, its instructions count."""
    file = tmp_path / "mine.py"
    file.write_text(other)
    digests = []
    for value in (1, 2, 1):
        names: dict[str, Any] = {"__name__": "nowhere", "Method": Method}
        text = (
            f"class Mine(Method):\n    name = 'mine'\n    def generate(self, clips, *, seed):\n        yield {value}\n"
        )
        exec(compile(text, str(file), "exec"), names)
        digests.append(given.code_of("method", names["Mine"]()))
    assert digests[0] == digests[2] != digests[1]


def test_an_object_with_state_is_never_taken_for_another(write: Write, tmp_path: Path) -> None:
    cls = write(MINE).Mine
    one = cls()
    one.network = np.zeros(3)
    run(one, "toy", metrics="toy-error", out=tmp_path)
    with pytest.raises(UsageError, match="an object with state of its own, which nobody can compare"):
        run(one, "toy", metrics="toy-error", out=tmp_path)
    assert run(one, "toy", metrics="toy-error", out=tmp_path, fresh=True).finished
    assert set(vars(one)) == {"options", "runtime", "network"}
    assert one.runtime == Runtime()


def test_what_a_method_computed_once_is_no_state(tmp_path: Path) -> None:
    from functools import cached_property

    class Loaded(Method):
        name = "loaded"

        @cached_property
        def network(self) -> object:
            return object()

        def generate(self, clips: Any, *, seed: int, progress: Any = None) -> Any:
            assert self.network is not None and self.runtime.dataset == "toy"
            yield from ((clip.id, clip.frames) for clip in clips)

    one = Loaded()
    assert one.network is not None
    first = run(one, "toy", metrics="toy-error", out=tmp_path)
    assert errors(first) == [0.0] * 5
    assert run(one, "toy", metrics="toy-error", out=tmp_path).manifest == first.manifest


@pytest.mark.parametrize(
    ("attributes", "complaint"),
    [
        ({}, "has no name; give it one"),
        ({"name": "a/b"}, "'a/b'; give letters"),
        ({"name": ".."}, "'..'; give letters"),
        ({"name": "static"}, "the name of an installed method"),
        ({"name": "mine", "Options": int}, "Options is not a dataclass"),
        ({"name": "mine", "generate": Method.generate}, "does not implement generate"),
    ],
)
def test_what_cannot_be_a_method(attributes: dict[str, Any], complaint: str, tmp_path: Path) -> None:
    body = {"generate": lambda _self, _clips, **_: iter(()), **attributes}
    cls = type("Wrong", (Method,), body)
    for method in (cls, [cls, "static"]):
        with pytest.raises(UsageError, match=complaint):
            run(method, "toy", out=tmp_path)
    assert list(tmp_path.glob("*/run.json")) == []


def test_what_is_no_method(tmp_path: Path) -> None:
    for nonsense in (3, None, dict, []):
        with pytest.raises(UsageError):
            run(nonsense, "toy", out=tmp_path)  # type: ignore[call-overload]


def test_several_methods_make_runs(write: Write, tmp_path: Path) -> None:
    cls = write(MINE).Mine
    shifts = {"toy-noise": {"shift": 3}, "mine": {"shift": 5}}
    done = run(["toy-truth", "toy-noise", cls], "toy", metrics="toy-error", options=shifts, out=tmp_path)
    assert isinstance(done, Runs) and len(done) == 3 and done.names == ("toy-truth", "toy-noise", "mine")
    assert [errors(one)[0] for one in done] == [0.0, 3.0, 7.0]
    assert done["mine"] == done[-1] and [one.identity.method for one in done[1:]] == ["toy-noise", "mine"]
    frame = done.to_pandas()
    assert frame.loc[("mine", "s0/1"), "err[absolute]"] == 7.0 and len(frame) == 15
    with pytest.raises(UsageError, match=r"no run of 'mien' is here; did you mean 'mine'\?"):
        _ = done["mien"]
    with pytest.raises(UsageError, match="two methods are called 'mine'"):
        run([cls(), cls(cls.Options(1))], "toy", out=tmp_path)
    with pytest.raises(UsageError, match="options of several methods: 'shift'=5"):
        run(["toy-noise", cls], "toy", options={"shift": 5}, out=tmp_path)


def test_metrics_as_one_text_as_objects_and_as_classes(tmp_path: Path) -> None:
    done = run("toy-noise", "toy", metrics=["toy-error", Brightness], options={"shift": 4}, out=tmp_path)
    assert [entry.column for entry in done.summary] == ["err", "bright"]
    assert done.summary[1].mean == 24.0  # of 0, 10, .. 40, and 4
    again = run("toy-noise", "toy", metrics=Brightness(), options={"shift": 4}, out=tmp_path)
    assert again.manifest["finished"] == done.manifest["finished"]
    judged = score(done.path / "videos", metrics=Brightness, out=tmp_path / "given")
    assert judged.summary[0].mean == 24.0
    other = run("toy-noise", "toy", metrics=[Brightness], options={"shift": 9}, out=tmp_path / "other")
    assert compare(done, other).columns[0].delta == 5.0


def test_a_metric_whose_code_changed_measures_again(tmp_path: Path) -> None:
    first = run("toy-noise", "toy", metrics=["toy-error", Brightness], out=tmp_path)
    twice = {"measure": lambda _self, pair: Sum(2.0 * pair.generated.frames.sum(), pair.generated.frames.size)}
    changed = type("Brightness", (Metric,), {**vars(Brightness), **twice})
    again = run("toy-noise", "toy", metrics=["toy-error", changed], out=tmp_path)
    assert (first.summary[1].mean, again.summary[1].mean) == (20.0, 40.0)
    codes = [one.manifest["protocols"][1]["provenance"]["code"] for one in (first, again)]
    assert codes[0] != codes[1]
    videos = [sha256_of(path) for path in sorted((tmp_path / "toy-noise" / "videos").rglob("*.mp4"))]
    assert videos == [line.sha256 for line in again.generated.values()]
    assert len((tmp_path / "toy-noise" / "scores.jsonl").read_text().splitlines()) == 10
    # The two are other judges: they share no column, and are not compared.
    other = run("toy-truth", "toy", metrics=["toy-error", Brightness], out=tmp_path)
    assert any("brightness" in note and "left out" in note for note in compare(again, other).comparison.notes)


def test_scores_by_a_metric_that_is_not_here_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("toy-noise", "toy", metrics=Brightness, out=tmp_path)
    monkeypatch.setattr("syncdiff_bench.registry._remembered", {})  # another process
    with pytest.raises(UsageError, match=r"unknown metric 'brightness'.*the run holds scores by it"):
        run("toy-noise", "toy", metrics="toy-error", out=tmp_path)


SCRIPT = """
import json, os, sys
from mine_module import Mine
from syncdiff_bench import run

if __name__ == "__main__":
    done = run(Mine, "toy", metrics="toy-error", workers=2, options={"shift": 3}, out="runs")
    print(json.dumps([done.to_pandas()["err[absolute]"].tolist(), sorted(set(open("pids").read().split()))]))
"""


def test_workers_import_the_class_of_a_file(tmp_path: Path) -> None:
    """Both processes generate: each waits for the other at its second batch."""
    meeting = """
        import os, time
        with open("pids", "a") as log:
            log.write(f"{os.getpid()} ")
        while (pids := open("pids").read().split()) and len(pids) > 1 and len(set(pids)) < 2:
            time.sleep(0.02)
        for clip in clips:"""
    (tmp_path / "mine_module.py").write_text(MINE.replace("\n        for clip in clips:", meeting), encoding="utf-8")
    (tmp_path / "script.py").write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    values, pids = json.loads(done.stdout)
    assert values == [5.0] * 5 and len(pids) == 2


def test_workers_cannot_import_what_is_in_no_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Local(Method):
        name = "local"
        any_threads = True
        Options = NoOptions

        def generate(self, clips: Any, *, seed: int, progress: Any = None) -> Any:
            yield from ((clip.id, clip.frames) for clip in clips)

    with pytest.raises(UsageError, match="Local is defined in a function: workers cannot import it"):
        run(Local, "toy", workers=2, out=tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace())
    Local.__module__, Local.__qualname__ = "__main__", "Local"
    with pytest.raises(UsageError, match="Local is defined in a notebook or a prompt"):
        run(Local(), "toy", workers=2, out=tmp_path)


def test_an_object_with_state_works_in_this_process_alone(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one would make it anew, of its options."""
    most: list[int | None] = []
    each = Crew.each

    def noted(self: Crew, *arguments: Any, **keywords: Any) -> None:
        most.append(keywords.pop("most"))
        each(self, *arguments, **keywords, most=1)

    monkeypatch.setattr(Crew, "each", noted)
    cls = write(MINE).Mine
    method, metric = cls(), Brightness()
    run(method, "toy", metrics=metric, out=tmp_path / "a", workers=2)
    assert most == [None, None]
    method.network = metric.network = 3
    run(method, "toy", metrics=metric, out=tmp_path / "b", workers=2)
    assert most[2:] == [1, 1]
