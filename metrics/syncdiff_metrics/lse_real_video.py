"""`lse[protocol=real-video]`: SyncNet on face tracks cut out of any video (docs/spec/lse.md#real-videos).

Wav2Lip's calculate_scores_real_videos.sh on syncnet_python's run_pipeline.py: detector, scenes, tracks and crops. What
comes after, from the JPEG stage on, is the `lrs` way with each crop for a video of its own.

Left out are the script's three nearly lossless encodings on the way to a crop (MPEG-4 at quantiser 2, JPEG at quantiser
2, XVID at 1.25 Mb/s) and the mp3 of its AVI file. Its detector is another training of S3FD, `sfd_face.pth`; here it is
the one of Wav2Lip and TalkLip at the script's scale and thresholds, and its digest is part of the number.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.bilinear import resize_linear
from syncdiff_metrics.face_tracks import MEDIAN, Track, crop_track, find_tracks
from syncdiff_metrics.scene_cuts import scenes

if TYPE_CHECKING:
    from syncdiff_bench.faces.detectors import FaceDetector

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

        return S3FD(runtime, SYNCNET)
    from syncdiff_bench.faces.dlib_hog import DlibHOG

    return DlibHOG()


def cut_tracks(clip: Clip, detector: FaceDetector, scale: float, min_track: int) -> Iterator[tuple[Track, Clip]]:
    """Every face track of a clip, and its crop with its part of the sound as a clip in memory.

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
