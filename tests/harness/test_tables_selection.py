"""`paper tables`: chosen columns and rows, and metrics that the paper does not have."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from syncdiff_bench.cli.paper import tables
from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.timing import Timed

PSNR = ("psnr", "talklip", "psnr")
FULL = ("psnr", "full", "psnr")
FID = ("fid", "inception", "fid")


def write_run(folder: Path, method: str, means: Mapping[tuple[str, str, str], float], seconds: float = 0.0) -> Path:
    """Of lrs2. seconds: that two seconds of video took, 0 for a run that was not timed."""
    folder.mkdir(parents=True)
    summary = [
        {
            **{"metric": metric, "protocol": protocol, "column": column, "label": column.upper(), "decimals": 1},
            **{"mean": mean, "ci95": [mean - 1, mean + 1], "n": 4, "failed": 0},
            "direction": "down" if metric == "fid" else "up",
        }
        for (metric, protocol, column), mean in means.items()
    ]
    record: dict[str, Any] = {
        **{"schema": 1, "method": {"name": method, "title": method.title()}, "dataset": {"name": "lrs2"}},
        **{"summary": summary, "finished": "2026-01-01", "caveats": []},
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    if seconds:
        line = asdict(Timed("t", 1, 50, seconds, f"device of {method}", alone=True, loading=False))
        (folder / "timings.jsonl").write_text(json.dumps({"schema": 1, **line}) + "\n")
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    write_run(tmp_path / "runs/w", "wav2lip", {PSNR: 31.0, FULL: 25.0, FID: 9.0}, 1.0)
    write_run(tmp_path / "runs/t", "talklip", {PSNR: 32.0, FID: 8.0}, 4.0)
    write_run(tmp_path / "runs/mine", "mine", {PSNR: 33.0, FID: 7.0})
    return tmp_path / "runs"


def printed(*arguments: str | Path) -> str:
    done = CliRunner().invoke(tables, ["--table", "1", "--dataset", "lrs2", *map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def grid(text: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]


def test_own_metrics_are_columns_whose_paper_value_is_blank(runs: Path) -> None:
    assert "FID" not in printed(runs)  # only where they are asked for
    head, *rows = grid(printed(runs, "--show", "fid,psnr", "--rows", "TalkLip,mine", "--no-intervals"))
    assert head == ["Method", "", r"FID \[inception\] ↓", "PSNR ↑", r"PSNR \[full\] ↑"]
    assert rows == [
        ["TalkLip", "paper", "", "31.16", ""],
        ["", "ours", "*8.0*", "*32.00*", ""],
        ["", "delta", "", "+0.84", ""],
        ["", "n (failed)", "4 (0)", "4 (0)", ""],
        ["Mine", "ours", "**7.0**", "**33.00**", ""],
        ["", "n (failed)", "4 (0)", "4 (0)", ""],
    ]


def test_paper_is_all_columns_of_the_table(runs: Path) -> None:
    (head, *_) = grid(printed(runs, "--show", "fid,paper,n"))
    assert head[2:] == [r"FID \[inception\] ↓", "PSNR ↑", "SSIM ↑", "LPIPS ↓", "LSE-C ↑", "LSE-D ↓", "WER ↓"]
    (head, *_) = grid(printed(runs, "--show", "LSE-C,psnr[talklip],psnr[full]"))
    assert head[2:] == ["LSE-C ↑", "PSNR ↑", r"PSNR \[full\] ↑"]


def test_rows_by_label_method_and_folder_in_their_order(runs: Path) -> None:
    text = printed(runs, "--rows", "Ours,SyncDiff,wav2lip", "--label", "mine=Ours", "--label", f"{runs / 'w'}=W (new)")
    labels = [row[0] for row in grid(text)[1:] if row[0]]
    assert labels == ["Ours", "SyncDiff", "W (new)"]
    assert "take no part" not in text and "- Best **bold**, second best *italic*.\n" in text  # no bound is shown
    write_run(runs / "gt", "gt", {PSNR: 40.0})
    assert "GT takes no part." in printed(runs, "--rows", "GT,mine")
    assert [row[0] for row in grid(printed(runs, "--rows", str(runs / "t")))[1:] if row[0]] == ["TalkLip"]


def test_speeds_stand_beside_the_papers_columns_with_their_devices_below(runs: Path) -> None:
    text = printed(runs, "--show", "speed", "--rows", "wav2lip,talklip,mine")
    head, *rows = grid(text)
    assert head[2:] == [r"Speed \[s per s of video\] ↓"]
    assert [row[2] for row in rows if row[1] == "ours"] == ["0.50", "2.00", "N/A"]
    assert "- Wav2Lip on lrs2: speed (s per s of video): 1 clip on device of wav2lip, one at once" in text
    assert "Speeds on different devices do not compare" in text
    alone = printed(runs / "w", "--show", "speed", "--rows", "wav2lip")
    assert "Speed: seconds that the method took" in alone and "do not compare" not in alone


def test_what_is_not_shown_has_no_notes_and_no_records(runs: Path) -> None:
    text = printed(runs, "--show", "fid", "--rows", "mine", "--format", "csv")
    (record,) = csv.DictReader(io.StringIO(text))
    assert (record["row"], record["metric"], record["ours"], record["paper"]) == ("Mine", "fid", "7.0", "")
    without = printed(runs, "--show", "psnr[talklip]", "--no-intervals")
    assert "±" not in without and "± 1.00" in printed(runs, "--show", "psnr[talklip]")


def test_an_unknown_one_is_named_with_those_of_all_tables(runs: Path) -> None:
    with pytest.raises(
        UsageError, match=r"--show lse_x: there is no such column; there are psnr\[talklip\], psnr\[full\]"
    ):
        printed(runs, "--show", "psnr,lse_x")
    with pytest.raises(UsageError, match="--rows Foo: there is no such row; there are GT, GT-REC, Wav2Lip"):
        printed(runs, "--rows", "Foo")
    # Of several tables one that has nothing of the choice is left out.
    several = CliRunner().invoke(tables, ["--table", "1", "--table", "4", "--show", "lse_c"])
    assert several.exit_code == 0 and "Table 1" in several.output and "Table 4" not in several.output
