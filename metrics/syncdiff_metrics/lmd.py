"""LMD and F-LMD: how far the landmarks of the generated face are from those of the reference.

Chen et al. 2018, "Lip Movements Generation at a Glance", in the form of ATVGnet's evaluation (Chen et al. 2019):
each face's points are moved so that their mean lies at the origin, because where the mouth is says nothing about
what it does. The distance is the mean over the points, as in the LMDMeter of RAD-NeRF and ER-NeRF; ATVGnet's script
prints the sum over the 20 mouth points, which is 20 times this value. "M-LMD" and "F-LMD" are EAMM's names for the
mouth and for the whole face.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.clips import clip_landmarks
from syncdiff_bench.contracts import AdditiveMetric, Column, Pair, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.faces.landmarks import MOUTH, FaceAlignmentSource, Landmarks, LandmarkSource
from syncdiff_metrics.regions import check_same_size

Align = Literal["centre", "none"]


@dataclass(frozen=True)
class LMDOptions:
    """Options of `lmd`.

    align: `centre` moves the mean of the compared points (20 of the mouth, 68 of the face) to the origin in both
        faces; `none` compares positions in the frame. Size and rotation are never normalised.
    """

    align: Align = "centre"


@dataclass(frozen=True)
class LMDStats:
    """One clip.

    mouth, face: mean distance of the points in pixels, summed over `frames`.
    frames: frames with a face in both videos. faceless: frames without one in either, which are left out.
    """

    mouth: float
    face: float
    frames: int
    faceless: int


class LMD(AdditiveMetric[LMDStats]):
    """Mean over all frames of all clips of the mean distance of corresponding points, in pixels of the frame.

    landmarks: where the points come from; `face-alignment` unless one is given.
    """

    name = "lmd"
    title = "Landmark distance"
    source = "Chen et al. 2018/2019 (ATVGnet, code/evaluation_matrix.py), mean over points as in RAD-NeRF's LMDMeter"
    columns = (Column("lmd", "LMD", "down", "px", 3, (0, None)), Column("f_lmd", "F-LMD", "down", "px", 3, (0, None)))
    Options = LMDOptions
    Stats = LMDStats
    options: LMDOptions

    def __init__(
        self, options: Any = None, runtime: Runtime | None = None, landmarks: LandmarkSource | None = None
    ) -> None:
        super().__init__(options, runtime)
        self._given = landmarks

    @property
    def protocol(self) -> str:
        return "centred" if self.options.align == "centre" else "uncentred"

    def prepare(self) -> None:
        """Load the landmark detector. Raises NotApplicable where the package or its weights are missing."""
        _ = self._landmarks

    def measure(self, pair: Pair) -> LMDStats:
        """Distances of one pair, over the shorter of the two videos.

        Raises ClipError `size` where the videos differ in resolution, `no-face` where no frame has a face in both.
        """
        if pair.reference is None:
            raise NotApplicable("landmarks are compared with a reference, and there is none")
        check_same_size(pair)
        ours, theirs = (clip_landmarks(clip, self._landmarks) for clip in (pair.generated, pair.reference))
        n = min(len(ours), len(theirs))
        ours, theirs = ours[:n], theirs[:n]
        seen = np.isfinite(ours).all(axis=(1, 2)) & np.isfinite(theirs).all(axis=(1, 2))
        if not seen.any():
            raise ClipError("no-face", f"{pair.generated.id}: none of {n} frames has a face in both videos")
        centred = self.options.align == "centre"
        face = landmark_distance(ours[seen], theirs[seen], centred=centred)
        mouth = landmark_distance(ours[seen, MOUTH], theirs[seen, MOUTH], centred=centred)
        frames = int(seen.sum())
        return LMDStats(float(mouth.sum()), float(face.sum()), frames, n - frames)

    def summands(self, stats: LMDStats) -> tuple[float, ...]:
        return stats.mouth, stats.face, stats.frames

    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        mouth, face, frames = sums
        return {"lmd": mouth / frames, "f_lmd": face / frames}

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return self._landmarks.weights_used()

    def provenance(self) -> Mapping[str, str]:
        return self._landmarks.provenance()

    @cached_property
    def _landmarks(self) -> LandmarkSource:
        return FaceAlignmentSource(self.runtime.device) if self._given is None else self._given


def landmark_distance(a: Landmarks, b: Landmarks, *, centred: bool = True) -> NDArray[np.float64]:
    """(T,) mean Euclidean distance of the points of two faces, (T, P, 2) each.

    centred: after moving the mean of the P points to the origin, in both.

    >>> points = np.array([[[0, 0], [4, 0]]], np.float32)
    >>> landmark_distance(points, points + 3).item(), landmark_distance(points, points * 2).item()
    (0.0, 2.0)
    """
    wide, other = a.astype(np.float64), b.astype(np.float64)
    if centred:
        wide = wide - wide.mean(axis=1, keepdims=True)
        other = other - other.mean(axis=1, keepdims=True)
    distances: NDArray[np.float64] = np.linalg.norm(wide - other, axis=2).mean(axis=1)
    return distances
