"""Which clips are worth looking at."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.leaderboard import BoardColumn


def notable_clips(runs: Sequence[Run], columns: Sequence[BoardColumn], n: int) -> tuple[str, ...]:
    """At most `n` clips: the worst of each run in each column, then the second worst, and so on; then in order."""
    order = runs[0].identity.clips
    rankings = [worst for run in runs for column in columns if (worst := worst_first(run, column))]
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
        and score.values is not None
        and (value := score.values.get(column.column)) is not None
    }
    return sorted(values, key=lambda clip: (values[clip] if column.direction == "up" else -values[clip], clip))
