"""The `talklip` plugin: clips in, frames with redrawn mouths out, as the official `inf_test.py` makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Boxes, Clip, Frames, Method, WeightsUsed
from syncdiff_bench.errors import ClipError, NoBoxes, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from syncdiff_methods.talklip.network import TalkLip as Network
    from syncdiff_methods.wav2lip.inference import FaceClip

Reference = Literal["first", "same"]


@dataclass(frozen=True)
class TalkLipOptions:
    """checkpoint: `talklip` (published; see `weights list`) or a file.
    reference: the frame that shows the network whose mouth to draw: `first`, as in the official `inf_test.py`, or
    `same`, the very frame to be generated, as in its `inf_demo.py`, which shows the true mouth to the network wherever
    a clip is its own reference.
    batch: frames per pass of the face network; 8 is fastest on a CPU, give more on a GPU.
    clips: how many are opened at a time.
    """

    checkpoint: str = "talklip"
    reference: Reference = "first"
    batch: int = 8
    clips: int = 4

    def __post_init__(self) -> None:
        for name in ("batch", "clips"):
            if getattr(self, name) < 1:
                raise UsageError(f"talklip: {name} is {getattr(self, name)}; give 1 or more")


class TalkLip(Method):
    """Native TalkLip. Unlike the official script it keeps non-square videos and takes long clips in parts."""

    name = "talklip"
    title = "TalkLip"
    trained_against = frozenset({"wer"})  # its loss is an AV-HuBERT lip reader's
    incidental = frozenset({"batch", "clips"})
    Options = TalkLipOptions

    options: TalkLipOptions

    @property
    def batch_size(self) -> int:
        return self.options.clips

    @cached_property
    def network(self) -> Network:
        """Loaded on first use. Raises WeightsError or UsageError."""
        from syncdiff_methods.talklip.network import load_talklip
        from syncdiff_methods.wav2lip.inference import for_inference

        return for_inference(load_talklip(self._path), self.runtime.device)

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """See `Method.generate`; the seed has no influence."""
        from syncdiff_methods.wav2lip.inference import redraw

        network, prepared = self.network, []
        for clip in clips:
            try:
                prepared.append(self._prepare(clip))
            except NoBoxes as error:
                yield clip.id, error
            except ClipError as error:
                yield clip.id, ClipError(error.kind, f"{clip.id}: {error}")
        yield from redraw(
            prepared,
            network.speak,
            paste_interpolated,
            batch=self.options.batch,
            device=self.runtime.device,
            progress=progress,
        )

    def general_caveats(self) -> tuple[Caveat, ...]:
        """The published weights on faces such as they never saw."""
        from syncdiff_bench.origins import PUBLISHED, foreign
        from syncdiff_bench.weights.finding import is_file

        origin = None if is_file(self.options.checkpoint) else PUBLISHED
        return foreign(origin, self.runtime.dataset, f"{self.name} runs a model")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        from syncdiff_bench.weights.finding import weights_found

        return (weights_found(self.options.checkpoint, self._path),)

    @property
    def _path(self) -> Path:
        from syncdiff_bench.weights.finding import find_weights

        return find_weights(self.options.checkpoint, self.runtime, owner="talklip")

    def _prepare(self, clip: Clip) -> FaceClip:
        from syncdiff_methods.wav2lip.faces import cut_faces, inside
        from syncdiff_methods.wav2lip.inference import FaceClip

        n, height, width = clip.frames.shape[:3]
        heard = self._hear(clip, n)
        areas = inside(clip.face_boxes.boxes, (height, width))  # as they are: neither padded nor smoothed
        faces = cut_faces(clip.frames, areas)
        references = faces if self.options.reference == "same" else np.broadcast_to(faces[:1], faces.shape)
        return FaceClip(clip.id, clip.frames, areas, faces, references, heard)

    def _hear(self, clip: Clip, n_frames: int) -> Tensor:
        """(T, 768) float32. The whole utterance at once: every row depends on all of it."""
        import torch

        from syncdiff_bench.networks.avhubert.features import audio_features

        features = torch.from_numpy(audio_features(clip.audio, n_frames, align="centre"))
        with torch.inference_mode():
            return self.network.hear(features[None].to(self.runtime.device))[0].cpu()


def paste_interpolated(frame: Frames, picture: NDArray[np.float32], area: Boxes) -> None:
    """Resized as a tensor, and only then cut off to whole grey levels, as in the official code.

    It used torchvision's `Resize` before version 0.17, which did not smooth what it shrinks.
    """
    import torch
    import torch.nn.functional as F

    x1, y1, x2, y2 = area
    tensor = torch.from_numpy(picture).permute(2, 0, 1)[None]
    sized = F.interpolate(tensor, (int(y2 - y1), int(x2 - x1)), mode="bilinear", antialias=False)[0]
    frame[y1:y2, x1:x2] = (sized * 255).permute(1, 2, 0).numpy().astype(np.uint8)[..., ::-1]
