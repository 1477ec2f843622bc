"""What is done for speed changes no result: one-token attention, number format, layout, prepacking, compilation."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import Any

import pytest
import torch
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.acceleration import Acceleration, accelerate
from syncdiff_methods.syncdiff.attention import one_token_attention
from syncdiff_methods.syncdiff.config import ConditionConfig, SyncDiffConfig, UNetConfig
from syncdiff_methods.syncdiff.model import SyncDiffModel, build_unet
from syncdiff_methods.syncdiff.prepacked import can_prepack
from syncdiff_methods.syncdiff.sampling import ClipConditions, sample_clips

CPU = torch.device("cpu")


def tiny_model(config: SyncDiffConfig = TINY) -> SyncDiffModel:
    torch.manual_seed(0)
    return SyncDiffModel(config).eval()


def conditions(lengths: tuple[int, ...], dim: int = 16) -> list[ClipConditions]:
    rng = torch.Generator().manual_seed(1)
    draw = lambda *shape: torch.randn(shape, generator=rng)  # noqa: E731
    return [
        ClipConditions(str(i), draw(n, 3, 8, 8), draw(3, 8, 8), draw(n, dim), draw(3, 32, 32), torch.ones(n, 8, 8))
        for i, n in enumerate(lengths)
    ]


Made = dict[tuple[int, int], Tensor]


def assert_same(made: Made, expected: Made, atol: float = 1e-4) -> None:
    assert made.keys() == expected.keys()
    for key, image in made.items():
        torch.testing.assert_close(image, expected[key], atol=atol, rtol=0)


def frames(model: SyncDiffModel, clips: list[ClipConditions]) -> Made:
    made: Made = {}
    sample_clips(model, clips, seed=0, on_frame=lambda i, t, image: made.update({(i, t): image.clone()}))
    return made


# ------------------------------------------------------------------------------------------- one token


@pytest.mark.parametrize(("channels", "context"), [((32, 64, 96, 128), 128), ((16, 16), 16)])
def test_one_token_attention_equals_attention(channels: tuple[int, ...], context: int) -> None:
    """diffusers' own attention over one key, at every level; two timesteps from one computation."""
    torch.manual_seed(0)
    levels = tuple(i > 0 for i in range(len(channels)))
    unet = build_unet(UNetConfig(channels, levels, head_dim=16, norm_groups=8), 10, context, 16).eval().double()
    noisy, token = torch.randn(3, 10, 16, 16).double(), torch.randn(3, context).double()
    with torch.inference_mode():
        expected = [unet(noisy, t, encoder_hidden_states=token[:, None]).sample for t in (3, 900)]
        with one_token_attention(unet) as outputs:
            made = outputs(token)
            ours = [unet(noisy, t, encoder_hidden_states=made[:, None]).sample for t in (3, 900)]
        afterwards = unet(noisy, 3, encoder_hidden_states=token[:, None]).sample
    for a, b in zip(ours, expected, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12)
    torch.testing.assert_close(afterwards, expected[0], atol=0, rtol=0)


def test_one_token_attention_never_asks_for_queries() -> None:
    unet = build_unet(TINY.unet, 10, 16, 8).eval()
    asked: list[str] = []
    for name, module in unet.named_modules():
        if name.endswith((".attn2.to_q", ".attn2.to_k", ".attn2.to_v")):
            module.register_forward_hook(lambda *_, name=name: asked.append(name.rpartition(".")[2]))
    with torch.inference_mode(), one_token_attention(unet) as outputs:
        context = outputs(torch.randn(1, 16))[:, None]
        per_frame = list(asked)
        for t in range(5):
            unet(torch.randn(1, 10, 8, 8), t, encoder_hidden_states=context)
    assert set(per_frame) == {"to_v"}
    assert asked == per_frame


def test_the_unet_is_itself_again_after_an_error() -> None:
    unet = build_unet(TINY.unet, 10, 16, 8)
    before = {name: type(processor) for name, processor in unet.attn_processors.items()}
    with pytest.raises(ZeroDivisionError), one_token_attention(unet):
        raise ZeroDivisionError
    assert {name: type(processor) for name, processor in unet.attn_processors.items()} == before


# ------------------------------------------------------------------------------------------ lock-step


