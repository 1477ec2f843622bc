"""The command line itself: fast, light, and one line for every mistake."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from syncdiff_bench.cli import main

LAUNCH = "import sys; from syncdiff_bench.cli import main; sys.exit(main())"
HEAVY = ("torch", "av", "diffusers", "pandas", "skimage", "scipy")


def importing(*arguments: str) -> set[str]:
    """Top-level packages that a command imports."""
    finished = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", LAUNCH, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in finished.stderr.splitlines() if line.startswith("import time:")]
    return {line.rpartition("|")[2].strip().partition(".")[0] for line in lines}


@pytest.mark.parametrize("arguments", [["list", kind] for kind in ("methods", "metrics", "datasets")], ids=" ".join)
def test_list_imports_nothing_heavy(arguments: list[str]) -> None:
    imported = importing(*arguments)
    assert "click" in imported  # the probe itself works
    assert not imported.intersection(HEAVY)


@pytest.fixture
def in_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def one_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("error: ")
    assert captured.out == ""
    return line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "did you mean 'run'?"),
        (["run", "--sed", "1"], "--seed"),
        (["run", "--seed", "x"], "'x' is not a valid integer"),
        (["run", "--limit", "0"], "--limit"),
        (["run", "--method", "toy-nois", "--dataset", "toy"], "did you mean 'toy-noise'?"),
        (["run", "--method", "toy-noise", "--dataset", "toyy"], "did you mean 'toy'?"),
        (["run", "--method", "toy-noise", "--dataset", "toy", "--set", "shfit=1"], "did you mean 'shift'?"),
        (
            ["run", "--method", "toy-noise", "--dataset", "toy", "--set", "shift=a"],
            "'a' is not a whole number",
        ),
        (["run", "--method", "toy-noise", "--dataset", "toy", "--set", "batch=0"], "batches of 0"),
        (
            ["run", "--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-eror"],
            "did you mean 'toy-error'?",
        ),
        (["run", "--method", "toy-noise", "--dataset", "toy", "--split", "tset"], "splits: test"),
        (
            ["run", "--method", "toy-noise", "--dataset", "toy", "--dataset-set", "mrk=1"],
            "did you mean 'mark'?",
        ),
        (["run", "--method", "toy-noise", "--dataset", "toy", "--device", "gpu"], "unknown --device 'gpu'"),
        (["run", "--method", "toy-noise", "--dataset", "toy", "--encoding", "x"], "lossless"),
        (
            ["run", "--method", "toy-noise", "--dataset", "toy", "--data-root", "nowhere"],
            "nowhere: does not exist",
        ),
        (["run", "--method", "videos", "--dataset", "toy"], "give folder=PATH"),
        (["report", "nowhere"], "nowhere is not a folder"),
        (["report", "."], "holds no run.json"),
        (["score", "--reference", "x"], "give RUN directories, or --videos"),
        (["list", "method"], "'methods'"),
    ],
)
def test_a_mistake_ends_in_one_line(
    arguments: list[str],
    words: str,
    capsys: pytest.CaptureFixture[str],
    toy_plugins: Path,
    in_tmp_path: None,
) -> None:
    if arguments[0] == "run" and "--metrics" not in arguments:
        arguments = [*arguments, "--metrics", "toy-error"]
    assert words in one_error(arguments, capsys)


def test_a_damaged_manifest_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for text, words in (
        ("{", "is not JSON"),
        ('{"schema": 9}', "schema 9"),
        ('{"schema": 1}', "is incomplete"),
    ):
        (tmp_path / "run.json").write_text(text)
        assert words in one_error(["report", str(tmp_path)], capsys)


def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy_plugins: Path, tmp_path: Path
) -> None:
    import toy_plugins as toys  # type: ignore[import-not-found]

    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(toys.Noise, "generate", interrupted)
    arguments = ["run", "--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error"]
    assert main(arguments) == 130
    assert "interrupted; run the same command again to resume" in capsys.readouterr().err


def test_list_alone_names_all_and_loads_none(toy_plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("metrics") and "toy-error" in line for line in lines)
    assert main(["list", "--json"]) == 0
    assert {"toy", "pocket"} <= set(json.loads(capsys.readouterr().out)["datasets"])
    assert not importing("list").intersection({*HEAVY, "numpy", "toy_plugins", "syncdiff_methods"})


def test_list_as_json_names_columns_and_needs(toy_plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list", "metrics", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["toy-error"]["columns"] == [["ERR", "↓", "grey levels"]]
    assert rows["toy-words"]["needs"] == ["audio", "transcript"]
    assert rows["toy-error"]["distribution"] == "toy-plugins"


def test_list_metrics_says_what_each_number_is_and_rests_on(
    toy_plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["list", "metrics"]) == 0
    heading, rule, *lines = capsys.readouterr().out.splitlines()
    edges = [match.span() for match in re.finditer("-+", rule)]
    names, *rows = ([line[start:end].strip() for start, end in edges] for line in (heading, *lines))
    shown = {row[0]: dict(zip(names, row, strict=True)) for row in rows}
    lse = shown["lse"]
    assert (lse["protocol"], lse["columns"], lse["direction"]) == ("lrs", "LSE-C, LSE-D", "↑, ↓")
    assert lse["weights"] == "syncnet-v2"
    assert "calculate_scores_LRS.py" in lse["source"]
    assert (shown["psnr"]["unit"], shown["psnr"]["direction"], shown["psnr"]["weights"]) == ("dB", "↑", "")
    assert (shown["lmd"]["columns"], shown["lmd"]["unit"]) == ("LMD, F-LMD", "px")
    assert "avhubert-lrs2-vsr" in shown["wer"]["weights"]
    assert (shown["toy-error"]["unit"], shown["toy-error"]["status"]) == ("grey levels", "ok")
    assert shown["toy-error"]["weights"] == ""


def test_a_closed_pipe_is_no_error() -> None:
    shell = f'{sys.executable} -c "{LAUNCH}" list metrics | true'
    finished = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=False)
    assert "Traceback" not in finished.stderr and "Broken" not in finished.stderr
