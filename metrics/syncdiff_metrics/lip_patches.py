"""What a VSR model is shown of a clip: the middle of grey frames, or mouth crops aligned by landmarks.

`lip_patches` is TalkLip's input, without alignment (docs/spec/lip-reading.md#input). `MouthCropper` makes the crops of
AV-HuBERT's own preparation, on which Meta's checkpoints were trained: aligned by landmarks, 96x96, through H.264
(docs/spec/lip-reading.md#mouth-crops). The official landmarks are dlib's, rounded to pixels; here any 68 points do.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.clips import clip_landmarks
from syncdiff_bench.contracts import Clip, Frames, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable, WeightsError
from syncdiff_bench.faces.landmarks import (
    MOUTH,
    POINTS,
    FaceAlignmentSource,
    Landmarks,
    LandmarkSource,
    interpolated,
    read_landmarks,
)
from syncdiff_bench.media.bilinear import resize_linear
from syncdiff_bench.media.writing import round_trip
from syncdiff_bench.weights.catalog import installed
from syncdiff_bench.weights.finding import locate_weights
from syncdiff_metrics.jpeg_stage import libav_version

if TYPE_CHECKING:
    from torch import Tensor

FrameSize = Literal["160", "native"]
LRS2_SIDE = 160  # pixels; the side of LRS2 frames, at which the VSR model was fine-tuned

# cv2.cvtColor(BGR2GRAY) on uint8: 0.299 R + 0.587 G + 0.114 B in 15-bit fixed point
GREY_SHIFT = 15
GREY_RGB = (9798, 19235, 3735)


def grey_frames(frames: Frames) -> NDArray[np.uint8]:
    """(T, H, W, 3) uint8 RGB to (T, H, W) uint8, rounded as OpenCV rounds."""
    red, green, blue = (frames[..., channel].astype(np.int32) * GREY_RGB[channel] for channel in range(3))
    rounded = (red + green + blue + (1 << (GREY_SHIFT - 1))) >> GREY_SHIFT
    return rounded.astype(np.uint8)


def centre_patches(grey: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(T, H, W) uint8 to its middle (T, side, side). Raises ClipError (`frame-size`) on smaller frames."""
    height, width = grey.shape[1:]
    if height < side or width < side:
        raise ClipError(
            "frame-size",
            f"frames are {width}x{height}, the VSR model needs {side}x{side} at least; score larger videos",
        )
    top, left = (height - side) // 2, (width - side) // 2
    return grey[:, top : top + side, left : left + side]


def lip_patches(frames: Frames, frame_size: FrameSize | int, side: int) -> Tensor:
    """What the VSR model is shown out of a clip: (T, side, side) uint8 on the CPU.

    frames: (T, H, W, 3) uint8 RGB.
    frame_size: `160` stretches the whole frame to LRS2's size first (as `cv2.resize` does), so that the
        model meets mouths of the size it knows; `native` does not (docs/spec/lip-reading.md#frame-size); a number of
        pixels stretches it to that size, for a model of this project.
    Raises ClipError (`frame-size`) where the frame is smaller than the patch.
    """
    if frame_size != "native":
        stretched = LRS2_SIDE if frame_size == "160" else frame_size
        frames = np.stack([resize_linear(frame, stretched, stretched) for frame in frames])
    return middle_patches(frames, side)


def middle_patches(frames: Frames, side: int) -> Tensor:
    """(T, H, W, 3) uint8 RGB, grey and cut to the middle: (T, side, side) uint8 on the CPU.

    Raises ClipError (`frame-size`) where the frame is smaller than the patch.
    """
    import torch

    return torch.from_numpy(np.ascontiguousarray(centre_patches(grey_frames(frames), side)))


# ------------------------------------------------------------------------------------------ mouth crops


MEAN_FACE = "mean-face-20words"  # of the weights catalogue
STABLE = (33, 36, 39, 42, 45)  # base of the nose and the corners of the eyes, which speech does not move
CANVAS = 256  # side of the aligned face
SIDE = 96  # side of the crop
WINDOW = 12  # frames, this one and those after it, whose mean landmarks align a frame

Points = NDArray[np.float64]


