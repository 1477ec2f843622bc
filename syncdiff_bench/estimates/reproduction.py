"""How long what is missing will take: from what was measured here before, else from a trial of seconds.

OUT/times/<unit>.<stage>.json      one finished stage: seconds, what was done in them (steps, frames, probes), where
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from syncdiff_bench.errors import BenchError
from syncdiff_bench.files import read_rows, write_whole
from syncdiff_bench.reproduction.jobs import Job, Request
from syncdiff_bench.reproduction.models import Model

Stage = Literal["train", "generate", "score", "probe"]
Trial = tuple[float, str]  # seconds per step, frame or probe; what was tried


@dataclass(frozen=True)
class Estimate:
    """seconds: None where nothing is known.

    source: "measured" (by wall time, of what was done here before), "trial" (see `estimates.machine.clock`; and what
        that left out), or why not; "" where nobody tried.
    """

    seconds: float | None
    source: str

    def __str__(self) -> str:
        from syncdiff_bench.estimates.workload import duration

        if self.seconds is None:
            return f"? ({self.source})" if self.source else ""
        return f"{duration(self.seconds)} ({self.source})"


NOTHING = Estimate(0.0, "done")
UNTRIED = Estimate(None, "")


class Costs:
    """Estimates for the device of a request. A trial of each kind of training, method and metric is made once."""

    def __init__(self, request: Request, device: str, jobs: Sequence[Job] = (), *, trials: bool = False) -> None:
        """jobs: what trials may be made with; of a kind whose models are missing, another one of its method.

        trials: False for estimates from what was measured before, and no others.
        """
        self.jobs = jobs
        self.device = device
        self.trials = trials
        self._folder = request.out / "times"
        self._trials: dict[tuple[Stage, str], tuple[float | None, str]] = {}

    @contextmanager
    def timed(self, unit: str, stage: Stage, family: str, amount: int) -> Iterator[None]:
        """Note how long a stage took; nothing where it is broken off or there was nothing to do."""
        began = time.monotonic()
        yield
        if amount <= 0:
            return
        entry = {
            "stage": stage,
            "family": family,
            "amount": amount,
            "seconds": round(time.monotonic() - began, 3),
            "host": socket.gethostname(),
            "device": self.device,
        }
        self._folder.mkdir(parents=True, exist_ok=True)
        write_whole(self._folder / f"{unit}.{stage}.json", json.dumps(entry) + "\n")

    @property
    def recorded(self) -> bool:
        """Whether anything was measured before."""
        return any(self._folder.glob("*.json"))

    def training(self, model: Model) -> Estimate:
        if not model.trainable:
            return Estimate(None, "made by hand")
        try:
            plan = model.plan()
        except Exception as error:
            return Estimate(None, str(error))
        left = plan.settings.steps - steps_done(model.folder.parent)
        measured = logged_rate(model.folder.parent)
        if measured is not None:
            return Estimate(left / measured, "measured")
        return self._estimate("train", model.recipe.config, left, lambda: self._try_training(model))

    def generating(self, job: Job, frames: int) -> Estimate:
        """Of the method, whatever the variant: they cost much the same."""
        method = job.system.method
        return self._estimate("generate", method, frames, lambda: _try_generating(self._ready(job, method)))

    def scoring(self, job: Job, frames: int) -> Estimate:
        return self._estimate("score", "", frames, lambda: _try_scoring(self._ready(job, "")))

    def probing(self, job: Job, probes: int) -> Estimate:
        return self._estimate("probe", job.system.method, probes, _try_probing)

    def _ready(self, job: Job, method: str) -> Job:
        """One that can be run at once."""
        for one in (job, *self.jobs):
            fits = one.kind == "run" and method in ("", one.system.method)
            if fits and not one.missing_models() and one.problem() is None:
                return one
        raise BenchError(f"no {method or 'method'} is there to try")

    def _estimate(self, stage: Stage, family: str, amount: int, trial: Callable[[], Trial]) -> Estimate:
        if amount <= 0:
            return NOTHING
        rate = self._measured(stage, family)
        if rate is not None:
            return Estimate(rate * amount, "measured")
        if not self.trials:
            return UNTRIED
        key = (stage, family)
        if key not in self._trials:
            try:
                self._trials[key] = trial()
            except BenchError as error:
                self._trials[key] = None, str(error)
        each, source = self._trials[key]
        return Estimate(None if each is None else each * amount, source)

    def _measured(self, stage: Stage, family: str) -> float | None:
        """Seconds per step, frame or probe, of what this machine has finished on this device."""
        seconds = amount = 0.0
        here = (stage, family, socket.gethostname(), self.device)
        for path in sorted(self._folder.glob(f"*.{stage}.json")):
            try:
                entry = json.loads(path.read_text(encoding="utf-8"))
                if (entry["stage"], entry["family"], entry["host"], entry["device"]) == here:
                    seconds, amount = seconds + entry["seconds"], amount + entry["amount"]
            except (OSError, ValueError, KeyError, TypeError):
                continue  # an estimate less
        return seconds / amount if amount else None

    def _try_training(self, model: Model) -> Trial:
        """One step."""
        from syncdiff_bench.estimates.machine import available_bytes
        from syncdiff_bench.estimates.training import MARGIN, probe_seconds, step_cost
        from syncdiff_bench.training.loader import load_task

        plan, place = model.plan(), model.place
        task = load_task(plan, place.data_root, model.cache, self.device)
        cost = step_cost(task, plan.settings)
        if cost is None:
            raise BenchError("not known before it runs")
        if cost.bytes - cost.example_bytes * (cost.batch_size - 1) > MARGIN * available_bytes(self.device):
            raise BenchError(f"not even one example fits into the memory of {self.device}")
        seconds = probe_seconds(task, plan.settings, self.device)
        assert seconds is not None
        return seconds, "trial"


def _try_generating(job: Job) -> Trial:
    """What the method itself expects."""
    plan = job.plan()
    (run,) = plan.runs
    frames = frames_of(job)
    workload = run.method.workload(frames)
    if workload is None or workload.seconds is None:
        raise BenchError("not known before it runs")
    return workload.seconds / max(1, sum(frames)), "trial"


def _try_scoring(job: Job) -> Trial:
    """The first clip against itself, by the metrics whose weights are here: a trial fetches none."""
    from syncdiff_bench.contracts import Pair, Runtime
    from syncdiff_bench.estimates.machine import seconds_of
    from syncdiff_bench.runs.plan import load_metrics
    from syncdiff_bench.runs.sources import open_clip
    from syncdiff_bench.texts import metric_specs
    from syncdiff_bench.weights.store import WeightsStore

    class WeightsHere(WeightsStore):
        def ensure(self, name: str) -> Path:
            return self.path(name)

    plan = job.plan()
    clip = open_clip(plan.dataset, plan.runs[0].identity.clips[0])
    pair, seconds, without = Pair(clip, clip), 0.0, []
    lent = Runtime(plan.runtime.device, WeightsHere())
    for metric in load_metrics(metric_specs(job.request.place.recipe.metrics), lent, plan.dataset):
        try:
            metric.prepare()
            seconds += seconds_of(partial(metric.measure, pair), plan.runtime.device)
        except BenchError:
            without.append(metric.name)
    left_out = f" without {', '.join(dict.fromkeys(without))}" if without else ""
    return seconds / max(1, len(clip.frames)), f"trial{left_out}"


def _try_probing() -> Trial:
    raise BenchError("unknown before the first of its method")


def frames_of(job: Job) -> Sequence[int]:
    """Frames of every clip, by headers. Raises as `Job.plan`."""
    from syncdiff_bench.estimates.workload import clip_frames

    plan = job.plan()
    return clip_frames(plan.dataset, plan.runs[0].identity.clips)[0]


def steps_done(out: Path) -> int:
    """Of a training that was broken off."""
    found = sorted((out / "checkpoints").glob("step-*"))
    return int(found[-1].name.removeprefix("step-")) if found else 0


def logged_rate(out: Path) -> float | None:
    """Steps per second, as a training that was broken off logged them."""
    if not (out / "log.jsonl").is_file():
        return None
    try:
        rates = [float(row["steps_per_s"]) for row in read_rows(out / "log.jsonl") if row.get("steps_per_s")]
    except BenchError:
        return None
    return rates[-1] if rates else None
