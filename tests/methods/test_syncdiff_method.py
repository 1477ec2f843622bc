"""The small SyncDiff that ships, on pocket: each clip alone, the same every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip, Frames, Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.bounds import Reconstruction, ReconstructionOptions
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions
from syncdiff_methods.syncdiff.prepacked import can_prepack

FRAMES = 4


def shortened(clip: Clip, start: int = 8, frames: int = FRAMES) -> Clip:
    """A stretch of a clip with its sound and boxes, in memory."""
    media = Media(clip.frames[start : start + frames], clip.audio[640 * start : 640 * (start + frames)])
    short = Clip(clip.id, clip.dataset, preloaded=media)
    boxes = replace(clip.face_boxes, boxes=clip.face_boxes.boxes[start : start + frames])
    short.__dict__["face_boxes"] = boxes  # the cached property, filled by hand
    return short


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    dataset = Pocket()
    return [shortened(dataset.clip(clip_id)) for clip_id in dataset.clip_ids("test")[::8]]


@pytest.fixture(scope="module")
def method() -> SyncDiff:
    return SyncDiff(SyncDiffOptions("pocket"))


def generate(method: SyncDiff, clips: list[Clip], seed: int = 0) -> dict[str, Frames]:
    done = dict(method.generate(clips, seed=seed))
    assert all(isinstance(frames, np.ndarray) for frames in done.values())
    return done  # type: ignore[return-value]


@pytest.fixture(scope="module")
def generated(method: SyncDiff, clips: list[Clip]) -> dict[str, Frames]:
    return generate(method, clips)


def mouth(clip: Clip, frames: Frames) -> NDArray[np.float64]:
    """The lower half of each face box, (T, pixels, 3)."""
    parts = []
    for frame, (x1, y1, x2, y2) in zip(frames, clip.face_boxes.boxes, strict=True):
        parts.append(frame[(y1 + y2) // 2 : y2, x1:x2].reshape(-1, 3).astype(float))
    return np.stack([part[: min(len(p) for p in parts)] for part in parts])


def test_frames_fit_the_clip(generated: dict[str, Frames], clips: list[Clip]) -> None:
    for clip in clips:
        assert generated[clip.id].shape == clip.frames.shape
        assert generated[clip.id].dtype == np.uint8


def test_another_seed_gives_other_frames(method: SyncDiff, clips: list[Clip], generated: dict[str, Frames]) -> None:
    other = generate(method, clips[:1], seed=1)[clips[0].id]
    assert np.abs(other.astype(int) - generated[clips[0].id]).max() > 2


def test_a_clip_does_not_depend_on_its_batch_mates(
    method: SyncDiff, clips: list[Clip], generated: dict[str, Frames]
) -> None:
    """To the last bit, every time, where weights are packed; else rounding flips an entry of the codebook at times."""
    alone = generate(method, [clips[1]])[clips[1].id].astype(int)
    difference = np.abs(alone - generated[clips[1].id])
    if can_prepack(torch.device("cpu")):
        assert difference.max() == 0
    assert difference.mean() < 0.02


def test_reconstruction_beats_generation(clips: list[Clip], generated: dict[str, Frames]) -> None:
    rebuilt = dict(Reconstruction(ReconstructionOptions("pocket")).generate(clips, seed=0))
    ours = np.mean([np.square(mouth(c, generated[c.id]) - mouth(c, c.frames)).mean() for c in clips])
    topline = np.mean([np.square(mouth(c, rebuilt[c.id]) - mouth(c, c.frames)).mean() for c in clips])
    assert topline < ours


def test_the_mask_hides_the_mouth(method: SyncDiff, clips: list[Clip], generated: dict[str, Frames]) -> None:
    """Painting over the mouths of all frames but the given first one changes nothing."""
    clip = clips[2]
    frames = clip.frames.copy()
    for frame, (x1, y1, x2, y2) in zip(frames[1:], clip.face_boxes.boxes[1:], strict=True):
        frame[(y1 + y2) // 2 + 3 : y2 - 3, x1 + 3 : x2 - 3] = 255
    painted = Clip(clip.id, clip.dataset, preloaded=Media(frames, clip.audio))
    painted.__dict__["face_boxes"] = clip.face_boxes
    batch = [painted if c is clip else c for c in clips]
    np.testing.assert_array_equal(generate(method, batch)[clip.id], generated[clip.id])


def test_a_silent_file_fails_alone(method: SyncDiff, clips: list[Clip]) -> None:
    mute = Clip("mute", "pocket", preloaded=Media(clips[0].frames[:2], np.zeros(0, np.int16)))
    short = shortened(clips[1], 0, 2)
    results = dict(method.generate([mute, short], seed=0))
    error = results["mute"]
    assert isinstance(error, ClipError)
    assert error.kind == "no-audio"
    assert isinstance(results[short.id], np.ndarray)


def test_one_frame_and_odd_size(method: SyncDiff, clips: list[Clip]) -> None:
    media = Media(clips[0].frames[:1, :121, :93], clips[0].audio[:640])
    (frames,) = generate(method, [Clip("odd", "pocket", boxes="centred", preloaded=media)]).values()
    assert frames.shape == (1, 121, 93, 3)


def test_latent_feedback_and_copied_first_frame(clips: list[Clip]) -> None:
    method = SyncDiff(SyncDiffOptions("pocket", steps=2, feedback="latent", first_frame="copy", noise="shared"))
    clip = shortened(clips[0], 0, 3)
    first = generate(method, [clip])[clip.id][0].astype(int)
    # The given frame, shrunk to the model's size and enlarged again.
    assert np.abs(first - clip.frames[0]).mean() < 4


def test_an_impossible_number_of_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="steps=30 does not divide 1000"):
        _ = SyncDiff(SyncDiffOptions("pocket", steps=30)).model


def test_weights_are_named_with_their_digests() -> None:
    used = SyncDiff(SyncDiffOptions("pocket")).weights_used()
    assert [w.name for w in used] == [f"syncdiff/pocket/{part}" for part in ("autoencoder", "denoiser", "audio")]
    assert all(len(w.sha256) == 64 for w in used)
