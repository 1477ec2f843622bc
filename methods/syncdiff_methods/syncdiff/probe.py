"""SyncDiff's latents for the variance probe (paper 5.4, Table 4; docs/spec/syncdiff.md#probe)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from syncdiff_bench.arrays import writable
from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.audio import clip_features
from syncdiff_methods.syncdiff.masking import apply_mask, cell_area, clip_mask
from syncdiff_methods.syncdiff.model import to_images
from syncdiff_methods.syncdiff.sampling import FrameNoise, build_sampler, denoise, predictor, visits

if TYPE_CHECKING:
    from syncdiff_bench.reproduction.probing import Case, FrameOf
    from syncdiff_methods.syncdiff.model import SyncDiffModel


@torch.inference_mode()
def probe_latents(
    model: SyncDiffModel, cases: Sequence[Case], *, layer: str, step: int | None, seed: int, batch: int
) -> NDArray[np.float32]:
    """(N, D) latents, D = channels x height x width of the layer.

    layer: `mid`, the output of the UNet's middle block, or `z0`, the finished latent.
    step: timestep at which `mid` is read, one that the sampler visits; None for the last, where the image is all but
        finished. `z0` has no step. All cases get the same noise.
    Raises UsageError for a step that the sampler does not visit.
    """
    timestep = _timestep(model, layer, step)
    latents = FrameLatents(model)
    rows = [
        _probe_batch(model, latents, cases[start : start + batch], layer, timestep, seed)
        for start in range(0, len(cases), batch)
    ]
    return torch.cat(rows).flatten(1).cpu().numpy()


def _timestep(model: SyncDiffModel, layer: str, step: int | None) -> int:
    diffusion = model.config.diffusion
    if layer == "z0" and step is not None:
        raise UsageError(f"--step {step}: layer z0 is the finished latent; leave --step out, or read layer mid")
    visited: list[int] = visits(build_sampler(diffusion), diffusion.steps).tolist()
    if step is None:
        return visited[-1]
    if step not in visited:
        near = min(visited, key=lambda t: abs(t - step))
        raise UsageError(
            f"--step {step} is not visited by {diffusion.sampler} in {diffusion.steps} steps; near is {near}"
        )
    return step


def _probe_batch(
    model: SyncDiffModel, latents: FrameLatents, cases: Sequence[Case], layer: str, timestep: int, seed: int
) -> Tensor:
    condition = model.config.condition
    masked = torch.stack([latents.encoded(case.target, masked=True) for case in cases])
    identity = torch.stack([latents.encoded(case.identity) for case in cases])
    depth = condition.previous_frames if condition.previous != "none" else 0
    previous = [torch.stack([latents.encoded(_back(case.pose, k)) for case in cases]) for k in range(depth)]
    tokens = torch.stack([latents.token(case.target) for case in cases])
    area = torch.stack([latents.area(case.target) for case in cases])
    visual = model.denoiser.visual_condition(masked, identity, previous)
    unet = predictor(model.denoiser, visual, model.denoiser.context(tokens, previous, area))
    read: list[Tensor] = []

    def predict(noisy: Tensor, t: Tensor) -> Tensor:
        if layer != "mid" or int(t) != timestep:
            return unet(noisy, t)
        hook = model.denoiser.unet.mid_block.register_forward_hook(lambda _module, _inputs, output: read.append(output))
        try:
            return unet(noisy, t)
        finally:
            hook.remove()

    finished = denoise(
        predict,
        build_sampler(model.config.diffusion),
        [FrameNoise(seed, "probe", 0) for _ in cases],
        masked.shape[1:],
        steps=model.config.diffusion.steps,
        eta=model.config.diffusion.eta,
        device=masked.device,
    )
    return read[0].float() if layer == "mid" else finished


def _back(frame: FrameOf, count: int) -> FrameOf:
    """The frame `count` earlier in its clip, its first one at the earliest."""
    return replace(frame, index=max(0, frame.index - count))


class FrameLatents:
    """Latents and tokens of single frames, each computed once."""

    def __init__(self, model: SyncDiffModel) -> None:
        self.model = model
        self.device = model.denoiser.unet.device
        self._known: dict[tuple[str, str, int], Tensor] = {}

    def token(self, frame: FrameOf) -> Tensor:
        """(dim,) audio condition of a frame; all of its clip are computed at once."""
        key = ("tokens", frame.clip.id, 0)
        if key not in self._known:
            features = torch.from_numpy(clip_features(frame.clip, self.model.config.audio))
            self._known[key] = self.model.audio(features[None].to(self.device))[0]
        return self._known[key][frame.index]

    def encoded(self, frame: FrameOf, *, masked: bool = False) -> Tensor:
        """(3, h, w) latent of a frame, with its lower face masked where wanted."""
        key = ("masked" if masked else "clean", frame.clip.id, frame.index)
        config, clip = self.model.config, frame.clip
        if key not in self._known:
            image = to_images(
                torch.from_numpy(writable(clip.frames[frame.index][None])).to(self.device), config.frame_size
            )
            if masked:
                image = apply_mask(image, self._mask(frame))
            self._known[key] = self.model.autoencoder.encode(image)[0]
        return self._known[key]

    def area(self, frame: FrameOf) -> Tensor:
        """(h, w) in 0..1, how much of each latent cell of a frame is masked."""
        return cell_area(self._mask(frame), self.model.config.latent_size)[0]

    def _mask(self, frame: FrameOf) -> Tensor:
        """(1, S, S) bool."""
        config = self.model.config
        return clip_mask(frame.clip, config.condition, config.frame_size)[frame.index][None].to(self.device)
