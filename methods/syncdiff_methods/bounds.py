"""What no method can pass, and what each must beat: ground truth, its reconstruction, the first frame repeated."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from syncdiff_bench.arrays import writable
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames, Method, WeightsUsed
from syncdiff_bench.errors import UsageError
from syncdiff_bench.origins import foreign, origin_of
from syncdiff_bench.weights.digests import sha256_of

if TYPE_CHECKING:
    from syncdiff_methods.syncdiff.model import Autoencoder

CHUNK = 16  # frames per forward pass of the autoencoder


class FromClip(Method):
    """Frames that are in the clip already."""

    any_threads = True

    @abstractmethod
    def frames(self, clip: Clip) -> Frames:
        """(T, H, W, 3) uint8 RGB."""

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        del seed
        for clip in clips:
            progress(len(clip.frames))
            yield clip.id, self.frames(clip)


class GroundTruth(FromClip):
    """The frames of each clip as they are."""

    name = "gt"
    title = "Ground truth"
    topline = True

    def frames(self, clip: Clip) -> Frames:
        return clip.frames


class Static(FromClip):
    """The first frame of each clip T times."""

    name = "static"
    title = "First frame repeated"

    def frames(self, clip: Clip) -> Frames:
        return np.repeat(clip.frames[:1], len(clip.frames), axis=0)


@dataclass(frozen=True)
class ReconstructionOptions:
    """Options of `gt-rec`.

    model: whose autoencoder is used: a shipped SyncDiff model, the directory of one, or that of an autoencoder alone
        (`syncdiff-bench weights import vq-f4 model.ckpt DIR`); a run that is given none takes that of its data.
    """

    model: str = ""


class Reconstruction(Method):
    """decode(quantise(encode(frame))) of every frame (docs/spec/ldm.md#quantiser).

    Ground truth through SyncDiff's autoencoder: the topline of everything generated in its latents (Table 1).
    """

    name = "gt-rec"
    title = "GT-REC"
    topline = True
    incidental = frozenset({"model"})
    Options = ReconstructionOptions

    options: ReconstructionOptions

    @cached_property
    def autoencoder(self) -> tuple[Autoencoder, int, Path]:
        """The network, the side of its frames, and the file it came from. Raises UsageError or WeightsError."""
        from syncdiff_methods.syncdiff.model import load_autoencoder

        if not self.options.model:
            raise UsageError("gt-rec needs --set model=DIR, with an autoencoder; model=pocket is for drawn faces")
        network, size, file = load_autoencoder(self.options.model)
        return network.to(self.runtime.device), size, file

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        """See `Method.generate`; the seed has no influence."""
        import torch

        from syncdiff_methods.syncdiff.model import to_frames, to_images

        autoencoder, size, _ = self.autoencoder
        for clip in clips:
            height, width = clip.frames.shape[1:3]
            parts = []
            for chunk in torch.split(torch.from_numpy(writable(clip.frames)), CHUNK):
                with torch.inference_mode():
                    images = to_images(chunk.to(self.runtime.device), size)
                    parts.append(to_frames(autoencoder.decode(autoencoder.encode(images)), height, width).cpu())
                progress(len(chunk))
            yield clip.id, torch.cat(parts).numpy()

    def general_caveats(self) -> tuple[Caveat, ...]:
        """An autoencoder that was trained on other data."""
        origin = origin_of(self.autoencoder[2].parent)
        return foreign(origin, self.runtime.dataset, f"{self.name} runs an autoencoder")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        file = self.autoencoder[2]
        return (WeightsUsed(f"syncdiff/{file.parent.name}/autoencoder", sha256_of(file), file),)
