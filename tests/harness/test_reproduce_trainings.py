"""`reproduce` with several trainings per row: each is trained, run and committed on its own.

`small` shifts by 3 (the model it starts from) + 4, `wide` by 3 + 9; both and ten times the training seed.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
from console import printed

from syncdiff_bench import registry
from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.estimates.times import Times
from syncdiff_bench.progress import Progress
from syncdiff_bench.report import paper
from syncdiff_bench.reproduction.leases import Leases
from syncdiff_bench.reproduction.make import Step, make, steps_of
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.recipe import recipe_of
from syncdiff_bench.reproduction.rows import jobs_of
from syncdiff_bench.runs.draws import Draw

REPRODUCE = ["paper", "reproduce", "--table", "9", "--dataset", "toy", "--device", "cpu"]
OUT = Path("runs/reproduce-toy")
SMALL = OUT / "toy-trained-ablation"
FILES = ("run.json", "generation.jsonl", "scores.jsonl")
ABLATION = """
[ablation]
tables = [9]
models = { toy-trained = "small" }
trainings = [0, 1, 2]
seeds = [0]
note = "Table 9 compares small trainings."
"""


@pytest.fixture(autouse=True)
def axis(toy_boards: Path) -> Path:
    """Table 9 has the rows small and wide; its recipe trains each with three seeds."""
    recipe = toy_boards / "toy_boards" / "reproduction" / "toy.toml"
    recipe.write_text(recipe.read_text() + ABLATION)
    table = toy_boards / "toy_boards" / "paper" / "table9.toml"
    rows = table.read_text().split("[[rows]]")
    table.write_text("[[rows]]".join(rows[:3]))
    return recipe


def work_log() -> list[str]:
    """What was trained and generated, in order: "trained small-seed-1", "itself 0 s0/0 s0/1"."""
    log = Path(os.environ["TOY_LOG"])
    return log.read_text().splitlines() if log.is_file() else []


def row(name: str, out: Path = OUT) -> dict[str, object]:
    frame = pd.read_csv(out / "tables" / "table9.csv").set_index("row")
    return dict(frame.loc[name])


def train(*seeds: int) -> None:
    """What trainings of small and wide with these seeds leave behind."""
    for name, shift in (("small", 7), ("small-wide", 12)):
        for seed in seeds:
            model = Path("training") / f"{name}-seed-{seed}" / "model"
            model.mkdir(parents=True)
            (model / "shift.json").write_text(f"{shift + 10 * seed}")


def keep(out: Path, *left_out: str) -> Path:
    """A copy of a folder of runs without videos, and nothing else: no model, no cache, no log."""
    kept = Path("kept")
    for path in out.glob("*/**/run.json"):
        if not any(word in path.as_posix() for word in left_out):
            (kept / path.parent.relative_to(out)).mkdir(parents=True)
            for name in FILES:
                shutil.copy(path.with_name(name), kept / path.parent.relative_to(out) / name)
    shutil.rmtree("training")
    shutil.rmtree(out)
    Path(os.environ["TOY_LOG"]).unlink()
    return kept


# --------------------------------------------------------------------------------------------- to do


def test_a_dry_run_names_the_training_seeds_of_every_job(capsys: pytest.CaptureFixture[str]) -> None:
    out = " ".join(printed(capsys, [*REPRODUCE, "--dry-run", "--train"]).split())
    assert out.count("trainings 0, 1, 2") == 2
    assert "0/30" not in out and out.count("0/15") == 4  # five clips, three trainings: videos and scores
    for seed in range(3):
        command = "syncdiff-bench train toy-shift/small --variant wide"
        changes = f"--set options.start=training/base/model --set training.seed={seed}"
        assert f": {command} --out training/small-wide-seed-{seed} {changes}" in out
    assert out.count(": syncdiff-bench train toy-shift/base") == 1
    assert not Path("training").exists()


def test_the_estimate_counts_every_training(capsys: pytest.CaptureFixture[str]) -> None:
    """A step of a training takes an hour by what is recorded, and a training has two: six trainings, and base."""
    (OUT / "times").mkdir(parents=True)
    for family in ("base", "small"):
        with Times(OUT / "times", "cpu").timed(family, "train", f"toy-shift/{family}", 1):
            pass
        file = OUT / "times" / f"{family}.train.json"
        file.write_text(file.read_text().replace('"seconds": 0.0', '"seconds": 3600'))
    out = " ".join(printed(capsys, [*REPRODUCE, "--dry-run", "--train"]).split())
    assert "in all: about 14 h" in out


def test_each_training_is_a_unit_and_only_its_own_run_waits_for_it(tmp_path: Path) -> None:
    """First one training of every row, each followed by its run, then the next."""
    request = Request(recipe_of("toy"), (paper.table(9),))
    replicates = [one for job in jobs_of(request) for one in job.replicates]
    steps = steps_of(replicates, Leases(tmp_path), Times(tmp_path, "cpu"), Progress())
    needs = {step.key: list(step.needs) for step in steps}
    runs = [f"toy-trained{variant}-ablation.training-{seed}.seed-0" for seed in range(3) for variant in ("", "-wide")]
    trainings = [f"train-small{variant}-seed-{seed}" for seed in range(3) for variant in ("", "-wide")]
    assert [key for key in needs if key in runs] == runs
    assert [key for key in needs if key in trainings] == trainings
    assert all(
        list(needs).index(run) == list(needs).index(train) + 1 for run, train in zip(runs, trainings, strict=True)
    )
    assert [needs[run] for run in runs] == [["train-base", train] for train in trainings]
    assert all(needs[train] == ["train-base"] for train in trainings)
    assert list(needs)[:2] == ["gt.seed-0", "train-base"]


def test_what_needs_a_step_follows_it_at_once(tmp_path: Path) -> None:
    done: list[str] = []

    def step(key: str, *needs: str) -> Step:
        return Step(key, needs, lambda: key in done, lambda _lease: done.append(key))

    steps = [step("train-0"), step("run-0", "train-0"), step("train-1"), step("run-1", "train-1")]
    assert make(steps, Leases(tmp_path)) == ({}, {})
    assert done == ["train-0", "run-0", "train-1", "run-1"]


def test_a_run_comes_right_after_its_training() -> None:
    assert main([*REPRODUCE, "--train"]) == 0
    words = [line.split()[:2] for line in work_log()]
    order = [" ".join(word) for n, word in enumerate(words) if word != words[n - 1]]
    rounds = [
        [f"trained small-seed-{seed}", "itself 0", f"trained small-wide-seed-{seed}", "wide 0"] for seed in range(3)
    ]
    assert order == ["trained base", *(one for some in rounds for one in some)]
    assert sorted(path.name for path in SMALL.iterdir()) == [f"training-{seed}" for seed in range(3)]


# ------------------------------------------------------------------------------------- what a table says


def test_a_row_is_the_mean_over_its_trainings_and_the_note_says_which() -> None:
    train(0, 1, 2)
    assert main(REPRODUCE) == 0
    assert (row("small")["ours"], row("small")["n"]) == (7 + 10, 15)  # 7, 17 and 27
    assert (row("wide")["ours"], row("wide")["n"]) == (12 + 10, 15)
    page = (OUT / "tables" / "table9.md").read_text()
    assert "A row is trained with seeds 0, 1, 2, and each training is sampled with seed 0:" in page
    assert "the intervals hold the luck of training as well as the choice of speakers" in page
    assert "one training per row" not in page and "has only" not in page


def test_a_training_that_others_have_is_not_waited_for(capsys: pytest.CaptureFixture[str]) -> None:
    """A row whose trainings are not all there is shown with those that are."""
    train(0, 1, 2)
    with Leases(OUT / "leases").taken("toy-trained-ablation.training-1.seed-0"):
        assert main(REPRODUCE) == 0
    printed = capsys.readouterr()
    assert "toy-trained-ablation.training-1.seed-0: in work elsewhere" in printed.err
    assert "small has only trainings 0, 2 of 0, 1, 2." in printed.out
    assert (row("small")["ours"], row("small")["n"]) == (7 + 10, 10)  # 7 and 27
    assert row("wide")["n"] == 15


def test_without_train_a_row_has_the_trainings_that_are_there(capsys: pytest.CaptureFixture[str]) -> None:
    train(1)
    shutil.rmtree("training/small-wide-seed-1")
    out = " ".join(printed(capsys, REPRODUCE).split())
    assert "1 of 3 (1)" in out
    assert "blank: toy-trained-ablation, trainings 0, 2: there is no small-seed-0, small-seed-2 yet" in out
    assert "small has only training 1 of 0, 1, 2: there is no small-seed-0, small-seed-2 yet" in out
    assert "what makes it" not in out.partition("small has only")[2]  # the plan above the table says it
    assert "wide is blank: there is no small-wide-seed-0, small-wide-seed-1, small-wide-seed-2 yet" in out
    assert "There is one training per row" in out
    assert (row("small")["ours"], row("small")["n"]) == (17, 5)


def test_a_shipped_training_is_found_by_its_name(toy_boards: Path) -> None:
    shipped = toy_boards / "toy_boards" / "checkpoints" / "small-wide-seed-2"
    shipped.mkdir(parents=True)
    (shipped / "shift.json").write_text("40")
    assert main(REPRODUCE) == 0
    assert (row("wide")["ours"], row("wide")["n"]) == (40, 5)
    assert pd.isna(row("small")["ours"])


def test_seeds_of_the_command_line_are_those_of_the_ablation_too() -> None:
    train(1)
    assert main([*REPRODUCE, "--seed", "3", "--seed", "5"]) == 0
    assert (row("small")["ours"], row("small")["n"]) == (17 + 4, 10)
    assert sorted(path.name for path in (SMALL / "training-1").iterdir()) == ["seed-3", "seed-5"]
    note = "small has only training 1 seed 3, training 1 seed 5 of training 0 seed 3, training 0 seed 5, training 1"
    assert note in (OUT / "tables" / "table9.md").read_text()


# ---------------------------------------------------------------------------------------- other clips


def test_an_ablation_on_other_clips_has_a_bound_of_its_own(
    axis: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its split is made where it is not there yet."""
    toy = registry.load_class("dataset", "toy")
    made: list[str] = []
    monkeypatch.setattr(toy, "splits", lambda _self: ("test", *made))
    monkeypatch.setattr(toy, "prepare", lambda _self, split, _workers: (made.append(split), iter(()))[1])

    def clip_ids(_self: object, split: str) -> tuple[str, ...]:
        if split not in ("test", *made):
            raise UsageError(f"{split} is not drawn")
        return ("s0/1", "s1/2") if split == "few" else ("s0/0",)

    monkeypatch.setattr(toy, "clip_ids", clip_ids)
    axis.write_text(axis.read_text().replace("seeds = [0]", 'seeds = [0]\nsplit = "few"'))
    train(0, 1, 2)
    assert "split few is made first" in printed(capsys, [*REPRODUCE, "--dry-run"])
    assert main(REPRODUCE) == 0
    assert made == ["few"]
    assert (row("small")["ours"], row("small")["n"]) == (17, 6)
    assert sorted(path.name for path in OUT.iterdir() if path.name.startswith("gt")) == ["gt-ablation"]
    assert "bound" not in (OUT / "tables" / "table9.md").read_text()


