"""Variant `temporal`: previous frames as tokens, attended to, beside the audio token."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor, nn

from syncdiff_methods.syncdiff.acceleration import Acceleration, accelerate, part_flops, workload
from syncdiff_methods.syncdiff.attention import one_token_attention
from syncdiff_methods.syncdiff.beyond.temporal import SIDE, TemporalAttention, crop
from syncdiff_methods.syncdiff.config import ConditionConfig, SyncDiffConfig, shipped_config
from syncdiff_methods.syncdiff.model import Denoiser, SyncDiffModel
from syncdiff_methods.syncdiff.prepacked import can_prepack
from syncdiff_methods.syncdiff.sampling import ClipConditions, FrameNoise, build_sampler, denoise, sample_clips

TOKENS = ConditionConfig(previous="tokens", previous_frames=3)
CPU = torch.device("cpu")


def seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def box(top: int, bottom: int, left: int, right: int, side: int = 24) -> Tensor:
    """(1, side, side), 1 inside the box."""
    area = torch.zeros(1, side, side)
    area[:, top:bottom, left:right] = 1
    return area


@pytest.fixture
def attention() -> TemporalAttention:
    torch.manual_seed(0)
    return TemporalAttention(3, 16).eval()


# -------------------------------------------------------------------------------------- what is seen


@pytest.mark.parametrize("edges", [(4, 20, 4, 20), (10, 22, 3, 19), (9, 10, 7, 8), (0, 24, 0, 24)])
def test_a_crop_is_the_masked_box_resized(edges: tuple[int, int, int, int]) -> None:
    """Torch's own bilinear resizing of what is cut out; its edge repeats where ours meets zeros, so inside alone."""
    top, bottom, left, right = edges
    latents = seeded(1, 6, 24, 24)
    expected = F.interpolate(latents[:, :, top:bottom, left:right], (SIDE, SIDE), mode="bilinear", align_corners=False)
    made = crop(latents, box(*edges), SIDE)
    rim_y, rim_x = (-(-SIDE // (2 * n)) if n < SIDE else 0 for n in (bottom - top, right - left))
    inner = (..., slice(rim_y, SIDE - rim_y), slice(rim_x, SIDE - rim_x))
    torch.testing.assert_close(made[inner], expected[inner], atol=1e-5, rtol=1e-5)


def test_each_example_has_its_own_box_and_an_empty_one_shows_nothing() -> None:
    latents, areas = seeded(3, 3, 24, 24), torch.cat([box(4, 20, 4, 20), box(0, 16, 8, 24), box(0, 0, 0, 0)])
    together = crop(latents, areas, SIDE)
    torch.testing.assert_close(together[0], latents[0, :, 4:20, 4:20])
    torch.testing.assert_close(together[1], latents[1, :, 0:16, 8:24])
    assert not together[2].any()


def test_only_the_masked_area_is_seen(attention: TemporalAttention) -> None:
    audio, previous, area = seeded(1, 16), seeded(1, 3, 3, 24, 24, seed=1), 0.3 * box(9, 20, 5, 18)
    seen = attention(audio, previous, area)
    outside = previous + seeded(1, 3, 3, 24, 24, seed=2) * (area[:, None, None] == 0)
    inside = previous.clone()
    inside[0, 2, 0, 19, 17] += 1  # one number, in a corner, of the farthest frame
    assert torch.equal(attention(audio, outside, area), seen)
    assert not torch.equal(attention(audio, inside, area), seen)


def test_the_order_of_frames_is_seen(attention: TemporalAttention) -> None:
    audio, previous, area = seeded(1, 16), seeded(1, 3, 3, 24, 24, seed=1), box(9, 20, 5, 18)
    seen = attention(audio, previous, area)
    assert not torch.allclose(attention(audio, previous.flip(1), area), seen, atol=1e-4)
    torch.nn.init.zeros_(attention.distance.weight)
    torch.testing.assert_close(
        attention(audio, previous.flip(1), area), attention(audio, previous, area), atol=1e-5, rtol=1e-5
    )


def test_one_frame_that_is_asked_for_gives_the_values_of_that_frame(attention: TemporalAttention) -> None:
    """Keys that point at distance 2 alone: the softmax is 1 there, and the output is `to_out(to_v(token))`."""
    inner, attention.norm = attention.attention, nn.Identity()  # type: ignore[assignment]
    direction = torch.tensor([1.0, -1.0]).repeat(8)
    with torch.no_grad():
        attention.distance.weight.copy_(torch.tensor([[0.0], [100.0], [0.0]]) * direction)
        inner.to_q.weight.copy_(torch.eye(16))
        inner.to_k.weight.copy_(torch.eye(16))
    audio, previous, area = direction[None], seeded(1, 3, 3, 24, 24, seed=1), box(9, 20, 5, 18)
    token = attention.convolution(crop(previous[:, 1], area, SIDE)) + attention.distance.weight[1]
    expected = inner.to_out[0](inner.to_v(token))
    torch.testing.assert_close(attention(audio, previous, area), expected, atol=1e-4, rtol=1e-4)


# -------------------------------------------------------------------------------------- in the denoiser


@pytest.mark.parametrize(("nearest_channel", "channels"), [(True, 10), (False, 9)])
def test_the_nearest_frame_stays_a_channel_where_wanted(nearest_channel: bool, channels: int) -> None:
    condition = replace(TOKENS, nearest_channel=nearest_channel)
    assert condition.channels == channels
    denoiser = Denoiser(replace(TINY, condition=condition))
    masked, identity, *previous = seeded(5, 2, 3, 8, 8).unbind()
    visual = denoiser.visual_condition(masked, identity, previous)
    assert visual.shape == (2, channels - 3, 8, 8)
    if nearest_channel:
        assert denoiser.bottleneck is not None
        torch.testing.assert_close(visual[:, 6:], denoiser.bottleneck(previous[0]))
    else:
        assert denoiser.bottleneck is None


def test_the_context_is_the_audio_token_and_one_of_the_previous_frames() -> None:
    token, area, previous = seeded(2, 16), torch.ones(2, 8, 8), list(seeded(3, 2, 3, 8, 8).unbind())
    denoiser = Denoiser(replace(TINY, condition=TOKENS))
    context = denoiser.context(token, previous, area)
    assert context.shape == (2, TOKENS.context_tokens, 16) == (2, 2, 16)
    assert torch.equal(context[:, 0], token)
    assert torch.equal(Denoiser(TINY).context(token, previous, area), token[:, None])


def test_at_the_papers_size_it_adds_three_million_parameters() -> None:
    """Convolutions 896 + 18,496, linear 1024 x 768 + 768, distances 10 x 768, norm 1,536, attention 4 x 768^2 + 768."""
    with torch.device("meta"):
        denoiser, plain = (Denoiser(shipped_config("paper", name)) for name in ("temporal", "rnd+prv-"))
    added = 896 + 18_496 + 1024 * 768 + 768 + 7_680 + 1_536 + 4 * 768**2 + 768
    assert sum(p.numel() for p in denoiser.parameters()) - sum(p.numel() for p in plain.parameters()) == added
    assert added == 3_175_872


# -------------------------------------------------------------------------------------- sampling


def model_of(condition: ConditionConfig = TOKENS) -> SyncDiffModel:
    torch.manual_seed(0)
    return SyncDiffModel(replace(TINY, condition=condition)).eval()


def clips_of(*lengths: int) -> list[ClipConditions]:
    return [
        ClipConditions(
            str(i), seeded(n, 3, 8, 8, seed=i), seeded(3, 8, 8, seed=10 + i), seeded(n, 16, seed=20 + i),
            seeded(3, 32, 32, seed=30 + i), box(3, 8, 1, 7, side=8).expand(n, 8, 8),
        )
        for i, n in enumerate(lengths)
    ]  # fmt: skip


Made = dict[tuple[int, int], Tensor]


def frames(model: SyncDiffModel, clips: list[ClipConditions]) -> Made:
    made: Made = {}
    sample_clips(model, clips, seed=0, on_frame=lambda i, t, image: made.update({(i, t): image.clone()}))
    return made


@torch.inference_mode()
def by_hand(model: SyncDiffModel, clip: ClipConditions) -> list[Tensor]:
    """Images of a clip frame by frame, with diffusers' own attention over both tokens."""
    history, images = [clip.identity[None]] * TOKENS.previous_frames, []
    denoiser, diffusion = model.denoiser, model.config.diffusion
    for t in range(len(clip)):
        visual = denoiser.visual_condition(clip.masked[t : t + 1], clip.identity[None], history)
        assert denoiser.temporal is not None
        summary = denoiser.temporal(clip.tokens[t : t + 1], torch.stack(history, dim=1), clip.area[t : t + 1])
        context = torch.stack([clip.tokens[t : t + 1], summary], dim=1)

        def predict(noisy: Tensor, timestep: Tensor, visual: Tensor = visual, context: Tensor = context) -> Tensor:
            stacked = torch.cat([noisy, visual], dim=1)
            return denoiser.unet(stacked, timestep, encoder_hidden_states=context).sample  # type: ignore[no-any-return]

        noise = [FrameNoise(0, clip.clip_id, t)]
        latents = denoise(
            predict, build_sampler(diffusion), noise, (3, 8, 8), steps=diffusion.steps, eta=0.0, device=CPU
        )
        images.append(model.autoencoder.decode(latents).clamp(-1, 1)[0])
        history = [model.autoencoder.encode(images[-1][None]), *history[:-1]]
    return images


def test_sampling_attends_to_both_tokens_and_the_last_frames() -> None:
    """The short cut for one token would give other frames, or none at all."""
    model, (clip,) = model_of(), clips_of(5)
    made = frames(model, [clip])
    for t, image in enumerate(by_hand(model, clip)):
        torch.testing.assert_close(made[0, t], image, atol=1e-4, rtol=0)


def test_one_token_attention_refuses_two_tokens() -> None:
    unet = model_of().denoiser.unet
    with torch.inference_mode(), one_token_attention(unet) as outputs:
        two = outputs(seeded(1, 2, 16))
        with pytest.raises(AssertionError, match="several tokens"):
            unet(seeded(1, 10, 8, 8), 3, encoder_hidden_states=two)


@pytest.mark.skipif(not can_prepack(CPU), reason="weights are prepacked for oneDNN")
@pytest.mark.usefixtures("threads")
def test_prepacked_frames_are_the_same_bits_in_any_batch_on_any_number_of_threads() -> None:
    model, clips = model_of(), clips_of(3, 1, 4)
    plain = frames(model, clips)
    accelerate(model, Acceleration())
    torch.set_num_threads(2)
    together = frames(model, clips)
    for key, image in together.items():
        torch.testing.assert_close(image, plain[key], atol=1e-4, rtol=0)
    for count in (1, 3):
        torch.set_num_threads(count)
        for i, clip in enumerate(clips):
            for (_, t), image in frames(model, [clip]).items():
                torch.testing.assert_close(image, together[i, t], atol=0, rtol=0)


def test_bf16_stays_close() -> None:
    clips = clips_of(1, 1)
    expected, model = frames(model_of(), clips), model_of()
    accelerate(model, Acceleration(precision="bf16"))
    close = [float((image - expected[key]).abs().mean()) for key, image in frames(model, clips).items()]
    assert 0 < max(close) < 0.1


# -------------------------------------------------------------------------------------- what it costs


def test_work_counts_attention_to_two_tokens() -> None:
    """A step asks for queries, keys and values at every level, where one token needs a value alone."""
    plain, tokens = (replace(TINY, condition=condition) for condition in (ConditionConfig(), TOKENS))
    assert part_flops(tokens)["step"] - part_flops(plain)["step"] == attention_flops(tokens)
    made = part_flops(tokens)["context"]
    convolutions = 3 * 2 * (8 * 8 * 32 * 27 + 4 * 4 * 64 * 288 + 1024 * 16)
    attention = 2 * (2 * 16 * 16 + 2 * 3 * 16 * 16) + 2 * 2 * 3 * 16
    assert made == convolutions + attention
    counted = [workload(config, [10], 1, Acceleration(), "cpu").flops for config in (tokens, plain)]
    assert counted[0] - counted[1] == 10 * (4 * attention_flops(tokens) + made)


def attention_flops(config: SyncDiffConfig) -> int:
    """Of all cross-attentions to two tokens beyond those to one: (places, width) by hand from the UNet's blocks."""
    places = [4 * 4] * 1 + [4 * 4] * 1 + [4 * 4] * 2
    width, dim = config.unet.channels[0], config.audio.dim
    per = 0
    for n in places:
        queries, output = 2 * n * width * width, 2 * n * width * width
        keys_and_values, scores = 2 * 2 * 2 * dim * width, 2 * 2 * n * 2 * width
        one = 2 * dim * width + 2 * width * width
        per += queries + output + keys_and_values + scores - one
    return per
