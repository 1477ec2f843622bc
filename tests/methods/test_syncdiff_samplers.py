"""DDIM against the official sampler, and the fast solvers against the equation that all three solve."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

import syncdiff_datasets
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.reading import read_media
from syncdiff_methods.syncdiff.checkpoints import fill, first_stage, gather
from syncdiff_methods.syncdiff.compvis import unet_name
from syncdiff_methods.syncdiff.config import AutoencoderConfig, DiffusionConfig, Sampler, UNetConfig
from syncdiff_methods.syncdiff.model import Autoencoder, build_unet
from syncdiff_methods.syncdiff.sampling import (
    FrameNoise,
    build_sampler,
    build_scheduler,
    check_sampler,
    check_steps,
    denoise,
)

DATA = Path(__file__).parents[1] / "data" / "official" / "ddim.npz"
CPU = torch.device("cpu")
CUMULATIVE = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)


# ------------------------------------------------------------------------------------ the official sampler


def official_tensor(name: str, shape: Sequence[int]) -> Tensor:
    """The weights of the golden arrays are a function of name and shape (docs/spec/parity.md#by-name)."""
    rng = np.random.RandomState(zlib.crc32(name.encode()) & 0x7FFFFFFF)
    x = rng.standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)
    if name.endswith("embedding.weight"):
        return torch.from_numpy(x)
    if len(shape) >= 2:
        return torch.from_numpy(x * np.float32(1 / np.sqrt(np.prod(shape[1:]))))
    return torch.from_numpy(1 + np.float32(0.1) * x if name.endswith("weight") else np.float32(0.05) * x)


class Row:
    """Row `row` of a list of batches, one per draw."""

    def __init__(self, batches: Sequence[Tensor], row: int) -> None:
        self.drawn: Iterator[Tensor] = iter(batch[row] for batch in batches)

    def draw(self, shape: Sequence[int]) -> Tensor:
        return next(self.drawn)


Official = dict[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def official() -> Official:
    """Two frames of pocket encoded, and sampled by CompVis' DDIMSampler: tests/data/official/README.md."""
    with np.load(DATA, allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    network = Autoencoder(AutoencoderConfig((32, 64, 128))).eval()
    parts = [first_stage("first_stage_model.", network)]
    fill(parts, {name: official_tensor(name, tensor.shape) for name, tensor in gather(parts).items()}, "official")
    return network


@pytest.fixture(scope="module")
def unet() -> torch.nn.Module:
    config = UNetConfig(channels=(32, 64, 96, 128))
    network = build_unet(config, 9, 128, 16).eval()
    names = {name: f"model.diffusion_model.{unet_name(name, config)}" for name in network.state_dict()}
    network.load_state_dict({n: official_tensor(names[n], t.shape) for n, t in network.state_dict().items()})
    return network


def relative(ours: Tensor, expected: NDArray[np.float32]) -> float:
    """Largest difference over the largest value."""
    return float(np.abs(ours.numpy() - expected).max() / np.abs(expected).max())


@torch.inference_mode()
def test_frames_of_pocket_have_the_official_latents(autoencoder: Autoencoder, official: Official) -> None:
    """Frames 5 and 20, their upper halves, frame 0; and back again, by way of the codebook."""
    path = Path(syncdiff_datasets.__file__).parent / "pocket/data/mvlrs_v1/main/3000000000000000008/00002.mp4"
    frames = torch.from_numpy(read_media(path).frames[[5, 20, 0], 48:112, 48:112].copy())
    pictures = frames.permute(0, 3, 1, 2) / 127.5 - 1
    masked = pictures[:2].clone()
    masked[:, :, 32:] = -1
    latents = autoencoder.encode(pictures)
    assert relative(latents[:2], official["latent"]) < 1e-5
    assert relative(autoencoder.encode(masked), official["masked"]) < 1e-5
    assert relative(latents[[2, 2]], official["reference"]) < 1e-5
    decoded = autoencoder.decode(torch.from_numpy(official["latent"]))
    assert relative(decoded[:, :, ::2, ::2], official["reconstruction"]) < 1e-5
    picture = ((autoencoder.decode(torch.from_numpy(official["ddim|10|0.0"])) + 1) / 2).clamp(0, 1)
    assert relative(picture[:, :, ::2, ::2], official["picture"]) < 1e-5


@pytest.mark.parametrize(("steps", "eta"), [(5, 0.0), (10, 0.0), (10, 1.0), (20, 0.5)])
@torch.inference_mode()
def test_ddim_equals_the_official_sampler(steps: int, eta: float, unet: torch.nn.Module, official: Official) -> None:
    """The masked and the reference latent beside the noisy one, one token; noise in the official order."""
    conditions = torch.from_numpy(np.concatenate([official["masked"], official["reference"]], axis=1))
    context = torch.from_numpy(np.random.RandomState(6).standard_normal((2, 1, 128)).astype(np.float32))
    start = np.random.RandomState(7).standard_normal(official["latent"].shape).astype(np.float32)

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        return unet(torch.cat([noisy, conditions], dim=1), timestep, encoder_hidden_states=context).sample  # type: ignore[no-any-return]

    generator = torch.Generator().manual_seed(1234)
    drawn = [torch.from_numpy(start), *(torch.randn(start.shape, generator=generator) for _ in range(steps))]
    noise = [Row(drawn, row) for row in range(len(start))]
    scheduler = build_scheduler(DiffusionConfig())
    ours = denoise(predict, scheduler, noise, start.shape[1:], steps=steps, eta=eta, device=CPU)  # type: ignore[arg-type]
    assert relative(ours, official[f"ddim|{steps}|{eta}"]) < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500])
