"""Jobs that share a run without ever meeting: put together, its files are those of one process."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.files import locked
from syncdiff_bench.runs.batches import generation_batches, plan_batches
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.runs.ranks import Ranks
from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

NOISE = ["--method", "toy-noise", "--dataset", "toy", "--set", "shift=3"]
SCORED = [*NOISE, "--metrics", "toy-error,toy-words,toy-heavy"]


def produced(run: Path) -> dict[str, str]:
    timed = ("run.json", ".run.copy.json", ".digests.json", "timings.jsonl", ".lock", ".lock.gate")
    files = (path for path in run.rglob("*") if path.is_file() and path.name not in timed)
    return {str(path.relative_to(run)): sha256_of(path) for path in files}


def told(run: Path) -> dict[str, Any]:
    """run.json without its times."""
    manifest = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return {key: value for key, value in manifest.items() if key not in ("started", "finished")}


@pytest.fixture
def one(monkeypatch: pytest.MonkeyPatch) -> Path:
    """The run of one process."""
    monkeypatch.setenv("TOY_WEIGHTS", "ab" * 32)
    assert main(["run", *SCORED, "--out", "one"]) == 0
    return Path("one/toy-noise")


@pytest.mark.parametrize("order", [(1,), (2, 1), (3, 1, 2), (3, 1, 4, 2)])
def test_shards_in_any_order_make_the_files_of_one(one: Path, order: tuple[int, ...]) -> None:
    for index in order:
        assert main(["run", *SCORED, "--out", "o", "--shard", f"{index}/{len(order)}"]) == 0
        assert bool(told(Path("o/toy-noise"))["summary"]) == (index == order[-1])
    assert produced(Path("o/toy-noise")) == produced(one)
    assert told(Path("o/toy-noise")) == told(one)


def test_each_shard_does_its_share_and_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", *SCORED, "--out", "o", "--shard", "1/3"]) == 0
    err = capsys.readouterr().err
    assert "o/toy-noise: 2 of 5 clips generated, 2 scored; once the other shards are done" in err
    run = load_run(Path("o/toy-noise"))
    assert set(run.generated) == {"s0/0", "s0/1"} == {row.clip for row in run.scores}
    assert not Path("o/leaderboard.md").exists()


def test_report_puts_shards_together_that_ended_side_by_side(one: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """While another process is at work there nobody puts together; lines of parts are read all the same."""
    for index in (1, 2):
        with locked(Path("o/toy-noise/.lock"), member="shard-3-of-3"):
            assert main(["run", *SCORED, "--out", "o", "--shard", f"{index}/3"]) == 0
    run = Path("o/toy-noise")
    assert sorted(path.name for path in run.glob("*.shard-*")) == sorted(
        f"{name}.shard-{index}-of-3.{suffix}"
        for index in (1, 2)
        for name, suffix in (("generation", "jsonl"), ("scores", "jsonl"), ("timings", "jsonl"), ("protocols", "json"))
    )
    assert [row.clip for row in load_run(run).scores if row.metric == "toy-error"] == ["s0/0", "s0/1", "s1/2", "s1/3"]
    with locked(run / ".lock", member="shard-1-of-3"):
        assert main(["run", *SCORED, "--out", "o", "--shard", "3/3"]) == 0
    assert main(["report", "o"]) == 0
    assert produced(run) == produced(one) and told(run) == told(one)


def test_score_and_generate_by_shards_of_different_numbers(one: Path) -> None:
    for index in (1, 2):
        assert main(["generate", *NOISE, "--out", "o", "--shard", f"{index}/2"]) == 0
    for index in (3, 2, 1):
        assert main(["score", *SCORED, "--out", "o", "--shard", f"{index}/3"]) == 0
    assert produced(Path("o/toy-noise")) == produced(one)
    assert told(Path("o/toy-noise")) == told(one)


def test_a_restart_with_another_number(one: Path) -> None:
    """Half a run of three shards goes on as two, and ends as one process."""
    assert main(["run", *SCORED, "--out", "o", "--shard", "2/3"]) == 0
    assert main(["run", *SCORED, "--out", "o", "--shard", "2/2"]) == 0
    before = {path: path.stat().st_mtime_ns for path in Path("o/toy-noise/videos").rglob("*.mp4")}
    assert main(["run", *SCORED, "--out", "o"]) == 0
    assert produced(Path("o/toy-noise")) == produced(one) and before
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())


def test_batches_of_videos_of_several_shards_are_scored_by_the_last_of_them(
    one: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A metric that measures all five clips at once waits for them; the others do not."""
    monkeypatch.setattr(importlib.import_module("toy_plugins").Heavy, "batch_frames", 100)
    for index in (2, 1):
        assert main(["run", *SCORED, "--out", "o", "--shard", f"{index}/2"]) == 0
        lines = load_run(Path("o/toy-noise")).scores
        heavy = [row.clip for row in lines if row.metric == "toy-heavy"]
        assert len(heavy) == (5 if index == 1 else 0)
        assert sum(row.metric == "toy-error" for row in lines) == (5 if index == 1 else 2)
    assert produced(Path("o/toy-noise")) == produced(one)


