"""Cross-attention of the UNet while sampling; to one token it is a bias, computed once per frame."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from syncdiff_methods.syncdiff.config import ConditionConfig


class OneTokenAttention:
    """Attention processor of diffusers that reads its output, channels start .. stop, from the context.

    A softmax over one key is 1 whatever the query, so attention to one token is `to_out(to_v(token))`: the same for
    every query, every step and every noise level (docs/spec/difftalk.md#one-token).
    """

    def __init__(self, start: int, stop: int) -> None:
        self.start = start
        self.stop = stop

    def __call__(
        self,
        attn: nn.Module,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """hidden_states: (B, N, C) queries, unused but for N; encoder_hidden_states: (B, 1, all channels)."""
        assert encoder_hidden_states.shape[1] == 1, "a softmax over several tokens depends on the query"
        return encoder_hidden_states[..., self.start : self.stop].expand(-1, hidden_states.shape[1], -1)


@contextmanager
def one_token_attention(unet: nn.Module) -> Iterator[Callable[[Tensor], Tensor]]:
    """Cross-attention to one token, computed once per frame instead of at every step.

    Within the block, the context of `unet` is what the yielded function makes of tokens: (..., D) -> (..., channels).

    channels: those of all cross-attentions together. No gradient reaches the queries and keys, and none is needed:
    for sampling only. Afterwards the UNet is as it was.
    """
    crossed = [module for name, module in unet.named_modules() if name.endswith(".attn2")]
    before = [module.processor for module in crossed]
    start = 0
    for module in crossed:
        # Else diffusers adds the query or divides, and the output would depend on it after all.
        assert not module.residual_connection and module.rescale_output_factor == 1
        width = module.to_out[0].out_features
        module.set_processor(OneTokenAttention(start, start + width))
        start += width

    def outputs(tokens: Tensor) -> Tensor:
        made: list[Any] = [module.to_out[0](module.to_v(tokens)) for module in crossed]
        return torch.cat(made, dim=-1)

    try:
        yield outputs
    finally:
        for module, processor in zip(crossed, before, strict=True):
            module.set_processor(processor)


def cross_attention(unet: nn.Module, condition: ConditionConfig) -> AbstractContextManager[Callable[[Tensor], Tensor]]:
    """`one_token_attention` where the context is one token; where it is more, the UNet and its context as they are."""
    return one_token_attention(unet) if condition.context_tokens == 1 else nullcontext(lambda context: context)
