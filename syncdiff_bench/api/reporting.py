"""`report` and `compare`: what the commands of these names print, as objects."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from syncdiff_bench import pipeline
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.objects import ComparisonReport, Report, Runs
from syncdiff_bench.report.selection import Choice, labelled
from syncdiff_bench.runs.directory import Run, run_directories
from syncdiff_bench.runs.draws import Draw
from syncdiff_bench.significance.comparison import compare as compare_scored
from syncdiff_bench.significance.scored import from_draws, require_pairs
from syncdiff_bench.statistics.resampling import RESAMPLES


def report(
    *runs: Run | Runs | str | Path,
    show: str | Sequence[str] = (),
    rows: str | Sequence[str] = (),
    labels: Mapping[str, str] | None = None,
    intervals: bool = True,
) -> Report:
    """The leaderboard of runs, run directories, or folders of them, as `syncdiff-bench report`.

    show: columns in this order: "psnr", "lse_c", "speed", ...; by default all but the speed.
    rows: runs in this order, by label, method or folder; by default all, bounds first, then by rank.
    labels: method or folder -> what its row is called.
    intervals: the 95 % interval behind a mean.

    Raises UsageError for a folder that is missing, holds no run, or is damaged, and for a column or a row that is not
    there.

    >>> from syncdiff_bench import run
    >>> _ = run(["gt", "static"], limit=2, metrics="psnr", out=folder / "both")
    >>> frame = report(folder / "both").to_pandas()
    >>> frame[["method", "column", "n"]].values.tolist()
    [['gt', 'psnr', 2], ['static', 'psnr', 2]]
    >>> table = report(folder / "both", show="psnr", rows="static", labels={"static": "Still"}, intervals=False)
    >>> table.to_markdown().splitlines()[4]
    '| Still    |             22.43ᵃ |'
    """
    found: list[Run] = []
    for one in runs:
        if isinstance(one, Run | Runs):
            found += [one] if isinstance(one, Run) else one
        else:
            found += [pipeline.load_whole(path, lines=False) for path in run_directories([Path(one)])]
    if not found:
        raise UsageError("report: of which runs? give runs, run directories, or folders of them")
    if labels:
        found = labelled(found, [f"{run}={name}" for run, name in labels.items()])
    return Report(found, Choice(_texts(show), _texts(rows), intervals, second_best=True))


def compare(
    a: Run | str | Path, b: Run | str | Path, *, resamples: int = RESAMPLES, any_boxes: bool = False
) -> ComparisonReport:
    """Whether B differs from A: paired tests per metric, as `syncdiff-bench compare`.

    a, b: runs, run directories, or folders of trainings and seeds.
    resamples: of the bootstrap.
    any_boxes: also where they looked at other face boxes, which is then a note.

    Raises UsageError for runs that cannot be compared, or have not finished.

    >>> from syncdiff_bench import run
    >>> gt, static = run(["gt", "static"], limit=2, metrics="ssim", out=folder / "other")
    >>> compare(static, gt).to_pandas()[["column", "b", "n"]].values.tolist()
    [['ssim', 1.0, 2]]
    """
    sides = [_draws(one) for one in (a, b)]
    require_pairs(*sides)
    scored = [from_draws(side) for side in sides]
    return ComparisonReport(compare_scored(*scored, resamples=resamples, any_boxes=any_boxes))


def _texts(given: str | Sequence[str]) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) else tuple(given)


def _draws(one: Run | str | Path) -> dict[Draw, Run]:
    if isinstance(one, Run):
        return {Draw(None, one.identity.seed): one}
    return pipeline.load_draws(Path(one), lines="passing")
