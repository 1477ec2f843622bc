"""The sync loss of SyncDiff: what it adds to a batch, and what it makes of a prediction."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_bench.estimates.training import step_cost
from syncdiff_bench.media.bilinear import cut_faces
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData, TrainingSettings
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.syncdiff.beyond.sync_loss import (
    SyncLoss,
    SyncOptions,
    crop_around,
    cut_areas,
    draw_windows,
    sounds,
    sync_cache,
)
from syncdiff_methods.syncdiff.config import DiffusionConfig, Prediction
from syncdiff_methods.syncdiff.latents import ClipLatents, DiffusionLoss
from syncdiff_methods.syncdiff.model import Autoencoder
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions, TrainedSyncDiff
from syncdiff_methods.wav2lip.clip_faces import BOXES
from syncdiff_methods.wav2lip.expert import SyncExpertConfig, SyncExpertModel
from syncdiff_methods.wav2lip.faces import face_areas
from syncdiff_methods.wav2lip.mel import mel_windows

pytestmark = pytest.mark.usefixtures("few_clips")
ON = {"sync_weight": 0.1, "sync_windows": 2}


@pytest.fixture(scope="module")
def expert(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("expert")
    torch.manual_seed(0)
    SyncExpertModel(SyncExpertConfig(8, 16)).save_pretrained(folder)
    return str(folder)


def clip_of(frames: int, name: str = "a") -> ClipLatents:
    """Row t of everything holds t."""
    row = torch.arange(frames, dtype=torch.float32)
    latents = row.view(-1, 1, 1, 1).expand(frames, 3, 8, 8)
    mask = torch.full((frames, 8, 8), 128, dtype=torch.uint8)
    mel, areas = row.view(-1, 1, 1).expand(frames, 80, 16), torch.tensor([0.2, 0.1, 0.8, 0.9]).expand(frames, 4)
    return ClipLatents(name, latents, latents + 100, mask, torch.zeros(frames, 104), mel=mel, areas=areas)


def task_of(**options: object) -> SyncDiffTask:
    made = SyncDiffTrainingOptions(TINY, **options)  # type: ignore[arg-type]
    return SyncDiffTask(made, TrainingData(None, "", "", None), "cpu")  # type: ignore[arg-type]


def drawn(size: int = 6, **options: object) -> dict[str, Tensor]:
    return task_of(**options).draw([clip_of(9), clip_of(40, "b")], np.random.default_rng([3, 7, 0]), size)[1]


# ------------------------------------------------------------------------------------- what is drawn


def test_all_else_is_drawn_as_without_it() -> None:
    plain, more = drawn(), drawn(**ON)
    assert {name for name in more if not name.startswith("sync_")} == set(plain)
    assert [name for name, tensor in plain.items() if not torch.equal(tensor, more[name])] == []
    assert all(torch.equal(tensor, drawn(**ON)[name]) for name, tensor in more.items())


def test_both_start_alike() -> None:
    states = []
    for options in ({}, ON):
        torch.manual_seed(4)
        states.append(TrainedSyncDiff(SyncDiffTrainingOptions(TINY, **options)).state_dict())  # type: ignore[arg-type]
    plain, more = states
    assert [name for name, tensor in plain.items() if not torch.equal(tensor, more[name])] == []


def test_a_window_is_five_frames_with_their_true_previous_ones() -> None:
    batch = drawn(sync_weight=0.1, sync_windows=50, previous_noise=0.5, previous_dropout=0.9)
    shown = {
        name: batch[f"sync_{name}"][..., 0, 0, 0].unflatten(0, (50, 5)) for name in ("clean", "masked", "identity")
    }
    starts = shown["clean"][:, :1]
    assert torch.equal(shown["clean"], starts + torch.arange(5))
    assert torch.equal(shown["masked"], shown["clean"] + 100)
    assert torch.equal(batch["sync_previous"][:, 0, 0, 0, 0].unflatten(0, (50, 5)), shown["clean"] - 1)
    assert torch.equal(batch["sync_frame"].unflatten(0, (50, 5)), shown["clean"].long())
    assert starts.min() == 1 and starts.max() == 40 - 5
    one = shown["identity"][:, :1]
    assert torch.equal(shown["identity"], one.expand(50, 5))
    assert not ((one >= starts) & (one < starts + 5)).any()
    assert one.min() == 0 and one.max() > 30
    timesteps = batch["sync_timestep"].unflatten(0, (50, 5))
    assert (timesteps == timesteps[:, :1]).all() and len(timesteps[:, 0].unique()) > 40
    assert 550 < timesteps.max() <= 600
    noise = batch["sync_noise"]
    assert float(noise.std()) == pytest.approx(1, abs=0.02) and not torch.equal(noise[0], noise[1])


def test_timesteps_reach_to_the_noisiest_that_counts() -> None:
    assert drawn(sync_weight=0.1, sync_windows=60, sync_from=2)["sync_timestep"].unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize(("frames", "alike"), [(40, False), (12, False), (8, True)])
def test_the_own_sound_comes_first_and_no_other_is_it(frames: int, alike: bool) -> None:
    for seed in range(20):
        (window,) = draw_windows([clip_of(frames)], np.random.default_rng(seed), 1)
        found = sounds(window, np.random.default_rng(seed))[:, 0, 0].int().tolist()
        assert found[0] == window.start and window.start not in found[1:]
        assert len(found) == 8 and max(found) <= frames - 5
        assert (len(set(found)) < 8) is alike


def test_clips_that_are_too_short_have_no_windows() -> None:
    """Five frames have no frame before them and no other as their identity; six have one window."""
    windows = draw_windows([clip_of(5), clip_of(6, "six")], np.random.default_rng(0), 9)
    assert {(window.clip.clip_id, window.start, window.identity) for window in windows} == {("six", 1, 0)}
    with pytest.raises(UsageError, match="no clip has 6 frames"):
        draw_windows([clip_of(5)], np.random.default_rng(0), 1)


def test_windows_are_told_in_words() -> None:
    words = list(task_of(**ON).draw([clip_of(6)], np.random.default_rng(0), 3)[0])
    assert words[3:] == ["window of clip a frames 1 to 5"] * 2


# -------------------------------------------------------------------------------------------- loss


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
def test_the_estimate_of_a_right_prediction_is_the_clean_latent(kind: Prediction) -> None:
    loss = DiffusionLoss(DiffusionConfig(prediction=kind))
    clean, noise, timestep = torch.randn(4, 3, 8, 8), torch.randn(4, 3, 8, 8), torch.tensor([0, 300, 600, 900])
    noisy = loss.noisy(clean, noise, timestep)
    right = loss._target(clean, noise, timestep)
    torch.testing.assert_close(loss.estimate(right, noisy, timestep), clean, atol=1e-4, rtol=1e-4)


def test_what_is_cut_is_what_the_expert_learnt_from() -> None:
    """The lower halves that OpenCV's arithmetic cuts, to a grey level; borders of a box see beyond it here."""
    frames = Pocket().clip(Pocket().clip_ids("test")[0]).frames[:4]
    boxes = np.array([[20, 31, 140, 151], [33, 40, 120, 130], [30, 30, 126, 126], [10, 20, 150, 160]], np.int32)
    faces = cut_faces(frames[..., ::-1], boxes)[:, 48:]
    lower = boxes / 160
    lower[:, 1] = (lower[:, 1] + lower[:, 3]) / 2
    images = torch.from_numpy(frames.copy()).permute(0, 3, 1, 2).float() / 127.5 - 1
    found = (cut_areas(images, torch.from_numpy(lower).float()) * 255).permute(0, 2, 3, 1).numpy()
    difference = np.abs(found - faces)[:, 2:-2, 2:-2]
    assert difference.max() <= 1.01


