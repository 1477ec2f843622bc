"""What an accident left of a run (bad bytes, lost files, dead processes) costs what it hit, and is made again."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from console import refusal

from syncdiff_bench import files
from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import replacing, write_whole
from syncdiff_bench.journals import Journal, Undefined, read_rows
from syncdiff_bench.leftovers import partial_path, sweep, sweep_once
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.runs.recorded import recorded
from syncdiff_bench.runs.records import Generated, Score

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

NOISE = ["run", "--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error", "--set", "shift=3"]
RUN = Path("runs/toy-test/toy-noise")
JOURNALS = ("generation.jsonl", "scores.jsonl")


@pytest.fixture
def made(toy_runs: Path) -> Path:
    """A finished run, copied."""
    shutil.copytree(toy_runs / RUN, RUN)
    return RUN


TIMED = ("run.json", "timings.jsonl")


def content(run: Path) -> dict[str, bytes]:
    """All files of a run but run.json and timings.jsonl, which say when it was made and how long it took."""
    names = (path for path in sorted(run.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(run)): path.read_bytes() for path in names if path.name not in TIMED}


def line_of(journal: Path, clip: str) -> int:
    return next(n for n, line in enumerate(journal.read_text().splitlines()) if json.loads(line)["clip"] == clip)


def change(journal: Path, clip: str, edit: Callable[[bytes], bytes]) -> None:
    lines = journal.read_bytes().splitlines(keepends=True)
    number = line_of(journal, clip)
    lines[number] = edit(lines[number][:-1]) + b"\n"
    journal.write_bytes(b"".join(lines))


# ------------------------------------------------------------------------------------------- lines of journals

BAD = {
    "bad byte": lambda line: line[:20] + b"\xff" + line[21:],
    "no JSON": lambda line: b"rubbish",
    "cut": lambda line: line[: len(line) // 2],
    "zeros": lambda line: bytes(len(line)),
    "other schema": lambda line: line.replace(b'"schema": 1', b'"schema": 2'),
    "no schema": lambda line: line.replace(b'"schema": 1, ', b""),
    "no object": lambda _line: b"[1]",
    "nested": lambda line: b"[" * 100_000,
    "a key changed": lambda line: line.replace(b'"error"', b'"errpr"'),
    "an unknown key": lambda line: line.replace(b'"error"', b'"more": 1, "error"'),
    "another type": lambda line: line.replace(b'"clip": "s1/2"', b'"clip": 7'),
    "half a character": lambda line: line.replace(b"s1/2", rb"s1/\ud800"),
    "a huge number": lambda line: line.replace(b'"schema": 1', b'"schema": 1' + b"0" * 30),
}


@pytest.mark.parametrize("what", BAD)
@pytest.mark.parametrize("name", JOURNALS)
def test_a_bad_line_is_left_out_and_told(made: Path, name: str, what: str, caplog: pytest.LogCaptureFixture) -> None:
    change(made / name, "s1/2", BAD[what])
    run = load_run(made)
    assert len(run.generated) + len(run.scores) == 9
    assert [one.kind for one in run.caveats if one.kind == "lost-lines"] == ["lost-lines"]
    assert f"{name} line" in caplog.text and "is damaged (" in caplog.text


@pytest.mark.parametrize(("clip", "batch"), [("s1/2", "s1/2 s1/3\n"), ("s2/4", "s2/4\n")])
@pytest.mark.parametrize("name", JOURNALS)
def test_a_bad_line_costs_its_clip_alone(
    made: Path, name: str, clip: str, batch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = content(made)
    change(made / name, clip, BAD["bad byte"])
    monkeypatch.setenv("TOY_LOG", "log.txt")
    assert main(NOISE) == 0
    assert content(made) == before
    assert load_run(made).finished and "lost-lines" not in {one.kind for one in load_run(made).caveats}
    again = Path("log.txt").read_text() if Path("log.txt").exists() else ""
    assert again == (batch if name == "generation.jsonl" else "")


def test_a_column_that_nobody_asks_for_again_keeps_its_other_lines(made: Path) -> None:
    assert main(["score", str(made), "--metrics", "toy-error[protocol=signed]"]) == 0
    before = content(made)
    change(made / "scores.jsonl", "s1/2", BAD["no JSON"])  # its first line, of the metric that NOISE does not name
    assert main(["score", str(made), "--metrics", "toy-error[protocol=signed]"]) == 0
    assert content(made) == before


@pytest.mark.parametrize("changed", [b'"tptal": 6912.0', b'"total": "6912"'])
def test_statistics_that_their_metric_cannot_read_are_measured_again(
    made: Path, changed: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    before = content(made)
    change(made / "scores.jsonl", "s1/2", lambda line: line.replace(b'"total": 6912.0', changed))
    assert main(NOISE) == 0
    assert "1 scores cannot be read, and are measured again (first: s1/2)" in capsys.readouterr().err
    assert content(made) == before


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_an_undefined_number_is_the_failure_of_its_clip(made: Path, number: bytes) -> None:
    before = content(made)
    change(made / "scores.jsonl", "s1/2", lambda line: line.replace(b'"total": 6912.0', b'"total": ' + number))
    assert number in (made / "scores.jsonl").read_bytes()
    (lost,) = (row for row in load_run(made).scores if row.clip == "s1/2")
    assert lost.error is not None and lost.error.kind == "not-finite" and "--retry-failed" in lost.error.message
    assert main([*NOISE, "--strict"]) == 1
    assert load_run(made).summary[0].n == 4 and load_run(made).summary[0].failed == 1
    assert main([*NOISE, "--strict", "--retry-failed"]) == 0
    assert content(made) == before


def test_an_undefined_number_of_a_video_fails_it(made: Path) -> None:
    change(made / "generation.jsonl", "s1/2", lambda line: line.replace(b'"frames": 3', b'"frames": NaN'))
    assert main([*NOISE, "--strict"]) == 1
    assert {row.clip for row in load_run(made).scores if row.failed} == {"s1/2"}
    assert main([*NOISE, "--strict", "--retry-failed"]) == 0


def test_an_id_after_a_colon_is_no_number() -> None:
    """Names in LRS2 have 19 digits."""
    row = {"message": "clip: 5535415699068794046: [9223372036854775807000, 1e999"}
    Path("j.jsonl").write_text(json.dumps(row) + "\n")
    assert list(read_rows(Path("j.jsonl"))) == [row]
    Path("j.jsonl").write_text('{"a": 9223372036854775808}\n{"a": [1.5, -1e999]}\n{"a": 9223372036854775807}\n')
    rows = list(read_rows(Path("j.jsonl")))
    assert rows == [{"a": [1.5, None]}, {"a": 2**63 - 1}] and isinstance(rows[0], Undefined)


def test_rows_are_as_they_were_written() -> None:
    for line in (Generated("a", 3, ("n",), sha256="5"), Score("m", "d", "c", "p", "q", {"v": None}, {"s": [1]})):
        assert type(line).from_row(json.loads(json.dumps(line.to_row()))) == line


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(Path("j.jsonl"))
    journal.append([{"a": 1}])

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(Exception, match="No space left"):
            journal.append([{"a": 2}])
    assert Path("j.jsonl").read_text() == '{"a": 1}\n' and journal.rows == [{"a": 1}]


# ---------------------------------------------------------------------------------------------------- run.json

BROKEN = {
    "empty": b"",
    "zeros": bytes(500),
    "a brace": b"{",
    "no run": b'{"schema": 1}',
    "a list": b"[]",
    "latin-1": b'{"schema": 1, "a": "\xe9"}',
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_damaged_manifest_is_taken_from_its_copy(made: Path, what: str) -> None:
    identity, whole = load_run(made).identity, json.loads((made / "run.json").read_bytes())
    (made / "run.json").write_bytes(BROKEN[what])
    with pytest.raises(UsageError, match="the command that made the run rebuilds it, or choose another --out"):
        load_run(made)
    manifest, damage = recorded(made, identity)
    assert manifest == whole and "run.json" in damage


@pytest.mark.parametrize("what", ["zeros", "cut", "gone", "a key changed"])
def test_a_damaged_manifest_is_rebuilt_by_the_command_that_made_it(
    made: Path, what: str, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    file = made / "run.json"
    whole, before = file.read_bytes(), content(made)
    if what == "gone":
        file.unlink()
    elif what == "a key changed":
        file.write_bytes(whole.replace(b'"fingerprint"', b'"fingerprimt"'))
    else:
        file.write_bytes(whole[: len(whole) // 2] if what == "cut" else BROKEN[what])
    if what != "gone":
        assert "the command that made the run rebuilds it, or choose another --out" in refusal(
            capsys, ["report", str(made)]
        )
    said = refusal(capsys, [*NOISE, "--seed", "1"])
    assert "holds another run (seed 0 -> 1)" in said
    assert main(NOISE) == 0
    assert file.read_bytes() == whole and content(made) == before
    assert "it is as its copy again" in caplog.text


def test_without_a_copy_the_way_out_is_named(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = content(made)
    (made / "run.json").write_text("{")
    (made / ".run.copy.json").unlink()
    said = refusal(capsys, NOISE)
    assert "run.json is not the record of a run (is not JSON" in said
    assert "bring it back from a backup" in said and "--fresh" in said
    assert content(made) == before
    assert main([*NOISE, "--fresh"]) == 0
    assert content(made) == before


def test_fresh_leaves_no_copy_of_the_run_before(made: Path) -> None:
    assert main([*NOISE, "--fresh", "--seed", "1"]) == 0
    assert json.loads((made / ".run.copy.json").read_bytes())["seed"] == 1


# -------------------------------------------------------------------------------------- videos before their line


def test_a_video_is_on_the_disk_before_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each clip, in this order: its video synced, named, its folder synced, its line synced."""
    events: list[str] = []
    rename = Path.replace

    def synced(descriptor: int) -> None:
        events.append(f"sync {Path(f'/proc/self/fd/{descriptor}').readlink().name}")

    def replaced(self: Path, target: Path) -> Path:
        events.append(f"name {Path(target).name}")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", replaced)
    assert main([*NOISE, "--limit", "2"]) == 0
    for video in ("0.mp4", "1.mp4"):
        at = events.index(f"name {video}")
        assert events[at - 1].startswith(f"sync .{video}.") and events[at + 1] == "sync s0"
        assert events[at + 2] == "sync generation.jsonl"


