"""All six tables through pdflatex, empty and filled, and a leaderboard, where there is one."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.report.joined import join
from syncdiff_bench.report.leaderboard import boards
from syncdiff_bench.report.paper import PaperTable, package_tables
from syncdiff_bench.report.paper_table import paper_table
from syncdiff_bench.report.results import run_of
from syncdiff_bench.report.selection import Choice
from syncdiff_bench.report.writers import render
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.timing import Timed

TABLES = package_tables("syncdiff_leaderboards")
SYSTEMS = [row.system for table in TABLES if table.of_paper for row in table.rows]
NASTY = "<b>&_%$#{}~^\\|*[x] --shift `a' 数据→/éůţ ¿λ≤½ \x1b[1m"
DOCUMENT = r"""\documentclass[twocolumn]{article}
\usepackage[T1]{fontenc}
\usepackage{booktabs,graphicx}
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


def runs_of(table: PaperTable) -> list[Run]:
    """A run for every row, under the paper's protocols and others, and one that is not in the paper."""

    def measured(mean: float | None) -> list[dict[str, Any]]:
        entry = {"mean": mean, "ci95": None if mean is None else [mean - 0.5, mean + 0.5], "n": 24, "failed": 1}
        return [
            {**entry, "metric": c.metric, "protocol": protocol, "column": c.column, "direction": c.direction}
            for c in table.columns
            for protocol in (c.protocol, "own_protocol")
        ]

    def run(name: str, method: str, options: dict[str, Any], mean: float | None) -> Run:
        made = {"name": method, "title": method, "options": options}
        return run_of(
            Path(name), {"method": made, "dataset": {"name": "pocket"}, "summary": measured(mean), "caveats": []}
        )

    rows = [
        run(f"runs/{row.key}", row.system.method, dict(row.system.options), index / 7)
        for index, row in enumerate(table.rows)
    ]
    return [*rows, run(NASTY, NASTY, {"a_b": NASTY}, None)]


@pytest.mark.parametrize("filled", [False, True])
@pytest.mark.parametrize("table", TABLES, ids=lambda table: f"table{table.number}")
def test_it_compiles(table: PaperTable, filled: bool, tmp_path: Path) -> None:
    joined = join(table, runs_of(table) if filled else (), systems=SYSTEMS)
    compiled(render([paper_table(joined)], "latex"), tmp_path)


def test_a_leaderboard_compiles(tmp_path: Path) -> None:
    """Runs of a table as one line each, with notes, ranks, ends of intervals and every column that there is."""
    runs = [replace(run, label=f"{run.identity.method} {NASTY}") for run in runs_of(TABLES[0])]
    (tmp_path / "timings.jsonl").write_text(json.dumps(Timed("t", 2, 50, 1.5, NASTY, True, True).to_row()) + "\n")
    runs = [replace(one, path=tmp_path, manifest={**one.manifest, "versions": {}}) for one in runs]
    (board,) = boards(runs, Choice(("n,rank,speed", *(c.metric for c in TABLES[0].columns)), second_best=True))
    text = render([board.table], "latex")
    assert r"\underline" in text and "speed" in text
    compiled(text, tmp_path)


def compiled(table: str, folder: Path) -> None:
    (folder / "table.tex").write_text(table, encoding="utf-8")
    (folder / "main.tex").write_text(DOCUMENT, encoding="utf-8")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "main.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:].decode(errors="replace")
    log = (folder / "main.log").read_text(encoding="utf-8", errors="replace")
    assert "Overfull" not in log
    assert (folder / "main.pdf").stat().st_size > 5000
