"""The `wav2lip` plugin: clips in, frames with redrawn mouths out."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Boxes, Clip, Frames, Method, WeightsUsed, Workload
from syncdiff_bench.errors import ClipError, NoBoxes, UsageError
from syncdiff_bench.media.bilinear import cut_faces
from syncdiff_bench.origins import of_model
from syncdiff_methods.wav2lip.faces import BoxConfig, face_areas, paste
from syncdiff_methods.wav2lip.mel import mel_windows

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from syncdiff_methods.wav2lip.generator import Wav2Lip as Generator
    from syncdiff_methods.wav2lip.inference import FaceClip

Reference = Literal["first", "same"]
Script = Literal["inference", "filelist"]
Progress: TypeAlias = Callable[[int], None]
PADS: dict[Script, tuple[int, int, int, int]] = {"inference": (0, 10, 0, 0), "filelist": (0, 0, 0, 0)}


def require_one_or_more(method: str, **counts: int) -> None:
    """Raises UsageError for the first option that is below 1."""
    for name, value in counts.items():
        if value < 1:
            raise UsageError(f"{method}: {name} is {value}; give 1 or more")


class FaceMethod(Method):
    """Redraws the face of every frame and pastes it back, `clips` clips at a time: Wav2Lip and TalkLip."""

    incidental = frozenset({"batch", "clips"})
    options: Any

    @property
    def batch_size(self) -> int:
        return int(self.options.clips)

    @abstractmethod
    def drawing(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The network, loaded: (N, ...) audio and (N, 6, 96, 96) faces -> (N, 3, 96, 96) in 0..1, BGR.

        Raises WeightsError or UsageError.
        """

    @abstractmethod
    def audio_of(self, clip: Clip) -> Tensor:
        """(T, ...) float32, what drives each frame."""

    @abstractmethod
    def boxes_of(self, clip: Clip) -> Boxes:
        """(T, 4) int32 inside the frame, what is cut out and redrawn."""

    @abstractmethod
    def paste(self, frame: Frames, face: NDArray[np.float32], box: Boxes) -> None:
        """Put a (96, 96, 3) face, BGR in 0..1, over its box, in place."""

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Progress = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """See `Method.generate`; the seed has no influence."""
        from syncdiff_methods.wav2lip.inference import redraw

        network, prepared = self.drawing(), []
        for clip in clips:
            try:
                prepared.append(self._prepare(clip))
            except NoBoxes as error:
                yield clip.id, error
            except ClipError as error:
                yield clip.id, ClipError(error.kind, f"{clip.id}: {error}")
        batch, device = self.options.batch, self.runtime.device
        yield from redraw(prepared, network, self.paste, batch=batch, device=device, progress=progress)

    def _prepare(self, clip: Clip) -> FaceClip:
        from syncdiff_methods.wav2lip.inference import FaceClip

        audio, boxes = self.audio_of(clip), self.boxes_of(clip)
        faces = cut_faces(clip.frames[..., ::-1], boxes)
        references = faces if self.options.reference == "same" else np.broadcast_to(faces[:1], faces.shape)
        return FaceClip(clip.id, clip.frames, boxes, faces, references, audio)


@dataclass(frozen=True)
class Wav2LipOptions:
    """Options of `wav2lip`.

    checkpoint: `wav2lip` or `wav2lip-gan` (published; see `weights list`), `pocket` (ships, for pocket's drawn faces,
        and what a run on pocket takes that is given none), a .pth file, or the folder of a training.
    reference: the frame that shows the network whose mouth to draw: `first`, the given first frame, as SyncDiff's paper
        says of its comparison; or `same`, the very frame to be generated, as the official scripts do, which shows the
        true mouth to the network wherever a clip is its own reference.
    script: whose face boxes: `inference` (10 pixels added below) or `filelist` (none added); both smooth them.
    pads: pixels added at top, bottom, left, right, instead of the script's.
    smooth: off is the official `--nosmooth`.
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
        require_one_or_more("wav2lip", batch=self.batch, clips=self.clips)

    @property
    def boxes(self) -> BoxConfig:
        return BoxConfig(PADS[self.script] if self.pads is None else self.pads, self.smooth)


class Wav2Lip(FaceMethod):
    """Native Wav2Lip; the mouth is pasted back at the clip's own size, with a hard edge as in the official code."""

    name = "wav2lip"
    title = "Wav2Lip"
    trained_against = frozenset({"lse"})  # a SyncNet is part of its loss
    Options = Wav2LipOptions

    options: Wav2LipOptions

    @cached_property
    def generator(self) -> Generator:
        """Loaded on first use. Raises WeightsError or UsageError."""
        from syncdiff_methods.wav2lip.checkpoint import load_generator
        from syncdiff_methods.wav2lip.inference import for_inference

        return for_inference(load_generator(self.options.checkpoint, self.runtime), self.runtime.device)

    def drawing(self) -> Callable[[Tensor, Tensor], Tensor]:
        return self.generator

    def workload(self, frames: Sequence[int]) -> Workload:
        """See `Method.workload`; loads the network and tries a batch. Memory of a clip is that of its faces, twice, and
        its sound; its own frames, of whatever size, come on top.
        """
        from syncdiff_methods.wav2lip.inference import workload

        options = self.options
        return workload(self.generator, frames, batch=options.batch, clips=options.clips, device=self.runtime.device)

    def audio_of(self, clip: Clip) -> Tensor:
        import torch

        return torch.from_numpy(mel_windows(clip.audio, len(clip.frames)))[:, None]

    def boxes_of(self, clip: Clip) -> Boxes:
        return face_areas(clip.face_boxes.boxes, clip.frames.shape[1:3], self.options.boxes)

    def paste(self, frame: Frames, face: NDArray[np.float32], box: Boxes) -> None:
        """Grey levels are cut off to whole numbers before the face is resized, as in the official code."""
        paste(frame, (face * 255).astype(np.uint8), box)

    def general_caveats(self) -> tuple[Caveat, ...]:
        """A checkpoint that was trained on other data."""
        from syncdiff_methods.wav2lip.checkpoint import origin

        trained = origin(self.options.checkpoint, self.runtime)
        return of_model(trained, self.runtime.dataset, f"{self.name} runs a model")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        from syncdiff_methods.wav2lip.checkpoint import weights_used

        return (weights_used(self.options.checkpoint, self.runtime),)