# ------------------------------------------------------------------------------------------- what is kept


def test_run_json_and_journals_are_a_finished_run(capsys: pytest.CaptureFixture[str]) -> None:
    """On another machine: no videos, no models; nothing is made, and the tables are the same."""
    train(0, 1, 2)
    assert main(REPRODUCE) == 0
    tables = {path.name: path.read_text() for path in (OUT / "tables").iterdir()}
    kept = keep(OUT)
    again = [*REPRODUCE, "--train", "--out", str(kept)]
    out = printed(capsys, [*again, "--dry-run"])
    assert "train:" not in out and "blank" not in out and out.count("15/15") == 4
    assert main(again) == 0
    assert work_log() == []
    assert not Path("training").exists()
    found = {path.name: path.read_text().replace("kept/", f"{OUT}/") for path in (kept / "tables").iterdir()}
    assert found == tables


def test_only_what_is_missing_of_kept_runs_is_made() -> None:
    train(0, 1, 2)
    assert main(REPRODUCE) == 0
    kept = keep(OUT, "toy-trained-ablation/training-1")
    assert main([*REPRODUCE, "--train", "--out", str(kept)]) == 0
    assert [line for line in work_log() if line.startswith("trained")] == ["trained base", "trained small-seed-1"]
    assert {line.split()[0] for line in work_log()} == {"trained", "itself"}
    assert (row("small", kept)["ours"], row("small", kept)["n"]) == (17, 15)


def test_a_draw_is_named_by_its_folder() -> None:
    assert (Draw(1, 0).folder.as_posix(), str(Draw(1, 0))) == ("training-1/seed-0", "training 1 seed 0")
    assert (Draw(None, 2).folder.as_posix(), str(Draw(None, 2))) == ("seed-2", "seed 2")