def test_ddim_visits_the_official_timesteps(steps: int, official: Official) -> None:
    """From the last down. With the cumulative alphas there and at the step before, of which the noise of eta = 1 is
    made (docs/spec/ldm.md#ddim).
    """
    timesteps, alphas, before, sigmas = official[f"steps|{steps}"]
    visited: list[int] = []

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        visited.append(int(timestep))
        return noisy

    check_steps(steps)
    scheduler = build_scheduler(DiffusionConfig())
    denoise(predict, scheduler, [FrameNoise(0, "c", 0)], (3, 2, 2), steps=steps, device=CPU)
    assert visited == timesteps.tolist()[::-1]
    np.testing.assert_allclose(scheduler.alphas_cumprod[timesteps.astype(int)], alphas, rtol=2e-6)
    for timestep, alpha_before, sigma in zip(timesteps.astype(int), before, sigmas, strict=True):
        previous = timestep - 1000 // steps
        ours = scheduler.alphas_cumprod[previous] if previous >= 0 else scheduler.final_alpha_cumprod
        assert float(ours) == pytest.approx(alpha_before, rel=2e-6)
        assert float(scheduler._get_variance(timestep, previous)) ** 0.5 == pytest.approx(sigma, rel=1e-4, abs=1e-4)


def test_ddim_closed_form_for_a_constant_sample() -> None:
    """If the network always says x0 = c, DDIM keeps the noise direction: the end is known exactly."""
    config = DiffusionConfig(prediction="sample", steps=10)
    constant = torch.full((1, 3, 4, 4), 0.3)
    start = FrameNoise(7, "clip", 0).draw((3, 4, 4))
    first, last = CUMULATIVE[901], CUMULATIVE[0]  # steps 1, 101, ..., 901
    direction = (start - first**0.5 * 0.3) / (1 - first) ** 0.5
    expected = last**0.5 * 0.3 + (1 - last) ** 0.5 * direction
    noise = [FrameNoise(7, "clip", 0)]
    result = denoise(lambda *_: constant, build_scheduler(config), noise, (3, 4, 4), steps=10, device=CPU)
    torch.testing.assert_close(result[0], expected.float(), atol=1e-5, rtol=1e-5)


# ------------------------------------------------------------------------------- one equation, three solvers

MEANS, SPREADS, SHARES = torch.tensor([-1.0, 0.8]), torch.tensor([0.15, 0.3]), torch.tensor([0.4, 0.6])


def mixture_noise(noisy: Tensor, timestep: Tensor) -> Tensor:
    """The exact epsilon of data drawn from two Gaussians per pixel: the score has a closed form."""
    a = CUMULATIVE[int(timestep)]
    variance = a * SPREADS**2 + 1 - a
    distance = noisy[..., None] - a**0.5 * MEANS
    logits = torch.log(SHARES) - 0.5 * distance**2 / variance - 0.5 * torch.log(variance)
    score = -(torch.softmax(logits, dim=-1) * distance / variance).sum(-1)
    return -((1 - a) ** 0.5) * score


def solved(sampler: Sampler, steps: int) -> Tensor:
    config = DiffusionConfig(sampler=sampler, steps=steps)
    noise = [FrameNoise(0, "mixture", frame) for frame in range(100)]
    return denoise(mixture_noise, build_sampler(config), noise, (3, 4, 4), steps=steps, device=CPU)


