"""What a training caches: equal to computing it in the step, refused where it is of something else, prepared ahead."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from syncdiff_bench.cli import cli
from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.errors import UsageError
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.syncdiff.audio import clip_features
from syncdiff_methods.syncdiff.config import SyncDiffConfig, shipped_config
from syncdiff_methods.syncdiff.masking import apply_mask, lower_half_mask
from syncdiff_methods.syncdiff.model import SyncDiffModel, to_images
from syncdiff_methods.syncdiff.training import SyncDiffTask, TrainedSyncDiff


class TwoClips(Pocket):
    """Two clips of pocket's test split, and one without sound."""

    opened: ClassVar[list[Clip]] = []

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return (*super().clip_ids(split)[:2], "3000000000000000009/99999")

    def clip(self, clip_id: str) -> Clip:
        self.opened.append(self.open(clip_id))
        return self.opened[-1]

    @classmethod
    def decoded(cls) -> int:
        return sum("media" in vars(clip) for clip in cls.opened)

    def open(self, clip_id: str) -> Clip:
        if clip_id.endswith("99999"):
            frames = np.zeros((8, 96, 96, 3), np.uint8)
            return Clip(clip_id, "pocket", preloaded=Media(frames, np.zeros(0, np.int16)))
        return super().clip(clip_id)

    def fingerprint(self, split: str) -> str:
        return "f" * 64


@pytest.fixture(autouse=True)
def two_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncdiff_bench.plugins.load_dataset", lambda *_: TwoClips())


@pytest.fixture(scope="module", autouse=True)
def model(home: Path) -> None:
    """`model` beside `vq`: a SyncDiff of pocket's audio encoder."""
    torch.manual_seed(0)
    SyncDiffModel(shipped_config("pocket")).save_pretrained(home / "model")


def task_of(home: Path, *overrides: str, cache: str = "cache") -> SyncDiffTask:
    plan = read_plan("syncdiff/pocket", (*SETTINGS, f"options.autoencoder={home / 'vq'}", *overrides))
    task = load_task(plan, None, home / cache, "cpu")
    assert isinstance(task, SyncDiffTask)
    return task


SETTINGS = (
    "data.split=test",
    "data.validation_split=test",
    "options.model.frame_size=32",
    "options.model.unet.channels=[32, 32, 32]",
)


def frozen(home: Path, layers: int) -> tuple[str, str]:
    return f"options.model.audio.frozen_layers={layers}", f"options.encoder={home / 'model'}"


