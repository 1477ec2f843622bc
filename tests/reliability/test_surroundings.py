"""Full disks, read-only places, no home, ASCII, nobody who listens: one line, nothing lost, and on it goes."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from zlib import crc32

import pytest
from killing import Command, Ended
from same_bytes import contents, differences
from tiny_commands import COMMANDS, HEAVY, Inputs

SIZES = 5  # of the full disk, for each command in the long run
PAGE = 4096  # bytes, of which a tmpfs gives each file whole ones
FULL = re.compile(r"(No space left on device|File too large)")

# Both commands in one mount namespace, which ends with them: what is left is copied out of it.
FULL_DISK = """
mount -t tmpfs -o size={size} tmpfs "$PWD" && cd "$PWD" || exit 99
"$@"; echo "code while full: $?"
mount -o remount,size=256m "$PWD" || exit 99
"$@"; code=$?
cp -a . "{saved}"; exit $code
"""
LIMITED_FILES = """
(ulimit -f {blocks}; "$@"); echo "code while full: $?"
"$@"; code=$?
cp -a . "{saved}"; exit $code
"""
READ_ONLY = 'mount --bind "$PWD" "$PWD" && mount -o remount,ro,bind "$PWD" && cd "$PWD" || exit 99; exec "$@"'


def may_mount() -> bool:
    try:
        return (
            subprocess.run(
                ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
            ).returncode
            == 0
        )
    except OSError:
        return False


MAY_MOUNT = may_mount()
NAMESPACE = ("unshare", "-rm") if MAY_MOUNT else ()


def marked(light: set[str], times: int) -> list[Any]:
    """Each command `times` times in the long run; once in every run of the tests those of `light`."""
    return [
        pytest.param(
            command,
            attempt,
            id=f"{command}-{attempt}",
            marks=[] if attempt == 0 and command in light else [pytest.mark.reliability],
        )
        for command in COMMANDS
        for attempt in range(times + (command in light))
    ]


def in_one_line(said: str, code: int | None) -> bool:
    """Whether a command was refused as it should be: code 2, and nothing but its last line is an error."""
    errors = [line.startswith("error: ") for line in said.rstrip().splitlines()]
    return code == 2 and sum(errors) == 1 and errors[-1]


@pytest.mark.parametrize(("command", "attempt"), marked({"run", "weights fetch"}, SIZES))
def test_a_full_disk_costs_nothing_that_was_there(
    command: str, attempt: int, place: Callable[[str], Any], note: Callable[..., None], tmp_path: Path
) -> None:
    """Of a share of what is needed. Where nothing may be mounted no file may grow beyond a share of the largest."""
    here, saved = place(command), tmp_path / "saved"
    share = random.Random(crc32(f"full {command} {attempt}".encode())).uniform(0.02, 0.7)
    sizes = [len(data) for data in here.whole.files.values()]
    if MAY_MOUNT:
        pages = sum(-(-size // PAGE) for size in sizes)
        script = FULL_DISK.format(size=max(1, int(share * pages)) * PAGE, saved=saved)
    else:
        script = LIMITED_FILES.format(blocks=max(1, int(share * max(sizes) / 512)), saved=saved)
    ended = here.start(*NAMESPACE, "sh", "-c", script, "sh").end()
    said, _, after = ended.said.partition("code while full: ")
    different = here.different(saved)
    note(
        command,
        "full disk",
        tracebacks=int(ended.traceback),
        bytes_different=sum(different.values()),
        peak_mb=ended.peak_mb,
    )
    assert not ended.traceback, ended.said
    code = int(after.split()[0])
    # A job that fails costs `paper reproduce` those which rest on it; each is told.
    refused = code == 1 and "failed: " in said if command == "paper reproduce" else in_one_line(said, code)
    assert (refused or in_one_line(said, code)) and FULL.search(said), f"{share:.2f} of what is needed: {ended.said}"
    assert ended.code == 0, ended.said
    assert different == {}, f"{share:.2f} of what is needed"


@pytest.mark.skipif(not MAY_MOUNT, reason="nothing may be mounted here, and root writes wherever it likes")
@pytest.mark.parametrize(("command", "attempt"), marked(set(COMMANDS) - HEAVY, 1))
def test_a_read_only_place_is_one_line(
    command: str,
    attempt: int,
    inputs: Inputs,
    undisturbed: Callable[[str], Any],
    note: Callable[..., None],
    tmp_path: Path,
) -> None:
    del attempt
    if command == "data prepare latents":
        undisturbed("train")
    work = tmp_path / "work"
    work.mkdir()
    arguments, environment = inputs.arguments(command), inputs.environment(work)
    ended = Command(arguments, work, environment, [*NAMESPACE, "sh", "-c", READ_ONLY, "sh"]).end()
    note(command, "read-only place", tracebacks=int(ended.traceback), peak_mb=ended.peak_mb)
    assert in_one_line(ended.said, ended.code), ended
    assert "Read-only file system" in ended.said
    assert list(work.iterdir()) == []


# --------------------------------------------------------------------------------------------- who is asking

WITHOUT = {
    "no home": {"HOME": None},
    "an ASCII locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
DEAF = {
    "stdout closed": '"$@" >&-',
    "stderr closed": '"$@" 2>&-',
    "both closed": '"$@" >&- 2>&-',
    "stdout full": '"$@" >/dev/full',
    "both full": '"$@" >/dev/full 2>/dev/full',
    "the reader gone": '("$@"; exit 0) | true',
}


def leaves_the_same(
    inputs: Inputs,
    work: Path,
    whole: Mapping[str, bytes],
    command: str,
    note: Callable[..., None],
    what: str,
    script: str = "",
    environment: Mapping[str, str | None] = MappingProxyType({}),
) -> Ended:
    """Run a command in other surroundings, and hold what it leaves to what it always leaves."""
    work.mkdir()
    around = {key: value for key, value in {**inputs.environment(work), **environment}.items() if value is not None}
    more = ["sh", "-c", script, "sh"] if script else []
    ended = Command(inputs.arguments(command), work, around, more).end()
    different = differences(dict(whole), contents(work))
    broken = ended.traceback or "Exception ignored" in ended.said
    note(what, "surroundings", tracebacks=int(broken), bytes_different=sum(different.values()), peak_mb=ended.peak_mb)
    assert not broken, ended.said
    assert different == {}, ended
    return ended


@pytest.mark.parametrize("deaf", DEAF)
def test_nobody_listens(
    deaf: str, inputs: Inputs, undisturbed: Callable[[str], Any], note: Callable[..., None], tmp_path: Path
) -> None:
    """The work is done all the same."""
    leaves_the_same(inputs, tmp_path / "work", undisturbed("run").files, "run", note, deaf, DEAF[deaf])


@pytest.mark.parametrize("lacking", WITHOUT)
def test_other_settings_change_no_byte(
    lacking: str, inputs: Inputs, undisturbed: Callable[[str], Any], note: Callable[..., None], tmp_path: Path
) -> None:
    whole = undisturbed("score").files
    ended = leaves_the_same(inputs, tmp_path / "work", whole, "score", note, lacking, environment=WITHOUT[lacking])
    assert ended.code == 0, ended


def test_names_of_clips_in_an_ascii_locale(inputs: Inputs, note: Callable[..., None], tmp_path: Path) -> None:
    """Clips named beyond ASCII are scored as ever, or refused in a line where Python cannot spell their names."""
    clips = tmp_path / "clips"
    clips.mkdir()
    for number, path in enumerate(sorted((inputs.folder / "mine").rglob("*.mp4"))):
        shutil.copy(path, clips / f"Zoë {number} größer 話.mp4")
    line = f"score --videos {clips} --reference {clips} --boxes centred --metrics ssim --out runs"
    found = {}
    for name, environment in (("utf-8", {}), ("ascii", WITHOUT["an ASCII locale"])):
        work = tmp_path / name
        work.mkdir()
        around = {**inputs.environment(work), "LC_ALL": "C.UTF-8", **environment}
        ended = Command(line.split(), work, around).end()
        found[name] = contents(work)
        different = differences(found["utf-8"], found[name])
        refused = in_one_line(ended.said, ended.code) and name == "ascii"
        counts = {"bytes_different": 0 if refused else sum(different.values()), "peak_mb": ended.peak_mb}
        note(f"clip names, {name}", "surroundings", tracebacks=int(ended.traceback), **counts)
        assert not ended.traceback and (ended.code == 0 or refused), ended
        assert different == {} or refused


@pytest.mark.parametrize("home", ["/proc/nowhere", "relative/nowhere"])
def test_a_home_that_cannot_be_is_one_line_or_made(
    home: str, inputs: Inputs, note: Callable[..., None], tmp_path: Path
) -> None:
    """Where caches would go is told with the variable that chooses it."""
    work = tmp_path / "work"
    work.mkdir()
    arguments = inputs.arguments("data prepare faces")
    ended = Command(arguments, work, inputs.environment(work, SYNCDIFF_BENCH_HOME=home)).end()
    note(f"home {home}", "surroundings", tracebacks=int(ended.traceback), peak_mb=ended.peak_mb)
    assert not ended.traceback, ended.said
    if home.startswith("/"):
        assert in_one_line(ended.said, ended.code) and "SYNCDIFF_BENCH_HOME" in ended.said, ended
    else:
        assert ended.code == 0 and len(list((work / home / "faces").iterdir())) == 2, ended
