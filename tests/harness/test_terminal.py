"""What a terminal is shown: tables folded to its width, lines wrapped, errors and warnings told from data."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NoReturn

import pytest
from rich.console import Console

from syncdiff_bench.characters import SPELLINGS, spelled
from syncdiff_bench.cli import main
from syncdiff_bench.cli.commands import say
from syncdiff_bench.errors import BenchError
from syncdiff_bench.progress import Bar, Log, stderr_progress
from syncdiff_bench.report.table import Cell, Heading, Note, Panel, Row, Table, text_table
from syncdiff_bench.report.writers.raised import SUPERSCRIPTS
from syncdiff_bench.report.writers.terminal import print_folded, print_tables
from syncdiff_bench.screens import columns_of, paint_of, words_of, wrapped

NAMES = ("PSNR", "SSIM", "LPIPS", "LSE-C", "LSE-D", "WER", "AVSu", "AVSm")
VALUES = ("31.50", "0.982", "0.011", "7.123", "N/A", "104.20", "–", "1.5")
INTERVALS = (" ±1.25", " [0.910, 1.000]", " ±0.004", "", "", " [0.00, 119.94]", "", " ±10.0")
IDS = ("00000000000000000012/00001", "6330311066473698535/00011", "id00017/01dfn2spqyE/00001")


def leaderboard() -> Table:
    """Numbers of many kinds, the best and second best of the first column, a note, a text with ids."""
    headings = (
        Heading(""),
        Heading("Method", align="left", names_row=True),
        *(Heading(f"{name} ↑", "protocol", unit="dB" if name == "PSNR" else "") for name in NAMES),
        Heading("A: runs/a/long/path/of/a/run", short="A"),
        Heading("clips that changed most", align="left"),
    )
    changes = ", ".join(f"{one} +{index}.25" for index, one in enumerate(IDS))

    def row(rank: int, name: str, lead: str) -> Row:
        numbers = (
            Cell(lead + value, interval, rank % 3 * (place == 0), ("a",) if place == 5 else ())
            for place, (value, interval) in enumerate(zip(VALUES, INTERVALS, strict=True))
        )
        return Row((Cell(f"{rank}"), Cell(name), *numbers, Cell(f"-{rank}.5"), Cell(changes)))

    groups = ((row(1, "syncdiff (base)", ""), row(2, "static", "1")), (row(3, "wav2lip", "20"),))
    notes = (Note("a note about one number that is somewhat longer than most terminals are wide, or so", "a"),)
    return Table((Panel(headings, groups),), title="pocket, test: 3 clips", notes=notes)


def folded(table: Table, width: int, **settings: object) -> str:
    file = io.StringIO()
    print_folded([table], Console(file=file, width=width, color_system=None, **settings))  # type: ignore[arg-type]
    return file.getvalue()


def numbers_of(table: Table) -> list[str]:
    columns = [index for index, one in enumerate(table.panels[0].headings) if one.align == "right"]
    cells = [row.cells[index] for row in table.panels[0].rows for index in columns]
    return [cell.text + cell.interval for cell in cells]


@pytest.mark.parametrize("width", [30, 45, 60, 80, 100, 132, 200, 400])
def test_no_number_and_no_id_is_broken_at_any_width(width: int) -> None:
    text = folded(leaderboard(), width)
    assert max(map(len, text.splitlines())) <= width
    for number in numbers_of(leaderboard()):
        shown = re.escape(number).replace(r"\ ", " +")  # a number without decimals is followed by their room
        assert re.search(rf"(?<!\S){shown}(?=ᵃ|\s|$)", text, re.MULTILINE), number
    for index, one in enumerate(IDS):
        assert re.search(rf"{one}\s+\+{index}.25", text)
    assert "…" not in text and text.count("pocket, test: 3 clips") == 1
    assert " ".join(text.split()).count("ᵃ a note about one number that is somewhat longer than") == 1


def test_keys_stand_in_every_block_and_few_blocks_are_of_one_width() -> None:
    lines = folded(leaderboard(), 80).splitlines()
    heads = [line for line in lines if re.match(r" {3}Method ", line)]
    assert len(heads) == len([line for line in lines if "syncdiff (base)" in line]) >= 3
    assert len([line for line in lines if line.startswith("━")]) == len(heads) + 1
    assert len({len(line) for line in lines if line.startswith(("━", "─"))}) == 1
    assert "A: runs/a/long/path/of/a/run" in lines  # once, above
    (whole,) = [line for line in folded(leaderboard(), 400).splitlines() if "Method" in line]
    assert "A: runs/a/long/path/of/a/run" in folded(leaderboard(), 400) and "protocol, dB" in whole


def test_numbers_are_aligned_by_their_decimal_point() -> None:
    headings = (Heading("m", align="left", names_row=True), Heading("x"), Heading("n (failed)"))
    texts = [("9.5", "12 (0)"), ("-100.25", "3 (10)"), ("N/A", "–"), ("<.001", "144 (0)"), ("7", "1 (1)")]
    rows = tuple(Row((Cell(f"m{i}"), Cell(x, " ±0.5"[: 5 * (i < 2)]), Cell(n))) for i, (x, n) in enumerate(texts))
    lines = folded(Table((Panel(headings, (rows,)),)), 80).splitlines()[3:-1]
    assert lines == [
        "m0     9.5   ±0.5    12 (0)",
        "m1  -100.25  ±0.5     3 (10)",
        "m2       N/A          –",
        "m3     <.001        144 (0)",
        "m4     7              1 (1)",
    ]


def test_texts_wrap_at_words_and_blank_lines_part_groups() -> None:
    described = text_table(("name", "what it is"), [("one", 12 * "some words "), ("two", 90 * "x")])
    lines = folded(described, 40).splitlines()
    assert lines[0] == 40 * "━" and lines[3].startswith("one   some words some")
    assert [line for line in lines if line.startswith("      x")] == ["      " + 34 * "x"] * 1 + ["      " + 22 * "x"]
    assert any(line == "two   " + 34 * "x" for line in lines)
    keys, groups = (Heading("a", align="left", names_row=True), Heading("b")), ((Row((Cell("k"), Cell("1"))),),) * 3
    assert folded(Table((Panel(keys, groups),)), 40).splitlines()[3:-1] == ["k  1", "", "k  1", "", "k  1"]


def test_a_terminal_too_narrow_for_a_key_beside_a_number_lists_them() -> None:
    lines = folded(leaderboard(), 24).splitlines()
    assert "3  wav2lip" in " ".join(lines).replace("3 wav2lip", "3  wav2lip")
    at = lines.index("  WER ↑ protocol", lines.index("3 wav2lip"))
    assert lines[at + 1] == "    20104.20" and lines[at + 2] == "    [0.00, 119.94]ᵃ"


def test_best_is_bold_second_best_underlined_and_colour_is_spared() -> None:
    file = io.StringIO()
    print_folded([leaderboard()], Console(file=file, width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[1;32m31.50 ±1.25\x1b[0m" in file.getvalue() and "\x1b[4m131.50 ±1.25\x1b[0m" in file.getvalue()
    file = io.StringIO()
    plain = Console(file=file, width=80, force_terminal=True, color_system="standard", no_color=True)
    print_folded([leaderboard()], plain)
    assert "\x1b[1m31.50 ±1.25\x1b[0m" in file.getvalue() and "\x1b[4m131.50" in file.getvalue()


def test_a_terminal_without_these_characters_gets_words() -> None:
    class Ascii(io.StringIO):
        encoding = "ascii"

    file = Ascii()
    print_folded([leaderboard()], Console(file=file, width=80))
    text = file.getvalue()
    assert text.isascii() and max(map(len, text.splitlines())) <= 80 and "\\" not in text
    assert "31.50 +-1.25" in text and "PSNR up" in text and "[0.00, 119.94]^a" in text and "^a a note" in text
    assert text.count("=" * 40) >= 3


def test_a_line_on_a_terminal_without_these_characters() -> None:
    with seen("ascii") as screen:
        say("22.75 ±0.51 → table", label="PSNR ↑ ")
    assert screen.getvalue() == "PSNR up 22.75 +-0.51 -> table\n"


def test_every_character_of_ours_has_a_spelling() -> None:
    for character in (*SPELLINGS, *SUPERSCRIPTS, "⁻", "²"):
        assert spelled(character, "ascii").isascii() and "\\" not in spelled(character, "ascii"), character
    assert spelled("PRV⁻ é", "ascii") == "PRV^- \\xe9" and spelled("±é↑", "latin-1") == "±éup"


# ------------------------------------------------------------------------------------------------- lines


class Screen(io.StringIO):
    """A terminal, as far as a program asks."""

    encoding = "utf-8"  # type: ignore[assignment]

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def coloured(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a terminal of 40 columns, in colour."""
    for name in ("NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "40")


@contextmanager
def seen(encoding: str = "utf-8") -> Iterator[Screen]:
    """What goes to stdout and stderr in the block."""
    shown = Screen()
    shown.encoding = encoding
    with redirect_stdout(shown), redirect_stderr(shown):
        yield shown


def test_lines_wrap_below_their_label_and_commands_stay_whole() -> None:
    with seen() as screen:
        say("here, and `syncdiff-bench weights fetch x` mends it; 3 of 12 files", label="warn ", fg="yellow")
    assert screen.getvalue() == (
        "\x1b[33mwarn \x1b[0mhere, and\n     `syncdiff-bench weights fetch x`\n     mends it; 3 of 12 files\n"
    )


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("error: no such clip", "\x1b[31m\x1b[1merror: \x1b[0mno"),
        ("warning: x is broken", "\x1b[33m\x1b[1mwarning: \x1b[0mx"),
        ("failed (static): s1/2: no", "\x1b[31m\x1b[1mfailed (static): \x1b[0ms1/2"),
        ("note (gt): two speakers", "\x1b[36mnote (gt): \x1b[0mtwo"),
        ("runs/x/leaderboard.md", "runs/"),
        ("notes: of somebody", "notes"),
    ],
)
def test_what_goes_wrong_looks_unlike_data(text: str, start: str) -> None:
    with seen() as screen:
        say(text, err=True)
    assert screen.getvalue().startswith(start)
    with seen() as screen:
        say(text)  # data
    assert screen.getvalue() == f"{text}\n"


