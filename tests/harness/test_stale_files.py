"""A score is of the video that was measured: files that are replaced, emptied or cut, and runs started anew."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace as with_
from pathlib import Path

import numpy as np
import pytest
from console import refusal
from encoded import encode, write_grey

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import WeightsUsed
from syncdiff_bench.files import locked
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.report.page.material import Material
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.weights.digests import KnownFiles, sha256_of

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

NOISE = ["--method", "toy-noise", "--dataset", "toy", "--set", "shift=3"]
METRICS = ["--metrics", "toy-error"]
RUN = Path("runs/toy-test/toy-noise")
CLIPS = ("s0/0", "s0/1", "s1/2", "s1/3", "s2/4")  # clip i is three frames of 10 i


def errors(path: Path) -> dict[str, float | None]:
    """Clip -> mean absolute error; None for one that failed."""
    return {row.clip: None if row.values is None else row.values["err"] for row in load_run(path).scores}


def kinds(run: Run) -> list[str]:
    return [one.kind for one in run.caveats if one.kind not in ("guessed-boxes", "few-speakers", "subset")]


# --------------------------------------------------------------------------------------- the videos of a method


def replace(path: Path) -> None:
    write_grey(path, 200)


def cut_short(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def keep_size_and_time(path: Path) -> None:
    """As `cp -p` or a damaged disk: neither size nor modification time tell."""
    before, data = path.stat(), bytearray(path.read_bytes())
    data[-1] ^= 255
    path.write_bytes(bytes(data))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def link_away(path: Path) -> None:
    other = write_grey(Path("elsewhere.mp4"), 77)
    path.unlink()
    path.symlink_to(other.absolute())


@pytest.mark.parametrize("damage", [replace, cut_short, empty, keep_size_and_time, link_away, Path.unlink])
def test_a_video_that_is_not_what_was_generated_is_made_again(
    damage: object, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(["run", *NOISE, *METRICS]) == 0
    before = {path.name: sha256_of(path) for path in RUN.glob("videos/**/*.mp4")}
    rows = (RUN / "scores.jsonl").read_bytes()
    damage(RUN / "videos/s1/3.mp4")  # type: ignore[operator]
    monkeypatch.setenv("TOY_LOG", "log.txt")
    capsys.readouterr()
    assert main(["run", *NOISE, *METRICS]) == 0
    assert Path("log.txt").read_text().splitlines() == ["s1/2 s1/3"]  # the batch, and no other
    told = "made again: 1 clips, whose videos are gone or not those that were generated (first: s1/3)"
    assert told in capsys.readouterr().err
    assert {path.name: sha256_of(path) for path in RUN.glob("videos/**/*.mp4")} == before
    assert not (RUN / "videos/s1/3.mp4").is_symlink()
    assert (RUN / "scores.jsonl").read_bytes() == rows


def test_score_fails_the_changed_video_alone_until_it_is_made_again(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", *NOISE, *METRICS])
    replace(RUN / "videos/s1/3.mp4")
    capsys.readouterr()
    assert main(["score", str(RUN), *METRICS, "--strict"]) == 1
    assert "3.mp4 is not the video that was generated; `generate` makes it again" in capsys.readouterr().err
    assert errors(RUN) == {clip: None if clip == "s1/3" else 3.0 for clip in CLIPS}
    assert main(["run", *NOISE, *METRICS, "--strict"]) == 0
    assert errors(RUN) == dict.fromkeys(CLIPS, 3.0)


def test_a_folder_in_place_of_a_video_costs_its_clip_alone() -> None:
    main(["run", *NOISE, *METRICS])
    (RUN / "videos/s1/3.mp4").unlink()
    (RUN / "videos/s1/3.mp4").mkdir()
    assert main(["run", *NOISE, *METRICS]) == 0
    assert load_run(RUN).generated["s1/3"].error is not None
    assert errors(RUN)["s1/3"] is None and errors(RUN)["s1/2"] == 3.0
    (RUN / "videos/s1/3.mp4").rmdir()
    assert main(["run", *NOISE, *METRICS, "--retry-failed", "--strict"]) == 0


def test_a_run_without_digests_is_gone_on_with() -> None:
    """As versions wrote it that recorded none: what is there is taken, but not a file without bytes."""
    main(["run", *NOISE, *METRICS])
    for name, key in (("generation.jsonl", "sha256"), ("generation.jsonl", "source"), ("scores.jsonl", "sha256")):
        rows = [json.loads(line) for line in (RUN / name).read_text().splitlines()]
        text = "".join(json.dumps({k: v for k, v in row.items() if k != key}) + "\n" for row in rows)
        (RUN / name).write_text(text)
    (RUN / ".digests.json").unlink()
    scored = (RUN / "scores.jsonl").read_bytes()
    assert main(["run", *NOISE, *METRICS]) == 0
    assert (RUN / "scores.jsonl").read_bytes() == scored
    empty(RUN / "videos/s1/3.mp4")
    assert main(["run", *NOISE, *METRICS, "--strict"]) == 0
    assert load_run(RUN).generated["s1/3"].sha256 == sha256_of(RUN / "videos/s1/3.mp4")
    assert errors(RUN) == dict.fromkeys(CLIPS, 3.0)


def test_unchanged_files_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    main(["run", *NOISE, *METRICS])

    def refuse(path: Path) -> str:
        raise AssertionError(f"{path} was read")

    monkeypatch.setattr("syncdiff_bench.weights.digests.sha256_of", refuse)
    assert main(["run", *NOISE, *METRICS]) == 0


def test_a_damaged_memory_of_digests_costs_time_alone(tmp_path: Path) -> None:
    file = write_grey(tmp_path / "a.mp4", 1)
    for text in ("", "[]", '{"x": 1}', '{"x": [1, 2]}'):
        (tmp_path / ".digests.json").write_text(text)
        assert KnownFiles(tmp_path / ".digests.json").sha256(file) == sha256_of(file)
    known = KnownFiles(tmp_path / ".digests.json")
    assert known.sha256(tmp_path) is None and known.sha256(tmp_path / "no") is None


# ------------------------------------------------------------------------------------------------ given videos

GIVEN = ["run", "--method", "videos", "--set", "folder=mine", "--dataset", "toy", *METRICS]
GIVEN_RUN = Path("runs/toy-test/videos")


def give(*values: int) -> None:
    for clip, value in zip(CLIPS, values, strict=False):
        write_grey(Path("mine") / f"{clip}.mp4", value)


def test_a_replaced_source_is_taken_again_and_scored_again(capsys: pytest.CaptureFixture[str]) -> None:
    give(5, 15, 25, 35, 45)
    assert main(GIVEN) == 0
    assert errors(GIVEN_RUN) == dict.fromkeys(CLIPS, 5.0)
    write_grey(Path("mine/s1/2.mp4"), 20)
    capsys.readouterr()
    assert main(GIVEN) == 0
    said = capsys.readouterr().err
    assert "made again: 1 clips, whose files changed since they were taken (first: s1/2)" in said
    assert "scored again: 1 clips, whose videos are others now (first: s1/2)" in said
    assert errors(GIVEN_RUN) == {**dict.fromkeys(CLIPS, 5.0), "s1/2": 0.0}
    assert main(GIVEN) == 0 and "again" not in capsys.readouterr().err


def test_a_source_that_comes_late_is_found_without_being_asked_for() -> None:
    give(5, 15, 25, 35)
    assert main([*GIVEN, "--strict"]) == 1
    assert errors(GIVEN_RUN)["s2/4"] is None
    give(5, 15, 25, 35, 45)
    assert main([*GIVEN, "--strict"]) == 0
    Path("mine/s0/0.mp4").unlink()
    assert main([*GIVEN, "--strict"]) == 1
    assert errors(GIVEN_RUN) == {**dict.fromkeys(CLIPS, 5.0), "s0/0": None}


def test_two_files_of_one_clip_fail_it(capsys: pytest.CaptureFixture[str]) -> None:
    give(5, 15, 25, 35, 45)
    shutil.copy("mine/s0/0.mp4", "mine/s0_0.mkv")
    assert main([*GIVEN, "--strict"]) == 1
    assert "s0/0: s0/0.mp4 and s0_0.mkv in mine are both named after it" in capsys.readouterr().err
    assert errors(GIVEN_RUN)["s0/0"] is None and errors(GIVEN_RUN)["s0/1"] == 5.0


def test_files_of_no_clip_stand_below_the_table() -> None:
    give(5, 15, 25, 35, 45)
    write_grey(Path("mine/s9/9.mp4"), 0)
    assert main([*GIVEN, "--limit", "2"]) == 0  # the others are clips of the split all the same
    assert kinds(load_run(Path("runs/toy-test-first2/videos"))) == ["unclaimed-videos"]
    board = Path("runs/toy-test-first2/leaderboard.md").read_text()
    assert "1 video belongs to no clip and took no part (first: s9/9.mp4)" in board


# ------------------------------------------------------------------------------- videos scored where they lie

SCORE = ["score", "--videos", "mine", "--reference", "truth", *METRICS]
SCORED = Path("runs/videos-mine/videos")


def test_a_replaced_video_is_scored_again(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        write_grey(Path(f"truth/{name}.mp4"), 100)
        write_grey(Path(f"mine/{name}.mp4"), 107)
    assert main(SCORE) == 0
    write_grey(Path("mine/b.mp4"), 104)
    capsys.readouterr()
    assert main(SCORE) == 0
    assert "scored again: 1 clips, whose videos are others now (first: b)" in capsys.readouterr().err
    assert errors(SCORED) == {"a": 7.0, "b": 4.0}
    empty(Path("mine/b.mp4"))
    assert main([*SCORE, "--strict"]) == 1
    assert errors(SCORED) == {"a": 7.0, "b": None}
    assert load_run(SCORED).generated["b"].error is not None
    write_grey(Path("mine/b.mp4"), 104)
    assert main([*SCORE, "--strict"]) == 0
    assert errors(SCORED) == {"a": 7.0, "b": 4.0}


def test_a_replaced_reference_is_another_run(capsys: pytest.CaptureFixture[str]) -> None:
    write_grey(Path("truth/a.mp4"), 100)
    write_grey(Path("mine/a.mp4"), 107)
    assert main(SCORE) == 0
    write_grey(Path("truth/a.mp4"), 101)
    said = refusal(capsys, SCORE)
    assert "holds another run (the files of the clips changed: dataset fingerprint " in said
    assert "or --fresh to start it anew" in said
    assert main([*SCORE, "--fresh"]) == 0
    assert errors(SCORED) == {"a": 6.0}


def test_a_folder_without_videos_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    write_grey(Path("truth/a.mp4"), 100)
    Path("mine").mkdir()
    assert "mine: no video file here or below" in refusal(capsys, SCORE)


def test_length_size_and_leftovers_are_told_and_metrics_see_equal_lengths() -> None:
    write_grey(Path("truth/a.mp4"), 100, frames=40)
    write_grey(Path("truth/b.mp4"), 100, frames=40)
    write_grey(Path("truth/c.mp4"), 100, frames=40)
    write_grey(Path("mine/a.mp4"), 107, frames=38)
    write_grey(Path("mine/b.mp4"), 107, frames=40, side=32)
    write_grey(Path("mine/c.mp4"), 107, frames=37)
    write_grey(Path("mine/d.mp4"), 107)
    assert main(SCORE) == 0
    run = load_run(SCORED)
    assert errors(SCORED) == {"a": 7.0, "b": 7.0, "c": None}  # the toy subtracts whole arrays
    assert run.generated["a"].frames == 38
    board = Path("runs/videos-mine/leaderboard.md").read_text()
    assert "1 of 3 clips: up to 2 frames shorter than their reference, scored over the common part" in board
    assert "1 of 3 clips: resized to the size of the reference (Pillow, bicubic) (b: resized 32x32 -" in board
    assert "1 video belongs to no clip and took no part (first: d.mp4)" in board
    assert "37 frames at 25 fps, the reference has 40 frames at 25 fps" in run.generated["c"].error.message  # type: ignore[union-attr]


def test_a_run_of_given_videos_is_as_long_as_they_are() -> None:
    """The same through `run --method videos`, where the video is written anew and the reference is cut to it."""
    write_grey(Path("truth/a.mp4"), 100, frames=40)
    write_grey(Path("mine/a.mp4"), 107, frames=38)
    command = ["run", "--method", "videos", "--set", "folder=mine", "--dataset", "folder", "--data-root", "truth"]
    assert main([*command, *METRICS, "--out", "o"]) == 0
    run = load_run(Path("o/videos"))
    assert errors(Path("o/videos")) == {"a": 7.0}
    assert run.generated["a"].frames == 38 and kinds(run) == ["length"]
    media = read_media(Path("o/videos/videos/a.mp4"))
    assert (media.frames.shape, media.audio.shape) == ((38, 16, 16, 3), (38 * 640,))


# ----------------------------------------------------------------------------------------------------- --fresh


def test_fresh_starts_a_run_anew_and_says_what_it_deletes(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", *NOISE, *METRICS])
    (RUN / "mine.txt").write_text("not the run's")
    changed = ["run", *NOISE[:-1], "shift=4", *METRICS]
    capsys.readouterr()
    assert main(changed) == 2
    assert errors(RUN) == dict.fromkeys(CLIPS, 3.0)
    assert main([*changed, "--fresh"]) == 0
    said = capsys.readouterr().err
    assert (
        f"deleted scores.jsonl, videos/ (5 files), generation.jsonl, timings.jsonl, .digests.json, run.json of {RUN}"
        in said
    )
    assert errors(RUN) == dict.fromkeys(CLIPS, 4.0)
    assert (RUN / "mine.txt").exists()
    assert main([*changed, "--out", "new", "--fresh"]) == 0
    assert "deleted" not in capsys.readouterr().err


def test_fresh_scores_leave_the_videos(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    main(["run", *NOISE, *METRICS])
    monkeypatch.setenv("TOY_LOG", "log.txt")
    capsys.readouterr()
    assert main(["score", str(RUN), "--metrics", "toy-words", "--fresh"]) == 0
    assert f"deleted scores.jsonl of {RUN}" in capsys.readouterr().err
    assert {row.metric for row in load_run(RUN).scores} == {"toy-words"}
    assert main(["score", *NOISE, *METRICS, "--fresh"]) == 0
    assert {row.metric for row in load_run(RUN).scores} == {"toy-error"}
    assert not Path("log.txt").exists()


def test_fresh_does_not_disturb_a_run_at_work(capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", *NOISE, *METRICS])
    with locked(RUN / ".lock"):
        assert "in use by another process" in refusal(capsys, ["run", *NOISE, *METRICS, "--fresh"])
    assert errors(RUN) == dict.fromkeys(CLIPS, 3.0)


def test_only_the_weights_that_changed_are_named(toy_runs: Path) -> None:
    identity = load_run(toy_runs / RUN).identity
    one, other = (
        with_(identity, weights=tuple(WeightsUsed(name, digit * 64) for name, digit in used.items()))
        for used in ({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"})
    )
    assert one.differences(other) == ["weights b 22222222 -> b 33333333, c 44444444"]


def test_figures_show_a_given_video_as_it_was_scored() -> None:
    """A video labelled 50 per second, taken frame by frame: not every second frame of it beside the reference."""
    write_grey(Path("truth/a.mp4"), 100, frames=4)
    levels = np.repeat(np.arange(1, 5, dtype=np.uint8), 16 * 16 * 3).reshape(4, 16, 16, 3)
    encode(Path("mine/a.mp4"), levels, rate=50)
    assert main(SCORE) == 0
    run = load_run(SCORED)
    assert kinds(run) == ["rate-label"]
    assert Material([run]).generated(run, "a").frames[:, 0, 0, 0].tolist() == [1, 2, 3, 4]
