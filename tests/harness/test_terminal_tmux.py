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


@pytest.fixture
def show(place: Path) -> Iterator[Show]:
    """Runs a command in a terminal of so many columns; its lines, as far as they can be scrolled back."""
    server = ["tmux", "-L", f"syncdiff-{os.getpid()}", "-f", os.devnull]
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("TMUX", "COLUMNS", "LINES"))}
    environment = {
        **{name: value for name, value in keep.items() if name not in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR_FORCE")},
        **{"SYNCDIFF_BENCH_HOME": str(place / "home"), "SYNCDIFF_BENCH_OFFLINE": "1", "LC_ALL": "C.UTF-8"},
    }

    def tmux(*words: str) -> str:
        done = subprocess.run(
            [*server, *words], cwd=place, env=environment, capture_output=True, encoding="utf-8", check=True
        )
        return done.stdout

    def shown(arguments: str, width: int, *, codes: bool = False) -> list[str]:
        script = f"{PROGRAM} {arguments}; printf '%s %s\\n' '{DONE}' $?; sleep {SECONDS:.0f}"
        tmux("start-server", ";", "set-option", "-g", "history-limit", "5000")
        tmux("new-session", "-d", "-s", "one", "-x", str(width), "-y", str(LINES), "sh", "-c", script)
        last = time.monotonic() + SECONDS
        while True:
            text = tmux("capture-pane", "-p", *(["-e"] if codes else []), "-S", "-", "-t", "one")
            if DONE in text:
                break
            assert time.monotonic() < last, text
            time.sleep(0.1)
        tmux("kill-session", "-t", "one")
        lines = text[: text.index(DONE)].splitlines()
        assert f"{DONE} 0" in text or codes, text
        return lines

    yield shown
    subprocess.run([*server, "kill-server"], env=environment, capture_output=True, check=False)


def markdown(arguments: str, place: Path, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> str:
    patch.chdir(place)
    patch.setenv("SYNCDIFF_BENCH_HOME", str(place / "home"))
    capsys.readouterr()
    assert main(arguments.split()) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize(
    ("command", "same"),
    [
        (RUN, "report board --format markdown"),
        ("report board", "report board --format markdown"),
        ("compare board/gt board/static", "compare board/gt board/static --format markdown"),
        ("paper tables --table 1", "paper tables --table 1 --format markdown"),
        ("paper tables --table 1 board", "paper tables --table 1 board --format markdown"),
    ],
    ids=["run", "report", "compare", "tables", "tables-runs"],
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


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("command", ["list", "list metrics", "list methods", "weights list", "doctor", "train"])
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
