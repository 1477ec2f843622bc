"""The part of the frame that image metrics look at: one box for both videos, resized as OpenCV does."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Frames, Media, Pair
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.media.bilinear import cut_faces
from syncdiff_metrics.regions import cut_pair

NO_SOUND = np.zeros(0, np.int16)


def clip(frames: Frames, boxes_path: Path | None = None) -> Clip:
    boxes = "centred" if boxes_path is None else ""
    return Clip("speaker/1", "test", preloaded=Media(frames, NO_SOUND), boxes_path=boxes_path, boxes=boxes)


def noise(shape: tuple[int, ...], seed: int = 0) -> Frames:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def saved(folder: Path, boxes: list[list[int]]) -> Path:
    np.save(folder / "boxes.npy", np.array(boxes, np.int64))
    return folder / "boxes.npy"


def test_faces_equal_opencv_to_the_bit():
    cv2 = pytest.importorskip("cv2")
    rng = np.random.default_rng(3)
    frames = noise((40, 240, 260, 3))
    frames[::2] = [cv2.GaussianBlur(frame, (0, 0), 3) for frame in frames[::2]]
    corners = rng.integers(0, 100, (40, 2))
    sides = rng.integers(1, 160, (40, 2))  # shrinks and enlarges
    boxes = np.hstack([corners, corners + sides])
    boxes[0], boxes[1] = (10, 20, 106, 116), (0, 0, 192, 192)  # unchanged, and halved
    expected = [
        cv2.resize(np.ascontiguousarray(frame[y1:y2, x1:x2]), (96, 96))
        for frame, (x1, y1, x2, y2) in zip(frames, boxes, strict=True)
    ]
    np.testing.assert_array_equal(cut_faces(frames, boxes.astype(np.int32)), expected)


def test_both_videos_are_cut_with_the_boxes_of_the_reference(tmp_path):
    """A box of 96 x 96 is copied as it is; a longer video loses its tail."""
    generated, reference = noise((3, 120, 130, 3), 1), noise((2, 120, 130, 3), 2)
    path = saved(tmp_path, [[5, 7, 101, 103], [20, 10, 116, 106]])
    pair = Pair(clip(generated), clip(reference, path))
    ours, theirs = cut_pair(pair, "face96")
    np.testing.assert_array_equal(theirs, [reference[0, 7:103, 5:101], reference[1, 10:106, 20:116]])
    np.testing.assert_array_equal(ours, [generated[0, 7:103, 5:101], generated[1, 10:106, 20:116]])
    mouths = cut_pair(pair, "mouth")
    np.testing.assert_array_equal(mouths[0], ours[:, 48:])
    np.testing.assert_array_equal(mouths[1], theirs[:, 48:])
    np.testing.assert_array_equal(cut_pair(pair, "full")[0], generated[:2])


def test_two_pairs_of_equal_clips_do_not_share_faces(tmp_path):
    reference = clip(noise((1, 100, 100, 3), 1))
    first, second = (Pair(clip(noise((1, 100, 100, 3), seed)), reference) for seed in (2, 3))
    assert not np.array_equal(cut_pair(first, "face96")[0], cut_pair(second, "face96")[0])


def test_negative_sides_count_from_the_frame_edge(tmp_path):
    frames = noise((1, 100, 100, 3))
    pair = Pair(clip(frames), clip(frames, saved(tmp_path, [[-4, -9, 96, 96]])))
    np.testing.assert_array_equal(cut_pair(pair, "face96")[1], frames[:, :96, :96])


@pytest.mark.parametrize("box", [[30, 10, 30, 50], [50, 10, 30, 50], [100, 0, 140, 40], [-20, 0, -4, 30]])
def test_a_box_without_pixels_fails_the_clip(tmp_path, box):
    frames = noise((2, 100, 100, 3))
    pair = Pair(clip(frames), clip(frames, saved(tmp_path, [[0, 0, 50, 50], box])))
    with pytest.raises(ClipError, match=r"face box .* of frame 1 holds no pixel of 100x100") as caught:
        cut_pair(pair, "face96")
    assert caught.value.kind == "boxes"
    assert cut_pair(pair, "full")[0].shape == frames.shape


def test_another_resolution_fails_the_clip():
    pair = Pair(clip(noise((2, 96, 128, 3))), clip(noise((2, 160, 160, 3))))
    for region in ("face96", "full"):
        with pytest.raises(ClipError, match="generated at 128x96, its reference is 160x160") as caught:
            cut_pair(pair, region)
        assert caught.value.kind == "size"


def test_without_a_reference_there_is_no_answer():
    with pytest.raises(NotApplicable):
        cut_pair(Pair(clip(noise((2, 96, 96, 3)))), "full")
