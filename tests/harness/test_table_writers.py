"""One table through every writer: what each shows, and that nothing in it can leave its place."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import pytest
from html_pages import Page

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.table import Cell, Heading, Note, Panel, Row, Table, letter, number, plain_notes, signed
from syncdiff_bench.report.writers import render
from syncdiff_bench.report.writers.junit import JUnitCase, cases_of, junit_xml
from syncdiff_bench.report.writers.latex import escape as latex_escape
from syncdiff_bench.report.writers.markdown import escape as markdown_escape
from syncdiff_bench.report.writers.terminal import print_tables

NASTY = (
    "<b>&_%$#{}~^\\|*[x] \x1b[31mred\x1b[0m\ntwo\u202e\ud800\x07"  # markup, a colour, a line end, a turned direction
)
SHOWN = "<b>&_%$#{}~^\\|*[x] red two"
HEADINGS = (
    Heading("Row", align="left", names_row=True),
    Heading("", align="left", names_row=True),
    Heading("PSNR ↑", "face96"),
    Heading("WER ↓ <i>"),
)
BEST = Cell("31.50", " ± 0.25", 1, ("b",), 31.5)
GROUPS = (
    (Row((Cell("bound"), Cell("ours"), Cell("N/A", marks=("a",)), Cell("–"))),),
    (
        Row((Cell("mine", marks=("a", "b")), Cell("ours"), BEST, Cell("7.0", rank=2))),
        Row((Cell(""), Cell("delta"), Cell("-0.18", value=-0.18), Cell("+1.2", marks=("†", "‡"))), "delta"),
    ),
    (Row((Cell(NASTY), Cell(""), Cell("1", alert=True), Cell(NASTY)), "regression", "case"),),
)
TABLE = Table(
    panels=(Panel(HEADINGS, GROUPS),),
    title=f"title {NASTY}",
    caption="caption",
    notes=(Note(f"note {NASTY}", "a"), Note("of mine", "b"), Note("symbol", "†"), *plain_notes(["plain --note"])),
    label="7",
    records=(
        {"row": NASTY, "mean": 0.1 + 0.2, "ci95": (0.25, None), "judge": ["x", "y"], "caveats": [{"text": NASTY}] * 2},
        {"row": "b", "mean": None, "ci95": None, "judge": [], "caveats": [], "extra": 1},
    ),
    fields=("row", "mean", "ci95_low", "ci95_high", "judge", "caveats"),
)
PANELS = Table(
    panels=tuple(Panel(HEADINGS, GROUPS, title) for title in ("LRS2", "LRS3")),
    title="two",
    notes=TABLE.notes,
    ranks_marked=2,
    unranked=("bound", "other"),
)


def pipes(text: str) -> list[list[str]]:
    """The cells of Markdown's rows; an escaped pipe is no border."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_of_one_panel() -> None:
    text = render([TABLE], "markdown")
    shown = r"&lt;b&gt;&amp;\_%\$#\{\}\~^\\\|\*\[x\] red two"
    head, rule, *rows = pipes(text)
    assert head == ["Row", "", "PSNR ↑<br>face96", "WER ↓ &lt;i&gt;"]
    assert [cell.strip("-") for cell in rule] == [":", ":", "", ""] or [cell[0] + cell[-1] for cell in rule] == [
        *(":-", ":-", "-:", "-:")
    ]
    assert rows == [
        ["bound", "ours", "N/Aᵃ", "–"],
        ["mineᵃ ᵇ", "ours", "**31.50 ± 0.25**ᵇ", "*7.0*"],
        ["", "delta", "-0.18", "+1.2†‡"],
        [shown, "", "1", shown],
    ]
    assert text.startswith(f"### title {shown}\n\n")
    assert text.endswith(f"\n\nᵃ note {shown}  \nᵇ of mine  \n† symbol  \nplain --note\n")
    assert render([TABLE, TABLE], "markdown") == f"{text}\n{text}"
    assert render([Table((Panel(HEADINGS, ()),))], "markdown").startswith("| Row")  # not a single row


def test_markdown_of_several_panels_lists_its_notes_below_a_legend() -> None:
    text = render([PANELS], "markdown")
    assert re.findall(r"^#+ .*", text, re.MULTILINE) == ["## two", "### LRS2", "### LRS3"]
    legend = "- Best **bold**, second best *italic*. bound and other take no part."
    assert [line[:12] for line in text.splitlines() if line.startswith("- ")] == [
        *(legend[:12], "- ᵃ note &lt", "- ᵇ of mine", "- † symbol", "- plain --no")
    ]
    assert legend in text


@pytest.mark.parametrize("name", ["markdown", "latex", "html"])
def test_a_legend_shows_the_names_of_rows_as_they_are(name: str) -> None:
    text = render([replace(TABLE, ranks_marked=2, unranked=(NASTY,))], name)
    (line,) = [line for line in text.splitlines() if "takes no part" in line]
    assert {"markdown": r"\*\[x\] red two takes", "latex": r"{*}{[}x] red two takes", "html": "&lt;b&gt;&amp;_"}[
        name
    ] in line
    assert not set(line) & set("\x1b\x07\u202e\ud800")