def test_a_pipe_gets_the_line_as_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    text = "error: a line ± that is longer than twenty columns"
    say(text, err=True)
    say(text, label="ok   ", fg="green")
    assert capsys.readouterr() == (f"ok   {text}\n", f"{text}\n")


def test_documents_are_not_wrapped() -> None:
    with seen() as screen:
        say('{\n "a": "one two three four five six seven eight nine ten"\n}')
        say("a,b,c and a line of CSV that is longer than forty columns\n", nl=False)
    assert max(map(len, screen.getvalue().splitlines())) > 50 and screen.getvalue().count("\n") == 4


def test_an_error_of_a_command_keeps_its_exit_code(work_folder: Path) -> None:
    with seen() as screen:
        assert main(["report", "nowhere"]) == 2
    assert screen.getvalue().startswith("\x1b[31m\x1b[1merror: \x1b[0mnowhere is not a folder; give a\n       run")


def test_what_our_code_logs_is_a_warning(monkeypatch: pytest.MonkeyPatch, work_folder: Path) -> None:
    def listed() -> NoReturn:
        logging.getLogger("syncdiff_bench.files").warning("waiting for %s", "another\nprocess")
        raise BenchError("no")

    monkeypatch.setattr("syncdiff_bench.cli.weights._store", listed)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's
    for _ in range(2):  # no handler is left over
        with seen() as screen:
            assert main(["weights", "list"]) == 2
        assert screen.getvalue() == (
            "\x1b[33m\x1b[1mwarning: \x1b[0mwaiting for another process\n\x1b[31m\x1b[1merror: \x1b[0mno\n"
        )


