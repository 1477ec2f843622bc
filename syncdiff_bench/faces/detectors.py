"""What a face detector is, and dlib's: HOG features and a linear classifier that the library itself carries."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Frames
from syncdiff_bench.errors import NotApplicable
from syncdiff_bench.weights.digests import WeightsUsed

Faces = NDArray[np.float32]

EXTRA = "pip install 'syncdiff-bench[faces]'"
DLIB = "pip install dlib-bin"


class FaceDetector(Protocol):
    """Finds the faces of single frames.

    identity: a slug that changes when the faces of a frame may ("s3fd-619a316812"); it names the detector in results.
    most_pixels: larger frames are reduced before boxes are looked for: the face of a talking head stays large enough.
    surest: of several faces the surest of each frame counts, as in the published scripts; else the box stays with one.
    """

    most_pixels: int
    surest: bool

    @property
    def identity(self) -> str: ...

    def detect(self, frames: Frames) -> Sequence[Faces]:
        """Per frame (n, 5) float32, surest face first: x1 y1 x2 y2 in pixels, not clipped, and the score.

        frames: (T, H, W, 3) uint8 RGB. n is 0 where a frame has no face.
        """

    def weights_used(self) -> tuple[WeightsUsed, ...]: ...


class DlibHOG:
    """The fallback where S3FD's weights are not: frontal and nearly frontal faces, on the CPU.

    Its boxes end at brows and chin, hence they are tighter than S3FD's. Faces of 80 pixels and more; a frame in which
    there is none is looked at once more at twice its size (40 pixels).
    Raises NotApplicable where the package is missing.
    """

    most_pixels = 1280 * 720
    surest = False

    def __init__(self) -> None:
        try:
            self._dlib: Any = import_module("dlib")
        except ImportError as error:
            raise NotApplicable(f"package dlib missing ({error}); {DLIB}") from None

    @cached_property
    def _detector(self) -> Any:
        """Built at its first use: a plan asks for the identity alone."""
        return self._dlib.get_frontal_face_detector()

    @property
    def identity(self) -> str:
        return f"dlib-hog-{self._dlib.__version__}"

    def detect(self, frames: Frames) -> list[Faces]:
        return [self._faces(np.ascontiguousarray(frame)) for frame in frames]

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()

    def _faces(self, frame: Frames) -> Faces:
        boxes, scores, _ = self._detector.run(frame, 0, 0.0)
        if not boxes:
            boxes, scores, _ = self._detector.run(frame, 1, 0.0)
        # dlib's right and bottom pixels are inside the box
        rows = [
            (box.left(), box.top(), box.right() + 1, box.bottom() + 1, score)
            for box, score in sorted(zip(boxes, scores, strict=True), key=lambda face: -face[1])
        ]
        return np.array(rows, np.float32).reshape(-1, 5)
