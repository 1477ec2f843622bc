"""`syncdiff-bench verify`: a dataset on disk against its layout, published counts and promises."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset, Finding

STYLES = {"ok": "green", "note": "yellow", "error": "bold red"}


@click.command()
@click.option("--dataset", default="pocket", show_default=True, help="Name, as in `list datasets`.")
@click.option("--data-root", type=click.Path(path_type=Path), help="Folder of the dataset or of its parent.")
@click.option("--split", help="Split to check; the dataset's default split if left out.")
@click.option("--limit", type=click.IntRange(min=1), help="Check only the first N clips.")
def verify(dataset: str, data_root: Path | None, split: str | None, limit: int | None) -> None:
    """Check every clip of a split: that it decodes and has the rate, size, sound and words it should have.

    Exit code 0: no errors (notes are fine); 1: errors were found; 2: the dataset cannot be used at all.
    """
    from syncdiff_bench.plugins import load_dataset

    found = load_dataset(dataset, data_root)
    chosen = split or found.default_split
    ids = found.clip_ids(chosen)[:limit]
    errors = _report(findings_of(found, chosen, ids), f"{dataset}, split {chosen}", len(ids))
    sys.exit(1 if errors else 0)


def findings_of(dataset: Dataset, split: str, ids: tuple[str, ...]) -> Iterator[Finding]:
    """Findings about the split and about the clips `ids`, its first ones; at most one clip more is opened."""
    later = set(dataset.clip_ids(split)[len(ids) :])
    for finding in dataset.verify(split):
        if finding.where in later:
            return
        yield finding


def _report(findings: Iterator[Finding], title: str, n_clips: int) -> int:
    """Print notes and errors as they are found, then the counts; return the number of errors."""
    from rich.console import Console

    console = Console(soft_wrap=True, highlight=False)
    levels: Counter[str] = Counter()
    faulty: set[str] = set()
    for finding in findings:
        levels[finding.level] += 1
        if finding.level == "error":
            faulty.add(finding.where)
        if finding.level != "ok":
            console.print(f"{finding.level:5}", style=STYLES[finding.level], end=" ")
            console.print(f"{finding.where}: {finding.message}", markup=False)
    counts = f"{_counted(levels['error'], 'error')}, {_counted(levels['note'], 'note')}"
    verdict = "fit for use" if not faulty else f"{_counted(len(faulty), 'place')} to mend"
    style = STYLES["error" if faulty else "ok"]
    console.print(f"{title}: {_counted(n_clips, 'clip')} checked, {counts}: {verdict}", style=style)
    return levels["error"]


def _counted(n: int, noun: str) -> str:
    return f"{n:,} {noun}" + ("" if n == 1 else "s")
