"""A training folder belongs to one training and to one launch at a time; what is damaged in it costs a few steps."""

from __future__ import annotations

import json
import os
import re
import resource
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from straight_line import DATA, SETTINGS, LineOptions, LineTask, launched, run
from torch import nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import locked
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData, TrainingSettings

SHORT = replace(SETTINGS, steps=40, validate_every=20, checkpoint_every=10)


def begin(out: Path, stop_at: int = 25) -> None:
    """Checkpoints of steps 10 and 20."""
    with pytest.raises(KeyboardInterrupt):
        run(out, SHORT, stop_at=stop_at)


def log_of(out: Path) -> list[dict[str, Any]]:
    rows = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in row.items() if key != "steps_per_s"} for row in rows]


# ------------------------------------------------------------------------------------------- one training


@pytest.mark.parametrize(
    ("key", "before", "now"),
    [
        ("learning_rate", 0.1, 0.2),
        ("schedule", "cosine", "constant"),
        ("seed", 0, 1),
        ("batch_size", 8, 16),
        ("ema_decay", 0.9, 0.5),
        ("mixed_precision", "no", "bf16"),
        ("steps", 40, 39),
    ],
)
def test_other_settings_are_another_training(tmp_path: Path, key: str, before: object, now: Any) -> None:
    begin(tmp_path)
    with pytest.raises(UsageError) as caught:
        run(tmp_path, replace(SHORT, **{key: now}))
    assert str(caught.value) == (
        f"{tmp_path} holds a training of training.{key} = {before}, not {now}; set it back, or choose another --out"
    )


def test_other_options_and_other_data_are_another_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin(tmp_path)
    with pytest.raises(UsageError, match=r"holds a training of options.dropout = 0.0, not 0.5; set it back"):
        run(tmp_path, SHORT, dropout=0.5)
    for data, key in (
        (TrainingData(DATA.dataset, "val", "val", DATA.cache), "data.split = train, not val"),
        (TrainingData(DATA.dataset, "train", "train", DATA.cache), "data.validation_split = val, not train"),
    ):
        with pytest.raises(UsageError, match=key):
            train(LineTask(LineOptions(), data), SHORT, tmp_path, cpu=True)
    monkeypatch.setattr(DATA.dataset, "fingerprint", lambda split: "f00d" if split == "val" else "d65b")
    with pytest.raises(UsageError, match=r"on other data: fingerprint of train was \w{64}, now it is d65b; bring"):
        run(tmp_path, SHORT)


def test_what_may_change_in_the_middle(tmp_path: Path) -> None:
    begin(tmp_path)
    free = {"steps": 50, "micro_batch": 4, "log_every": 5, "validate_every": 25, "checkpoint_every": 25}
    run(tmp_path, replace(SHORT, **free, sample_every=0, keep_last=1))  # type: ignore[arg-type]
    known = json.loads((tmp_path / "training.json").read_text())
    assert (known["training"]["steps"], known["training"]["micro_batch"]) == (50, 4)
    with pytest.raises(UsageError, match=r"training.steps = 50, not 40"):
        run(tmp_path, SHORT)


def test_a_folder_without_a_checkpoint_is_nobodys(tmp_path: Path) -> None:
    begin(tmp_path, stop_at=5)
    assert (tmp_path / "training.json").is_file()
    assert run(tmp_path, replace(SHORT, seed=3)) == run(tmp_path / "fresh", replace(SHORT, seed=3))


