"""Face tracks and their crops, as syncnet_python's run_pipeline.py makes them (docs/spec/lse.md#real-videos)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Frames
from syncdiff_bench.media.bilinear import resize_linear

SIDE = 224
MIN_OVERLAP = 0.5  # intersection over union with the face before, to be exceeded
MAX_GAP = 25  # frames from one detection of a track to the next
MIN_SIDE = 100  # pixels, to be exceeded by the mean width or the mean height of a track
CROP_SCALE = 0.4
MEDIAN = 13  # frames
GREY = 110  # beyond the frame

Box = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Track:
    """One face through consecutive frames.

    first: its first frame in the video. boxes: (n, 4) float64, x1 y1 x2 y2 in pixels; the line between detections.
    """

    first: int
    boxes: Box


def find_tracks(faces: Sequence[NDArray[np.float32]], scenes: Iterable[tuple[int, int]], min_track: int) -> list[Track]:
    """The tracks of a video, scene after scene; within one, those that begin earlier come first.

    faces: per frame (n, 5), surest first. scenes: (first, after the last) frame of each.
    min_track: a scene has at least that many frames, and a track MORE than that many detections.
    """
    return [
        track
        for start, stop in scenes
        if stop - start >= min_track
        for track in _tracks_of_scene(faces[start:stop], start, min_track)
    ]


def _tracks_of_scene(faces: Sequence[NDArray[np.float32]], start: int, min_track: int) -> list[Track]:
    left = [list(one[:, :4].astype(np.float64)) for one in faces]
    tracks = []
    while any(left):
        times, boxes = _followed(left)
        if len(times) > min_track:
            span = np.arange(times[0], times[-1] + 1)
            lines = np.stack([np.interp(span, times, side) for side in np.stack(boxes).T], axis=1)
            if max(_mean_sides(lines)) > MIN_SIDE:
                tracks.append(Track(start + times[0], lines))
    return tracks


def _followed(left: list[list[Box]]) -> tuple[list[int], list[Box]]:
    """Frames and boxes of the first face that is left, followed greedily; what it used is taken out of `left`."""
    times: list[int] = []
    boxes: list[Box] = []
    for t, here in enumerate(left):
        if times and t - times[-1] > MAX_GAP:
            break
        chosen = next((i for i, box in enumerate(here) if not boxes or overlap(box, boxes[-1]) > MIN_OVERLAP), None)
        if chosen is not None:
            times.append(t)
            boxes.append(here.pop(chosen))
    return times, boxes


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, x1 y1 x2 y2.

    >>> overlap(np.array([0., 0, 2, 2]), np.array([1., 0, 3, 2]))
    0.3333333333333333
    """
    width, height = np.maximum(0, np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]))
    common = width * height
    return float(common / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - common))


def _mean_sides(boxes: Box) -> tuple[float, float]:
    width, height = (boxes[:, 2:] - boxes[:, :2]).mean(axis=0)
    return float(width), float(height)


def crop_track(frames: Frames, track: Track) -> Frames:
    """(n, 224, 224, 3) uint8: the face of every frame of a track, in LRS's framing.

    frames: (T, H, W, 3) uint8 of the whole video. Half the longer side s and the centre of the boxes go through a
    median of 13 frames; the crop reaches from s above the centre to 1.8 s below it, 1.4 s to either side.
    """
    x1, y1, x2, y2 = track.boxes.T
    halves = _smoothed(np.maximum(x2 - x1, y2 - y1) / 2)
    columns, rows = _smoothed((x1 + x2) / 2), _smoothed((y1 + y2) / 2)
    faces = np.empty((len(halves), SIDE, SIDE, 3), np.uint8)
    for face, frame, half, x, y in zip(faces, frames[track.first :], halves, columns, rows, strict=False):
        face[:] = resize_linear(_cut(frame, half, x, y), SIDE, SIDE)
    return faces


def _smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quirk: the median counts zeros before the first and behind the last frame (scipy's medfilt)."""
    from scipy.signal import medfilt

    return np.asarray(medfilt(values, kernel_size=MEDIAN))


def _cut(frame: NDArray[np.uint8], half: float, x: float, y: float) -> NDArray[np.uint8]:
    """The crop at its own size, grey where it leaves the frame; its sides are cut off to whole pixels of that frame."""
    below, beside = half * (1 + 2 * CROP_SCALE), half * (1 + CROP_SCALE)
    margin = int(below)
    padded = np.pad(frame, ((margin, margin), (margin, margin), (0, 0)), constant_values=GREY)
    x, y = x + margin, y + margin
    return padded[max(0, int(y - half)) : int(y + below), max(0, int(x - beside)) : int(x + beside)]
