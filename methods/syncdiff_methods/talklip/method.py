"""The `talklip` plugin: clips in, frames with redrawn mouths out, as the official `inf_test.py` makes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Boxes, Clip, Frames, WeightsUsed
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_bench.origins import PUBLISHED, foreign
from syncdiff_bench.weights.finding import find_weights, is_file, weights_found
from syncdiff_methods.wav2lip.faces import inside
from syncdiff_methods.wav2lip.method import FaceMethod, Reference, require_one_or_more

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from syncdiff_methods.talklip.network import TalkLip as Network


@dataclass(frozen=True)
class TalkLipOptions:
    """Options of `talklip`.

    checkpoint: `talklip` (published; see `weights list`) or a file.
    reference: the frame that shows the network whose mouth to draw: `first`, as in the official `inf_test.py`, or
        `same`, the very frame to be generated, as in its `inf_demo.py`, which shows the true mouth to the network
        wherever a clip is its own reference.
    batch: frames per pass of the face network; 8 is fastest on a CPU, give more on a GPU.
    clips: how many are opened at a time.
    """

    checkpoint: str = "talklip"
    reference: Reference = "first"
    batch: int = 8
    clips: int = 4

    def __post_init__(self) -> None:
        require_one_or_more("talklip", batch=self.batch, clips=self.clips)


class TalkLip(FaceMethod):
    """Native TalkLip. Unlike the official script it keeps non-square videos and takes long clips in parts."""

    name = "talklip"
    title = "TalkLip"
    trained_against = frozenset({"wer"})  # an AV-HuBERT VSR model is part of its loss
    Options = TalkLipOptions

    options: TalkLipOptions

    @cached_property
    def network(self) -> Network:
        """Loaded on first use. Raises WeightsError or UsageError."""
        from syncdiff_methods.talklip.network import load_talklip
        from syncdiff_methods.wav2lip.inference import for_inference

        return for_inference(load_talklip(self._path), self.runtime.device)

    def drawing(self) -> Callable[[Tensor, Tensor], Tensor]:
        return self.network.draw_faces

    def audio_of(self, clip: Clip) -> Tensor:
        """(T, 768). The whole utterance at once: every row depends on all of it."""
        import torch

        features = torch.from_numpy(audio_features(clip.audio, len(clip.frames), align="centre"))
        with torch.inference_mode():
            return self.network.encode_audio(features[None].to(self.runtime.device))[0].cpu()

    def boxes_of(self, clip: Clip) -> Boxes:
        """As they are: neither padded nor smoothed."""
        return inside(clip.face_boxes.boxes, clip.frames.shape[1:3])

    def paste(self, frame: Frames, face: NDArray[np.float32], box: Boxes) -> None:
        """Resized as a tensor, and only then cut off to whole grey levels, as in the official code.

        It used torchvision's `Resize` before version 0.17, which did not smooth what it shrinks.
        """
        import torch
        import torch.nn.functional as F

        x1, y1, x2, y2 = box
        tensor = torch.from_numpy(face).permute(2, 0, 1)[None]
        sized = F.interpolate(tensor, (int(y2 - y1), int(x2 - x1)), mode="bilinear", antialias=False)[0]
        frame[y1:y2, x1:x2] = (sized * 255).permute(1, 2, 0).numpy().astype(np.uint8)[..., ::-1]

    def general_caveats(self) -> tuple[Caveat, ...]:
        """The published weights on faces such as they never saw."""
        origin = None if is_file(self.options.checkpoint) else PUBLISHED
        return foreign(origin, self.runtime.dataset, f"{self.name} runs a model")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (weights_found(self.options.checkpoint, self._path),)

    @property
    def _path(self) -> Path:
        return find_weights(self.options.checkpoint, self.runtime.weights, owner="talklip")