def test_a_folder_that_does_not_say_what_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As older versions left it: it goes on, with a note, and is recorded from then on."""
    begin(tmp_path)
    (tmp_path / "training.json").unlink()
    run(tmp_path, SHORT)
    assert f"note: {tmp_path} does not say what its checkpoints were trained with" in capsys.readouterr().out
    assert json.loads((tmp_path / "training.json").read_text())["data"]["split"] == "train"
    (tmp_path / "training.json").write_text("[]")
    with pytest.raises(UsageError, match=r"training.json does not say what was trained here .*; delete it"):
        run(tmp_path, SHORT)


def test_another_version_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begin(tmp_path)
    known = json.loads((tmp_path / "training.json").read_text())
    known["versions"]["torch"] = "1.0"
    (tmp_path / "training.json").write_text(json.dumps(known))
    run(tmp_path, SHORT)
    assert f"note: begun with torch 1.0, now {torch.__version__.partition('+')[0]}" in capsys.readouterr().out


# --------------------------------------------------------------------------------------------- one launch


def test_a_second_training_in_a_folder_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    before = log_of(tmp_path)
    for member in (None, 1):
        with locked(tmp_path / ".lock", member=member), pytest.raises(UsageError) as caught:
            run(tmp_path, SHORT)
        assert str(caught.value) == f"{tmp_path} is in use by another training; wait for it or choose another --out"
    assert log_of(tmp_path) == before
    run(tmp_path, SHORT)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "found"),
    [
        ("raise", "process 1 has ended: ValueError: the disk with the clips is gone"),
        ("kill", "process 1 is gone without a word (killed, as where memory runs out)"),
    ],
)
def test_who_ended_and_why(tmp_path: Path, ends: str, found: str) -> None:
    settings = replace(SHORT, micro_batch=4, checkpoint_every=2)
    done = launched(2, tmp_path, settings, ends=ends)
    assert done.returncode != 0
    told = re.findall("^error: .*$", done.stderr, re.MULTILINE)
    assert len(told) == 1, done.stderr
    assert told[0].startswith(
        f"error: process 0: {found}; the last good checkpoint is {tmp_path}/checkpoints/step-0000000"
    )
    own = tmp_path / "errors" / "process-1.txt"
    assert (own.read_text() if own.is_file() else "") == (
        "ValueError: the disk with the clips is gone\n" if ends == "raise" else ""
    )
    assert (tmp_path / "errors" / "process-0.txt").read_text() == ""
    run(tmp_path, settings)
    assert not (tmp_path / "errors").exists()


# ----------------------------------------------------------------------------------------- damaged files

FILES = ["model.safetensors", "optimizer.bin", "random_states_0.pkl", "averages.safetensors", "training.json"]


@pytest.mark.parametrize("share", [0, 0.5])
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_checkpoint_falls_back(
    tmp_path: Path, name: str, share: float, capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed = run(tmp_path / "a", SHORT)
    begin(tmp_path / "b")
    damaged = tmp_path / "b/checkpoints/step-00000020" / name
    whole = damaged.stat().st_size
    os.truncate(damaged, int(share * whole))
    capsys.readouterr()
    assert run(tmp_path / "b", SHORT) == undisturbed
    said = capsys.readouterr().out
    why = (
        "Expecting value|Unterminated string|Expecting"
        if name == "training.json"
        else f"{name} has .* of {whole} bytes"
    )
    assert re.search(rf"^resumed from .*step-00000010; step-00000020 does not fit this training \(({why})", said, re.M)
    assert log_of(tmp_path / "b") == log_of(tmp_path / "a")


@pytest.mark.parametrize("name", FILES[:2])
def test_damage_that_no_size_tells(tmp_path: Path, name: str) -> None:
    """Of a checkpoint of an older version, which recorded none."""
    undisturbed = run(tmp_path / "a", SHORT)
    begin(tmp_path / "b")
    folder = tmp_path / "b/checkpoints/step-00000020"
    known = json.loads((folder / "training.json").read_text())
    older = {key: value for key, value in known.items() if key not in ("files", "sha256", "said")} | {"schema": 1}
    (folder / "training.json").write_text(json.dumps(older))
    os.truncate(folder / name, (folder / name).stat().st_size // 2)
    assert run(tmp_path / "b", SHORT) == undisturbed


def test_a_folder_of_damaged_checkpoints_is_refused(tmp_path: Path) -> None:
    begin(tmp_path)
    for folder in (tmp_path / "checkpoints").iterdir():
        os.truncate(folder / "optimizer.bin", 10)
    with pytest.raises(UsageError, match=r"step-00000020 does not fit .*\(optimizer.bin has 10 of .*; choose another"):
        run(tmp_path, SHORT)


# ------------------------------------------------------------------------------------------ full disks, modes


class Wide(LineTask):
    """Has a buffer of 400 kB, and at step 15 a disk that takes no file of more than `room` bytes."""

    room = 0

    def build(self) -> nn.Module:
        model = super().build()
        model.register_buffer("wide", torch.zeros(100_000))
        return model

    def between(self, model: nn.Module, step: int) -> None:
        if step == 15 and self.room:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def same_room_after() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("room", [300_000, 5_000])
def test_a_disk_that_fills_up_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int) -> None:
    """safetensors cannot write the model; where that is small, torch cannot write the generators' states."""
    task = Wide(LineOptions(), DATA)
    if room == 5_000:
        monkeypatch.setattr(task, "build", lambda: LineTask.build(task))
    monkeypatch.setattr(Wide, "room", room)
    with same_room_after(), pytest.raises(UsageError) as caught:
        train(task, SHORT, tmp_path, cpu=True)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path}/checkpoints/.step-00000020.part cannot be written (")
    assert ("No space left on device, it seems" if room == 5_000 else "File too large") in message
    assert message.endswith("); free space, then run the same command again") and "\n" not in message
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["step-00000010"]
    monkeypatch.setattr(Wide, "room", 0)
    train(task, SHORT, tmp_path, cpu=True)


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_are_as_open_as_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        run(tmp_path, replace(SHORT, steps=10))
    finally:
        os.umask(before)
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.parent != tmp_path]
    assert {path.name for path in files} >= {*FILES, "weight.json", "trained.json"}
    assert {path.name: path.stat().st_mode & 0o777 for path in files} == dict.fromkeys((p.name for p in files), mode)


