"""Which frame is which: the noise of a frame, the frames before it (nearest first), and the identity frame.

A wrong one changes no shape and breaks nothing, so what enters the UNet is compared with frames that are known apart.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_networks import SYNCDIFF
from torch import Tensor

from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.reproduction.probing import Case, FrameOf
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_methods.syncdiff.config import ITSELF, ConditionConfig, DiffusionConfig
from syncdiff_methods.syncdiff.latents import ClipLatents
from syncdiff_methods.syncdiff.model import SyncDiffModel, zero_output_layers
from syncdiff_methods.syncdiff.probe import FrameLatents, probe_latents
from syncdiff_methods.syncdiff.sampling import ClipConditions, sample_clips
from syncdiff_methods.syncdiff.training import SyncDiffTask

TINY = replace(SYNCDIFF, diffusion=DiffusionConfig(prediction="epsilon", steps=2))
SHRUNK = 100.0  # latents through the decoder and back, so that its limits of -1 and 1 touch none


def model_of(condition: ConditionConfig, **options: Any) -> SyncDiffModel:
    """Its UNet predicts no noise at all, and its autoencoder changes nothing but the scale."""
    torch.manual_seed(0)
    model = SyncDiffModel(replace(TINY, condition=condition, **options)).eval()
    zero_output_layers(model.denoiser.unet)
    model.autoencoder.decode = lambda latents: latents / SHRUNK  # type: ignore[method-assign]
    model.autoencoder.encode = lambda images: images * SHRUNK  # type: ignore[method-assign]
    return model


def clip_of(name: str, frames: int) -> ClipConditions:
    latents = torch.randn(frames + 1, 3, 8, 8, generator=torch.Generator().manual_seed(frames))
    return ClipConditions(
        name, latents[1:], latents[0], torch.zeros(frames, 16), torch.zeros(3, 8, 8), torch.ones(frames, 8, 8)
    )


def sampled(
    model: SyncDiffModel, clips: Sequence[ClipConditions], seed: int
) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Of each clip, frame by frame: the latents that came out, and the conditions (channels, h, w) that went in."""
    came = [list[Tensor]() for _ in clips]
    went = [list[Tensor]() for _ in clips]
    last: list[Tensor] = []
    model.denoiser.register_forward_pre_hook(lambda _module, given: last.append(given[2]))

    def on_frame(index: int, t: int, image: Tensor) -> None:
        assert t == len(came[index])
        alive = [i for i, clip in enumerate(clips) if t < len(clip)]
        went[index].append(last[-1][alive.index(index)])
        came[index].append(image * SHRUNK)

    sample_clips(model, clips, seed=seed, on_frame=on_frame)
    return came, went


# ------------------------------------------------------------------------------------------- noise


def start_of(seed: int, clip: str, frame: int) -> Tensor:
    """The noise that (seed, clip, frame) stands for."""
    number = int.from_bytes(hashlib.sha256(f"{seed}/{clip}/{frame}".encode()).digest()[:8], "little") >> 1
    return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("noise", ["per_frame", "shared"])
def test_each_frame_of_each_clip_has_noise_of_its_own(noise: Literal["per_frame", "shared"]) -> None:
    """DDIM that is told of no noise only rescales the start: x_0 = x_T sqrt(a_0 / a_T), the first step being 501."""
    schedule = torch.linspace(TINY.diffusion.beta_start**0.5, TINY.diffusion.beta_end**0.5, 1000, dtype=torch.float64)
    kept = torch.cumprod(1 - schedule**2, dim=0)
    clips = [clip_of("a", 3), clip_of("b", 4)]
    came, _ = sampled(model_of(ConditionConfig(), noise=noise), clips, seed=5)
    for clip, frames in zip(clips, came, strict=True):
        for t, latent in enumerate(frames):
            start = start_of(5, clip.clip_id, 0 if noise == "shared" else t)
            expected = (start * (kept[0] / kept[501]).sqrt()).float()
            said = f"frame {t} of clip {clip.clip_id} does not start from the noise of (seed, clip, frame)"
            assert torch.allclose(latent, expected, rtol=1e-4, atol=1e-4), said


# ------------------------------------------------------------------------------------------- previous frames


@pytest.mark.parametrize("count", [1, 2, 5, 10])
@pytest.mark.parametrize("previous", ["bottleneck", "full"])
def test_previous_frames_enter_nearest_first(count: int, previous: Literal["bottleneck", "full"]) -> None:
    """Frame t sees its mask, the given first frame, then t-1, t-2, ...; before frame 0 the given one stands in."""
    condition = ConditionConfig(previous=previous, previous_frames=count)
    clips = [clip_of("a", 13), clip_of("b", 12)]
    model = model_of(condition)
    came, went = sampled(model, clips, seed=0)
    for clip, frames, conditions in zip(clips, came, went, strict=True):
        for t, condition_of_t in enumerate(conditions):
            masked, identity, rest = condition_of_t[:3], condition_of_t[3:6], condition_of_t[6:]
            assert torch.equal(masked, clip.masked[t]) and torch.equal(identity, clip.identity)
            for k, seen in enumerate(rest.chunk(count)):
                latent = frames[t - 1 - k] if t - 1 - k >= 0 else clip.identity
                expected = narrowed(model, latent) if previous == "bottleneck" else latent
                said = f"frame {t} of clip {clip.clip_id}: previous frame {k + 1} of {count} is not frame {t - 1 - k}"
                assert torch.allclose(seen, expected, rtol=1e-3, atol=1e-4), said


