"""`doctor`: each thing that can be wrong is made wrong, and told with its mend."""

from __future__ import annotations

import json
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from syncdiff_bench.cli import doctor, main
from syncdiff_bench.cli.doctor import Check, diagnose


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def checks(name: str, **arguments: dict[str, Path]) -> list[Check]:
    return [check for check in diagnose(**arguments) if check.name == name]


def test_the_tests_own_machine_has_nothing_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
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

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
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
    assert main(["doctor", "--data", f"lrs3={tmp_path}"]) == 1
    assert "fail dataset lrs3" in capsys.readouterr().out
    assert main(["doctor", "--data", "lrs3"]) == 2


def test_a_broken_plugin_is_told_by_its_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    from syncdiff_bench import registry

    broken = registry.Description("mine", "", "my-package", status="ImportError: no module named nothing")
    monkeypatch.setattr(registry, "describe", lambda kind: (broken,) if kind == "metric" else ())
    (check,) = checks("metric plugin")
    assert check.level == "fail" and "my-package" in check.mend
