"""The command line itself: fast, light, one line for every mistake; and `doctor`, which tells what is wrong."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from collections import namedtuple
from pathlib import Path

import pytest
from console import printed, refusal

from syncdiff_bench.cli import doctor, main
from syncdiff_bench.cli.doctor import Check, diagnose
from syncdiff_bench.registry import load_class

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


TOY = ["run", "--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["rnu"], "did you mean 'run'?"),
        (["run", "--sed", "1"], "--seed"),
        (["run", "--seed", "x"], "'x' is not a valid integer"),
        (["run", "--limit", "0"], "--limit"),
        (["run", "--method", "toy-nois", *TOY[3:]], "did you mean 'toy-noise'?"),
        ([*TOY, "--dataset", "toyy"], "did you mean 'toy'?"),
        ([*TOY, "--set", "shfit=1"], "did you mean 'shift'?"),
        ([*TOY, "--set", "shift=a"], "'a' is not a whole number"),
        ([*TOY, "--set", "batch=0"], "batches of 0"),
        ([*TOY, "--metrics", "toy-eror"], "did you mean 'toy-error'?"),
        ([*TOY, "--split", "tset"], "splits: test"),
        ([*TOY, "--dataset-set", "mrk=1"], "did you mean 'mark'?"),
        ([*TOY, "--device", "gpu"], "unknown --device 'gpu'"),
        ([*TOY, "--encoding", "x"], "lossless"),
        ([*TOY, "--data-root", "nowhere"], "nowhere: does not exist"),
        (["run", "--method", "videos", *TOY[3:]], "give folder=PATH"),
        (["report", "nowhere"], "nowhere is not a folder"),
        (["report", "."], "holds no run.json"),
        (["score", "--reference", "x"], "give RUN directories, or --videos"),
        (["list", "method"], "'methods'"),
    ],
)
@pytest.mark.usefixtures("toy_plugins", "work_folder")
def test_a_mistake_ends_in_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert words in refusal(capsys, arguments)


def test_a_damaged_manifest_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, words in (("{", "is not JSON"), ('{"schema": 9}', "schema 9"), ('{"schema": 1}', "dataset: is missing")):
        (tmp_path / "run.json").write_text(text)
        assert words in refusal(capsys, ["report", str(tmp_path)])


def test_an_interrupt_says_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy_plugins: Path, work_folder: Path
) -> None:
    def interrupted(*_arguments: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(load_class("method", "toy-noise"), "generate", interrupted)
    assert main(TOY) == 130
    assert "interrupted; run the same command again to resume" in capsys.readouterr().err


def test_list_alone_names_all_and_loads_none(toy_plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ["list"]).splitlines()
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("metrics") and "toy-error" in line for line in lines)
    assert {"toy", "pocket"} <= set(json.loads(printed(capsys, ["list", "--json"]))["datasets"])
    assert not importing("list").intersection({*HEAVY, "numpy", "toy_plugins", "syncdiff_methods"})


def test_list_as_json_names_columns_and_needs(toy_plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in json.loads(printed(capsys, ["list", "metrics", "--json"]))}
    assert rows["toy-error"]["columns"] == [["ERR", "↓", "grey levels"]]
    assert rows["toy-words"]["needs"] == ["audio", "transcript"]
    assert rows["toy-error"]["distribution"] == "toy-plugins"


def test_list_metrics_says_what_each_number_is_and_rests_on(
    toy_plugins: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    heading, rule, *lines = printed(capsys, ["list", "metrics"]).splitlines()
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


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def checks(name: str, **arguments: dict[str, Path]) -> list[Check]:
    return [check for check in diagnose(**arguments) if check.name == name]


def test_the_tests_own_machine_has_nothing_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(printed(capsys, ["doctor", "--json"]))
    levels = {check["name"]: check["level"] for check in found}
    assert levels["python"] == levels["torch"] == levels["dataset pocket"] == "ok"
    assert all(check["mend"] for check in found if check["level"] != "ok")


def test_a_checkout_on_the_path_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkout" / "leaderboards").mkdir(parents=True)
    monkeypatch.syspath_prepend(str(tmp_path / "checkout"))
    monkeypatch.delitem(sys.modules, "leaderboards", raising=False)
    told = [check for check in checks("sys.path") if "leaderboards" in check.message]
    assert told and told[0].level == "warn" and str(tmp_path / "checkout") in told[0].message


def test_an_unwritable_home_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(tempfile, "TemporaryFile", refuse)
    (check,) = checks("home")
    assert check.level == "fail" and "SYNCDIFF_BENCH_HOME" in check.mend


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")(10**12, 10**12 - 10**9, 10**9)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    (check,) = checks("disk")
    assert (check.level, check.message) == ("warn", "1 GB free")


def test_weights_that_are_not_what_they_should_be_fail(own_home: Path) -> None:
    from syncdiff_bench.weights.store import WeightsStore

    store = WeightsStore()
    (own_home / "weights").mkdir(parents=True)
    status = next(one for one in store.status() if one.entry.size)
    status.path.write_bytes(b"something else")
    wrong = [check for check in checks("weights") if check.level == "fail"]
    assert len(wrong) == 1 and str(status.path) in wrong[0].message


def test_a_dataset_that_is_not_there_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "fail dataset lrs3" in printed(capsys, ["doctor", "--data", f"lrs3={tmp_path}"], 1)
    assert main(["doctor", "--data", "lrs3"]) == 2


def test_a_broken_plugin_is_told_by_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    from syncdiff_bench import registry

    broken = registry.Description("mine", "", "my-package", status="ImportError: no module named nothing")
    monkeypatch.setattr(registry, "describe", lambda kind: (broken,) if kind == "metric" else ())
    (check,) = checks("metric plugin")
    assert check.level == "fail" and "my-package" in check.mend
