"""Shards of tensors: made once, resumed, refused where they are of something else, read without being loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.progress import Progress
from syncdiff_bench.training import cache as cache_module
from syncdiff_bench.training.cache import TensorCache, fill_together
from syncdiff_bench.training.peers import Peers

CLIPS = tuple(f"speaker/{i:03d}" for i in range(7))
FACTS = {"autoencoder": "a1", "mask": '{"mask_pad": 0}'}


@pytest.fixture(autouse=True)
def three_per_shard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache_module, "CLIPS_PER_SHARD", 3)


class Encoder:
    """Clip i has i + 1 frames of 10 float32 numbers, all i; remembers what it was asked."""

    def __init__(self, broken: str = "", killed_at: str = "") -> None:
        self.asked: list[str] = []
        self.broken, self.killed_at = broken, killed_at

    def __call__(self, clip_id: str) -> Mapping[str, Tensor]:
        self.asked.append(clip_id)
        if clip_id == self.killed_at:
            raise KeyboardInterrupt
        if clip_id == self.broken:
            raise ClipError("no-audio", f"{clip_id}: no sound")
        number = int(clip_id.rpartition("/")[2])
        return {"rows": torch.full((number + 1, 10), float(number))}


def cache_of(folder: Path, encode: Encoder, facts: Mapping[str, str] = FACTS, clips: Any = CLIPS) -> TensorCache:
    return TensorCache(folder / "cache", "numbers", "train", facts, clips, encode, bytes_per_frame=40)


def test_what_is_made_is_read(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, Encoder())
    assert cache.missing() == [0, 1, 2]
    assert list(cache.fill()) == [(i + 1, 7) for i in range(7)]
    found = cache.read()
    assert tuple(found) == CLIPS
    for i, clip_id in enumerate(CLIPS):
        assert found[clip_id]["rows"].tolist() == [[float(i)] * 10] * (i + 1)
    assert list(cache.fill()) == []


def test_what_it_costs_is_what_it_takes(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, Encoder())
    list(cache.fill())
    assert cache.bytes_per_hour == 40 * 25 * 3600
    frames = sum(i + 1 for i in range(7))
    on_disk = sum(path.stat().st_size for path in cache.folder.glob("*.safetensors"))
    assert 0 <= on_disk - frames * cache.bytes_per_frame < 3 * 600  # headers


def test_reading_maps_instead_of_loading(tmp_path: Path) -> None:
    """A change of the file shows in a tensor that was read before: nothing was copied."""
    cache = cache_of(tmp_path, Encoder())
    list(cache.fill())
    rows = cache.read()[CLIPS[0]]["rows"]
    path = cache.folder / "shard-00000.safetensors"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size - 4 * 60)  # within the last of 1 + 2 + 3 rows
        file.write(b"\0" * (4 * 60))
    assert float(rows.sum()) == 0.0


def test_a_killed_preparation_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        list(cache_of(tmp_path, Encoder(killed_at=CLIPS[5])).fill())
    again = Encoder()
    list(cache_of(tmp_path, again).fill())
    assert again.asked == list(CLIPS[3:])
    assert len(cache_of(tmp_path, again).read()) == 7


def test_parts_make_the_whole(tmp_path: Path) -> None:
    first, second = Encoder(), Encoder()
    list(cache_of(tmp_path, second).fill(1, 2))
    with pytest.raises(UsageError, match="2 of 3 shards are missing; run `syncdiff-bench data prepare latents"):
        cache_of(tmp_path, first).read()
    list(cache_of(tmp_path, first).fill(0, 2))
    assert second.asked == list(CLIPS[3:6])
    assert first.asked == [*CLIPS[:3], CLIPS[6]]
    assert len(cache_of(tmp_path, first).read()) == 7


def test_each_process_of_a_training_makes_its_share_alone(tmp_path: Path) -> None:
    """Two of a launch, one after the other: of three shards the first makes the outer ones, the second the middle."""
    encoders = Encoder(), Encoder()
    for index, encoder in enumerate(encoders):
        fill_together([cache_of(tmp_path, encoder)], Peers(index, 2), Progress())
    assert [encoder.asked for encoder in encoders] == [[*CLIPS[:3], CLIPS[6]], list(CLIPS[3:6])]
    assert tuple(cache_of(tmp_path, Encoder()).read()) == CLIPS


def test_a_broken_clip_costs_itself_only(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, Encoder(broken=CLIPS[1]))
    list(cache.fill())
    assert tuple(cache.read()) == (CLIPS[0], *CLIPS[2:])
    assert cache.failures() == {CLIPS[1]: f"{CLIPS[1]}: no sound"}


@pytest.mark.parametrize("name", ["autoencoder", "mask"])
def test_a_cache_of_something_else_is_refused(tmp_path: Path, name: str) -> None:
    list(cache_of(tmp_path, Encoder()).fill())
    other = cache_of(tmp_path, Encoder(), {**FACTS, name: "other"})
    for use in (other.missing, other.read, lambda: list(other.fill())):
        with pytest.raises(UsageError, match=rf"made with another {name} \(.*, now other\).*--fresh.*--cache"):
            use()
    other.clear()
    list(other.fill())
    assert len(other.read()) == 7


def test_a_damaged_shard_is_named(tmp_path: Path) -> None:
    cache = cache_of(tmp_path, Encoder())
    list(cache.fill())
    path = cache.folder / "shard-00001.safetensors"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UsageError, match=r"shard-00001.safetensors is damaged .*; delete it"):
        cache.read()
    (cache.folder / "cache.json").write_text("{")
    with pytest.raises(UsageError, match=r"cache.json is damaged"):
        cache.missing()
