"""Which columns and rows a leaderboard shows, in which order and by which names."""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from syncdiff_bench.caveats import Counted
from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.leaderboard import Board, boards
from syncdiff_bench.report.selection import Choice, labelled
from syncdiff_bench.report.writers import render
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.summary import ColumnSummary
from syncdiff_bench.runs.timing import Timed

IDENTITY = Identity("m", {}, (), "d", "test", "f", ("a", "b"), {}, 0, "lossless")
PSNR = ColumnSummary("psnr", "face96", "psnr", "PSNR", 1.0, None, 2, 0, "up", "dB", 2, (), None)
MOUTH = replace(PSNR, protocol="mouth")
LSE_C = replace(
    PSNR, metric="lse", protocol="lrs", column="lse_c", label="LSE-C", weights=({"name": "s", "sha256": "5" * 64},)
)
LSE_D = replace(LSE_C, column="lse_d", label="LSE-D", direction="down")
PROTOCOL = {"metric": "psnr", "protocol": "face96", "options": {}, "weights": []}
MEASURED = (PSNR, MOUTH, LSE_C, LSE_D)


def run(method: str, *means: float, topline: bool = False, dataset: str = "d", caveats: Sequence[Counted] = ()) -> Run:
    """means: of MEASURED, as many as there are."""
    manifest = {
        "summary": [
            replace(one, mean=mean, ci95=(mean - 1, mean + 1)).to_json()
            for one, mean in zip(MEASURED, means, strict=False)
        ],
        "versions": {"syncdiff-bench": "0.1.0"},
        "finished": "2026-01-01",
        "caveats": [one.to_json() for one in caveats],
    }
    identity = replace(IDENTITY, method=method, title=f"The {method}", topline=topline, dataset=dataset)
    return Run(Path("runs") / method, manifest, identity, (), {}, unread=True)


RUNS = (
    run("gt", 40.0, 40.0, 9.0, 5.0, topline=True),
    run("x", 30.0, 20.0, 7.0, 6.0),
    run("y", 31.0, 22.0, 6.0, 7.0),
    run("z", 29.0, 21.0, 5.0, 8.0),
)


def chosen(*show: str, rows: Sequence[str] = (), runs: Sequence[Run] = RUNS, **rest: bool) -> Board:
    (one,) = boards(runs, Choice(show, tuple(rows), **rest))
    return one


def headings(board: Board) -> list[str]:
    return [f"{one.text} {one.below}".strip() for one in board.table.panels[0].headings]


def names(board: Board) -> list[str]:
    return [row.name for row in board.rows]


def notes(board: Board) -> str:
    return "\n".join(note.text for note in board.table.notes)


@pytest.mark.parametrize(
    ("show", "columns"),
    [
        (["psnr,lse_c"], ["PSNR ↑ face96", "PSNR ↑ mouth", "LSE-C ↑ lrs"]),
        (["lse_d", "psnr[mouth]"], ["LSE-D ↓ lrs", "PSNR ↑ mouth"]),
        (["lse"], ["LSE-C ↑ lrs", "LSE-D ↓ lrs"]),
        (["lse[lrs], psnr[face96]"], ["LSE-C ↑ lrs", "LSE-D ↓ lrs", "PSNR ↑ face96"]),
        (["LSE-C", "Psnr[mouth]"], ["LSE-C ↑ lrs", "PSNR ↑ mouth"]),
        (["lse_d,lse"], ["LSE-D ↓ lrs", "LSE-C ↑ lrs"]),  # each once
        (["n,lse_c"], ["n (failed)", "LSE-C ↑ lrs"]),
    ],
)
def test_columns_by_column_metric_protocol_and_heading(show: list[str], columns: list[str]) -> None:
    board = chosen(*show)
    assert headings(board) == ["Method", *columns]
    assert {len(row.cells) for row in board.table.panels[0].rows} == {1 + len(columns)}
    assert [f"{c.heading} {c.named}" for c in board.columns] == [one for one in columns if one != "n (failed)"]


