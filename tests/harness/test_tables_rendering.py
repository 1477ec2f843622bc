"""Markdown, LaTeX, HTML and CSV of comparisons whose cells are known."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.paper import PaperTable, package_tables
from syncdiff_bench.report.paper_comparison import Comparison, compare
from syncdiff_bench.report.results import Measured, RunResult
from syncdiff_bench.report.writers import FORMATS, render
from syncdiff_bench.report.writers.latex import escape
from syncdiff_bench.report.writers.layout import number, signed

TABLES: dict[int, PaperTable] = {table.number: table for table in package_tables("syncdiff_leaderboards")}
SYSTEMS = [row.system for table in TABLES.values() for row in table.rows]
NASTY = "<b>&_%$#{}~^\\|*[x]"


def measured(metric: str, protocol: str, column: str, mean: float | None, half: float = 0.25) -> Measured:
    interval = None if mean is None else (mean - half, mean + half)
    return Measured(metric, protocol, column, "up", mean, interval, n=1320, failed=1)


def run(method: str, dataset: str, *summary: Measured) -> RunResult:
    return RunResult(Path("runs") / method, method, {}, dataset, "2026-01-01", summary)


RUNS = (
    run("gt", "lrs3", measured("psnr", "talklip", "psnr", None), measured("wer", "centre88-160", "wer", 40.0)),
    run(
        "talklip",
        "lrs3",
        measured("psnr", "talklip", "psnr", 31.0),
        measured("wer", "centre88-160", "wer", 22.5),
    ),
    run(
        "syncdiff",
        "lrs3",
        measured("psnr", "talklip", "psnr", 32.0),
        measured("psnr", "face96", "psnr", 30.0),
    ),
    run(NASTY, "lrs3", measured("psnr", "talklip", "psnr", 33.0)),
)


def joined(number_: int = 1, *, datasets: tuple[str, ...] = ("lrs3",)) -> Comparison:
    return compare(TABLES[number_], RUNS, datasets=datasets, systems=SYSTEMS)


def markdown_rows(text: str) -> list[list[str]]:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_cells() -> None:
    rows = markdown_rows(render([joined()], "markdown"))
    assert {len(row) for row in rows} == {2 + 7}
    assert rows[0][:5] == ["Method", "", "PSNR ↑", r"PSNR \[face96\] ↑", "SSIM ↑"]
    at = next(index for index, row in enumerate(rows) if row[0] == "SyncDiff")
    assert rows[at][1:5] == ["paper", "**32.18**", "", "*0.846*"]
    assert rows[at + 1][1:5] == ["ours", "*32.00 ± 0.25*", "30.00 ± 0.25", ""]
    assert rows[at + 2][1:5] == ["delta", "-0.18", "", ""]
    assert rows[at + 3][1:5] == ["n (failed)", "1320 (1)", "1320 (1)", ""]
    assert rows[2][2:4] == ["N/A", ""]  # ground truth: paper
    assert rows[3][2:4] == ["N/A", ""]  # and ours
    wav2lip = next(row for row in rows if row[0] == "Wav2Lip")
    assert wav2lip[6] == "*8.10*†‡"  # beats ground truth's 7.63, trained against SyncNet


def test_our_own_cells_are_marked_as_well() -> None:
    rows = markdown_rows(render([joined()], "markdown"))
    at = next(index for index, row in enumerate(rows) if row[0] == "TalkLip")
    assert rows[at + 1][8] == "22.50 ± 0.25†‡"  # below ground truth's 40.0; alone but for the topline: no rank


def test_markdown_without_runs_has_blank_ours() -> None:
    text = render([compare(TABLES[5], systems=SYSTEMS)], "markdown")
    rows = markdown_rows(text)
    assert rows[2] == ["1", "paper", "32.39", "**0.874**", "**0.049**", "**7.80**", "**6.58**", "**67.40**"]
    assert rows[3] == ["", "ours", *[""] * 6]
    assert "± half" not in text


def test_nothing_breaks_out_of_markdown_or_html() -> None:
    text = render([joined()], "markdown")
    assert r"&lt;b&gt;&amp;\_%\$#\{\}\~^\\\|\*\[x\]" in text
    assert "<b>" not in text
    page = render([joined()], "html")
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;_%$#{}~^\\|*[x]" in page


def test_notes_with_html_and_control_characters_are_shown_as_text() -> None:
    comparison = replace(joined(), notes=("in <lambda>\x1b[31m_x_ \u202e\ud800",))
    assert "\n- in &lt;lambda&gt;\\_x\\_ \n" in render([comparison], "markdown")
    assert "<li>in &lt;lambda&gt;_x_ </li>" in render([comparison], "html")


def test_a_departure_is_marked_and_takes_no_part_in_the_ranks() -> None:
    made = run("difftalk", "lrs3", measured("psnr", "talklip", "psnr", 39.0))
    runs = (*RUNS, replace(made, split="val", clips=("a",)))
    comparison = compare(TABLES[1], runs, datasets=("lrs3",), systems=SYSTEMS)
    text = render([comparison], "markdown")
    rows = markdown_rows(text)
    at = next(index for index, row in enumerate(rows) if row[0] == "DiffTalk")
    assert [row[1] for row in rows[at : at + 3]] == ["paper", "ours", "n (failed)"]
    assert rows[at + 1][2] == "39.00 ± 0.25§"
    assert "\n- § not made as the paper's number was; a note below says in what.\n" in text
    assert r"39.00 $\pm$ 0.25$^{\S}$" in render([comparison], "latex")
    frame = pd.read_csv(io.StringIO(render([comparison], "csv")))
    assert set(frame.departs.dropna()) == {"split val (1 clips), not test"}


def test_only_ground_truth_of_the_same_clips_is_beaten() -> None:
    """22.5 % against 40 %, of which the latter is over other clips."""
    talklip = replace(RUNS[1], clips=("a", "b"))
    for clips, mark in ((("a", "b"), "†‡§"), (("a", "c"), "‡§")):
        comparison = compare(TABLES[1], (replace(RUNS[0], clips=clips), talklip), datasets=("lrs3",), systems=SYSTEMS)
        rows = markdown_rows(render([comparison], "markdown"))
        at = next(index for index, row in enumerate(rows) if row[0] == "TalkLip")
        assert rows[at + 1][7] == f"22.50 ± 0.25{mark}"


class Tags(HTMLParser):
    """Checks that tags nest, and keeps the text of the cells of each row."""

    VOID = frozenset({"meta"})

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.stack.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        if {"td", "th"} & set(self.stack):
            self.rows[-1][-1] += data


def test_html_is_well_formed_and_complete() -> None:
    tags = Tags()
    tags.feed(render([joined(), joined(3)], "html"))
    assert tags.stack == []
    syncdiff = next(index for index, row in enumerate(tags.rows) if row[0] == "SyncDiff")
    assert tags.rows[syncdiff][:3] == ["SyncDiff", "paper", "32.18"]
    assert tags.rows[syncdiff + 1][:2] == ["ours", "32.00 ± 0.25"]


@pytest.mark.parametrize("number_", sorted(TABLES))
def test_latex_has_balanced_groups_and_even_rows(number_: int) -> None:
    """What pdflatex would stumble over, checked without it."""
    text = render([joined(number_, datasets=())], "latex")
    bare = re.sub(r"\\[\\{}$&#_%]", "", re.sub(r"(?<!\\)%.*", "", text))
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert bare.count("$") % 2 == 0
    assert not set(bare) & set("±⁻↑↓−#~^_") - {"^", "~"}
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    for spec, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert rows
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(spec) - 1}


def test_latex_cells() -> None:
    text = render([joined()], "latex")
    assert text.startswith("% preamble: \\usepackage{booktabs,graphicx,xcolor}\n\\begin{table*}[t]\n")
    assert r"PSNR $\uparrow$ & PSNR {[}face96] $\uparrow$" in text
    assert r" & ours & \textbf{\textcolor{violet}{32.00 $\pm$ 0.25}} & 30.00 $\pm$ 0.25 &" in text
    assert r" & delta & $-0.18$ &" in text
    assert r"\textbf{8.11}$^{\dagger}$" in text


def test_latex_escapes_every_special_character() -> None:
    assert escape("a_b & 5% #1 {x} $y ~ ^ \\") == (
        r"a\_b \& 5\% \#1 \{x\} \$y \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )
    assert escape("two\nlines") == "two lines"
    assert escape("a---b --x") == "a-{}-{}-b -{}-x"


def test_latex_maps_what_it_knows_and_shows_the_rest_by_number() -> None:
    assert escape("数据→/") == r"{[}U+6570]{[}U+636E]$\rightarrow$/"
    assert escape("é č λ ≤ – ø") == r"\'{e} \v{c} $\lambda$ $\leq$ \textendash{} \o{}"
    assert escape("Ü") == '\\"{U}'
    assert escape("½ ά \ud800") == "{[}U+00BD] {[}U+03AC]"


def test_csv_reads_back() -> None:
    text = render([joined(), joined(3)], "csv")
    frame = pd.read_csv(io.StringIO(text))
    assert len(frame) == 8 * 7 + 4 * 7
    [cell] = frame[
        (frame.table == 1) & (frame.row == "SyncDiff") & (frame.metric == "psnr") & (frame.protocol == "talklip")
    ].to_dict("records")
    assert (cell["paper"], cell["ours"], cell["ci95_low"], cell["ci95_high"]) == (32.18, 32.0, 31.75, 32.25)
    assert (cell["delta"], cell["n"], cell["failed"], cell["paper_dataset"]) == (-0.18, 1320, 1, "lrs3")
    [other] = frame[
        (frame.table == 1) & (frame.row == "SyncDiff") & (frame.protocol == "face96") & (frame.metric == "psnr")
    ].to_dict("records")
    assert pd.isna(other["paper"])
    assert pd.isna(other["delta"])
    assert NASTY in set(frame.row)


def test_values_that_print_alike_share_a_rank() -> None:
    """Table 6: 0.874 twice is best twice; toplines never win in Table 1."""
    rows = {row[0]: row for row in markdown_rows(render([compare(TABLES[6], systems=SYSTEMS)], "markdown"))}
    assert (rows["6"][3], rows["9"][3]) == ("**0.874**", "**0.874**")
    first = {row[0]: row for row in markdown_rows(render([compare(TABLES[1], systems=SYSTEMS)], "markdown"))}
    assert first["GT-REC"][2] == "36.06"


def test_number_formats() -> None:
    assert number(0.85, 3) == "0.850"
    assert number(None, 2) == "N/A"
    assert [signed(value, 2) for value in (0.125001, -0.2, 0.001, -0.001)] == [
        "+0.13",
        "-0.20",
        "0.00",
        "0.00",
    ]


def test_unknown_format() -> None:
    assert FORMATS == ("markdown", "latex", "html", "csv")
    with pytest.raises(UsageError, match="unknown format pdf; known: markdown, latex, html, csv"):
        render([], "pdf")
