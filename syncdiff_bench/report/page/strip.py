"""A figure as in the paper (Figures 2 and 3): frames of one clip, one row per method, what is spoken above them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import FPS, Clip, Frames, Spoken
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.report.page.material import Material
from syncdiff_bench.report.selection import REFERENCE, row_names
from syncdiff_bench.runs.directory import Run

if TYPE_CHECKING:
    from PIL.Image import Image

Area = Literal["frame", "mouth"]

GROUND_TRUTH = "gt"  # the method that shows the reference itself
# In pixels of the frames.
GAP = 4  # between rows
MARGIN = 8  # on both sides of a row's name
FONT_SIZE = 18
SPOKEN_HEIGHT = 22
PRINTED = 2  # dots of a PDF per pixel of a frame, each way
RESOLUTION = 300  # dots per inch of a PDF


@dataclass(frozen=True, eq=False)
class Strip:
    """spoken: the word or phone at each column, "" where nothing is known or nothing is said.

    rows: name (of `row_names`, or REFERENCE) -> (columns, h, w, 3) uint8 RGB, all of one size.
    lacking: why the reference could not be read, "" where it could.
    """

    clip: str
    spoken: tuple[str, ...]
    rows: Mapping[str, Frames]
    lacking: str = ""


def make_strip(material: Material, clip_id: str, *, columns: int = 10, area: Area = "frame") -> Strip:
    """The reference and every run of the material, as `strip_of` shows them.

    Raises UsageError where a run has no readable video of the clip, or a mouth is wanted and there is no face.
    """
    clips, absent = material.shown(clip_id, row_names(material.runs))
    for why in absent.values():
        raise UsageError(f"{why}; choose another clip with --clip")
    reference, lacking = material.reference_or_reason(clip_id)
    shown = reference_row(reference, material.runs) | clips
    try:
        return replace(strip_of(clip_id, shown, reference, columns=columns, area=area), lacking=lacking)
    except ClipError as error:
        raise UsageError(f"{error}; show the whole --area frame") from None


def reference_row(reference: Clip | None, runs: Sequence[Run]) -> dict[str, Clip]:
    """REFERENCE -> the clip; nothing where a run is ground truth, or where the clip's audio is another one's."""
    shown = any(run.identity.method == GROUND_TRUTH for run in runs)
    if reference is None or reference.audio_from is not None or shown:
        return {}
    return {REFERENCE: reference}


def strip_of(
    clip_id: str, shown: Mapping[str, Clip], reference: Clip | None, *, columns: int = 10, area: Area = "frame"
) -> Strip:
    """Pick frames of a clip: in the middle of evenly chosen phones, or evenly in time where none are known.

    shown: name -> clip, top row first, at least one; all are brought to the size of the reference (else of the first).
    reference: whose times and face boxes are used. area: "frame", or "mouth" (the lower half of the face box).
    """
    model = reference or next(iter(shown.values()))
    total = min(len(clip.frames) for clip in shown.values())
    chosen, spoken = sampled_frames(model.spoken, total, columns)
    rows = {}
    for name, clip in shown.items():
        frames = _resized(clip.frames[chosen], *model.frames.shape[1:3])
        if area == "mouth":
            boxes = model.face_boxes.boxes
            frames = _mouths(frames, boxes[[min(i, len(boxes) - 1) for i in chosen]])
        rows[name] = frames
    return Strip(clip_id, spoken, rows)


def sampled_frames(spoken: Sequence[Spoken], total: int, columns: int) -> tuple[list[int], tuple[str, ...]]:
    """Frame numbers and what is spoken there.

    >>> sampled_frames((), 9, 3)
    ([0, 4, 8], ('', '', ''))
    >>> sampled_frames([Spoken("a", 0.0, 0.08), Spoken("b", 0.08, 0.2)], 9, 3)
    ([1, 3], ('a', 'b'))
    >>> sampled_frames([Spoken("'eI", 0.0, 0.08, "EY")], 9, 3)
    ([1], ('EY',))
    """
    within = [one for one in spoken if one.start < total / FPS]
    if not within:
        return [round(i) for i in np.linspace(0, total - 1, columns).tolist()], ("",) * columns
    picked = sorted({round(i) for i in np.linspace(0, len(within) - 1, columns).tolist()})
    middles = [min(total - 1, int((within[i].start + within[i].end) / 2 * FPS)) for i in picked]
    return middles, tuple(within[i].label or within[i].text for i in picked)


def draw_strip(strip: Strip, out: Path) -> None:
    """Write a PNG, pixel by pixel, or a PDF: one image of 300 dots per inch, text drawn at that resolution.

    150 pixels of a frame take an inch in the PDF; no frame is smoothed, and the text is no text to select.
    Raises UsageError for another suffix, and where the file cannot be written.
    """
    options: Mapping[str, Any]
    match out.suffix.lower():
        case ".png":
            kind, dots, options = "PNG", 1, {"optimize": True}
        case ".pdf":
            kind, dots, options = "PDF", PRINTED, {"resolution": RESOLUTION, "quality": 95, "subsampling": 0}
        case _:
            raise UsageError(f"--strip {out}: a figure is a .png or a .pdf; give a name that ends so")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _drawn(strip, dots).save(out, format=kind, **options)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror or error}); choose another --strip") from None


def _mouths(frames: Frames, boxes: NDArray[np.int32]) -> Frames:
    """Lower halves of the boxes, all as large as the median one, moved inside the frame where they stick out."""
    height, width = frames.shape[1:3]
    w = min(width, int(np.median(boxes[:, 2] - boxes[:, 0])))
    h = min(height, int(np.median(boxes[:, 3] - boxes[:, 1])) // 2)
    cut = []
    for frame, (x1, y1, x2, y2) in zip(frames, boxes, strict=True):
        left = int(np.clip((x1 + x2 - w) // 2, 0, width - w))
        top = int(np.clip((y1 + y2) // 2, 0, height - h))
        cut.append(frame[top : top + h, left : left + w])
    return np.stack(cut)


def _resized(frames: Frames, height: int, width: int) -> Frames:
    from PIL import Image

    if frames.shape[1:3] == (height, width):
        return frames
    return np.stack([np.asarray(Image.fromarray(frame).resize((width, height))) for frame in frames])


def _drawn(strip: Strip, dots: int = 1) -> Image:
    """dots: of the image per pixel of a frame, each way."""
    from PIL import Image, ImageDraw, ImageFont

    font = ImageFont.load_default(size=FONT_SIZE * dots)
    first = next(iter(strip.rows.values()))
    columns, h, w = (side * scale for side, scale in zip(first.shape[:3], (1, dots, dots), strict=True))
    left = 2 * MARGIN * dots + math.ceil(max(font.getlength(name) for name in strip.rows))
    top = SPOKEN_HEIGHT * dots if any(strip.spoken) else 0
    pitch = h + GAP * dots
    picture = Image.new("RGB", (left + columns * w, top + len(strip.rows) * pitch - GAP * dots), "white")
    draw = ImageDraw.Draw(picture)
    for column, text in enumerate(strip.spoken):
        draw.text((left + (column + 0.5) * w, top / 2), text, fill="black", font=font, anchor="mm")
    for index, (name, frames) in enumerate(strip.rows.items()):
        y = top + index * pitch
        draw.text((MARGIN * dots, y + h / 2), name, fill="black", font=font, anchor="lm")
        drawn = Image.fromarray(np.concatenate(list(frames), axis=1))
        picture.paste(drawn.resize((columns * w, h), Image.Resampling.NEAREST), (left, y))
    return picture
