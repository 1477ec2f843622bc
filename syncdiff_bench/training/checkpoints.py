"""Checkpoints: complete or absent, and read without running anything that a file says.

OUT/checkpoints/step-N/
    model.safetensors, optimizer.bin, random_states_RANK.pkl     written and read by accelerate
    averages.safetensors                                         EMA by parameter name
    training.json                      step, examples, processes, updates of the EMA; bytes and sha256 of each of these
                                       files, and the sha256 of all that it says itself
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from syncdiff_bench.errors import BenchError, UsageError
from syncdiff_bench.files import replace_folder
from syncdiff_bench.leftovers import sweep
from syncdiff_bench.platforms import link_or_copy
from syncdiff_bench.progress import QUIET
from syncdiff_bench.training.ema import EMA
from syncdiff_bench.training.processes import LostError
from syncdiff_bench.weights.digests import sha256_of

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

SCHEMA = 2
OURS = "training.json"
# What torch says of a file that it cannot write; it has no type of its own for that.
UNWRITTEN = ("PytorchStreamWriter", "inline_container", "unexpected pos")


def save(accelerator: Accelerator, out: Path, step: int, examples: int | None, ema: EMA | None, keep: int) -> None:
    """Write a checkpoint under another name, then rename it: a killed training leaves complete ones only.

    examples: seen up to this step. Called by every process. Raises UsageError where the disk is full or not writable.
    """
    final = out / "checkpoints" / f"step-{step:08d}"
    partial = final.with_name(f".{final.name}.part")
    with written(partial):
        if accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)
        accelerator.wait_for_everyone()
        accelerator.save_state(str(partial))
        accelerator.wait_for_everyone()  # every process has written its random state
        if accelerator.is_main_process:
            known = {"step": step, "examples": examples, "processes": accelerator.num_processes}
            _write_ours(partial, known, ema)
            replace_folder(partial, final)
            for old in complete(out)[:-keep]:
                shutil.rmtree(old)
    accelerator.wait_for_everyone()


def discard_unfinished(out: Path) -> None:
    """Remove what a training that was killed was writing. Called by the one launch that is at work in the folder."""
    for folder in (*(out / "checkpoints").glob(".step-*.part"), *out.glob(".model.part")):
        shutil.rmtree(folder, ignore_errors=True)
    sweep(out, alone=True)


@contextmanager
def written(partial: Path) -> Iterator[None]:
    """Raises UsageError, in one line, where the block cannot write a folder, which is deleted to make room."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, RuntimeError) and not any(sign in str(error) for sign in UNWRITTEN):
            raise
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        if isinstance(error, RuntimeError):
            reason = f"No space left on device, it seems: {reason.rpartition('] . ')[2]}"
        raise UsageError(
            f"{partial} cannot be written ({reason}); free space, then run the same command again"
        ) from None


def resume(accelerator: Accelerator, out: Path, ema: EMA | None, names: Sequence[str]) -> tuple[int, int | None]:
    """Load the newest checkpoint that can be read; returns the step to go on with, 0 where there is none, and the
    examples seen so far, None where a checkpoint of an older version does not say it.

    names: of all trained parameters, in the model's order.
    Raises UsageError where there are checkpoints and none of them is whole and of this model.
    """
    from accelerate.utils import gather_object

    reasons: list[str] = []
    found = complete(out)
    for folder in reversed(found):
        reason = ""
        try:
            known = _load(accelerator, folder, ema, names)
        except (torch.OutOfMemoryError, LostError):
            raise
        except Exception as error:  # libraries raise anything for what they cannot read
            reason = _in_one_line(error)
        reason = next(filter(None, gather_object([reason])), "")  # all go on with the same one
        if reason:
            reasons.append(f"{folder.name} does not fit this training ({reason.replace(f'{folder}/', '')})")
            continue
        if not QUIET.get():
            accelerator.print(f"resumed from {folder}{''.join(f'; {reason}' for reason in reasons)}")
        accelerator.step = 0  # counts micro-batches of this process, and may have been saved by another number of them
        return int(folder.name.removeprefix("step-")), known.get("examples")
    if reasons:
        raise UsageError(f"{found[-1].parent / reasons[0]}; choose another --out, or delete the checkpoint")
    return 0, 0


def kept(out: Path) -> str:
    """Where a stopped training can go on from, in words."""
    found = complete(out)
    return f"the last good checkpoint is {found[-1]}" if found else "there is no checkpoint yet"


def complete(out: Path) -> list[Path]:
    """The checkpoints of a training, oldest first."""
    return sorted((out / "checkpoints").glob("step-*"))


def _load(accelerator: Accelerator, folder: Path, ema: EMA | None, names: Sequence[str]) -> Mapping[str, Any]:
    """Load everything; returns training.json, empty for version 0.1.0, which wrote none."""
    known = _said(folder)
    for name, size in known.get("files", {}).items():
        there = (folder / name).stat().st_size
        if there != size:
            raise ValueError(f"{name} has {there} of {size} bytes")
    for name, digest in known.get("sha256", {}).items() if accelerator.is_main_process else ():
        if sha256_of(folder / name) != digest:
            raise ValueError(f"{name} is not what was written")
    with _as_accelerate_reads_it(folder) as readable:
        accelerator.load_state(str(readable))
    if ema is not None:
        tensors, updates = _saved_ema(folder, known, names)
        ema.restore(tensors, updates, str(folder))
    return dict(known)


def _said(folder: Path) -> dict[str, Any]:
    """training.json, empty for version 0.1.0. Raises ValueError for one that is not what was written."""
    path = folder / OURS
    if not path.is_file() and any(folder.glob("custom_checkpoint_*.pkl")):
        return {}
    known = json.loads(path.read_bytes())
    if not isinstance(known, dict) or known.get("schema") not in (1, SCHEMA):
        raise ValueError(f"{OURS} has another schema than {SCHEMA}")
    if known["schema"] == SCHEMA and known.pop("said", None) != _digest(known):
        raise ValueError(f"{OURS} is not what was written")
    return known


def _digest(known: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()


def _in_one_line(error: Exception) -> str:
    if isinstance(error, BenchError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{Path(error.filename).name}: {error.strerror}"
    text = str(error)
    return next((line.strip() for line in text.splitlines()[1:] if line.strip()), text)[:200] or type(error).__name__


def _write_ours(folder: Path, known: Mapping[str, Any], ema: EMA | None) -> None:
    from safetensors.torch import save_file

    known = {"schema": SCHEMA, **known}
    if ema is not None:
        save_file(ema.tensors(), folder / "averages.safetensors")
        known["ema_updates"] = ema.updates
    files = sorted(folder.iterdir())
    known["files"] = {path.name: path.stat().st_size for path in files}
    known["sha256"] = {path.name: sha256_of(path) for path in files}
    known["said"] = _digest(known)
    (folder / OURS).write_text(json.dumps(known) + "\n", encoding="utf-8")


def _saved_ema(folder: Path, known: Mapping[str, Any], names: Sequence[str]) -> tuple[dict[str, Tensor], int]:
    from syncdiff_bench.weights.loading import load_tensors, load_torch

    if "ema_updates" in known:
        return load_tensors(folder / "averages.safetensors"), int(known["ema_updates"])
    unnamed = folder / "custom_checkpoint_1.pkl"  # how version 0.1.0 saved the EMA of all trained parameters
    if not known and unnamed.is_file():
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
                link_or_copy(path, Path(links) / path.name)
        yield Path(links)
