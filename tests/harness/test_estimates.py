"""What is said before anything starts: against sizes known by hand, and what the official networks cost."""

from __future__ import annotations

import hashlib
import itertools
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_networks import SYNCDIFF

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip
from syncdiff_bench.errors import ClipError
from syncdiff_bench.estimates import machine
from syncdiff_bench.estimates.counting import flops_of, peak_bytes_of
from syncdiff_bench.estimates.machine import flops_per_second, seconds_of
from syncdiff_bench.estimates.workload import Workload, clip_frames, in_words
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.syncdiff.acceleration import Acceleration, workload
from syncdiff_methods.syncdiff.config import AutoencoderConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.model import Autoencoder, Denoiser


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_a_matrix_product_by_hand(device: str) -> None:
    a, b = torch.zeros(3, 5, device=device), torch.zeros(5, 7, device=device)
    assert flops_of(lambda: a @ b) == 2 * 3 * 5 * 7


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_attention_by_hand(device: str) -> None:
    """Two products forward, scores and values; backward five on a CPU, as the scores are done again. torch's counter
    forgets them there.
    """
    q = torch.zeros(2, 4, 64, 32, device=device, requires_grad=True)
    product = 2 * (2 * 4 * 64 * 64 * 32)

    def attend() -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(q, q, q)

    with torch.inference_mode():
        assert flops_of(attend) == 2 * product
    if device == "cpu":
        assert flops_of(attend) == 2 * product
        assert flops_of(lambda: torch.autograd.backward(attend().sum())) == 7 * product


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_peak_memory_by_hand(device: str) -> None:
    """A chain holds two links at a time; views, inputs and what is dropped cost nothing."""
    given = torch.zeros(1000, device=device)

    def chain() -> torch.Tensor:
        x = given + 1
        for _ in range(5):
            x = (x.view(10, 100) * 2).view(-1)
        return x

    def hoard() -> list[torch.Tensor]:
        return [given + i for i in range(4)]

    with torch.inference_mode():
        assert peak_bytes_of(chain) == 2 * 4000
        assert peak_bytes_of(hoard) == 4 * 4000
        assert peak_bytes_of(lambda: given.view(10, 100).t()) == 0


def test_the_papers_networks_cost_what_the_official_ones_do() -> None:
    """docs/spec/parity.md#costs: 342.8 GFLOP per UNet step, 345 to encode, 671 to decode a frame."""
    with torch.device("meta"), torch.inference_mode():
        denoiser, vq = Denoiser(SyncDiffConfig()), Autoencoder(AutoencoderConfig())
        noisy, visual, token = torch.zeros(1, 3, 64, 64), torch.zeros(1, 7, 64, 64), torch.zeros(1, 1, 768)
        step = flops_of(lambda: denoiser(noisy, torch.zeros((), dtype=torch.long), visual, token))
        encode = flops_of(lambda: vq.encode(torch.zeros(1, 3, 256, 256)))
        decode = flops_of(lambda: vq.decode(noisy))
    assert step == pytest.approx(342.8e9, rel=1e-3)
    assert encode == pytest.approx(345e9, rel=3e-3)
    assert decode == pytest.approx(671e9, rel=3e-3)


