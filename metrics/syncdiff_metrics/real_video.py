"""`lse[protocol=real-video]`: SyncNet on face tracks cut out of any video (docs/spec/lse.md#real-videos).

Wav2Lip's calculate_scores_real_videos.sh on syncnet_python's run_pipeline.py: scenes, detected faces, tracks and
crops. From the JPEG stage on, each crop is scored in the `lrs` way, as a video of its own.

Three nearly lossless encodings of the script on the way to a crop are left out (MPEG-4 at quantiser 2, JPEG at
quantiser 2, XVID at 1.25 Mb/s), and the mp3 of its AVI file. Its detector is another training of S3FD, `sfd_face.pth`;
here it is that of Wav2Lip and TalkLip at the script's scale and thresholds, and its digest is part of the number.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError
from syncdiff_bench.faces.detection import overlaps
from syncdiff_bench.faces.detectors import DlibHOG, FaceDetector
from syncdiff_bench.media.bilinear import resize_linear

# ----------------------------------------------------------------------------------------------- scenes


THRESHOLD = 30.0  # mean change of hue, saturation and value, in 8-bit levels
MIN_SCENE = 15  # frames between two cuts
# width from which on every n-th pixel is looked at
_STEPS = ((3200, 12), (2100, 8), (1700, 6), (1200, 5), (900, 4), (600, 3), (400, 2))


def scenes(frames: Frames) -> tuple[tuple[int, int], ...]:
    """(first, after the last) frame of every scene; one scene for a video without cuts.

    frames: (T, H, W, 3) uint8 RGB.
    """
    cuts: list[int] = []
    for t, change in enumerate(content_changes(frames), start=1):
        if change >= THRESHOLD and (not cuts or t - cuts[-1] >= MIN_SCENE):
            cuts.append(t)
    return tuple(zip([0, *cuts], [*cuts, len(frames)], strict=True))


def content_changes(frames: Frames) -> list[float]:
    """T - 1 values: mean absolute change from frame to frame over all pixels and over hue, saturation and value."""
    step = next((step for width, step in _STEPS if frames.shape[2] >= width), 1)
    changes, before = [], None
    for frame in frames:
        now = hue_saturation_value(frame[::step, ::step])
        if before is not None:
            changes.append(float(np.abs(now - before).mean()))
        before = now
    return changes


def hue_saturation_value(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(H, W, 3) int32 as OpenCV's COLOR_BGR2HSV has them in 8 bits: hue 0..179 in steps of 2 degrees, the rest 0..255.

    OpenCV multiplies by rounded reciprocals of 12 fractional bits, and so does this.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    value = np.maximum(np.maximum(red, green), blue)
    spread = value - np.minimum(np.minimum(red, green), blue)
    turn = np.where(
        value == red,
        green - blue,
        np.where(value == green, blue - red + 2 * spread, red - green + 4 * spread),
    )
    hue = (turn * _reciprocals(180 / 6)[spread] + (1 << 11)) >> 12
    saturation = (spread * _reciprocals(255)[value] + (1 << 11)) >> 12
    return np.stack([np.where(hue < 0, hue + 180, hue), saturation, value], axis=-1)


def _reciprocals(scale: float) -> NDArray[np.int32]:
    """`scale / n` for n = 0..255 with 12 fractional bits; 0 for n = 0."""
    steps = np.arange(1, 256)
    return np.concatenate([[0], np.rint(scale * (1 << 12) / steps)]).astype(np.int32)


# ------------------------------------------------------------------------------------- tracks and crops


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
            if (lines[:, 2:] - lines[:, :2]).mean(axis=0).max() > MIN_SIDE:
                tracks.append(Track(start + times[0], lines))
    return tracks


def _followed(left: list[list[Box]]) -> tuple[list[int], list[Box]]:
    """Frames and boxes of the first face that is left, followed greedily; what it used is taken out of `left`."""
    times: list[int] = []
    boxes: list[Box] = []
    for t, here in enumerate(left):
        if times and t - times[-1] > MAX_GAP:
            break
        near = [not boxes or overlaps(box[None], boxes[-1])[0] > MIN_OVERLAP for box in here]
        if any(near):
            times.append(t)
            boxes.append(here.pop(near.index(True)))
    return times, boxes


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


# ----------------------------------------------------------------------------------------- the protocol


Detector = Literal["s3fd", "dlib-hog"]
MIN_TRACK = 100  # the official script's
SHORTEST_TRACK = MEDIAN // 2  # a track has more detections; with fewer the median is 0
S3FD_SCALE = 0.25


@dataclass(frozen=True)
class TrackScore:
    """One line of the official all_scores.txt, and more.

    first, frames: where the track is in the video. The rest as in `LSEStats`.
    """

    first: int
    frames: int
    lse_c: float
    lse_d: float
    offset: int
    windows: int
    shift_means: tuple[float, ...]


@dataclass(frozen=True)
class RealVideoStats:
    """The tracks of one clip, in the official order; there is at least one."""

    tracks: tuple[TrackScore, ...]

    @property
    def longest(self) -> TrackScore:
        return max(self.tracks, key=lambda track: track.frames)

    @classmethod
    def from_json(cls, values: Any) -> RealVideoStats:
        return cls(tuple(TrackScore(**{**one, "shift_means": tuple(one["shift_means"])}) for one in values["tracks"]))


def protocol_name(detector: Detector, min_track: int) -> str:
    """`real-video`, with whatever departs from the official script behind it."""
    parts = ["real-video"]
    parts += [] if detector == "s3fd" else [detector]
    parts += [] if min_track == MIN_TRACK else [f"min{min_track}"]
    return "-".join(parts)


def load_official(detector: Detector, runtime: Runtime) -> FaceDetector:
    """The detector with the official thresholds. Raises NotApplicable or WeightsError."""
    if detector == "s3fd":
        from syncdiff_bench.faces.s3fd import S3FD, SYNCNET

        return S3FD(runtime.device, runtime.weights, SYNCNET)
    return DlibHOG()


def cut_tracks(clip: Clip, detector: FaceDetector, scale: float, min_track: int) -> Iterator[tuple[Track, Clip]]:
    """Every face track of a clip, and its crop with its part of the audio as a clip in memory.

    scale: at which the detector sees the frames.
    Raises ClipError `no-track`, with the reason, where there is none.
    """
    frames = clip.frames
    cuts = scenes(frames)
    longest = max(stop - start for start, stop in cuts)
    if longest < min_track:
        many = "" if len(cuts) == 1 else f", the longest of {len(cuts)} scenes"
        raise ClipError(
            "no-track", f"{clip.id}: {longest} frames{many}; a face track takes more than {min_track}{_mend()}"
        )
    faces = detect_scaled(frames, detector, scale)
    tracks = find_tracks(faces, cuts, min_track)
    if not tracks:
        seen = sum(len(one) > 0 for one in faces)
        raise ClipError(
            "no-track",
            f"{clip.id}: no face of more than 100 pixels is followed for more than {min_track} detections "
            f"({detector.identity} sees faces in {seen} of {len(frames)} frames){_mend()}",
        )
    for track in tracks:
        start, stop = (SAMPLES_PER_FRAME * t for t in (track.first, track.first + len(track.boxes)))
        media = Media(crop_track(frames, track), clip.audio[start:stop])
        yield track, Clip(f"{clip.id} (frame {track.first} on)", clip.dataset, preloaded=media)


def detect_scaled(frames: Frames, detector: FaceDetector, scale: float) -> Sequence[NDArray[np.float32]]:
    """Faces in pixels of `frames`, detected on frames of `scale` times their size."""
    if scale == 1:
        return detector.detect(frames)
    height, width = frames.shape[1:3]
    small = [max(1, round(side * scale)) for side in (height, width)]
    seen = detector.detect(np.stack([resize_linear(frame, *small) for frame in frames]))
    up = np.array([width / small[1], height / small[0]] * 2 + [1], np.float32)
    return [one * up for one in seen]


def _mend() -> str:
    return "; leave this clip out, or give a smaller lse.min_track"
