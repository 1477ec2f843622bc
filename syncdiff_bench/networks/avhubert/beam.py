"""Beam search, step for step that of the official generator (docs/spec/lip-reading.md#beam-search)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from syncdiff_bench.networks.avhubert.decoder import AVHubertDecoder
from syncdiff_bench.networks.avhubert.tokenizer import EOS, PAD

NEVER = float("-inf")


@dataclass(frozen=True)
class Hypothesis:
    """One finished sentence.

    tokens: word-piece ids, the closing EOS included. score: sum of log probabilities / len(tokens) ** lenpen.
    """

    tokens: tuple[int, ...]
    score: float


@dataclass(frozen=True)
class _Live:
    """The unfinished beams of the A clips that still search, best first.

    clips: their indices in the batch. tokens: (A, K, steps) int64. scores: (A, K) summed log probabilities.
    """

    clips: tuple[int, ...]
    tokens: Tensor
    scores: Tensor


@dataclass(frozen=True)
class _Candidates:
    """The best continuations of every clip, best first: each (A, 2 K)."""

    scores: Tensor
    beams: Tensor
    tokens: Tensor

    @property
    def closed(self) -> Tensor:
        """(A, 2 K) bool: whether the continuation ends its sentence."""
        return (self.tokens == EOS) & (self.scores > NEVER)


@torch.no_grad()
def beam_search(
    decoder: AVHubertDecoder,
    features: Tensor,
    padding_mask: Tensor | None = None,
    *,
    beam: int = 50,
    lenpen: float = 1.0,
    max_lengths: Sequence[int] | None = None,
) -> list[list[Hypothesis]]:
    """The best sentences of every clip, best first, at most `beam` of them.

    features: (B, T, dim) float32, the encoder's output. padding_mask: (B, T) bool, True on filled-up frames.
    beam: live prefixes per clip; never more than vocab - 1. lenpen: exponent of the length normalisation.
    max_lengths: most tokens (without the closing EOS) per clip; None: one per frame of the clip itself, so
        that a clip does not depend on its batch mates. The official code takes the padded length of the
        batch.

    Of the 2 x beam best continuations, those among the first `beam` that are EOS finish a hypothesis, and the
    best `beam` that are not EOS live on. A clip is done with `beam` hypotheses, or at its cap, where EOS is
    forced.
    """
    batch, frames = features.shape[:2]
    caps = list(max_lengths or ())
    if max_lengths is None:
        caps = [frames] * batch if padding_mask is None else (~padding_mask).sum(dim=1).tolist()
    beam = min(beam, decoder.config.vocab - 1)  # PAD is never said, so more cannot be told apart
    finished: list[list[Hypothesis]] = [[] for _ in range(batch)]
    state = decoder.start(features, padding_mask)
    live = _Live(
        tuple(range(batch)),
        torch.full((batch, 1, 1), EOS, dtype=torch.long, device=features.device),
        features.new_zeros(batch, 1),
    )
    for step in range(max(caps) + 1):  # one more than the cap, for the closing EOS
        logits, state = decoder.step(live.tokens[:, :, -1], state)
        at_cap = torch.tensor([step >= caps[clip] for clip in live.clips], device=features.device)
        found = _best_continuations(logits, live.scores, at_cap, beam, first=step == 0)
        _finish(finished, live, found, beam, lenpen)
        searching = [row for row, clip in enumerate(live.clips) if len(finished[clip]) < beam and step < caps[clip]]
        if not searching:
            break
        live, beam_rows, kept = _survivors(live, found, searching, beam)
        state = state.select(beam_rows, kept)
    return [sorted(hypotheses, key=lambda h: -h.score) for hypotheses in finished]


def _best_continuations(logits: Tensor, scores: Tensor, at_cap: Tensor, beam: int, *, first: bool) -> _Candidates:
    """Top 2 x beam of all beams times all tokens; logits (A, K, vocab), scores (A, K), at_cap (A,) bool."""
    vocab = logits.shape[-1]
    log_probs = torch.log_softmax(logits.float(), dim=-1)
    log_probs[..., PAD] = NEVER
    if first:
        log_probs[..., EOS] = NEVER  # min_len 1: an empty sentence is no answer
    ending = log_probs[..., EOS].clone()
    log_probs.masked_fill_(at_cap[:, None, None], NEVER)
    log_probs[..., EOS] = ending
    totals = (log_probs + scores.unsqueeze(-1)).flatten(1)
    best, index = totals.topk(min(2 * beam, totals.shape[1] - 1), dim=1)
    return _Candidates(best, index // vocab, index % vocab)


def _finish(finished: list[list[Hypothesis]], live: _Live, found: _Candidates, beam: int, lenpen: float) -> None:
    """Append the continuations that close a sentence, where they are among the first `beam` of their clip."""
    for row, rank in found.closed[:, :beam].nonzero().tolist():
        hypotheses = finished[live.clips[row]]
        if len(hypotheses) < beam:
            prefix = live.tokens[row, int(found.beams[row, rank]), 1:].tolist()
            tokens = (*prefix, EOS)
            hypotheses.append(Hypothesis(tokens, float(found.scores[row, rank]) / len(tokens) ** lenpen))


def _survivors(live: _Live, found: _Candidates, searching: list[int], beam: int) -> tuple[_Live, Tensor, Tensor | None]:
    """The best `beam` open continuations of the clips (rows of `live`) that search on.

    Returns them, the rows (clip * K + beam) of the decoder's cache that they continue, and the clips' rows in
    the decoder's batch (None where all stay). At most half of the candidates are closed, because each beam
    ends once: there are always enough.
    """
    rows = torch.tensor(searching, device=live.tokens.device)
    order = found.closed[rows].int().argsort(dim=1, stable=True)[:, :beam]
    beams = found.beams[rows].gather(1, order)
    said = found.tokens[rows].gather(1, order)
    prefixes = live.tokens[rows].gather(1, beams.unsqueeze(-1).expand(-1, -1, live.tokens.shape[2]))
    survivors = _Live(
        tuple(live.clips[row] for row in searching),
        torch.cat([prefixes, said.unsqueeze(-1)], dim=2),
        found.scores[rows].gather(1, order),
    )
    beam_rows = (rows.unsqueeze(1) * live.tokens.shape[1] + beams).flatten()
    return survivors, beam_rows, None if len(searching) == len(live.clips) else rows