@pytest.mark.parametrize(
    ("times", "speed", "tried"),
    [
        ([2.0, 0.1, 0.5, 2.0], 100 / 2.0, [10, 100]),  # 2 s of warming up are no speed; 2 s of work are enough
        ([0.1, 0.1, 6.0], 100 / 6.0, [10, 100]),  # what takes so long is not done again
    ],
)
def test_the_speed_is_that_of_the_last_trial(
    times: list[float], speed: float, tried: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(times)
    monkeypatch.setattr(machine, "seconds_of", lambda _call, _device: next(clock))
    monkeypatch.setattr(machine, "ENOUGH_SECONDS", 1.0)
    begun: list[int] = []

    def trials() -> Iterator[tuple[object, int]]:
        for size in (10, 100, 1000):
            begun.append(size)
            yield (lambda: None), size

    assert flops_per_second(trials(), "cpu") == speed  # type: ignore[arg-type]
    assert begun == tried


def working(seconds: float) -> Callable[[], None]:
    """Keeps the thread that calls it at work for that much processor time, without holding the interpreter's lock."""
    block = bytes(1 << 20)

    def work() -> None:
        began = time.thread_time()
        while time.thread_time() - began < seconds:
            hashlib.sha256(block).digest()

    return work


def test_sleep_and_waiting_do_not_count() -> None:
    """What a busy machine does to a trial: the clock on the wall goes on, the work does not."""

    def slow() -> None:
        working(0.1)()
        time.sleep(0.8)

    assert 0.1 <= seconds_of(slow, "cpu") < 0.6
    assert seconds_of(lambda: time.sleep(0.3), "cpu") < 0.1


def test_the_speed_is_that_of_the_work_and_not_of_the_wait() -> None:
    def trial() -> None:
        working(0.2)()
        time.sleep(0.6)

    assert 1000 / 0.6 < flops_per_second([(trial, 1000)], "cpu") <= 1000 / 0.2


@pytest.mark.parametrize("lasting", [True, False])
@pytest.mark.parametrize(("cores", "least", "most"), [(2, 0.4, 0.7), (1, 0.8, 1.3)])
def test_threads_side_by_side_count_once(
    cores: int, least: float, most: float, lasting: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two times 0.4 s of work, by the caller and a thread that goes on living or not: 0.4 s on two cores."""
    monkeypatch.setattr(machine, "cores", lambda: cores)
    monkeypatch.setattr(
        "syncdiff_bench.estimates.machine.time.perf_counter", itertools.count(step=100).__next__
    )  # a slow clock on the wall
    with ThreadPoolExecutor(1) as pool:
        pool.submit(working(0.0)).result()

        def both() -> None:
            if lasting:
                other = pool.submit(working(0.4))
                working(0.4)()
                other.result()
            else:
                thread = threading.Thread(target=working(0.4))
                thread.start()
                working(0.4)()
                thread.join()

        assert least <= seconds_of(both, "cpu") < most


def test_programs_that_are_waited_for_count() -> None:
    burn = "import time\nwhile time.process_time() < 0.4: pass"
    assert 0.4 <= seconds_of(lambda: subprocess.run([sys.executable, "-c", burn], check=True), "cpu") < 1.5


def test_no_more_than_the_wall_clock_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("syncdiff_bench.estimates.machine.time.perf_counter", itertools.count(step=0.125).__next__)
    assert seconds_of(working(0.3), "cpu") == 0.125


def test_a_gpu_is_timed_on_the_wall_until_it_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processor time says nothing of what a GPU does."""
    now = [0.0]

    def synchronize(_device: str) -> None:
        now[0] += 1.0  # what was begun before; what the call began

    monkeypatch.setattr("syncdiff_bench.estimates.machine.time.perf_counter", lambda: now[0])
    monkeypatch.setattr(torch.cuda, "synchronize", synchronize)
    assert seconds_of(lambda: None, "cuda:1") == 1.0


class Headers(Pocket):
    """One clip in three cannot be read."""

    def clip(self, clip_id: str) -> Clip:
        if self.clip_ids("test").index(clip_id) % 3 == 1:
            raise ClipError("missing", "not there")
        return super().clip(clip_id)


def test_frames_come_from_headers() -> None:
    dataset = Pocket()
    ids = dataset.clip_ids("test")[:6]
    frames, read = clip_frames(dataset, ids)
    assert frames == [len(dataset.clip(clip_id).frames) for clip_id in ids]
    assert read == 6
    guessed, read = clip_frames(Headers(), ids)
    known = [n for i, n in enumerate(frames) if i % 3 != 1]
    assert read == 4
    assert guessed == [n if i % 3 != 1 else round(sum(known) / 4) for i, n in enumerate(frames)]


def test_in_words() -> None:
    heavy = Workload(flops=3 * 10**15, seconds=9000.0, constant_bytes=10**9, clip_bytes=10**9, batch=24)
    work, memory = in_words(heavy, 1000, "cuda", 16 * 10**9)
    assert work == "3 PFLOP, 3 TFLOP per frame; about 2.5 h on cuda (333 GFLOP/s in a trial, by wall time)"
    assert memory == "memory: about 25.00 GB of 16.0 GB (1.00 and 1.000 per clip at once); 13 clips at once would fit"
    own = next(in_words(heavy, 1000, "cpu", 16 * 10**9))
    assert own.endswith("about 2.5 h on cpu (333 GFLOP/s in a trial, by processor time, on a free machine)")
    light = Workload(flops=10**6, seconds=None, constant_bytes=0, clip_bytes=1, batch=1)
    assert "not tried: too little memory" in next(in_words(light, 1, "cpu", 10))


def with_steps(steps: int) -> SyncDiffConfig:
    return replace(SYNCDIFF, diffusion=replace(SYNCDIFF.diffusion, steps=steps))


def test_a_workload_is_the_sum_of_its_frames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "ENOUGH_SECONDS", 0.01)
    config = with_steps(5)
    ten = workload(config, [4, 6], 2, Acceleration(), "cpu")
    thousand = workload(config, [500, 500], 2, Acceleration(), "cpu")
    assert thousand.flops == 100 * ten.flops
    assert ten.seconds is not None and ten.seconds > 0
    doubled = workload(with_steps(10), [4, 6], 2, Acceleration(), "cpu")
    assert 1.1 < doubled.flops / ten.flops < 2


def test_dry_run_says_so_and_writes_nothing(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--limit", "2", "--dry-run", "--method", "syncdiff", "--method", "static"]) == 0
    out = capsys.readouterr().out
    frames = sum(clip_frames(Pocket(), Pocket().clip_ids("test")[:2])[0])
    assert f"{frames} frames at 25 fps" in out
    assert "GFLOP per frame; about" in out and "in a trial, by processor time, on a free machine)" in out
    assert "per clip at once" in out
    assert "no estimate of this method" in out
    assert list(work_folder.iterdir()) == []


def test_an_impossible_step_count_is_refused_at_once(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "--set", "steps=30"]) == 2
    assert main(["run", "--set", "sampler=unipc", "--set", "steps=1"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "error: steps=30 does not divide 1000, so DDIM would start too low; use 25 or 20"
    assert second.startswith("error: steps=1 is not possible with sampler=unipc; give 2 to 100")
    assert list(work_folder.iterdir()) == []
