"""What a face detector is, and which there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Frames, Runtime, WeightsUsed
from syncdiff_bench.errors import NotApplicable, UsageError, WeightsError
from syncdiff_bench.faces.boxes import DETECTORS
from syncdiff_bench.options import nearest

Faces = NDArray[np.float32]

AUTO = "auto"
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


@dataclass(frozen=True, eq=False)
class Choice:
    """passed_over: why a preferred detector was not taken, one line each."""

    detector: FaceDetector
    passed_over: tuple[str, ...] = ()


def load_detector(name: str, runtime: Runtime) -> FaceDetector:
    """The detector of that name.

    Raises UsageError for an unknown name, NotApplicable where its package is missing, WeightsError where its weights
    are missing or no good.
    """
    if name == "s3fd":
        from syncdiff_bench.faces.s3fd import S3FD

        return S3FD(runtime)
    if name == "dlib-hog":
        from syncdiff_bench.faces.dlib_hog import DlibHOG

        return DlibHOG()
    raise UsageError(f"unknown face detector {name!r}{nearest(name, DETECTORS, 'known detectors')}")


def choose_detector(name: str, runtime: Runtime) -> Choice:
    """The detector of that name; for `auto` the first of `DETECTORS` that can be used here.

    Raises as `load_detector`; for `auto` UsageError, with the reasons, where there is none.
    """
    if name != AUTO:
        return Choice(load_detector(name, runtime))
    reasons: list[str] = []
    for candidate in DETECTORS:
        try:
            return Choice(load_detector(candidate, runtime), tuple(reasons))
        except (NotApplicable, WeightsError) as error:
            reasons.append(f"{candidate}: {error}")
    raise UsageError(f"no face detector can be used here ({'; '.join(reasons)})")
