"""What a training says while it runs: OUT/log.jsonl, trackers, pictures, a progress bar."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import replacing
from syncdiff_bench.journals import Journal
from syncdiff_bench.options import options_to_json
from syncdiff_bench.progress import Progress
from syncdiff_bench.training.task import TrainingSettings, TrainingTask

if TYPE_CHECKING:
    from accelerate import Accelerator
    from numpy.typing import NDArray

PROJECT = "syncdiff-bench"
PACKAGES: Mapping[str, tuple[str, ...]] = {"tensorboard": ("tensorboard", "tensorboardX")}  # one of them, else the name


def require_trackers(settings: TrainingSettings) -> None:
    """Raise UsageError for a tracker whose package is not installed: accelerate would leave it out without a word."""
    for name in settings.trackers:
        if not any(find_spec(package) for package in PACKAGES.get(name, (name,))):
            raise UsageError(
                f"tracker {name!r} is not installed; pip install {name}, or take it out of training.trackers"
            )


class Record:
    """Writes on the main process, does nothing on the others."""

    def __init__(self, accelerator: Accelerator, out: Path) -> None:
        self._accelerator = accelerator
        self._out = out
        self._journal = Journal(out / "log.jsonl", "it is left out") if accelerator.is_main_process else None

    def begin(self, start: int, settings: TrainingSettings, options: Any) -> None:
        """Forget what was logged after step `start`, where the training goes on; open the trackers.

        How the steps that follow are shared out is a line, {"step": start, "training": {...}}, where that is new.
        """
        if self._journal is not None:
            kept = [row for row in self._journal.read() if row.get("step", 0) <= start]
            self._journal.rewrite(kept)
            said = [row["training"] for row in kept if "training" in row]
            shared = settings.shared(self._accelerator.num_processes)
            if not said or said[-1] != shared:
                self._journal.append([{"step": start, "training": shared}])
        if settings.trackers:
            name = {"name": self._out.name}
            self._accelerator.init_trackers(
                PROJECT,
                config=dict(_scalars({"training": asdict(settings), "options": options_to_json(options)})),
                init_kwargs={"wandb": {**name, "dir": str(self._out)}, "trackio": name},
            )

    def write(self, step: int, figures: Mapping[str, Any]) -> None:
        """A line of log.jsonl, {"step": step, **figures}; figures may nest. Numbers go to the trackers too."""
        if self._journal is not None:
            self._journal.append([{"step": step, **_without_nan(figures)}])
        if self._accelerator.trackers:
            self._accelerator.log(
                {name: value for name, value in _scalars(figures) if isinstance(value, int | float)}, step=step
            )

    def picture(self, step: int, pixels: NDArray[Any]) -> None:
        """OUT/samples/step-N.png of (H, W, 3) uint8 RGB pixels."""
        from PIL import Image

        with replacing(self.picture_of(step)) as partial:
            Image.fromarray(pixels).save(partial, format="PNG")

    def picture_of(self, step: int) -> Path:
        """Where its picture lies, if there is one."""
        return self._out / "samples" / f"step-{step:08d}.png"

    def holds(self, step: int, figure: str) -> bool:
        """Whether the log has a figure of that name for that step."""
        return self._journal is not None and any(
            row.get("step") == step and figure in row for row in self._journal.read()
        )

    def end(self) -> None:
        """Close the trackers, also when the training failed."""
        for tracker in self._accelerator.trackers:
            tracker.finish()


def _scalars(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Nested figures as `a.b`; what is no number becomes text, as trackers want it."""
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _scalars(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value if isinstance(value, int | float) else str(value)


def _without_nan(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Figures that JSON can hold: null for what is not finite."""
    return {
        name: _without_nan(value)
        if isinstance(value, Mapping)
        else (None if isinstance(value, float) and not math.isfinite(value) else value)
        for name, value in figures.items()
    }


@contextmanager
def telling(progress: Progress, accelerator: Accelerator, task: TrainingTask, steps: int, start: int) -> Iterator[Any]:
    """The main process tells the running loss; what the task tells meanwhile stands beside it.

    Yields a function to call with the losses of each finished step.
    """
    followed = progress if accelerator.is_main_process else Progress()

    task.tell = lambda text: followed.done(0, about=text)

    def advance(losses: Mapping[str, float]) -> None:
        followed.done(about=" ".join(f"{name} {value:.4f}" for name, value in losses.items()))

    with followed.stage("training", steps, start, unit="steps"):
        yield advance
