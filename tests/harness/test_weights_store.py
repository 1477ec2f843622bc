"""The store: a file under a name is what the name promises, or was kept on purpose, and its digest is known."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.weights import digests
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore

RIGHT, WRONG = b"published weights", b"other weights, or"
SHA256 = hashlib.sha256(RIGHT).hexdigest()
KNOWN = Entry("net", "net.bin", "a network", "none", "https://example.org", size=len(RIGHT), sha256=SHA256)
UNKNOWN = Entry("free", "free.bin", "a network", "none", "https://example.org", obtain="ask its author")


@pytest.fixture
def store(tmp_path) -> WeightsStore:
    return WeightsStore(tmp_path / "store", Catalogue({"net": KNOWN, "free": UNKNOWN}))


def file(folder: Path, content: bytes) -> Path:
    path = folder / "downloaded.bin"
    path.write_bytes(content)
    return path


def test_the_folder_is_the_users_choice(tmp_path, monkeypatch):
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "mine"))
    assert WeightsStore().folder == tmp_path / "mine" / "weights"
    monkeypatch.delenv("SYNCDIFF_BENCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert WeightsStore().folder.name == "weights"
    assert not list(tmp_path.iterdir())


def test_missing_weights_say_how_to_get_them(store):
    with pytest.raises(WeightsError, match=r"^weights net missing; syncdiff-bench weights fetch net$") as caught:
        store.path("net")
    assert caught.value.missing == "net"
    with pytest.raises(WeightsError, match="must be got by hand: ask its author; then syncdiff-bench weights add free"):
        store.fetch("free")
    with pytest.raises(UsageError, match="unknown weights 'nte'; did you mean 'net'"):
        store.path("nte")


def test_the_published_file_is_added(store, tmp_path):
    given = file(tmp_path, RIGHT)
    assert store.add("net", given).read_bytes() == RIGHT
    assert given.exists()
    assert store.path("net") == store.folder / "net.bin"
    assert store.digest("net") == SHA256
    assert [status.state for status in store.verify()] == ["here", "missing"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (WRONG, f"has sha256 {hashlib.sha256(WRONG).hexdigest()}, {SHA256} expected for net"),
        (RIGHT[:-1], "has 16 bytes, 17 expected for net"),
    ],
)
def test_another_file_is_refused_unless_forced(store, tmp_path, content, message):
    given = file(tmp_path, content)
    with pytest.raises(WeightsError, match=message):
        store.add("net", given)
    assert not store.folder.exists()
    store.add("net", given, force=True)
    assert store.path("net").read_bytes() == content
    assert store.digest("net") == hashlib.sha256(content).hexdigest()
    assert [(s.state, s.problem) for s in store.verify()] == [("here", ""), ("missing", "")]
    assert store.fetch("net").read_bytes() == content  # kept: somebody wanted it


def test_a_forced_file_does_not_cover_for_the_next_one(store, tmp_path):
    store.add("net", file(tmp_path, WRONG), force=True)
    (store.folder / "net.bin").write_bytes(b"third file, 17 by")
    with pytest.raises(WeightsError, match=r"has sha256 .* expected for net; syncdiff-bench weights fetch net"):
        store.path("net")


def test_a_file_put_there_by_hand_is_checked(store):
    store.folder.mkdir()
    (store.folder / "net.bin").write_bytes(RIGHT[:5])
    with pytest.raises(WeightsError, match=r"net\.bin has 5 bytes, 17 expected") as caught:
        store.path("net")
    assert caught.value.missing is None
    assert [(s.state, s.problem) for s in store.status()] == [
        ("wrong", "has 5 bytes, 17 expected for net"),
        ("missing", ""),
    ]
    (store.folder / "net.bin").write_bytes(WRONG)
    with pytest.raises(WeightsError, match="has sha256"):
        store.path("net")
    assert [s.state for s in store.verify()] == ["wrong", "missing"]
    (store.folder / "net.bin").write_bytes(RIGHT)
    assert store.path("net").is_file()


def test_a_file_already_in_place_can_be_accepted(store):
    store.folder.mkdir()
    place = store.folder / "net.bin"
    place.write_bytes(WRONG)
    store.add("net", place, force=True)
    assert store.path("net").read_bytes() == WRONG


def test_weights_without_a_published_digest(store, tmp_path):
    store.add("free", file(tmp_path, WRONG))
    assert store.digest("free") == hashlib.sha256(WRONG).hexdigest()
    assert [(s.state, s.sha256) for s in store.verify()][1] == ("here", store.digest("free"))


def test_a_file_that_is_not_there_cannot_be_added(store, tmp_path):
    with pytest.raises(UsageError, match="no such file"):
        store.add("net", tmp_path / "nothing.bin")


def test_digests_are_computed_once_per_content(tmp_path, monkeypatch):
    path = file(tmp_path, RIGHT)
    assert digests.digest_of(path).sha256 == SHA256
    counted: list[Path] = []
    real = digests.sha256_of
    monkeypatch.setattr(digests, "sha256_of", lambda p: counted.append(p) or real(p))
    assert digests.digest_of(path).sha256 == SHA256
    assert not counted
    path.write_bytes(WRONG)  # same size
    os.utime(path, ns=(1, 1))
    assert digests.digest_of(path).sha256 == hashlib.sha256(WRONG).hexdigest()
    assert len(counted) == 1


def test_verify_does_not_trust_what_was_remembered(store, tmp_path):
    """Rot on the disk leaves size and time as they were."""
    path = store.add("net", file(tmp_path, RIGHT))
    facts = path.stat()
    path.write_bytes(WRONG)
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert store.path("net") == path
    assert next(store.verify()).state == "wrong"
    with pytest.raises(WeightsError):
        store.path("net")


@pytest.mark.parametrize("note", ["{", "[]", '{"size": 1}', "null"])
def test_a_damaged_note_is_ignored(store, tmp_path, note):
    path = store.add("net", file(tmp_path, RIGHT))
    path.with_name("net.bin.sha256.json").write_text(note)
    assert store.digest("net") == SHA256


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("in the way")
    store = WeightsStore(tmp_path / "file" / "weights", Catalogue({"free": UNKNOWN}))
    with pytest.raises(WeightsError, match=r"weights cannot be written \(Not a directory\); set SYNCDIFF_BENCH_HOME"):
        store.add("free", file(tmp_path, RIGHT))
