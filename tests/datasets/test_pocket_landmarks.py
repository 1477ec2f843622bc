"""The 68 landmarks of drawn faces: where the picture has what they stand for, and what they keep to themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_datasets.pocket.dataset import SHIPPED, Pocket
from syncdiff_datasets.pocket.drawing import Mouth, draw_frame
from syncdiff_datasets.pocket.landmarks import landmarks
from syncdiff_datasets.pocket.persona import Motion, Persona, draw_motion, draw_persona
from syncdiff_methods.difftalk.sampling import KEPT

Speaker = tuple[Persona, Motion]
OPEN = Mouth(0.9, 0.2, 0.0, 0.0, 0.0, 0.0, smile=0.3, skew=0.2, jaw=0.004, tension=0.0)
SHUT = replace(OPEN, opening=0.0)


@pytest.fixture(scope="module", params=[1, 4, 9])
def speaker(request: pytest.FixtureRequest) -> Speaker:
    rng = np.random.default_rng(request.param)
    persona = replace(draw_persona("train", rng), glasses=False, stubble=0.0)
    return persona, draw_motion(persona, 4, rng)


def colour_at(frame: NDArray[np.uint8], point: NDArray[np.float64]) -> NDArray[np.int64]:
    x, y = np.rint(point).astype(int)
    return frame[y, x].astype(int)


def test_the_inside_of_an_open_mouth_is_dark_and_its_rim_is_lip(speaker: Speaker) -> None:
    persona, motion = speaker
    points, frame = landmarks(persona, motion, OPEN, 2), draw_frame(persona, motion, OPEN, 2)
    inside = points[[61, 62, 63, 65, 66, 67]].mean(axis=0)
    lower_lip = (points[57] + points[66]) / 2
    assert colour_at(frame, inside).sum() < 0.6 * colour_at(frame, lower_lip).sum()
    assert points[66, 1] - points[62, 1] > 8  # pixels
    shut = landmarks(persona, motion, SHUT, 2)
    assert abs(shut[66, 1] - shut[62, 1]) < 1


def test_outer_lips_are_where_the_colour_turns_into_skin(speaker: Speaker) -> None:
    persona, motion = speaker
    points, frame = landmarks(persona, motion, OPEN, 2), draw_frame(persona, motion, OPEN, 2)
    for corner, outward in ((48, -5), (54, 5)):
        skin = colour_at(frame, points[corner] + (outward, 0))
        lip = colour_at(frame, points[corner] - (np.sign(outward) * 2, 0))
        assert np.abs(skin - lip).sum() > 25
    below, within = colour_at(frame, points[57] + (0, 4)), colour_at(frame, points[57] - (0, 2))
    assert below[1] > within[1] + 10  # skin is greener than lips


def test_eyes_are_white_inside_and_lids_shut_on_them(speaker: Speaker) -> None:
    persona, motion = speaker
    motion = replace(motion, blink=np.zeros(4), gaze=np.full(4, -1.0))
    points, frame = landmarks(persona, motion, OPEN, 2), draw_frame(persona, motion, OPEN, 2)
    for inner in ((38, 39, 40), (44, 45, 46)):  # the iris looks the other way
        white = colour_at(frame, points[list(inner)].mean(axis=0))
        assert white.max() - white.min() < 60 and white.min() > 110
    shut = landmarks(persona, replace(motion, blink=np.ones(4)), OPEN, 2)
    for upper, lower in ((37, 41), (44, 46)):
        assert shut[lower, 1] - shut[upper, 1] < 1 < points[lower, 1] - points[upper, 1]


def test_chin_and_cheeks_end_where_the_face_does(speaker: Speaker) -> None:
    """Across the outline the picture changes; two pixels further in it is all face."""
    persona, motion = speaker
    points, frame = landmarks(persona, motion, SHUT, 2), draw_frame(persona, motion, SHUT, 2)
    middle = points[[30]].mean(axis=0)
    for k in (4, 5, 11, 12):
        out = (points[k] - middle) / np.linalg.norm(points[k] - middle)
        steps = [np.abs(colour_at(frame, points[k] + (r + 1) * out) - colour_at(frame, points[k] + (r - 1) * out)).sum()
                 for r in range(-12, 4)]  # fmt: skip
        assert abs(int(np.argmax(steps)) - 12) <= 2, (k, steps)


def test_what_difftalk_is_shown_tells_nothing_of_the_mouth(speaker: Speaker) -> None:
    persona, motion = speaker
    kept = list(KEPT)
    still = landmarks(persona, motion, SHUT, 2)[kept]
    for mouth in (OPEN, replace(SHUT, jaw=0.02, smile=0.9, skew=-0.5, tension=1.0)):
        np.testing.assert_array_equal(landmarks(persona, motion, mouth, 2)[kept], still)


def test_they_move_with_the_head(speaker: Speaker) -> None:
    persona, motion = speaker
    moved = replace(motion, x=motion.x + 0.1, roll=motion.roll * 0, scale=np.ones(4))
    calm = replace(motion, roll=motion.roll * 0, scale=np.ones(4))
    shift = landmarks(persona, moved, OPEN, 1) - landmarks(persona, calm, OPEN, 1)
    np.testing.assert_allclose(shift, np.broadcast_to([16.0, 0.0], (68, 2)), atol=1e-9)
    turned = replace(calm, roll=np.full(4, 0.1))
    eyes = landmarks(persona, turned, OPEN, 1)[[36, 45]]
    slope = (eyes[1, 1] - eyes[0, 1]) / (eyes[1, 0] - eyes[0, 0])
    assert slope == pytest.approx(np.tan(0.1), rel=1e-6)


def test_clips_carry_them() -> None:
    pocket = Pocket(SHIPPED)
    for clip_id in pocket.clip_ids("test")[:3]:
        clip = pocket.clip(clip_id)
        assert clip.landmarks_path is not None
        points = np.load(clip.landmarks_path)
        assert points.shape == (len(clip.frames), 68, 2)
        x1, y1, x2, y2 = clip.face_boxes.boxes.T
        middle = points[:, 30].astype(float).T
        assert ((x1 < middle[0]) & (middle[0] < x2) & (y1 < middle[1]) & (middle[1] < y2)).all()
