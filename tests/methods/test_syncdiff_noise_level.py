"""Noise on previous frames whose level the network is told: what it is told, in training and at test."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_networks import SYNCDIFF
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.task import TrainingData
from syncdiff_methods.syncdiff.config import ConditionConfig, shipped_config
from syncdiff_methods.syncdiff.latents import ClipLatents
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions
from syncdiff_methods.syncdiff.model import Denoiser, SyncDiffModel
from syncdiff_methods.syncdiff.sampling import ClipConditions, sample_clips
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions, TrainedSyncDiff

TOLD = replace(SYNCDIFF, condition=ConditionConfig(previous_level=True))
OPTIONS = SyncDiffTrainingOptions(TOLD, previous_noise=0.3)


def stirred(module: nn.Module) -> nn.Module:
    """With output layers that are not zero, as after some training."""
    torch.manual_seed(1)
    for parameter in module.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=0.05)
    return module


def inputs(batch: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    noisy, visual = (torch.randn(batch, channels, 8, 8, generator=generator) for channels in (3, 7))
    return noisy, torch.tensor([1, 30, 500, 999][:batch]), visual, torch.randn(batch, 1, 16, generator=generator)


def test_the_level_that_is_told_is_that_of_the_noise() -> None:
    """Frames are zero, so that their spread is that of the noise: 192 numbers of each tell it to 5 % (sigma)."""
    latents = torch.zeros(9, 3, 8, 8)
    clip = ClipLatents("a", latents, latents, torch.zeros(9, 8, 8, dtype=torch.uint8), torch.zeros(9, 104))
    task = SyncDiffTask(OPTIONS, TrainingData(None, "", "", None), "cpu")  # type: ignore[arg-type]
    batch = task.draw([clip], np.random.default_rng(0), 200)[1]
    torch.testing.assert_close(batch["previous"].std(dim=(1, 2, 3, 4)), batch["level"], rtol=0.25, atol=1e-4)
    assert float(batch["level"].mean()) == pytest.approx(0.15, abs=0.03)
    assert float(batch["level"].max()) < 0.3


def test_a_level_is_embedded_as_a_timestep() -> None:
    """Cosines, then sines, of 1000 times the level over 10000^(k / K) (Vaswani et al. 2017)."""
    denoiser, seen = Denoiser(TOLD), list[Tensor]()
    embedding = denoiser.unet.class_embedding
    embedding.register_forward_pre_hook(lambda _module, given: seen.append(given[0]))
    level = torch.tensor([0.0, 0.002, 0.1, 0.3])
    denoiser(*inputs(), level)
    half = 8
    angles = 1000 * level[:, None] * torch.tensor([math.pow(10000, -k / half) for k in range(half)])
    torch.testing.assert_close(seen[0], torch.cat([angles.cos(), angles.sin()], dim=1), atol=1e-4, rtol=0)


def test_at_the_papers_size_it_is_two_layers_of_1024() -> None:
    with torch.device("meta"):
        unets = [Denoiser(shipped_config("paper", variant)).unet for variant in ("noise-level", "rnd+prv-")]
    told, plain = (sum(p.numel() for p in unet.parameters()) for unet in unets)
    assert told - plain == (256 * 1024 + 1024) + (1024 * 1024 + 1024)


def test_training_starts_as_one_that_is_told_nothing() -> None:
    torch.manual_seed(0)
    plain = TrainedSyncDiff(SyncDiffTrainingOptions(SYNCDIFF))
    torch.manual_seed(0)
    told = TrainedSyncDiff(OPTIONS)
    embedding = told.denoiser.unet.class_embedding
    assert all(not parameter.any() for parameter in embedding.linear_2.parameters())
    assert embedding.linear_1.weight.any()
    stirred(plain)
    told.load_state_dict(plain.state_dict(), strict=False)
    expected = plain.denoiser(*inputs())
    assert expected.std() > 0.01
    torch.testing.assert_close(told.denoiser(*inputs(), torch.tensor([0.0, 0.1, 0.2, 0.3])), expected)


def test_the_level_matters_to_each_example_and_one_number_is_told_to_all() -> None:
    denoiser = stirred(Denoiser(TOLD).eval())
    with torch.no_grad():
        none, all_of_them = denoiser(*inputs()), denoiser(*inputs(), 0.2)
        mixed = denoiser(*inputs(), torch.tensor([0.2, 0.0, 0.2, 0.0]))
    assert ((none - all_of_them).abs().amax(dim=(1, 2, 3)) > 1e-4).all()
    torch.testing.assert_close(mixed, torch.stack([all_of_them[0], none[1], all_of_them[2], none[3]]))


def test_a_network_that_is_told_nothing_has_no_ear_for_it() -> None:
    denoiser = stirred(Denoiser(SYNCDIFF).eval())
    assert denoiser.unet.class_embedding is None
    with torch.no_grad():
        assert torch.equal(denoiser(*inputs()), denoiser(*inputs(), 0.2))


def test_every_part_of_it_gets_a_gradient() -> None:
    module = TrainedSyncDiff(OPTIONS)
    stirred(module)
    latents = torch.randn(9, 3, 8, 8)
    clip = ClipLatents("a", latents, latents, torch.zeros(9, 8, 8, dtype=torch.uint8), torch.zeros(9, 104))
    task = SyncDiffTask(OPTIONS, TrainingData(None, "", "", None), "cpu")  # type: ignore[arg-type]
    module(**task.draw([clip], np.random.default_rng(0), 4)[1])["loss"].backward()
    assert all(p.grad is not None and p.grad.any() for p in module.denoiser.unet.class_embedding.parameters())


def test_at_test_the_level_of_the_config_is_told() -> None:
    """To every call, whatever the size of the batch."""
    told = list[float]()
    config = replace(TOLD, condition=replace(TOLD.condition, previous_level_at_test=0.125))
    torch.manual_seed(0)
    model = SyncDiffModel(TOLD).eval()
    model.config = config  # as the method overrides it
    model.denoiser.register_forward_pre_hook(lambda _module, given: told.append(given[4]))
    clips = []
    for n in (2, 1):
        masked, tokens, area = torch.zeros(n, 3, 8, 8), torch.zeros(n, 16), torch.ones(n, 8, 8)
        clips.append(ClipConditions(str(n), masked, masked[0], tokens, torch.zeros(3, 32, 32), area))
    sample_clips(model, clips, seed=0, on_frame=lambda *_: None)
    assert told == [0.125] * 2 * config.diffusion.steps


def test_options_of_a_run_reach_the_config() -> None:
    config = SyncDiff(SyncDiffOptions("pocket", previous_noise_at_test=0.1)).config
    assert config.condition.previous_noise_at_test == 0.1
    assert SyncDiff(SyncDiffOptions("pocket")).config.condition.previous_noise_at_test == 0


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"previous_level_at_test": 0.1},
            "previous_level_at_test=0.1, but this model is told no level; leave it out, or",
        ),
        (
            {"previous_noise_at_test": -1.0},
            "previous_noise_at_test=-1.0 is no standard deviation of noise; give 0 to 1",
        ),
    ],
)
def test_what_cannot_be_told_is_refused(given: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        SyncDiff(SyncDiffOptions("pocket", **given)).config  # type: ignore[arg-type]  # noqa: B018


def test_a_level_without_noise_is_refused() -> None:
    given = {"model": {"condition": {"previous_level": True}}}
    with pytest.raises(
        UsageError, match=r"tells the level of noise, and previous_noise is 0; set previous_noise = 0\.3"
    ):
        options_from_values(SyncDiffTrainingOptions, given, "trainer syncdiff")
