"""The tables of joins whose cells are known: what is best, what is marked, what stands below."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from syncdiff_bench.report.joined import JoinedTable, join
from syncdiff_bench.report.paper import PaperTable, package_tables
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import run_of
from syncdiff_bench.report.writers import render
from syncdiff_bench.runs.directory import Run

TABLES: dict[int, PaperTable] = {table.number: table for table in package_tables("syncdiff_leaderboards")}
SYSTEMS = [row.system for table in TABLES.values() if table.of_paper for row in table.rows]
NASTY = "<b>&_%$#{}~^\\|*[x]"


def measured(metric: str, protocol: str, column: str, mean: float | None, half: float = 0.25) -> dict[str, Any]:
    ci95 = None if mean is None else [mean - half, mean + half]
    names = {"metric": metric, "protocol": protocol, "column": column, "direction": "up"}
    return {**names, "mean": mean, "ci95": ci95, "n": 1320, "failed": 1}


def run(method: str, dataset: str, *summary: dict[str, Any], clips: tuple[str, ...] = (), split: str = "test") -> Run:
    data = {"name": dataset, "split": split, "clips": list(clips)}
    return run_of(
        Path("runs") / method, {"method": {"name": method}, "dataset": data, "summary": summary, "caveats": []}
    )


RUNS = (
    run("gt", "lrs3", measured("psnr", "talklip", "psnr", None), measured("wer", "centre88-160", "wer", 40.0)),
    run(
        "talklip",
        "lrs3",
        measured("psnr", "talklip", "psnr", 31.0),
        measured("wer", "centre88-160", "wer", 22.5),
    ),
    run(
        "syncdiff",
        "lrs3",
        measured("psnr", "talklip", "psnr", 32.0),
        measured("psnr", "face96", "psnr", 30.0),
    ),
    run(NASTY, "lrs3", measured("psnr", "talklip", "psnr", 33.0)),
)


def over(run: Run, *clips: str) -> Run:
    return replace(run, identity=replace(run.identity, clips=clips))


def joined(number_: int = 1, *, datasets: tuple[str, ...] = ("lrs3",)) -> JoinedTable:
    return join(TABLES[number_], RUNS, datasets=datasets, systems=SYSTEMS)


def written(form: str, *found: JoinedTable) -> str:
    return render(list(map(paper_table, found)), form)


def markdown_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_cells() -> None:
    rows = markdown_rows(written("markdown", joined()))
    assert {len(row) for row in rows} == {2 + 7}
    assert rows[0][:5] == ["Method", "", "PSNR ↑", r"PSNR \[face96\] ↑", "SSIM ↑"]
    at = next(index for index, row in enumerate(rows) if row[0] == "SyncDiff")
    assert rows[at][1:5] == ["paper", "**32.18**", "", "*0.846*"]
    assert rows[at + 1][1:5] == ["ours", "*32.00 ± 0.25*", "30.00 ± 0.25", ""]
    assert rows[at + 2][1:5] == ["delta", "-0.18", "", ""]
    assert rows[at + 3][1:5] == ["n (failed)", "1320 (1)", "1320 (1)", ""]
    assert rows[2][2:4] == ["N/A", ""]  # ground truth: paper
    assert rows[3][2:4] == ["N/A", ""]  # and ours
    wav2lip = next(row for row in rows if row[0] == "Wav2Lip")
    assert wav2lip[6] == "*8.10*†‡"  # beats ground truth's 7.63, trained against SyncNet


def test_our_own_cells_are_marked_as_well() -> None:
    rows = markdown_rows(written("markdown", joined()))
    at = next(index for index, row in enumerate(rows) if row[0] == "TalkLip")
    assert rows[at + 1][8] == "22.50 ± 0.25†‡"  # below ground truth's 40.0; alone but for the topline: no rank


def test_markdown_without_runs_has_blank_ours() -> None:
    text = written("markdown", join(TABLES[5], systems=SYSTEMS))
    rows = markdown_rows(text)
    assert rows[2] == ["1", "paper", "32.39", "**0.874**", "**0.049**", "**7.80**", "**6.58**", "**67.40**"]
    assert rows[3] == ["", "ours", *[""] * 6]
    assert "± half" not in text


def test_a_deviation_is_marked_and_takes_no_part_in_the_ranks() -> None:
    made = run("difftalk", "lrs3", measured("psnr", "talklip", "psnr", 39.0), split="val", clips=("a",))
    runs = (*RUNS, made)
    joined_ = join(TABLES[1], runs, datasets=("lrs3",), systems=SYSTEMS)
    text = written("markdown", joined_)
    rows = markdown_rows(text)
    at = next(index for index, row in enumerate(rows) if row[0] == "DiffTalk")
    assert [row[1] for row in rows[at : at + 3]] == ["paper", "ours", "n (failed)"]
    assert rows[at + 1][2] == "39.00 ± 0.25§"
    assert "\n- § not made as the paper's number was; a note below says in what.\n" in text
    assert r"39.00 $\pm$ 0.25$^{\S}$" in written("latex", joined_)
    frame = pd.read_csv(io.StringIO(written("csv", joined_)))
    assert set(frame.departs.dropna()) == {"split val (1 clips), not test"}


def test_only_ground_truth_of_the_same_clips_is_beaten() -> None:
    """22.5 % against 40 %, of which the latter is over other clips."""
    talklip = over(RUNS[1], "a", "b")
    for clips, mark in ((("a", "b"), "†‡§"), (("a", "c"), "‡§")):
        joined_ = join(TABLES[1], (over(RUNS[0], *clips), talklip), datasets=("lrs3",), systems=SYSTEMS)
        rows = markdown_rows(written("markdown", joined_))
        at = next(index for index, row in enumerate(rows) if row[0] == "TalkLip")
        assert rows[at + 1][7] == f"22.50 ± 0.25{mark}"


def test_csv_reads_back() -> None:
    frame = pd.read_csv(io.StringIO(written("csv", joined(), joined(3))))
    assert len(frame) == 8 * 7 + 4 * 7 and NASTY in set(frame.row)
    psnr = frame[(frame.table == 1) & (frame.row == "SyncDiff") & (frame.metric == "psnr")].set_index("protocol")
    cell, other = psnr.loc["talklip"], psnr.loc["face96"]
    assert (cell["paper"], cell["ours"], cell["ci95_low"], cell["ci95_high"]) == (32.18, 32.0, 31.75, 32.25)
    assert (cell["delta"], cell["n"], cell["failed"], cell["paper_dataset"]) == (-0.18, 1320, 1, "lrs3")
    assert pd.isna(other["paper"]) and pd.isna(other["delta"])


def test_values_that_print_alike_share_a_rank() -> None:
    """Table 6: 0.874 twice is best twice; toplines never win in Table 1."""
    rows = {row[0]: row for row in markdown_rows(written("markdown", join(TABLES[6], systems=SYSTEMS)))}
    assert (rows["6"][3], rows["9"][3]) == ("**0.874**", "**0.874**")
    first = {row[0]: row for row in markdown_rows(written("markdown", join(TABLES[1], systems=SYSTEMS)))}
    assert first["GT-REC"][2] == "36.06"
