"""Several processes that begin the same work at the same moment."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Barrier
from typing import Any


def at_once(*calls: tuple[Callable[..., None], Sequence[Any]]) -> list[int | None]:
    """(function, arguments) of each process -> its exit status; one that raises ends with 1, its traceback on stderr.

    A function comes from a module that the process can import: this one, or a package. Forked where that can be, as
    importing torch takes longer than what is tested.
    """
    context: Any = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    barrier = context.Barrier(len(calls))
    processes = [context.Process(target=_call, args=(barrier, *call)) for call in calls]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    return [process.exitcode for process in processes]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder but locks, by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def _call(start: Barrier, function: Callable[..., None], arguments: Sequence[Any]) -> None:
    start.wait(60)
    function(*arguments)


# ------------------------------------------------------------------------------------------- what they do

CLIPS = tuple(f"speaker/{i:03d}" for i in range(9))


def fill_cache(folder: Path, log: Path, fact: str, dies_at: str = "") -> None:
    """Fill a cache of one clip per shard; clip i has i + 1 rows, all i; `log` gets a line for each that is encoded."""
    import os
    import time

    import torch

    from syncdiff_bench.training import cache

    def encode(clip_id: str) -> dict[str, torch.Tensor]:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{clip_id}\n")
        if clip_id == dies_at:
            os._exit(9)
        time.sleep(0.05)
        number = int(clip_id.rpartition("/")[2])
        return {"rows": torch.full((number + 1, 10), float(number)), "fact": torch.full((1,), float(len(fact)))}

    cache.CLIPS_PER_SHARD = 1
    ours = cache.TensorCache(folder, "numbers", "train", {"made by": fact}, CLIPS, encode, bytes_per_frame=40)
    list(ours.fill())
    assert ours.read().keys() == set(CLIPS)  # also what the other process had in hand


def draw_two_clips(root: Path, log: Path) -> None:
    """One speaker of pocket's validation split; `log` gets how many clips were there before each that was drawn."""
    from syncdiff_datasets.pocket.world import draw_split

    for done, _ in list(draw_split("val", root, speakers=1))[1:]:
        with log.open("a", encoding="utf-8") as file:
            file.write(f"{done - 1}\n")


def add_weights(folder: Path, file: Path, times: int) -> None:
    """Keep a file that is not the published one, again and again; after each it is what the store answers with."""
    from syncdiff_bench.weights.catalog import Catalogue, Entry
    from syncdiff_bench.weights.store import WeightsStore

    entry = Entry("net", "net.bin", "a network", "MIT", "https://example.org", ("lse",), 1, "0" * 64)
    store = WeightsStore(folder, Catalogue({"net": entry}))
    for _ in range(times):
        store.add("net", file, force=True)
        assert len(set(store.path("net").read_bytes())) == 1


def write_again_and_again(path: Path, letter: bytes, times: int) -> None:
    """Replace a file by a million of one letter, and read it; it is always whole."""
    from syncdiff_bench.files import write_whole

    for _ in range(times):
        write_whole(path, letter * 1_000_000)
        found = path.read_bytes()
        assert len(found) == 1_000_000 and len(set(found)) == 1


class Corner:
    """A detector that sees a face in every frame, in a corner."""

    identity = "s3fd-corner"
    most_pixels = 1 << 20
    surest = False

    def detect(self, frames: Any) -> list[Any]:
        import numpy as np

        return [np.array([[2, 3, 30 + t, 40, 0.9]], np.float32) for t in range(len(frames))]

    def weights_used(self) -> tuple[()]:
        return ()


def prepare_faces(root: Path, home: Path) -> None:
    """What `data prepare faces` does to a folder of videos; every clip is detected or known."""
    import os

    from syncdiff_bench.preparing import prepare_clip
    from syncdiff_datasets.folder import Folder

    os.environ["SYNCDIFF_BENCH_HOME"] = str(home)
    dataset = Folder(root)
    outcomes = [prepare_clip(dataset, clip_id, Corner()).outcome for clip_id in dataset.clip_ids("all")]
    assert set(outcomes) <= {"detected", "known"}


def read_training_clips(root: Path, cache: Path) -> None:
    """A folder of videos as the small networks train on it."""
    from syncdiff_datasets.folder import Folder
    from syncdiff_metrics.training.clips import read_split

    assert all(len(clip.frames) == 5 for clip in read_split(Folder(root), "all", 16, cache))
