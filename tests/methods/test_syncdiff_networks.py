"""SyncDiff's networks against the paper's sizes, closed forms and hand-computed masks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_networks import SYNCDIFF as TINY

from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.options import options_from_values
from syncdiff_methods.syncdiff.audio import AudioCondition, TemporalFilter, around
from syncdiff_methods.syncdiff.config import ConditionConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.masking import apply_mask, lower_half_mask
from syncdiff_methods.syncdiff.model import (
    Denoiser,
    SyncDiffModel,
    to_frames,
    to_images,
    zero_output_layers,
)


@pytest.mark.parametrize(
    ("condition", "channels"),
    [
        (ConditionConfig(identity=True, previous="none"), 9),  # RND
        (ConditionConfig(identity=False, previous="full"), 9),  # PRV
        (ConditionConfig(identity=False, previous="bottleneck"), 7),  # PRV-
        (ConditionConfig(identity=True, previous="bottleneck"), 10),  # RND+PRV-
        (ConditionConfig(previous_frames=5), 14),  # NP=5
    ],
)
def test_input_channels_of_every_variant(condition: ConditionConfig, channels: int) -> None:
    assert condition.channels == channels
    denoiser = Denoiser(replace(TINY, condition=condition))
    latents = [torch.randn(2, 3, 8, 8) for _ in range(2 + condition.previous_frames)]
    previous = latents[2:] if condition.previous != "none" else []
    visual = denoiser.visual_condition(latents[0], latents[1], previous)
    assert visual.shape == (2, channels - 3, 8, 8)
    assert denoiser(latents[0], torch.tensor(3), visual, torch.randn(2, 1, 16)).shape == (2, 3, 8, 8)


def test_output_layers_start_at_zero() -> None:
    denoiser = Denoiser(TINY)
    zero_output_layers(denoiser.unet)
    visual = torch.randn(1, 7, 8, 8)
    out = denoiser(torch.randn(1, 3, 8, 8), torch.tensor(5), visual, torch.randn(1, 1, 16))
    assert float(out.abs().max()) == 0.0


# ----------------------------------------------------------------------------------------------- audio


def test_temporal_filter_without_attention_is_the_mean() -> None:
    filter_ = TemporalFilter(6, window=4)
    torch.nn.init.zeros_(filter_.attention_net[0].weight)
    torch.nn.init.zeros_(filter_.attention_net[0].bias)
    features = torch.randn(3, 4, 6)
    torch.testing.assert_close(filter_(features), features.mean(dim=1))


def test_windows_are_centred_and_zero_padded() -> None:
    encoded = torch.arange(1.0, 6.0).reshape(1, 5, 1).expand(1, 5, 16)
    windows = around(encoded, 4)[0, :, :, 0]
    expected = [[0, 0, 1, 2], [0, 1, 2, 3], [1, 2, 3, 4], [2, 3, 4, 5], [3, 4, 5, 0]]
    assert windows.tolist() == expected


def test_tokens_of_a_padded_clip_equal_those_alone() -> None:
    condition = AudioCondition(TINY.audio).eval()
    short, long = torch.randn(5, 104), torch.randn(9, 104)
    padded = torch.zeros(2, 9, 104)
    padded[0, :5], padded[1] = short, long
    mask = torch.zeros(2, 9, dtype=torch.bool)
    mask[0, 5:] = True
    alone = condition(short[None])[0]
    torch.testing.assert_close(condition(padded, mask)[0, :5], alone, atol=1e-5, rtol=1e-5)
    at = condition.tokens_at(padded, mask, torch.tensor([4, 0]))
    torch.testing.assert_close(at[0], alone[4], atol=1e-5, rtol=1e-5)


# --------------------------------------------------------------------------------------- mask and pixels


def test_mask_by_hand() -> None:
    """Box (40, 20, 120, 140) of a 160 x 160 frame at 80 px: rows 40..69, columns 20..59."""
    mask = lower_half_mask(torch.tensor([[40, 20, 120, 140]]), (160, 160), 80)[0]
    rows, columns = torch.nonzero(mask, as_tuple=True)
    assert (int(rows.min()), int(rows.max()), int(columns.min()), int(columns.max())) == (40, 69, 20, 59)
    assert int(mask.sum()) == 30 * 40


def test_mask_pad_reaches_below_the_box() -> None:
    box = torch.tensor([[0, 0, 256, 200]])
    plain, padded = (lower_half_mask(box, (256, 256), 256, pad).sum() for pad in (0, 10))
    assert int(padded - plain) == 10 * 256


def test_blanking_is_black_and_leaves_the_rest() -> None:
    images = torch.rand(1, 3, 8, 8)
    mask = torch.zeros(1, 8, 8, dtype=torch.bool)
    mask[0, 4:, 2:6] = True
    blanked = apply_mask(images, mask)
    assert float(blanked[0, :, 4:, 2:6].max()) == -1.0
    torch.testing.assert_close(blanked[0, :, :4], images[0, :, :4])


def test_pixels_survive_the_round_trip() -> None:
    frames = torch.randint(0, 256, (2, 16, 16, 3), dtype=torch.uint8)
    torch.testing.assert_close(to_frames(to_images(frames, 16), 16, 16), frames)


# ---------------------------------------------------------------------------------------- files on disk


def test_save_and_load_round_trip(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = SyncDiffModel(TINY).eval()
    model.save_pretrained(tmp_path)
    loaded = SyncDiffModel.from_pretrained(tmp_path)
    assert loaded.config == TINY
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], tensor)


def test_a_truncated_file_is_refused_by_name(tmp_path: Path) -> None:
    SyncDiffModel(TINY).save_pretrained(tmp_path)
    path = tmp_path / "denoiser.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"denoiser\.safetensors"):
        SyncDiffModel.from_pretrained(tmp_path)


def test_weights_of_another_variant_are_refused(tmp_path: Path) -> None:
    SyncDiffModel(TINY).save_pretrained(tmp_path)
    values = json.loads((tmp_path / "config.json").read_text())
    values["condition"]["previous"] = "full"
    (tmp_path / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match=r"denoiser\.safetensors"):
        SyncDiffModel.from_pretrained(tmp_path)


def test_an_unknown_key_is_named() -> None:
    with pytest.raises(UsageError, match="frame_sise"):
        options_from_values(SyncDiffConfig, {"frame_sise": 3}, "config.json")


def test_an_unknown_model_lists_the_shipped_ones() -> None:
    with pytest.raises(UsageError, match="pocket"):
        SyncDiffModel.from_pretrained("poket")
