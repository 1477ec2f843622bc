"""How a network runs when its output is scored: in which precision, and which clips go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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


def padded_batches(lengths: Sequence[int], frames: int) -> list[list[int]]:
    """Indices of clips that go together, longest first: none has more than `frames` steps once filled up.

    A clip that is longer by itself goes alone.

    >>> padded_batches([10, 40, 30, 12], 80)
    [[1, 2], [3, 0]]
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        if batches and lengths[batches[-1][0]] * (len(batches[-1]) + 1) <= frames:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