# -------------------------------------------------------------------------------------- looking at the model


def test_the_checkpoint_comes_before_the_validation(tmp_path: Path) -> None:
    """What validation dies of costs no step; started again, the missing figures are made, and nothing twice."""

    class Fragile(LineTask):
        broken = True

        def validation(self, model: nn.Module) -> Mapping[str, float]:
            torch.rand(7)  # whatever it draws, the training does not see
            if self.broken and (tmp_path / "b/checkpoints/step-00000020").exists():
                raise RuntimeError("out of clips")
            return super().validation(model)

    task = Fragile(LineOptions(dropout=0.2), DATA)
    with pytest.raises(RuntimeError, match="out of clips"):
        train(task, SHORT, tmp_path / "b", cpu=True)
    task.broken = False
    for _ in range(2):
        train(task, SHORT, tmp_path / "b", cpu=True)
    undisturbed = run(tmp_path / "a", SHORT, dropout=0.2)
    assert json.loads((tmp_path / "b/model/weight.json").read_text()) == undisturbed
    assert log_of(tmp_path / "b") == log_of(tmp_path / "a")


def test_a_sample_image_that_fails_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Blind(LineTask):
        def samples(self, model: nn.Module) -> Any:
            raise ValueError("no clip\nis long enough")

    train(Blind(LineOptions(), DATA), replace(SHORT, sample_every=40), tmp_path, cpu=True)
    note = "no sample image: ValueError: no clip is long enough"
    assert {"step": 40, "note": note} in log_of(tmp_path)
    assert f"note: step 40: {note}" in capsys.readouterr().out
    assert (tmp_path / "model").is_dir()


def test_the_rate_is_that_of_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock where a step takes 2 s, a validation 100 s and a picture 50 s."""
    now = [0.0]

    class Timed(LineTask):
        def between(self, model: nn.Module, step: int) -> None:
            now[0] += 2

        def validation(self, model: nn.Module) -> Mapping[str, float]:
            now[0] += 100
            return {}

        def samples(self, model: nn.Module) -> Any:
            now[0] += 50

    monkeypatch.setattr("syncdiff_bench.training.loop.time", SimpleNamespace(monotonic=lambda: now[0]))
    settings: TrainingSettings = replace(SHORT, validate_every=10, sample_every=15)
    train(Timed(LineOptions(), DATA), settings, tmp_path, cpu=True)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [row["steps_per_s"] for row in rows if "steps_per_s" in row] == [0.5] * 4