@pytest.mark.parametrize("count", [1, 3])
def test_noise_on_previous_frames_at_test_belongs_to_seed_clip_and_frame(count: int) -> None:
    """The frames themselves go on without it: each time it is drawn anew."""
    condition = ConditionConfig(previous="full", previous_frames=count, previous_noise_at_test=0.25)
    clips = [clip_of("a", 4), clip_of("b", 3)]
    came, went = sampled(model_of(condition), clips, seed=5)
    for clip, frames, conditions in zip(clips, came, went, strict=True):
        for t, condition_of_t in enumerate(conditions):
            number = int.from_bytes(hashlib.sha256(f"5/{clip.clip_id}/previous/{t}".encode()).digest()[:8], "little")
            generator = torch.Generator().manual_seed(number >> 1)
            for k, seen in enumerate(condition_of_t[6:].chunk(count)):
                latent = frames[t - 1 - k] if t - 1 - k >= 0 else clip.identity
                expected = latent + 0.25 * torch.randn(3, 8, 8, generator=generator)
                assert torch.allclose(seen, expected, rtol=1e-3, atol=1e-4), f"frame {t} of {clip.clip_id}, {k}"


def narrowed(model: SyncDiffModel, latent: Tensor) -> Tensor:
    """The bottleneck by hand: one weighted sum of the three channels."""
    assert model.denoiser.bottleneck is not None and model.denoiser.bottleneck.bias is not None
    weight, bias = model.denoiser.bottleneck.weight.detach(), model.denoiser.bottleneck.bias.detach()
    return (weight[0, :, 0, 0, None, None] * latent).sum(dim=0, keepdim=True) + bias


@pytest.mark.parametrize("count", [5, 10])
def test_a_probe_sees_previous_frames_nearest_first(count: int) -> None:
    rng = np.random.default_rng(0)
    sound = rng.integers(-900, 900, 640 * 13).astype(np.int16)
    clip = Clip("a", "toy", boxes="centred", preloaded=Media(rng.integers(0, 255, (13, 40, 40, 3), np.uint8), sound))
    model = model_of(ConditionConfig(previous="full", previous_frames=count))
    model.autoencoder.encode = lambda images: torch.nn.functional.avg_pool2d(images, 4)  # type: ignore[method-assign]
    seen: list[Tensor] = []
    model.denoiser.register_forward_pre_hook(lambda _module, given: seen.append(given[2]))
    probe_latents(
        model, [Case(FrameOf(clip, 12), FrameOf(clip, 0), FrameOf(clip, 3))], layer="mid", step=None, seed=0, batch=1
    )
    known = FrameLatents(model)
    for k, latent in enumerate(seen[0][0, 6:].chunk(count)):
        expected = known.encoded(FrameOf(clip, max(0, 3 - k)))
        assert torch.equal(latent, expected), f"previous frame {k + 1} is not {3 - k}"


# ------------------------------------------------------------------------------------------- training


def task_of(variant: str) -> SyncDiffTask:
    undisturbed = ("options.previous_noise=0.0", "options.previous_dropout=0.0", "data.split=test")
    plan = read_plan("syncdiff/pocket", undisturbed, variant="" if variant == ITSELF else variant)
    task = load_task(plan, None, Path("cache"), "cpu")
    assert isinstance(task, SyncDiffTask)
    return task


def numbered(frames: int) -> ClipLatents:
    """Frame t is t everywhere."""
    latents = torch.arange(frames).view(-1, 1, 1, 1).expand(frames, 3, 4, 4).half()
    return ClipLatents("a", latents, -latents, torch.zeros(frames, 4, 4, dtype=torch.uint8), torch.zeros(frames, 1))


def drawn(task: SyncDiffTask, clip: ClipLatents, times: int) -> list[dict[str, NDArray[np.float32]]]:
    """Every example as its frames' numbers."""
    found = []
    for i in range(times):
        example = task.example(clip, np.random.default_rng(i))
        for value in (example["clean"], example["identity"], example["previous"]):
            assert torch.equal(value, value[..., :1, :1].expand_as(value))
        assert (example["clean"] == example["frame"]).all() and (example["masked"] == -example["frame"]).all()
        found.append({name: value.numpy() for name, value in example.items()})
    return found


@pytest.mark.parametrize("variant", ["rnd", ITSELF, "np5"])
def test_the_identity_frame_is_any_but_the_target(variant: str) -> None:
    """Each of the 9 pairs of a clip of 4 frames, as often as any other: 100 of 900 times, sigma 9.4."""
    examples = drawn(task_of(variant), numbered(4), 900)
    pairs = Counter((int(one["frame"]), int(one["identity"][0, 0, 0])) for one in examples)
    for t, identity in pairs:
        assert identity != t, (
            f"variant {variant}: the identity frame is the target, frame {t}: the answer is given away"
        )
    assert set(pairs) == {(t, other) for t in (1, 2, 3) for other in range(4) if other != t}
    assert all(60 < n < 140 for n in pairs.values()), pairs


@pytest.mark.parametrize(("variant", "count"), [(ITSELF, 1), ("np5", 5), ("np10", 10)])
def test_examples_have_previous_frames_nearest_first(variant: str, count: int) -> None:
    for example in drawn(task_of(variant), numbered(16), 60):
        t = int(example["frame"])
        seen = example["previous"][:, 0, 0, 0].tolist()
        assert seen == [max(0, t - 1 - k) for k in range(count)], f"frame {t} of {variant} sees {seen}"


def test_rnd_sees_no_previous_frame() -> None:
    assert all(len(one["previous"]) == 0 for one in drawn(task_of("rnd"), numbered(4), 5))
