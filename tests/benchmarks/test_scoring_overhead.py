"""What scoring costs beside its networks: two clips from file to scores.jsonl, with networks of the published sizes.

Run with `pytest tests/benchmarks/test_scoring_overhead.py --benchmark-only -s`. Each case prints, and keeps in its
`extra_info`, CPU seconds per clip inside the networks (beam search included) and outside (decoding, JPEG stage,
cropping, features, statistics, journal), and what a run costs beside (manifest, intervals). Weights are random: they
cost what published ones cost.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_networks import BASE, LARGE

from syncdiff_bench import pipeline
from syncdiff_bench.contracts import Media
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.networks.avhubert import beam
from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation, VSRModel
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
from syncdiff_bench.networks.avhubert.tokenizer import WordPieces
from syncdiff_bench.networks.lpips import LPIPSNetwork
from syncdiff_bench.networks.syncnet import SyncNet, prepare_for_inference
from syncdiff_bench.runs.plan import Selection, plan_given
from syncdiff_bench.texts import metric_specs

CLIPS, FRAMES = 2, 41  # the mean length of a clip of LRS2 test
SIX = ("psnr[protocol=talklip]", "ssim", "lpips", "lse", "wer")
NETWORKS = (
    (SyncNet, ("embed_lips", "embed_audio")),
    (AVHubertEncoder, ("hear", "see", "embed", "run_layers", "final_norm")),
    (LPIPSNetwork, ("forward",)),
    (beam, ("beam_search",)),
)


@pytest.fixture(scope="module", params=[160, 224], ids=["160x160", "224x224"])
def videos(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ours` as a method writes it, `theirs` as a data set holds it: moving waves under grain, about as hard
    to decode as LRS2, with sound.
    """
    folder = tmp_path_factory.mktemp("videos")
    side = request.param
    y, x = np.mgrid[:side, :side]
    for number in range(CLIPS):
        random = np.random.default_rng(number)
        waves = np.array([127 + 80 * np.sin(0.05 * x + 0.03 * y + 0.3 * t + number) for t in range(FRAMES)])
        sound = random.integers(-3000, 3000, 640 * FRAMES).astype(np.int16)
        for name, encoding in (("ours", "lossless"), ("theirs", "crf23")):
            pictures = waves[..., None] + random.integers(0, 2, (FRAMES, side, side, 3))
            path = folder / name / f"{number}.mp4"
            write_video(path, Media(pictures.clip(0, 255).astype(np.uint8), sound), encoding=encoding)
            path.with_suffix(".txt").write_text("place blue at f two now")
    return folder


class Spelled(WordPieces):
    """Word pieces without a SentencePiece model."""

    def __init__(self) -> None:
        super().__init__(["<s>", "<pad>", "</s>", "<unk>", *(f"\u2581w{i}" for i in range(996))], None)

    def encode(self, text: str) -> tuple[int, ...]:
        return (*range(4, 4 + len(text.split())), 2)


@pytest.fixture(scope="module")
def reader(request: pytest.FixtureRequest) -> AVHubertSeq2Seq:
    torch.manual_seed(0)
    config = {"base": BASE, "large": LARGE}[getattr(request, "param", "base")]
    return AVHubertSeq2Seq(replace(config, pretraining_units=0)).eval().requires_grad_(False)


def load(metric: Any, reader: AVHubertSeq2Seq) -> None:
    """Put a network of the published size where the metric would load its weights."""
    torch.manual_seed(0)
    patches = PatchNormalisation(mean=0.421, std=0.165)
    networks: dict[str, Callable[[], dict[str, Any]]] = {
        "lse": lambda: {"_network": prepare_for_inference(SyncNet(), "cpu")},
        "lpips": lambda: {"_network": LPIPSNetwork("alex").eval()},
        "wer": lambda: {"_model": VSRModel(reader, Spelled(), patches)},
        "avs": lambda: {"_expert": (reader.encoder.w2v_model, patches)},
    }
    if metric.name in networks:
        metric.__dict__.update(networks[metric.name](), weights_used=tuple)


def timed(function: Callable[..., Any], spent: list[float]) -> Callable[..., Any]:
    """The function, which notes the CPU seconds of each call."""

    def call(*arguments: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return function(*arguments, **options)
        finally:
            spent.append(time.process_time() - start)

    return call


@contextmanager
def clocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[list[float], list[float]]]:
    """CPU seconds of every call into a network, and of the scoring of the clips, while the block lasts."""
    networks: list[float] = []
    scoring: list[float] = []
    with monkeypatch.context() as patch:
        for owner, names in NETWORKS:
            for name in names:
                patch.setattr(owner, name, timed(getattr(owner, name), networks))
        patch.setattr(pipeline, "score", timed(pipeline.score, scoring))
        yield networks, scoring


@pytest.mark.parametrize(
    ("metrics", "reader"),
    [
        *[((one,), "base") for one in (*SIX, "avs")],
        (SIX, "base"),
        (("wer",), "large"),
        (SIX, "large"),
    ],
    indirect=["reader"],
    ids=lambda value: "+".join(one.partition("[")[0] for one in value) if isinstance(value, tuple) else value,
)
def test_two_clips_from_file_to_scores(
    benchmark: Any,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    videos: Path,
    reader: AVHubertSeq2Seq,
    metrics: tuple[str, ...],
) -> None:
    selection = Selection(metrics=metric_specs(metrics), device="cpu")
    plan = plan_given(selection, videos / "ours", videos / "theirs")
    for metric in plan.metrics:
        load(metric, reader)
    rounds: list[tuple[float, float, float]] = []

    def run(number: int) -> None:
        with clocked(monkeypatch) as (networks, scoring):
            start = time.process_time()
            pipeline.score_videos(replace(plan, path=tmp_path / str(number)))
            total = time.process_time() - start
        rounds.append((sum(networks) / CLIPS, (sum(scoring) - sum(networks)) / CLIPS, total - sum(scoring)))

    counter = iter(range(99))
    benchmark.pedantic(run, setup=lambda: ((next(counter),), {}), rounds=2)
    networks, outside, per_run = (min(column) for column in zip(*rounds, strict=True))
    facts = {"networks_s_per_clip": networks, "outside_s_per_clip": outside, "per_run_s": per_run}
    if networks:
        facts["overhead_percent"] = 100 * outside / networks
    facts = {name: round(value, 4) for name, value in facts.items()}
    benchmark.extra_info.update(facts)
    print(f"\n{'+'.join(metrics)}: {facts}")
    lines = (tmp_path / "1" / "scores.jsonl").read_text(encoding="utf-8").splitlines()
    assert len(lines) == CLIPS * len(metrics)
    assert all('"error": null' in line for line in lines)
