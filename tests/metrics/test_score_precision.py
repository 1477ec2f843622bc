"""bfloat16 where it changes no score, float32 on every device where it would (experts of pocket)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from syncdiff_bench.contracts import Clip, Pair, Runtime
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_metrics.lse import LSE, LSEOptions
from syncdiff_metrics.wer import WER, WEROptions, WERStats

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
BEAM = 5


@pytest.fixture(scope="module")
def clips() -> list[Clip]:
    pocket = Pocket()
    return [pocket.clip(name) for name in pocket.clip_ids("test")[:3]]


def read(clips: list[Clip], device: str = "cpu", **options: str) -> Iterator[WERStats]:
    metric = WER(WEROptions(reader="pocket", beam=BEAM, **options), Runtime(device))  # type: ignore[arg-type]
    return (metric.measure(Pair(clip)) for clip in clips)


def test_bf16_changes_no_sentence_and_really_runs(clips: list[Clip], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = list(read(clips))
    seen: list[torch.dtype] = []
    metric = WER(WEROptions(reader="pocket", beam=BEAM, precision="bf16"))
    attend = torch.nn.functional.scaled_dot_product_attention

    def watched(query: torch.Tensor, *arguments: torch.Tensor, **options: object) -> torch.Tensor:
        seen.append(query.dtype)
        return attend(query, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    assert [metric.measure(Pair(clip)) for clip in clips] == expected
    layers = metric._model.model.config.encoder_layers
    assert seen[:layers] == [torch.bfloat16] * layers
    assert set(seen[layers : 2 * layers]) == {torch.float32}, "the beam search compares in float32"


@CUDA
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gpu_reads_what_the_cpu_reads(clips: list[Clip], precision: str) -> None:
    assert list(read(clips, "cuda", precision=precision)) == list(read(clips))


@CUDA
def test_a_gpu_scores_lse_as_the_cpu_does(clips: list[Clip]) -> None:
    metrics = [LSE(LSEOptions(weights="pocket"), Runtime(device)) for device in ("cpu", "cuda")]
    for clip in clips:
        ours, theirs = (metric.measure(Pair(clip)) for metric in metrics)
        assert theirs.shift_means == pytest.approx(ours.shift_means, rel=1e-3)  # type: ignore[union-attr]
