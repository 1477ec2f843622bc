"""From material and methods to the video: crops of the face, generated anew, pasted back into the pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Frames, Media
from syncdiff_bench.clips import Clip
from syncdiff_bench.contracts import Method
from syncdiff_bench.dubbing.columns import Columns
from syncdiff_bench.dubbing.following import Track
from syncdiff_bench.dubbing.material import Material
from syncdiff_bench.errors import ClipError
from syncdiff_bench.faces.boxes import GIVEN
from syncdiff_bench.faces.framing import Area, cut, feather, paste
from syncdiff_bench.faults import blamed
from syncdiff_bench.media.watchable import SoundOf, watchable
from syncdiff_bench.progress import Progress
from syncdiff_bench.runs.generating import frames_problem

SOURCE = "source"  # the column of FACE itself
FILE = "crops.rgb"


@dataclass(frozen=True)
class Written:
    """The file. width, height: pixels. seconds: of it. notes: lines for people."""

    path: Path
    width: int
    height: int
    seconds: float
    notes: tuple[str, ...]


def make_video(
    material: Material,
    track: Track,
    methods: Sequence[Method],
    out: Path,
    *,
    area: Area = "mouth",
    compare: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> Written:
    """Write the video; several methods, and with `compare` FACE itself, stand side by side.

    Raises ClipError where a method cannot generate the clip, UsageError for the fault of one and where the file cannot
    be written.
    """
    progress = progress or Progress()
    with tempfile.TemporaryDirectory(prefix="syncdiff-bench-dub-", ignore_cleanup_errors=True) as folder:
        clip = face_clip(material, track, Path(folder), progress)
        made, notes = [], []
        for method in methods:
            frames, told = _generated(method, clip, seed, progress)
            made.append(frames)
            notes += told
        with progress.stage(f"write {out.name}", len(material.order), unit="frames"):
            width, height, odd = _write(material, track, methods, made, out, area, compare, progress.done)
        return Written(out, width, height, material.seconds, (*notes, *odd))


def face_clip(material: Material, track: Track, folder: Path, progress: Progress) -> Clip:
    """The clip that methods get: crops of the face at 25 fps, in a file that is mapped, and the sound at 16 kHz."""
    pictures, wanted = material.pictures, material.picture_of_frame
    boxes = folder / "boxes.npy"
    np.save(boxes, track.boxes_in_crops[wanted])
    shape = (len(wanted), track.side, track.side, 3)
    if pictures.photo is not None:
        frames: Frames = np.broadcast_to(cut(pictures.photo, track.squares[0], track.side), shape)
    else:
        frames = np.memmap(folder / FILE, np.uint8, "w+", shape=shape)
        with progress.stage("cut out the face", material.used, unit="frames"):
            for index, picture in zip(range(material.used), pictures.forward(), strict=False):
                shown = np.flatnonzero(wanted == index)
                if len(shown):
                    frames[shown] = cut(picture, track.squares[index], track.side)
                progress.done()
    media = Media(frames, material.heard)
    return Clip(pictures.path.stem, "dub", boxes=GIVEN, boxes_path=boxes, preloaded=media)


def _generated(method: Method, clip: Clip, seed: int, progress: Progress) -> tuple[Frames, list[str]]:
    """(T, side, side, 3) uint8, and what is to be said of it."""
    count = len(clip.frames)
    with progress.stage(f"generate {method.name}", count, unit="frames"), blamed(f"method {method.name}"):
        made = dict(method.generate([clip], seed=seed, progress=progress.done)).get(clip.id)
        caveats = (*method.general_caveats(), *method.caveats(clip.id))
    if isinstance(made, ClipError):
        raise ClipError(made.kind, f"{method.name}: {made}")
    problem = frames_problem(clip, made, shorter=True)
    if problem or made is None:
        raise ClipError("wrong-output", f"method {method.name} made {problem}")
    return made, [f"{method.name}: {caveat.sentence}" for caveat in caveats]


def _write(
    material: Material,
    track: Track,
    methods: Sequence[Method],
    made: Sequence[Frames],
    out: Path,
    area: Area,
    compare: bool,
    told: Callable[[int], None],
) -> tuple[int, int, tuple[str, ...]]:
    """Width and height of the file, and what is to be said of them."""
    pictures, notes = material.pictures, []
    names = [*([SOURCE] if compare else []), *(method.title or method.name for method in methods)]
    columns = Columns(names, pictures.width, pictures.height) if len(names) > 1 else None
    width, height = (columns.width, columns.height) if columns else (pictures.width, pictures.height)
    if columns is not None and columns.column != columns.given:
        notes.append(f"columns reduced to {columns.column[0]}x{columns.column[1]}, {width} pixels wide together")
    sound = SoundOf(material.sound, 0.0, material.seconds)
    with watchable(out, width, height, pictures.rate, sound, pixel_aspect=pictures.pixel_aspect) as video:
        if (video.width, video.height) != (width, height):
            notes.append(f"{width}x{height} has an odd side, which H.264 lacks: its last row or column is repeated")
        for shown in _pasted(material, track, made, area, compare):
            video.write(columns.drawn(shown) if columns else shown[0])
            told(1)
        return video.width, video.height, tuple(notes)


def _pasted(
    material: Material, track: Track, made: Sequence[Frames], area: Area, compare: bool
) -> Iterator[list[Frames]]:
    """Of each picture of the video its columns."""
    boxes, frames = track.boxes_in_crops, material.frame_of_picture
    mask: tuple[bytes, NDArray[np.float32]] = (b"", np.zeros((0, 0), np.float32))
    for picture, index, frame in zip(
        material.pictures.in_order(material.order.tolist()), material.order, frames, strict=True
    ):
        key = boxes[index].tobytes()
        if mask[0] != key:
            mask = key, feather(boxes[index], track.side, area)
        shown = [picture] if compare else []
        for generated in made:
            pasted = picture.copy(order="C")
            if track.seen[index]:
                paste(pasted, generated[min(frame, len(generated) - 1)], track.squares[index], mask[1])
            shown.append(pasted)
        yield shown
