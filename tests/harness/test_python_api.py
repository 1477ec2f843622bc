"""`from syncdiff_bench import run, score, load_run`: the same results as by command line."""

from __future__ import annotations

import inspect
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

import syncdiff_bench
from syncdiff_bench import compare, load_dataset, load_method, load_run, report, run, score
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.cli.report import compare as compare_command
from syncdiff_bench.cli.report import report as report_command
from syncdiff_bench.cli.run import run as run_command
from syncdiff_bench.cli.score import score as score_command
from syncdiff_bench.errors import UsageError
from syncdiff_bench.registry import load_class


def test_importing_the_package_is_light() -> None:
    code = "import sys, syncdiff_bench; print(*[m for m in ('numpy', 'torch', 'pandas', 'click') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_an_unknown_attribute_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = syncdiff_bench.nothing


def test_what_the_command_line_takes_python_takes() -> None:
    """But what belongs to a terminal or a job, and several methods at once."""
    terminal = {"strict", "dry_run", "progress", "shard", "quiet", "debug"}
    renamed = {"methods": "method", "settings": "options", "dataset_settings": "dataset_options"}
    for function, command in ((run, run_command), (score, score_command)):
        taken = {renamed.get(str(one.name), one.name) for one in command.params} - terminal
        known = set(inspect.signature(function).parameters)
        assert known <= taken
        assert function is score or known == taken


def test_what_compare_takes_python_takes() -> None:
    """But formats, which the object that it returns has, and the page."""
    written = {"format_name", "html", "clips", "data_root", "debug", "quiet"}
    taken = {str(one.name).removeprefix("run_") for one in compare_command.params} - written
    assert set(inspect.signature(compare).parameters) == taken


def test_what_report_takes_python_takes() -> None:
    """But formats, which the object that it returns has, and what is written beside the table."""
    written = {"format_name", "out", "html", "card", "strip", "debug", "quiet"}
    of_written = {"clips", "clip", "area", "columns", "data_root"}
    taken = {str(one.name).replace("folders", "runs") for one in report_command.params} - written - of_written
    assert set(inspect.signature(report).parameters) == taken


def test_faces_are_aligned_with_a_reference(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="compares videos with a reference"):
        score(tmp_path, align="faces")


@pytest.mark.usefixtures("toy_plugins")
def test_a_run_as_a_data_frame(tmp_path: Path) -> None:
    done = run("toy-noise", "toy", metrics=["toy-error"], options={"shift": 3}, out=tmp_path)
    frame = done.to_pandas()
    assert list(frame.index) == ["s0/0", "s0/1", "s1/2", "s1/3", "s2/4"]
    assert list(frame.columns) == ["speaker", "err[absolute]", "failures", "caveats"]
    assert frame["err[absolute]"].tolist() == [3.0] * 5
    assert frame["speaker"].tolist() == ["s0", "s0", "s1", "s1", "s2"]
    again = load_run(tmp_path / "toy-noise")
    assert again.to_pandas().equals(frame) and again.summary[0].mean == 3.0


def test_caveats_are_in_the_row_of_their_clip(toy_runs: Path) -> None:
    done = load_run(toy_runs / "runs/toy-test/toy-noise")
    short = Caveat("length", "up to {most} frames shorter", "8 of 9 frames", 1)
    silent = Caveat("silent", "silence")
    scores = tuple(replace(one, caveats=(silent,) if one.clip == "s0/1" else ()) for one in done.scores)
    generated = {clip: replace(line, caveats=()) for clip, line in done.generated.items()}
    generated["s0/0"] = replace(generated["s0/0"], caveats=(short,))
    frame = replace(done, scores=scores, generated=generated).to_pandas()
    assert frame["caveats"].tolist() == [
        "up to 1 frames shorter (8 of 9 frames)",
        "toy-error: silence",
        *[""] * 3,
    ]
    old = {clip: replace(line, caveats=None) for clip, line in done.generated.items()}
    assert replace(done, generated=old).to_pandas()["caveats"].str.endswith("unknown").all()


def test_two_metrics_never_share_a_column_of_the_data_frame(toy_runs: Path) -> None:
    done = load_run(toy_runs / "runs/toy-test/toy-noise")
    other = [replace(one, metric="mine", values={"err": 9.0}) for one in done.scores]
    frame = replace(done, scores=(*done.scores, *other)).to_pandas()
    assert frame["toy-error.err[absolute]"].tolist() == [3.0] * 5
    assert frame["mine.err[absolute]"].tolist() == [9.0] * 5


@pytest.mark.usefixtures("toy_plugins")
def test_a_failed_clip_is_a_row_with_its_reason(tmp_path: Path) -> None:
    broken = {"broken": 2}
    frame = run("toy-noise", "toy", metrics=["toy-error"], dataset_options=broken, out=tmp_path).to_pandas()
    assert math.isnan(frame.loc["s1/2", "err[absolute]"])
    assert "cut short" in frame.loc["s1/2", "failures"]
    assert (frame.drop("s1/2")["failures"] == "").all()


@pytest.mark.usefixtures("toy_plugins")
def test_given_videos_are_scored(tmp_path: Path) -> None:
    made = run("toy-noise", "toy", metrics=["toy-error"], options={"shift": 2}, out=tmp_path / "a")
    truth = run("toy-truth", "toy", metrics=["toy-error"], out=tmp_path / "b")
    judged = score(made.path / "videos", truth.path / "videos", metrics=["toy-error"], out=tmp_path / "c")
    assert judged.to_pandas()["err[absolute]"].tolist() == [2.0] * 5


def test_errors_are_the_projects_own(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown method 'nobody'"):
        run("nobody", out=tmp_path)
    with pytest.raises(UsageError, match="does not exist"):
        load_dataset("lrs3", tmp_path / "nowhere")


@pytest.mark.usefixtures("toy_plugins")
def test_options_are_values_not_texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list for a tuple, None for nothing, and a text stays a text."""

    @dataclass(frozen=True)
    class Layered:
        layers: tuple[int, ...] = ()
        word: str | None = ""

    monkeypatch.setattr(load_class("method", "static"), "Options", Layered)
    given = load_method("static", {"layers": [1, 2], "word": "none"}).options
    assert (given.layers, given.word) == ((1, 2), "none")
    assert load_method("static", {"word": None}).options.word is None
    with pytest.raises(UsageError, match="option layers of static: '1,2' is not a list of values"):
        load_method("static", {"layers": "1,2"})
    with pytest.raises(UsageError, match="option shift of toy-noise: '2' is not a whole number"):
        run("toy-noise", "toy", options={"shift": "2"}, out=tmp_path)
    assert load_dataset("toy", options={"mark": "true"}).options.mark == "true"
