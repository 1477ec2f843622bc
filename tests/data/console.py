"""The command line in this process: what it prints, and how it refuses."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from syncdiff_bench.cli import main


def printed(capsys: pytest.CaptureFixture[str], arguments: Sequence[str], code: int = 0) -> str:
    """What one command prints to stdout, and nothing printed before it."""
    capsys.readouterr()
    assert main(list(arguments)) == code
    return capsys.readouterr().out


def refusal(capsys: pytest.CaptureFixture[str], arguments: Sequence[str]) -> str:
    """The one line in which a command is refused; nothing else is printed."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert line.startswith("error: ") and out == ""
    return line
