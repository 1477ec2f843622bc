"""VQ-f4 and DiffTalk against numbers of the official code (docs/spec/parity.md#by-name).

tests/data/compvis_golden.npz holds inputs and outputs of the official classes at toy widths; official/ddim.npz, what
CompVis' DDIMSampler made of pocket's frames (tests/data/official/README.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import by_name
from torch import Tensor

import syncdiff_datasets
from syncdiff_bench.media.reading import read_media
from syncdiff_methods.difftalk.converter import difftalk_parts
from syncdiff_methods.difftalk.model import DiffTalkConfig, DiffTalkModel
from syncdiff_methods.difftalk.sampling import blended_ddim
from syncdiff_methods.syncdiff.checkpoints import fill, first_stage, gather, schedule_buffers
from syncdiff_methods.syncdiff.config import AutoencoderConfig, DiffusionConfig, UNetConfig
from syncdiff_methods.syncdiff.model import Autoencoder
from syncdiff_methods.syncdiff.sampling import FrameNoise, build_scheduler, check_steps, denoise

DATA = Path(__file__).parents[1] / "data"
CPU = torch.device("cpu")
TINY_VQ = AutoencoderConfig((32, 64, 128))
DIFFTALK = DiffTalkConfig(name="tiny", frame_size=64, autoencoder=TINY_VQ, unet=UNetConfig((32, 64, 96, 128)))


@pytest.fixture(autouse=True)
def no_gradients() -> object:
    with torch.inference_mode():
        yield


def stored(file: str, prefix: str = "") -> dict[str, Tensor]:
    with np.load(DATA / file, allow_pickle=False) as data:
        return {k.removeprefix(prefix): torch.from_numpy(data[k]) for k in data.files if k.startswith(prefix)}


def fill_by_name(parts: list, scale: Callable[[str], float] = lambda _name: 1.0) -> None:  # type: ignore[type-arg]
    fill(parts, {n: by_name(n, t.shape) * scale(n) for n, t in gather(parts).items()}, "golden")


def relative(ours: Tensor, official: Tensor) -> float:
    """Largest difference over the largest value."""
    return float((ours - official).abs().max() / official.abs().max())


# ------------------------------------------------------------------------------------------------ VQ-f4


@pytest.mark.parametrize("name", ["vqf4_tiny", "vqf4_noattn_tiny"])
def test_vq_f4(name: str) -> None:
    data = stored("compvis_golden.npz", f"{name}/")
    config = AutoencoderConfig((32, 64, 128), mid_attention="noattn" not in name)
    autoencoder = Autoencoder(config).eval()
    fill_by_name([first_stage("", autoencoder)])
    assert relative(autoencoder.encode(data["x"]), data["h"]) < 1e-5
    assert relative(autoencoder.decode(data["h"]), data["rec"]) < 1e-5
    assert relative(autoencoder.decode(data["h"], quantise=False), data["rec_noquant"]) < 1e-5
    _, loss, (_, _, codes) = autoencoder.vq.quantize(data["h"])
    assert float((codes.flatten() == data["idx"]).float().mean()) >= 0.999
    assert float(loss) == pytest.approx(float(data["loss"]), rel=1e-5)


# --------------------------------------------------------------------------------------------- DiffTalk


@pytest.fixture(scope="module")
def data() -> Mapping[str, Tensor]:
    return stored("compvis_golden.npz", "difftalk/")


@pytest.fixture(scope="module")
def model() -> DiffTalkModel:
    model = DiffTalkModel(DIFFTALK).eval()
    fill_by_name(difftalk_parts(model))
    return model


@pytest.fixture
def predict(model: DiffTalkModel, data: Mapping[str, Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    token = torch.cat([data["c_audio"], data["c_ldm"]], dim=1)
    return lambda noisy, timestep: model.predict(noisy, timestep, data["c_mask"], data["c_ref"], token)


class Stream:
    """Noise drawn for a whole batch at once, as the official sampler does, handed out row by row."""

    def __init__(self, batches: Sequence[Tensor], row: int) -> None:
        self.rows = [batch[row] for batch in batches]

    def draw(self, shape: Sequence[int]) -> Tensor:
        assert tuple(shape) == tuple(self.rows[0].shape)
        return self.rows.pop(0)


def streams(batches: Sequence[Tensor]) -> list[Stream]:
    return [Stream(batches, row) for row in range(len(batches[0]))]


def test_condition_encoders(model: DiffTalkModel, data: Mapping[str, Tensor]) -> None:
    for image, latent, tolerance in (("img", "z", 1e-5), ("ref", "c_ref", 1e-5), ("msk", "c_mask", 2e-5)):
        assert relative(model.autoencoder.encode(data[image].permute(0, 3, 1, 2)), data[latent]) < tolerance
    token = model.conditions(data["aud"], data["lmk"])
    assert relative(token[:, :64], data["c_audio"]) < 1e-5
    assert relative(token[:, 64:], data["c_ldm"]) < 1e-5


def test_eps_and_loss(predict: Callable[[Tensor, Tensor], Tensor], data: Mapping[str, Tensor]) -> None:
    assert relative(predict(data["x_noisy"], data["t"]), data["eps"]) < 1e-5
    noisy = build_scheduler(DiffusionConfig()).add_noise(data["z"], data["noise"], data["t"])
    loss = (predict(noisy, data["t"]) - data["noise"]).square().mean()
    assert float(loss) == pytest.approx(float(data["loss"]), rel=1e-5)


def test_decode(model: DiffTalkModel, data: Mapping[str, Tensor]) -> None:
    assert relative(model.autoencoder.decode(data["z"]), data["xrec"]) < 1e-5


@pytest.mark.parametrize(
    ("steps", "eta", "tolerance"),
    [(10, 0.0, 1e-5), (10, 1.0, 1e-5), pytest.param(200, 0.0, 1e-4, marks=pytest.mark.slow)],
)
def test_ddim(
    predict: Callable[[Tensor, Tensor], Tensor], data: Mapping[str, Tensor], steps: int, eta: float, tolerance: float
) -> None:
    torch.manual_seed(1234)
    noise = [data["x_noisy"], *(torch.randn(2, 3, 16, 16) for _ in range(steps))]
    scheduler = build_scheduler(DiffusionConfig())
    result = denoise(predict, scheduler, streams(noise), (3, 16, 16), steps=steps, eta=eta, device=CPU)
    assert relative(result, data[f"ddim_S{steps}_eta{eta}"]) < tolerance


def test_inpainting_with_averaged_weights(data: Mapping[str, Tensor]) -> None:
    """The upper half is kept; the official sampler draws a second, unused noise in every step."""
    model = DiffTalkModel(DIFFTALK).eval()
    fill_by_name(difftalk_parts(model), lambda name: 0.9 if name.startswith("model.") else 1.0)
    token = torch.cat([data["c_audio"], data["c_ldm"]], dim=1)
    keep = torch.ones(2, 1, 16, 16)
    keep[:, :, 8:] = 0
    torch.manual_seed(99)
    noise = [data["x_noisy"]]
    for _ in range(10):
        noise.append(torch.randn(2, 3, 16, 16))
        torch.randn(2, 3, 16, 16)
    result = blended_ddim(
        lambda noisy, timestep: model.predict(noisy, timestep, data["c_mask"], data["c_ref"], token),
        build_scheduler(DiffusionConfig()),
        streams(noise),
        data["z"],
        keep,
        steps=10,
    )
    assert relative(result, data["ddim_inpaint_S10_ema_seed99"]) < 1e-5
    picture = ((model.autoencoder.decode(result) + 1) / 2).clamp(0, 1)
    assert relative(picture, data["ddim_inpaint_dec"]) < 1e-5


def test_schedule(data: Mapping[str, Tensor]) -> None:
    buffers = schedule_buffers(DiffusionConfig())
    for name in ("betas", "alphas_cumprod", "alphas_cumprod_prev"):
        torch.testing.assert_close(buffers[name], data[name], rtol=1e-6, atol=0)


# ------------------------------------------------------------------------------------- pocket's frames, any steps


@pytest.fixture(scope="module")
def official() -> Mapping[str, Tensor]:
    """Two frames of pocket encoded, and sampled by CompVis' DDIMSampler."""
    return stored("official/ddim.npz")


