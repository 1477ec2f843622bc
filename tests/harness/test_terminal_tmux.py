"""Commands in a real terminal (tmux): what stands on its screen."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from syncdiff_bench.cli import main

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")

WIDTHS = (60, 80, 200)
LINES = 40
SECONDS = 60.0
PROGRAM = f"{shlex.quote(sys.executable)} -m syncdiff_bench"
DONE = "exit code"
# A number as a table prints it, with its interval; an integer alone says nothing.
NUMBER = re.compile(r"[-+<]?\d*\.\d+(?: ?± ?\d+\.\d+| \[[-\d.]+, [-\d.]+\])?|\d+ \(\d+\)")

Show = Callable[..., list[str]]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of gt and static over three clips."""
    folder = tmp_path_factory.mktemp("terminal")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("SYNCDIFF_BENCH_HOME", str(folder / "home"))
        patch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
        patch.delenv("GITHUB_STEP_SUMMARY", raising=False)
        assert main(RUN.split()) == 0
    return folder


METRICS = "psnr,ssim,psnr[talklip],psnr[region=mouth],ssim[region=mouth],lse[weights=pocket]"
RUN = f"run --method gt --method static --encoding crf23 --limit 3 --metrics {METRICS} --out board"
COMPARE = "compare board/gt board/static"
TABLES = "paper tables --format markdown --table 1"


@pytest.fixture(scope="module")
def show(place: Path) -> Iterator[Show]:
    """Runs a command in a terminal of so many columns; its lines, as far as they can be scrolled back."""
    (place / "tmux.conf").write_text("set -g exit-empty off\nset -g history-limit 5000\n")
    server = ["tmux", "-L", f"syncdiff-{os.getpid()}", "-f", str(place / "tmux.conf")]
    ours = ("TMUX", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "CLICOLOR")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(ours)},
        **{"SYNCDIFF_BENCH_HOME": str(place / "home"), "SYNCDIFF_BENCH_OFFLINE": "1", "LC_ALL": "C.UTF-8"},
    }

    def tmux(*words: str) -> str:
        done = subprocess.run(
            [*server, *words], cwd=place, env=environment, capture_output=True, encoding="utf-8", check=True
        )
        return done.stdout

    def shown(arguments: str, width: int, *, codes: bool = False) -> list[str]:
        script = f"{PROGRAM} {arguments}; printf '%s %s\\n' '{DONE}' $?; sleep {SECONDS:.0f}"
        tmux("new-session", "-d", "-s", "one", "-x", str(width), "-y", str(LINES), "sh", "-c", script)
        last = time.monotonic() + SECONDS
        text = ""
        while DONE not in text:
            assert time.monotonic() < last, text
            time.sleep(0.1)
            text = tmux("capture-pane", "-p", *(["-e"] if codes else []), "-S", "-", "-t", "one")
        tmux("kill-session", "-t", "one")
        assert codes or f"{DONE} 0" in text, text
        return text[: text.index(DONE)].splitlines()

    tmux("start-server")
    yield shown
    tmux("kill-server")


def markdown(arguments: str, place: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> str:
    patch.chdir(place)
    patch.setenv("SYNCDIFF_BENCH_HOME", str(place / "home"))
    capsys.readouterr()
    assert main(arguments.split()) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "same", "width"),
    [
        (RUN, "report board --format markdown", 80),
        *(("report board", "report board --format markdown", width) for width in WIDTHS),
        *((COMPARE, f"{COMPARE} --format markdown", width) for width in WIDTHS),
        *((f"paper tables --table 1{board}", TABLES + board, 80) for board in ("", " board")),
    ],
    ids=lambda value: str(value)[:30],
)
def test_every_number_stands_whole_on_the_screen(
    command: str,
    same: str,
    width: int,
    place: Path,
    show: Show,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = [line for line in markdown(same, place, capsys, monkeypatch).splitlines() if line.startswith("|")]
    expected = {number for row in rows for number in NUMBER.findall(row.replace("*", "").replace("\\", ""))}
    lines = show(command, width)
    text = "\n".join(lines)
    assert len(expected) > 10
    assert {number for number in expected if number not in text} == set()
    assert "…" not in text and max(map(len, lines)) <= width
    assert [line for line in lines if "─" in line or "━" in line]  # as in a paper
    if command.startswith("compare"):
        assert "3000000000000000000/00001 -" in re.sub(r"\s+", " ", text) and "3000000000000000000/00001" in text


@pytest.mark.parametrize(
    ("command", "width"),
    [
        *((f"list{kind}", 80) for kind in ("", " metrics", " methods")),
        ("weights list", 80),
        ("doctor", 60),
        ("train", 60),
    ],
)
def test_words_stand_whole_on_the_screen(
    command: str,
    width: int,
    place: Path,
    show: Show,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    plain = markdown(command, place, capsys, monkeypatch)
    words = {word for word in re.findall(r"[^\s│┃]+", plain) if not set(word) & set("─━-") and len(word) <= width // 3}
    lines = show(command, width)
    assert "…" not in "\n".join(lines) and max(map(len, lines)) <= width
    assert {word for word in words if word not in "\n".join(lines)} == set()


def test_an_error_is_red_and_a_note_is_not_data(show: Show) -> None:
    assert show("report nowhere", 80, codes=True)[0].startswith("\x1b[1m\x1b[31merror:")
    noted = "\n".join(show(RUN, 80, codes=True))
    assert "\x1b[36mnote (gt):" in noted and "\x1b[1mpocket, test: 3 clips" in noted
