"""All six tables through pdflatex, empty and filled, where there is one."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from syncdiff_bench.report.joined import join
from syncdiff_bench.report.paper import PaperTable, package_tables
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import Measured, RunResult
from syncdiff_bench.report.writers import render

TABLES = package_tables("syncdiff_leaderboards")
SYSTEMS = [row.system for table in TABLES for row in table.rows]
NASTY = "<b>&_%$#{}~^\\|*[x] --shift `a' 数据→/éůţ ¿λ≤½ \x1b[1m"
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx,xcolor}
\begin{document}
\input{table}
\end{document}
"""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("pdflatex") is None, reason="pdflatex is not installed (texlive-latex-recommended)"
    ),
]


def runs_of(table: PaperTable) -> list[RunResult]:
    """A run for every row, under the paper's protocols and others, and one that is not in the paper."""

    def measured(mean: float | None) -> tuple[Measured, ...]:
        interval = None if mean is None else (mean - 0.5, mean + 0.5)
        return tuple(
            Measured(column.metric, protocol, column.column, column.direction, mean, interval, 24, 1)
            for column in table.columns
            for protocol in (column.protocol, "own_protocol")
        )

    rows = []
    for index, row in enumerate(table.rows):
        method, options = row.system.method, dict(row.system.options)
        rows.append(RunResult(Path("runs") / row.key, method, options, "pocket", "2026", measured(index / 7)))
    return [*rows, RunResult(Path(NASTY), NASTY, {"a_b": NASTY}, "pocket", "2026", measured(None), title=NASTY)]


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"table{table.number}")
def test_it_compiles(table: PaperTable, filled: bool, tmp_path: Path) -> None:
    joined = join(table, runs_of(table) if filled else (), systems=SYSTEMS)
    (tmp_path / "table.tex").write_text(render([paper_table(joined)], "latex"), encoding="utf-8")
    (tmp_path / "main.tex").write_text(DOCUMENT, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    log = (tmp_path / "main.log").read_text(encoding="utf-8", errors="replace")
    assert "Overfull" not in log
    assert (tmp_path / "main.pdf").stat().st_size > 5000
