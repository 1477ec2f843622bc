"""--quiet: stderr has errors alone, stdout what was asked for; and nothing stays silent after the command."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings
from pathlib import Path

import click
import pytest

from syncdiff_bench.cli import cli, main
from syncdiff_bench.progress import stderr_progress

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

NOISE = ["--method", "toy-noise", "--dataset", "toy", "--set", "shift=3", "--metrics", "toy-error"]


def both(capsys: pytest.CaptureFixture[str], words: list[str], code: int = 0) -> tuple[str, str]:
    capsys.readouterr()
    assert main(words) == code
    out, err = capsys.readouterr()
    return out, err


def test_what_was_asked_for_is_printed_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    told, talk = both(capsys, ["run", *NOISE])
    assert "note (toy-noise)" in talk and "leaderboard.md" in talk
    run = "runs/toy-test/toy-noise"
    assert both(capsys, ["run", *NOISE, "-q"]) == (told, "")
    assert both(capsys, ["score", run, "--metrics", "toy-error", "--quiet"]) == (told, "")
    assert both(capsys, ["generate", *NOISE[:6], "-q"]) == ("", "")
    assert both(capsys, ["report", run, "-q", "--format", "csv"]) == both(capsys, ["report", run, "--format", "csv"])
    assert both(capsys, ["report", run, "-q", "--out", "table.md"]) == ("", "") and Path("table.md").is_file()
    assert both(capsys, ["report", run, "-q", "--html", "page.html"]) == ("", "") and Path("page.html").is_file()
    compared, _ = both(capsys, ["compare", run, run])
    assert both(capsys, ["compare", "-q", run, run]) == (compared, "")


def test_failures_and_errors_are_no_talk(capsys: pytest.CaptureFixture[str]) -> None:
    _, err = both(capsys, ["run", *NOISE, "--dataset-set", "broken=2", "-q", "--strict"], 1)
    assert err == "failed (toy-noise): s1/2: cut short; copy it again\n"
    out, err = both(capsys, ["run", "-q", "--method", "nobody"], 2)
    assert out == "" and err.startswith("error: unknown method 'nobody'")
    assert both(capsys, ["run", "-q", "--nothing"], 2)[1].startswith("error: No such option")


def test_neither_progress_nor_warnings() -> None:
    """In a process of its own, where nothing of pytest takes warnings and what is logged."""
    script = """
import logging, sys, warnings
from syncdiff_bench import pipeline
from syncdiff_bench.cli import main
before = pipeline.generate_run
def noisy(*given, **how):
    warnings.warn("old")
    logging.getLogger("lib").warning("waiting")
    logging.getLogger("lib").error("lost")
    how["progress"].note("slow")
    return before(*given, **how)
pipeline.generate_run = noisy
sys.exit(main(sys.argv[1:]))
"""
    told = {}
    for flag in ("--progress", "-q"):
        words = [*NOISE, "--out", flag.strip("-"), "--progress", "log", *(["-q"] if flag == "-q" else [])]
        done = subprocess.run([sys.executable, "-c", script, "run", *words], capture_output=True, text=True, check=True)
        told[flag] = done.stderr
    for word in ("old", "waiting", "lost", "note: slow"):
        assert word in told["--progress"]
    assert told["-q"] == "lost\n"


def test_the_next_command_talks_again(capsys: pytest.CaptureFixture[str]) -> None:
    both(capsys, ["run", *NOISE, "-q"])
    assert type(stderr_progress("log")).__name__ == "Log"
    assert logging.root.manager.disable == logging.NOTSET
    with pytest.warns(UserWarning, match="heard"):
        warnings.warn("heard", stacklevel=1)
    assert both(capsys, ["run", *NOISE])[1] != ""


def test_every_command_takes_it() -> None:
    def leaves(group: click.Group) -> list[click.Command]:
        found = [group.get_command(click.Context(group), name) for name in group.list_commands(click.Context(group))]
        return [leaf for one in found if one for leaf in (leaves(one) if isinstance(one, click.Group) else [one])]

    assert len(leaves(cli)) > 25
    for command in leaves(cli):
        assert "--quiet" in {name for parameter in command.params for name in parameter.opts}, command.name
