"""Two processes that prepare the same data at the same time make the bytes that one makes, and read no half a file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from at_once import at_once, contents, draw_two_clips, prepare_faces, read_training_clips


@pytest.fixture
def videos(tmp_path: Path, write_clip: Callable[..., Path]) -> Path:
    for number in range(4):
        write_clip(tmp_path / "videos" / f"{number}.mp4", side=64 + 16 * number)
    return tmp_path / "videos"


@pytest.mark.parametrize(("work", "files"), [(prepare_faces, 4), (read_training_clips, 8)])
def test_caches_of_clips(
    work: Callable[[Path, Path], None],
    files: int,
    videos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))  # `work` changes it, here too
    work(videos, tmp_path / "alone")
    assert at_once(*[(work, (videos, tmp_path / "together"))] * 2) == [0, 0]
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert len(contents(tmp_path / "alone")) == files


@pytest.mark.slow
def test_a_split_of_pocket_that_both_draw(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    log = tmp_path / "log.txt"
    call: tuple[Any, Any] = (draw_two_clips, (tmp_path / "together", log))
    assert at_once(call, call) == [0, 0]
    assert sorted(log.read_text().split()) == ["0", "1"]  # each clip once
    draw_two_clips(tmp_path / "alone", tmp_path / "other.txt")
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert len(contents(tmp_path / "alone")) == 1 + 2 * 6
