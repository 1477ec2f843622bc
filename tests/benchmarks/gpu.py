"""How fast SyncDiff trains and samples on one GPU, where the time goes, and how fast LSE and WER score.

    python tests/benchmarks/gpu.py --out gpu.md                          one GPU, the paper's size, under ten minutes
    python tests/benchmarks/gpu.py --out gpu.md --device cpu --tiny     whether this script works

Latents, clips and weights are random; nothing is downloaded. The file is written after every measurement, so that a
run that is stopped keeps what it has; what is not begun within --limit seconds is listed as left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from gpu_report import Machine, Report, machine_of, profile
from torch import Tensor

from syncdiff_bench.contracts import Clip, Media, Pair, Runtime
from syncdiff_bench.estimates.training import step_cost
from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation, VSRModel
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.syncnet import SyncNet, SyncNetConfig, prepare_for_inference
from syncdiff_bench.progress import Progress
from syncdiff_bench.training.device import float32_products
from syncdiff_bench.training.loop import _accelerator, _drawn_ahead, _Training
from syncdiff_bench.training.task import TrainingSettings
from syncdiff_methods.syncdiff.acceleration import Acceleration, accelerate, part_flops
from syncdiff_methods.syncdiff.audio import AudioCondition
from syncdiff_methods.syncdiff.config import (
    AudioConfig,
    AutoencoderConfig,
    Compile,
    DiffusionConfig,
    SyncDiffConfig,
    UNetConfig,
)
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_methods.syncdiff.sampling import ClipConditions, sample_clips
from syncdiff_methods.syncdiff.training import SyncDiffTask, SyncDiffTrainingOptions
from syncdiff_metrics.experts import WholeWords
from syncdiff_metrics.lse import LSE
from syncdiff_metrics.wer import WER, WEROptions

TRAINING_GOAL, SAMPLING_GOAL = 0.45, 0.50  # of the bfloat16 peak
FRAMES = 41  # the mean length of a clip of LRS2 test


@dataclass(frozen=True)
class Size:
    """How much is measured. batches: of training; clips: generated, and scored, together."""

    config: SyncDiffConfig
    batches: tuple[int, ...]
    clips: int
    updates: int
    steps: tuple[int, int]
    product: int
    syncnet: SyncNetConfig
    reader: AVHubertConfig
    beam: int
    scored: int


LARGE = AVHubertConfig(24, 1024, 4096, 16, pretraining_units=0, decoder_layers=9, decoder_ffn=4096, decoder_heads=8)
PAPER = Size(SyncDiffConfig(), (8, 32), 24, 10, (10, 50), 8192, SyncNetConfig(), LARGE, 50, 24)
TINY = Size(
    SyncDiffConfig(
        frame_size=32,
        autoencoder=AutoencoderConfig((8, 8, 8), 1, 16, 8, mid_attention=False),
        unet=UNetConfig((16, 16), (False, True), 1, 16, 8),
        audio=AudioConfig(2, 16, 32, 2, 4, 2, frozen_layers=0, window=4),
    ),
    (2,), 2, 2, (2, 4), 64, SyncNetConfig(1 / 16, 32),
    AVHubertConfig(2, 32, 48, 4, 8, 4, resnet_width=4, pretraining_units=0, decoder_layers=1, decoder_ffn=48), 3, 2,
)  # fmt: skip


# --------------------------------------------------------------------------------------------- training


class SyntheticTask(SyncDiffTask):
    """SyncDiff's task on zeros of the right shapes, with true noise and timesteps, from random weights."""

    def batch(self, seed: int, step: int, rank: int, size: int) -> Mapping[str, Tensor]:
        return self.probe_batch(size)

    def _start(self, condition: AudioCondition) -> None:
        return None


@dataclass(frozen=True)
class Way:
    """Of training: a batch, and settings beside those that all share."""

    name: str
    batch: int
    settings: Mapping[str, Any] = field(default_factory=dict)


BF16 = {"mixed_precision": "bf16"}


def plain_trainings(size: Size, *, gpu: bool) -> list[Way]:
    ways = [Way("bf16, as shipped", batch, BF16) for batch in size.batches]
    if gpu:
        ways += [
            Way("bf16, contiguous", size.batches[-1], {**BF16, "channels_last": False}),
            Way("float32 in TF32", size.batches[0]),
        ]
    return ways


def compiled_trainings(size: Size, *, gpu: bool) -> list[Way]:
    return [Way("bf16, compiled", batch, {**BF16, "compile": True}) for batch in size.batches] if gpu else []


