"""SyncDiff and DiffTalk where a clip shows its face in a larger picture: drawn on a crop, pasted back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from syncdiff_bench.clips import Cut, cut_to_face, landmarks_of
from syncdiff_bench.contracts import Clip, Frames, Media
from syncdiff_bench.faces.boxes import GIVEN, FaceBoxes
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions, landmark_boxes

LEFT, TOP = 300, 130
FRAMES = 3


def in_memory(clip_id: str, frames: Frames, audio: np.ndarray, boxes: np.ndarray) -> Clip:  # type: ignore[type-arg]
    clip = Clip(clip_id, "pocket", preloaded=Media(frames, audio))
    clip.__dict__["face_boxes"] = FaceBoxes(boxes.astype(np.int32), GIVEN)
    return clip


@pytest.fixture(scope="module")
def small() -> Clip:
    dataset = Pocket()
    clip = dataset.clip(dataset.clip_ids("test")[0])
    media = Media(clip.frames[8 : 8 + FRAMES], clip.audio[640 * 8 : 640 * (8 + FRAMES)])
    return in_memory("one", media.frames, media.audio, clip.face_boxes.boxes[8 : 8 + FRAMES])


@pytest.fixture(scope="module")
def large(small: Clip) -> Clip:
    noise = np.random.default_rng(0).integers(0, 256, (FRAMES, 450, 800, 3), np.uint8)
    noise[:, TOP : TOP + 160, LEFT : LEFT + 160] = small.frames
    return in_memory("one", noise, small.audio, small.face_boxes.boxes + np.array([LEFT, TOP, LEFT, TOP]))


@pytest.fixture(scope="module")
def drawn(large: Clip) -> tuple[SyncDiff, Frames]:
    method = SyncDiff(SyncDiffOptions("pocket", steps=10))
    frames = dict(method.generate([large], seed=0))["one"]
    assert isinstance(frames, np.ndarray)
    return method, frames


def test_only_the_square_around_the_face_is_drawn(large: Clip, drawn: tuple[SyncDiff, Frames]) -> None:
    method, frames = drawn
    face = cut_to_face(large, large.face_boxes, 128)
    assert face is not None and face.cut is not None
    x, y, side = face.cut.squares[0]
    assert side == pytest.approx(1.4 * (large.face_boxes.boxes[0, 3] - large.face_boxes.boxes[0, 1]), rel=0.03)
    outside = np.ones(frames.shape[1:3], bool)
    outside[int(y) : int(y + side) + 2, int(x) : int(x + side) + 2] = False
    np.testing.assert_array_equal(frames[:, outside], large.frames[:, outside])
    x1, y1, x2, y2 = large.face_boxes.boxes[1]
    mouth = (1, slice((y1 + y2) // 2 + 8, y2 - 8), slice(x1 + 20, x2 - 20))
    apart = np.abs(frames[mouth].astype(int) - large.frames[mouth]).mean()
    assert 0.5 < apart < 25, "another mouth, of the same face"
    assert [caveat.kind for caveat in method.caveats("one")] == ["face-crop"]


def test_a_clip_in_the_framing_of_lrs_stays_whole(small: Clip, drawn: tuple[SyncDiff, Frames]) -> None:
    method, _ = drawn
    assert cut_to_face(small, small.face_boxes, 128) is None
    other = replace(small, id="other")
    other.__dict__["face_boxes"] = small.face_boxes
    assert isinstance(dict(method.generate([other], seed=0))["other"], np.ndarray)
    assert method.caveats("other") == ()


def test_a_crop_has_the_boxes_and_landmarks_of_its_clip(large: Clip, tmp_path: object) -> None:
    squares = np.tile([LEFT, TOP, 160.0], (FRAMES, 1))
    frames = large.frames[:, TOP : TOP + 160 : 2, LEFT : LEFT + 160 : 2]
    face = replace(large, preloaded=Media(frames, large.audio), cut=Cut(large, squares))
    wanted = (large.face_boxes.boxes - [LEFT, TOP, LEFT, TOP]) / 2
    assert np.abs(face.face_boxes.boxes - wanted).max() <= 0.5
    assert face.face_boxes.source == GIVEN
    points = np.random.default_rng(1).uniform(340, 420, (FRAMES, 68, 2)).astype(np.float32)
    np.save(f"{tmp_path}/one.npy", points)
    np.testing.assert_allclose(landmarks_of(face, str(tmp_path)), (points - [LEFT, TOP]) / 2, atol=1e-3)
    boxes = landmark_boxes(large, str(tmp_path)).boxes
    assert (boxes[0, :2] <= points[0].min(axis=0)).all() and (boxes[0, 2:] >= points[0].max(axis=0)).all()
