"""`syncdiff-bench check-plugin`: the conformance suite on an installed plugin."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.testing.checks import Plugin

KINDS = ("method", "metric", "dataset")
DRAWN = "pocket"  # whose models are held to the contract; the faces of the checks are drawn as well

EPILOG = """\b
Examples:
  syncdiff-bench check-plugin my-method
  syncdiff-bench check-plugin "psnr[protocol=talklip]"
  syncdiff-bench check-plugin my-dataset --data-root /data/mine

\b
Exit codes: 0 every check passed; 1 one failed; 2 no such plugin."""


@click.command("check-plugin", epilog=EPILOG)
@click.argument("name")
@click.option("--kind", type=click.Choice(KINDS), help="Where a name is registered in several groups.")
@click.option("--data-root", type=click.Path(path_type=Path), metavar="DIR", help="Folder of a dataset.")
@click.option(
    "--set", "settings", multiple=True, metavar="KEY=VALUE", help="Option of a method or dataset; repeatable."
)
def check_plugin(*, name: str, kind: str | None, data_root: Path | None, settings: tuple[str, ...]) -> int:
    """Hold an installed plugin to the contract: shapes, determinism, independence, errors, laziness.

    The same checks run in a plugin's own tests: see `syncdiff_bench.testing`.
    """
    from syncdiff_bench.testing.checks import checks_of

    failed = 0
    checks = checks_of(_load(name, kind, data_root, settings))
    width = max(len(check.name) for check in checks)
    for check in checks:
        try:
            check()
        except Exception as error:
            failed += 1
            reason = " ".join(str(error).split()) or type(error).__name__
            click.echo(f"{click.style('FAIL', fg='red', bold=True)} {check.name:<{width}}  {reason}")
        else:
            click.echo(f"{click.style('ok  ', fg='green')} {check.name:<{width}}  {check.about}")
    click.echo(f"{len(checks) - failed} of {len(checks)} checks passed")
    return int(failed > 0)


def _load(name: str, kind: str | None, data_root: Path | None, settings: tuple[str, ...]) -> Plugin:
    from syncdiff_bench import registry
    from syncdiff_bench.contracts import Runtime
    from syncdiff_bench.options import parse_spec
    from syncdiff_bench.runs.plan import load_methods
    from syncdiff_bench.weights.store import WeightsStore

    plain = parse_spec(name).name
    groups = [one for one in KINDS if plain in registry.names(one)] if kind is None else [kind]  # type: ignore[arg-type]
    if not groups:
        known = ", ".join(one for group in KINDS for one in registry.names(group))  # type: ignore[arg-type]
        raise UsageError(f"no plugin {plain!r} is installed; there are {known}")
    if len(groups) > 1:
        raise UsageError(f"{plain!r} is a {' and a '.join(groups)}; choose one with --kind")
    runtime = Runtime("cpu", WeightsStore())
    options = parse_spec(f"{plain}[{','.join(settings)}]" if settings else plain).options
    if groups[0] == "method":
        return load_methods((plain,), settings, replace(runtime, dataset=DRAWN))[0]
    if groups[0] == "metric":
        return registry.load_metric(name, runtime)
    return registry.load_dataset(plain, data_root, options)
