"""Which part of a frame the image metrics look at, cut out of both videos in the same place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from weakref import WeakKeyDictionary

import numpy as np

from syncdiff_bench.contracts import Boxes, Clip, Frames, Pair
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.faces.boxes import refuse_empty
from syncdiff_bench.media.bilinear import cut_faces

# `own-`: each side is cut by boxes of its own, for videos of another crop than their references
Region = Literal["face96", "mouth", "full", "own-face96", "own-mouth"]
OWN = ("own-face96", "own-mouth")
MOUTH_TOP = 48  # SyncDiff blanks the lower half of the face box

# several metrics look at the same pair one after the other; the faces go when the pair goes
_faces_of: WeakKeyDictionary[Pair, dict[bool, tuple[Frames, Frames]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class FrameSum:
    """One clip. total: sum of a value over `frames` frames."""

    total: float
    frames: int


def check_same_size(pair: Pair) -> None:
    """Raise ClipError `size` where the generated video and its reference differ in resolution."""
    assert pair.reference is not None
    ours, theirs = (f"{frames.shape[2]}x{frames.shape[1]}" for frames in (pair.generated.frames, pair.reference.frames))
    if ours != theirs:
        raise ClipError(
            "size", f"{pair.generated.id}: generated at {ours}, its reference is {theirs}; scale it to the reference"
        )


def cut_pair(pair: Pair, region: Region) -> tuple[Frames, Frames]:
    """The region of the generated and of the reference frames, each (n, h, w, 3) uint8 RGB.

    n is the length of the shorter video. `face96`: the reference's face box, both videos cut with the SAME
    box and resized to 96 x 96 (docs/spec/image-quality.md#crops); `mouth`: rows 48..95 of that; `full`: the frame as
    it is; `own-...`: each cut with its own box.
    Raises ClipError `size` where the videos differ in resolution, `boxes` where a box holds no pixel, NoBoxes where
    there is no face.
    """
    if pair.reference is None:
        raise NotApplicable("image quality is measured against a reference, and there is none")
    generated, reference = pair.generated.frames, pair.reference.frames
    own = region in OWN
    if not own:
        check_same_size(pair)
    n = min(len(generated), len(reference))
    if region == "full":
        return generated[:n], reference[:n]
    boxes = _boxes(pair.reference, n)  # every metric asks for them, which is recorded, and cuts once
    own_boxes = _own_boxes(pair, n) if own else boxes
    known = _faces_of.setdefault(pair, {})
    if own not in known:
        known[own] = cut_faces(generated[:n], own_boxes), cut_faces(reference[:n], boxes)
        for faces in known[own]:
            faces.flags.writeable = False  # shared by the metrics of a pair
    top = MOUTH_TOP if region in ("mouth", "own-mouth") else 0
    ours, theirs = known[own]
    return ours[:, top:], theirs[:, top:]


def _own_boxes(pair: Pair, n: int) -> Boxes:
    """Those of the generated video. Raises NotApplicable where another detector found them than the reference's."""
    assert pair.reference is not None
    ours, theirs = pair.generated.face_boxes.source, pair.reference.face_boxes.source
    if ours != theirs:
        raise NotApplicable(
            f"the boxes of the videos are {ours}, those of the references {theirs}: of another cut; give one detector "
            "for both (--boxes dlib-hog)"
        )
    return _boxes(pair.generated, n)


def _boxes(clip: Clip, n: int) -> Boxes:
    """The first n boxes, negative sides set to 0 as in TalkLip's detector; numpy counts them from the end."""
    boxes = clip.face_boxes.boxes[:n]
    refuse_empty(boxes, clip.frames.shape[1:3], clip.id)
    return np.maximum(boxes, 0)
