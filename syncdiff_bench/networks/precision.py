"""In which precision a network runs when its output is scored."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

Precision = Literal["fp32", "bf16"]


@contextmanager
def inference(device: str, precision: Precision = "fp32") -> Iterator[None]:
    """No autograd, repeatable convolutions, and the named precision.

    fp32: without TF32, which GPUs take for convolutions unless told otherwise. bf16: torch's autocast, for networks
    of which it is known that the score does not move; outputs may be bfloat16.
    """
    exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
    low = torch.autocast(torch.device(device).type, torch.bfloat16, enabled=precision == "bf16")
    with torch.inference_mode(), exact, low:
        yield
