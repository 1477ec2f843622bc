"""Which clips are worth looking at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncdiff_bench.report.comparison import largest_changes
from syncdiff_bench.report.leaderboard import BoardColumn
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.significance.comparison import Comparison


def notable_clips(runs: Sequence[Run], columns: Sequence[BoardColumn], n: int) -> tuple[str, ...]:
    """At most `n` clips: the worst of each run in each column, then the second worst, and so on; then in order."""
    rankings = [worst_first(run, column) for run in runs for column in columns]
    return _in_rounds(rankings, runs[0].identity.clips, n)


def changed_clips(comparison: Comparison, n: int) -> tuple[str, ...]:
    """At most `n` clips: that which changed most in each column, then the second, and so on; then in order."""
    clips = comparison.a.identity.clips
    rankings = [[change.clip for change in largest_changes(column, len(clips))] for column in comparison.columns]
    return _in_rounds(rankings, clips, n)


def _in_rounds(rankings: Sequence[Sequence[str]], order: Sequence[str], n: int) -> tuple[str, ...]:
    rounds: Iterator[str] = (ranking[i] for i in range(len(order)) for ranking in rankings if i < len(ranking))
    found = dict.fromkeys(rounds)
    found.update(dict.fromkeys(order))
    return tuple(found)[:n]


def worst_first(run: Run, column: BoardColumn) -> list[str]:
    """Clips with a value in the column, the worst one first."""
    values = {
        score.clip: value
        for score in run.scores
        if (score.metric, score.protocol) == (column.metric, column.protocol)
        and run.judges.get((score.metric, score.protocol), ()) == column.judge
        and score.values is not None
        and (value := score.values.get(column.column)) is not None
    }
    return sorted(values, key=lambda clip: (values[clip] if column.direction == "up" else -values[clip], clip))
