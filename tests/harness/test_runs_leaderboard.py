"""Boards: what is best, who ranks where, and which notes a number needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from syncdiff_bench.caveats import Caveat, Counted, counted
from syncdiff_bench.report.leaderboard import Board, boards
from syncdiff_bench.report.selection import row_names
from syncdiff_bench.report.table import Cell
from syncdiff_bench.report.writers import render
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.summary import ColumnSummary

IDENTITY = Identity("m", {}, (), "d", "test", "f", ("a", "b"), {}, 0, "lossless")
UP = ColumnSummary("psnr", "face96", "psnr", "PSNR", 1.0, None, 2, 0, "up", "dB", 2, (), None)
DOWN = replace(UP, metric="lpips", column="lpips", label="LPIPS", direction="down", decimals=3)


def run(
    name: str, *summary: ColumnSummary, topline: bool = False, finished: bool = True, caveats: Sequence[Counted] = ()
) -> Run:
    manifest = {
        "summary": [entry.to_json() for entry in summary],
        "versions": {"syncdiff-bench": "0.1.0"},
        "finished": "2026-01-01" if finished else None,
        "caveats": [one.to_json() for one in caveats],
    }
    return Run(Path(name), manifest, replace(IDENTITY, method=name, topline=topline), (), {}, unread=True)


def board(*runs: Run) -> Board:
    (one,) = boards(runs)
    return one


def ranks(one: Board) -> dict[str, int | None]:
    return {row.name: row.rank for row in one.rows}


def cells_of(one: Board) -> list[tuple[Cell, ...]]:
    """Rank, name, a cell per column, n (failed)."""
    return [row.cells for row in one.table.panels[0].rows]


def best(one: Board, column: int) -> set[str]:
    return {row.name for row, cells in zip(one.rows, cells_of(one), strict=True) if cells[column + 2].rank == 1}


def test_best_follows_the_direction_of_the_column() -> None:
    one = board(
        run("x", replace(UP, mean=30.0), replace(DOWN, mean=0.2)),
        run("y", replace(UP, mean=31.0), replace(DOWN, mean=0.3)),
    )
    assert (best(one, 0), best(one, 1)) == ({"y"}, {"x"})


def test_bounds_come_first_without_rank_and_are_never_best() -> None:
    one = board(
        run("x", replace(UP, mean=30.0)),
        run("y", replace(UP, mean=31.0)),
        run("truth", replace(UP, mean=99.0), topline=True),
    )
    assert [row.name for row in one.rows] == ["truth", "y", "x"]
    assert ranks(one) == {"truth": None, "y": 1, "x": 2}
    assert best(one, 0) == {"y"}


def test_equal_as_printed_is_equally_best() -> None:
    one = board(run("x", replace(UP, mean=30.001)), run("y", replace(UP, mean=30.002)))
    assert best(one, 0) == {"x", "y"}


def test_a_single_rival_is_not_marked() -> None:
    assert best(board(run("x", UP)), 0) == set()


def test_rank_is_by_the_mean_rank_and_a_missing_value_is_last() -> None:
    one = board(
        run("x", replace(UP, mean=30.0), replace(DOWN, mean=0.3)),  # ranks 2, 2
        run("y", replace(UP, mean=31.0), replace(DOWN, mean=0.2)),  # ranks 1, 1
        run("z", replace(UP, mean=29.0), replace(DOWN, mean=None, reason="no")),  # ranks 3, 3
        run("w"),
    )
    assert ranks(one) == {"y": 1, "x": 2, "z": 3, "w": None}


def test_two_protocols_never_share_a_column() -> None:
    one = board(run("x", UP, replace(UP, protocol="talklip", mean=28.0)))
    assert [(c.metric, c.protocol) for c in one.columns] == [("psnr", "face96"), ("psnr", "talklip")]
    assert "PSNR ↑<br>talklip" in render([one.table], "markdown")


def test_cells_and_notes() -> None:
    one = board(
        run("x", replace(UP, mean=30.0, ci95=(29.0, 31.5), failed=1, n=1), replace(DOWN, mean=0.1234, failed=1, n=1)),
        run("y", replace(UP, mean=None), replace(DOWN, mean=None, n=0, reason="weights missing")),
        run("z", UP, replace(DOWN, n=1, failed=1), replace(UP, metric="ssim"), finished=False),
    )
    cells = {cells[1].text: cells[2:] for cells in cells_of(one)}
    assert [(cell.text, cell.interval, cell.rank) for cell in cells["x"]] == [
        *(("30.00", " [29.00, 31.50]", 1), ("0.123", "", 1), ("–", "", 0), ("1 (1)", "", 0))
    ]
    assert [(cell.text, cell.marks) for cell in cells["y"]] == [
        *(("N/A", ()), ("N/A", ("b",)), ("–", ()), ("2 (0)", ()))
    ]
    assert [cells["x"][-1].alert, cells["y"][-1].alert] == [True, False]
    notes = [f"{note.mark} {note.text}" for note in one.table.notes]
    assert notes[:2] == ["a this run has not finished", "b lpips (face96): n/a, weights missing"]  # as rows come
    for words in ("Where clips failed", ": that interval where a bound of the metric cuts one end off"):
        assert any(words in note for note in notes)
    assert cells_of(board(run("x", replace(UP, mean=30.0, ci95=(28.5, 31.5)))))[0][2].interval == " ±1.50"


def test_rows_are_named_by_as_much_of_their_path_as_tells_them_apart() -> None:
    def names(*runs: tuple[str, str]) -> tuple[str, ...]:
        return row_names([replace(run(method), path=Path("/r") / path) for method, path in runs])

    assert names(("m", "a/m"), ("n", "a/n")) == ("m", "n")
    assert names(("m", "a/m"), ("m", "b/m")) == ("m (a)", "m (b)")
    assert names(("m", "x/a/m"), ("m", "y/a/m"), ("m", "x/b/m")) == ("m (x/a)", "m (y/a)", "m (b)")
    assert names(("m", "rnd/seed-0"), ("m", "temp/seed-0")) == ("m (rnd/seed-0)", "m (temp/seed-0)")
    assert names(("m", "a/m"), ("m", "b")) == ("m", "m (b)")
    assert names(("m", "a/m"), ("m", "a/m")) == ("m (r/a)", "m (r/a) #2")
    assert names(("reference", "a/reference")) == ("reference (a)",)


def test_a_label_takes_the_place_of_the_method() -> None:
    def names(*runs: tuple[str, str, str]) -> tuple[str, ...]:
        return row_names([replace(run(method), label=label, path=Path("/r") / path) for method, label, path in runs])

    assert names(("m", "Ours", "rnd/seed-0"), ("m", "", "b/m")) == ("Ours", "m")
    assert names(("m", "Ours", "a/seed-0"), ("m", "Ours", "b/seed-0")) == ("Ours (a/seed-0)", "Ours (b/seed-0)")
    assert names(("m", "reference", "a/seed-0")) == ("reference (seed-0)",)


def test_other_clips_get_a_board_of_their_own() -> None:
    other = run("y", UP)
    other = replace(other, identity=replace(other.identity, clips=("a",)))
    assert len(boards([run("x", UP), other])) == 2


def test_caveats_mark_what_they_are_about_and_what_all_share_stands_once_without_a_mark() -> None:
    few = Counted("few-speakers", "3 speakers")
    guess = Counted("guessed-boxes", "the face box is the centred guess", ("a",), 2)
    dull = Counted("silent-sound", "the sound track is silent", ("b",), 2, "psnr", "face96", "all zeros")
    one = board(
        run("x", UP, DOWN, caveats=[few, guess, dull]), run("y", UP, DOWN, caveats=[few]), run("z", UP, caveats=[few])
    )
    assert [[cell.marks for cell in cells[1:-1]] for cells in cells_of(one)] == [
        *([("a",), ("b",), ()], [(), (), ()], [(), (), ()])
    ]
    assert [(note.mark, note.text) for note in one.table.notes[:3]] == [
        *(("a", guess.text), ("b", dull.text), ("", "3 speakers"))
    ]
    text = render([one.table], "markdown")
    assert "ᵃ 1 of 2 clips: the face box is the centred guess" in text
    assert "ᵇ psnr (face96), 1 of 2 clips: the sound track is silent (b: all zeros)" in text
    records = json.loads(render([one.table], "json"))
    assert [[caveat["kind"] for caveat in record["caveats"]] for record in records] == [
        *([few.kind, guess.kind, dull.kind], [few.kind, guess.kind]),
        *([few.kind], [few.kind], [few.kind]),
    ]
    assert records[0]["caveats"][1]["clips"] == ["a"]
    assert guess.text in render([one.table], "csv").splitlines()[1]


def test_a_run_of_a_version_without_caveats_says_that_they_are_unknown() -> None:
    old = run("x", replace(UP, n=1), DOWN)
    manifest = {key: value for key, value in old.manifest.items() if key != "caveats"}
    found = replace(old, manifest={**manifest, "dataset": {"clips": ["a", "b"]}}).caveats
    assert [one.text for one in found] == [
        "made by a version that did not record guesses, conversions and damage: unknown",
        "psnr (face96): over 1 of 2 clips",
        "2 speakers: with fewer than 5 neither intervals nor tests decide",
    ]


def judged(one: Run, sha256: str) -> Run:
    weights = [{"name": "judge", "sha256": sha256}]
    return replace(
        one, manifest={**one.manifest, "protocols": [{"metric": "psnr", "protocol": "face96", "weights": weights}]}
    )


def test_what_different_judges_found_decides_no_rank() -> None:
    def row(name: str, psnr: float, lpips: float, judge: str, *, topline: bool = False) -> Run:
        return judged(run(name, replace(UP, mean=psnr), replace(DOWN, mean=lpips), topline=topline), judge)

    # By a, x is ahead of y; z, alone with its judge, is best in the column that all share.
    one = board(row("x", 31.0, 0.3, "a"), row("y", 30.0, 0.2, "a"), row("z", 1.0, 0.1, "b"))
    assert [column.named for column in one.columns] == ["face96 a", "face96 b", "face96"]
    assert ranks(one) == {"z": 1, "y": 2, "x": 3}
    assert any(
        "in all columns but those of several weights" in remark for remark in (note.text for note in one.table.notes)
    )
    # With nothing in common there is no rank; a bound that was judged otherwise costs the rivals none.
    assert set(ranks(board(judged(run("x", UP), "a"), judged(run("y", UP), "b"))).values()) == {None}
    bound = board(judged(run("t", UP, topline=True), "b"), judged(run("x", UP), "a"), judged(run("y", UP), "a"))
    assert ranks(bound) == {"t": None, "x": 1, "y": 1}


def test_a_caveat_counts_its_clips_and_their_amounts() -> None:
    short = [Caveat("length", "up to {most} frames shorter, {sum} in all", f"{40 - n} of 40", n) for n in (2, 5, 1)]
    found = {"a": [short[0]], "b": [short[1]], "c": [], "d": [short[2], short[1]]}
    (one,) = counted(found, 4)
    assert one.clips == ("a", "b", "d")
    assert one.text == "3 of 4 clips: up to 5 frames shorter, 8 in all (a: 38 of 40)"  # a clip counts once
