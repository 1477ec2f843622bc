"""`reproduce` by command line: a table of toys whose cells have closed forms, trained, generated and scored.

`small` shifts by 3 (the model it starts from) + 4, `wide` by 3 + 9, both and the seed; `lost` fails in training.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from console import printed, refusal

from syncdiff_bench import registry
from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.estimates.times import Estimate, Times
from syncdiff_bench.report import paper
from syncdiff_bench.report.paper import System
from syncdiff_bench.reproduction.leases import Leases
from syncdiff_bench.reproduction.make import Step, make
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.planning import Costs
from syncdiff_bench.reproduction.recipe import recipe_of
from syncdiff_bench.reproduction.rows import Job

COMMAND = [sys.executable, "-c", "import sys; from syncdiff_bench.cli import main; sys.exit(main())"]
REPRODUCE = ["paper", "reproduce", "--table", "9", "--dataset", "toy", "--device", "cpu"]
OUT = Path("runs/reproduce-toy")
ELSEWHERE = ", and this is not the root of the repository, where models ship"


pytestmark = pytest.mark.usefixtures("toy_boards")


def train_small() -> None:
    """By the commands that a dry run names."""
    assert main(["train", "toy-shift/base", "--device", "cpu"]) == 0
    assert main(["train", "toy-shift/small", "--device", "cpu", "--set", "options.start=training/base/model"]) == 0


def cells() -> dict[str, dict[str, object]]:
    """Row -> its line of the CSV."""
    frame = pd.read_csv(OUT / "tables" / "table9.csv")
    return {row["row"]: row for row in frame.to_dict("records")}


def work_log() -> list[str]:
    """What was generated and trained, in order; the log of toy-noise beside it is left out."""
    lines = Path(os.environ["TOY_LOG"]).read_text().splitlines()
    return [line for line in lines if line.startswith(("trained", "itself", "wide", "lost"))]


def test_a_dry_run_names_what_is_missing_and_starts_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(printed(capsys, [*REPRODUCE, "--dry-run"]).split())
    make_base = "syncdiff-bench train toy-shift/base"
    make_small = "syncdiff-bench train toy-shift/small --set options.start=training/base/model"
    assert f"blank: toy-trained: there is no small yet{ELSEWHERE}; what makes it: {make_base} && {make_small}" in out
    make_wide = "syncdiff-bench train toy-shift/small --variant wide --set options.start=training/base/model"
    assert f"there is no small-wide yet{ELSEWHERE}; what makes it: {make_base} && {make_wide}" in out
    assert "blank: toy-noise: give --input shift=...: how far to shift, in grey levels" in out
    assert not OUT.exists()
    assert not Path("training").exists()


def test_a_trial_of_scoring_leaves_out_what_it_would_have_to_fetch(
    toy_boards: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """toy-heavy has no weights; ground truth is there to try with."""
    recipe = toy_boards / "toy_boards" / "reproduction" / "toy.toml"
    recipe.write_text(recipe.read_text().replace('["toy-error"]', '["toy-error", "toy-heavy"]'))
    out = " ".join(printed(capsys, [*REPRODUCE, "--dry-run", "--input", "shift=5"]).split())
    assert "(trial without toy-heavy)" in out and "trial: by processor time, on a free machine" in out
    assert "measured" not in out


def test_a_trial_of_scoring_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A metric that waits for a second is not one that works for a second: a toy clip has three frames."""
    toy_error = registry.load_class("metric", "toy-error")
    measure = toy_error.measure

    def slow(self: Any, pair: Any) -> Any:
        time.sleep(1)
        return measure(self, pair)

    monkeypatch.setattr(toy_error, "measure", slow)
    request = Request(recipe_of("toy"))
    job = Job(request, System("gt"), False, (), (0,))
    estimate = Costs(request, Times(OUT / "times", "cpu"), (job,), trials=True).scoring(job, 3)
    assert estimate.source == "trial" and estimate.seconds is not None and estimate.seconds < 0.5


