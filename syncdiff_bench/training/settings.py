"""The `[training]` table of a training config."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Tracker = Literal["tensorboard", "wandb", "trackio"]


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. A step is one update of the weights, from `gradient_accumulation` batches of `batch_size` in every
    process; `gradient_clip` bounds the norm of its gradient.

    learning_rate decays to zero along a cosine after `warmup_steps` where schedule is "cosine", else it stays.
    ema_decay is the ceiling of (1 + n) / (10 + n), CompVis' warm-up (docs/spec/ldm.md#ema). 0 switches the EMA off.
    sample_every: pictures of what the model generates, at this interval (DiffTalk's; 0: never) and at the end, for
    tasks that have them. trackers: where the log goes besides log.jsonl. keep_last: checkpoints that stay.

    Raises ValueError for numbers that mean nothing.
    """

    steps: int
    batch_size: int
    learning_rate: float
    schedule: Literal["constant", "cosine"] = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.01
    gradient_clip: float = 0.1
    gradient_accumulation: int = 1
    ema_decay: float = 0.9999
    mixed_precision: Literal["no", "bf16"] = "no"
    seed: int = 0
    log_every: int = 50
    validate_every: int = 500
    sample_every: int = 5000
    checkpoint_every: int = 500
    keep_last: int = 2
    trackers: tuple[Tracker, ...] = ()

    def __post_init__(self) -> None:
        counts = ("steps", "batch_size", "gradient_accumulation", "log_every", "validate_every", "checkpoint_every")
        for name in (*counts, "keep_last"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; give 1 or more")
        for name in ("learning_rate", "gradient_clip"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}; give a number above 0")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; give 0 (off) up to 0.9999")

    def rate(self, step: int) -> float:
        """Learning rate of update `step`: linear warm-up, then constant or half a cosine down to zero."""
        if step < self.warmup_steps:
            return self.learning_rate * ((step + 1) / self.warmup_steps)
        if self.schedule == "constant":
            return self.learning_rate
        span = max(1, self.steps - self.warmup_steps)
        return self.learning_rate * (0.5 * (1 + math.cos(math.pi * min(1.0, (step - self.warmup_steps) / span))))
