"""DDIM in closed form, and the fast solvers against the equation that all three solve."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.config import DiffusionConfig, Sampler
from syncdiff_methods.syncdiff.sampling import (
    FrameNoise,
    build_sampler,
    build_scheduler,
    check_sampler,
    check_steps,
    denoise,
)

CPU = torch.device("cpu")
CUMULATIVE = np.cumprod(1 - np.linspace(0.0015**0.5, 0.0195**0.5, 1000) ** 2)


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
