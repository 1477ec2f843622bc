"""The examples in docstrings do what they show. They may write below `folder`."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("", "methods", "metrics", "datasets", "leaderboards")


def modules_with_examples() -> list[str]:
    found = []
    for room in ROOMS:
        for file in (ROOT / room).glob("syncdiff_*/**/*.py"):
            if ">>> " in file.read_text(encoding="utf-8"):
                parts = file.relative_to(ROOT / room).with_suffix("").parts
                found.append(".".join(part for part in parts if part != "__init__"))
    return sorted(found)


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_in_docstrings(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    results = doctest.testmod(importlib.import_module(name), extraglobs={"folder": tmp_path / "runs"})
    assert results.attempted > 0
    assert results.failed == 0
