"""The group `plugin`: a plugin package that works at once, and the conformance suite on an installed plugin."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.cli.commands import DIR, FLAG, PAIR, command, option
from syncdiff_bench.cli.options import DATA_ROOT
from syncdiff_bench.errors import BenchError, UsageError, one_line

if TYPE_CHECKING:
    from syncdiff_bench.testing.plugin_checks import Plugin

KINDS = ("method", "metric", "dataset")
DRAWN = "pocket"  # whose models are held to the contract; the faces of the checks are drawn as well


@command(
    examples="""
  syncdiff-bench plugin new method my-method
  pip install -e my-method
  syncdiff-bench run --method my-method --dataset pocket""",
    former={"--in": "--out"},
)
@click.argument("kind", type=click.Choice(KINDS))
@click.argument("name")
@option("--out", DIR, "Where to write the package.", default=Path())
def new(*, kind: str, name: str, out: Path) -> None:
    """Write a plugin package of your own, ready to install.

    It has an entry point, one module, a test and a README; runs as it is, and passes the conformance suite; replace
    what it does with your own.
    """
    from syncdiff_bench.scaffold.writing import FIRST_COMMAND, write_package

    for path in write_package(kind, name, out):
        click.echo(path)
    click.echo(f"next: pip install -e {out / name} && {FIRST_COMMAND[kind].format(name=name)}", err=True)


@command(
    examples="""
  syncdiff-bench plugin check my-method
  syncdiff-bench plugin check "psnr[protocol=talklip]"
  syncdiff-bench plugin check my-dataset --data-root /data/mine""",
    closing="Exit codes: 0 none failed (those that were skipped are counted, with the reason); 1 one failed, or with"
    " --strict was skipped; 2 no such plugin.",
)
@click.argument("name")
@option("--kind", click.Choice(KINDS), "Where a name is registered in several groups.")
@DATA_ROOT
@option("--set", PAIR, "Option of the plugin.", name="settings", many=True)
@option("--strict", FLAG, "Exit with 1 where a check was skipped, too.")
def check(*, name: str, kind: str | None, data_root: Path | None, settings: tuple[str, ...], strict: bool) -> int:
    """Hold an installed plugin to the contract.

    Checked are shapes, determinism, independence, errors, laziness. A check is skipped, with the reason, where
    weights or a package that the plugin needs are missing here.

    The same checks run in a plugin's own tests: see `syncdiff_bench.testing`.
    """
    from syncdiff_bench.testing.checks import checks_of
    from syncdiff_bench.testing.plugin_checks import Skipped

    checks = checks_of(_load(name, kind, data_root, settings))
    width = max(len(one.name) for one in checks)
    passed, failed, skipped = 0, 0, Counter[str]()
    for one in checks:
        try:
            one()
        except Skipped as reason:
            skipped[str(reason)] += 1
            click.echo(f"{click.style('skip', fg='yellow')} {one.name:<{width}}  {reason}")
        except (Exception, SystemExit) as error:  # a plugin that exits ends no suite, least of all with 0
            failed += 1
            said = " ".join(str(error).split()) if isinstance(error, AssertionError | BenchError) else one_line(error)
            click.echo(f"{click.style('FAIL', fg='red', bold=True)} {one.name:<{width}}  {said}")
        else:
            passed += 1
            click.echo(f"{click.style('ok  ', fg='green')} {one.name:<{width}}  {one.about}")
    counts = ", ".join([f"{passed} passed", *([f"{failed} failed"] if failed else [])])
    reasons = [f"{n} skipped: {reason}" for reason, n in skipped.items()]
    click.echo((", " if len(reasons) == 1 else "\n").join([counts, *reasons]))
    return int(failed > 0 or (strict and bool(skipped)))


def _load(name: str, kind: str | None, data_root: Path | None, settings: tuple[str, ...]) -> Plugin:
    from syncdiff_bench import plugins, registry
    from syncdiff_bench.contracts import Runtime
    from syncdiff_bench.reproduction.models import with_model
    from syncdiff_bench.runs.plan import load_methods
    from syncdiff_bench.texts import option_values, parse_settings, parse_spec
    from syncdiff_bench.weights.store import WeightsStore

    spec = parse_spec(name)
    plain, given = spec.name, {**spec.options, **parse_settings(settings)}
    groups = [one for one in KINDS if plain in registry.names(one)] if kind is None else [kind]  # type: ignore[arg-type]
    if not groups:
        known = ", ".join(one for group in KINDS for one in registry.names(group))  # type: ignore[arg-type]
        raise UsageError(f"no plugin {plain!r} is installed; there are {known}")
    if len(groups) > 1:
        raise UsageError(f"{plain!r} is a {' and a '.join(groups)}; choose one with --kind")
    runtime = Runtime("cpu", WeightsStore())
    if groups[0] == "dataset":
        values = option_values(plugins.dataset_options(plain, given), given, plain)
        return plugins.load_dataset(plain, data_root, values)
    values = option_values(registry.load_class(groups[0], plain).Options, given, plain)  # type: ignore[arg-type]
    if groups[0] == "metric":
        return plugins.load_metric(plain, values, runtime)
    return load_methods((plain,), {plain: values}, replace(runtime, dataset=DRAWN), with_model)[0]
