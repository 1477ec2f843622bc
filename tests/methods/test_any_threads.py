"""Methods that claim `any_threads`: the same bytes whatever number of threads torch uses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_networks import SYNCDIFF

from syncdiff_bench import load_method, registry
from syncdiff_bench.contracts import Clip, Method
from syncdiff_bench.media.writing import write_video
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.syncdiff.model import SyncDiffModel

SHIPPED = "syncdiff_methods."


def claiming() -> list[str]:
    found = (registry.load_class("method", name) for name in registry.names("method"))
    return [cls.name for cls in found if cls.any_threads and cls.__module__.startswith(SHIPPED)]


@pytest.fixture(scope="module")
def clip() -> Clip:
    pocket = Pocket()
    return pocket.clip(pocket.clip_ids("test")[0]).first(2)


def videos(folder: Path, clip: Clip) -> dict[str, Any]:
    (folder / clip.id).parent.mkdir(parents=True)
    write_video(folder / f"{clip.id}.mp4", clip.media)
    return {"folder": folder}


def model(folder: Path, _clip: Clip) -> dict[str, Any]:
    torch.manual_seed(0)
    SyncDiffModel(SYNCDIFF).save_pretrained(folder)
    return {"model": str(folder)}


OPTIONS: dict[str, Callable[[Path, Clip], dict[str, Any]]] = {"videos": videos, "syncdiff": model}


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("name", claiming())
def test_one_thread_and_two_make_the_same_bytes(name: str, clip: Clip, tmp_path: Path) -> None:
    options = OPTIONS[name](tmp_path / "made", clip) if name in OPTIONS else {}
    made = []
    for count in (1, 2):
        torch.set_num_threads(count)
        method: Method = load_method(name, options)
        ((_, frames),) = method.generate([clip], seed=0)
        assert isinstance(frames, np.ndarray) and frames.shape == clip.frames.shape
        made.append(frames.tobytes())
    assert made[0] == made[1]


def test_those_that_claim_it_are_known() -> None:
    assert set(claiming()) == {"gt", "static", "videos", "syncdiff"}
