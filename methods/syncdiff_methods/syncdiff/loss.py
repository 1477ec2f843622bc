"""The loss of latent diffusion (paper Eq. 3; docs/spec/ldm.md#loss), with the blanked area weighed apart."""

from __future__ import annotations

from torch import Tensor

from syncdiff_methods.syncdiff.config import DiffusionConfig
from syncdiff_methods.syncdiff.samplers import build_scheduler


class DiffusionLoss:
    """area_weight: of the error where the frame is blanked against 1 elsewhere (1 in the paper)."""

    def __init__(self, diffusion: DiffusionConfig, area_weight: float = 1.0) -> None:
        self.prediction = diffusion.prediction
        self.area_weight = area_weight
        self.scheduler = build_scheduler(diffusion)

    def noisy(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        """(B, 3, h, w) latents with (B,) long timesteps' worth of noise."""
        return self.scheduler.add_noise(clean, noise, timestep)  # type: ignore[no-any-return]

    def __call__(
        self, prediction: Tensor, clean: Tensor, noise: Tensor, timestep: Tensor, area: Tensor
    ) -> dict[str, Tensor]:
        """Mean square error of a prediction (B, 3, h, w): `loss`, weighed, and `mouth`, of the blanked cells alone.

        area: (B, h, w) in 0..1, how much of a cell is blanked.
        """
        error = (prediction - self._target(clean, noise, timestep)).square().mean(dim=1)
        weight = 1 + (self.area_weight - 1) * area
        inside = (error * area).sum() / area.sum().clamp(min=1)
        return {"loss": (error * weight).mean() / weight.mean().detach(), "mouth": inside}

    def _target(self, clean: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        if self.prediction == "epsilon":
            return noise
        if self.prediction == "sample":
            return clean
        return self.scheduler.get_velocity(clean, noise, timestep)  # type: ignore[no-any-return]
