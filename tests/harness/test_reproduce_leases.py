"""Leases: one process at a time per piece of work, and none is lost with its process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest
from filelock import SoftFileLease

from syncdiff_bench.errors import BenchError
from syncdiff_bench.reproduction.leases import Leases, require
from syncdiff_bench.reproduction.make import Step, make

# Takes every unit that it can get, for a moment each, and says which; again and again until nothing is left.
GREEDY = """
import sys, time
from pathlib import Path
from syncdiff_bench.reproduction.leases import Leases
folder, done = Path(sys.argv[1]), Path(sys.argv[2])
leases = Leases(folder)
units = [f"unit-{i}" for i in range(25)]
while todo := [unit for unit in units if not (done / unit).exists()]:
    for unit in todo:
        with leases.taken(unit) as lease:
            if lease is not None and not (done / unit).exists():
                print(unit, flush=True)
                time.sleep(0.002)
                (done / unit).touch()
"""
HOLD = """
import sys, time
from pathlib import Path
from syncdiff_bench.reproduction.leases import Leases
with Leases(Path(sys.argv[1])).taken("unit") as lease:
    print(lease is not None, flush=True)
    time.sleep(60)
"""
FAR = """
import os, socket, sys
from pathlib import Path
socket.gethostname = lambda: "far"
from syncdiff_bench.reproduction.leases import Leases
with Leases(Path(sys.argv[1]), stale=0.4).taken("unit"):
    os._exit(0)
"""


def test_a_unit_is_held_once_and_given_back(tmp_path: Path) -> None:
    leases, others = Leases(tmp_path / "leases"), Leases(tmp_path / "leases")
    assert leases.holder("unit") == ""
    with leases.taken("unit") as first, leases.taken("unit") as second, others.taken("unit") as third:
        assert first is not None
        assert (second, third) == (None, None)
        require(first)
        assert others.holder("unit").startswith(f"process {os.getpid()} on ")
        assert not others.far("unit")
        with leases.taken("other") as other:
            assert other is not None
    assert leases.holder("unit") == ""
    with others.taken("unit") as again:
        assert again is not None


def test_it_is_given_back_where_the_work_fails(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    with pytest.raises(ZeroDivisionError), leases.taken("unit"):
        _ = 1 / 0
    assert leases.holder("unit") == ""


def test_what_a_dead_process_left_of_finished_work_goes_at_the_next_start(tmp_path: Path) -> None:
    """Killed between the end of its work and giving the lease back; one that lives or cannot be seen keeps its own."""
    killed = "import os, sys\n" + HOLD.replace("time.sleep(60)", "os._exit(0)")
    subprocess.run([sys.executable, "-c", killed, str(tmp_path)], check=True, capture_output=True)
    subprocess.run([sys.executable, "-c", FAR.replace('"unit"', '"far"'), str(tmp_path)], check=True)
    with Leases(tmp_path).taken("alive"):
        assert {path.stem for path in tmp_path.glob("*.lease")} == {"unit", "far", "alive"}
        assert make([], Leases(tmp_path)) == ({}, {})
        assert {path.stem for path in tmp_path.glob("*.lease")} == {"far", "alive"}


def test_names_with_wildcards_are_names(tmp_path: Path) -> None:
    leases = Leases(tmp_path)
    with leases.taken("syncdiff-rnd+prv-[1]*.seed-0") as lease, leases.taken("syncdiff-rnd+prv-1x.seed-0") as other:
        assert lease is not None
        assert other is not None
        require(lease)


def test_processes_that_race_never_do_the_same(tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.mkdir()
    command = [sys.executable, "-c", GREEDY, str(tmp_path / "leases"), str(done)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    did = [line for process in racing for line in process.communicate(timeout=60)[0].split()]
    assert sorted(did) == sorted(f"unit-{i}" for i in range(25))


def test_a_lease_dies_with_its_process_and_whoever_waits_gets_it(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "True"
    leases = Leases(tmp_path)
    with leases.taken("unit") as lease:
        assert lease is None
    process.kill()
    process.wait()
    with leases.taken("unit", wait=True) as lease:
        assert lease is not None


@pytest.fixture
def far(tmp_path: Path) -> Path:
    """The lease on "unit", 0.4 s long, of a process on another machine that died."""
    subprocess.run([sys.executable, "-c", FAR, str(tmp_path)], check=True)
    return tmp_path / "unit.lease"


def test_a_lease_of_another_machine_is_stale_when_it_is_not_touched(far: Path) -> None:
    leases = Leases(far.parent, stale=0.4)
    assert re.fullmatch(r"process \d+ on far", leases.holder("unit"))
    assert leases.far("unit")
    for _ in range(3):
        with leases.taken("unit") as mine:
            assert mine is None
        time.sleep(0.25)
        os.utime(far)  # a sign of life
    with leases.taken("unit") as mine:
        assert mine is None
    time.sleep(0.5)
    with leases.taken("unit") as mine:
        assert mine is not None


def test_work_of_a_machine_that_went_away_is_waited_for_and_done(far: Path) -> None:
    result = far.parent / "result"
    step = Step("unit", (), result.is_file, lambda _lease: result.touch())
    assert make([step], Leases(far.parent, stale=0.4), poll=0.1) == ({}, {})
    assert result.is_file()


def test_whoever_was_taken_over_is_told(tmp_path: Path) -> None:
    with Leases(tmp_path).taken("unit") as lease:
        assert lease is not None
        Path(lease.lock_file).unlink()
        with Leases(tmp_path).taken("unit") as other:
            assert other is not None
            with pytest.raises(BenchError, match="unit was taken over by another process"):
                require(lease)


def test_a_holder_shows_that_it_lives(tmp_path: Path) -> None:
    with Leases(tmp_path, stale=0.3).taken("unit") as lease:
        assert isinstance(lease, SoftFileLease)
        file = Path(lease.lock_file)
        os.utime(file, (1, 1))
        deadline = time.monotonic() + 10
        while file.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert file.stat().st_mtime > 2
