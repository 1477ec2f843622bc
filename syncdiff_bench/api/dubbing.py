"""`dub`: one face and one sound to a video."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncdiff_bench.api.loading import Options, path_or_none
from syncdiff_bench.errors import UsageError

if TYPE_CHECKING:
    from syncdiff_bench.dubbing.making import Written
    from syncdiff_bench.dubbing.material import Loop
    from syncdiff_bench.faces.framing import Area


def dub(
    face: str | Path,
    audio: str | Path,
    out: str | Path | None = None,
    *,
    method: str | Sequence[str] = "wav2lip",
    options: Options | None = None,
    compare: bool = False,
    loop: Loop = "pingpong",
    area: Area = "mouth",
    boxes: str = "auto",
    seed: int = 0,
    device: str = "auto",
) -> Written:
    """Make a face say what is heard, as `syncdiff-bench dub` does; returns the file and what was done to it.

    face: a photo or a video of any size, rate and orientation. audio: anything with sound.
    out: an mp4; FACE-AUDIO.mp4 in the working folder by default.
    method: one or several, which then stand side by side. options: of the method; of several by name, as
        {"wav2lip": {"checkpoint": "pocket"}}.
    compare: FACE itself in a first column.
    loop: what a video does that is shorter than the sound: "pingpong", "hold" or "cut".
    area: what is pasted back: "mouth" (the lower half of the face), "face", or "crop" (the square around it).
    boxes: "auto", a detector's name, "centred", a .npy with a row per picture (or its folder), or "x1,y1,x2,y2".

    Raises UsageError for what cannot be, WeightsError where a method lacks weights, ClipError for files that cannot be
    read or in which there is no face or no sound.
    """
    from syncdiff_bench.dubbing.dub import Request, make, make_ready

    names = (method,) if isinstance(method, str) else tuple(method)
    given: Mapping[str, Any] = options or {}
    if isinstance(method, str):
        given = {method: given}
    elif not all(name in names and isinstance(values, Mapping) for name, values in given.items()):
        raise UsageError("options of several methods are given by name: {method: {option: value}}")
    request = Request(
        Path(face), Path(audio), names, given, path_or_none(out), compare, loop, area, boxes, seed, device
    )
    return make(make_ready(request))