# ------------------------------------------------------------------------------------- what the dead were writing


def dead_process() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        return process.pid


def left_by(pid: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: pid)
        partial = partial_path(path)
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.write_bytes(b"half")
    return partial


def test_the_next_start_removes_what_the_dead_were_writing(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dead, living = dead_process(), os.getppid()
    gone = [left_by(dead, made / name, monkeypatch) for name in ("run.json", "videos/s1/3.mp4", "videos/s9/9.mp4")]
    gone.append(made / "videos/s1/.3.mp4.00000000-1.part")  # of another machine, where nobody else is at work
    gone[-1].write_bytes(b"half")
    stays = [left_by(living, made / "videos/s1/2.mp4", monkeypatch), made / "x.part", made / ".notes.part"]
    for path in stays[1:]:
        path.write_bytes(b"somebody's")
    assert main(NOISE) == 0
    assert not any(path.exists() for path in gone) and all(path.exists() for path in stays)


def test_a_folder_that_many_share_is_swept_at_the_first_write(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path("home/faces").absolute()
    left = left_by(dead_process(), folder / "a.npz", monkeypatch)
    elsewhere, old = folder / ".b.npz.00000000-1.part", folder / ".c.npz.00000000-1.part"
    adding, fetched = folder / "w.pth.adding", folder / "w.pth.part"
    for path in (elsewhere, old, adding, fetched):
        path.write_bytes(b"half")
    for path in (old, adding, fetched):
        os.utime(path, (time.time() - 90_000,) * 2)
    write_whole(folder / "d", "whole")
    assert sorted(path.name for path in folder.iterdir()) == [elsewhere.name, "d", fetched.name]
    assert not left.exists()
    sweep_once(folder)  # does not look again
    sweep(folder, alone=True)
    assert sorted(path.name for path in folder.iterdir()) == ["d", fetched.name]


def test_a_number_that_another_process_has_now_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    left = left_by(os.getppid(), Path("a").absolute(), monkeypatch)
    os.utime(left, (1e9, 1e9))  # written long before that process began
    sweep(Path())
    assert not left.exists()


@pytest.mark.skipif(os.name == "nt", reason="a process of Windows is gone when it ends")
def test_a_process_that_was_killed_and_not_yet_waited_for_saves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as writer:
        left = left_by(writer.pid, Path("a").absolute(), monkeypatch)
        sweep(Path())
        assert left.exists()
        writer.kill()
        while psutil.Process(writer.pid).status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.01)
        sweep(Path())
        assert not left.exists()


def test_the_disk_is_waited_for_and_a_failure_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_path: Path) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(files, "sync", broken)
    with pytest.raises(OSError, match="Input/output"), replacing(Path("a")) as partial:
        partial.write_text("1")
    assert list(Path().glob("*a*")) == []


