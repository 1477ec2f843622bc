"""Official checkpoints in and out: the round trip keeps every weight, other variants are refused in one line."""

from __future__ import annotations

import json
import os
import sys
import types
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from syncdiff_bench.cli import main
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.loading import load_tensors
from syncdiff_methods.difftalk.converter import DiffTalkConverter, DiffTalkLayoutOptions
from syncdiff_methods.difftalk.model import DiffTalkConfig, DiffTalkModel
from syncdiff_methods.syncdiff.checkpoints import SyncDiffConverter, SyncDiffLayoutOptions
from syncdiff_methods.syncdiff.config import AudioConfig, AutoencoderConfig, ConditionConfig, SyncDiffConfig, UNetConfig
from syncdiff_methods.syncdiff.model import Autoencoder, SyncDiffModel, load_part, read_autoencoder

VQ = AutoencoderConfig((32, 32), 1, 16)
UNET = UNetConfig((32, 64), (False, True), 1)
DIFFTALK = DiffTalkConfig(name="tiny", frame_size=32, autoencoder=VQ, unet=UNET)
SYNCDIFF = SyncDiffConfig(
    name="tiny",
    frame_size=32,
    autoencoder=replace(VQ, scaling_factor=0.5),
    unet=UNET,
    audio=AudioConfig(2, 16, 32, 2, 4, 2, frozen_layers=0, window=4),
)


def same(ours: torch.nn.Module, other: torch.nn.Module) -> bool:
    a, b = ours.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.fixture
