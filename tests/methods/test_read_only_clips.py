"""A clip whose arrays are read-only, as plugins are lent them, makes torch warn of nothing, the second time neither."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from syncdiff_bench.contracts import Runtime
from syncdiff_bench.plugins import load_method
from syncdiff_bench.testing.samples import read_only, sample_clip
from syncdiff_bench.weights.store import WeightsStore


@pytest.fixture(autouse=True)
def every_warning() -> Iterator[None]:
    """torch says each of its warnings once in a process, unless asked."""
    torch.set_warn_always(True)
    yield
    torch.set_warn_always(False)


@pytest.mark.filterwarnings("error:The given NumPy array is not writable")
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("static", {}),
        ("gt-rec", {"model": "pocket"}),
        ("syncdiff", {"model": "pocket", "steps": 1}),
        ("wav2lip", {"checkpoint": "pocket"}),
    ],
)
def test_a_read_only_clip_is_generated_without_a_warning(name: str, options: dict[str, Any]) -> None:
    method = load_method(name, options, Runtime(device="cpu", weights=WeightsStore()))
    clip = read_only(sample_clip("check/locked"))
    ((clip_id, frames),) = method.generate([clip], seed=0)
    assert clip_id == clip.id and frames.shape == clip.frames.shape
