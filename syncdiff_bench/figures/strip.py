"""A figure as in the paper (Figures 2 and 3): frames of one clip, one row per method, what is spoken above them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import FPS, Clip, Frames, Spoken
from syncdiff_bench.errors import UsageError
from syncdiff_bench.figures.material import Material

if TYPE_CHECKING:
    from PIL.Image import Image

Area = Literal["frame", "mouth"]

GAP = 4  # white pixels between rows
LABEL_WIDTH = 96
SPOKEN_HEIGHT = 22
WHITE = 255
RESOLUTION = 150  # dots per inch of a PDF


@dataclass(frozen=True, eq=False)
class Row:
    """name: the method. frames: (columns, h, w, 3) uint8 RGB, all of one size within a strip."""

    name: str
    frames: Frames


@dataclass(frozen=True, eq=False)
class Strip:
    """spoken: the word or phone at each column, "" where nothing is known or nothing is said."""

    clip: str
    spoken: tuple[str, ...]
    rows: tuple[Row, ...]


def make_strip(material: Material, clip_id: str, *, columns: int = 10, area: Area = "frame") -> Strip:
    """Pick frames of a clip: in the middle of evenly chosen phones, or evenly in time where none are known.

    area: "frame", or "mouth" (the lower half of the face box).
    Raises UsageError where a run has no video of the clip.
    """
    clips = [(run.identity.method, material.generated(run, clip_id)) for run in material.runs]
    reference = material.reference(clip_id)
    total = min(len(clip.frames) for _, clip in clips)
    chosen, spoken = sampled_frames(reference.spoken if reference else (), total, columns)
    rows = [Row(name, _cut(clip, reference, chosen, area)) for name, clip in clips]
    return Strip(clip_id, spoken, tuple(_of_one_size(rows)))


def sampled_frames(spoken: Sequence[Spoken], total: int, columns: int) -> tuple[list[int], tuple[str, ...]]:
    """Frame numbers and what is spoken there.

    >>> sampled_frames((), 9, 3)
    ([0, 4, 8], ('', '', ''))
    >>> sampled_frames([Spoken("a", 0.0, 0.08), Spoken("b", 0.08, 0.2)], 9, 3)
    ([1, 3], ('a', 'b'))
    """
    within = [one for one in spoken if one.start < total / FPS]
    if not within:
        return [round(i) for i in np.linspace(0, total - 1, columns).tolist()], ("",) * columns
    picked = sorted({round(i) for i in np.linspace(0, len(within) - 1, columns).tolist()})
    middles = [min(total - 1, int((within[i].start + within[i].end) / 2 * FPS)) for i in picked]
    return middles, tuple(within[i].text for i in picked)


def draw_strip(strip: Strip, out: Path) -> None:
    """Write a PNG or, where the name ends in .pdf, a PDF. Raises UsageError where it cannot be written."""
    kind = "PDF" if out.suffix.lower() == ".pdf" else "PNG"
    options = {"resolution": RESOLUTION} if kind == "PDF" else {"optimize": True}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        _picture(strip).save(out, format=kind, **options)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror or error}); choose another --strip") from None


def _cut(clip: Clip, reference: Clip | None, chosen: Sequence[int], area: Area) -> Frames:
    frames = clip.frames[list(chosen)]
    if area == "frame":
        return frames
    boxes = (reference or clip).face_boxes.boxes
    return _mouths(frames, boxes[[min(i, len(boxes) - 1) for i in chosen]])


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


def _of_one_size(rows: Sequence[Row]) -> list[Row]:
    """Rows resized to the first, where a method's frames have another size."""
    from PIL import Image

    h, w = rows[0].frames.shape[1:3]
    same = []
    for row in rows:
        frames = row.frames
        if frames.shape[1:3] != (h, w):
            frames = np.stack([np.asarray(Image.fromarray(frame).resize((w, h))) for frame in frames])
        same.append(Row(row.name, frames))
    return same


def _picture(strip: Strip) -> Image:
    from PIL import Image, ImageDraw, ImageFont

    columns, h, w = strip.rows[0].frames.shape[:3]
    top = SPOKEN_HEIGHT if any(strip.spoken) else 0
    picture = Image.new("RGB", (LABEL_WIDTH + columns * w, top + len(strip.rows) * (h + GAP) - GAP), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(size=18)
    for column, text in enumerate(strip.spoken):
        draw.text((LABEL_WIDTH + (column + 0.5) * w, top / 2), text, fill="black", font=font, anchor="mm")
    for index, row in enumerate(strip.rows):
        y = top + index * (h + GAP)
        draw.text((8, y + h / 2), row.name, fill="black", font=font, anchor="lm")
        picture.paste(Image.fromarray(np.concatenate(list(row.frames), axis=1)), (LABEL_WIDTH, y))
    return picture
