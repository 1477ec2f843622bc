"""LSE-C and LSE-D: confidence and distance of SyncNet, over whole frames as in Wav2Lip's script for LRS.

The arithmetic, quirks included, is that of `calculate_scores_LRS.py`, which TalkLip copies (docs/spec/lse.md#windows).
`protocol=real-video` looks at face tracks instead: see real_video.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import AdditiveMetric, Audio, Clip, Column, Pair, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.detectors import FaceDetector
from syncdiff_bench.media.bilinear import resize_linear
from syncdiff_bench.weights.finding import slug
from syncdiff_metrics.experts import POCKET, expert_folder, foreign_network, load_expert_syncnet, locate_network
from syncdiff_metrics.jpeg_stage import decode_jpeg, dumped, libav_version, mjpeg_round_trip, program_version
from syncdiff_metrics.real_video import (
    MIN_TRACK,
    S3FD_SCALE,
    SHORTEST_TRACK,
    Detector,
    RealVideoStats,
    TrackScore,
    cut_tracks,
    load_official,
    protocol_name,
)

if TYPE_CHECKING:
    from torch import Tensor

    from syncdiff_bench.networks.syncnet import SyncNet

PUBLISHED_WEIGHTS = "syncnet-v2"
SILENT = Caveat("silent", "the audio track is silence, with which no lips are in step")

DEEP = Caveat("deep-pictures", "more than 8 bits: the JPEG stage starts from RGB, where ffmpeg never leaves YCbCr")

FrameSource = Literal["jpeg", "ffmpeg", "direct"]
Protocol = Literal["lrs", "real-video"]


@dataclass(frozen=True)
class LSEOptions:
    """Options of `lse`.

    protocol: `lrs` scores whole frames, which are face tracks already; `real-video` finds the face tracks first.
    frames: `jpeg` passes the frames through FFmpeg's default MJPEG encoder in memory, as the official script
        does with files; `ffmpeg` runs the official commands on the video file, whose result moves with the
        version of that program; `direct` leaves the JPEG stage out.
    weights: catalogue name or file of the SyncNet checkpoint; or a small expert of this project: `pocket`, which
        ships, or the folder that `train syncnet/...` wrote.
    batch: windows per pass of the network; bounds the memory, changes no score.
    ffmpeg: name or path of the program for `frames=ffmpeg`.
    detector: of `real-video`: `s3fd`, or `dlib-hog`, which carries its weights.
    min_track: of `real-video`: a face track has more detections than this.
    """

    protocol: Protocol = "lrs"
    frames: FrameSource = "jpeg"
    weights: str = PUBLISHED_WEIGHTS
    batch: int = 20
    ffmpeg: str = "ffmpeg"
    detector: Detector = "s3fd"
    min_track: int = MIN_TRACK

    def __post_init__(self) -> None:
        if self.min_track < SHORTEST_TRACK:
            raise UsageError(f"lse: min_track is {self.min_track}; give {SHORTEST_TRACK} or more")
        if self.protocol == "real-video" and self.frames == "ffmpeg":
            raise UsageError("lse: frames=ffmpeg reads whole files; with protocol=real-video give jpeg or direct")
        if self.batch < 1:
            raise UsageError(f"lse: batch is {self.batch}; give 1 or more")


@dataclass(frozen=True)
class LSEStats:
    """Confidence, distance and offset of one clip.

    lse_c: median minus minimum of the shift means; higher is better.
    lse_d: minimum of the shift means; lower is better.
    offset: frames; positive where the matching audio lies earlier than the frame.
    windows: how many are behind it.
    shift_means: 31 mean distances, shifts -15 .. 15 of the audio.
    """

    lse_c: float
    lse_d: float
    offset: int
    windows: int
    shift_means: tuple[float, ...]


class LSE(AdditiveMetric[LSEStats | RealVideoStats]):
    """Lip-sync error of a clip against its own audio; no reference is needed.

    The column is the unweighted mean over clips (`real-video`: over the face tracks of all clips), however long they
    are, as in the official script.
    """

    name = "lse"
    title = "Lip-sync error (SyncNet)"
    source = "Wav2Lip, evaluation/scores_LSE/calculate_scores_LRS.py; network of Chung and Zisserman 2016"
    columns = (Column("lse_c", "LSE-C", "up", bounds=(0, None)), Column("lse_d", "LSE-D", "down", bounds=(0, None)))
    requires = frozenset({"audio"})
    Options = LSEOptions
    Stats = LSEStats
    options: LSEOptions

    @property
    def protocol(self) -> str:
        """`lrs` or `real-video` for the official way in memory; other weights come in front, other frames behind.

        `pocket` is the `lrs` way with the SyncNet that was trained on pocket; its numbers compare with no published
        one.
        """
        options = self.options
        if options.weights == POCKET.name and options.protocol == "lrs":
            return POCKET.name if options.frames == "jpeg" else f"{POCKET.name}-{options.frames}"
        parts = [] if options.weights == PUBLISHED_WEIGHTS else [slug(options.weights, "syncnet")]
        parts += ["lrs"] if options.protocol == "lrs" else [protocol_name(options.detector, options.min_track)]
        parts += [] if options.frames == "jpeg" else [options.frames]
        return "-".join(parts)

    def provenance(self) -> dict[str, str]:
        """Where the frames come from and the version that decides their bytes; belongs into run.json.

        Raises NotApplicable where `frames=ffmpeg` and the program does not start.
        """
        found = {"detector": self._detector.identity} if self._detector else {}
        found["frames"] = self.options.frames
        if self.options.frames == "jpeg":
            found["encoder"] = libav_version()
        if self.options.frames == "ffmpeg":
            found["encoder"] = program_version(self.options.ffmpeg)
        return found

    def prepare(self) -> None:
        """Load SyncNet and the detector, look for the ffmpeg program. Raises WeightsError or NotApplicable."""
        self.provenance()
        _ = self._network

    def measure(self, pair: Pair) -> LSEStats | RealVideoStats:
        """Score the generated clip.

        Raises ClipError `no-audio`, `too-short` (5 usable frames or fewer), `no-file` (`frames=ffmpeg` and a
        clip in memory), `no-track` (`real-video`), or whatever keeps the file from being decoded.
        """
        if self._detector is None:
            return self._measured(pair.generated)
        scale = S3FD_SCALE if self.options.detector == "s3fd" else 1
        tracks = cut_tracks(pair.generated, self._detector, scale, self.options.min_track)
        return RealVideoStats(
            tuple(TrackScore(track.first, len(track.boxes), **asdict(self._measured(crop))) for track, crop in tracks)
        )

    def _measured(self, clip: Clip) -> LSEStats:
        with self._opened(clip) as (n_frames, frames, audio):
            windows = _scored_windows(clip, n_frames, audio)
            # the last frame that any window sees; the encoder's rate control never looks ahead
            faces = stretched(islice(frames, windows + 4), windows + 4, self._network.config.side)
        return self._score(faces, audio, windows)

    def caveats(self, pair: Pair, stats: LSEStats | RealVideoStats) -> tuple[Caveat, ...]:
        """A SyncNet on faces of other data than it was trained on; no audio to hear; frames that JPEG cannot hold."""
        foreign = foreign_network(self.options.weights, self._expert, pair.target)
        deep = self.options.frames == "jpeg" and pair.generated.media.bits > 8
        return (*foreign, *([] if pair.generated.audio.any() else [SILENT]), *([DEEP] if deep else []))

    def summands(self, stats: LSEStats | RealVideoStats) -> tuple[float, ...]:
        tracks = stats.tracks if isinstance(stats, RealVideoStats) else (stats,)
        return sum(one.lse_c for one in tracks), sum(one.lse_d for one in tracks), len(tracks)

    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        lse_c, lse_d, tracks = sums
        return {"lse_c": lse_c / tracks, "lse_d": lse_d / tracks}

    def values(self, stats: LSEStats | RealVideoStats) -> Mapping[str, float | None]:
        """Columns of one clip, and its offset in frames: positive where the audio is ahead of the frames.

        With several tracks the offset is that of the longest.
        """
        offset = stats.longest.offset if isinstance(stats, RealVideoStats) else stats.offset
        return {**self.aggregate([stats]), "offset": offset}

    def stats_from_json(self, values: Mapping[str, Any]) -> LSEStats | RealVideoStats:
        if "tracks" in values:
            return RealVideoStats.from_json(values)
        return LSEStats(**{**values, "shift_means": tuple(values["shift_means"])})

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._weights[1], *(self._detector.weights_used() if self._detector else ()))

    @contextmanager
    def _opened(self, clip: Clip) -> Iterator[tuple[int, Iterable[NDArray[np.uint8]], Audio]]:
        """Number of frames, frames (H, W, 3) uint8 BGR one by one, and audio of a clip."""
        if self.options.frames == "ffmpeg":
            if clip.path is None:
                raise ClipError("no-file", f"{clip.id}: frames=ffmpeg needs a video file; use frames=jpeg")
            with dumped(clip.path, self.options.ffmpeg) as (jpegs, audio):
                yield len(jpegs), (decode_jpeg(file.read_bytes()) for file in jpegs), audio
        elif self.options.frames == "jpeg":
            yield len(clip.frames), mjpeg_round_trip(clip.media), clip.audio
        else:
            yield len(clip.frames), (frame[..., ::-1] for frame in clip.frames), clip.audio

    def _score(self, faces: NDArray[np.uint8], audio: Audio, windows: int) -> LSEStats:
        from syncdiff_bench.networks.syncnet import embed_frames, embed_mfcc, mfcc

        batch = self.options.batch
        lips = embed_frames(self._network, faces, windows, batch)
        heard = embed_mfcc(self._network, mfcc(audio), windows, batch)
        return score(shift_means(lips, heard), windows)

    @cached_property
    def _detector(self) -> FaceDetector | None:
        """None where whole frames are scored."""
        if self.options.protocol == "lrs":
            return None
        return load_official(self.options.detector, self.runtime)

    @cached_property
    def _expert(self) -> Path | None:
        return expert_folder(self.options.weights, "syncnet")

    @cached_property
    def _weights(self) -> tuple[Path, WeightsUsed]:
        return locate_network(self.options.weights, "syncnet", self.runtime, owner="lse")

    @cached_property
    def _network(self) -> SyncNet:
        from syncdiff_bench.networks.syncnet import load_syncnet, prepare_for_inference

        where = self._weights[0]
        network = load_syncnet(where) if self._expert is None else load_expert_syncnet(where)
        return prepare_for_inference(network, self.runtime.device)


def stretched(frames: Iterable[NDArray[np.uint8]], count: int, side: int = 224) -> NDArray[np.uint8]:
    """(count, side, side, 3) uint8: whole frames, stretched whatever their aspect ratio.

    frames: `count` times (H, W, 3) uint8.
    """
    faces = np.empty((count, side, side, 3), np.uint8)
    for face, frame in zip(faces, frames, strict=True):
        face[:] = resize_linear(frame, side, side)
    return faces


def _scored_windows(clip: Clip, n_frames: int, audio: Audio) -> int:
    if not len(audio):
        raise ClipError("no-audio", f"{clip.id}: has no audio; lse compares lips with audio, give a clip that has both")
    windows = window_count(n_frames, len(audio))
    if windows < 1:
        raise ClipError(
            "too-short",
            f"{clip.id}: {n_frames} frames with {len(audio) / 16_000:.2f} s of audio; "
            "lse needs 6 frames and 0.24 s at least, leave this clip out",
        )
    return windows


# --------------------------------------------------------------------------------------- the arithmetic


SAMPLES_PER_FRAME = 640  # 16 kHz over 25 fps, whatever the frame rate of the file is
MAX_SHIFT = 15  # frames; 31 shifts are tried


def window_count(frames: int, samples: int) -> int:
    """Windows that are scored; zero or less where the clip is too short.

    One fewer than the clip has room for: the official code ends its range at `min_length - 5`.
    """
    return min(frames, samples // SAMPLES_PER_FRAME) - 5


def shift_means(lips: Tensor, audio: Tensor) -> Tensor:
    """(31,) float32: for each shift of the audio by -15 .. 15 windows the mean distance over ALL windows.

    lips, audio: (n, E) float32 embeddings of the same windows.
    Quirk: the audio is padded with zero rows and the padding is counted, so that a window without a partner
    contributes the norm of its lip embedding; in short clips this is a large part of the mean.
    Quirk: 1e-6 is added to every difference before the norm (torch's pairwise_distance).
    """
    import torch
    from torch.nn.functional import pad, pairwise_distance

    padded = pad(audio, (0, 0, MAX_SHIFT, MAX_SHIFT))
    n = lips.shape[0]
    distances = [pairwise_distance(lips, padded[k : k + n], eps=1e-6) for k in range(2 * MAX_SHIFT + 1)]
    return torch.stack(distances).mean(dim=1)


def score(means: Tensor, windows: int) -> LSEStats:
    """LSE-C, LSE-D and offset of the 31 shift means over so many windows; the first minimum wins a tie.

    Quirk: LSE-D is the minimum over all shifts, not the distance at shift 0.
    """
    least = means.min()
    return LSEStats(
        lse_c=float(means.median() - least),
        lse_d=float(least),
        offset=MAX_SHIFT - int(means.argmin()),
        windows=windows,
        shift_means=tuple(means.tolist()),
    )