def difftalk(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    DiffTalkModel(DIFFTALK).save_pretrained(tmp_path / "difftalk")
    return tmp_path / "difftalk"


@pytest.fixture
def syncdiff(tmp_path: Path) -> Path:
    torch.manual_seed(2)
    SyncDiffModel(SYNCDIFF).save_pretrained(tmp_path / "syncdiff")
    return tmp_path / "syncdiff"


def edit(file: Path, **changes: Tensor) -> None:
    content = torch.load(file, weights_only=True)
    content["state_dict"].update(changes)
    torch.save(content, file)


# ------------------------------------------------------------------------------------------- round trips


def test_difftalk_there_and_back(difftalk: Path, tmp_path: Path) -> None:
    file, again = tmp_path / "last.ckpt", tmp_path / "again"
    DiffTalkConverter().export_checkpoint(difftalk, file)
    DiffTalkConverter(DiffTalkLayoutOptions(frame_size=32)).import_checkpoint(file, again)
    loaded = DiffTalkModel.from_pretrained(again)
    assert loaded.config == replace(DIFFTALK, name="last")
    assert same(loaded, DiffTalkModel.from_pretrained(difftalk))


def test_averages_are_taken_unless_told_otherwise(difftalk: Path, tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    DiffTalkConverter().export_checkpoint(difftalk, file)
    averages = {n: 0.9 * t for n, t in load_tensors(file).items() if n.startswith("model_ema.diffusion")}
    edit(file, **averages)
    original = DiffTalkModel.from_pretrained(difftalk).denoiser.conv_in.weight
    for average, factor in ((True, 0.9), (False, 1.0)):
        folder = tmp_path / str(average)
        DiffTalkConverter(DiffTalkLayoutOptions(average=average)).import_checkpoint(file, folder)
        loaded = DiffTalkModel.from_pretrained(folder).denoiser.conv_in.weight
        torch.testing.assert_close(loaded, factor * original)


def test_syncdiff_there_and_back(syncdiff: Path, tmp_path: Path) -> None:
    file, again = tmp_path / "last.ckpt", tmp_path / "again"
    SyncDiffConverter().export_checkpoint(syncdiff, file)
    assert load_tensors(file)["model.bottleneck.weight"].shape == (1, 3, 1, 1)
    SyncDiffConverter(SyncDiffLayoutOptions(like=str(syncdiff))).import_checkpoint(file, again)
    loaded = SyncDiffModel.from_pretrained(again)
    assert loaded.config == SYNCDIFF
    assert same(loaded, SyncDiffModel.from_pretrained(syncdiff))


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_an_autoencoder_alone_and_inside(prefix: str, tmp_path: Path) -> None:
    """A released first stage carries its loss networks; they are left out."""
    from syncdiff_methods.syncdiff.checkpoints import AutoencoderConverter, first_stage, gather

    torch.manual_seed(3)
    autoencoder = Autoencoder(VQ)
    state = {**gather([first_stage(prefix, autoencoder)]), f"{prefix}loss.logvar": torch.zeros(())}
    file, folder = tmp_path / "model.ckpt", tmp_path / "vq"
    torch.save({"state_dict": state, "global_step": 7}, file)
    AutoencoderConverter().import_checkpoint(file, folder)
    config, frame_size = read_autoencoder(folder)
    assert (config, frame_size) == (VQ, 256)
    loaded = Autoencoder(config)
    load_part(loaded, folder / "autoencoder.safetensors")
    assert same(loaded, autoencoder)
    AutoencoderConverter().export_checkpoint(folder, tmp_path / "again.ckpt")
    again = load_tensors(tmp_path / "again.ckpt")
    assert all(torch.equal(again[n.removeprefix(prefix)], t) for n, t in state.items() if "loss." not in n)


# ---------------------------------------------------------------------------------------------- refusals


def test_another_variant_is_refused_naming_the_channels(syncdiff: Path, tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    SyncDiffConverter().export_checkpoint(syncdiff, file)
    other = tmp_path / "prv"
    SyncDiffModel(replace(SYNCDIFF, condition=ConditionConfig(identity=False))).save_pretrained(other)
    message = r"takes 10 input channels, but .*prv takes 7 \(noisy 3, masked 3, previous 1 x 1\)"
    with pytest.raises(WeightsError, match=message):
        SyncDiffConverter(SyncDiffLayoutOptions(like=str(other))).import_checkpoint(file, tmp_path / "x")
    with pytest.raises(WeightsError, match="takes 10 input channels, DiffTalk's 9"):
        DiffTalkConverter().import_checkpoint(file, tmp_path / "x")
    with pytest.raises(WeightsError, match="channels 32-64, but SyncDiff paper"):
        SyncDiffConverter(SyncDiffLayoutOptions(variant="np5")).import_checkpoint(_with_context(file, 14), tmp_path)
    assert not (tmp_path / "x").exists()


def _with_context(file: Path, channels: int) -> Path:
    """The same file with so many input channels and AV-HuBERT's context, but its own, small UNet."""
    name = "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight"
    edit(file, **{"model.diffusion_model.input_blocks.0.0.weight": torch.zeros(32, channels, 3, 3)})
    edit(file, **{name: torch.zeros(64, 768)})
    return file


def test_another_schedule_is_refused(difftalk: Path, tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    DiffTalkConverter().export_checkpoint(difftalk, file)
    edit(file, betas=torch.linspace(1e-4, 2e-2, 1000))
    with pytest.raises(WeightsError, match="betas is not that of 1000 steps"):
        DiffTalkConverter().import_checkpoint(file, tmp_path / "x")


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "other.ckpt"
    torch.save({"state_dict": {"layer.weight": torch.zeros(2)}}, file)
    with pytest.raises(WeightsError, match="no latent-diffusion UNet inside"):
        DiffTalkConverter().import_checkpoint(file, tmp_path / "x")


# --------------------------------------------------------------------------- what Lightning files pickle


@pytest.fixture
def callback_class() -> Iterator[type]:
    """A class of pytorch_lightning, which is installed nowhere here."""
    module = types.ModuleType("pytorch_lightning.callbacks.model_checkpoint")
    cls = type("ModelCheckpoint", (), {"__module__": module.__name__})
    module.ModelCheckpoint = cls  # type: ignore[attr-defined]
    names = ("pytorch_lightning", "pytorch_lightning.callbacks", module.__name__)
    sys.modules.update({name: types.ModuleType(name) for name in names[:2]} | {module.__name__: module})
    yield cls
    for name in names:
        sys.modules.pop(name, None)


def test_lightnings_own_classes_are_ignored(callback_class: type, tmp_path: Path) -> None:
    file = tmp_path / "last.ckpt"
    state = {"a": torch.ones(3)}
    torch.save({"state_dict": state, "callbacks": {callback_class: {"best": 1.0}}, "x": callback_class()}, file)
    for name in [name for name in sys.modules if name.startswith("pytorch_lightning")]:
        del sys.modules[name]
    assert load_tensors(file)["a"].tolist() == [1, 1, 1]


class Hostile:
    def __reduce__(self) -> Any:
        return os.system, ("touch hostile-was-here",)


def test_a_hostile_file_is_refused_by_name_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"a": torch.ones(1)}, "callbacks": Hostile()}, "last.ckpt")
    with pytest.raises(WeightsError, match=r"last\.ckpt: holds the foreign class or function \w+\.system"):
        load_tensors(Path("last.ckpt"))
    assert not Path("hostile-was-here").exists()


# ------------------------------------------------------------------------------------------ command line


def test_the_command_converts_both_ways(difftalk: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, again = tmp_path / "out" / "last.ckpt", tmp_path / "again"
    assert main(["weights", "export", "difftalk", str(difftalk), str(file)]) == 0
    assert main(["weights", "import", "difftalk", str(file), str(again), "--set", "frame_size=32"]) == 0
    assert json.loads((again / "config.json").read_text())["frame_size"] == 32
    assert main(["weights", "import", "difftalk", str(file), str(again)]) == 2
    assert "exists; give another target, or --force" in capsys.readouterr().err
    (again / "trained.json").write_text('{"schema": 1, "dataset": "pocket", "drawn": true}')
    assert main(["weights", "import", "difftalk", str(file), str(again), "--set", "frame_size=32", "--force"]) == 0
    assert not (again / "trained.json").exists(), "of another model"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["difftolk", "a", "b"], "did you mean 'difftalk'?"),
        (["difftalk", "nowhere.ckpt", "b"], "nowhere.ckpt: no such file or directory"),
        (["difftalk"], "give a source and a target"),
        (["difftalk", ".", "b"], ". is a directory; `weights export` takes one"),
        (["difftalk", "{file}", "b", "--set", "size=3"], "unknown option 'size'"),
        (["difftalk", "{file}", "b"], "is not a readable torch checkpoint"),
    ],
)
def test_wrong_usage_is_one_line(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.ckpt"
    broken.write_bytes(b"nonsense")
    assert main(["weights", "import", *(a.format(file=broken) for a in arguments)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_layouts_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "import"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["difftalk", "syncdiff", "vq-f4"]
