"""AVSu, AVSm, AVSv: closed forms on an encoder that can be computed by hand, and a tiny AV-HuBERT from a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from official_files import by_number
from tiny_networks import avhubert
from torch import Tensor

from syncdiff_bench.contracts import Clip, Media, Pair
from syncdiff_bench.errors import NotApplicable, WeightsError
from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_metrics.avs import AVS, AVSOptions, AVSStats

TINY = avhubert(pretraining_units=6)


def speech(frames: int, seed: int = 0) -> NDArray[np.int16]:
    return np.random.default_rng(seed).integers(-3000, 3000, 640 * frames).astype(np.int16)


def clip_of(frames: NDArray[np.uint8], audio: NDArray[np.int16]) -> Clip:
    return Clip("s/1", "test", preloaded=Media(frames, audio))


def noise(frames: int, seed: int = 0) -> NDArray[np.uint8]:
    """Coarse noise: 10-pixel tiles, which a tiny network tells apart better than fine grain."""
    tiles = np.random.default_rng(seed).integers(0, 256, (frames, 16, 16, 3), dtype=np.uint8)
    return tiles.repeat(10, axis=1).repeat(10, axis=2)


# ------------------------------------------------------------------------- an encoder computed by hand


class Angles:
    """Video at grey level g gives the angle g / 255, sound that of its first band, cut to 0..1; both add up."""

    def hear(self, audio: Tensor) -> Tensor:
        return audio[:, :, :1].abs().clamp(max=1)

    def see(self, video: Tensor) -> Tensor:
        return video[:, 0].mean(dim=(2, 3))[..., None]

    def embed(self, heard: Tensor | None, seen: Tensor | None, mask: Tensor | None) -> Tensor:
        angle = torch.stack([stream for stream in (heard, seen) if stream is not None]).sum(dim=0)
        # the length of a vector must not matter
        length = 1 + torch.arange(angle.shape[1])[:, None]
        return torch.cat([angle.cos(), angle.sin()], dim=-1) * length

    def run_layers(self, x: Tensor, padding_mask: Tensor | None) -> Tensor:
        return x

    def final_norm(self, x: Tensor) -> Tensor:
        return x


def by_hand() -> AVS:
    metric = AVS()
    metric.__dict__["_expert"] = (Angles(), PatchNormalisation(mean=0.0, std=1.0))
    return metric


def grey(levels: list[int]) -> NDArray[np.uint8]:
    return np.broadcast_to(np.array(levels, np.uint8)[:, None, None, None], (len(levels), 160, 160, 3)).copy()


def heard_angles(audio: NDArray[np.int16], frames: int) -> NDArray[np.float64]:
    return np.minimum(np.abs(audio_features(audio, frames)[:, 0].astype(float)), 1)


def test_closed_forms() -> None:
    ours, theirs, audio = [10, 80, 200, 250], [30, 80, 90, 0], speech(4)
    stats = by_hand().measure(Pair(clip_of(grey(ours), audio), clip_of(grey(theirs), speech(4, seed=9))))
    seen, expected = np.array(ours) / 255, np.array(theirs) / 255
    assert stats.unimodal == pytest.approx(np.cos(heard_angles(audio, 4) - seen).sum(), abs=1e-5)
    assert stats.visual == pytest.approx(np.cos(seen - expected).sum(), abs=1e-5)
    # the same sound on both sides cancels out, whatever the sound of the reference
    assert stats.multimodal == pytest.approx(np.cos(seen - expected).sum(), abs=1e-5)
    assert (stats.frames, stats.paired_frames) == (4, 4)


def test_lips_that_follow_the_sound_score_one_and_late_ones_less() -> None:
    audio = speech(12, seed=3)
    lips = grey([round(255 * angle) for angle in heard_angles(audio, 12)])
    metric = by_hand()
    in_time, late = (metric.measure(Pair(clip_of(np.roll(lips, shift, axis=0), audio))) for shift in (0, 1))
    assert in_time.unimodal / 12 == pytest.approx(1, abs=1e-4)
    assert late.unimodal / 12 < 0.99


def test_without_a_reference_only_avsu_is_defined() -> None:
    metric = by_hand()
    stats = metric.measure(Pair(clip_of(grey([10, 80]), speech(2))))
    values = metric.values(stats)
    assert values["avs_u"] == pytest.approx(stats.unimodal / 2)
    assert values["avs_m"] is None
    assert values["avs_v"] is None


def test_the_shorter_video_is_compared_and_avsu_sees_the_whole_clip() -> None:
    metric, audio = by_hand(), speech(4)
    whole = metric.measure(Pair(clip_of(grey([10, 80, 200, 250]), audio)))
    cut = metric.measure(Pair(clip_of(grey([10, 80, 200, 250]), audio), clip_of(grey([30, 80]), audio)))
    assert (cut.unimodal, cut.frames) == (whole.unimodal, 4)
    assert (cut.visual, cut.paired_frames) == (pytest.approx(np.cos(20 / 255) + 1, abs=1e-5), 2)
    longer = metric.measure(Pair(clip_of(grey([10]), speech(1)), clip_of(grey([30, 80]), audio)))
    assert (longer.frames, longer.paired_frames) == (1, 1)


def test_clips_count_alike_however_long_they_are() -> None:
    short = AVSStats(unimodal=1.0, frames=1, multimodal=0.5, visual=0.25, paired_frames=1)
    long = AVSStats(unimodal=0.0, frames=99)
    assert AVS().aggregate([short, long]) == {"avs_u": 0.5, "avs_m": 0.5, "avs_v": 0.25}
    assert AVS().aggregate([]) == {"avs_u": None, "avs_m": None, "avs_v": None}


def test_without_sound_only_avsv_is_defined() -> None:
    mute, silence = clip_of(grey([10, 80]), np.zeros(0, np.int16)), np.zeros(0, np.int16)
    metric = by_hand()
    stats = metric.measure(Pair(mute, clip_of(grey([30, 80, 9]), silence)))
    values = metric.values(stats)
    assert (values["avs_u"], values["avs_m"]) == (None, None)
    assert values["avs_v"] == pytest.approx((np.cos(20 / 255) + 1) / 2, abs=1e-5)
    whole = metric.measure(Pair(clip_of(grey([10, 80]), speech(2)), clip_of(grey([30, 80]), silence)))
    assert metric.aggregate([stats, whole])["avs_u"] == pytest.approx(whole.unimodal / 2)


def test_a_mute_clip_without_reference_has_nothing_to_compare() -> None:
    with pytest.raises(NotApplicable, match="neither an audio track nor a reference"):
        by_hand().measure(Pair(clip_of(grey([1]), np.zeros(0, np.int16))))


# ------------------------------------------------------------------------------- a tiny AV-HuBERT on disk


def checkpoint(path: Path, config: AVHubertConfig = TINY) -> Path:
    """A pre-trained file of the official layout, its weights filled by number."""
    tensors = by_number(AVHubertEncoder(config).state_dict())
    cfg = {"model": {"_name": "av_hubert", "encoder_attention_heads": config.heads}, "task": {"image_mean": 0.4}}
    torch.save({"cfg": cfg, "model": tensors, "task_state": {}}, path)
    return path


@pytest.fixture(scope="module")
def metric(tmp_path_factory: pytest.TempPathFactory) -> AVS:
    file = checkpoint(tmp_path_factory.mktemp("avs") / "tiny.pt")
    loaded = AVS(AVSOptions(encoder=str(file)))
    loaded.prepare()
    return loaded


def test_identical_videos_score_one(metric: AVS) -> None:
    frames, audio = noise(9), speech(9)
    values = metric.values(metric.measure(Pair(clip_of(frames, audio), clip_of(frames.copy(), audio))))
    assert values["avs_v"] == pytest.approx(1, abs=1e-9)
    assert values["avs_m"] == pytest.approx(1, abs=1e-9)
    assert values["avs_u"] is not None
    assert -1 <= values["avs_u"] < 0.99


def test_late_and_foreign_lips_score_less(metric: AVS) -> None:
    frames, audio = noise(9), speech(9)
    truth = clip_of(frames, audio)
    for wrong in (np.roll(frames, 2, axis=0), noise(9, seed=5)):
        values = metric.values(metric.measure(Pair(clip_of(wrong, audio), truth)))
        # random weights tell little apart, but they are a thousand times off identity
        assert values["avs_v"] is not None and values["avs_v"] < 0.999
        assert values["avs_m"] is not None and values["avs_m"] < 0.999


def test_features_are_the_output_of_the_encoder_for_grey_centre_patches(metric: AVS) -> None:
    """The same number from frames cropped and normalised here, one frame's cosine after the other."""
    frames, audio = noise(7), speech(7)
    stats = metric.measure(Pair(clip_of(frames, audio)))
    grey_levels = np.round(frames[:, 36:124, 36:124] @ np.array([0.299, 0.587, 0.114]))
    video = torch.from_numpy((grey_levels / 255 - 0.4) / 0.165).float()[None, None]
    heard = torch.from_numpy(audio_features(audio, 7))[None]
    with torch.no_grad():
        a = metric._expert[0](audio=heard)[0].double().numpy()
        v = metric._expert[0](video=video)[0].double().numpy()
    expected = sum(x @ y / np.sqrt(x @ x) / np.sqrt(y @ y) for x, y in zip(a, v, strict=True))
    assert stats.unimodal == pytest.approx(expected, abs=1e-4)


