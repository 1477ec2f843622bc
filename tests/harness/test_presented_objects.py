"""What a prompt and a notebook show: reprs, HTML, the names that TAB and `help()` offer, reports and comparisons."""

from __future__ import annotations

import ast
import csv
import inspect
import io
import pydoc
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syncdiff_bench
import syncdiff_metrics
from syncdiff_bench import compare, load_dataset, load_method, load_metric, load_run, report
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Method
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.objects import Runs

VOID = {"br", "img", "meta"}


class Balanced(HTMLParser):
    """Fails for a tag that is not closed where it should be; keeps the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def words(thing: Any) -> str:
    return " ".join(Balanced(thing._repr_html_()).words)


def test_plugins_show_what_was_chosen() -> None:
    assert repr(load_method("static")) == "<method static>"
    assert repr(load_method("wav2lip", {"checkpoint": "pocket"})) == "<method wav2lip: checkpoint pocket>"
    assert repr(load_metric("psnr[talklip]")) == "<metric psnr: protocol talklip, columns PSNR ↑ dB>"
    assert repr(load_metric("lse[weights=pocket]")) == "<metric lse: protocol pocket, columns LSE-C ↑, LSE-D ↓>"
    assert repr(load_dataset("pocket")) == "<dataset pocket>"
    assert repr(load_dataset("pocket", options={"boxes": "centred"})) == "<dataset pocket: boxes centred>"
    assert words(load_metric("psnr")).split() == ["metric", "psnr", "protocol", "face96", "columns", "PSNR", "↑", "dB"]


def test_a_plugin_in_a_bad_state_shows_itself_all_the_same() -> None:
    class Odd(Method):
        def __init__(self) -> None:
            pass

        def generate(self, clips: Any, *, seed: int, progress: Any = None) -> Any:
            yield from ()

    metric = load_metric("psnr")
    metric.options = None  # type: ignore[attr-defined] - whose protocol then raises
    assert repr(Odd()) == "<method Odd>"
    assert repr(metric) == "<metric psnr: columns PSNR ↑ dB>"


def test_a_clip_is_not_decoded_to_be_named(tmp_path: Path) -> None:
    clip = Clip("a/b", "mine", tmp_path / "no.mp4")
    assert repr(clip) == "<clip a/b of mine: in no.mp4>"
    assert "media" not in vars(clip)
    assert "no.mp4" in words(clip) and "cannot be shown" in words(clip)
    frames = np.zeros((50, 30, 40, 3), np.uint8)
    assert repr(Clip.of_arrays(frames)) == "<clip clip of arrays: frames 50, size 40x30, sound none>"
    loud = Clip.of_arrays(frames, np.zeros(32_000, np.int16), transcript="<b>two</b> words")
    assert repr(loud) == "<clip clip of arrays: frames 50, size 40x30, sound 2.0 s>"
    assert "<b>two</b> words" in words(loud) and "data:image/png;base64," in loud._repr_html_()


def test_a_thumbnail_is_the_middle_frame() -> None:
    import base64

    from PIL import Image

    frames = np.zeros((3, 320, 160, 3), np.uint8)
    frames[1] = (10, 200, 30)
    (data,) = re.findall(r"base64,([^\"]+)", Clip.of_arrays(frames)._repr_html_())
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (80, 160) and image.getpixel((40, 80)) == (10, 200, 30)


def test_a_run_in_one_line_and_as_a_table(toy_runs: Path, toy_plugins: object) -> None:
    folder = toy_runs / "runs/toy-test/toy-noise"
    done = load_run(folder)
    assert repr(done) == f"<run toy-noise on toy test: clips 5, err[absolute] 3.0, in {folder}>"
    assert "err[absolute] 3.0" in re.sub(r"\s+", " ", words(done))
    unfinished = replace(done, manifest={**done.manifest, "finished": None}, label="<Mine>")
    assert repr(unfinished).startswith("<run <Mine> on toy test: clips 5, state not finished, err")
    assert "&lt;Mine&gt;" in unfinished._repr_html_()
    entry = {**done.manifest["summary"][0], "failed": 2, "mean": None}
    failed = replace(done, manifest={**done.manifest, "summary": [entry, {**entry, "reason": "no audio"}]})
    assert "err[absolute] n/a: no audio" in repr(failed)
    failed = replace(done, manifest={**done.manifest, "summary": [entry]})
    assert "err[absolute] N/A, 2 failed" in repr(failed)


def test_a_report_is_what_the_command_prints(
    toy_runs: Path, toy_plugins: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = toy_runs / "runs/toy-test"
    told = report(folder)
    assert main(["report", str(folder), "--format", "markdown"]) == 0
    assert str(told) == told.to_markdown() == capsys.readouterr().out
    assert main(["report", str(folder), "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    frame = told.to_pandas()
    assert list(frame.columns) == list(rows[0])
    assert frame["mean"].tolist() == [float(row["mean"]) for row in rows] == [0.0, 3.0]
    assert repr(told) == "<report of 2 runs: methods toy-noise, toy-truth, on toy, test: 5 clips>"
    assert "toy-noise" in words(told) and "3.0" in words(told)
    assert r"\begin{table" in told.to_latex() and told.to_html().startswith("<!doctype html>")


def test_a_report_takes_the_choices_of_the_command(
    toy_runs: Path, toy_plugins: object, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = toy_runs / "runs/toy-test"
    told = report(folder, show="err", rows=["toy-noise", "toy-truth"], labels={"toy-noise": "Ours"}, intervals=False)
    chosen = ["--show", "err", "--rows", "toy-noise,toy-truth", "--label", "toy-noise=Ours", "--no-intervals"]
    for written, format_name in ((told.to_markdown(), "markdown"), (told.to_latex(), "latex")):
        assert main(["report", str(folder), *chosen, "--format", format_name]) == 0
        assert written == capsys.readouterr().out
    assert told.to_pandas()["mean"].tolist() == [3.0, 0.0]
    named = replace(load_run(folder / "toy-truth"), label="Truth")
    again = report(named, folder / "toy-noise", labels={"toy-noise": "Ours"})
    assert "Truth" in str(again) and "Ours" in str(again)
    with pytest.raises(UsageError, match="there is no such column; there are"):
        report(folder, show="fid")
    with pytest.raises(UsageError, match="is none of the runs"):
        report(folder, labels={"nobody": "Ours"})


def test_a_report_of_runs_that_are_here_and_of_folders(toy_runs: Path, toy_plugins: object) -> None:
    runs = [load_run(toy_runs / "runs/toy-test" / name) for name in ("toy-truth", "toy-noise")]
    both = Runs(runs)
    frame = report(both, toy_runs / "a", str(toy_runs / "b")).to_pandas()
    assert frame["mean"].tolist() == [0.0, 3.0, 4.0, 9.0]
    assert report(*runs).to_markdown() == report(both).to_markdown()
    assert repr(both) == "<2 runs: toy-truth err[absolute] 0.0, toy-noise err[absolute] 3.0>"
    assert "toy-truth" in words(both)
    with pytest.raises(UsageError, match="report: of which runs"):
        report()
    with pytest.raises(UsageError, match="is not a folder"):
        report(toy_runs / "nowhere")


def test_a_comparison_is_what_the_command_prints(
    toy_runs: Path, toy_plugins: object, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = toy_runs / "a/toy-noise", toy_runs / "b/toy-noise"
    told = compare(a, load_run(b))
    assert main(["compare", str(a), str(b), "--format", "markdown"]) == 0
    assert str(told) == capsys.readouterr().out
    (row,) = told.to_pandas().to_dict("records")
    assert (row["a"], row["b"], row["delta"], row["n"], row["column"]) == (4.0, 9.0, 5.0, 5, "err")
    assert told.columns[0].delta == 5.0
    assert repr(told) == f"<comparison of {b} with {a}: err[absolute] too few speakers>"
    assert "too few speakers" in words(told)
    with pytest.raises(UsageError, match="are of different data: split"):
        compare(a, replace(load_run(b), identity=replace(load_run(b).identity, split="other")))


# ------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("package", [syncdiff_bench, syncdiff_metrics])
def test_types_and_names_are_the_same(package: Any) -> None:
    """`__init__.pyi` is what type checkers read, `__all__` what Python offers."""
    stub = ast.parse(Path(package.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    typed = {
        alias.asname: f"{node.module}.{alias.name}"
        for node in ast.walk(stub)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    names = {name: getattr(package, name) for name in package.__all__ if name != "__version__"}
    assert typed == {name: f"{thing.__module__}.{thing.__qualname__}" for name, thing in names.items()}
    assert set(package.__all__) <= set(dir(package))


def test_a_misspelt_name_is_answered_with_the_close_one() -> None:
    with pytest.raises(
        AttributeError, match=r"module 'syncdiff_bench' has no attribute 'lod_run'; did you mean 'load_run'\?"
    ):
        _ = syncdiff_bench.lod_run
    with pytest.raises(AttributeError, match=r"'PSRN'; did you mean 'PSNR'\?"):
        _ = syncdiff_metrics.PSRN
    assert not hasattr(syncdiff_bench, "__path_of_nothing__")


def test_report_stays_the_function_whatever_is_imported_first() -> None:
    """The room `report/` has the name of a function."""
    code = (
        "import syncdiff_bench.report.table, syncdiff_bench\n"
        "from syncdiff_bench import report\n"
        "from syncdiff_bench.report import table\n"
        "import syncdiff_bench.report.leaderboard\n"
        "print(report.__module__, report is syncdiff_bench.report, table.__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["syncdiff_bench.api.reporting", "True", "syncdiff_bench.report.table"]


def test_help_shows_the_functions() -> None:
    text = pydoc.plain(pydoc.render_doc(syncdiff_bench))
    for name in set(syncdiff_bench.__all__) - {"__version__"}:
        assert f"    {name}(" in text
        assert inspect.getdoc(getattr(syncdiff_bench, name))