def test_a_dry_run_with_training_counts_it(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(printed(capsys, [*REPRODUCE, "--dry-run", "--train"]).split())
    assert "train: base, about ? (not known before it runs), 1 micro-batch of 1, over 1 process: syncd" in out
    assert out.index("train: base") < out.index("train: small")
    assert "in all: about" in out
    assert "on top of a training come drawing its data and filling its caches" in out
    assert not Path("training").exists()


def test_without_train_rows_without_a_model_stay_blank(capsys: pytest.CaptureFixture[str]) -> None:
    train_small()
    table = printed(capsys, REPRODUCE)
    assert (
        f"wide is blank: there is no small-wide yet{ELSEWHERE}; what makes it: syncdiff-bench train toy-shift/small"
        in table
    )
    found = cells()
    assert found["small"]["ours"] == 7 + (0 + 1 + 2) / 3
    assert (found["small"]["n"], found["small"]["failed"]) == (5 * 3, 0)
    assert (found["small"]["paper"], found["small"]["delta"]) == (8.0, 0.0)
    assert pd.isna(found["wide"]["ours"])
    assert pd.isna(found["given"]["ours"])
    assert "trained small-wide" not in work_log()


def test_train_makes_every_row_and_one_that_fails_costs_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [*REPRODUCE, "--train", "--input", "shift=5", "--seed", "0", "--seed", "4"]
    assert main(arguments) == 1
    printed = capsys.readouterr()
    assert "failed: train-small-lost: this training was told to fail; tell it otherwise" in printed.err
    assert "needs train-small-lost, which failed" in printed.err
    found = cells()
    assert [found[row]["ours"] for row in ("small", "wide", "given")] == [7 + 2, 12 + 2, 5 + 2]
    assert pd.isna(found["lost"]["ours"])
    log, table = work_log(), (OUT / "tables" / "table9.md").read_bytes()
    assert log.count("trained base") == 1
    # What is there is not made again.
    assert main(arguments) == 1
    assert work_log() == log
    assert (OUT / "tables" / "table9.md").read_bytes() == table


def test_four_forms_of_the_table_and_the_records_behind_it() -> None:
    train_small()
    main([*REPRODUCE, "--seed", "3"])
    assert sorted(OUT.glob("*/*/run.json")) == [OUT / name / "seed-3" / "run.json" for name in ("gt", "toy-trained")]
    assert sorted(path.name for path in (OUT / "tables").iterdir()) == [
        f"table9.{suffix}" for suffix in ("csv", "html", "md", "tex")
    ]
    manifest = json.loads((OUT / "toy-trained" / "seed-3" / "run.json").read_text())
    assert manifest["method"]["options"] == {"model": "training/small/model", "variant": ""}
    assert manifest["summary"][0]["mean"] == 7 + 3


def test_ground_truth_is_the_bound_of_a_table_without_its_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing beats 0 here; a direction of "up" makes everything do so."""
    train_small()
    main([*REPRODUCE, "--seed", "0"])
    assert "†" not in capsys.readouterr().out
    file = Path(os.environ["PYTHONPATH"].split(os.pathsep)[0]) / "toy_boards" / "paper" / "table9.toml"
    file.write_text(file.read_text().replace('direction = "down"', 'direction = "up"'))
    paper.package_tables.cache_clear()
    main([*REPRODUCE, "--seed", "0"])
    out = capsys.readouterr().out
    assert "7.0 ± 0.0†" in out
    assert "scores better than the ground truth itself" in out


def test_a_model_that_was_trained_anew_needs_another_folder(capsys: pytest.CaptureFixture[str]) -> None:
    """Videos of the old one must not stand for the new one; half a run is not mixed."""
    train_small()
    assert main([*REPRODUCE, "--seed", "0"]) == 0
    Path("training/small/model/shift.json").write_text("70")
    out = " ".join(printed(capsys, [*REPRODUCE, "--seed", "0", "--seed", "1"]).split())
    assert "holds another run (weights toy/shift" in out
    assert cells()["small"]["ours"] == 7


@pytest.mark.parametrize("installed", [True, False])
def test_a_shipped_variant_is_used_before_ones_own_unless_told_otherwise(toy_boards: Path, installed: bool) -> None:
    """Beside the package, or in the repository, in whose root the command is given."""
    source = toy_boards if installed else Path("leaderboards")
    shipped = source / "toy_boards" / "checkpoints" / "small-wide"
    shipped.mkdir(parents=True)
    (shipped / "shift.json").write_text("40")
    assert main([*REPRODUCE, "--seed", "0"]) == 0
    assert cells()["wide"]["ours"] == 40
    assert main([*REPRODUCE, "--seed", "0", "--no-shipped", "--train", "--out", "runs/own"]) == 1
    assert "12.0 ± 0.0" in Path("runs/own/tables/table9.md").read_text()


def test_tables_of_an_ablation_compare_other_models(toy_boards: Path) -> None:
    """`small` stands in tables 8 and 9, of another training in the latter; each table has its own number."""
    tables = toy_boards / "toy_boards" / "paper"
    table = (tables / "table9.toml").read_text()
    (tables / "table8.toml").write_text(table.replace("number = 9", "number = 8"))
    recipe = toy_boards / "toy_boards" / "reproduction" / "toy.toml"
    more = """
[models.quick]
config = "toy-shift/quick"
needs = { "options.start" = "base" }
[ablation]
tables = [9]
models = { toy-trained = "quick" }
note = "Table 9 compares quick trainings."
"""
    recipe.write_text(recipe.read_text() + more)
    configs = toy_boards / "toy_boards" / "configs"
    (configs / "quick.toml").write_text('like = "small.toml"\n[options]\nshift = 30\n')
    train_small()
    quick = ["--set", "options.start=training/base/model"]
    assert main(["train", "toy-shift/quick", "--device", "cpu", *quick]) == 0
    assert main(["train", "toy-shift/quick", "--variant", "wide", "--device", "cpu", *quick]) == 0
    assert main([*REPRODUCE, "--table", "8", "--seed", "0"]) == 0
    rows = {number: pd.read_csv(OUT / "tables" / f"table{number}.csv").set_index("row") for number in (8, 9)}
    assert (rows[8].ours["small"], rows[9].ours["small"]) == (7, 33)
    assert pd.isna(rows[8].ours["wide"])  # only the quick one is there
    assert rows[9].ours["wide"] == 12
    notes = {number: (OUT / "tables" / f"table{number}.md").read_text() for number in (8, 9)}
    assert "Table 9 compares quick trainings." in notes[9]
    assert "quick trainings" not in notes[8]
    assert (OUT / "toy-trained-ablation" / "seed-0" / "run.json").is_file()


# --------------------------------------------------------------------------------- killed, and together


def test_killed_and_started_again_it_goes_on() -> None:
    train_small()
    killed = {**os.environ, "TOY_KILL": "s1/2"}
    done = subprocess.run([*COMMAND, *REPRODUCE], env=killed, capture_output=True, check=False, timeout=120)
    assert done.returncode == -9
    assert (OUT / "leases" / "toy-trained.seed-1.lease").is_file()
    assert main(REPRODUCE) == 0
    # The batch in which it died is made again, and nothing else.
    counts = Counter(line for line in work_log() if line.startswith("itself"))
    assert {line: n for line, n in counts.items() if n > 1} == {"itself 1 s1/2 s1/3": 2}
    assert len(counts) == 3 * 3
    assert cells()["small"]["ours"] == 8


@pytest.mark.slow
def test_two_processes_share_the_work() -> None:
    arguments = [*COMMAND, *REPRODUCE, "--train", "--input", "shift=5"]
    pair = [subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    errors = [process.communicate(timeout=300)[1] for process in pair]
    assert all("Traceback" not in error for error in errors), errors
    counts = Counter(work_log())
    assert set(counts.values()) == {1}
    assert {line for line in counts if line.startswith("trained")} == {
        "trained base",
        "trained small",
        "trained small-wide",
    }
    assert sum(not line.startswith("trained") for line in counts) == 2 * 3 * 3  # two rows, three seeds and batches
    main([*REPRODUCE, "--input", "shift=5"])
    assert [cells()[row]["ours"] for row in ("small", "wide", "given")] == [8, 13, 6]


def test_what_another_process_has_in_work_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    train_small()
    with Leases(OUT / "leases").taken("toy-trained.seed-1"):
        assert main(REPRODUCE) == 0
    printed = capsys.readouterr()
    assert f"toy-trained.seed-1: in work elsewhere (process {os.getpid()} on " in printed.err
    assert "small has only seeds 0, 2 of 0, 1, 2." in printed.out
    assert cells()["small"]["ours"] == 8  # 7 + (0 + 2) / 2


def test_shards_deal_the_rows_and_write_whole_tables() -> None:
    """The jobs: gt, small, wide, lost, given."""
    train_small()
    arguments = [*REPRODUCE, "--seed", "0", "--input", "shift=5"]
    assert main([*arguments, "--shard", "1/2"]) == 0
    assert {path.parent.parent.name for path in OUT.glob("*/seed-0/run.json")} == {"gt", "toy-noise"}
    assert "small is blank: another --shard makes it." in (OUT / "tables" / "table9.md").read_text()
    generated = work_log()
    assert main([*arguments, "--shard", "2/2"]) == 0
    assert all(line.startswith("itself") for line in work_log()[len(generated) :])
    assert [cells()[row]["ours"] for row in ("small", "given")] == [7, 5]
    assert "another --shard" not in (OUT / "tables" / "table9.md").read_text()


# ---------------------------------------------------------------------------------- what nobody foresaw


def step(key: str, error: BaseException | None = None, needs: Sequence[str] = ()) -> Step:
    """Raises what it is told to; else leaves a file."""

    def work(_lease: object) -> None:
        if error is not None:
            raise error
        Path(key).touch()

    return Step(key, needs, Path(key).is_file, work)


def test_whatever_a_step_raises_costs_it_and_those_that_need_it() -> None:
    leases = Leases(Path("leases"))
    broken = step("a", RuntimeError("shapes\ndiffer")), step("b", UsageError("no file; bring one"))
    steps = [*broken, step("c", needs=["a"]), step("d")]
    failed, elsewhere = make(steps, leases)
    assert failed == {"a": "RuntimeError: shapes differ", "b": "no file; bring one", "c": "needs a, which failed"}
    assert elsewhere == {}
    assert Path("d").is_file()
    assert leases.holder("a") == ""


def test_ctrl_c_ends_the_whole() -> None:
    with pytest.raises(KeyboardInterrupt):
        make([step("a", KeyboardInterrupt()), step("b")], Leases(Path("leases")))
    assert not Path("b").exists()


# ------------------------------------------------------------------------------------------------ times


def record_time(stage: str, family: str, *, amount: int, seconds: float) -> None:
    entry = {"stage": stage, "family": family, "amount": amount, "seconds": seconds}
    (OUT / "times").mkdir(parents=True, exist_ok=True)
    file = OUT / "times" / f"{family or 'all'}-{seconds}.{stage}.json"
    file.write_text(json.dumps({**entry, "host": socket.gethostname(), "device": "cpu"}))


def test_probes_are_estimated_by_earlier_ones() -> None:
    request, times = Request(recipe_of("toy")), Times(OUT / "times", "cpu")
    job = Job(request, System("toy-trained"), True, (), (0, 1, 2))
    assert "unknown" in str(Costs(request, times, (), trials=True).of(job, job.replicates)[0])
    record_time("probe", "toy-trained", amount=1, seconds=30)
    record_time("probe", "toy-trained", amount=1, seconds=50)
    record_time("probe", "toy-noise", amount=1, seconds=7)
    assert Costs(request, times, (), trials=False).of(job, job.replicates) == (Estimate(120.0, "measured"),)


def test_recorded_times_are_printed_without_a_dry_run(capsys: pytest.CaptureFixture[str]) -> None:
    """Ground truth is shown how long it will take; scoring, of which nothing is known, is not tried."""
    record_time("generate", "gt", amount=1, seconds=3600)
    out = printed(capsys, [*REPRODUCE, "--seed", "0"])
    assert "(measured)" in out and "in all: about" in out
    assert "trial" not in out and "measured: by wall time, of what was done here before" in out


# --------------------------------------------------------------------------------------- wrong usage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--table", "12"], "there is no table 12"),
        (["--dataset", "vox"], "no recipe reproduces the tables on 'vox'"),
        (["--dataset", "toy", "--shard", "3/2"], "--shard 3/2: expected I/N"),
        (["--dataset", "toy", "--shard", "one"], "--shard one: expected I/N"),
        (["--dataset", "toy", "--input", "shif=1"], "--input shif: unknown; this recipe takes shift"),
        (["--recipe", "none.toml"], "none.toml: cannot be read"),
        (["--dataset", "lrs3", "--train"], "the models of lrs3 are trained on lrs2"),
    ],
)
def test_wrong_usage_is_one_line(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(capsys, ["paper", "reproduce", *arguments])


def test_several_ranks_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "one process per GPU" in refusal(capsys, REPRODUCE)