def test_frames_of_pocket_have_the_official_latents(model: DiffTalkModel, official: Mapping[str, Tensor]) -> None:
    """Frames 5 and 20, their upper halves, frame 0; and back again, by way of the codebook."""
    path = Path(syncdiff_datasets.__file__).parent / "pocket/data/mvlrs_v1/main/3000000000000000008/00002.mp4"
    frames = torch.from_numpy(read_media(path).frames[[5, 20, 0], 48:112, 48:112].copy())
    pictures = frames.permute(0, 3, 1, 2) / 127.5 - 1
    masked = pictures[:2].clone()
    masked[:, :, 32:] = -1
    autoencoder = model.autoencoder
    latents = autoencoder.encode(pictures)
    assert relative(latents[:2], official["latent"]) < 1e-5
    assert relative(autoencoder.encode(masked), official["masked"]) < 1e-5
    assert relative(latents[[2, 2]], official["reference"]) < 1e-5
    decoded = autoencoder.decode(official["latent"])
    assert relative(decoded[:, :, ::2, ::2], official["reconstruction"]) < 1e-5
    picture = ((autoencoder.decode(official["ddim|10|0.0"]) + 1) / 2).clamp(0, 1)
    assert relative(picture[:, :, ::2, ::2], official["picture"]) < 1e-5


@pytest.mark.parametrize(("steps", "eta"), [(5, 0.0), (10, 0.0), (10, 1.0), (20, 0.5)])
def test_ddim_of_pockets_frames(steps: int, eta: float, model: DiffTalkModel, official: Mapping[str, Tensor]) -> None:
    """The masked and the reference latent beside the noisy one, one token; noise in the official order."""
    token = torch.from_numpy(np.random.RandomState(6).standard_normal((2, 128)).astype(np.float32))
    start = torch.from_numpy(np.random.RandomState(7).standard_normal(official["latent"].shape).astype(np.float32))
    torch.manual_seed(1234)
    noise = [start, *(torch.randn(start.shape) for _ in range(steps))]
    result = denoise(
        lambda noisy, timestep: model.predict(noisy, timestep, official["masked"], official["reference"], token),
        build_scheduler(DiffusionConfig()),
        streams(noise),
        start.shape[1:],
        steps=steps,
        eta=eta,
        device=CPU,
    )
    assert relative(result, official[f"ddim|{steps}|{eta}"]) < 1e-5


@pytest.mark.parametrize("steps", [1, 2, 4, 5, 8, 10, 20, 25, 40, 50, 100, 125, 200, 250, 500])
def test_ddim_visits_the_official_timesteps(steps: int, official: Mapping[str, Tensor]) -> None:
    """From the last down. With the cumulative alphas there and at the step before, of which the noise of eta = 1 is
    made (docs/spec/ldm.md#ddim).
    """
    timesteps, alphas, before, sigmas = official[f"steps|{steps}"].numpy()
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
