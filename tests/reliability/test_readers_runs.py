"""Damaged run directories, baselines, results of benchmarks, probes: a value or one line, by every reader of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import strategies as st
from reading import Reader, damaged_json, damaged_lines, read_all, short_and_long

from syncdiff_bench.cli import main
from syncdiff_bench.pipeline import load_whole
from syncdiff_bench.report.comparison import comparison_table, gate_table, speed_table
from syncdiff_bench.report.joined import join
from syncdiff_bench.report.leaderboard import leaderboards
from syncdiff_bench.report.page.page import build_page
from syncdiff_bench.report.paper import tables
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import find_runs
from syncdiff_bench.report.writers import render
from syncdiff_bench.reproduction.probing import read_spreads
from syncdiff_bench.runs.directory import load_run, run_directories
from syncdiff_bench.significance import speed
from syncdiff_bench.significance.comparison import compare
from syncdiff_bench.significance.gate import check as check_scored
from syncdiff_bench.significance.gate import default_tolerances
from syncdiff_bench.significance.scored import Scored, from_run, read_baseline, write_baseline

FORMATS = ("markdown", "csv", "json", "html", "latex")
Damage = Callable[[bytes], st.SearchStrategy[bytes]]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs of gt and static on three clips of pocket, and a baseline of static."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SYNCDIFF_BENCH_HOME", str(folder / "home"))
        patch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
        assert (
            main(
                [
                    *[
                        "run",
                        "--method",
                        "gt",
                        "--method",
                        "static",
                        "--limit",
                        "3",
                        "--metrics",
                        "psnr,ssim",
                        "--out",
                        "runs",
                    ]
                ]
            )
            == 0
        )
    static = from_run(load_run(folder / "runs" / "static"))
    write_baseline(static, folder / "baseline.json", default_tolerances(static))
    return folder


def report(run: Path) -> None:
    """What `report` makes of a run directory."""
    loaded = [load_whole(path) for path in run_directories([run])]
    made = leaderboards(loaded)
    for name in FORMATS:
        render(made, name).encode()
    loaded[0].to_pandas()


def page(run: Path) -> None:
    build_page([load_run(run)], clips=0).encode()


def paper(run: Path) -> None:
    (first, *_) = tables()
    for name in FORMATS:
        render([paper_table(join(first, find_runs([run])))], name).encode()


def against(good: Path) -> Reader:
    """What `compare` and `check` make of a run directory beside a whole one."""
    other = from_run(load_run(good))

    def read(run: Path) -> None:
        _compared(from_run(load_run(run)), other)

    return read


def _compared(one: Scored, other: Scored) -> None:
    render([comparison_table(compare(one, other, resamples=10, any_boxes=True))], "markdown").encode()
    render([gate_table(check_scored(one, other, resamples=10))], "markdown").encode()
    default_tolerances(one)


def of_folder(reader: Reader) -> Reader:
    return lambda file: reader(file.parent)


@short_and_long
@pytest.mark.parametrize("what", ["report", "page", "paper", "compare"])
@pytest.mark.parametrize("name", ["run.json", "scores.jsonl", "generation.jsonl"])
def test_readers_of_a_run(runs: Path, tmp_path: Path, name: str, what: str, tries: int) -> None:
    run = tmp_path / "static"
    shutil.copytree(runs / "runs" / "static", run)
    (run / ".run.json").unlink(missing_ok=True)
    readers: dict[str, Reader] = {"report": report, "page": page, "paper": paper}
    reader = readers.get(what) or against(runs / "runs" / "static")
    damaged: Damage = damaged_json if name == "run.json" else damaged_lines
    strategy = damaged((run / name).read_bytes())
    read_all(f"{name}, {what}", strategy, run / name, of_folder(reader), tries, name="static")


@short_and_long
@pytest.mark.parametrize("name", ["protocols.rank-1.json", "scores.rank-1.jsonl"])
def test_readers_of_parts(runs: Path, tmp_path: Path, name: str, tries: int) -> None:
    run = tmp_path / "static"
    protocols = json.loads((runs / "runs" / "static" / "run.json").read_bytes())["protocols"]
    whole = {
        "protocols.rank-1.json": json.dumps(protocols).encode(),
        "scores.rank-1.jsonl": (runs / "runs" / "static" / "scores.jsonl").read_bytes(),
    }
    damaged: Damage = damaged_json if name.endswith("json") else damaged_lines

    def assembled(file: Path) -> None:
        content = file.read_bytes()
        shutil.rmtree(run)
        shutil.copytree(runs / "runs" / "static", run)
        file.write_bytes(content)
        report(run)

    run.mkdir()
    read_all(name, damaged(whole[name]), run / name, assembled, tries, name="static")


@short_and_long
def test_readers_of_a_baseline(runs: Path, tmp_path: Path, tries: int) -> None:
    whole = from_run(load_run(runs / "runs" / "static"))

    def read(file: Path) -> None:
        baseline = read_baseline(file)
        _compared(whole, baseline)
        _compared(baseline, whole)

    damaged = damaged_json((runs / "baseline.json").read_bytes())
    read_all("a baseline", damaged, tmp_path / "base.json", read, tries)


@short_and_long
def test_readers_of_speeds(tmp_path: Path, tries: int) -> None:
    calibration = {"seconds": 0.5, "threads": 1}
    bench = {"fullname": "a::b", "stats": {"min": 1.5, "max": 2}, "options": {"timer": "perf_counter"}}
    whole = {"benchmarks": [{**bench, "extra_info": {"calibration": calibration}}, {**bench, "extra_info": {}}]}
    file = tmp_path / "result.json"
    file.write_text(json.dumps(whole))
    good = speed.read_result(file)
    speed.write_baseline(good, tmp_path / "baseline.json")
    kept = (tmp_path / "baseline.json").read_bytes()

    def read_result(path: Path) -> None:
        gate(speed.read_result(path), good)

    def read_kept(path: Path) -> None:
        gate(good, speed.read_baseline(path))

    def gate(now: speed.Speeds, baseline: speed.Speeds) -> None:
        render([speed_table(speed.check_speeds(now, baseline, 1.5))], "markdown").encode()

    read_all("a result of benchmarks", damaged_json(json.dumps(whole).encode()), file, read_result, tries)
    read_all("a baseline of speeds", damaged_json(kept), tmp_path / "kept.json", read_kept, tries)


@short_and_long
def test_readers_of_a_probe(tmp_path: Path, tries: int) -> None:
    groups = [{"label": "a", "cases": 3, "variance": 0.5, "cluster": "s"}, {"label": "b", "cases": 3, "variance": 0.25}]
    entry = {"metric": "variance", "protocol": "ident", "column": "var", "mean": 0.4, "ci95": [0.1, 0.5], "n": 2}
    record = {
        "schema": 1,
        "method": {"name": "syncdiff", "title": "SyncDiff", "options": {"variant": "rnd"}, "weights": []},
        "dataset": {"name": "pocket", "split": "test", "fingerprint": "a" * 64},
        "probe": {"layer": "mid", "step": None, "seed": 0, "groups": {"ident": groups, "pose": groups[:1]}},
        "finished": "2026-01-01T00:00:00+00:00",
        "caveats": [],
        "summary": [{**entry, "failed": 0, "direction": "down"}],
    }

    def read(file: Path) -> None:
        read_spreads([file])
        paper(file.parent)

    (tmp_path / "probe").mkdir()
    damaged = damaged_json(json.dumps(record).encode())
    read_all("a probe", damaged, tmp_path / "probe" / "run.json", read, tries, name="probe")
