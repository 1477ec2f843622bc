"""First weights that belong to the names of parameters, so that variants of a network start alike.

Drawn one after the other, a convolution with one more input channel shifts the random numbers of all that comes after
it: two variants then differ in their start as much as two seeds do, and a comparison of them holds that luck.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def initialise_by_name(network: nn.Module) -> None:
    """Draw the parameters of a network anew, those of each module from (the seed of torch, the module's name).

    Every module with a `reset_parameters` is reset, inner ones before those that hold them. Two networks have equal
    values wherever module names and shapes are equal. Torch's own generator is left as it was.
    """
    seed = torch.initial_seed()
    with torch.random.fork_rng(devices=[]):
        for name, module in reversed(list(network.named_modules())):
            if callable(reset := getattr(module, "reset_parameters", None)):
                digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
                torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)
                reset()
