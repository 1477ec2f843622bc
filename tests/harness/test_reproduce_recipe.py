"""Recipes: the shipped ones fit the tables and the training configs; files out of order are named with their key."""

from __future__ import annotations

from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest

from syncdiff_bench import registry
from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import option_names
from syncdiff_bench.registry import load_class
from syncdiff_bench.report.paper import package_tables, table
from syncdiff_bench.reproduction import planning
from syncdiff_bench.reproduction.models import Request
from syncdiff_bench.reproduction.recipe import Recipe, read_recipe, recipe_of
from syncdiff_bench.reproduction.rows import jobs_of, missing_models
from syncdiff_bench.runs.plan import load_metrics, make_runtime
from syncdiff_bench.texts import metric_specs

SHIPPED = ("pocket", "lrs2", "lrs3")
TABLES = tuple(table for table in package_tables("syncdiff_leaderboards") if table.of_paper)


@pytest.mark.parametrize("dataset", SHIPPED)
def test_every_row_of_the_paper_has_a_recipe(dataset: str) -> None:
    recipe = recipe_of(dataset)
    request = Request(recipe, TABLES, Path("out"), recipe.seeds)
    jobs = jobs_of(request)
    assert {job.system for job in jobs} == {row.system for table in TABLES for row in table.rows}
    assert all(job.system.method in recipe.methods for job in jobs)
    # Table 1 and its bound, nine variants, and two probes; on pocket SyncDiff is another in Tables 2 to 6, and so are
    # the clips, for which there is another bound.
    again, suffix = (2, "-ablation") if dataset == "pocket" else (0, "")
    assert sum(not job.probed for job in jobs) == 7 + 9 + again
    probes = sorted(job.name for job in jobs if job.probed)
    assert probes == sorted([f"syncdiff{suffix}-probe", f"syncdiff-rnd{suffix}-probe"])
    assert len({job.name for job in jobs}) == len(jobs)


@pytest.mark.parametrize("dataset", SHIPPED)
def test_every_training_of_a_recipe_can_be_planned(dataset: str) -> None:
    """Configs, variants, overrides and inputs exist under the names that the recipe gives them."""
    recipe = recipe_of(dataset)
    request = Request(recipe, TABLES, inputs=dict.fromkeys(recipe.inputs, "given"), shipped=False)
    for model in missing_models(one for job in jobs_of(request) for one in job.replicates):
        if model.recipe.config:
            plan = model.plan()
            assert model.name == plan.name + ("" if model.seed is None else f"-seed-{plan.settings.seed}")
            if model.variant:
                assert plan.options["model"]["variant"] == model.variant


@pytest.mark.parametrize("dataset", SHIPPED)
def test_metrics_and_options_exist(dataset: str) -> None:
    recipe = recipe_of(dataset)
    metrics = load_metrics(metric_specs(recipe.metrics), make_runtime("cpu"), load_class("dataset", dataset))
    paper = {(column.metric, column.column) for column in TABLES[0].columns}
    assert paper <= {(metric.name, column.name) for metric in metrics for column in metric.columns}
    for name, method in recipe.methods.items():
        known = option_names(registry.load_class("method", name).Options)
        given = [setting.partition("=")[0] for setting in method.settings]
        assert {*given, *([method.takes] if method.takes else [])} <= set(known)


@pytest.mark.parametrize("dataset", SHIPPED)
def test_difftalk_is_shown_no_true_mouth(dataset: str) -> None:
    """The released script keeps latents of the true frame that have seen beyond the mask."""
    recipe = recipe_of(dataset)
    assert "blend=off" in recipe.methods["difftalk"].settings


def test_lrs3_is_lrs2_with_other_data() -> None:
    lrs2, lrs3 = recipe_of("lrs2"), recipe_of("lrs3")
    assert (lrs3.dataset, lrs3.trains, lrs2.trains) == ("lrs3", False, True)
    assert (lrs3.methods, lrs3.metrics, lrs3.models) == (lrs2.methods, lrs2.metrics, lrs2.models)