def test_a_crop_holds_the_areas_and_says_where_they_are() -> None:
    """Cells that know their place, 16 x 16; the crop of a window is the same in its five frames."""
    rows, columns = torch.meshgrid(torch.arange(16.0), torch.arange(16.0), indexing="ij")
    latents = torch.stack([rows, columns, rows]).expand(2, 5, 3, 16, 16)
    areas = torch.tensor([[4, 6, 8, 10], [10, 9, 16, 16]])[:, None].expand(2, 5, 4) / 16
    cropped, inside = crop_around(latents, areas, 6)
    assert cropped.shape == (2, 5, 3, 6, 6)
    assert cropped[0, 3, 0, :, 0].tolist() == [5, 6, 7, 8, 9, 10] and cropped[0, 3, 1, 0].tolist() == [3, 4, 5, 6, 7, 8]
    assert cropped[1, 0, 0, 0, 0] == 10 and cropped[1, 0, 1, 0, 0] == 10  # within the frame
    torch.testing.assert_close(inside[0, 0] * 6, torch.tensor([1.0, 1, 5, 5]))
    torch.testing.assert_close(inside[1, 0] * 6, torch.tensor([0.0, -1, 6, 6]))
    for side in (0, 16, 20):
        assert crop_around(latents, areas, side)[0] is latents


