"""Checkpoints: complete or absent, and read without running anything that a file says.

OUT/checkpoints/step-N/
    model.safetensors, optimizer.bin, random_states_RANK.pkl     written and read by accelerate
    averages.safetensors                                         EMA by parameter name
    training.json                                                step, examples, processes, updates of the EMA
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from syncdiff_bench.errors import UsageError
from syncdiff_bench.files import replace_folder
from syncdiff_bench.training.ema import EMA

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

SCHEMA = 1


def save(accelerator: Accelerator, out: Path, step: int, examples: int | None, ema: EMA | None, keep: int) -> None:
    """Write a checkpoint under another name, then rename it: a killed training leaves complete ones only.

    examples: seen up to this step. Called by every process. Raises UsageError where the disk is full or not writable.
    """
    final = out / "checkpoints" / f"step-{step:08d}"
    partial = final.with_name(f".{final.name}.part")
    try:
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        if accelerator.is_main_process:
            known = {"step": step, "examples": examples, "processes": accelerator.num_processes}
            _write_ours(partial, known, ema)
        accelerator.wait_for_everyone()  # every process has written its random state
        if accelerator.is_main_process:
            replace_folder(partial, final)
            for old in _complete(out)[:-keep]:
                shutil.rmtree(old)
    except OSError as error:
        raise UsageError(
            f"{partial} cannot be written ({error.strerror or error}); free space, then run the same command again"
        ) from None
    accelerator.wait_for_everyone()


def resume(accelerator: Accelerator, out: Path, ema: EMA | None, names: Sequence[str]) -> tuple[int, int | None]:
    """Load the newest checkpoint; returns the step to go on with, 0 where there is none, and the examples seen so far.

    names: of all trained parameters, in the model's order.
    Raises UsageError where the checkpoint is of another model or damaged.
    """
    found = _complete(out)
    if not found:
        return 0, 0
    folder = found[-1]
    try:
        with _as_accelerate_reads_it(folder) as readable:
            accelerator.load_state(str(readable))
        known = json.loads((folder / "training.json").read_text()) if (folder / "training.json").is_file() else None
    except (RuntimeError, ValueError, KeyError, EOFError, OSError) as error:
        reason = next((line.strip() for line in str(error).splitlines()[1:] if line.strip()), str(error))
        raise UsageError(
            f"{folder} does not fit this training ({reason[:200]}); choose another --out, or delete the checkpoint"
        ) from None
    if ema is not None:
        tensors, updates = _saved_ema(folder, known, names)
        ema.restore(tensors, updates, str(folder))
    accelerator.step = 0  # counts micro-batches of this process, and may have been saved by another number of them
    step = int(folder.name.removeprefix("step-"))
    accelerator.print(f"resumed from {folder}")
    return step, None if known is None else known.get("examples")


def kept(out: Path) -> str:
    """Where a stopped training can go on from, in words."""
    found = _complete(out)
    return f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"


def _complete(out: Path) -> list[Path]:
    return sorted((out / "checkpoints").glob("step-*"))


def _write_ours(folder: Path, known: Mapping[str, Any], ema: EMA | None) -> None:
    from safetensors.torch import save_file

    known = {"schema": SCHEMA, **known}
    if ema is not None:
        save_file(ema.tensors(), folder / "averages.safetensors")
        known["ema_updates"] = ema.updates
    (folder / "training.json").write_text(json.dumps(known) + "\n")


def _saved_ema(folder: Path, known: Any, names: Sequence[str]) -> tuple[dict[str, Tensor], int]:
    from syncdiff_bench.weights.loading import load_tensors, load_torch

    if known is not None and "ema_updates" in known:
        return load_tensors(folder / "averages.safetensors"), int(known["ema_updates"])
    unnamed = folder / "custom_checkpoint_1.pkl"  # how version 0.1.0 saved the EMA of all trained parameters
    if known is None and unnamed.is_file():
        state = load_torch(unnamed)
        return dict(zip(names, state["shadow_params"], strict=True)), int(state["optimization_step"])
    raise UsageError(
        f"{folder} holds no EMA; set training.ema_decay = 0, as when it was written, or choose another --out"
    )


@contextmanager
def _as_accelerate_reads_it(folder: Path) -> Iterator[Path]:
    """The folder without the pickles of version 0.1.0, which accelerate would count (and unpickle freely)."""
    pickles = {path.name for path in folder.glob("custom_checkpoint_*.pkl")}
    if not pickles:
        yield folder
        return
    with TemporaryDirectory() as links:
        for path in folder.iterdir():
            if path.name not in pickles:
                (Path(links) / path.name).symlink_to(path.resolve())
        yield Path(links)