def test_latents_are_those_of_the_frames(home: Path) -> None:
    task = task_of(home)
    task.prepare()
    cached = task.clips[1]
    clip = TwoClips().clip(cached.clip_id)
    images = to_images(torch.from_numpy(clip.frames), 32)
    boxes = torch.from_numpy(clip.face_boxes.boxes)
    mask = lower_half_mask(boxes, clip.frames.shape[1:3], 32)
    with torch.no_grad():
        clean, masked = (task.autoencoder.encode(batch[5:6])[0] for batch in (images, apply_mask(images, mask)))
    torch.testing.assert_close(cached.clean[5].float(), clean, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(cached.masked[5].float(), masked, rtol=1e-3, atol=1e-3)
    assert float(cached.mask[5].float().mean() / 255) == pytest.approx(float(mask[5].float().mean()), abs=0.003)


@pytest.mark.parametrize("layers", [0, 1, 2, 3])
def test_a_step_on_the_cache_is_a_step_without_it(home: Path, layers: int) -> None:
    """The loss through cached activations equals that through the whole encoder; NF = 3 is all of its layers."""
    task = task_of(home, *(frozen(home, layers) if layers else ()))
    task.prepare()
    module = task.build()
    assert isinstance(module, TrainedSyncDiff)
    batch = dict(task.batch(0, 0, 0, 4))
    clips = [text.split()[1] for text in task.describe(0, 0, 0, 4)]
    with torch.no_grad():
        cached = module.audio.tokens_at(batch["audio"], batch["padding"], batch["frame"])
        for row, clip_id in enumerate(clips):
            features = torch.from_numpy(clip_features(TwoClips().clip(clip_id), task.options.model.audio))
            whole = module.audio(features[None])[0, int(batch["frame"][row])]
            torch.testing.assert_close(cached[row], whole, rtol=1e-4, atol=1e-5)


def test_frozen_layers_stay_and_the_others_learn(home: Path) -> None:
    task = task_of(home, *frozen(home, 2))
    task.prepare()
    module = task.build()
    assert isinstance(module, TrainedSyncDiff)
    for parameter in module.denoiser.unet.conv_out.parameters():  # starts at zero, and stops every gradient
        torch.nn.init.normal_(parameter)
    module(**task.batch(0, 0, 0, 2))["loss"].backward()
    layers = module.audio.encoder.encoder.layers
    assert all(p.grad is None for i in (0, 1) for p in layers[i].parameters())
    assert all(p.grad is not None for p in layers[2].parameters())


def test_a_step_decodes_nothing(home: Path) -> None:
    task_of(home).prepare()
    TwoClips.opened.clear()
    task = task_of(home)
    task.prepare()
    task.batch(0, 0, 0, 4)
    assert TwoClips.decoded() == 0


def test_a_clip_without_sound_is_left_out_and_named(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    task = task_of(home)
    task.prepare()
    assert [clip.clip_id for clip in task.clips] == list(TwoClips().clip_ids("test")[:2])
    assert "left out: 3000000000000000009/99999: " in caplog.text


def test_variants_that_freeze_other_layers_share_the_latents(home: Path) -> None:
    for layers in (1, 2):
        task_of(home, *frozen(home, layers), cache="shared").prepare()
    found = sorted(path.relative_to(home / "shared").as_posix() for path in (home / "shared").glob("*/*"))
    assert found == ["audio/pocket-test-nf1", "audio/pocket-test-nf2", "latents/pocket-test"]


def test_caches_of_other_weights_or_another_mask_are_refused(home: Path, tmp_path: Path) -> None:
    task_of(home, *frozen(home, 2)).prepare()
    other = task_of(home)
    with torch.no_grad():
        other.autoencoder.vq.quant_conv.weight.add_(1)
    with pytest.raises(UsageError, match=r"latents/pocket-test was made with another autoencoder .* --fresh"):
        other.prepare()
    with pytest.raises(UsageError, match=r"was made with another mask \(.*mask_pad.*\)"):
        task_of(home, "options.model.condition.mask_pad=10").prepare()
    model = SyncDiffModel.from_pretrained(home / "model")
    with torch.no_grad():
        model.audio.encoder.encoder.layers[1].fc1.weight.add_(1)
    model.save_pretrained(tmp_path / "other")
    with pytest.raises(UsageError, match=r"audio/pocket-test-nf2 was made with another audio encoder"):
        task_of(home, frozen(home, 2)[0], f"options.encoder={tmp_path / 'other'}").prepare()
    with torch.no_grad():  # a layer that is trained anyway does not matter
        model.audio.encoder.encoder.layers[1].fc1.weight.sub_(1)
        model.audio.encoder.encoder.layers[2].fc1.weight.add_(1)


def test_the_decoder_may_change(home: Path) -> None:
    task_of(home).prepare()
    other = task_of(home)
    with torch.no_grad():
        other.autoencoder.vq.post_quant_conv.weight.add_(1)
    other.prepare()


# ------------------------------------------------------------------------------------- the command line


def invoke(*arguments: Any) -> str:
    result = CliRunner().invoke(cli, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def options(home: Path) -> list[str]:
    return [part for setting in (*SETTINGS, f"options.autoencoder={home / 'vq'}") for part in ("--set", setting)]


def test_prepare_latents_makes_what_train_reads(home: Path) -> None:
    prepare = ("data", "prepare", "latents", "syncdiff/pocket", "--cache", home / "ahead", *options(home))
    shown = invoke(*prepare, "--dry-run")
    assert not (home / "ahead").exists()
    # 8 x 8 cells of 2 x 3 float16 and one uint8, 104 float32 of sound; 90,000 frames an hour
    assert f"{8 * 8 * 13 * 90_000 / 1e9:.3f} GB per hour of video" in shown
    assert f"{104 * 4 * 90_000 / 1e9:.3f} GB per hour of video" in shown
    made = invoke(*prepare)
    assert "1 of 1 shards to make" in made
    assert "left out: 3000000000000000009/99999" in made
    TwoClips.opened.clear()
    task_of(home, cache="ahead").prepare()
    assert TwoClips.decoded() == 0
    again = invoke(*prepare)
    assert again.count("complete") == 2
    assert TwoClips.decoded() < 10  # headers for the estimate, no pictures


def test_prepare_latents_fresh_replaces_another_cache(home: Path) -> None:
    task_of(home, cache="forced").prepare()
    mask = "options.model.condition.mask_pad=10"
    prepare = ("data", "prepare", "latents", "syncdiff/pocket", "--cache", home / "forced", *options(home))
    invoke(*prepare, "--set", mask, "--fresh")
    task_of(home, mask, cache="forced").prepare()


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b"])
def test_a_part_that_is_none_is_refused(home: Path, part: str) -> None:
    arguments = ["data", "prepare", "latents", "syncdiff/pocket", "--cache", str(home / "x"), "--shard", part]
    error = CliRunner().invoke(cli, arguments).exception
    assert isinstance(error, UsageError)
    assert f"--shard {part}: expected I/N" in str(error)


def test_a_trainer_without_caches_says_so() -> None:
    assert "caches nothing" in invoke("data", "prepare", "latents", "syncdiff-autoencoder/pocket-autoencoder")


def test_dry_run_says_what_it_costs_and_starts_nothing(home: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shown = invoke("train", "syncdiff/pocket", *options(home), "--out", out, "--device", "cpu", "--dry-run")
    lines = {line.split()[0]: line for line in shown.splitlines()}
    assert {"data", "steps", "cache", "model", "FLOPs", "memory", "time"} <= set(lines)
    assert "GB per hour of video" in lines["cache"]
    assert "s per step on cpu" in lines["time"]
    assert list(tmp_path.iterdir()) == []


def test_dry_run_without_the_autoencoder_still_estimates(tmp_path: Path) -> None:
    nowhere = ["--set", f"options.autoencoder={tmp_path / 'nowhere'}", *options(tmp_path)[:-2]]
    shown = invoke("train", "syncdiff/pocket", *nowhere, "--out", tmp_path / "run", "--device", "cpu", "--dry-run")
    assert "autoencoder.json: no such file; import the published autoencoder" in shown
    assert "parameters trained" in shown


@pytest.mark.slow
def test_a_step_at_the_papers_size() -> None:
    """Counted without storage: 546 M, 342.8 GFLOP a pass, 21.3 M (docs/spec/syncdiff.md, docs/spec/parity.md#costs)."""
    from syncdiff_bench.estimates.training import step_cost
    from syncdiff_methods.syncdiff.training import SyncDiffTrainingOptions

    plan = read_plan("syncdiff/paper", ("training.mixed_precision=no",))
    task = SyncDiffTask(SyncDiffTrainingOptions(model=SyncDiffConfig()), data=None)  # type: ignore[arg-type]
    cost = step_cost(task, plan.settings)
    assert cost is not None
    unet, bottleneck, audio = 546_211_587, 4, 21_265_152
    assert cost.trained - unet - bottleneck == pytest.approx(audio, rel=0.01)  # and the temporal filter
    # forward, then twice as much backward, of 48 examples; three audio layers of 75 frames come on top
    assert cost.flops == pytest.approx(48 * 3 * 342.8e9, rel=0.02)
    assert cost.state_bytes == 4 * (4 * cost.trained + cost.frozen + unet + bottleneck)
    # what a real forward pass of one example added to the memory of a process on a CPU: 826 MB
    assert cost.example_bytes == pytest.approx(826e6, rel=0.1)
