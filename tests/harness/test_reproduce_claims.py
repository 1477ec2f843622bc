"""Claims: one process at a time per unit, and none is lost with its process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from syncdiff_bench.errors import BenchError
from syncdiff_bench.reproduction.claims import Claims

# Takes every unit that it can get, for a moment each, and says which; again and again until nothing is left.
GREEDY = """
import sys, time
from pathlib import Path
from syncdiff_bench.reproduction.claims import Claims
folder, done = Path(sys.argv[1]), Path(sys.argv[2])
claims = Claims(folder)
units = [f"unit-{i}" for i in range(25)]
while todo := [unit for unit in units if not (done / unit).exists()]:
    for unit in todo:
        with claims.taken(unit) as claim:
            if claim is not None and not (done / unit).exists():
                print(unit, flush=True)
                time.sleep(0.002)
                (done / unit).touch()
"""
HOLD = """
import sys, time
from pathlib import Path
from syncdiff_bench.reproduction.claims import Claims
with Claims(Path(sys.argv[1])).taken("unit") as claim:
    print(claim is not None, flush=True)
    time.sleep(60)
"""


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def test_a_unit_is_held_once_and_given_back(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims")
    assert claims.holder("unit") is None
    with claims.taken("unit") as first, claims.taken("unit") as second, claims.taken("other") as other:
        assert first is not None
        assert second is None
        assert other is not None
        assert str(claims.holder("unit")).startswith(f"process {os.getpid()} on ")
    assert claims.holder("unit") is None
    with claims.taken("unit") as again:
        assert again is not None


def test_it_is_given_back_where_the_work_fails(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with pytest.raises(ZeroDivisionError), claims.taken("unit"):
        _ = 1 / 0
    assert claims.holder("unit") is None


def test_names_with_wildcards_are_names(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.taken("syncdiff-rnd+prv-[1]*.seed-0") as claim, claims.taken("syncdiff-rnd+prv-1x.seed-0") as other:
        assert claim is not None
        assert other is not None
        claim.require()


def test_processes_that_race_never_do_the_same(tmp_path: Path) -> None:
    done = tmp_path / "done"
    done.mkdir()
    command = [sys.executable, "-c", GREEDY, str(tmp_path / "claims"), str(done)]
    racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    did = [line for process in racing for line in process.communicate(timeout=60)[0].split()]
    assert sorted(did) == sorted(f"unit-{i}" for i in range(25))


def test_a_claim_dies_with_its_process(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "True"
    claims = Claims(tmp_path)
    with claims.taken("unit") as claim:
        assert claim is None
    process.kill()
    process.wait()
    with claims.taken("unit") as claim:
        assert claim is not None
        assert claim.file.name == "unit.claim-2.json"


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.taken("unit") as claim:
        assert claim is not None
    edit(claim.file, released=False, process_started="1")
    assert claims.holder("unit") is None


def test_a_claim_of_another_machine_is_stale_when_it_is_not_touched(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.taken("unit") as claim:
        assert claim is not None
    edit(claim.file, released=False, host="far", machine="far away", pid=1)
    assert str(claims.holder("unit")) == "process 1 on far"
    with claims.taken("unit") as mine:
        assert mine is None
    long_ago = time.time() - 601
    os.utime(claim.file, (long_ago, long_ago))
    assert claims.holder("unit") is None
    with claims.taken("unit") as mine:
        assert mine is not None


def test_whoever_was_taken_over_is_told(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    with claims.taken("unit") as claim:
        assert claim is not None
        edit(claim.file, machine="far away")
        os.utime(claim.file, (1, 1))
        with Claims(tmp_path).taken("unit") as other:
            assert other is not None
        with pytest.raises(BenchError, match="unit was taken over by another process"):
            claim.require()


def test_a_holder_shows_that_it_lives(tmp_path: Path) -> None:
    with Claims(tmp_path, beat=0.02).taken("unit") as claim:
        assert claim is not None
        os.utime(claim.file, (1, 1))
        deadline = time.monotonic() + 10
        while claim.file.stat().st_mtime < 2 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert claim.file.stat().st_mtime > 2


def test_a_claim_that_was_cut_off_while_written(tmp_path: Path) -> None:
    (tmp_path / "unit.claim-1.json").touch()
    claims = Claims(tmp_path)
    with claims.taken("unit") as claim:
        assert claim is None  # it may be written at this moment
    os.utime(tmp_path / "unit.claim-1.json", (1, 1))
    with claims.taken("unit") as claim:
        assert claim is not None


def test_waiting_for_another(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    with Claims(tmp_path).held("unit", every=0.01) as claim:
        assert claim.unit == "unit"
    process.wait()
