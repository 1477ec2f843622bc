"""Two processes that draw the same split of pocket: each clip once, the same bytes as by one."""

from __future__ import annotations

from pathlib import Path

import pytest
from at_once import at_once, contents, draw_two_clips

pytest.importorskip("espeakng_loader")


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert at_once(*[(draw_two_clips, (tmp_path / "together", log))] * 2) == [0, 0]
    assert sorted(log.read_text().split()) == ["0", "1"]
    draw_two_clips(tmp_path / "alone", tmp_path / "other.txt")
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
    assert len(contents(tmp_path / "alone")) == 1 + 2 * 6
