"""The `[training]` table of a training config."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingSettings:
    """How to train. batch_size is per process; `gradient_clip` bounds the norm of the gradient.

    learning_rate decays to zero along a cosine after `warmup_steps` where schedule is "cosine", else it stays.
    ema_decay is the ceiling of (1 + n) / (10 + n), CompVis' warm-up (methods.md B.7). 0 switches the EMA off.
    """

    steps: int
    batch_size: int
    learning_rate: float
    schedule: str = "constant"
    warmup_steps: int = 0
    weight_decay: float = 0.01
    gradient_clip: float = 0.1
    gradient_accumulation: int = 1
    ema_decay: float = 0.9999
    mixed_precision: str = "no"
    seed: int = 0
    log_every: int = 50
    validate_every: int = 500
    checkpoint_every: int = 500
    keep_last: int = 2
