"""`syncdiff-bench weights`, from the outside."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.weights import catalog
from syncdiff_bench.weights.catalog import Catalogue, Entry

RIGHT = b"published weights"
SHA256 = hashlib.sha256(RIGHT).hexdigest()
ENTRIES = {
    "net": Entry("net", "net.bin", "a [network]", "MIT", "https://example.org", ("lse",), len(RIGHT), SHA256),
    "free": Entry("free", "free.bin", "another", "MIT", "https://example.org", obtain="ask its author"),
}


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setattr("syncdiff_bench.weights.store.installed", lambda: Catalogue(ENTRIES, ("x is broken",)))
    return tmp_path / "home" / "weights"


def file(folder: Path, content: bytes) -> str:
    (folder / "given.bin").write_bytes(content)
    return str(folder / "given.bin")


def test_list(own_store, capsys):
    assert main(["weights", "list"]) == 0
    output = capsys.readouterr()
    for text in ("net", "missing", "a [network]", "MIT", "lse", str(own_store)):
        assert text in output.out
    assert output.err == "warning: x is broken\n"
    assert main(["weights", "list", "--json"]) == 0
    net, free = json.loads(capsys.readouterr().out)
    assert (net["name"], net["state"], net["sha256"], net["fetchable"]) == ("net", "missing", SHA256, False)
    assert (free["size"], free["obtain"]) == (None, "ask its author")


def test_add_then_verify(tmp_path, capsys):
    assert main(["weights", "add", "net", file(tmp_path, RIGHT)]) == 0
    assert "as published" in capsys.readouterr().out
    assert main(["weights", "add", "free", file(tmp_path, b"x")]) == 0
    assert "the published digest is not known" in capsys.readouterr().out
    assert main(["weights", "verify"]) == 0
    assert "2 here, 0 missing, 0 wrong" in capsys.readouterr().out


def test_another_file_needs_force(tmp_path, own_store, capsys):
    wrong = file(tmp_path, b"x")
    assert main(["weights", "add", "net", wrong]) == 2
    assert capsys.readouterr().err.startswith(f"error: {wrong} has 1 bytes, 17 expected for net; get it from")
    assert main(["weights", "add", "net", wrong, "--force"]) == 0
    assert "NOT the published file, kept by --force" in capsys.readouterr().out
    assert main(["weights", "verify"]) == 0
    assert "NOT the published file" in capsys.readouterr().out


def test_verify_answers_no_where_a_file_is_wrong(own_store, capsys):
    own_store.mkdir(parents=True)
    (own_store / "net.bin").write_bytes(RIGHT[1:])
    assert main(["weights", "verify"]) == 1
    assert "net.bin has 16 bytes, 17 expected for net" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fetch", "nte"], "error: unknown weights 'nte'; did you mean 'net'?"),
        (["fetch", "free"], "error: weights free must be got by hand: ask its author; then syncdiff-bench"),
        (["add", "net", "/nowhere/x"], "error: /nowhere/x: no such file"),
        (["fetch"], "error: Missing argument"),
    ],
)
def test_mistakes_end_in_one_line(arguments, message, capsys):
    assert main(["weights", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(message)
    assert error.count("\n") == 1


def test_the_list_is_light():
    code = (
        "import sys; from syncdiff_bench.cli import main; main(['weights', 'list', '--json']); "
        "sys.exit(' '.join({'torch', 'requests', 'numpy.linalg', 'pypi_simple'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert finished.stderr.strip() == ""
    assert {"lpips-alex", "syncnet-v2"} <= {row["name"] for row in json.loads(finished.stdout)}


def test_the_store_reads_the_installed_catalogue():
    assert "lpips-alex" in catalog.installed().entries