def test_a_rank_stands_where_it_is_asked_for_and_is_of_the_shown_columns() -> None:
    board = chosen("rank,lse_c")
    assert headings(board) == ["", "Method", "LSE-C ↑ lrs"]
    assert [[cell.text for cell in row.cells] for row in board.table.panels[0].rows] == [
        *(["", "gt", "9.00"], ["1", "x", "7.00"], ["2", "y", "6.00"], ["3", "z", "5.00"])
    ]
    assert headings(chosen("psnr[face96],rank")) == ["Method", "PSNR ↑ face96", ""]
    assert names(chosen("psnr[face96]")) == ["gt", "y", "x", "z"]  # sorted by what is shown
    assert "Rank: by the mean" in notes(board) and "Rank" not in notes(chosen("lse_c"))
    everything = chosen()
    assert headings(everything)[:2] == ["", "Method"] and headings(everything)[-1] == "n (failed)"
    assert headings(chosen(ranks=False)) == headings(everything)[1:]


@pytest.mark.parametrize(
    ("rows", "order"),
    [
        (["z,gt,x"], ["z", "gt", "x"]),
        (["y", "The gt"], ["y", "gt"]),
        (["runs/z"], ["z"]),
        (["Ours, new", "x"], ["Ours, new", "x"]),  # a label with a comma
        (["y, x"], ["Ours, new", "x"]),  # by method still
    ],
)
def test_rows_by_label_method_title_and_folder(rows: list[str], order: list[str]) -> None:
    runs = labelled(RUNS, ["y=Ours, new"]) if "Ours, new" in order else RUNS
    board = chosen("psnr", rows=rows, runs=runs)
    assert names(board) == order
    kinds = [[row.kind for row in group] for group in board.table.panels[0].groups]
    assert all(len(set(group)) == 1 for group in kinds)  # a line divides bounds from the others, wherever they stand
    assert [one["method"] for one in board.table.records[::2]] == [
        next(run.identity.method for run in runs if name in (run.label, run.identity.method)) for name in order
    ]


def test_two_runs_of_a_method_go_by_their_own_names_and_together_by_the_methods() -> None:
    other = replace(RUNS[1], path=Path("later/seed-1"))
    runs = (*RUNS, other)
    assert names(chosen("psnr", rows=["x (seed-1)"], runs=runs)) == ["x (seed-1)"]
    assert names(chosen("psnr", rows=["later/seed-1"], runs=runs)) == ["x (seed-1)"]
    assert names(chosen("psnr", rows=["x"], runs=runs)) == ["x"]  # one is called so
    assert names(chosen("psnr", rows=["The x"], runs=runs)) == ["x", "x (seed-1)"]


def ranks(board: Board, column: int = 1) -> dict[str, int]:
    rows = board.table.panels[0].rows
    return {name: row.cells[column].rank for name, row in zip(names(board), rows, strict=True)}


def test_best_and_second_best_are_those_of_the_shown_rows() -> None:
    assert ranks(chosen("psnr[face96]", second_best=True)) == {"gt": 0, "y": 1, "x": 2, "z": 0}
    assert ranks(chosen("lse_d", second_best=True)) == {"gt": 0, "x": 1, "y": 2, "z": 0}
    assert ranks(chosen("psnr[face96]")) == {"gt": 0, "y": 1, "x": 0, "z": 0}
    two = chosen("psnr[face96]", rows=["x,z,gt"], second_best=True)  # the worse one of two is no second best
    assert ranks(two) == {"x": 1, "z": 0, "gt": 0} and two.table.ranks_marked == 1
    three = chosen("psnr[face96]", second_best=True)
    assert three.table.ranks_marked == 2 and three.table.unranked == ("gt",)
    text = render([three.table], "latex")
    assert r"\textbf{31.00 $\pm$1.00}" in text and r"\underline{30.00 $\pm$1.00}" in text
    assert r"Best \textbf{bold}, second best \underline{underlined}. gt takes no part.}" in text
    assert "Best **bold**, second best *italic*. gt takes no part." in render([three.table], "markdown")


def test_intervals_are_optional_and_so_is_what_explains_them() -> None:
    with_them, without = chosen("psnr"), chosen("psnr", intervals=False)
    assert with_them.table.panels[0].rows[0].cells[1].interval and "±" in notes(with_them)
    assert not any(cell.interval for row in without.table.panels[0].rows for cell in row.cells)
    assert "±" not in notes(without)
    assert next(csv.DictReader(io.StringIO(render([without.table], "csv"))))["ci95_high"] == "41.0"