@pytest.fixture(scope="module")
def limit() -> Tensor:
    """The probability-flow equation integrated by Heun's method over all 1000 noise levels, in float64.

    d(x / alpha) / d(sigma / alpha) = epsilon, from the noise at timestep 999 to timestep 0.
    """
    x = torch.stack([FrameNoise(0, "mixture", frame).draw((3, 4, 4)) for frame in range(100)]).double()
    alpha, sigma = CUMULATIVE**0.5, (1 - CUMULATIVE) ** 0.5
    for t in range(999, 0, -1):
        step = sigma[t - 1] / alpha[t - 1] - sigma[t] / alpha[t]
        slope = mixture_noise(x, torch.tensor(t))
        guess = alpha[t - 1] * (x / alpha[t] + step * slope)
        slope = (slope + mixture_noise(guess, torch.tensor(t - 1))) / 2
        x = alpha[t - 1] * (x / alpha[t] + step * slope)
    return x


def distance(ours: Tensor, limit: Tensor) -> float:
    return float((ours - limit).square().mean().sqrt())


@pytest.mark.parametrize(("sampler", "at_most"), [("dpmsolver++", 0.04), ("unipc", 0.02)])
def test_twenty_fast_steps_come_as_close_as_ten_times_as_many_of_ddim(
    sampler: Sampler, at_most: float, limit: Tensor
) -> None:
    """Data of spread 0.9: DDIM is .15 off at 10 steps and .01 at 200."""
    assert distance(solved(sampler, 20), limit) < at_most
    assert distance(solved(sampler, 20), limit) < 0.5 * distance(solved("ddim", 20), limit)
    assert distance(solved(sampler, 40), limit) < 0.5 * distance(solved(sampler, 20), limit)


def test_ddim_converges_to_the_same_limit(limit: Tensor) -> None:
    assert distance(solved("ddim", 200), limit) < 0.02
    assert distance(solved("ddim", 10), limit) > 0.1


@pytest.mark.parametrize("sampler", ["ddim", "dpmsolver++", "unipc"])
@pytest.mark.parametrize("prediction", ["epsilon", "sample", "v_prediction"])
def test_every_prediction_ends_at_a_known_picture(sampler: Sampler, prediction: str) -> None:
    """A network that knows the picture finds it, whichever way it says so, and is asked `steps` times."""
    picture, asked = torch.full((1, 3, 4, 4), -0.4), 0

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        nonlocal asked
        asked += 1
        a = float(CUMULATIVE[int(timestep)])
        noise = (noisy - a**0.5 * picture) / (1 - a) ** 0.5
        velocity = a**0.5 * noise - (1 - a) ** 0.5 * picture
        return {"epsilon": noise, "sample": picture, "v_prediction": velocity}[prediction]

    config = DiffusionConfig(prediction=prediction, sampler=sampler, steps=20)  # type: ignore[arg-type]
    scheduler = build_sampler(config)
    for _ in range(2):  # a scheduler is used again for the next frame
        asked = 0
        end = denoise(predict, scheduler, [FrameNoise(3, "c", 0)], (3, 4, 4), steps=20, device=CPU)
        assert asked == 20
        # What is left is the smallest noise of the schedule: sqrt(1 - .9985) = .039 of a standard normal.
        assert float((end - CUMULATIVE[0] ** 0.5 * picture).std()) < 0.06


# --------------------------------------------------------------------------------------- impossible numbers


@pytest.mark.parametrize("steps", [3, 30, 333, 999, 1000, 0])
def test_ddim_refuses_what_does_not_divide_1000(steps: int) -> None:
    with pytest.raises(UsageError, match="does not divide 1000"):
        check_steps(steps)


@pytest.mark.parametrize("sampler", ["dpmsolver++", "unipc"])
def test_fast_solvers_refuse_in_one_line(sampler: Sampler) -> None:
    for steps in (0, 1, 101, -5):
        with pytest.raises(UsageError, match="2 to 100") as refusal:
            build_sampler(DiffusionConfig(sampler=sampler, steps=steps))
        assert "\n" not in str(refusal.value)
    with pytest.raises(UsageError, match="adds no noise"):
        check_sampler(DiffusionConfig(sampler=sampler, steps=20, eta=0.5))


@pytest.mark.parametrize("sampler", ["dpmsolver++", "unipc"])
@pytest.mark.parametrize("steps", [2, 3, 7, 15, 50, 100])
def test_fast_solvers_take_what_they_accept(sampler: Sampler, steps: int) -> None:
    assert bool(torch.isfinite(solved(sampler, steps)).all())


def test_noise_belongs_to_clip_frame_and_seed() -> None:
    draw = lambda *key: FrameNoise(*key).draw((3, 4, 4))  # noqa: E731
    torch.testing.assert_close(draw(1, "a", 2), draw(1, "a", 2))
    for other in ((2, "a", 2), (1, "b", 2), (1, "a", 3)):
        assert float((draw(1, "a", 2) - draw(*other)).abs().max()) > 0.1