def test_html() -> None:
    text = render([TABLE, PANELS], "html")
    page = Page(text)
    rows = page.tables[""]
    assert rows[0] == ["Row", "", "PSNR ↑ face96", "WER ↓ <i>"]
    assert rows[1:5] == [
        ["bound", "ours", "N/Aa", "–"],
        ["mineab", "ours", "31.50b ± 0.25", "7.0"],
        ["delta", "-0.18", "+1.2†‡"],  # its name spans two rows
        [SHOWN, "", "1", SHOWN],
    ]
    assert "<strong>31.50</strong>" in text and 'title="second best">7.0<' in text
    assert not {"b", "i", "script", "img"} & {tag for tag, _ in page.tags}
    assert [one["aria-label"] for _, one in page.tags if one.get("class") == "scroll"] == ["", "LRS2", "LRS3"]
    assert "<li><sup>b</sup> of mine</li>" in text and "<li>plain --note</li>" in text
    assert "Best <strong>bold</strong>, second best" in text


def test_latex_has_balanced_groups_and_even_rows() -> None:
    """What pdflatex would stumble over, checked without it."""
    text = render([TABLE, PANELS], "latex")
    assert r"\textbf{31.50 $\pm$ 0.25}$^{b}$ & \underline{7.0}" in text
    assert r" & delta & $-0.18$ & $+1.2$$^{\dagger}$$^{\ddagger}$ \\" in text
    assert r"Row & \textsc{LRS3} & PSNR $\uparrow$ & WER $\downarrow$ $<$i$>$ \\" in text
    assert "     &  & \\footnotesize face96 &  \\\\\n" in text and r"plain -{}-note\par" in text
    bare = re.sub(r"\\[\\{}$&#_%]", "", re.sub(r"(?<!\\)%.*", "", text))
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0 and bare.count("$") % 2 == 0
    assert not set(bare) & set("±⁻↑↓−#~_\x1b\u202e") - {"~"}
    opened: list[str] = []
    for kind, name in re.findall(r"\\(begin|end)\{([^}]*)\}", text):
        if kind == "begin":
            opened.append(name)
        else:
            assert opened.pop() == name
    assert opened == []
    for spec, body in re.findall(r"\\begin\{tabular\}\{(\w+)\}(.*?)\\end\{tabular\}", text, re.DOTALL):
        rows = [line for line in body.splitlines() if line.endswith(r" \\")]
        assert spec == "llrr" and len(rows) == 6
        assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {len(spec) - 1}


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        (
            "a_b & 5% #1 {x} $y ~ ^ \\",
            r"a\_b \& 5\% \#1 \{x\} \$y \textasciitilde{} \textasciicircum{} \textbackslash{}",
        ),
        ("two\nlines", "two lines"),
        ("a---b --x", "a-{}-{}-b -{}-x"),
        ("数据→/", r"{[}U+6570]{[}U+636E]$\rightarrow$/"),
        ("é č λ ≤ – ø Ü", r"\'{e} \v{c} $\lambda$ $\leq$ \textendash{} \o{} \"{U}"),
        ("½ ά \ud800", "{[}U+00BD] {[}U+03AC]"),
    ],
)
def test_latex_maps_what_it_knows_and_shows_the_rest_by_number(text: str, escaped: str) -> None:
    assert latex_escape(text).strip() == escaped


def test_what_github_reads_as_mathematics_or_struck_out_is_text_in_markdown() -> None:
    assert markdown_escape("~~a~~ $x$") == r"\~\~a\~\~ \$x\$"


