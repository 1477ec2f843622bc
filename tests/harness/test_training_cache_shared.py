"""A cache that several processes fill at the same time: the bytes that one makes, each clip once, never two minds."""

from __future__ import annotations

from pathlib import Path

import pytest
from at_once import CLIPS, at_once, contents, fill_cache

from syncdiff_bench.errors import UsageError
from syncdiff_bench.training import cache as cache_module
from syncdiff_bench.training.cache import TensorCache


def rows(number: float) -> dict[str, object]:
    import torch

    return {"rows": torch.full((2, 3), number)}


def cache_of(folder: Path, fact: str, encode=lambda _clip: rows(1.0)) -> TensorCache:
    return TensorCache(folder, "numbers", "train", {"made by": fact}, CLIPS, encode, bytes_per_frame=12)


@pytest.fixture(autouse=True)
def one_per_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CLIPS_PER_SHARD", 1)


def test_two_processes_share_the_work(tmp_path: Path) -> None:
    alone, together, log = tmp_path / "alone", tmp_path / "together", tmp_path / "log.txt"
    fill_cache(alone, tmp_path / "other.txt", "it")
    assert at_once(*[(fill_cache, (together, log, "it"))] * 2) == [0, 0]
    assert sorted(log.read_text().split()) == sorted(CLIPS)
    assert contents(together) == contents(alone)
    assert [path.name for path in together.glob(".*")] == [".lock"]


def test_what_a_dead_process_had_in_hand_is_done_by_the_other(tmp_path: Path) -> None:
    folder, log = tmp_path / "cache", tmp_path / "log.txt"
    dies, lives = (fill_cache, (folder, log, "it", CLIPS[0])), (fill_cache, (folder, log, "it", "nowhere"))
    fill_cache(tmp_path / "alone", tmp_path / "other.txt", "it")
    assert at_once(dies, lives) in ([9, 0], [0, 0])  # the second where the other one came to the clip first
    assert contents(folder) == contents(tmp_path / "alone")


def test_two_that_disagree_do_not_mix(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Started on an empty folder with other facts: the slower one is refused, and nothing of it is there."""
    folder, log = tmp_path / "cache", tmp_path / "log.txt"
    statuses = at_once((fill_cache, (folder, log, "a")), (fill_cache, (folder, log, "bbb")))
    assert sorted(statuses) == [0, 1]
    assert "was made with another made by" in capfd.readouterr().err
    winner = ("a", "bbb")[statuses.index(0)]
    found = cache_of(folder, winner).read()
    assert {float(clip["fact"][0]) for clip in found.values()} == {float(len(winner))}
    assert len(found) == len(CLIPS)


def test_a_cache_that_is_made_anew_meanwhile_gets_nothing_of_before(tmp_path: Path) -> None:
    """As by `--fresh` with other settings, while the first clip of the older ones is encoded."""
    other = cache_of(tmp_path, "the new one", lambda _clip: rows(2.0))

    def encode(_clip: str) -> dict[str, object]:
        other.clear()
        list(other.fill(1, 2))
        return rows(1.0)

    with pytest.raises(UsageError, match=r"made with another made by \(the new one, now the old one\)"):
        list(cache_of(tmp_path, "the old one", encode).fill())
    list(other.fill())
    assert {float(clip["rows"][0, 0]) for clip in other.read().values()} == {2.0}
    assert not list(tmp_path.glob("*.part"))


def test_shards_of_nobody_knows_what_are_not_taken_over(tmp_path: Path) -> None:
    list(cache_of(tmp_path, "it").fill())
    (tmp_path / "cache.json").unlink()
    with pytest.raises(UsageError, match=r"holds shards and no cache\.json, which says what they were made from"):
        list(cache_of(tmp_path, "something else").fill())
