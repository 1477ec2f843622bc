"""Scenes, face tracks and crops of `lse[protocol=real-video]`, on made-up frames and boxes whose outcome is known."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.faces.detection import overlaps
from syncdiff_bench.media.bilinear import resize_linear
from syncdiff_metrics.real_video import (
    GREY,
    Track,
    content_changes,
    crop_track,
    find_tracks,
    hue_saturation_value,
    scenes,
)

# ----------------------------------------------------------------------------------------------- scenes


def plain(*levels: int, side: int = 16) -> NDArray[np.uint8]:
    return np.stack([np.full((side, side, 3), level, np.uint8) for level in levels])


@pytest.mark.parametrize(
    ("rgb", "hsv"),
    [
        ((255, 0, 0), (0, 255, 255)),
        ((0, 255, 0), (60, 255, 255)),
        ((0, 0, 255), (120, 255, 255)),
        ((255, 0, 255), (150, 255, 255)),
        ((255, 0, 8), (179, 255, 255)),
        ((128, 128, 128), (0, 0, 128)),
        ((0, 0, 0), (0, 0, 0)),
        ((200, 50, 50), (0, 191, 200)),
    ],
)
def test_colours_by_hand(rgb: tuple[int, ...], hsv: tuple[int, ...]) -> None:
    assert hue_saturation_value(np.array([[rgb]], np.uint8))[0, 0].tolist() == list(hsv)


def test_colours_are_those_of_opencv() -> None:
    cv2 = pytest.importorskip("cv2")
    levels = np.arange(0, 256, 3, dtype=np.uint8)
    every = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 3)
    np.testing.assert_array_equal(hue_saturation_value(every), cv2.cvtColor(every[..., ::-1].copy(), cv2.COLOR_BGR2HSV))


def test_the_change_is_the_mean_over_three_channels() -> None:
    assert content_changes(plain(10, 40, 40)) == [10, 0]  # grey: only value changes, by 30


@pytest.mark.parametrize(("step", "found"), [(89, ((0, 40),)), (90, ((0, 20), (20, 40)))])
def test_a_change_of_30_is_a_cut(step: int, found: tuple[tuple[int, int], ...]) -> None:
    assert scenes(plain(*[0] * 20, *[step] * 20)) == found


def test_cuts_are_15_frames_apart() -> None:
    def cut_at(*cuts: int) -> tuple[tuple[int, int], ...]:
        return scenes(plain(*(200 * (sum(t >= cut for cut in cuts) % 2) for t in range(60))))

    assert cut_at(20, 34) == ((0, 20), (20, 60))
    assert cut_at(20, 35) == ((0, 20), (20, 35), (35, 60))
    assert cut_at(1) == ((0, 1), (1, 60))  # the first cut may be anywhere


def test_wide_videos_are_looked_at_in_every_second_pixel() -> None:
    frames = np.zeros((2, 4, 400, 3), np.uint8)
    frames[1, :, 1::2] = 255
    assert content_changes(frames) == [0]
    assert content_changes(frames[:, :, :398]) == [pytest.approx(255 / 2 / 3)]


def test_a_single_frame_is_a_scene() -> None:
    assert scenes(plain(7)) == ((0, 1),)


# ------------------------------------------------------------------------------------- tracks and crops


Faces = list[NDArray[np.float32]]
BOX = (20, 30, 140, 150)  # 120 x 120
FAR = (300, 30, 440, 170)


def video(length: int, *appearances: tuple[range, tuple[float, ...]]) -> Faces:
    """Per frame the boxes that are there, in the order given (surest first)."""
    rows = [[(*box, 0.95) for when, box in appearances if t in when] for t in range(length)]
    return [np.array(one, np.float32).reshape(-1, 5) for one in rows]


def spans(
    faces: Faces, min_track: int = 10, scenes: tuple[tuple[int, int], ...] | None = None
) -> list[tuple[int, int]]:
    """(first frame, length) of the tracks."""
    found = find_tracks(faces, scenes or [(0, len(faces))], min_track)
    return [(track.first, len(track.boxes)) for track in found]


def test_overlap_in_closed_form() -> None:
    found = overlaps(np.array([[0.0, 0, 2, 2], [2, 2, 4, 4], [1, 1, 3, 3]]), np.array([0.0, 0, 2, 2]))
    np.testing.assert_allclose(found, [1, 0, 1 / 7])


@pytest.mark.parametrize(("length", "found"), [(10, []), (11, [(0, 11)])])
def test_a_track_has_more_detections_than_min_track(length: int, found: list[tuple[int, int]]) -> None:
    """`len(track) > min_track`; a scene of exactly min_track frames is looked at, but never long enough."""
    assert spans(video(length, (range(length), BOX))) == found


def test_detections_count_not_frames() -> None:
    faces = video(20, (range(0, 20, 2), BOX))
    assert spans(faces, min_track=10) == []
    assert spans(faces, min_track=9) == [(0, 19)]


def test_a_gap_of_25_frames_is_bridged_and_filled_with_the_line() -> None:
    moved = tuple(side + 12 for side in BOX)
    faces = video(60, (range(10), BOX), (range(34, 60), moved))
    (track,) = find_tracks(faces, [(0, 60)], 10)
    assert (track.first, len(track.boxes)) == (0, 60)
    np.testing.assert_allclose(track.boxes[9], BOX)
    np.testing.assert_allclose(track.boxes[10:34, 0], BOX[0] + 12 * np.arange(1, 25) / 25)
    np.testing.assert_allclose(track.boxes[34], moved)


def test_a_longer_gap_makes_two_tracks() -> None:
    faces = video(80, (range(20), BOX), (range(45, 80), BOX))
    assert spans(faces) == [(0, 20), (45, 35)]


def test_an_overlap_of_one_half_is_not_enough() -> None:
    """Boxes 120 wide, moved by 40: 80 / 160 = 1/2; moved by 39: more."""
    for step, found in ((40, [(0, 20), (20, 20)]), (39, [(0, 40)])):
        moved = (BOX[0] + step, BOX[1], BOX[2] + step, BOX[3])
        assert spans(video(40, (range(20), BOX), (range(20, 40), moved))) == found


@pytest.mark.parametrize(("side", "found"), [(100, []), (101, [(0, 20)])])
def test_a_face_has_more_than_100_pixels_in_one_direction(side: int, found: list[tuple[int, int]]) -> None:
    assert spans(video(20, (range(20), (0, 0, 60, side)))) == found
    assert spans(video(20, (range(20), (0, 0, side, 60)))) == found


def test_two_faces_are_two_tracks_whichever_is_surer() -> None:
    faces = video(40, (range(40), BOX), (range(5, 40), FAR))
    swapped = [one[::-1] if t % 2 else one for t, one in enumerate(faces)]
    for seen in (faces, swapped):
        tracks = find_tracks(seen, [(0, 40)], 10)
        assert [(track.first, len(track.boxes)) for track in tracks] == [(0, 40), (5, 35)]
        np.testing.assert_allclose(tracks[0].boxes, [BOX] * 40)
        np.testing.assert_allclose(tracks[1].boxes, [FAR] * 35)


def test_a_cut_ends_a_track_and_short_scenes_are_passed_over() -> None:
    faces = video(50, (range(50), BOX))
    assert spans(faces, 10, ((0, 20), (20, 29), (29, 50))) == [(0, 20), (29, 21)]


def test_a_short_track_uses_its_detections_up() -> None:
    """Official: what a discarded track took is not offered to the next."""
    faces = video(40, (range(5), BOX), (range(31, 40), BOX))
    assert spans(faces, min_track=9) == []


# ---------------------------------------------------------------------------------------------- the crops


def coloured(length: int, height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (length, height, width, 3)).astype(np.uint8)


def test_the_crop_of_a_steady_face_in_closed_form() -> None:
    """Half side 60, centre (150, 100): rows 40 .. 208, columns 66 .. 234."""
    frames = coloured(20)
    crops = crop_track(frames, Track(3, np.tile([90.0, 40, 210, 160], (14, 1))))
    assert crops.shape == (14, 224, 224, 3)
    for crop, frame in zip(crops, frames[3:17], strict=True):
        np.testing.assert_array_equal(crop, resize_linear(frame[40:208, 66:234], 224, 224))


def test_half_the_longer_side_counts() -> None:
    frames = coloured(13)
    wide = crop_track(frames, Track(0, np.tile([90.0, 80, 210, 120], (13, 1))))
    square = crop_track(frames, Track(0, np.tile([90.0, 40, 210, 160], (13, 1))))
    np.testing.assert_array_equal(wide, square)


def test_beyond_the_frame_is_grey() -> None:
    """Half side 50, centre (50, 50): 20 columns left of the frame; nothing above it."""
    crops = crop_track(coloured(13), Track(0, np.tile([0.0, 0, 100, 100], (13, 1))))
    assert (crops[:, :, :31] == GREY).all()  # 20 of 140 columns become 32 of 224; the last is mixed
    assert not (crops[:, :, 33:] == GREY).all()


def test_fractions_are_cut_off_in_the_padded_frame() -> None:
    """Half side 50.5, centre (150.25, 100.75), margin int(90.9) = 90.

    Rows int(140.25) - 90 = 50 .. int(190.75 + 90.9) - 90 = 191; columns int(240.25 - 70.7) - 90 = 79
    .. int(240.25 + 70.7) - 90 = 220.
    """
    frames = coloured(13)
    crops = crop_track(frames, Track(0, np.tile([99.75, 50.25, 200.75, 151.25], (13, 1))))
    np.testing.assert_array_equal(crops[6], resize_linear(frames[6][50:191, 79:220], 224, 224))


def test_one_wild_box_is_smoothed_away() -> None:
    frames, boxes = coloured(25), np.tile([90.0, 40, 210, 160], (25, 1))
    steady = crop_track(frames, Track(0, boxes))
    boxes[12] += 80
    np.testing.assert_array_equal(crop_track(frames, Track(0, boxes)), steady)


def test_the_median_counts_zeros_at_the_ends() -> None:
    """scipy's medfilt: at the last frame 6 of 13 values are zeros, so that the least of the last 7 is taken."""
    frames, boxes = coloured(25), np.tile([90.0, 40, 210, 160], (25, 1))
    boxes[:, [0, 2]] += np.arange(25)[:, None]  # the centre moves right, 150 + t
    crops = crop_track(frames, Track(0, boxes))
    for t, centre in ((0, 150), (12, 162), (18, 168), (21, 168), (24, 168)):
        np.testing.assert_array_equal(
            crops[t], resize_linear(frames[t][40:208, centre - 84 : centre + 84], 224, 224), err_msg=f"frame {t}"
        )
