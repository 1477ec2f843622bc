"""Processes that write the same file, or keep weights under the same name, at the same time."""

from __future__ import annotations

import hashlib
import logging
import threading
from pathlib import Path

import pytest
from at_once import add_weights, at_once, contents, write_again_and_again

from syncdiff_bench import files
from syncdiff_bench.files import locked
from syncdiff_bench.weights import digests
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore

PUBLISHED = b"published weights"
ENTRY = Entry("net", "net.bin", "a network", "MIT", "https://example.org", ("lse",), len(PUBLISHED), "0" * 64)


@pytest.fixture
def store(tmp_path: Path) -> WeightsStore:
    return WeightsStore(tmp_path / "store", Catalogue({"net": ENTRY}))


def given(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def test_a_report_written_by_two_is_always_one_of_them(tmp_path: Path) -> None:
    path = tmp_path / "leaderboard.md"
    assert at_once(*[(write_again_and_again, (path, letter, 20)) for letter in (b"a", b"b")]) == [0, 0]
    assert contents(tmp_path) in ({"leaderboard.md": b"a" * 1_000_000}, {"leaderboard.md": b"b" * 1_000_000})


def test_two_that_add_weights_leave_one_file_whole_and_accepted(tmp_path: Path, store: WeightsStore) -> None:
    files = [given(tmp_path, letter, letter.encode() * 2_000_000) for letter in "ab"]
    assert at_once(*[(add_weights, (store.folder, file, 10)) for file in files]) == [0, 0]
    content = store.path("net").read_bytes()
    assert content in [file.read_bytes() for file in files]
    assert store.digest("net") == hashlib.sha256(content).hexdigest()


def test_who_notes_the_digest_of_an_earlier_file_does_not_undo_an_acceptance(
    tmp_path: Path, store: WeightsStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hashing takes seconds; another process adds a file with --force in that time."""
    store.folder.mkdir()
    place = given(store.folder, "net.bin", b"rotten")
    ours = given(tmp_path, "ours.bin", b"our own weights")
    real = digests.sha256_of

    def slow(path: Path) -> str:
        found = real(path)
        if path == place:
            monkeypatch.setattr(digests, "sha256_of", real)
            store.add("net", ours, force=True)
        return found

    monkeypatch.setattr(digests, "sha256_of", slow)
    digests.digest_of(place)
    assert store.path("net").read_bytes() == b"our own weights"
    assert digests.digest_of(place).accepted


def test_weights_that_version_010_accepted_stay_so(store: WeightsStore) -> None:
    store.folder.mkdir()
    place = given(store.folder, "net.bin", b"our own weights")
    facts, sha256 = place.stat(), hashlib.sha256(b"our own weights").hexdigest()
    note = f'{{"size": {facts.st_size}, "mtime_ns": {facts.st_mtime_ns}, "sha256": "{sha256}", "accepted": true}}'
    given(store.folder, "net.bin.sha256.json", note.encode())
    assert store.path("net") == place
    assert next(store.verify()).state == "here"


def test_what_is_fetched_and_added_takes_turns(tmp_path: Path, store: WeightsStore) -> None:
    ours = given(tmp_path, "ours.bin", b"our own weights")
    adding = threading.Thread(target=store.add, args=("net", ours), kwargs={"force": True})
    store.folder.mkdir()
    with locked(store.folder / ".net.bin.lock"):  # as `fetch` holds it
        adding.start()
        adding.join(0.5)
        assert not (store.folder / "net.bin").exists()
    adding.join()
    assert store.path("net").read_bytes() == b"our own weights"


def test_whoever_waits_says_for_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(files, "PATIENCE", 0.2)
    entered = threading.Event()

    def wait() -> None:
        with locked(tmp_path / "x.lock"):
            entered.set()

    waiting = threading.Thread(target=wait)
    with caplog.at_level(logging.WARNING), locked(tmp_path / "x.lock"):
        waiting.start()
        assert not entered.wait(0.8)
    waiting.join()
    assert entered.is_set()
    assert caplog.messages == [f"waiting for another process, which holds {tmp_path / 'x.lock'}"]