def test_what_doubts_a_shown_number_stays_and_what_is_about_others_goes() -> None:
    said = [
        Counted("few-speakers", "2 speakers"),
        Counted("subset", "over 1 of 2 clips", metric="psnr", protocol="mouth"),
        Counted("silent", "no sound", metric="lse", protocol="lrs"),
    ]
    runs = (*RUNS[:2], run("y", 31.0, 22.0, 6.0, 7.0, caveats=said))
    mouth, sync = chosen("psnr[mouth]", runs=runs), chosen("lse", runs=runs)
    assert "psnr (mouth): over 1 of 2 clips" in notes(mouth) and "no sound" not in notes(mouth)
    assert "lse (lrs): no sound" in notes(sync) and "over 1 of 2" not in notes(sync)
    assert all("2 speakers" in notes(one) for one in (mouth, sync))
    assert "uses s (sha256 555555555555)" in notes(sync) and "uses" not in notes(mouth)


def test_csv_has_the_chosen_records_in_their_order() -> None:
    text = render([chosen("lse_d,psnr[face96],speed", rows=["z,x"]).table], "csv")
    rows = [(one["method"], one["column"]) for one in csv.DictReader(io.StringIO(text))]
    assert [one for one in rows if one[1] != "speed"] == [("z", "lse_d"), ("z", "psnr"), ("x", "lse_d"), ("x", "psnr")]


@pytest.mark.parametrize(
    ("show", "rows", "told"),
    [
        (
            ["psnr,fid"],
            [],
            "--show fid: there is no such column; there are rank, psnr[face96], psnr[mouth], lse_c[lrs], lse_d[lrs],"
            " speed, n",
        ),
        (["psnr[full]"], [], "--show psnr[full]: there is no such column"),
        ([], ["x,w"], "--rows w: there is no such row; there are gt, x, y, z"),
        (["lse"], ["x", "other"], "--rows other: there is no such row"),
    ],
)
def test_an_unknown_one_is_named_with_those_there_are(show: list[str], rows: list[str], told: str) -> None:
    with pytest.raises(UsageError) as caught:
        chosen(*show, rows=rows)
    assert str(caught.value).startswith(told) and "\n" not in str(caught.value)


def test_of_several_boards_each_shows_what_it_has() -> None:
    """One that has nothing of the choice is left out."""
    runs = (*RUNS, run("x", 1.0, dataset="e"), run("w", 2.0, dataset="e"))
    both = boards(runs, Choice(("psnr[mouth],psnr[face96]",), ("w,x",)))
    assert [headings(one)[1:] for one in both] == [["PSNR ↑ mouth", "PSNR ↑ face96"], ["PSNR ↑ face96"]]
    assert [names(one) for one in both] == [["x"], ["w", "x"]]
    assert len(boards(runs, Choice(("lse",)))) == 1 and len(boards(runs, Choice(rows=("y",)))) == 1


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("x", "--label x: expected RUN=NAME"),
        ("x= ", "--label x= : expected RUN=NAME"),
        ("w=Ours", "--label w: is none of the runs runs/gt, runs/x"),
        ("gt=Truth", ""),
        ("runs/x=Ours = new", "--label runs/x=Ours : is none"),
    ],
)
def test_labels(label: str, told: str) -> None:
    runs = RUNS[:2]
    if not told:
        assert [one.label for one in labelled(runs, [label])] == ["Truth", ""]
        return
    with pytest.raises(UsageError, match=re.escape(told)):
        labelled(runs, [label])


def test_a_label_of_a_method_with_several_runs_is_refused() -> None:
    runs = [RUNS[1], replace(RUNS[1], path=Path("b/x"))]
    with pytest.raises(UsageError, match="2 runs are of it; say which by its folder: runs/x, b/x"):
        labelled(runs, ["x=Ours"])
    assert [one.label for one in labelled(runs, ["b/x=Ours"])] == ["", "Ours"]


def timed(folder: Path, run_: Run, seconds: float, device: str = "A GPU", loading: bool = False) -> Run:
    """The run in a folder of its own that tells of two seconds of video."""
    path = folder / run_.identity.method
    path.mkdir()
    line = {"schema": 1, **asdict(Timed("t", 2, 50, seconds, device, alone=True, loading=loading))}
    (path / "timings.jsonl").write_text(json.dumps(line) + "\n")
    return replace(run_, path=path)


