"""A figure as in the paper (Figures 2 and 3): evenly spaced frames of one clip, one row per method."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from syncdiff_bench.contracts import Frames
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.runs.directory import Run

GAP = 4  # white pixels between rows
LABEL_WIDTH = 96
WHITE = 255


def draw_strip(runs: Sequence[Run], clip_id: str | None, out: Path, *, columns: int = 10) -> str:
    """Write a PNG and return the id of the clip it shows.

    clip_id: None takes the first clip that every run has. columns: frames per row, evenly spaced in time.
    Raises UsageError where a run has no video of the clip, or the file cannot be written.
    """
    from PIL import Image

    chosen = clip_id if clip_id is not None else _first_common(runs)
    rows = [_row(_frames(run, chosen), columns) for run in runs]
    width = max(row.shape[1] for row in rows)
    parts: list[Frames] = []
    for run, row in zip(runs, rows, strict=True):
        label = _label(run.identity.method, row.shape[0])
        space = np.full((row.shape[0], width - row.shape[1], 3), WHITE, np.uint8)
        parts += [np.concatenate([label, row, space], axis=1), np.full((GAP, LABEL_WIDTH + width, 3), WHITE, np.uint8)]
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.concatenate(parts[:-1])).save(out, format="PNG", optimize=True)
    except OSError as error:
        raise UsageError(f"{out}: cannot be written ({error.strerror or error}); choose another --strip") from None
    return chosen


def _first_common(runs: Sequence[Run]) -> str:
    for clip_id in runs[0].identity.clips:
        if all((run.path / "videos" / f"{clip_id}.mp4").is_file() for run in runs):
            return clip_id
    raise UsageError("these runs have no clip in common; give runs of the same dataset")


def _frames(run: Run, clip_id: str) -> Frames:
    from syncdiff_bench.media.reading import read_media

    path = run.path / "videos" / f"{clip_id}.mp4"
    if clip_id not in run.identity.clips or not path.is_file():
        raise UsageError(f"{run.path} has no video of clip {clip_id!r}; choose one of its clips with --clip")
    try:
        return read_media(path).frames
    except ClipError as error:
        raise UsageError(str(error)) from None


def _row(frames: Frames, columns: int) -> Frames:
    chosen = np.linspace(0, len(frames) - 1, columns).round().astype(int)
    return np.concatenate(list(frames[chosen]), axis=1)


def _label(text: str, height: int) -> Frames:
    """(height, LABEL_WIDTH, 3): the method's name, black on white, centred vertically."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (LABEL_WIDTH, height), "white")
    font = ImageFont.load_default(size=18)
    ImageDraw.Draw(image).text((8, height / 2), text, fill="black", font=font, anchor="lm")
    return np.asarray(image)