def module_of(expert: str, crop: int = 0) -> SyncLoss:
    torch.manual_seed(0)
    loss = SyncLoss(SyncOptions(sync_weight=0.1, sync_expert=expert, sync_crop=crop), TINY.autoencoder)
    loss.fill(Autoencoder(TINY.autoencoder))
    return loss


def test_the_loss_is_what_its_definition_says(expert: str) -> None:
    """A right prediction: alpha-bar times the cross-entropy of the true frames, decoded, against eight sounds."""
    loss, diffusion = module_of(expert), DiffusionLoss(TINY.diffusion)
    batch = drawn(**ON)
    batch["sync_mel"] = torch.randn_like(batch["sync_mel"])
    batch["sync_clean"] = torch.randn_like(batch["sync_clean"])
    found = loss(batch, lambda **_seen: batch["sync_clean"], diffusion)
    teacher = SyncExpertModel.from_pretrained(expert).expert
    expected = []
    for w in range(2):
        images = loss.autoencoder.decode(batch["sync_clean"][5 * w : 5 * w + 5], quantise=False)
        faces = cut_areas(images, torch.tensor([[0.2, 0.5, 0.8, 0.9]] * 5))
        lips = teacher.embed_lips(torch.cat([torch.zeros_like(faces), faces], dim=2)[None])
        scores = (lips @ teacher.embed_audio(batch["sync_mel"][w][:, None]).T)[0] / 0.07
        betas = torch.linspace(0.0015**0.5, 0.0195**0.5, 1000, dtype=torch.float64) ** 2
        kept = (1 - betas).cumprod(0)[batch["sync_timestep"][5 * w]]
        expected.append(float(kept) * float((scores.exp().sum().log() - scores[0]).detach()))
    assert float(found["sync"]) == pytest.approx(np.mean(expected), rel=1e-4)


def test_a_face_that_the_crop_does_not_hold_counts_nothing(expert: str) -> None:
    batch = drawn(**ON)
    for crop, counts in ((7, True), (3, False)):  # of 8 cells; the lower face is 4.8 wide
        found = module_of(expert, crop)(batch, lambda **_seen: batch["sync_clean"], DiffusionLoss(TINY.diffusion))
        assert (float(found["sync"]) > 0) is counts


def test_gradients_reach_the_prediction_and_no_weight_of_decoder_or_expert(expert: str) -> None:
    module = TrainedSyncDiff(SyncDiffTrainingOptions(TINY, sync_weight=0.5, sync_expert=expert))
    assert module.sync_loss is not None
    torch.nn.init.normal_(module.denoiser.unet.conv_out.weight)  # starts at zero, and stops every gradient
    module.train()
    assert not any(part.training for part in module.sync_loss.modules())
    losses = module(**drawn(sync_weight=0.5))
    plain = TrainedSyncDiff(SyncDiffTrainingOptions(TINY))
    plain.load_state_dict({k: v for k, v in module.state_dict().items() if not k.startswith("sync_loss.")})
    without = plain(**drawn())
    torch.testing.assert_close(losses["loss"], without["loss"] + 0.5 * losses["sync"])
    losses["sync"].backward()
    assert all(parameter.grad is None for parameter in module.sync_loss.parameters())
    assert float(module.denoiser.unet.conv_in.weight.grad.abs().max()) > 0


# ---------------------------------------------------------------------------------- cache and training


def test_the_cache_is_of_the_clips_sound_and_boxes(tmp_path: Path, few_clips: None) -> None:
    from syncdiff_bench.plugins import load_dataset

    cache = sync_cache(load_dataset("pocket", None, {}), "test", tmp_path)
    cache.complete()
    for clip_id, tensors in cache.read().items():
        clip = Pocket().clip(clip_id)
        areas = face_areas(clip.face_boxes.boxes, (160, 160), BOXES) / 160
        np.testing.assert_allclose(tensors["areas"], areas, atol=1e-6)
        np.testing.assert_allclose(tensors["mel"], mel_windows(clip.audio, len(clip.frames)), atol=2e-3)
    assert cache.bytes_per_frame == sum(t[0].numel() * t.element_size() for t in tensors.values())