class MouthCropper:
    """The crops of clips, and what they rest on.

    folder: holds the landmarks, `<clip id>.npy` each; None: they are detected.
    source: what detects them; face-alignment unless one is given.
    """

    def __init__(self, runtime: Runtime, folder: Path | None = None, source: LandmarkSource | None = None) -> None:
        self._runtime, self._folder, self._given = runtime, folder, source

    def prepare(self) -> None:
        """Load the mean face and the detector.

        Raises WeightsError where the mean face is missing or another file, NotApplicable where nothing gives landmarks.
        """
        _ = self._mean_face, self._source

    def crops(self, clip: Clip) -> Frames:
        """(T, 96, 96, 3) uint8 RGB. Raises ClipError (`landmarks`) where this clip's landmarks are of no use."""
        if self._source is not None:
            landmarks = clip_landmarks(clip, self._source)
        else:
            assert self._folder is not None, "landmarks are detected where no folder is given"
            landmarks = read_landmarks(self._folder, clip.id, clip.media)
        return mouth_crops(clip.frames, landmarks, self._mean_face)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._mean_face_file[1], *(() if self._source is None else self._source.weights_used()))

    def provenance(self) -> dict[str, str]:
        """Where the landmarks come from, and the version of the codec."""
        found = {"landmarks": "files"} if self._source is None else self._source.provenance()
        return {**found, "encoder": libav_version()}

    @cached_property
    def _source(self) -> LandmarkSource | None:
        """None where files hold the landmarks."""
        if self._given is not None:
            return self._given
        if self._folder is None:
            try:
                return FaceAlignmentSource(self._runtime.device)
            except NotApplicable as error:
                raise NotApplicable(f"{error}; or give landmarks=DIR with <clip id>.npy files") from None
        if not self._folder.is_dir():
            raise NotApplicable(f"landmarks={self._folder} is not a folder; give one with <clip id>.npy files")
        return None

    @cached_property
    def _mean_face_file(self) -> tuple[Path, WeightsUsed]:
        return locate_weights(MEAN_FACE, self._runtime.weights, owner="wer")

    @cached_property
    def _mean_face(self) -> Points:
        return load_mean_face(self._mean_face_file[0])


def load_mean_face(file: Path) -> Points:
    """The (68, 2) float64 face, x and y on a canvas of 256x256, onto which every face is moved.

    Raises WeightsError where the file holds anything else.
    """
    try:
        face = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        face = None
    if face is None or face.shape != (POINTS, 2) or face.dtype.kind != "f":
        raise WeightsError(f"{file}: not {POINTS} points (x, y) in .npy; {installed()[MEAN_FACE].mend}")
    return np.asarray(face, np.float64)


def mouth_crops(frames: Frames, landmarks: Landmarks, mean_face: Points) -> Frames:
    """(T, 96, 96, 3) uint8 RGB: the mouth of every frame, upright and of one size, after the codec.

    frames: (T, H, W, 3) uint8 RGB. landmarks: (T, 68, 2), x and y in pixels, NaN where no face was found.
    mean_face: of `load_mean_face`.
    A clip without any face is shrunk to 96x96 as a whole, as in the official code.
    Raises ClipError (`landmarks`) where points coincide, so that they align nothing.
    """
    known = interpolated(landmarks)
    if known is None:
        return h264_round_trip(np.stack([resize_linear(frame, SIDE, SIDE) for frame in frames]))
    transforms = alignments(known, mean_face)
    crops = [
        cut_mouth(warped(frame, transform), transform(points)[MOUTH])
        for frame, points, transform in zip(frames, known, transforms, strict=True)
    ]
    return h264_round_trip(np.stack(crops))


def alignments(landmarks: Points, mean_face: Points) -> list[Any]:
    """One similarity transform (rotation, scale, shift) per frame, from the frame onto the canvas.

    It takes the stable points, averaged over a frame and the 11 after it, to those of the mean face; where fewer
    follow, the last full window's transform is used again. A clip shorter than that is one window.
    Raises ClipError (`landmarks`) where the points coincide.
    """
    from skimage.transform import estimate_transform

    stable = list(STABLE)
    window = min(WINDOW, len(landmarks))
    transforms = []
    for start in range(len(landmarks) - window + 1):
        mean = landmarks[start : start + window, stable].mean(axis=0)
        if np.ptp(mean, axis=0).max() < 1:  # pixel
            raise ClipError("landmarks", f"the landmarks of frame {start} lie in one point; detect them again")
        transforms.append(estimate_transform("similarity", mean, mean_face[stable]))
    return transforms + transforms[-1:] * (window - 1)


def warped(frame: NDArray[np.uint8], transform: Any) -> NDArray[np.uint8]:
    """(256, 256, 3) uint8 of (H, W, 3) uint8: bilinear, black outside the frame, fractions cut off, not rounded."""
    from skimage.transform import warp

    canvas: NDArray[np.float64] = warp(frame, transform.inverse, output_shape=(CANVAS, CANVAS))
    return (canvas * 255).astype(np.uint8)


def cut_mouth(canvas: NDArray[np.uint8], mouth: Points) -> NDArray[np.uint8]:
    """(96, 96, 3): the square around the mean of the mouth's points, moved where it would leave the canvas.

    The official code means to refuse a mouth that is more than 5 pixels out, but moves it first, and so never does.
    """
    half = SIDE // 2
    x, y = (round(float(np.clip(centre, half, CANVAS - half))) for centre in mouth.mean(axis=0))
    return canvas[y - half : y + half, x - half : x + half]


def h264_round_trip(crops: Frames) -> Frames:
    """The crops as they come back from the official `ffmpeg -crf 20` over PNGs: H.264, full chroma, 25 fps.

    crops: (T, H, W, 3) uint8 RGB with even sides. The encoder is that of PyAV's wheel, with one thread and without
    assembler, so that its result does not move with the processor.
    """
    options = {"crf": "20", "preset": "medium", "x264-params": "asm=0"}
    decoded = round_trip(crops, "libx264", "yuv444p", options)  # the format that ffmpeg chooses for RGB images
    return np.stack([frame.to_ndarray(format="rgb24") for frame in decoded])