@pytest.mark.parametrize(
    ("environment", "terminal", "paint"),
    [
        ({"TERM": "xterm"}, True, "colour"),
        ({}, True, "colour"),
        ({"TERM": "xterm"}, False, "none"),
        ({"TERM": "dumb"}, True, "none"),
        ({"NO_COLOR": "1"}, True, "bold"),
        ({"NO_COLOR": ""}, True, "colour"),
        ({"CLICOLOR": "0"}, True, "bold"),
        ({"CLICOLOR": "1"}, False, "none"),
        ({"CLICOLOR_FORCE": "1"}, False, "colour"),
        ({"CLICOLOR_FORCE": "0"}, False, "none"),
        ({"FORCE_COLOR": "1", "TERM": "dumb"}, True, "colour"),
        ({"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}, False, "bold"),
    ],
)
def test_when_words_are_coloured(environment: dict[str, str], terminal: bool, paint: str) -> None:
    assert paint_of(Screen() if terminal else io.StringIO(), environment) == paint


def test_a_dumb_terminal_is_sent_no_code_and_still_its_width(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setenv("COLUMNS", "60")
    with seen() as screen:
        say("error: x", err=True)
        print_tables([leaderboard()])
        assert isinstance(stderr_progress(), Log)
        monkeypatch.setenv("TERM", "xterm")
        assert isinstance(stderr_progress(), Bar)
    assert "\x1b" not in screen.getvalue() and max(map(len, screen.getvalue().splitlines())) <= 60


def test_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "33")
    assert (columns_of(Screen()), columns_of(io.StringIO())) == (33, None)
    monkeypatch.setenv("COLUMNS", "many")
    assert columns_of(Screen()) == 80


def test_between_which_words_lines_break() -> None:
    assert words_of("a 1.5, b/2 -3.0 4 5 LSE ↑ `x y`. z") == ["a 1.5,", "b/2 -3.0", "4", "5", "LSE ↑", "`x y`.", "z"]
    assert wrapped("ab cd", 2) == ["ab", "cd"] and wrapped("", 5) == [""]
    assert wrapped("abcdef gh", 4) == ["abcdef", "gh"] and wrapped("abcdef gh", 4, whole=False) == ["abcd", "ef", "gh"]
    assert wrapped("Config(width=128, of=2)", 9) == ["Config(", "width=", "128,", "of=2)"]
    assert wrapped("see x/y(z,0123456789", 9) == ["see", "x/y(z,0123456789"]  # a path stays whole
    assert wrapped("(syncdiff-bench run --limit 3); then", 9) == ["(syncdiff-bench run --limit 3);", "then"]
    assert wrapped("数数数 b", 4, whole=False) == ["数数", "数 b"]