def test_records_keep_their_precision() -> None:
    first, second = csv.DictReader(io.StringIO(render([TABLE], "csv")))
    assert first == {
        **{
            "row": SHOWN.replace("red two", "red\ntwo"),
            "mean": "0.30000000000000004",
            "ci95_low": "0.25",
            "ci95_high": "",
            "judge": "x y",
        },
        "caveats": f"{SHOWN}; {SHOWN}",
    }
    assert second == {"row": "b", "mean": "", "ci95_low": "", "ci95_high": "", "judge": "", "caveats": ""}
    plain = Table(TABLE.panels, records=TABLE.records[1:], fields=TABLE.fields)
    # JSON is for programs: every character is there, those that a terminal obeys as escapes.
    assert r"red\u001b[0m\ntwo" in render([TABLE], "json")
    assert not set(render([TABLE], "json")) & set("\x1b\x07\u202e\ud800")
    assert json.loads(render([TABLE], "json"))[0]["row"] == NASTY
    assert json.loads(render([plain, plain], "json")) == [dict(TABLE.records[1])] * 2


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1", "\r=1", "＝1", " =1", "-", "\x1b[0m=1"])
def test_a_spreadsheet_computes_nothing(text: str) -> None:
    table = Table(TABLE.panels, records=({**TABLE.records[1], "row": text, "judge": [text]},), fields=TABLE.fields)
    (row,) = csv.DictReader(io.StringIO(render([table], "csv")))
    assert row["row"].startswith("'") and row["judge"].startswith("'")


@pytest.mark.parametrize("text", ["-0.5", "+3", "-1e-3", "a=b", "name", "a  b", "'=1"])
def test_numbers_and_other_words_stay_in_csv(text: str) -> None:
    record = {**TABLE.records[1], "row": text, "mean": -0.5, "ci95": (-1.0, 2.0)}
    (row,) = csv.DictReader(io.StringIO(render([Table(TABLE.panels, records=(record,), fields=TABLE.fields)], "csv")))
    assert (row["row"], row["mean"], row["ci95_low"]) == (text, "-0.5", "-1.0")


def test_a_terminal_gets_nothing_that_it_would_obey(capsys: pytest.CaptureFixture[str]) -> None:
    print_tables([TABLE])
    out = capsys.readouterr().out
    assert not set(out) & set("\x1b\x07\u202e\ud800")
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines() if line.startswith("│")]
    assert rows == [
        ["bound", "ours", "N/Aᵃ", "–"],
        ["mineᵃ ᵇ", "ours", "31.50 ± 0.25ᵇ", "7.0"],
        ["", "delta", "-0.18", "+1.2†‡"],
        [SHOWN, "", "1", SHOWN],
    ]
    assert out.count("├") == 2  # between groups
    assert out.splitlines()[-4:] == [f"ᵃ note {SHOWN}", "ᵇ of mine", "† symbol", "plain --note"]


def test_a_pipe_gets_numbers_and_words_whole_however_wide(capsys: pytest.CaptureFixture[str]) -> None:
    long = "clips/" + 30 * "0123456789"
    headings = (Heading("method", align="left", names_row=True), Heading("PSNR"), Heading("clip", align="left"))
    rows = (Row((Cell("a-method-with-a-name"), Cell("1.00", " [0.10, 2.00]"), Cell(f"{long} and more"))),)
    print_tables([Table((Panel(headings, (rows,)),))])
    lines = capsys.readouterr().out.splitlines()
    assert any(
        all(f" {part} " in line for part in ("a-method-with-a-name", "1.00 [0.10, 2.00]", long)) for line in lines
    )
    print_tables([Table((Panel(headings, ((Row((Cell("m"), Cell("1"), Cell(" ".join(90 * ["word"])))),),)),))])
    assert {len(line) for line in capsys.readouterr().out.splitlines()} == {200}  # texts wrap as they did
    wide = "1234567.00 [1234567.00, 1234567.00]"
    texts = [*headings[:2], *8 * headings[2:]]
    row = Row((Cell("m"), Cell(wide), *8 * [Cell("word word word word word")]))
    print_tables([Table((Panel(tuple(texts), ((row,),)),))])
    out = capsys.readouterr().out
    assert wide in out and max(map(len, out.splitlines())) == 200


def test_junit_has_a_failure_per_row_that_fails() -> None:
    suite = ElementTree.fromstring(junit_xml("syncdiff-bench check", NASTY, cases_of(TABLE), [NASTY]))
    assert [suite.get(name) for name in ("tests", "failures", "errors")] == ["4", "1", "0"]
    assert suite.findtext("system-out") == SHOWN
    (failure,) = suite.iter("failure")
    assert failure.get("type") == "regression" and str(failure.get("message")).startswith("Row <b>&")
    assert [case.get("name") for case in suite.iter("testcase") if len(case)] == ["case"]


def test_no_character_of_a_reason_breaks_the_xml() -> None:
    """Every code point below U+0100, a lone surrogate and two non-characters; a terminal's colours go whole."""
    reason = "".join(map(chr, range(0x100))) + "\ud800\ufffe\uffff" + "\x1b[1;31mbad\x1b[0m < & > 語"
    suite = ElementTree.fromstring(junit_xml("check", reason, [JUnitCase(reason, "failure", "lost clip", reason)]))
    (failure,) = suite.iter("failure")
    for text in (suite.get("name"), suite[0].get("name"), failure.get("message")):
        assert text is not None and text.endswith("ÿbad < & > 語") and "[1;31m" not in text


def test_numbers_as_printed() -> None:
    assert (number(0.85, 3), number(None, 2), signed(None, 2)) == ("0.850", "N/A", "–")
    assert [signed(value, 2) for value in (0.125001, -0.2, 0.001, -0.001)] == ["+0.13", "-0.20", "0.00", "0.00"]
    assert [letter(one) for one in (1, 16, 17, 25, 26)] == ["a", "p", "r", "z", "aa"]


def test_an_unknown_format_is_named() -> None:
    with pytest.raises(UsageError, match="unknown format pdf; known: markdown, latex, html, csv, json"):
        render([], "pdf")
