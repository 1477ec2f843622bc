"""Joining a paper's table with run.json files that were written by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.caveats import Counted
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.joined import JoinedCell, JoinedPanel, JoinedRow, JoinedTable
from syncdiff_bench.report.joined import join as join_runs
from syncdiff_bench.report.paper import PaperTable, package_tables
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import find_runs, read_run
from syncdiff_bench.report.writers import render

TABLES: dict[int, PaperTable] = {table.number: table for table in package_tables("syncdiff_leaderboards")}
SYSTEMS = [row.system for table in TABLES.values() if table.of_paper for row in table.rows]
DEFAULTS: dict[str, dict[str, Any]] = {"gt": {}, "syncdiff": {"variant": None, "steps": None, "batch": 24}}


def entry(metric: str, protocol: str, column: str, mean: float | None, **changes: Any) -> dict[str, Any]:
    plain = {"ci95": None, "n": 4, "failed": 0, "direction": "up"}
    return {"metric": metric, "protocol": protocol, "column": column, "mean": mean, **plain, **changes}


def write_run(
    folder: Path,
    method: str,
    dataset: str,
    summary: list[dict[str, Any]],
    options: dict[str, Any] | None = None,
    *,
    finished: str = "2026-01-01T00:00:00+00:00",
    clips: int = 0,
    split: str = "test",
    pairs: str | None = None,
    encoding: str = "lossless",
    trained_against: tuple[str, ...] = (),
    caveats: Sequence[Counted] | None = (),
    judge: str = "",
) -> Path:
    folder.mkdir(parents=True)
    record = {
        "schema": 1,
        "method": {
            "name": method,
            "title": method.title(),
            "options": options or {},
            "topline": method == "bound",
            "trained_against": list(trained_against),
        },
        "dataset": {
            "name": dataset,
            "split": split,
            "options": {"boxes": "", "pairs": pairs},
            "clips": [f"{split}/{index}" for index in range(clips)],
        },
        "seed": 0,
        "encoding": encoding,
        "finished": finished,
        "summary": summary,
        "protocols": [
            {"metric": e["metric"], "protocol": e["protocol"], "weights": [{"name": "w", "sha256": judge}]}
            for e in (summary if judge else [])
        ],
        **({} if caveats is None else {"caveats": [one.to_json() for one in caveats]}),
    }
    (folder / "run.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def join(table: int, *folders: Path, datasets: tuple[str, ...] = ()) -> JoinedTable:
    return join_runs(
        TABLES[table],
        find_runs(folders),
        datasets=datasets,
        systems=SYSTEMS,
        defaults=lambda method: DEFAULTS.get(method, {}),
    )


def panel_of(comparison: JoinedTable, dataset: str) -> JoinedPanel:
    return next(panel for panel in comparison.panels if panel.dataset == dataset)


def row_of(panel: JoinedPanel, label: str) -> JoinedRow:
    return next(row for row in panel.rows if row.label == label)


def cell_of(panel: JoinedPanel, label: str, key: str) -> JoinedCell:
    place = [column.key for column in panel.columns].index(key)
    return row_of(panel, label).cells[place]


def test_without_runs_the_paper_stands_alone() -> None:
    comparison = join(1)
    assert [panel.dataset for panel in comparison.panels] == ["lrs2", "lrs3"]
    assert cell_of(comparison.panels[1], "SyncDiff", "wer") == JoinedCell(paper=83.94, printed=True)
    assert cell_of(comparison.panels[0], "GT", "psnr") == JoinedCell(paper=None, printed=True)
    assert not any(row.was_run for panel in comparison.panels for row in panel.rows)


def test_same_dataset_and_protocol_give_a_delta(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "a",
        "syncdiff",
        "lrs3",
        [entry("psnr", "talklip", "psnr", 32.0, ci95=[31.5, 32.5], failed=2)],
    )
    cell = cell_of(panel_of(join(1, run), "lrs3"), "SyncDiff", "psnr")
    assert cell.paper == 32.18
    assert cell.delta == -0.18
    assert cell.ours is not None
    assert (cell.ours.mean, cell.ours.ci95, cell.ours.n, cell.ours.failed) == (32.0, (31.5, 32.5), 4, 2)
    assert cell.run == run
    assert cell_of(panel_of(join(1, run), "lrs2"), "SyncDiff", "psnr").ours is None


def test_another_protocol_gets_its_own_column(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", "syncdiff", "lrs3", [entry("psnr", "face96", "psnr", 30.0)])
    panel = panel_of(join(1, run), "lrs3")
    assert [column.label for column in panel.columns][:3] == ["PSNR", "PSNR [face96]", "SSIM"]
    assert [column.key for column in panel.columns][:3] == ["psnr", "psnr[face96]", "ssim"]
    assert cell_of(panel, "SyncDiff", "psnr").ours is None
    other = cell_of(panel, "SyncDiff", "psnr[face96]")
    assert (other.printed, other.delta) == (False, None)
    assert other.ours is not None
    assert other.ours.mean == 30.0


def test_another_dataset_has_no_delta(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", "syncdiff", "pocket", [entry("ssim", "face96", "ssim", 0.9)])
    comparison = join(1, run)
    assert [(panel.dataset, panel.paper_dataset) for panel in comparison.panels] == [("pocket", "lrs2")]
    cell = cell_of(comparison.panels[0], "SyncDiff", "ssim")
    assert (cell.paper, cell.delta) == (0.874, None)


def test_undefined_mean_is_measured_but_has_no_delta(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "a",
        "gt",
        "lrs2",
        [entry("psnr", "talklip", "psnr", None), entry("ssim", "face96", "ssim", 1.0)],
    )
    panel = panel_of(join(1, run), "lrs2")
    psnr = cell_of(panel, "GT", "psnr")
    assert psnr.ours is not None
    assert (psnr.ours.mean, psnr.delta) == (None, None)
    assert cell_of(panel, "GT", "ssim").delta == 0


def test_a_variant_stands_in_its_own_row_and_nowhere_else(tmp_path: Path) -> None:
    summary = [entry("ssim", "face96", "ssim", 0.5)]
    variant = write_run(tmp_path / "a", "syncdiff", "lrs2", summary, {"variant": "rnd", "steps": 20})
    default = write_run(tmp_path / "b", "syncdiff", "lrs2", summary, {"variant": "rnd+prv-", "steps": 20})
    table1, table3 = join(1, variant), join(3, variant, default)
    assert not any(row.was_run for row in table1.panels[0].rows)
    assert any(str(variant) in note and "without a row" in note for note in table1.notes)
    assert [row.label for row in table3.panels[0].rows if row.was_run] == ["RND", "RND+PRV⁻"]
    assert cell_of(table3.panels[0], "RND", "ssim").run == variant
    assert cell_of(table3.panels[0], "RND+PRV⁻", "ssim").run == default


def test_methods_outside_the_paper_join_the_open_table_only(tmp_path: Path) -> None:
    summary = [entry("ssim", "face96", "ssim", 0.5)]
    fast = write_run(tmp_path / "a", "mine", "lrs2", summary, {"steps": 4, "size": "s"})
    slow = write_run(tmp_path / "b", "mine", "lrs2", summary, {"steps": 50, "size": "s"})
    static = write_run(tmp_path / "c", "static", "lrs2", summary)
    bound = write_run(tmp_path / "d", "bound", "lrs2", summary)
    rows = join(1, fast, slow, static, bound).panels[0].rows
    assert [row.label for row in rows[7:]] == ["Mine (steps=4)", "Mine (steps=50)", "Static", "Bound"]
    assert not any(row.in_paper for row in rows[7:])
    assert [row.topline for row in rows[7:]] == [False, False, False, True]
    assert len(join(3, fast).panels[0].rows) == 4


# -------------------------------------------------------------------- runs that are not the paper's protocol

SSIM = [entry("ssim", "face96", "ssim", 0.9)]


def test_another_split_has_no_delta_and_a_footnote(tmp_path: Path) -> None:
    options = {"variant": "rnd+prv-", "steps": 4, "batch": 24}
    made = {"clips": 3, "split": "val", "encoding": "crf23", "finished": "2027"}
    val = write_run(tmp_path / "val", "syncdiff", "lrs2", SSIM, options, **made)
    comparison = join(3, val)
    cell = cell_of(comparison.panels[0], "RND+PRV⁻", "ssim")
    assert (cell.run, cell.delta, cell.comparable) == (val, None, False)
    note = "RND+PRV⁻ on lrs2: split val (3 clips), not test; encoding crf23; options steps=4; no delta"
    assert note in comparison.notes
    whole = write_run(tmp_path / "test", "syncdiff", "lrs2", SSIM, clips=1243)  # older
    cell = cell_of(join(3, val, whole).panels[0], "RND+PRV⁻", "ssim")
    assert (cell.run, cell.delta, cell.deviations) == (whole, 0.026, ())  # 0.9 - 0.874


def test_where_the_paper_has_no_values_the_split_is_that_of_the_runs(tmp_path: Path) -> None:
    rows = {name: {"variant": name} for name in ("rnd", "prv")}
    on = [write_run(tmp_path / n, "syncdiff", "pocket", SSIM, o, split="ablation", clips=48) for n, o in rows.items()]
    comparison = join(3, *on)
    assert [cell_of(comparison.panels[0], row, "ssim").deviations for row in ("RND", "PRV")] == [(), ()]
    test = write_run(tmp_path / "test", "syncdiff", "pocket", SSIM, {"variant": "prv-"}, clips=24)
    noted = [note for note in join(3, *on, test).notes if "not test" in note]  # rows of one panel, on other clips
    assert noted == ["RND, PRV on pocket: split ablation (48 clips), not test"]


def test_mismatched_sound_has_no_delta(tmp_path: Path) -> None:
    paired = write_run(tmp_path / "a", "syncdiff", "lrs2", SSIM, clips=1243, pairs="/lists/lrs2.txt")
    comparison = join(1, paired)
    assert cell_of(comparison.panels[0], "SyncDiff", "ssim").delta is None
    assert "SyncDiff on lrs2: mismatched audio, pairs=/lists/lrs2.txt; no delta" in comparison.notes


def test_a_part_of_the_clips_or_other_options_keep_the_delta_with_a_footnote(tmp_path: Path) -> None:
    part = write_run(tmp_path / "a", "syncdiff", "lrs2", SSIM, {"steps": 4}, clips=20)
    coded = write_run(tmp_path / "b", "gt", "lrs2", SSIM, clips=1243, encoding="talklip")
    comparison = join(1, part, coded)
    assert cell_of(comparison.panels[0], "SyncDiff", "ssim").delta == 0.026
    assert cell_of(comparison.panels[0], "GT", "ssim").delta == -0.1
    assert comparison.notes[-2:] == (
        "GT on lrs2: encoding talklip",
        "SyncDiff on lrs2: 20 of 1243 clips; options steps=4",
    )


def test_of_several_runs_that_of_most_clips_counts_then_the_newest_and_the_table_says_so(tmp_path: Path) -> None:
    whole = write_run(tmp_path / "whole", "syncdiff", "lrs2", SSIM, clips=1243, finished="2026-01-01")
    again = write_run(tmp_path / "again", "syncdiff", "lrs2", SSIM, clips=1243, finished="2026-01-02")
    part = write_run(tmp_path / "part", "syncdiff", "lrs2", SSIM, clips=20, finished="2026-01-03")
    word_errors = [entry("wer", "centre88-160", "wer", 70.0)]
    wer = write_run(tmp_path / "wer", "syncdiff", "lrs2", word_errors, clips=20, finished="2025")
    for order in permutations((part, whole, again, wer)):
        comparison = join(1, *order)
        assert cell_of(comparison.panels[0], "SyncDiff", "ssim").run == again
        assert cell_of(comparison.panels[0], "SyncDiff", "wer").run == wer
        assert "SyncDiff (WER) on lrs2: 20 of 1243 clips" in comparison.notes
        assert any("3 runs measured the same" in note and str(again) in note for note in comparison.notes)
    assert not any("measured the same" in note for note in join(1, again, wer).notes)


def test_ground_truth_is_a_bound_of_runs_over_the_same_clips(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "syncdiff", "lrs2", [entry("lse", "lrs", "lse_c", 7.0)], clips=20)
    truth = [entry("lse", "lrs", "lse_c", 6.0)]
    whole = write_run(tmp_path / "whole", "gt", "lrs2", [entry("lse", "lrs", "lse_c", 8.0)], clips=1243)
    other = write_run(tmp_path / "val", "gt", "lrs2", truth, clips=20, split="val")
    assert cell_of(join(1, run, whole, other).panels[0], "SyncDiff", "lse_c").truth is None
    same = write_run(tmp_path / "same", "gt", "lrs2", truth, clips=20)
    joined = join(1, run, whole, other, same)
    assert cell_of(joined.panels[0], "SyncDiff", "lse_c").truth == 6.0
    assert cell_of(joined.panels[0], "GT", "lse_c").run == whole


def test_a_method_outside_the_paper_says_what_judge_trained_it(tmp_path: Path) -> None:
    old = write_run(tmp_path / "old", "mine", "lrs2", SSIM)
    new = write_run(tmp_path / "new", "mine", "lrs2", SSIM, trained_against=("lse",), finished="2027")
    rows = [row for row in join(1, old, new).panels[0].rows if not row.in_paper]
    assert [(row.label, row.system.trained_against) for row in rows] == [("Mine", {"lse"})]


def test_an_unfinished_run_is_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", "syncdiff", "lrs2", [])
    assert any("a has no summary yet" in note for note in join(1, run).notes)


def test_table_4_joins_the_two_experiments(tmp_path: Path) -> None:
    summary = [entry("variance", "ident", "var", 0.08), entry("variance", "pose", "var", 0.3)]
    panel = join(4, write_run(tmp_path / "a", "syncdiff", "lrs2", summary)).panels[0]
    assert [cell.delta for cell in row_of(panel, "RND+PRV⁻").cells] == [0.005, -0.028]


def test_chosen_datasets(tmp_path: Path) -> None:
    run = write_run(tmp_path / "a", "static", "pocket", [entry("ssim", "face96", "ssim", 0.5)])
    assert [panel.dataset for panel in join(1, run, datasets=("lrs3",)).panels] == ["lrs3"]
    with pytest.raises(UsageError, match="dataset lrs4: neither the paper nor a run has it; known: lrs2, lrs3, pocket"):
        join(1, run, datasets=("lrs4",))


# ---------------------------------------------------------------------------------------- run folders


def test_runs_are_found_one_and_two_levels_down_and_once(tmp_path: Path) -> None:
    write_run(tmp_path / "x", "gt", "lrs2", [])
    write_run(tmp_path / "y" / "z", "static", "lrs2", [])
    runs = find_runs([tmp_path, tmp_path / "x"])
    assert sorted(run.identity.method for run in runs) == ["gt", "static"]


def test_folders_without_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no run\.json"):
        find_runs([tmp_path])
    with pytest.raises(UsageError, match="does not exist"):
        find_runs([tmp_path / "missing"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "is not JSON"),
        ("[]", "is not a run's record"),
        ("null", "is not a run's record"),
        ('{"schema": 2}', "has schema 2, this version reads 1"),
        ('{"schema": 1}', "method: name: is missing"),
        ('{"schema": 1, "method": {"name": "a"}, "dataset": "lrs2"}', "is not a run's record"),
        (
            '{"schema": 1, "method": {"name": "a"}, "dataset": {"name": "d"}, "summary": [{}]}',
            "summary\\[0\\]: .* is missing",
        ),
        (
            '{"schema": 1, "method": {"name": "a"}, "dataset": {"name": "d"}, "summary": [3]}',
            "is not a run's record",
        ),
    ],
)
def test_a_broken_run_file_is_named(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        read_run(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nan_is_an_undefined_mean(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "a",
        "gt",
        "lrs2",
        [entry("ssim", "face96", "ssim", float("nan"), ci95=[0.1, float("nan")])],
    )
    [measured] = read_run(run / "run.json").summary
    assert (measured.mean, measured.ci95) == (None, None)


def test_numbers_of_different_weights_never_share_a_column_of_the_paper(tmp_path: Path) -> None:
    lse = [entry("lse", "lrs", "lse_c", 7.0)]
    odd = write_run(tmp_path / "odd", "gt", "lrs2", [entry("lse", "lrs", "lse_c", 5.0)], judge="0ddba11")
    same = [write_run(tmp_path / name, name, "lrs2", lse, judge="5a5e1e55") for name in ("wav2lip", "talklip")]
    comparison = join(1, odd, *same)
    panel = panel_of(comparison, "lrs2")
    assert cell_of(panel, "GT", "lse_c").ours is None
    (other,) = [column for column in panel.columns if "[" in column.key]
    assert (other.label, other.network) == ("LSE-C [lrs 0ddba11]", ("0ddba11",))
    theirs = cell_of(panel, "GT", other.key)
    assert theirs.ours is not None and theirs.ours.mean == 5.0 and theirs.delta is None
    assert [cell_of(panel, label, "lse_c").delta is not None for label in ("Wav2Lip", "TalkLip")] == [True, True]
    (note,) = [note for note in comparison.notes if "judged by different weights" in note]
    assert note.startswith("LSE-C: ") and "those of 5a5e1e55" in note


def test_one_judge_needs_no_mark(tmp_path: Path) -> None:
    lse = [entry("lse", "lrs", "lse_c", 7.0)]
    unscored = [entry("lse", "lrs", "lse_c", None)]
    runs = [write_run(tmp_path / name, name, "lrs2", lse, judge="5a5e1e55") for name in ("wav2lip", "talklip")]
    comparison = join(1, *runs, write_run(tmp_path / "gt", "gt", "lrs2", unscored))
    assert len(panel_of(comparison, "lrs2").columns) == len(TABLES[1].columns)
    assert not any("judged" in note for note in comparison.notes)


def test_caveats_of_the_numbers_shown_stand_below_the_table_with_their_rows(tmp_path: Path) -> None:
    guess = Counted("guessed-boxes", "the face box is the centred guess", ("a",), 4)
    silent = Counted("silent-sound", "the sound track is silent", ("a",), 4, "lse", "lrs")
    left_out = Counted("subset", "over 3 of 4 clips", (), 4, "wer", "centre88-160")  # of no number in the table
    gt = write_run(tmp_path / "gt", "gt", "lrs2", SSIM, caveats=[guess, silent, left_out])
    syncdiff = write_run(tmp_path / "sd", "syncdiff", "lrs2", SSIM, caveats=[guess])
    notes = join(1, gt, syncdiff).notes
    assert [note for note in notes if "clips" in note] == [f"GT, SyncDiff on lrs2: {guess.text}"]
    for markup in ("markdown", "latex", "html", "csv"):
        assert "the face box is the centred guess" in render([paper_table(join(1, gt, syncdiff))], markup)
    old = write_run(tmp_path / "old", "wav2lip", "lrs2", SSIM, caveats=None)
    assert any("Wav2Lip on lrs2: made by a version that did not record" in note for note in join(1, old).notes)