SMALL = (
    "data.split=test",
    "data.validation_split=test",
    "options.model.frame_size=32",
    "options.model.unet.channels=[32, 32, 32]",
    "options.validation_batches=1",
    "training.steps=4",
    "training.batch_size=2",
    "training.log_every=1",
    "training.validate_every=4",
    "training.sample_every=0",
)


def test_a_training_logs_the_loss_and_exports_a_plain_model(home: Path, expert: str, tmp_path: Path) -> None:
    more = (f"options.autoencoder={home / 'vq'}", f"options.sync_expert={expert}")
    plan = read_plan("syncdiff/pocket", (*SMALL, *more), variant="sync-loss")
    folder = train(load_task(plan, None, tmp_path / "cache", "cpu"), plan.settings, tmp_path / "out", cpu=True)
    rows = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()]
    assert all(row["sync"] > 0 and 0 <= row["sync_found"] <= 1 for row in rows if "gradient_norm" in row)
    (figures,) = (row["validation"] for row in rows if "validation" in row)
    assert {"sync", "sync_without_previous", "loss", "loss_without_previous"} <= set(figures)
    assert sorted(path.name for path in folder.iterdir()) == [
        "audio.safetensors", "autoencoder.safetensors", "config.json", "denoiser.safetensors", "trained.json",
    ]  # fmt: skip
    assert json.loads((folder / "config.json").read_text())["variant"] == "sync-loss"


def test_a_missing_expert_is_told_before_anything_is_computed(home: Path, tmp_path: Path) -> None:
    more = (f"options.autoencoder={home / 'vq'}", f"options.sync_expert={tmp_path / 'nowhere'}")
    task = load_task(read_plan("syncdiff/pocket", (*SMALL, *more), variant="sync-loss"), None, tmp_path, "cpu")
    with pytest.raises(UsageError, match="no sync expert model at"):
        task.prepare()
    assert list(tmp_path.iterdir()) == []


def test_an_estimate_counts_what_the_windows_cost(expert: str) -> None:
    """Of two windows: ten frames of the UNet, ten decoded, two of lips, sixteen sounds; whatever the examples are."""
    settings = TrainingSettings(steps=1, batch_size=8, micro_batch=4, learning_rate=1e-3, ema_decay=0)
    costs = [step_cost(task_of(**options), settings) for options in ({}, {**ON, "sync_expert": expert})]
    plain, more = costs
    assert plain is not None and more is not None
    loss = module_of(expert)
    assert more.frozen - plain.frozen == sum(p.numel() for p in loss.parameters()) > 0
    assert more.trained == plain.trained
    decoder = 2 * 2 * sum(_products(loss.autoencoder, 8, 10))  # forward, and backward to its input alone
    added = (more.flops - plain.flops) / settings.parts
    assert added > decoder + 10 / 8 * plain.flops * 0.99
    assert added < 1.5 * (decoder + 10 / 8 * plain.flops)
    assert more.example_bytes == plain.example_bytes and more.constant_bytes > plain.constant_bytes


def _products(autoencoder: Autoencoder, side: int, frames: int) -> list[int]:
    """Multiplications of each convolution that decodes so many latents."""
    counts: list[int] = []

    def count(layer: torch.nn.Module, _given: object, made: Tensor) -> None:
        counts.append(made.numel() * layer.weight[0].numel())  # type: ignore[operator,index]

    layers = [layer for layer in autoencoder.modules() if isinstance(layer, torch.nn.Conv2d)]
    handles = [layer.register_forward_hook(count) for layer in layers]
    with torch.no_grad():
        autoencoder.decode(torch.zeros(frames, 3, side, side), quantise=False)
    for handle in handles:
        handle.remove()
    return counts


def test_options_that_mean_nothing() -> None:
    for given, words in (
        ({"sync_weight": -1.0}, "sync_weight is -1.0; give 0 or more"),
        ({"sync_windows": 0}, "sync_windows is 0; give 1 or more"),
        ({"sync_crop": -1}, "sync_crop is -1; give 0 or more"),
    ):
        with pytest.raises(UsageError, match=words):
            options_from_values(SyncDiffTrainingOptions, given, "trainer syncdiff")


def test_the_papers_variant_is_one_line_away() -> None:
    plain, variant = (read_plan("syncdiff/paper", variant=name).options for name in ("", "sync-loss"))
    changed = {name for name in variant if plain.get(name) != variant[name]}
    assert changed == {"model", "sync_weight", "sync_expert", "sync_crop"}
    assert {**variant["model"], "variant": plain["model"]["variant"]} == plain["model"]