def test_given_videos_by_shards(one: Path) -> None:
    given = ["score", "--videos", str(one / "videos"), "--reference", str(one / "videos"), "--metrics", "toy-error"]
    assert main([*given, "--out", "a"]) == 0
    for index in (2, 1):
        assert main([*given, "--out", "b", "--shard", f"{index}/2"]) == 0
    assert produced(Path("b/videos")) == produced(Path("a/videos"))
    assert told(Path("b/videos")) == told(Path("a/videos"))


def test_shards_scored_with_different_weights_are_not_put_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, digest in ((1, "ab"), (2, "cd")):
        monkeypatch.setenv("TOY_WEIGHTS", digest * 32)
        with locked(Path("o/toy-noise/.lock"), member="shard-3-of-3"):
            code = main(["run", *SCORED, "--out", "o", "--shard", f"{index}/3"])
        assert code == 0
    capsys.readouterr()
    assert main(["report", "o"]) == 2
    assert "toy-heavy was scored with other weights" in capsys.readouterr().err


def test_a_shard_does_not_come_between_a_process_that_is_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("syncdiff_bench.runs.layout.PATIENCE", 0.2)
    assert main(["generate", *NOISE, "--out", "o"]) == 0
    with locked(Path("o/toy-noise/.lock.gate")):
        assert main(["generate", *NOISE, "--out", "o", "--shard", "1/2"]) == 2
    with locked(Path("o/toy-noise/.lock"), member="shard-1-of-2"):
        assert main(["generate", *NOISE, "--out", "o"]) == 2
        assert main(["generate", *NOISE, "--out", "o", "--shard", "2/2"]) == 0
        assert main(["generate", *NOISE, "--out", "o", "--shard", "1/2"]) == 2
    assert capsys.readouterr().err.count("in use by another process") == 3


def test_fresh_is_no_matter_of_one_shard(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", *NOISE, "--out", "o", "--fresh", "--shard", "1/2"]) == 2
    assert "would delete what other shards made" in capsys.readouterr().err


def test_fresh_deletes_parts(one: Path) -> None:
    with locked(one / ".lock", member="x"):
        assert main(["score", *NOISE, "--metrics", "toy-error[protocol=signed]", "--out", "one", "--shard", "1/2"]) == 0
    assert list(one.glob("scores.shard-*"))
    assert main(["run", *SCORED, "--out", "one", "--fresh"]) == 0
    assert not list(one.glob("*.shard-*")) and len(load_run(one).scores) == 15


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_that_cannot_be(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", *NOISE, "--out", "o", "--shard", text]) == 2
    assert "expected I/N with I from 1 to N" in capsys.readouterr().err


def test_shares_of_shards_and_ranks_are_disjoint_and_complete() -> None:
    items = list(range(23))
    for shards, ranks in ((1, 1), (3, 1), (2, 3), (5, 7)):
        places = [Ranks(rank, ranks, shard, shards) for shard in range(1, shards + 1) for rank in range(ranks)]
        assert sorted(one for place in places for one in place.share(place.of_shard(items))) == items


def test_batches_are_even_of_like_lengths_and_enough_for_many_processes_on_a_cpu() -> None:
    clips = [f"{n:02}" for n in range(40)]
    for cpu, sizes in ((True, [5] * 8), (False, [20, 20])):
        batches = generation_batches(clips, 24, lambda clip: int(clip) + 1, cpu=cpu)
        assert [len(batch) for batch in batches] == sizes
        assert [clip for batch in batches for clip in batch] == clips[::-1]
    few = generation_batches(clips[:7], 24, int, cpu=True)
    assert [len(batch) for batch in few] == [4, 3]
    assert generation_batches(clips[:3], 1, int, cpu=True) == [["00"], ["01"], ["02"]]
    assert list(plan_batches(clips[:3], 2)) == [["00", "01"], ["02"]]
