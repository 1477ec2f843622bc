"""The whole command line, walked: helps alike, one name for one thing, and every former spelling answers as before."""

from __future__ import annotations

import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from syncdiff_bench.cli import cli, main
from syncdiff_bench.cli.commands import Group

METAVARS = {"DIR", "FILE", "NAME", "NAME|DIR", "N", "ID", "KEY=VALUE", "COLUMN=VALUE", "RUN=NAME", "DATASET=DIR"}
METAVARS |= {"X1,Y1,X2,Y2", "DEVICE", "I/N", "A,B", "A,B[KEY=VALUE]", "TEXT", "FACTOR"}
# --out is a file where one text is written, else a folder; --format and --table differ in what they offer.
EITHER = {"--out": {"DIR", "FILE"}}


def walk(group: Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Paths of all commands and groups that --help shows, the program itself first."""
    yield path
    for name, entry in group.table.items():
        if isinstance(entry, Group):
            yield from walk(entry, (*path, name))
        else:
            yield (*path, name)


def command(path: tuple[str, ...]) -> click.Command:
    found: click.Command = cli
    for word in path:
        assert isinstance(found, click.Group)
        below = found.get_command(click.Context(found), word)
        assert below is not None, path
        found = below
    return found


PATHS = list(walk(cli))
OPTIONS = [
    (path, option)
    for path in PATHS
    for option in command(path).params
    if isinstance(option, click.Option) and option.name != "version"
]


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_a_help_shows_usage_and_examples_in_80_columns(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr()
    spelling = " ".join(["syncdiff-bench", *path])
    assert shown.out.startswith(f"Usage: {spelling}")
    assert f"    {spelling}" in shown.out.partition("Examples:")[2]
    assert [line for line in shown.out.splitlines() if len(line) > 80] == []
    assert shown.err == ""


def test_no_help_imports_anything_heavy() -> None:
    script = f"""
import sys
from syncdiff_bench.cli import main
for path in {PATHS!r}:
    main([*path, "--help"])
print("imported:", *{{name.partition(".")[0] for name in sys.modules}})
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    imported = done.stdout.rpartition("imported:")[2].split()
    assert "click" in imported  # the probe itself works
    assert not {"torch", "av", "diffusers", "pandas", "skimage", "scipy", "numpy"}.intersection(imported)


def test_an_overview_has_a_line_for_all_below_it_and_nothing_former(capsys: pytest.CaptureFixture[str]) -> None:
    for path in PATHS:
        if isinstance(command(path), click.Group):
            main([*path, "--help"])
            overview = capsys.readouterr().out.partition("\nCommands:\n")[2].partition("\n  Examples:")[0]
            lines = [line for line in overview.splitlines() if line.startswith(" ")]
            assert [line.split()[0] for line in lines] == [one[-1] for one in PATHS if one[:-1] == path and one]
            assert all(line.endswith(".") and not line.endswith("...") for line in lines)
    assert {path[0] for path in PATHS if path}.isdisjoint(FORMER)


def test_an_option_says_what_it_takes_and_its_default() -> None:
    lacking = {" ".join((*path, option.opts[0])): list(missing(path, option)) for path, option in OPTIONS}
    assert {name: what for name, what in lacking.items() if what} == {}


def missing(path: tuple[str, ...], option: click.Option) -> Iterator[str]:
    """What an option's line in the help lacks."""
    if not option.help or not option.help.endswith((".", ")")):
        yield "a sentence that says what it is for"
    if option.metavar not in METAVARS and not option.is_flag and not isinstance(option.type, click.Choice):
        yield f"a metavar of the list, not {option.metavar}"
    context = click.Context(command(path), show_default=True)
    _, line = option.get_help_record(context) or ("", "")
    has_default = (
        isinstance(option.default, str | int | float | tuple | Path)
        and option.default not in ((), "")
        and option.default is not False
    )
    if line.count("default: ") != (has_default or isinstance(option.show_default, str)):
        yield "its default, once"


def test_no_option_means_two_things() -> None:
    metavars: defaultdict[str, set[str]] = defaultdict(set)
    for _, option in OPTIONS:
        for name in option.opts:
            metavars[name].add("flag" if option.is_flag else option.metavar or "choice")
    assert {name: found for name, found in metavars.items() if len(found) > 1} == EITHER


FORMER = tuple(cli.former)
FORMER_CALLS = {
    "paper tables --runs .": ("`--runs` is now an argument without a name", 2),
    "tables --table 1": ("`syncdiff-bench paper tables`", 0),
    "reproduce --table 7": ("`syncdiff-bench paper reproduce`", 2),
    "calibrate --dataset nowhere": ("`syncdiff-bench paper calibrate`", 2),
    "probe --method gt": ("`syncdiff-bench paper probe`", 2),
    "probe --method gt --videos 3": ("`--pose-clips`", 2),
    "prepare faces --split nowhere": ("`syncdiff-bench data prepare`", 2),
    "prepare data --split test": ("`syncdiff-bench data prepare splits`", 0),
    "prepare latents syncdiff-autoencoder/pocket-autoencoder --cpu --part 1/1 --force": ("`--device cpu`", 0),
    "verify --limit 1": ("`syncdiff-bench data verify`", 0),
    "convert": ("`syncdiff-bench weights import`", 0),
    "convert vq-f4 . x.ckpt": ("`syncdiff-bench weights export`", 2),
    "new metric mine --in below": ("`syncdiff-bench plugin new`", 0),
    "plugin new metric yours --in=below": ("`--out`", 0),
    "check-plugin static": ("`syncdiff-bench plugin check`", 0),
    "train syncdiff/nothing --cpu": ("`--device cpu`", 2),
}


@pytest.mark.parametrize("line", FORMER_CALLS)
def test_a_former_spelling_works_and_names_the_present_one(
    line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    present, code = FORMER_CALLS[line]
    assert main(line.split()) == code
    notes = [line for line in capsys.readouterr().err.splitlines() if line.startswith("note: ")]
    assert present in " ".join(notes)


@pytest.mark.parametrize("name", FORMER)
def test_a_former_spelling_has_a_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert capsys.readouterr().out.startswith(f"Usage: syncdiff-bench {name}")


@pytest.mark.parametrize(
    ("typed", "incomplete", "offered"),
    [
        ([], "p", ["paper", "plugin"]),
        ([], "t", ["train"]),
        (["data"], "", ["add", "list", "remove", "verify", "prepare"]),
        (["data", "prepare"], "l", ["landmarks", "latents"]),
        (["paper", "tables"], "--ta", ["--table"]),
        (["prepare"], "", ["faces", "landmarks", "latents", "splits"]),
    ],
)
def test_a_shell_completes_through_groups(
    typed: list[str], incomplete: str, offered: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    completion: Any = ShellComplete(cli, {}, "syncdiff-bench", "_COMPLETE")
    assert [one.value for one in completion.get_completions(typed, incomplete)] == offered
    assert capsys.readouterr().err == ""