@pytest.mark.parametrize("dataset", SHIPPED)
def test_a_copy_of_a_shipped_recipe_plans_the_same(
    dataset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its `checkpoints` and its `like` are found although neither lies beside the copy."""
    monkeypatch.chdir(tmp_path)
    shipped = files("syncdiff_leaderboards") / "reproduction" / f"{dataset}.toml"
    Path("mine").mkdir()
    Path("mine/recipe.toml").write_bytes(shipped.read_bytes())
    copy, original = read_recipe(Path("mine/recipe.toml")), recipe_of(dataset)
    assert replace(copy, checkpoints=original.checkpoints) == original
    assert set(original.checkpoints) <= set(copy.checkpoints)
    for trial in ("generating", "scoring"):
        monkeypatch.setattr(planning, f"_try_{trial}", lambda _job: (1.0, "trial"))
    plan = ["paper", "reproduce", "--table", "3", "--dry-run", "--limit", "1"]
    plan += [] if dataset == "pocket" else ["--data-root", "nowhere"]
    planned = []
    for recipe in (["--dataset", dataset], ["--recipe", "mine/recipe.toml"]):
        main([*plan, *recipe])
        planned.append(capsys.readouterr())
    assert planned[0] == planned[1]
    assert "pocket-ablation" in planned[0].out or dataset != "pocket"


def test_a_dataset_without_a_recipe() -> None:
    with pytest.raises(UsageError, match="no recipe reproduces the tables on 'vox'; there are recipes for lrs2, lrs3"):
        recipe_of("vox")


# ------------------------------------------------------------------------------- files out of order

GOOD = """
schema = 1
dataset = "toy"
split = "test"
seeds = [0, 1]
metrics = ["toy-error"]
[inputs]
x = "an x"
[models.a]
config = "toy/a"
[models.b]
config = "toy/b"
needs = { "options.start" = "a" }
[methods.m]
model = "b"
takes = "model"
[probe]
poses = "x"
"""


def parsed(folder: Path, text: str) -> Recipe:
    path = folder / "r.toml"
    path.write_text(text)
    return read_recipe(path)


def test_the_smallest_recipe(tmp_path: Path) -> None:
    recipe = parsed(tmp_path, GOOD)
    assert (recipe.encoding, recipe.trains, recipe.checkpoints) == ("lossless", True, ())
    assert recipe.models["b"].needs == {"options.start": "a"}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema = 1", "schema = 2", "schema: must be 1, is 2"),
        ("seeds = [0, 1]", "seeds = []", "seeds: must name at least one"),
        ("seeds = [0, 1]", "seeds = [true]", "seeds: must be a whole number"),
        ("seeds = [0, 1]", "seeds = [-1]", "seeds: must be different whole numbers from 0"),
        ("seeds = [0, 1]", "seeds = [1, 0, 1]", "seeds: must be different whole numbers from 0"),
        ('metrics = ["toy-error"]', "metrics = []", "metrics: must name at least one"),
        ('dataset = "toy"', 'datasets = "toy"', "datasets: unknown key"),
        ('x = "an x"', "x = 1", "inputs: x: must be a text"),
        ('config = "toy/a"', "", "models: a: config: give either config, or folder and made_by"),
        ('config = "toy/a"', 'config = "toy/a"\nfolder = "f"', "models: a: config: give either config"),
        ('config = "toy/a"', 'folder = "f"', "models: a: config: give either config"),
        ('config = "toy/a"', 'config = "toy/a"\nneeds = { y = "b" }', "models: a: needs: 'a' needs itself"),
        ('{ "options.start" = "a" }', '{ "options.start" = "c" }', "models: b: needs: there is no model 'c'"),
        ('model = "b"', 'model = "c"', "methods: m: model: there is no model 'c'"),
        ('takes = "model"', "", "methods: m: takes: stands beside model"),
        ('poses = "x"', 'poses = "y"', "probe: poses: there is no input 'y'"),
        ("schema = 1", 'schema = 1\nlike = "none.toml"', "like: none.toml: cannot be read"),
        ("schema = 1", 'schema = 1\nlike = "../r.toml"', "like: must name another file beside this one"),
    ],
)
def test_a_file_out_of_order_is_named_with_its_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError, match=rf"r\.toml: {message}") as caught:
        parsed(tmp_path, GOOD.replace(old, new, 1))
    assert "\n" not in str(caught.value)


def test_a_variant_may_be_a_model_of_its_own_that_learns_from_the_model_of_the_same_seed() -> None:
    request = Request(recipe_of("pocket"), (table("beyond"),), shipped=False)
    made = {job.system.options: job.replicates[1].model for job in jobs_of(request) if job.trainings}
    few, loss = made[("steps", 2), ("variant", "few-step")], made[(("variant", "sync-loss"),)]
    assert few is not None
    assert loss is not None
    assert [one.name for one in few.missing()] == [
        "pocket-autoencoder",
        "pocket-ablation-seed-1",
        "pocket-few-step-seed-1",
    ]
    assert few.command() == (
        "syncdiff-bench train syncdiff-distillation/pocket-few-step --out training/pocket-few-step-seed-1"
        " --set options.autoencoder=training/pocket-autoencoder/model"
        " --set options.teacher=training/pocket-ablation-seed-1/model --set training.seed=1"
    )
    assert {name: one.name for name, one in loss.needs.items()} == {
        "options.autoencoder": "pocket-autoencoder",
        "options.sync_expert": "pocket-expert",
    }
    assert {one.name for one in few.needs.values() if one.seed is None} == {"pocket-autoencoder"}


def test_rows_of_a_table_on_few_clips_have_few_and_rows_that_stand_elsewhere_have_all() -> None:
    """Whichever table is asked for, and however few clips the user asks for."""
    recipe = recipe_of("pocket")
    limits = {job.name: job.limit for job in jobs_of(Request(recipe, (table("exposure"),)))}
    assert limits["syncdiff-true-ablation"] == limits["syncdiff-given-rnd-ablation"] == 12
    assert limits["syncdiff-ablation"] is limits["syncdiff-rnd-ablation"] is limits["gt-ablation"] is None
    fewer = {job.name: job.limit for job in jobs_of(Request(recipe, (table("exposure"),), limit=5))}
    assert set(fewer.values()) == {5}
