"""Face boxes or landmarks of a split, detected ahead of their use; what is in the cache is not detected again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from syncdiff_bench.clips import clip_landmarks, known_landmarks
from syncdiff_bench.contracts import Clip, Dataset
from syncdiff_bench.errors import BenchError, ClipError
from syncdiff_bench.faces import cache
from syncdiff_bench.faces.detection import keep_boxes, known_boxes, single_face
from syncdiff_bench.faces.detectors import FaceDetector
from syncdiff_bench.faces.landmarks import LandmarkSource

Outcome = Literal["detected", "known", "given", "failed"]


@dataclass(frozen=True)
class Prepared:
    """What became of one clip.

    outcome: `detected` now, `known` from an earlier call, `given` with the dataset as `.npy`, or `failed`.
    frames: of the clip.
    faceless: of these, without a face.
    problem: why it failed, else "".
    """

    clip: str
    outcome: Outcome
    frames: int = 0
    faceless: int = 0
    problem: str = ""


def prepare_clip(dataset: Dataset, clip_id: str, detector: FaceDetector) -> Prepared:
    """Detect the faces of a clip, unless they are known or given.

    A clip that fails is told, so that the others can go on. Raises UsageError where nothing can go on.
    """
    return _guarded(dataset, clip_id, lambda clip: _boxes(clip, detector))


def prepare_landmarks(dataset: Dataset, clip_id: str, source: LandmarkSource) -> Prepared:
    """The same for the 68 landmarks of a clip."""
    return _guarded(dataset, clip_id, lambda clip: _landmarks(clip, source))


def _guarded(dataset: Dataset, clip_id: str, prepare: Callable[[Clip], Prepared]) -> Prepared:
    try:
        return prepare(replace(dataset.clip(clip_id)))
    except ClipError as error:
        return Prepared(clip_id, "failed", problem=str(error))
    except BenchError:
        raise
    # Whatever a detector makes of one clip's frames is that clip's failure.
    except Exception as error:
        return Prepared(clip_id, "failed", problem=f"{clip_id}: {type(error).__name__}: {error}")


def _boxes(clip: Clip, detector: FaceDetector) -> Prepared:
    if clip.boxes_path is not None and clip.boxes_path.suffix == ".npy":
        return Prepared(clip.id, "given")
    if clip.path is None:
        raise ClipError("no-file", f"{clip.id}: lies in memory; faces are prepared for clips in files")
    path = cache.entry("faces", clip.content, detector.identity)
    known = known_boxes(path)
    if known is not None:
        return Prepared(clip.id, "known", len(known.boxes), known.faceless)
    found = single_face(clip.id, clip.frames, detector)
    keep_boxes(path, found)
    return Prepared(clip.id, "detected", len(found.boxes), found.faceless)


def _landmarks(clip: Clip, source: LandmarkSource) -> Prepared:
    if clip.landmarks_path is not None:
        return Prepared(clip.id, "given")
    known = known_landmarks(clip, source)
    found = clip_landmarks(clip, source) if known is None else known
    faceless = int((~np.isfinite(found).all(axis=(1, 2))).sum())
    return Prepared(clip.id, "detected" if known is None else "known", len(found), faceless)
