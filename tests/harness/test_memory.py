"""Out of memory: the batch is halved until it fits, the clips come out the same, and the run says so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch

from syncdiff_bench.contracts import Clip, Frames, Method
from syncdiff_bench.pipeline import generate_run
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.runs.generating import out_of_memory
from syncdiff_bench.runs.plan import Selection, make_plan
from syncdiff_bench.runs.progress import Progress
from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.usefixtures("toy_plugins")

CUDA = "CUDA out of memory. Tried to allocate 20.00 MiB. GPU 0 has a total capacity of 79.11 GiB."


@dataclass(frozen=True)
class HungryOptions:
    batch: int = 5


class Hungry(Method):
    """Fits `fits` clips; fails after it has yielded the first one, as a long batch may."""

    name = "hungry"
    Options = HungryOptions
    fits = 5
    asked: list[tuple[str, ...]]

    @property
    def batch_size(self) -> int:
        return int(self.options.batch)

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames]]:
        self.asked.append(tuple(clip.id for clip in clips))
        for clip in clips:
            if self.fits == 0:
                raise torch.OutOfMemoryError(CUDA)
            yield clip.id, clip.frames
            if len(clips) > self.fits:
                raise torch.OutOfMemoryError(CUDA)


class Told(Progress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def run_hungry(out: Path, fits: int) -> tuple[Run, Hungry, list[str]]:
    plan = make_plan(Selection(("toy-truth",), "toy", out=out), with_metrics=False)
    method, told = Hungry(), Told()
    method.fits, method.asked = fits, []
    run_plan = replace(plan.runs[0], method=method)
    generate_run(plan, run_plan, progress=told)
    return load_run(run_plan.path), method, told.notes


def videos(run: Run) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in (run.path / "videos").rglob("*.mp4")}


def test_halved_until_it_fits_and_the_same(tmp_path: Path) -> None:
    whole, method, notes = run_hungry(tmp_path / "whole", fits=5)
    assert notes == [] and len(method.asked) == 1
    run, method, notes = run_hungry(tmp_path / "halved", fits=2)
    # Five do not fit, nor do three; what was finished before the failure is not made again.
    assert [len(batch) for batch in method.asked] == [5, 3, 2, 1, 2]
    assert videos(run) == videos(whole) and len(videos(run)) == 5
    assert notes == [
        "hungry: out of memory with 5 clips at once, made 3 at a time; --set batch=3 plans for it",
        "hungry: out of memory with 3 clips at once, made 2 at a time; --set batch=2 plans for it",
    ]
    assert "out of memory with 3 clips at once" in str(run.manifest["notes"]["s2/4"])


def test_what_was_learnt_holds_for_later_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hungry, "batch_size", property(lambda _self: 2))
    run, method, notes = run_hungry(tmp_path, fits=1)
    assert [len(batch) for batch in method.asked] == [2, 1, 1, 1, 1]
    assert len(notes) == 1 and len(videos(run)) == 5


def test_a_clip_that_does_not_fit_alone_fails_in_words(tmp_path: Path) -> None:
    run, _, _ = run_hungry(tmp_path, fits=0)
    failures = [record.error for record in run.generated.values() if record.error]
    assert len(failures) == 5 and videos(run) == {}
    for failure in failures:
        assert failure.kind == "out-of-memory"
        assert "3 frames do not fit into the memory of cpu even alone" in failure.message
        assert "\n" not in failure.message


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError(CUDA),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
        ),
        RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB)"),
    ],
)
def test_it_is_known_on_every_device(error: Exception) -> None:
    assert out_of_memory(error)


def test_other_errors_are_not_taken_for_it() -> None:
    for error in (RuntimeError("shape mismatch"), ValueError("out of memory of names"), KeyboardInterrupt()):
        assert not out_of_memory(error)


def test_a_real_allocation_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError) as refused:
        torch.empty(1 << 60, dtype=torch.uint8)
    assert out_of_memory(refused.value)