def test_speeds_are_ranked_on_one_device_and_take_no_part_in_ranks(tmp_path: Path) -> None:
    runs = [timed(tmp_path, one, seconds) for one, seconds in zip(RUNS, (1, 4, 2, 1), strict=True)]
    board = chosen("rank,psnr[face96],speed,n", runs=runs, second_best=True)
    rows = {name: row.cells for name, row in zip(names(board), board.table.panels[0].rows, strict=True)}
    assert headings(board)[-2:] == ["Speed ↓ s per s of video", "n (failed)"]
    assert [rows[name][3].text for name in ("gt", "x", "y", "z")] == ["–", "2.00", "1.00", "0.50"]
    assert [rows[name][3].rank for name in ("x", "y", "z")] == [0, 2, 1]
    assert [rows[name][0].text for name in ("x", "y", "z")] == ["2", "1", "3"]  # by PSNR alone
    assert {cells[-1].text for cells in rows.values()} == {"2 (0)"}
    assert len({rows[name][3].marks for name in ("x", "y", "z")}) == 1
    assert "speed (s per s of video): 2 clips on A GPU, up to 2 at once" in notes(board)
    assert "Speed: seconds that the method took" in notes(board) and "do not compare" not in notes(board)
    assert [column.metric for column in board.columns] == ["psnr"]  # what a page knows clip by clip
    assert "speed" not in notes(chosen("psnr", runs=runs))
    record = [one for one in board.table.records if one["method"] == "y"][-1]
    assert (record["metric"], record["mean"], record["n"]) == ("speed", 1.0, 2)
    assert any("A GPU" in one["text"] for one in record["caveats"])


def test_speeds_of_several_devices_are_not_ranked_and_a_footnote_says_so(tmp_path: Path) -> None:
    runs = [
        timed(tmp_path, RUNS[1], 4.0),
        timed(tmp_path, RUNS[2], 2.0, device="Another"),
        timed(tmp_path, RUNS[3], 0.001, loading=True),
    ]
    board = chosen("speed", runs=runs, second_best=True)
    assert set(ranks(board).values()) == {0} and board.table.ranks_marked == 0
    assert "Speeds on different devices do not compare" in notes(board)
    assert "2 clips on Another, up to 2 at once\n" in notes(board)
    assert "2 clips on A GPU, up to 2 at once, loading the networks included" in notes(board)
    assert board.table.panels[0].rows[0].cells[1].text == "2.000"  # as many digits as the fastest needs


def test_the_command_line_chooses_for_every_format(
    toy_runs: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, toy_plugins: Path
) -> None:
    folder = str(toy_runs / "runs/toy-test")
    choice = ["--show", "err,speed", "--rows", "toy-noise,toy-truth", "--label", "toy-noise=Ours", "--no-intervals"]
    for name in ("table", "markdown", "latex"):
        assert main(["report", folder, *choice, "--format", name]) == 0
        text = capsys.readouterr().out
        assert text.index("Ours") < text.index("toy-truth") and "n (failed)" not in text and "±" not in text
    assert main(["report", folder, *choice, "--html", str(tmp_path / "page.html")]) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "s per s of video" in page and "n (failed)" not in page
    assert main(["report", folder, "--format", "latex"]) == 0
    assert "    Method & ERR" in capsys.readouterr().out  # no ranks in a paper
    assert main(["report", folder, "--show", "psnr"]) == 2
    assert "there are rank, err[absolute], speed, n" in capsys.readouterr().err


def test_a_run_of_a_version_without_caveats_says_so_beside_its_speed(tmp_path: Path) -> None:
    """Neither lost nor told twice."""
    one = timed(tmp_path, RUNS[1], 4.0)
    manifest = {**{key: value for key, value in one.manifest.items() if key != "caveats"}, "protocols": [PROTOCOL]}
    manifest["dataset"] = {"clips": ["a", "b"]}
    old = replace(one, manifest=manifest, unread=False)
    plain, with_speed = (
        Counter(note.text for note in chosen(*show, runs=[old]).table.notes) for show in ((), ("speed",))
    )
    said = [text for text in plain if "lines of its journals are lost" in text or "did not record guesses" in text]
    assert len(said) == 2 and all(with_speed[text] == plain[text] == 1 for text in said)