def test_damage_is_told_on_stderr_once(made: Path) -> None:
    change(made / "scores.jsonl", "s1/2", BAD["no JSON"])
    done = subprocess.run([sys.executable, "-m", "syncdiff_bench", *NOISE], capture_output=True, text=True, check=True)
    told = [line for line in done.stderr.splitlines() if "damaged" in line]
    assert len(told) == 1 and told[0].startswith(f"warning: {made}/scores.jsonl line 3 is damaged (")
    assert logging.getLogger("syncdiff_bench.journals").level == logging.NOTSET


@pytest.mark.parametrize(
    "line", ['{"b": 2} x', '{"b": 2}{"c": 3}', "[1]", "1", "", '{"b": 2', '{"b": 99999999999999999999}']
)
def test_a_line_that_is_no_object_is_damaged(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: str) -> None:
    path = tmp_path / "j.jsonl"
    path.write_text(f'{{"a": 1}}\n{line}\n  {{"d": 4}} \n')
    assert list(read_rows(path)) == [{"a": 1}, {"d": 4}]
    assert caplog.text.count("line 2 is damaged") == 1


@pytest.mark.parametrize("torn", ['{"b": 2', '{"b": 2}'])
def test_a_last_line_without_its_end_is_none_and_is_not_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, torn: str
) -> None:
    """A kill cut it off; also where all but the line feed was written, or the next line would go on behind it."""
    path = tmp_path / "torn.jsonl"
    path.write_text('{"a": 1}\n' + torn)
    assert list(read_rows(path)) == [{"a": 1}] and caplog.text == ""
    Journal(path).append([{"c": 3}])
    assert list(read_rows(path)) == [{"a": 1}, {"c": 3}]
