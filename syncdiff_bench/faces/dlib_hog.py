"""dlib's frontal face detector: HOG features and a linear classifier that the library itself carries."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from syncdiff_bench.contracts import Frames, WeightsUsed
from syncdiff_bench.errors import NotApplicable
from syncdiff_bench.faces.detectors import DLIB, Faces


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
        self._detector = self._dlib.get_frontal_face_detector()

    @property
    def identity(self) -> str:
        return f"dlib-hog-{self._dlib.__version__}"

    def detect(self, frames: Frames) -> list[Faces]:
        return [self._faces(np.ascontiguousarray(frame)) for frame in frames]

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return ()

    def _faces(self, picture: Frames) -> Faces:
        boxes, scores, _ = self._detector.run(picture, 0, 0.0)
        if not boxes:
            boxes, scores, _ = self._detector.run(picture, 1, 0.0)
        # dlib's right and bottom pixels are inside the box
        rows = [
            (box.left(), box.top(), box.right() + 1, box.bottom() + 1, score)
            for box, score in sorted(zip(boxes, scores, strict=True), key=lambda face: -face[1])
        ]
        return np.array(rows, np.float32).reshape(-1, 5)
