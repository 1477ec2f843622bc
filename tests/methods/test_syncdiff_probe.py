"""Which conditions SyncDiff's probed latents depend on, and where and when they are read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_networks import SYNCDIFF

from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.errors import UsageError
from syncdiff_bench.reproduction.probing import Case, FrameOf, ident_cases, variance
from syncdiff_methods.syncdiff.config import ConditionConfig, DiffusionConfig
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.probe import probe_latents

TINY = replace(SYNCDIFF, diffusion=DiffusionConfig(steps=4))


@pytest.fixture(scope="module")
def clip() -> Clip:
    rng = np.random.default_rng(0)
    sound = rng.integers(-900, 900, 640 * 6).astype(np.int16)
    return Clip("a", "toy", boxes="centred", preloaded=Media(rng.integers(0, 255, (6, 40, 40, 3), np.uint8), sound))


def latents(clip: Clip, cases: list[Case], condition: ConditionConfig, layer: str = "mid", step: int | None = None):  # type: ignore[no-untyped-def]
    torch.manual_seed(0)
    model = SyncDiffModel(replace(TINY, condition=condition)).eval()
    return probe_latents(model, cases, layer=layer, step=step, seed=0, batch=3)


def test_shape_of_the_layers(clip: Clip) -> None:
    """Middle block: 16 channels at half of the 8 x 8 latent; z0: the latent."""
    cases = ident_cases(clip)
    assert latents(clip, cases, ConditionConfig()).shape == (4, 16 * 4 * 4)
    assert latents(clip, cases, ConditionConfig(), "z0").shape == (4, 3 * 8 * 8)


@pytest.mark.parametrize(("identity", "varies"), [(True, True), (False, False)])
def test_the_identity_frame_matters_where_the_variant_sees_it(clip: Clip, identity: bool, varies: bool) -> None:
    spread = variance(latents(clip, ident_cases(clip), ConditionConfig(identity=identity)))
    assert (spread > 1e-9) is varies


@pytest.mark.parametrize(("previous", "varies"), [("bottleneck", True), ("full", True), ("none", False)])
def test_the_pose_frame_matters_where_the_variant_sees_it(clip: Clip, previous: str, varies: bool) -> None:
    cases = [Case(FrameOf(clip, 3), FrameOf(clip, 0), FrameOf(clip, index)) for index in (0, 1, 2)]
    found = latents(clip, cases, ConditionConfig(previous=previous))  # type: ignore[arg-type]
    assert (variance(found) > 1e-9) is varies


def test_earlier_previous_frames_are_those_before_the_pose_frame(clip: Clip) -> None:
    """With NP = 3 a pose frame 1 is preceded by frame 0, twice: as if the clip began there."""
    condition = ConditionConfig(previous_frames=3)
    whole = latents(clip, [Case(FrameOf(clip, 3), FrameOf(clip, 0), FrameOf(clip, 1))], condition)
    frames = clip.frames.copy()
    frames[4:] = 0  # later frames play no part
    other = Clip("b", "toy", boxes="centred", preloaded=Media(frames, clip.audio))
    same = latents(other, [Case(FrameOf(other, 3), FrameOf(other, 0), FrameOf(other, 1))], condition)
    np.testing.assert_array_equal(whole, same)
    frames[0] = 0
    changed = Clip("c", "toy", boxes="centred", preloaded=Media(frames, clip.audio))
    case = Case(FrameOf(changed, 3), FrameOf(clip, 0), FrameOf(changed, 1))
    assert np.abs(latents(changed, [case], condition) - whole).max() > 1e-6


def test_the_step_is_one_that_the_sampler_visits(clip: Clip) -> None:
    """Four steps visit 751, 501, 251 and 1; the last is read unless told otherwise."""
    cases = ident_cases(clip)
    last = latents(clip, cases, ConditionConfig())
    np.testing.assert_array_equal(latents(clip, cases, ConditionConfig(), step=1), last)
    assert np.abs(latents(clip, cases, ConditionConfig(), step=751) - last).max() > 1e-6
    with pytest.raises(UsageError, match="--step 400 is not visited by ddim in 4 steps; near is 501"):
        latents(clip, cases, ConditionConfig(), step=400)
    with pytest.raises(UsageError, match="layer z0 is the finished latent"):
        latents(clip, cases, ConditionConfig(), "z0", step=1)
