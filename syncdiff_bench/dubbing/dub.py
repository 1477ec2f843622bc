"""`dub` as a whole: what is wanted, looked at first and then made."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from syncdiff_bench.contracts import Method
from syncdiff_bench.dubbing.following import clock, follow
from syncdiff_bench.dubbing.making import Written, make_video
from syncdiff_bench.dubbing.material import Loop, Material, open_material
from syncdiff_bench.errors import NoBoxes, UsageError
from syncdiff_bench.estimates.machine import available_bytes
from syncdiff_bench.estimates.workload import duration, in_words
from syncdiff_bench.faces.detection import AUTO
from syncdiff_bench.faces.framing import Area, relative_size
from syncdiff_bench.media.timing import rate_label
from syncdiff_bench.progress import Progress
from syncdiff_bench.reproduction.models import with_filmed_model
from syncdiff_bench.runs.plan import load_methods, make_runtime

SUFFIX = ".mp4"


@dataclass(frozen=True)
class Request:
    """What is asked for.

    methods: names, each once. options: of each by name.
    out: the file; None for FACE-AUDIO.mp4 in the working folder.
    compare: FACE itself stands in the first column.
    boxes: as of `following.follow`. loop: as of `material.open_material`. area: as of `framing.feather`.
    """

    face: Path
    audio: Path
    methods: tuple[str, ...] = ("wav2lip",)
    options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    out: Path | None = None
    compare: bool = False
    loop: Loop = "pingpong"
    area: Area = "mouth"
    boxes: str = AUTO
    seed: int = 0
    device: str = "auto"

    @property
    def file(self) -> Path:
        """Where the video goes. Raises UsageError for a name that is no mp4's, and for FACE or AUDIO itself."""
        out = self.out or Path(f"{self.face.stem}-{self.audio.stem}{SUFFIX}")
        if out.suffix.lower() != SUFFIX:
            raise UsageError(f"--out {out}: an mp4 is written; give a name that ends in {SUFFIX}")
        if out.resolve() in (self.face.resolve(), self.audio.resolve()):
            raise UsageError(f"--out {out}: is what is read; choose another --out")
        return out


@dataclass(frozen=True, eq=False)
class Ready:
    """A request whose methods are loaded and whose files were looked at."""

    request: Request
    methods: tuple[Method, ...]
    material: Material


def make_ready(request: Request) -> Ready:
    """Raises UsageError for what cannot be, WeightsError where a method lacks its weights, ClipError for the files.

    Which weights a method takes does not depend on the face: those of filmed faces unless others are named.
    """
    file = request.file
    for path in (request.face, request.audio):
        if not path.is_file():
            raise UsageError(f"{path}: {'is a folder' if path.is_dir() else 'does not exist'}; give a file")
    if not request.methods:
        raise UsageError("name a --method")
    methods = load_methods(request.methods, request.options, make_runtime(request.device), with_filmed_model)
    for method in methods:
        method.weights_used()  # told before a face is looked for
    return Ready(replace(request, out=file), methods, open_material(request.face, request.audio, request.loop))


def make(ready: Ready, progress: Progress | None = None) -> Written:
    """Follow the face, generate, write; `progress` is told what the files are found to be. Raises as its parts."""
    progress = progress or Progress()
    request, material = ready.request, ready.material
    for note in material.notes:
        progress.note(note)
    with progress.stage("follow the face", material.used, unit="frames"):
        track = follow(material.pictures, material.used, request.boxes, _device(ready), progress.done)
    for note in track.notes:
        progress.note(note)
    written = make_video(
        material,
        track,
        ready.methods,
        request.file,
        area=request.area,
        compare=request.compare,
        seed=request.seed,
        progress=progress,
    )
    for note in written.notes:
        progress.note(note)
    return written


def described(ready: Ready) -> Iterator[str]:
    """Lines for --dry-run: what was found and what it would cost; three pictures are looked at, nothing is made."""
    request, material = ready.request, ready.material
    pictures = material.pictures
    kind = "photo" if pictures.photo is not None else f"{rate_label(pictures.rate)} fps, {clock(pictures.seconds)}"
    yield f"face     {request.face}: {pictures.width}x{pictures.height}, {kind}"
    for note in material.notes:
        yield f"         {note}"
    found: list[str] = []
    started = time.perf_counter()
    looked = sorted({0, material.used // 2, material.used - 1})
    for index in looked:
        one = replace(pictures, photo=next(pictures.in_order([index])), count=1)
        when = clock(float(index / pictures.rate))
        try:
            track = follow(one, 1, request.boxes, _device(ready))
        except NoBoxes:
            if len(looked) == 1:
                raise
            yield f"         {when}: no face"
            continue
        box = " ".join(str(round(side)) for side in track.boxes[0])
        size = relative_size(track.boxes, (pictures.height, pictures.width), "s3fd")
        yield f"         {when}: face at {box} ({track.source}), {size:.2f} of one in LRS"
        found += track.notes
    for note in dict.fromkeys(found):
        yield f"         {note}"
    each = (time.perf_counter() - started) / len(looked)
    yield f"audio    {request.audio}: {clock(len(material.audio) / 16000)}"
    fps = rate_label(pictures.rate)
    yield f"out      {request.file}: {len(material.order)} pictures at {fps} fps, {clock(material.seconds)}"
    follows = each * min(material.used, material.frames)
    yield f"         following the face about {duration(follows)}"
    for method in ready.methods:
        yield f"method   {method.name}: {material.frames} frames on {_device(ready)}"
        workload = method.workload([material.frames])
        if workload is None:
            yield "         no estimate of this method"
            continue
        for line in in_words(workload, material.frames, _device(ready), available_bytes(_device(ready))):
            yield f"         {line}"


def _device(ready: Ready) -> str:
    return ready.methods[0].runtime.device
