"""What a dub is made of: the pictures of FACE and the sound of AUDIO, and which of them go together."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Audio
from syncdiff_bench.dubbing.pictures import Pictures, open_pictures
from syncdiff_bench.media.sound import heard_by_methods

Loop = Literal["pingpong", "hold", "cut"]
Indices = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Material:
    """audio: (N,) int16, mono 16 kHz, as methods hear it. sound: the file that is heard.

    order: (n,) which picture of FACE each picture of the video shows.
    notes: lines for people.
    """

    pictures: Pictures
    sound: Path
    audio: Audio
    order: Indices
    notes: tuple[str, ...]

    @property
    def seconds(self) -> float:
        return float(len(self.order) / self.pictures.rate)

    @property
    def used(self) -> int:
        """How many pictures of FACE are shown, from the first on."""
        return int(self.order.max()) + 1

    @property
    def frames(self) -> int:
        """How many frames a method makes, at 25 a second."""
        return max(1, math.ceil(len(self.order) * FPS / self.pictures.rate))

    @property
    def heard(self) -> Audio:
        """(N,) int16: what goes with so many frames."""
        return self.audio[: self.frames * SAMPLES_PER_FRAME]

    @property
    def picture_of_frame(self) -> Indices:
        """(frames,) the picture of FACE that a method sees as each frame: the nearest in time."""
        seen: Indices = self.order[_nearest(self.frames, float(self.pictures.rate / FPS), len(self.order))]
        return seen

    @property
    def frame_of_picture(self) -> Indices:
        """(n,) the generated frame that each picture of the video shows: the nearest in time."""
        return _nearest(len(self.order), float(FPS / self.pictures.rate), self.frames)


def _nearest(count: int, ratio: float, limit: int) -> Indices:
    at: Indices = np.floor(np.arange(count) * ratio + 0.5 + 1e-9).astype(np.int64)
    return np.minimum(at, limit - 1).astype(np.int64)


def open_material(face: Path, audio: Path, loop: Loop) -> Material:
    """Look at FACE and listen to AUDIO.

    loop: what a video does that is shorter than the sound: it goes forth and back, holds its last picture, or ends,
        and the sound with it. A longer one ends with the sound.
    Raises ClipError as `open_pictures` and `heard_by_methods`.
    """
    pictures, samples = open_pictures(face), heard_by_methods(audio)
    seconds = len(samples) / SAMPLE_RATE
    wanted = max(1, math.ceil(round(seconds * float(pictures.rate), 6)))
    notes = pictures.notes
    if pictures.photo is None and pictures.count < wanted:
        told = {"pingpong": "it goes forth and back", "hold": "its last picture is held", "cut": "the sound is cut"}
        notes += (f"{face.name} lasts {pictures.seconds:.2f} s, the sound {seconds:.2f} s: {told[loop]}",)
    elif pictures.photo is None and pictures.count > wanted:
        notes += (f"{face.name} lasts {pictures.seconds:.2f} s, the sound {seconds:.2f} s: cut where that ends",)
    return Material(pictures, audio, samples, order_of(pictures.count, wanted, loop, pictures.photo is not None), notes)


def order_of(count: int, wanted: int, loop: Loop, still: bool = False) -> Indices:
    """Which of `count` pictures are shown in turn, for a sound of `wanted`. still: of a photo, which never ends.

    >>> order_of(3, 8, "pingpong").tolist(), order_of(3, 5, "hold").tolist(), order_of(3, 5, "cut").tolist()
    ([0, 1, 2, 1, 0, 1, 2, 1], [0, 1, 2, 2, 2], [0, 1, 2])
    """
    shown: Indices = np.arange(min(wanted, count) if loop == "cut" and not still else wanted)
    if loop == "pingpong" and count > 1:
        period = 2 * (count - 1)
        back = shown % period
        shown = np.minimum(back, period - back)
    return np.minimum(shown, count - 1).astype(np.int64)
