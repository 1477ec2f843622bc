"""`syncdiff-bench doctor`: what works here, and how to mend the rest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import click

from syncdiff_bench.errors import UsageError

COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}

EPILOG = """\b
Examples:
  syncdiff-bench doctor
  syncdiff-bench doctor --data lrs2=/data/lrs2 --data lrs3=/data/lrs3

\b
Exit codes: 0 nothing fails (warnings are fine); 1 something does."""


@click.command(epilog=EPILOG)
@click.option("--data", "data", multiple=True, metavar="DATASET=DIR", help="A dataset to look at; repeatable.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def doctor(*, data: tuple[str, ...], as_json: bool) -> int:
    """Check python, torch, GPU, ffmpeg, plugins, weights, datasets, disk; each problem with what mends it."""
    from syncdiff_bench.diagnosis import diagnose

    roots = {}
    for text in data:
        name, found, folder = text.partition("=")
        if not (name and found and folder):
            raise UsageError(f"--data {text}: give DATASET=DIR, for example lrs2=/data/lrs2")
        roots[name] = Path(folder)
    checks = []
    for check in diagnose(roots):
        checks.append(check)
        if not as_json:
            click.echo(
                click.style(f"{check.level:5}", fg=COLOURS[check.level], bold=check.level == "fail")
                + f"{check.name}: {check.message}"
            )
            if check.mend:
                click.echo(f"     -> {check.mend}")
    if as_json:
        click.echo(json.dumps([asdict(check) for check in checks], indent=1, ensure_ascii=False))
    return int(any(check.level == "fail" for check in checks))
