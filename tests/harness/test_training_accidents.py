"""Checkpoints that were cut or changed on disk, each of their files: the one before is taken, or one line says so."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from straight_line import SETTINGS, run

from syncdiff_bench.errors import UsageError

SHORT = replace(SETTINGS, steps=12, validate_every=12, checkpoint_every=4, log_every=4)
FILES = ("model.safetensors", "optimizer.bin", "random_states_0.pkl", "averages.safetensors", "training.json")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that was stopped, with checkpoints of steps 4 and 8."""
    out = tmp_path_factory.mktemp("begun")
    with pytest.raises(KeyboardInterrupt):
        run(out, SHORT, stop_at=10)
    return out


def copied(begun: Path, out: Path) -> Path:
    """Its newest checkpoint, in a copy."""
    shutil.copytree(begun, out, dirs_exist_ok=True)
    return out / "checkpoints" / "step-00000008"


def cut(share: float) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, int(share * path.stat().st_size))


def two_bytes_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 2)


def flipped(share: float) -> Callable[[Path], None]:
    """One bit of the byte that lies so far in the file: neither size nor, mostly, format tell."""

    def flip(path: Path) -> None:
        data = bytearray(path.read_bytes())
        data[int(share * (len(data) - 1))] ^= 1
        path.write_bytes(bytes(data))

    return flip


def zeroed(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


DAMAGES = {
    **{f"cut at {share}": cut(share) for share in (0, 0.1, 0.5, 0.9)},
    **{f"flipped at {share}": flipped(share) for share in (0, 0.03, 0.2, 0.5, 0.8, 0.97)},
    **{"two bytes short": two_bytes_short, "zeroed": zeroed, "deleted": Path.unlink},
}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[float]:
    return run(tmp_path_factory.mktemp("whole"), SHORT)


@pytest.mark.parametrize("name", FILES)
def test_each_damage_of_each_file_falls_back(
    tmp_path: Path, begun: Path, name: str, undisturbed: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    for number, (what, damage) in enumerate(DAMAGES.items()):
        out = tmp_path / str(number)
        damage(copied(begun, out) / name)
        capsys.readouterr()
        assert run(out, SHORT) == undisturbed, what
        said = capsys.readouterr().out
        assert re.search(r"^resumed from .*step-00000004; step-00000008 does not fit this training", said, re.M), what


@pytest.mark.parametrize("name", FILES)
def test_where_all_are_damaged_one_line_says_so(tmp_path: Path, begun: Path, name: str) -> None:
    copied(begun, tmp_path)
    for folder in (tmp_path / "checkpoints").iterdir():
        flipped(0.5)(folder / name)
    with pytest.raises(UsageError) as caught:
        run(tmp_path, SHORT)
    message = str(caught.value)
    assert "step-00000008 does not fit this training (" in message and name in message and "\n" not in message
    assert message.endswith("; choose another --out, or delete the checkpoint")


def test_a_checkpoint_of_a_version_without_digests_is_taken(
    tmp_path: Path, begun: Path, undisturbed: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    file = copied(begun, tmp_path) / "training.json"
    known = {key: value for key, value in json.loads(file.read_text()).items() if key not in ("sha256", "said")}
    file.write_text(json.dumps({**known, "schema": 1}))
    assert run(tmp_path, SHORT) == undisturbed
    assert "step-00000008\n" in capsys.readouterr().out


def test_a_bad_line_of_the_log_costs_that_line(tmp_path: Path, begun: Path, caplog: pytest.LogCaptureFixture) -> None:
    copied(begun, tmp_path)
    log = tmp_path / "log.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[0] + b"\xff" + lines[1][1:] + b"".join(lines[2:]))
    run(tmp_path, SHORT)
    assert "log.jsonl line 2 is damaged" in caplog.text
    steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
    assert 12 in steps and steps == sorted(steps)


def test_what_a_killed_training_was_writing_is_removed(tmp_path: Path, begun: Path) -> None:
    checkpoint = copied(begun, tmp_path)
    left = [checkpoint.with_name(".step-00000012.part"), tmp_path / ".model.part"]
    for folder in left:
        folder.mkdir()
        (folder / "x").write_bytes(b"x")
    run(tmp_path, SHORT)
    assert not any(folder.exists() for folder in left)
