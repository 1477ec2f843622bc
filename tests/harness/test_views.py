"""A view of a data set is that data set in all that it does not change."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.plugins import load_dataset
from syncdiff_bench.views import AcceptingDataset, BoxedDataset, PairedDataset

FACTS = {
    "default_split": "odd",
    "default_metrics": ("psnr[region=full]",),
    "text_rule": "official",
    "drawn_faces": True,
}


@pytest.mark.parametrize("view", [AcceptingDataset, BoxedDataset, PairedDataset])
def test_a_view_says_of_its_clips_what_their_data_set_says(view: Any, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    of = load_dataset("folder", tmp_path)
    assert all(getattr(of, fact) != value for fact, value in FACTS.items()), "or the test sees nothing"
    for fact, value in FACTS.items():
        setattr(of, fact, value)
    options = load_dataset("folder", tmp_path, {"pairs": str(tmp_path / "none.txt")}).options
    shown = view(of, options)
    assert {fact: getattr(shown, fact) for fact in FACTS} == FACTS
    assert shown.name == ("folder-pairs" if view is PairedDataset else "folder")
    assert (shown.root, shown.splits(), shown.of) == (of.root, of.splits(), of)
