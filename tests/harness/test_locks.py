"""Locks on file systems of clusters: flock is a POSIX lock underneath (NFSv4), or there is none (some of Lustre)."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import locked

# What another process runs: on a file system of that flock it holds the lock of its argument until it is killed.
HOLDER = """
import errno, fcntl, sys, time
from pathlib import Path

def missing(number):
    def flock(_descriptor, _operation):
        raise OSError(number, "Function not implemented")
    return flock

fcntl.flock = {flock}
from syncdiff_bench.files import locked
with locked(Path(sys.argv[1]), member={member}, refusal="busy"):
    print("here", flush=True)
    time.sleep(60)
"""


def missing(number: int) -> Callable[[int, int], None]:
    def flock(_descriptor: int, _operation: int) -> None:
        raise OSError(number, "Function not implemented")

    return flock


FILE_SYSTEMS = {
    "local": (fcntl.flock, "fcntl.flock"),
    "nfs4": (fcntl.lockf, "fcntl.lockf"),  # a shared lock of a descriptor that is only written: EBADF
    "lustre": (missing(errno.ENOSYS), f"missing({errno.ENOSYS})"),
    "nfs without lockd": (missing(errno.ENOLCK), f"missing({errno.ENOLCK})"),
}


@pytest.fixture(params=FILE_SYSTEMS)
def flock(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """This process on such a file system; yields the same in words for another one."""
    function, words = FILE_SYSTEMS[request.param]
    monkeypatch.setattr(fcntl, "flock", function)
    return words


@contextmanager
def held_elsewhere(lock: Path, flock: str, member: int | None = None) -> Iterator[subprocess.Popen[bytes]]:
    code = HOLDER.format(flock=flock, member=member)
    with subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None and process.stdout.readline() == b"here\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("member", [None, 2])
def test_two_processes_exclude_each_other_and_a_dead_one_nobody(tmp_path: Path, flock: str, member: int | None) -> None:
    lock = tmp_path / "x.lock"
    lock.touch()  # as flock leaves it behind
    with held_elsewhere(lock, flock, member) as other:
        for _ in range(2):
            with pytest.raises(UsageError, match=r"^it is in use"), locked(lock, refusal="it is in use"):
                pass
        other.kill()
        other.wait()
        with locked(lock, refusal="it is in use"):
            assert not list(tmp_path.glob("x.lock-*"))
        with locked(lock, refusal="it is in use"):
            pass


def test_what_is_waited_for_is_got(tmp_path: Path, flock: str) -> None:
    began = time.monotonic()
    with held_elsewhere(tmp_path / "x.lock", flock) as other:
        threading.Timer(0.5, lambda: (other.kill(), other.wait())).start()
        with locked(tmp_path / "x.lock"):
            assert time.monotonic() - began > 0.5


def test_a_lock_of_another_machine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", missing(errno.ENOSYS))
    (tmp_path / "x.lock.soft").write_text("4711\nanother-machine\n")
    message = r"in use \(process 4711 has .*x\.lock\.soft; if it ran on another machine and died, delete that\)"
    with pytest.raises(UsageError, match=message), locked(tmp_path / "x.lock", refusal="in use"):
        pass


def test_another_trouble_is_told_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", missing(errno.EIO))
    with pytest.raises(OSError, match="Function not implemented") as caught, locked(tmp_path / "x", refusal="in use"):
        pass
    assert caught.value.errno == errno.EIO


@pytest.mark.usefixtures("toy_plugins", "work_folder")
def test_generate_and_score_work(flock: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = Path("o/toy-noise")
    for _ in range(2):  # the second finds what the first left behind
        assert main(["generate", "--method", "toy-noise", "--dataset", "toy", "--set", "shift=3", "--out", "o"]) == 0
        assert main(["score", str(run), "--metrics", "toy-error"]) == 0
    capsys.readouterr()
    with held_elsewhere(run / ".lock", flock):
        assert main(["score", str(run), "--metrics", "toy-error"]) == 2
    assert "o/toy-noise is in use by another process" in capsys.readouterr().err
