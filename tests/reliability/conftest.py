"""Each command once undisturbed, to compare with; and where the figures of docs/reliability.md are noted."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

if sys.platform == "linux":
    from killing import Command, Ended
    from same_bytes import contents, differences
    from tiny_commands import Inputs, serving, write_inputs
else:  # process groups, /proc and mounts are Linux's
    collect_ignore = [
        "test_kills.py",
        "test_together.py",
        "test_damaged_media.py",
        "test_surroundings.py",
    ]


@dataclass(frozen=True)
class Undisturbed:
    """What a command says, uses and leaves behind where nothing happens to it."""

    ended: Ended
    files: dict[str, bytes]
    work: Path


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Inputs]:
    folder = tmp_path_factory.mktemp("inputs")
    with serving() as url:
        write_inputs(folder, url)
        yield Inputs(folder, tmp_path_factory.getbasetemp() / "train" / "training" / "vq" / "model")


@pytest.fixture(scope="session")
def undisturbed(inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Undisturbed]:
    """Of each command that is asked for, once."""
    known: dict[str, Undisturbed] = {}

    def of(command: str) -> Undisturbed:
        if command == "data prepare latents":
            of("train")  # whose model it reads
        if command not in known:
            work = tmp_path_factory.getbasetemp() / command.replace(" ", "-")
            shutil.rmtree(work, ignore_errors=True)  # of a try that failed
            work.mkdir()
            ended = Command(inputs.arguments(command), work, inputs.environment(work)).end()
            assert ended.code == 0, ended.said
            known[command] = Undisturbed(ended, contents(work), work)
        return known[command]

    return of


@dataclass(frozen=True)
class Place:
    """An empty folder for one command, and what the command leaves in it where nothing happens."""

    command: str
    whole: Undisturbed
    work: Path
    inputs: Inputs

    def start(self, *more: str) -> Command:
        """more: what starts it in place of the shell, a program and its arguments."""
        return Command(self.inputs.arguments(self.command), self.work, self.inputs.environment(self.work), more)

    def different(self, folder: Path | None = None) -> dict[str, int]:
        """Files that are not those of the undisturbed command, with the bytes that differ. folder: `work`."""
        return differences(self.whole.files, contents(folder or self.work))


@pytest.fixture
def place(inputs: Inputs, undisturbed: Callable[[str], Undisturbed], tmp_path: Path) -> Callable[[str], Place]:
    def of(command: str) -> Place:
        work = tmp_path / "work"
        work.mkdir()
        return Place(command, undisturbed(command), work, inputs)

    return of


@pytest.fixture(scope="session")
def note() -> Callable[..., None]:
    """Append one line to the file that $RELIABILITY_REPORT names, where it does."""

    def write(what: str, kind: str, **counts: float) -> None:
        line = {"what": what, "kind": kind, "tries": 1, "tracebacks": 0, "clips_lost": 0, "bytes_different": 0}
        if path := os.environ.get("RELIABILITY_REPORT"):
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(json.dumps({**line, "peak_mb": 0, **counts}) + "\n")

    return write
