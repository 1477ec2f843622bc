"""What two trainings of SyncDiff have in common: their start and their examples, as far as their inputs allow."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.initialisation import initialise_by_name
from syncdiff_bench.training.loader import read_plan
from syncdiff_bench.training.task import TrainingData
from syncdiff_methods.syncdiff.config import BEYOND
from syncdiff_methods.syncdiff.latents import ClipLatents
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions, TrainedSyncDiff

VARIANTS = ("", "rnd", "prv", "prv-", "np5", "np10", "nf3", "nf12", "scheduled", "noise-level", "temporal", "sync-loss")


def options_of(variant: str, **more: object) -> SyncDiffTrainingOptions:
    values = {**read_plan("syncdiff/pocket-short", variant=variant).options, "autoencoder": "", **more}
    options: SyncDiffTrainingOptions = options_from_values(SyncDiffTrainingOptions, values, "test")
    return options


def start(variant: str, seed: int) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    state = TrainedSyncDiff(options_of(variant)).state_dict()
    return {name: tensor for name, tensor in state.items() if not name.startswith("sync_loss.")}  # frozen, and loaded


def batch(variant: str, **more: object) -> Mapping[str, Tensor]:
    rng = np.random.default_rng(0)

    def frames() -> Tensor:
        return torch.from_numpy(rng.standard_normal((12, 3, 24, 24), dtype=np.float32))

    area = torch.full((12, 24, 24), 128, dtype=torch.uint8)
    heard = {"mel": torch.zeros(12, 80, 16), "areas": torch.zeros(12, 4)}
    clips = [ClipLatents(str(i), frames(), frames(), area, torch.zeros(12, 96), **heard) for i in range(5)]
    task = SyncDiffTask(options_of(variant, **more), TrainingData(None, "", "", None), "cpu")  # type: ignore[arg-type]
    return task.draw(clips, np.random.default_rng([3, 7, 0]), 8)[1]


@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_variants_start_alike_in_all_tensors_of_equal_shape(variant: str) -> None:
    mine, theirs = start(variant, 1), start("", 1)
    shared = [name for name in mine if name in theirs and mine[name].shape == theirs[name].shape]
    # Not the first convolution, where it has more or fewer channels, nor the bottleneck.
    assert len(theirs) - len(shared) <= (0 if variant in BEYOND else 3)
    assert [name for name in shared if not torch.equal(mine[name], theirs[name])] == []


def test_another_seed_is_another_start() -> None:
    one, other = start("", 1), start("", 2)
    drawn = [name for name, value in one.items() if value.float().std() > 0]
    assert len(drawn) > 100
    assert [name for name in drawn if torch.equal(one[name], other[name])] == []


def test_a_start_by_name_has_the_spread_of_torchs_own() -> None:
    """Kaiming's uniform for a linear layer: standard deviation 1 / sqrt(3 n); two of equal shape differ."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(300, 400), nn.ReLU(), nn.Linear(400, 400), nn.Linear(400, 400))
    before = torch.get_rng_state()
    initialise_by_name(network)
    assert torch.equal(before, torch.get_rng_state())
    assert float(network[0].weight.detach().std()) == pytest.approx((3 * 300) ** -0.5, rel=0.01)
    assert float(network[2].weight.detach().std()) == pytest.approx((3 * 400) ** -0.5, rel=0.01)
    assert not torch.equal(network[2].weight, network[3].weight)


@pytest.mark.parametrize("variant", VARIANTS[1:])
def test_variants_see_the_same_examples(variant: str) -> None:
    mine, theirs = batch(variant), batch("")
    for name in ("clean", "masked", "identity", "noise", "timestep", "frame"):
        assert torch.equal(mine[name], theirs[name]), name


def test_previous_frames_that_two_variants_share_have_the_same_noise() -> None:
    variants = ("", "np5", "scheduled", "noise-level", "sync-loss")
    noisy = {variant: batch(variant, previous_noise=0.5, previous_dropout=0.3)["previous"] for variant in variants}
    assert noisy["np5"].shape[1] == 5
    for variant in variants:
        assert torch.equal(noisy[variant][:, :1], noisy[""]), variant
    assert not torch.equal(noisy[""], batch("", previous_noise=0.0, previous_dropout=0.3)["previous"])
