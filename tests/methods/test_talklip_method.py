"""The `talklip` plugin with a small random encoder, after the official `inf_test.py` (docs/spec/talklip.md#inputs)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.transform import resize

from syncdiff_bench.contracts import Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError, UsageError, WeightsError
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.features import normalise_rows, stacked_features
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_methods.talklip.method import TalkLip, TalkLipOptions, paste_interpolated
from syncdiff_methods.talklip.network import TalkLip as Network
from syncdiff_methods.talklip.network import talklip_of
from syncdiff_methods.wav2lip.config import Wav2LipConfig
from syncdiff_methods.wav2lip.faces import cut_faces, network_input
from syncdiff_methods.wav2lip.inference import for_inference

SMALL = AVHubertConfig(
    encoder_layers=1, dim=32, ffn_dim=32, heads=2, conv_pos=8, conv_pos_groups=2, video=False, decoder_layers=0
)
BOX = (12, 9, 75, 70)


def clip(clip_id: str, frames: int = 3, height: int = 81, width: int = 91, samples: int | None = None) -> Clip:
    rng = np.random.default_rng(frames + height)
    pictures = rng.integers(0, 256, (frames, height, width, 3), np.uint8)
    audio = rng.integers(-9000, 9000, 640 * frames if samples is None else samples).astype(np.int16)
    made = Clip(clip_id, "test", preloaded=Media(pictures, audio))
    made.__dict__["face_boxes"] = FaceBoxes(np.tile(np.array(BOX, np.int32), (frames, 1)), "file")
    return made


@pytest.fixture(scope="module")
def network() -> Network:
    torch.manual_seed(0)
    network = for_inference(Network(SMALL, Wav2LipConfig(width=1 / 8)), "cpu")
    network.audio_map.weight.data.mul_(20)  # else a random network hardly hears anything
    return network


def method(network: Network, **options: object) -> TalkLip:
    made = TalkLip(TalkLipOptions(**options))  # type: ignore[arg-type]
    made.__dict__["network"] = network  # the cached property, filled by hand
    return made


def generate(method: TalkLip, *clips: Clip) -> dict[str, Frames]:
    done = dict(method.generate(clips, seed=0))
    assert all(isinstance(frames, np.ndarray) for frames in done.values())
    return done  # type: ignore[return-value]


def test_inference_step_by_step(network: Network) -> None:
    """Own steps: first frame as identity, raw box, rows of the whole utterance, surplus cut on both sides."""
    given = clip("a", 4, samples=640 * 4 + 2000)  # rows of sound: 7, so one goes at the start and two at the end
    frames = generate(method(network), given)["a"]
    rows = normalise_rows(stacked_features(given.audio))
    assert len(rows) == 7
    faces = cut_faces(given.frames, given.face_boxes.boxes)
    with torch.inference_mode():
        heard = network.hear(torch.from_numpy(rows[1:5])[None])[0]
        seen = torch.from_numpy(network_input(faces, np.repeat(faces[:1], 4, axis=0)))
        drawn = network.speak(heard, seen).numpy()
    x1, y1, x2, y2 = BOX
    for picture, frame in zip(drawn, frames, strict=True):
        sized = resize(picture.transpose(1, 2, 0), (y2 - y1, x2 - x1), order=1, mode="edge", anti_aliasing=False)
        difference = np.abs(frame[y1:y2, x1:x2, ::-1] - np.floor(255 * sized))
        assert difference.max() <= 1 and difference.mean() < 0.02
    untouched = frames.copy()
    untouched[:, y1:y2, x1:x2] = given.frames[:, y1:y2, x1:x2]
    np.testing.assert_array_equal(untouched, given.frames)


def test_long_clips_in_parts_and_clips_together(network: Network) -> None:
    clips = [clip("a", 9), clip("b", 2, 60)]
    whole = {one.id: generate(method(network, batch=16), one)[one.id] for one in clips}
    parts = generate(method(network, batch=4, clips=2), *clips)
    for name, frames in parts.items():
        assert np.abs(frames.astype(int) - whole[name]).max() <= 1


def test_the_identity_is_the_first_frame_unless_told_otherwise(network: Network) -> None:
    given, painted = clip("a"), clip("a")
    painted.frames[1:, (BOX[1] + BOX[3]) // 2 + 2 :] = 255
    inside = np.s_[:, BOX[1] : BOX[3], BOX[0] : BOX[2]]
    for reference, equal in (("first", True), ("same", False)):
        ours, theirs = (generate(method(network, reference=reference), one)["a"][inside] for one in (given, painted))
        assert np.array_equal(ours, theirs) is equal


def test_the_mouth_depends_on_the_sound(network: Network) -> None:
    loud, other = clip("a"), clip("a")
    other.audio[:] = np.arange(len(other.audio)) % 300
    assert (generate(method(network), loud)["a"] != generate(method(network), other)["a"]).any()


@pytest.mark.parametrize(
    ("frames", "height", "width", "samples"),
    [
        (1, 81, 91, None),  # one frame
        (2, 75, 203, None),  # not square: the official script writes an empty file
        (6, 81, 91, 700),  # sound for one frame of six: the official script fails
    ],
)
def test_awkward_clips(network: Network, frames: int, height: int, width: int, samples: int | None) -> None:
    given = clip("a", frames, height, width, samples)
    assert generate(method(network), given)["a"].shape == (frames, height, width, 3)


def test_a_clip_without_sound_fails_alone(network: Network) -> None:
    found = dict(method(network).generate([clip("mute", samples=0), clip("good")], seed=0))
    mute = found["mute"]
    assert isinstance(mute, ClipError) and mute.kind == "no-audio" and str(mute).startswith("mute: ")
    assert isinstance(found["good"], np.ndarray)


def test_pasting_is_bilinear_and_cut_off() -> None:
    """A ramp stays a ramp at every size; grey levels are cut off, not rounded."""
    picture = np.empty((96, 96, 3), np.float32)
    picture[:] = ((np.arange(96) + 0.5) / 96)[None, :, None]
    for width in (48, 96, 150):
        frame = np.zeros((40, 200, 3), np.uint8)
        paste_interpolated(frame, picture, np.array([10, 5, 10 + width, 35], np.int32))
        row = frame[20, 10 : 10 + width, 0].astype(int)
        expected = np.floor(255 * (np.arange(width) + 0.5) / width + 1e-4)
        assert np.abs(row - expected)[2:-2].max() <= (0 if width == 96 else 1)


def test_missing_weights_are_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weights talklip missing; syncdiff-bench weights fetch talklip") as caught:
        TalkLip(runtime=Runtime(weights=WeightsStore(tmp_path))).weights_used()
    assert caught.value.missing == "talklip"


def test_another_network_is_refused() -> None:
    with pytest.raises(WeightsError, match=r"x.pth does not fit TalkLip: .* is missing"):
        talklip_of({"audio_encoder.0.conv_block.0.weight": torch.zeros(1)}, "x.pth")


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"clips": 0}])
def test_sizes_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        TalkLipOptions(**wrong)