class Trainer:
    """The loop that `train` runs, one update per call."""

    def __init__(self, size: Size, way: Way, device: torch.device, folder: Path) -> None:
        self.settings = TrainingSettings(10**6, way.batch, 4.8e-5, **way.settings)
        self.task = SyntheticTask(SyncDiffTrainingOptions(model=size.config), data=None)  # type: ignore[arg-type]
        accelerator = _accelerator(self.task, self.settings, folder, cpu=device.type == "cpu")
        self.training = _Training(accelerator, self.task, self.settings, folder, Progress())
        self.batches = _drawn_ahead(self.task, self.settings, accelerator, 0)
        self.done = 0

    def __call__(self) -> None:
        self.training._step(self.done, self.batches)
        self.done += 1


@cache
def example_flops(config: SyncDiffConfig) -> int:
    """Of one example, forward and backward."""
    task = SyntheticTask(SyncDiffTrainingOptions(model=config), data=None)  # type: ignore[arg-type]
    cost = step_cost(task, TrainingSettings(1, 1, 1.0))
    assert cost is not None
    return cost.flops


def train(report: Report, machine: Machine, size: Size, ways: Sequence[Way]) -> None:
    head = ("way", "batch", "ms per step", "examples/s", "TFLOP/s", "MFU", "GB")
    for way in ways:
        with report.measuring(f"training, {way.name}, batch {way.batch}") as in_time, TemporaryDirectory() as folder:
            if not in_time:
                continue
            flops = example_flops(size.config)
            step = Trainer(size, way, machine.device, Path(folder))
            machine.gigabytes()
            with float32_products(machine.device, tf32=step.settings.tf32):
                for _ in range(3):
                    step()
                seconds = machine.seconds(lambda step=step: [step() for _ in range(size.updates)]) / size.updates
                work = flops * way.batch
                speed = [f"{1000 * seconds:.1f}", f"{way.batch / seconds:.1f}", f"{work / seconds / 1e12:.3g}"]
                row = [way.name, way.batch, *speed, machine.share(work, seconds), machine.gigabytes()]
                goal = f"Goal: {TRAINING_GOAL:.0%} of the bfloat16 peak. An example is {flops / 1e12:.3g} TFLOP."
                report.add("Training", head, row, goal)
                if way == plain_trainings(size, gpu=machine.gpu)[0]:
                    profile(report, machine, f"one training step of {way.batch}, {way.name}", step)


# --------------------------------------------------------------------------------------------- sampling


SHOWN = 3  # frames of each clip; between them the generated one is encoded again


def sample(report: Report, machine: Machine, size: Size, ways: Sequence[Compile]) -> None:
    head = (
        "way", "ms per step", "MFU of a step", "ms beside the steps", "MFU of a frame in 200", "frames/s in 200 steps",
        "in 20", "GB",
    )  # fmt: skip
    few, many = size.steps
    for way in ways:
        with report.measuring(f"sampling, compile={way}") as in_time:
            if not in_time:
                continue
            torch.compiler.reset()
            flops, sampler = part_flops(size.config), Sampler(size, way, machine.device)
            machine.gigabytes()
            sampler(few), sampler(few)  # compiles, chooses kernels, records graphs
            short, long = (median(machine.seconds(partial(sampler, n)) for _ in range(3)) for n in (few, many))
            step, rest = sampler.divided(short, long)
            work, around = size.clips * flops["step"], size.clips * (flops["encode"] + flops["decode"])
            frame = rest + 200 * step
            row = [
                f"{sampler.precision}, compile={way}",
                f"{1000 * step:.2f}",
                machine.share(work, step),
                f"{1000 * rest:.1f}",
                machine.share(200 * work + around, frame),
                f"{size.clips / frame:.2f}",
                f"{size.clips / (rest + 20 * step):.2f}",
                machine.gigabytes(),
            ]
            goal = f"Goal: {SAMPLING_GOAL:.0%} of the bfloat16 peak."
            about = f"{size.clips} clips together; a step is {flops['step'] / 1e12:.3g} TFLOP a clip, ms are of all."
            report.add("Sampling", head, row, goal, about)
            if way == "off":
                what = f"{SHOWN} frames of {size.clips} clips in {few} steps, {sampler.precision}"
                profile(report, machine, what, partial(sampler, few))


class Sampler:
    """The loop that `run` samples with, on random weights; a call generates `SHOWN` frames of all clips."""

    def __init__(self, size: Size, way: Compile, device: torch.device) -> None:
        torch.manual_seed(0)
        self.size, config = size, size.config
        with device:
            self.model = SyncDiffModel(config).eval()
        self.precision = accelerate(self.model, Acceleration(compile=way)).precision
        side, pixels, dim = config.latent_size, config.frame_size, config.audio.dim

        def draw(*shape: int) -> Tensor:
            return torch.randn(shape, device=device)

        self.clips = [
            ClipConditions(
                str(i),
                draw(SHOWN, 3, side, side),
                draw(3, side, side),
                draw(SHOWN, dim),
                draw(3, pixels, pixels),
                torch.ones(SHOWN, side, side, device=device),
            )
            for i in range(size.clips)
        ]

    def __call__(self, steps: int) -> None:
        self.model.config = replace(self.size.config, diffusion=DiffusionConfig(steps=steps))
        sample_clips(self.model, self.clips, seed=0, on_frame=lambda *_: None)

    def divided(self, short: float, long: float) -> tuple[float, float]:
        """Seconds of a step, and of what a frame needs beside its steps, from the times of calls of few and many."""
        few, many = self.size.steps
        step = (long - short) / (many - few) / SHOWN
        return step, max(0.0, short / SHOWN - few * step)


