"""The `wav2lip` plugin: clips in, frames with redrawn mouths out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Boxes, Clip, Frames, Method, WeightsUsed
from syncdiff_bench.errors import ClipError, NoBoxes, UsageError
from syncdiff_methods.wav2lip.config import BoxConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from syncdiff_methods.wav2lip.generator import Wav2Lip as Generator
    from syncdiff_methods.wav2lip.inference import FaceClip

Reference = Literal["first", "same"]
Script = Literal["inference", "filelist"]
PADS: dict[Script, tuple[int, int, int, int]] = {"inference": (0, 10, 0, 0), "filelist": (0, 0, 0, 0)}


@dataclass(frozen=True)
class Wav2LipOptions:
    """checkpoint: `wav2lip` or `wav2lip-gan` (published; see `weights list`), `pocket` (ships, for pocket's drawn
    faces, and what a run on pocket takes that is given none), a .pth file, or the folder of a training.
    reference: the frame that shows the network whose mouth to draw: `first`, the given first frame, as SyncDiff's paper
    says of its comparison; or `same`, the very frame to be generated, as the official scripts do, which shows the true
    mouth to the network wherever a clip is its own reference.
    script: whose face boxes: `inference` (10 pixels added below) or `filelist` (none added); both smooth them.
    pads: pixels added at top, bottom, left, right, instead of the script's. smooth: off is the official `--nosmooth`.
    batch: frames per pass of the network; 8 is fastest on a CPU, give more on a GPU.
    clips: how many are opened at a time.
    """

    checkpoint: str = "wav2lip"
    reference: Reference = "first"
    script: Script = "inference"
    pads: tuple[int, int, int, int] | None = None
    smooth: bool = True
    batch: int = 8
    clips: int = 4

    def __post_init__(self) -> None:
        for name in ("batch", "clips"):
            if getattr(self, name) < 1:
                raise UsageError(f"wav2lip: {name} is {getattr(self, name)}; give 1 or more")

    @property
    def boxes(self) -> BoxConfig:
        return BoxConfig(PADS[self.script] if self.pads is None else self.pads, self.smooth)


class Wav2Lip(Method):
    """Native Wav2Lip; the mouth is pasted back at the clip's own size, with a hard edge as in the official code."""

    name = "wav2lip"
    title = "Wav2Lip"
    trained_against = frozenset({"lse"})  # its loss is a SyncNet's verdict
    incidental = frozenset({"batch", "clips"})
    Options = Wav2LipOptions

    options: Wav2LipOptions

    @property
    def batch_size(self) -> int:
        return self.options.clips

    @cached_property
    def generator(self) -> Generator:
        """Loaded on first use. Raises WeightsError or UsageError."""
        from syncdiff_methods.wav2lip.checkpoint import load_generator
        from syncdiff_methods.wav2lip.inference import for_inference

        return for_inference(load_generator(self.options.checkpoint, self.runtime), self.runtime.device)

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """See `Method.generate`; the seed has no influence."""
        from syncdiff_methods.wav2lip.inference import redraw

        generator, prepared = self.generator, []
        for clip in clips:
            try:
                prepared.append(self._prepare(clip))
            except NoBoxes as error:
                yield clip.id, error
            except ClipError as error:
                yield clip.id, ClipError(error.kind, f"{clip.id}: {error}")
        yield from redraw(
            prepared,
            generator,
            paste_cut_off,
            batch=self.options.batch,
            device=self.runtime.device,
            progress=progress,
        )

    def general_caveats(self) -> tuple[Caveat, ...]:
        """A checkpoint that was trained on other data."""
        from syncdiff_bench.origins import foreign
        from syncdiff_methods.wav2lip.checkpoint import origin

        return foreign(origin(self.options.checkpoint, self.runtime), self.runtime.dataset, f"{self.name} runs a model")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        from syncdiff_methods.wav2lip.checkpoint import weights_used

        return (weights_used(self.options.checkpoint, self.runtime),)

    def _prepare(self, clip: Clip) -> FaceClip:
        import torch

        from syncdiff_methods.wav2lip.faces import cut_faces, face_areas
        from syncdiff_methods.wav2lip.inference import FaceClip
        from syncdiff_methods.wav2lip.mel import mel_windows

        n, height, width = clip.frames.shape[:3]
        windows = torch.from_numpy(mel_windows(clip.audio, n))[:, None]
        areas = face_areas(clip.face_boxes.boxes, (height, width), self.options.boxes)
        faces = cut_faces(clip.frames, areas)
        references = faces if self.options.reference == "same" else np.broadcast_to(faces[:1], faces.shape)
        return FaceClip(clip.id, clip.frames, areas, faces, references, windows)


def paste_cut_off(frame: Frames, picture: NDArray[np.float32], area: Boxes) -> None:
    """Grey levels are cut off to whole numbers before the face is resized, as in the official code."""
    from syncdiff_methods.wav2lip.faces import paste

    paste(frame, (picture * 255).astype(np.uint8), area)
