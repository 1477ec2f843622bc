"""Speed of SyncDiff: UNet step, encode, decode, whole frame; small and, as slow tests, at the paper's size.

pytest tests/benchmarks/test_syncdiff_speed.py --benchmark-only -m "slow or not slow"

The UNet is timed against itself with the attention of CompVis' code, written out as einsums. On a CPU that others use
too, --benchmark-timer=time.process_time counts what this process computed. `extra_info` of --benchmark-json holds
TFLOP per second; divided by the peak of a GPU that is its model FLOP utilisation (docs/performance.md).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch._inductor.config
from torch import Tensor, nn

from syncdiff_bench.estimates.counting import flops_of
from syncdiff_methods.syncdiff.acceleration import Acceleration, accelerate
from syncdiff_methods.syncdiff.attention import one_token_attention
from syncdiff_methods.syncdiff.config import DiffusionConfig, Sampler, SyncDiffConfig
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.prepacked import can_prepack, prepack
from syncdiff_methods.syncdiff.sampling import ClipConditions, sample_clips

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
CLIPS = {"pocket": 24, "paper": int(os.environ.get("SYNCDIFF_BENCH_CLIPS", "24" if DEVICE == "cuda" else "1"))}
GATE = pytest.mark.gate
SIZES = ["pocket", pytest.param("paper", marks=pytest.mark.slow)]


@dataclass
class Timed:
    """A model of one size with random weights, and what its UNet made first: all ways of running it must agree."""

    size: str
    model: SyncDiffModel
    first: Tensor | None = None

    @property
    def batch(self) -> int:
        return CLIPS[self.size]


@pytest.fixture(scope="module", params=SIZES)
def timed(request: pytest.FixtureRequest) -> Timed:
    config = SyncDiffModel.read_config("pocket") if request.param == "pocket" else SyncDiffConfig()
    with torch.device("meta"):
        model = SyncDiffModel(config).eval()
    model.to_empty(device=DEVICE)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        torch.nn.init.ones_(parameter) if "norm" in name else torch.nn.init.uniform_(parameter, -0.03, 0.03)
    return Timed(request.param, model)


class EinsumAttention:
    """Attention as CompVis' `CrossAttention.forward` computes it: all scores of all heads in memory."""

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None, attention_mask: None = None
    ) -> Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states

        def heads(x: Tensor) -> Tensor:
            """(b, n, h d) -> (b h, n, d)"""
            b, n, width = x.shape
            split = x.reshape(b, n, attn.heads, width // attn.heads).permute(0, 2, 1, 3)
            return split.reshape(b * attn.heads, n, width // attn.heads)

        q, k, v = heads(attn.to_q(hidden_states)), heads(attn.to_k(context)), heads(attn.to_v(context))
        scores = torch.einsum("bid,bjd->bij", q, k) * attn.scale
        made = torch.einsum("bij,bjd->bid", scores.softmax(dim=-1), v)
        b, n, width = hidden_states.shape
        merged = made.reshape(b, attn.heads, n, width // attn.heads).permute(0, 2, 1, 3).reshape(b, n, width)
        return attn.to_out[0](merged)  # type: ignore[no-any-return]


def step_of(timed: Timed, how: str, stack: ExitStack) -> Callable[[], Tensor]:
    """One UNet step in one of four ways."""
    from diffusers.models.attention_processor import AttnProcessor2_0

    config, unet = timed.model.config, timed.model.denoiser.unet
    side, n = config.latent_size, timed.batch
    rng = torch.Generator().manual_seed(0)
    noisy = torch.randn(n, config.condition.channels, side, side, generator=rng).to(DEVICE)
    context = torch.randn(n, 1, config.audio.dim, generator=rng).to(DEVICE)
    ours = how in ("ours", "compiled")
    unet.to(memory_format=torch.channels_last if ours else torch.contiguous_format)
    unet.set_attn_processor(EinsumAttention() if how == "official attention" else AttnProcessor2_0())
    run: nn.Module | Callable[..., Any] = unet
    if ours:
        context = stack.enter_context(one_token_attention(unet))(context)
        noisy = noisy.to(memory_format=torch.channels_last)
    if how == "ours" and can_prepack(torch.device(DEVICE)):
        prepack(unet)  # for good, so it comes last
    if how == "compiled":
        stack.enter_context(torch._inductor.config.patch(freezing=DEVICE == "cpu"))
        run = torch.compile(unet)
    timestep = torch.tensor(500, device=DEVICE)
    return lambda: run(noisy, timestep, encoder_hidden_states=context).sample  # type: ignore[no-any-return]


def finished(call: Callable[[], Any]) -> Any:
    result = call()
    if DEVICE == "cuda":
        torch.cuda.synchronize()
    return result


def note_speed(benchmark: Any, config: SyncDiffConfig, batch: int) -> None:
    """TFLOP/s of the network as the paper has it: work that we save counts as done."""
    side = config.latent_size
    with torch.device("meta"), torch.inference_mode():
        unet = SyncDiffModel(config).denoiser.unet
        noisy, context = torch.zeros(1, config.condition.channels, side, side), torch.zeros(1, 1, config.audio.dim)
        flops = flops_of(lambda: unet(noisy, 1, encoder_hidden_states=context))
    benchmark.extra_info["tflop_per_second"] = flops * batch / benchmark.stats.stats.min / 1e12


@pytest.mark.benchmark(group="UNet step")
@pytest.mark.parametrize("how", ["official attention", "diffusers", "compiled", pytest.param("ours", marks=GATE)])
def test_unet_step(benchmark: Any, timed: Timed, how: str) -> None:
    if how == "compiled" and timed.size == "pocket":
        pytest.skip("compiling takes a minute; pocket is not compiled")
    with ExitStack() as stack, torch.inference_mode():
        step = step_of(timed, how, stack)
        made = finished(step)
        if timed.first is None:
            timed.first = made
        assert float((made - timed.first).abs().max() / timed.first.abs().max()) < 1e-3
        rounds = 3 if timed.size == "paper" else 20
        benchmark.pedantic(lambda: finished(step), rounds=rounds, warmup_rounds=1)
    note_speed(benchmark, timed.model.config, timed.batch)


@pytest.mark.benchmark(group="UNet step on a GPU")
@pytest.mark.skipif(DEVICE == "cpu", reason="bf16 and CUDA graphs need a GPU")
@pytest.mark.parametrize("compile_", ["off", "on", "graphs"])
def test_unet_step_in_bf16(benchmark: Any, timed: Timed, compile_: Any) -> None:
    """Last of the UNet's, it converts the weights for good."""
    torch.compiler.reset()
    model = timed.model
    accelerate(model, Acceleration("bf16", compile_))
    side, n = model.config.latent_size, timed.batch
    shape = (n, model.config.condition.channels, side, side)
    noisy = torch.randn(shape, device=DEVICE).to(torch.bfloat16, memory_format=torch.channels_last)
    with torch.inference_mode(), one_token_attention(model.denoiser.unet) as outputs:
        context = outputs(torch.randn(n, 1, model.config.audio.dim, device=DEVICE, dtype=torch.bfloat16))
        timestep = torch.tensor(500, device=DEVICE)
        step = lambda: finished(lambda: model.denoiser.unet(noisy, timestep, encoder_hidden_states=context))  # noqa: E731
        benchmark.pedantic(step, rounds=20, warmup_rounds=5)
    note_speed(benchmark, model.config, n)


@pytest.mark.benchmark(group="autoencoder")
@pytest.mark.parametrize("layout", ["contiguous", pytest.param("channels last", marks=GATE)])
@pytest.mark.parametrize("direction", ["encode", "decode"])
def test_autoencoder(benchmark: Any, timed: Timed, direction: str, layout: str) -> None:
    config, autoencoder = timed.model.config, timed.model.autoencoder
    autoencoder.to(memory_format=torch.channels_last if layout == "channels last" else torch.contiguous_format)
    side = config.latent_size if direction == "decode" else config.frame_size
    batch = torch.rand(timed.batch, 3, side, side, device=DEVICE)
    with torch.inference_mode():
        benchmark.pedantic(lambda: finished(lambda: getattr(autoencoder, direction)(batch)), rounds=5, warmup_rounds=1)


@pytest.mark.benchmark(group="whole frame")
@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 200), ("ddim", 20), ("dpmsolver++", 20), ("unipc", 20)])
def test_whole_frame(benchmark: Any, timed: Timed, sampler: Sampler, steps: int) -> None:
    """One frame of every clip of a batch: condition, all steps, decode."""
    if timed.size == "paper" and DEVICE == "cpu":
        pytest.skip("minutes to a quarter of an hour on a CPU; it is its steps and a decode")
    model, n = timed.model, timed.batch
    accelerate(model, Acceleration())
    side, size, dim = model.config.latent_size, model.config.frame_size, model.config.audio.dim
    model.config = replace(model.config, diffusion=DiffusionConfig(sampler=sampler, steps=steps))
    draw = lambda *shape: torch.randn(shape, device=DEVICE)  # noqa: E731
    clips = [
        ClipConditions(
            str(i),
            draw(1, 3, side, side),
            draw(3, side, side),
            draw(1, dim),
            draw(3, size, size),
            torch.ones(1, side, side, device=DEVICE),
        )
        for i in range(n)
    ]
    frame = lambda: finished(lambda: sample_clips(model, clips, seed=0, on_frame=lambda *_: None))  # noqa: E731
    benchmark.pedantic(frame, rounds=1 if steps == 200 else 3, warmup_rounds=0 if steps == 200 else 1)