def test_clips_of_any_length_and_a_clip_alone() -> None:
    """Beyond float rounding, a clip's frames do not depend on its batch mates."""
    model, clips = tiny_model(), conditions((3, 1, 4))
    together = frames(model, clips)
    assert sorted(together) == [(i, t) for i, n in enumerate((3, 1, 4)) for t in range(n)]
    for i, clip in enumerate(clips):
        alone = frames(model, [clip])
        for (_, t), image in alone.items():
            torch.testing.assert_close(image, together[i, t], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("condition", "encodes"),
    [
        (ConditionConfig(previous="none", identity=True), False),
        (ConditionConfig(previous="none", identity_at_test="previous"), True),
        (ConditionConfig(previous_at_test="given"), False),
        (ConditionConfig(), True),
    ],
)
def test_frames_are_encoded_again_only_where_they_are_read(
    condition: ConditionConfig, encodes: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, counted = tiny_model(replace(TINY, condition=condition)), []
    encode = model.autoencoder.encode
    monkeypatch.setattr(model.autoencoder, "encode", lambda images: counted.append(len(images)) or encode(images))
    frames(model, conditions((3, 1)))
    # Of clips that go on: one after frame 0, one after frame 1, none after the last.
    assert counted == ([1, 1] if encodes else [])


@pytest.mark.parametrize("feedback", ["pixel", "latent"])
def test_feedback_is_what_the_next_frame_sees(feedback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny_model(replace(TINY, feedback=feedback)), []
    condition, decode = model.denoiser.visual_condition, model.autoencoder.decode
    decoded: list[Tensor] = []
    monkeypatch.setattr(
        model.denoiser, "visual_condition", lambda m, i, previous: seen.append(previous[0]) or condition(m, i, previous)
    )
    monkeypatch.setattr(model.autoencoder, "decode", lambda latents: decoded.append(latents) or decode(latents))
    (clip,) = clips = conditions((2,))
    frames(model, clips)
    torch.testing.assert_close(seen[0][0], clip.identity)
    with torch.inference_mode():
        expected = decoded[0] if feedback == "latent" else model.autoencoder.encode(decode(decoded[0]).clamp(-1, 1))
    torch.testing.assert_close(seen[1], expected)


# ------------------------------------------------------------------------------------------- hardware


def test_channels_last_and_fp32_change_nothing() -> None:
    clips = conditions((2, 2))
    expected = frames(tiny_model(), clips)
    model = tiny_model()
    assert accelerate(model, Acceleration()) == Acceleration("fp32", "off", True)
    assert_same(frames(model, clips), expected)


def test_bf16_is_the_unet_alone_and_stays_close() -> None:
    clips = conditions((1, 1))
    expected = frames(tiny_model(), clips)
    model = tiny_model()
    accelerate(model, Acceleration(precision="bf16"))
    assert model.denoiser.unet.dtype == torch.bfloat16
    assert {p.dtype for p in model.autoencoder.parameters()} == {torch.float32}
    made = frames(model, clips)
    assert all(image.dtype == torch.float32 for image in made.values())
    close = [float((image - expected[key]).abs().mean()) for key, image in made.items()]
    assert 0 < max(close) < 0.1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="Inductor needs a C++ compiler")
@pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="weights are packed for oneDNN")
def test_compiled_on_a_cpu_equals_plain_with_frozen_weights() -> None:
    import torch._inductor.config as inductor

    clips = conditions((2, 2))
    expected = frames(tiny_model(), clips)
    model = tiny_model()
    # `compile` would give a graph from its cache without counting what it does; freezing is set for the process.
    with inductor.patch(fx_graph_cache=False, freezing=False):
        accelerate(model, Acceleration(compile="on"))
        torch._dynamo.utils.counters.clear()
        made = frames(model, clips)
    assert_same(made, expected)
    assert torch._dynamo.utils.counters["inductor"]["mkldnn_conv_weight_pack_matcher_count"] > 0


@pytest.mark.slow
def test_shrinking_batches_are_compiled_three_times_and_never_again() -> None:
    """For the whole batch, for any smaller one, and for a clip alone; frames, steps and further batches need none."""
    clips = conditions((4, 1, 2, 3))
    expected = frames(tiny_model(), clips)
    model = tiny_model()
    torch._dynamo.reset()  # what another test compiled would be found again, and not be counted
    model.denoiser.unet.compile(backend="eager")
    torch._dynamo.utils.counters.clear()
    for _ in range(2):
        assert_same(frames(model, clips), expected, atol=1e-5)
        assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 3


def test_what_a_device_cannot_do_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="compile=graphs needs a CUDA device, this is cpu"):
        Acceleration(compile="graphs").resolved(CPU, TINY.diffusion)
    monkeypatch.setattr(shutil, "which", lambda _name: None)
    with pytest.raises(UsageError, match=r"needs a C\+\+ compiler"):
        Acceleration(compile="on").resolved(CPU, TINY.diffusion)
    assert Acceleration().resolved(CPU, TINY.diffusion) == Acceleration("fp32", "off", True)


def test_without_prepacking_the_plain_layers_run(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = conditions((1, 2))
    expected = frames(tiny_model(), clips)
    monkeypatch.setattr("syncdiff_methods.syncdiff.prepacked._operators_work", lambda: False)
    model = tiny_model()
    accelerate(model, Acceleration())
    assert type(model.denoiser.unet.conv_in) is torch.nn.Conv2d
    assert_same(frames(model, clips), expected)


@pytest.mark.skipif(not can_prepack(CPU), reason="weights are prepacked for oneDNN")
@pytest.mark.usefixtures("threads")
def test_prepacked_frames_are_the_same_bits_in_any_batch_on_any_number_of_threads() -> None:
    model, clips = tiny_model(), conditions((2, 1, 3))
    accelerate(model, Acceleration())
    torch.set_num_threads(2)
    together = frames(model, clips)
    for count in (1, 3):
        torch.set_num_threads(count)
        for i, clip in enumerate(clips):
            for (_, t), image in frames(model, [clip]).items():
                torch.testing.assert_close(image, together[i, t], atol=0, rtol=0)
