"""Scheduled sampling of the previous frame (Bengio et al. 2015; docs/spec/syncdiff.md#scheduled-sampling).

In training the previous frame is the true one, at test it is generated: the model never learns to live with its own
mistakes. Here it is ever more often the model's own estimate: what the network, as it is at that step, makes of frame
t - 1 in one pass. Which examples, their timesteps and their noise belong to the micro-batch, so that all else is drawn
as without, and a training that resumes, or that others share, is the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from syncdiff_methods.syncdiff.config import ConditionConfig

if TYPE_CHECKING:
    from syncdiff_methods.syncdiff.latents import ClipLatents, DiffusionLoss

BEFORE = "before_"  # begins the names of what an estimate of frame t - 1 takes
ROWS = BEFORE + "rows"  # whose


@dataclass(frozen=True)
class ScheduledSampling:
    """How often the previous frame of an example is the model's own estimate.

    probability: at update `steps` and after it, from 0 along a line; 0 switches it off.
    Raises ValueError for numbers that mean nothing.
    """

    probability: float = 0.0
    steps: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.probability <= 1:
            raise ValueError(f"scheduled.probability is {self.probability}; give 0 (off) up to 1")
        if self.steps < 1:
            raise ValueError(f"scheduled.steps is {self.steps}; give the steps of the training")

    def check(self, condition: ConditionConfig) -> None:
        """Raise ValueError for a model that has not one previous frame."""
        frames = condition.previous_frames if condition.previous != "none" else 0
        if self.probability and frames != 1:
            raise ValueError(
                f"scheduled.probability is {self.probability}, but the model has {frames} previous frames, and one is"
                " estimated; set model.condition.previous_frames = 1, or scheduled.probability = 0"
            )

    def at(self, step: int) -> float:
        """The probability at an update."""
        return self.probability * min(1.0, step / self.steps)


def frame_before(clip: ClipLatents, t: int, rng: np.random.Generator, train_steps: int) -> dict[str, Tensor]:
    """What an estimate of frame t - 1 takes, and `before_chance`, which a probability must exceed for there to be one.

    clean, masked, noise: (3, h, w). previous: (1, 3, h, w), frame t - 2, or the first one. timestep, chance: ().
    """
    clean, masked = clip.clean[t - 1].float(), clip.masked[t - 1].float()
    return {
        f"{BEFORE}chance": torch.tensor(rng.random()),
        f"{BEFORE}timestep": torch.tensor(int(rng.integers(train_steps))),
        f"{BEFORE}noise": torch.from_numpy(rng.standard_normal(clean.shape, dtype=np.float32)),
        f"{BEFORE}clean": clean,
        f"{BEFORE}masked": masked,
        f"{BEFORE}previous": clip.clean[max(0, t - 2)].float()[None],
    }


def of_rows(batch: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    """A batch that estimates frame t - 1 of its examples `rows` (k,) long, and holds nothing of the others' frames."""
    kept = {name: tensor for name, tensor in batch.items() if not name.startswith(BEFORE)}
    if not len(rows):
        return kept
    before = {name: tensor[rows] for name, tensor in batch.items() if name.startswith(BEFORE)}
    return {**kept, **before, ROWS: rows}


def chosen(batch: Mapping[str, Tensor], probability: float) -> dict[str, Tensor]:
    """A batch that estimates the previous frame of the examples whose chance is below the probability."""
    if f"{BEFORE}chance" not in batch:
        return dict(batch)
    return of_rows(batch, torch.nonzero(batch[f"{BEFORE}chance"] < probability)[:, 0])


def with_estimates(
    previous: Tensor, before: Mapping[str, Tensor], predict: Callable[[Tensor, Tensor], Tensor], loss: DiffusionLoss
) -> Tensor:
    """Previous frames (B, 1, 3, h, w) in which the estimate of frame t - 1 takes the place of the true one.

    What was added to the true one, noise, is added to the estimate as well.

    predict: (noisy (k, 3, h, w), timestep (k,)) of the chosen frames t - 1 -> what the network predicts, in float32 or
        less; it is run without gradient.
    """
    clean, timestep = before[f"{BEFORE}clean"], before[f"{BEFORE}timestep"]
    with torch.no_grad():
        noisy = loss.noisy(clean, before[f"{BEFORE}noise"], timestep)
        estimate = loss.estimate(predict(noisy, timestep).float(), noisy, timestep)
        # One pass from almost pure noise may end far from any frame where epsilon is predicted.
        low, high = clean.amin((1, 2, 3), keepdim=True), clean.amax((1, 2, 3), keepdim=True)
        change = torch.minimum(torch.maximum(estimate, low), high) - clean
    torch.clear_autocast_cache()  # else older torch takes weights cast here, without gradient, for those of the step
    return previous.index_add(0, before[ROWS], change[:, None])
