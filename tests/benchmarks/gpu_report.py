"""What `gpu.py` measures with and writes to: a device's clock and peak, a profile, a Markdown file."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from syncdiff_bench.errors import BenchError

# Dense bfloat16 TFLOP/s of NVIDIA's data sheets; the first name that is part of the device's counts.
PEAKS = {
    "H100 PCIe": 756.0, "H100 NVL": 835.0, "H100": 989.4, "H200": 989.4, "GH200": 989.4, "B200": 2250.0,
    "A100": 311.9, "A30": 165.0, "A10": 125.0, "L40S": 362.0, "L40": 181.0, "L4": 121.0, "A6000": 154.8,
    "RTX 4090": 165.2, "RTX 3090": 71.0,
}  # fmt: skip
KERNELS = 15  # of a profile, that take most


@dataclass
class Section:
    head: Sequence[str]
    notes: Sequence[str]
    rows: list[Sequence[object]] = field(default_factory=list)

    def __str__(self) -> str:
        notes = "".join(f"{note}\n\n" for note in self.notes)
        lines = [self.head, ["---"] * len(self.head), *self.rows]
        return notes + "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


@dataclass
class Report:
    """Tables of Markdown, on disk as soon as a row is there. ends: by `time.monotonic`, nothing is begun later."""

    path: Path
    ends: float
    sections: dict[str, Section] = field(default_factory=dict)

    def add(self, title: str, head: Sequence[str], row: Sequence[object], *notes: str) -> None:
        """A row of the section of that title."""
        self.sections.setdefault(title, Section(head, notes)).rows.append(row)
        self.path.write_text("\n".join(f"## {name}\n\n{section}" for name, section in self.sections.items()))

    @contextmanager
    def measuring(self, what: str) -> Iterator[bool]:
        """Yields whether there is time; an error of the block becomes a row, and the next measurement is made."""
        in_time = time.monotonic() < self.ends
        try:
            yield in_time
            trouble = "" if in_time else "out of time"
        except (BenchError, RuntimeError) as error:
            trouble = (str(error).splitlines() or [type(error).__name__])[0][:300]
        if trouble:
            self.add("Left out", ("what", "why"), [what, trouble])
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


@dataclass(frozen=True)
class Machine:
    """device: a torch device; peak: of bfloat16 in TFLOP/s, None where it is not known."""

    device: torch.device
    peak: float | None

    @property
    def gpu(self) -> bool:
        return self.device.type == "cuda"

    def seconds(self, call: Callable[[], Any]) -> float:
        """Wall time until the device is done."""
        self.finish()
        began = time.perf_counter()
        call()
        self.finish()
        return time.perf_counter() - began

    def finish(self) -> None:
        if self.gpu:
            torch.cuda.synchronize(self.device)

    def share(self, flops: float, seconds: float) -> str:
        """Model FLOP utilisation: FLOPs of the model over what the device could have done meanwhile."""
        return "?" if self.peak is None else f"{100 * flops / seconds / self.peak / 1e12:.1f} %"

    def gigabytes(self) -> str:
        """The most memory that was allocated since the last time this was asked."""
        if not self.gpu:
            return "?"
        found = torch.cuda.max_memory_allocated(self.device) / 1e9
        torch.cuda.reset_peak_memory_stats(self.device)
        return f"{found:.1f}"


def machine_of(device: str, peak: float | None) -> tuple[Machine, str]:
    where = torch.device(device)
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else "CPU"
    known = next((rate for part, rate in PEAKS.items() if part in name), None)
    return Machine(where, known if peak is None else peak), name


def profile(report: Report, machine: Machine, what: str, call: Callable[[], Any]) -> None:
    """The kernels of a call; on a CPU its operators."""
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity

    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if machine.gpu else [])]
    plain = machine.seconds(call)
    with torch.profiler.profile(activities=activities) as found:
        call()
        machine.finish()
    kind = DeviceType.CUDA if machine.gpu else DeviceType.CPU
    events = [event for event in found.key_averages() if event.device_type == kind and not event.is_user_annotation]

    def spent(event: Any) -> float:
        """Milliseconds."""
        return float(event.self_device_time_total if machine.gpu else event.self_cpu_time_total) / 1000

    events.sort(key=spent, reverse=True)
    busy, launches = sum(map(spent, events)), sum(event.count for event in events)
    rows = [
        [event.key.replace("|", "/")[:90], event.count, f"{spent(event):.2f}", f"{spent(event) / busy:.1%}"]
        for event in events[:KERNELS]
    ]
    idle = f"{max(0.0, 1 - busy / 1000 / plain):.0%} of the {1000 * plain:.1f} ms that it takes without the profiler"
    note = (
        f"{launches} kernels and copies, {busy:.1f} ms; nothing runs in {idle}."
        if machine.gpu
        else f"{launches} operators."
    )
    for row in rows:
        report.add(f"Profile: {what}", ("kernel", "times", "ms", "share"), row, note)
