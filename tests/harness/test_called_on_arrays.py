"""A metric called on arrays, a method on a clip: what they give, and what they refuse in one line."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import syncdiff_metrics
from syncdiff_bench import load_dataset, load_method, load_metric
from syncdiff_bench.contracts import Clip, Media, Pair
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.registry import load_class
from syncdiff_metrics import AVS, LMD, LPIPS, LSE, PSNR, SSIM, WER

FRAMES = np.full((3, 20, 20, 3), 100, np.uint8)
FULL = "psnr[region=full]"


@pytest.fixture
def clip(work_folder: Path) -> Clip:
    dataset = load_dataset("pocket")
    return dataset.clip(dataset.clip_ids("test")[0])


def test_psnr_of_arrays_in_closed_form() -> None:
    moved = FRAMES + np.uint8(10)
    assert load_metric(FULL)(moved, FRAMES) == pytest.approx({"psnr": 20 * math.log10(255 / 10)})
    assert load_metric(FULL)(FRAMES, FRAMES) == {"psnr": None}
    assert load_metric(FULL)(moved[:2], FRAMES) == pytest.approx({"psnr": 20 * math.log10(25.5)})


def test_boxes_say_where_to_look() -> None:
    """An error outside the box is not seen, one inside is; one box is of all frames."""
    moved = FRAMES.copy()
    moved[:, :10] += 10
    assert PSNR()(moved, FRAMES, boxes=[0, 10, 20, 20]) == {"psnr": None}
    assert PSNR()(moved, FRAMES, boxes=np.array([[0, 0, 20, 10]] * 3)) == pytest.approx({"psnr": 20 * math.log10(25.5)})
    guess = PSNR()(moved, FRAMES, boxes="centred")["psnr"]
    assert guess is not None and guess > 20 * math.log10(25.5)


def test_arrays_are_measured_as_clips_are(clip: Clip) -> None:
    frames, boxes = load_method("static")(clip), clip.face_boxes.boxes
    for metric in (PSNR(), SSIM()):
        metric.prepare()
        as_clips = metric.values(metric.measure(Pair(Clip.of_arrays(frames), clip)))
        assert metric(frames, clip.frames, boxes=boxes) == metric(frames, clip) == as_clips


def test_sound_and_words_reach_the_metrics_that_need_them(clip: Clip) -> None:
    lse = load_metric("lse[weights=pocket]")
    without_planes = Clip("mine", "pocket", preloaded=Media(clip.frames, clip.audio))
    assert lse(clip.frames, audio=clip.audio) == lse.values(lse.measure(Pair(without_planes)))
    late = lse(clip.frames, audio=np.roll(clip.audio, 640 * 3))
    assert late["offset"] == lse(clip)["offset"] - 3  # type: ignore[operator]
    wer = load_metric("wer[reader=pocket]")
    assert wer(clip.frames, transcript=clip.transcript) == wer(clip.frames, clip.frames, transcript=clip.transcript)
    wrong = wer(clip.frames, transcript="nothing of this at all")["wer"]
    assert wrong is not None and wrong > 50


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (FRAMES[0], r"frames of generated are \(20, 20, 3\) uint8, one picture; .* frames\[None\]"),
        (FRAMES.transpose(0, 3, 1, 2), r"transpose\(0, 2, 3, 1\) moves the colours last"),
        (FRAMES[..., :1], r"\(3, 20, 20, 1\) uint8; give \(T, H, W, 3\) uint8 RGB$"),
        (FRAMES / 255, r"float64, from 0.392157 to 0.392157; give uint8 from 0 to 255: \(255 \* frames\)"),
        (FRAMES / 127.5 - 1, r"\(127.5 \* \(frames \+ 1\)\).round"),
        (FRAMES.astype(float), r"give uint8 from 0 to 255: frames.round\(\)"),
        (FRAMES.astype(int), r"int64, from 100 to 100; give uint8"),
        (FRAMES[:0], "give one frame at least"),
        ("clip.mp4", "no array of numbers but str"),
        ([[1], [2, 3]], "no array: ValueError"),
    ],
)
def test_frames_that_are_none(given: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint) as refused:
        load_metric(FULL)(given, FRAMES)
    assert "\n" not in str(refused.value)
    with pytest.raises(UsageError, match=r"frames of (reference|generated) are"):
        load_metric(FULL)(FRAMES, given)


def test_the_conversion_that_an_error_names_is_right() -> None:
    for frames in (FRAMES / 255, FRAMES / 127.5 - 1, FRAMES.astype(np.float32)):
        with pytest.raises(UsageError) as refused:
            load_metric(FULL)(frames, FRAMES)
        mend = str(refused.value).rpartition(": ")[2]
        assert np.array_equal(eval(mend, {"frames": frames}), FRAMES)


@pytest.mark.parametrize(
    ("audio", "complaint"),
    [
        (np.zeros(1920, np.float32), r"audio is \(1920,\) float32, from 0 to 0; give int16: \(32767 \* audio\)"),
        (np.zeros((1920, 2), np.int16), r"\(1920, 2\) int16; give one channel"),
        (np.zeros(16_000, np.int16), r"1.00 s at 16000 Hz, its frames 0.12 s at 25 per second; .* cut audio\[:1920\]"),
    ],
)
def test_audio_that_is_none(audio: Any, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        Clip.of_arrays(FRAMES, audio)


def test_what_sounds_after_the_last_frame_is_cut_off() -> None:
    assert Clip.of_arrays(FRAMES, np.arange(2500, dtype=np.int16)).audio.tolist() == list(range(1920))
    assert len(Clip.of_arrays(FRAMES, np.zeros(100, np.int16)).audio) == 100


@pytest.mark.parametrize("boxes", [[1, 2, 3], np.zeros((4, 4)), [[0, 0, 9, 9]] * 2, [0, 0, math.nan, 9], "somewhere"])
def test_boxes_that_are_none(boxes: Any) -> None:
    with pytest.raises(UsageError, match="boxes"):
        PSNR()(FRAMES, FRAMES, boxes=boxes)


def test_what_a_metric_lacks_is_named(clip: Clip) -> None:
    with pytest.raises(UsageError, match="psnr needs a reference to compare with"):
        PSNR()(FRAMES)
    with pytest.raises(UsageError, match="lse needs the sound of the video; give audio="):
        LSE()(FRAMES)
    with pytest.raises(UsageError, match=r"wer needs what is said; give transcript='\.\.\.'"):
        WER()(FRAMES)
    with pytest.raises(UsageError, match="boxes: reference is a clip, which has its own"):
        PSNR()(FRAMES, clip, boxes=[0, 0, 9, 9])
    with pytest.raises(ClipError, match="generated at 20x20, its reference is 160x160"):
        PSNR()(FRAMES, clip)


def test_the_metrics_package_offers_its_metrics() -> None:
    offered = {AVS: "avs", LMD: "lmd", LPIPS: "lpips", LSE: "lse", PSNR: "psnr", SSIM: "ssim", WER: "wer"}
    assert all(cls is load_class("metric", name) for cls, name in offered.items())
    assert set(syncdiff_metrics.__all__) == {cls.__name__ for cls in offered} <= set(dir(syncdiff_metrics))


def test_a_method_called_on_a_clip(clip: Clip, toy_plugins: object) -> None:
    assert np.array_equal(load_method("gt")(clip), clip.frames)
    toy = load_dataset("toy")
    troubled = load_method("toy-troubled")
    with pytest.raises(ClipError, match="yielded no frames"):
        troubled(toy.clip("s1/3"))
    assert load_method("toy-noise", {"shift": 2})(toy.clip("s0/1"), seed=5)[0, 0, 0].tolist() == [17] * 3


def test_a_clip_error_that_is_yielded_is_raised(clip: Clip) -> None:
    no_sound = Clip.of_arrays(FRAMES)
    with pytest.raises(ClipError):
        load_method("wav2lip", {"checkpoint": "pocket"})(no_sound)
