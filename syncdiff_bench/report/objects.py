"""Tables as Python has them: a line at a prompt, HTML in a notebook, and as pandas, Markdown and LaTeX on request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, overload

from syncdiff_bench.errors import UsageError, shown
from syncdiff_bench.options import nearest
from syncdiff_bench.presenting import Presented
from syncdiff_bench.report.comparison import comparison_table
from syncdiff_bench.report.leaderboard import leaderboards
from syncdiff_bench.report.selection import Choice
from syncdiff_bench.report.writers import render
from syncdiff_bench.report.writers.html import fragment
from syncdiff_bench.report.writers.records import flat_records
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.summary import in_words
from syncdiff_bench.significance.comparison import ColumnComparison, Comparison

if TYPE_CHECKING:
    from pandas import DataFrame


SHOWN = Choice(second_best=True)


class Report(Presented):
    """Leaderboards, one per data set and set of clips. `print` shows them as Markdown.

    runs: whose they are.
    choice: of columns and rows.
    tables: what every writer of this project writes.
    """

    def __init__(self, runs: Sequence[Run], choice: Choice = SHOWN) -> None:
        self.runs = tuple(runs)
        self.choice = choice
        self.tables = tuple(leaderboards(self.runs, choice))

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        names = ", ".join(dict.fromkeys(run.label or run.identity.method for run in self.runs))
        return f"report of {len(self.runs)} runs", {"methods": names, "on": "; ".join(one.title for one in self.tables)}

    def _repr_html_(self) -> str:
        return "\n".join(map(fragment, self.tables))

    def __str__(self) -> str:
        return self.to_markdown()

    def to_markdown(self) -> str:
        """As `syncdiff-bench report --format markdown`: best in bold, notes below."""
        return render(self.tables, "markdown")

    def to_latex(self) -> str:
        """As `--format latex` of the command line: for booktabs, without ranks unless they are asked for."""
        return render(leaderboards(self.runs, replace(self.choice, ranks=False)), "latex")

    def to_html(self) -> str:
        """A document of its own."""
        return render(self.tables, "html")

    def to_pandas(self) -> DataFrame:
        """One row per run and column in full precision, as `--format csv`: `mean`, `ci95_low`, `ci95_high`, `n`, ..."""
        import pandas as pd

        fields = self.tables[0].fields if self.tables else ()
        return pd.DataFrame(flat_records(self.tables), columns=list(fields))


class ComparisonReport(Presented):
    """Whether B differs from A, column by column. `print` shows it as Markdown.

    comparison: the numbers, with the values of every clip.
    table: what every writer of this project writes.
    """

    def __init__(self, comparison: Comparison) -> None:
        self.comparison = comparison
        self.table = comparison_table(comparison)

    @property
    def columns(self) -> tuple[ColumnComparison, ...]:
        return self.comparison.columns

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        verdicts = {f"{one.column.name}[{one.protocol}]": one.verdict or "no value" for one in self.columns}
        return f"comparison of {self.comparison.b.source} with {self.comparison.a.source}", verdicts

    def _repr_html_(self) -> str:
        return fragment(replace(self.table, title=self._presentation()[0]))

    def __str__(self) -> str:
        return self.to_markdown()

    def to_markdown(self) -> str:
        """As `syncdiff-bench compare --format markdown`."""
        return render([self.table], "markdown")

    def to_pandas(self) -> DataFrame:
        """One row per column: `a`, `b`, `delta` (b - a), its 95 % interval, `p`, `p_holm`, `effect`, `n`, `verdict`."""
        import pandas as pd

        numbers = ("a", "b", "delta", "p", "p_holm", "effect", "n", "verdict")
        return pd.DataFrame(
            {
                **{"metric": one.metric, "protocol": one.protocol, "column": one.column.name},
                **{name: getattr(one, name) for name in numbers},
                **dict(zip(("ci_low", "ci_high"), one.ci or (None, None), strict=True)),
            }
            for one in self.columns
        )


class Runs(Presented, Sequence[Run]):
    """Runs of several methods: by number, or by the method's name."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self._runs = tuple(runs)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(run.identity.method for run in self._runs)

    @overload
    def __getitem__(self, key: int | str) -> Run: ...
    @overload
    def __getitem__(self, key: slice) -> Runs: ...
    def __getitem__(self, key: int | str | slice) -> Run | Runs:
        if isinstance(key, slice):
            return Runs(self._runs[key])
        if isinstance(key, str):
            if key not in self.names:
                raise UsageError(f"no run of {shown(key)} is here{nearest(key, self.names, 'runs')}")
            return self._runs[self.names.index(key)]
        return self._runs[key]

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(self._runs)

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        return f"{len(self)} runs", {run.identity.method: ", ".join(_columns(run)) for run in self}

    def _repr_html_(self) -> str:
        return Report(self)._repr_html_()

    def to_pandas(self) -> DataFrame:
        """`Run.to_pandas` of each, one below the other; the index is (method, clip)."""
        import pandas as pd

        return pd.concat({run.identity.method: run.to_pandas() for run in self}, names=["method"])


def _columns(run: Run) -> Iterator[str]:
    return (f"{name} {text}" for name, text in in_words(run.summary).items())