# ---------------------------------------------------------------------------------------------- scoring


def random_pairs(count: int) -> list[Pair]:
    """Clips of 160 x 160 noise with noise for sound, and a sentence."""
    random = np.random.default_rng(0)
    pairs = []
    for i in range(count):
        pictures = random.integers(0, 256, (FRAMES, 160, 160, 3), dtype=np.uint8)
        sound = random.integers(-9999, 9999, 640 * FRAMES).astype(np.int16)
        pairs.append(Pair(Clip(str(i), "gpu", transcript="w1 w2 w3", preloaded=Media(pictures, sound))))
    return pairs


def score(report: Report, machine: Machine, size: Size) -> None:
    pairs, device = random_pairs(size.scored), str(machine.device)
    torch.manual_seed(0)
    about = (
        f"{size.scored} clips of {FRAMES} frames, from frames to score, the work of the CPU (JPEG, MFCC) included."
        f" Random weights end no sentence: each search, beam {size.beam}, is {FRAMES} tokens long, as no real one is."
    )

    def timed(name: str, call: Callable[[], Any]) -> None:
        call()
        seconds = machine.seconds(call) / len(pairs)
        row = [name, f"{1 / seconds:.2f}", f"{FRAMES / seconds:.0f}", machine.gigabytes()]
        report.add("Scoring", ("metric", "clips/s", "frames/s", "GB"), row, about)

    with report.measuring("LSE") as in_time:
        if in_time:
            lse = LSE(runtime=Runtime(device))
            lse.__dict__["_network"] = prepare_for_inference(SyncNet(size.syncnet), device)
            timed("LSE", lambda: [lse.measure(pair) for pair in pairs])
    with report.measuring("WER") as in_time:
        if in_time:
            network = AVHubertSeq2Seq(size.reader).eval().requires_grad_(False).to(device)
            words = WholeWords([f"w{i}" for i in range(size.reader.vocab - 4)])
            for precision in ("fp32", "bf16") if machine.gpu else ("fp32",):
                wer = WER(WEROptions(beam=size.beam, precision=precision), Runtime(device))
                wer.__dict__["_model"] = VSRModel(network, words, PatchNormalisation())
                timed(f"WER, encoder in {precision}", lambda wer=wer: wer.measure_many(pairs))


# ------------------------------------------------------------------------------------------------- all


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Speed of SyncDiff, LSE and WER on one GPU, as a Markdown file.")
    parser.add_argument("--out", type=Path, default=Path("gpu.md"))
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="networks of a few thousand weights, to try the script out")
    parser.add_argument(
        "--peak", type=float, help="bfloat16 peak in TFLOP/s, where the table here does not know the GPU"
    )
    parser.add_argument("--limit", type=float, default=480.0, help="begin nothing after so many seconds")
    chosen = parser.parse_args(arguments)
    if chosen.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device cuda: torch {torch.__version__} sees no CUDA device; try --device cpu --tiny")

    size, began = TINY if chosen.tiny else PAPER, time.monotonic()
    machine, name = machine_of(chosen.device, chosen.peak)
    report = Report(chosen.out, began + chosen.limit)
    a = torch.randn(size.product, size.product, device=machine.device, dtype=torch.bfloat16)
    rate = 2 * size.product**3 / min(machine.seconds(partial(torch.mm, a, a)) for _ in range(5)) / 1e12
    rows = [
        ["networks", "tiny: no figure below says anything about the method" if chosen.tiny else "the paper's size"],
        ["bfloat16 peak, TFLOP/s", "?" if machine.peak is None else machine.peak],
        [f"a product of {size.product} x {size.product} in bfloat16, TFLOP/s", f"{rate:.3g}"],
        ["torch", f"{torch.__version__}, CUDA {torch.version.cuda}"],
    ]
    for row in rows:
        report.add("Machine", ("device", name), row)
    # What is compiled comes last: it takes minutes, and the rest shall not wait for it.
    train(report, machine, size, plain_trainings(size, gpu=machine.gpu))
    sample(report, machine, size, ["off"])
    score(report, machine, size)
    sample(report, machine, size, ["on", "graphs"] if machine.gpu else [])
    train(report, machine, size, compiled_trainings(size, gpu=machine.gpu))
    report.add("Machine", (), ["all of this, s", f"{time.monotonic() - began:.0f}"])
    print(f"{chosen.out}: written")


if __name__ == "__main__":
    main()