@pytest.fixture(params=["one by one", "together"])
def batched(request: pytest.FixtureRequest, metric: AVS, monkeypatch: pytest.MonkeyPatch) -> AVS:
    if request.param == "together":
        monkeypatch.setattr(AVS, "batch_frames", 250)  # as on a GPU
    assert bool(metric.batch_frames) == (request.param == "together")
    return metric


def test_pairs_measured_together_score_as_alone(batched: AVS) -> None:
    metric = batched
    mute = np.zeros(0, np.int16)
    pairs = [
        Pair(clip_of(noise(9), speech(9)), clip_of(noise(9, 1), mute)),
        Pair(clip_of(noise(5, 2), speech(5, 2))),
        Pair(clip_of(noise(6, 3), speech(6, 3)), clip_of(noise(4, 4), mute)),
        Pair(clip_of(noise(3, 5), mute), clip_of(noise(7, 6), mute)),
    ]
    for together, pair in zip(metric.measure_many(pairs), pairs, strict=True):
        assert isinstance(together, AVSStats)
        alone = metric.measure(pair)
        assert (together.frames, together.paired_frames) == (alone.frames, alone.paired_frames)
        found = (together.unimodal, together.multimodal, together.visual)
        assert found == pytest.approx((alone.unimodal, alone.multimodal, alone.visual), abs=1e-5)


def test_a_pair_that_cannot_be_measured_costs_its_mates_nothing(batched: AVS) -> None:
    metric = batched
    good, empty = Pair(clip_of(noise(5), speech(5))), Pair(clip_of(noise(5), np.zeros(0, np.int16)))
    found = metric.measure_many([empty, good])
    assert isinstance(found[0], NotApplicable)
    assert isinstance(found[1], AVSStats)
    assert found[1].unimodal == pytest.approx(metric.measure(good).unimodal, abs=1e-6)


def test_statistics_survive_json(metric: AVS) -> None:
    stats = metric.measure(Pair(clip_of(noise(3), speech(3)), clip_of(noise(3, 1), speech(3))))
    assert metric.stats_from_json(json.loads(json.dumps(metric.stats_to_json(stats)))) == stats


def test_an_encoder_without_eyes_is_refused(tmp_path: Path) -> None:
    file = checkpoint(tmp_path / "deaf.pt", replace(TINY, video=False))
    with pytest.raises(WeightsError, match=r"deaf\.pt: no video front-end"):
        AVS(AVSOptions(encoder=str(file))).prepare()
