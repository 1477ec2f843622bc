"""`run`, `generate`, `score` and `report` by command line, on toys whose scores have closed forms."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from console import printed, refusal
from encoded import write_grey

from syncdiff_bench.cli import main
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

COMMAND = [sys.executable, "-c", "import sys; from syncdiff_bench.cli import main; sys.exit(main())"]
NOISE = ["--method", "toy-noise", "--dataset", "toy", "--metrics", "toy-error", "--set", "shift=3"]


def scores(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (path / "scores.jsonl").read_text(encoding="utf-8").splitlines()]


def summary(path: Path, column: str) -> dict[str, object]:
    (entry,) = [entry for entry in load_run(path).manifest["summary"] if entry["column"] == column]
    return dict(entry)


@pytest.fixture
def made(work_folder: Path, toy_runs: Path) -> Path:
    """What `run` with NOISE left in its default place."""
    shutil.copytree(toy_runs / "runs/toy-test/toy-noise", "runs/toy-test/toy-noise")
    return Path("runs/toy-test/toy-noise")


def test_scores_follow_the_contract(made: Path) -> None:
    rows = scores(made)
    assert [row["clip"] for row in rows] == ["s0/0", "s0/1", "s1/2", "s1/3", "s2/4"]
    assert rows[1] == {
        "schema": 1,
        "method": "toy-noise",
        "dataset": "toy",
        "clip": "s0/1",
        "metric": "toy-error",
        "protocol": "absolute",
        "values": {"err": 3.0},
        "stats": {"total": 3.0 * 3 * 16 * 16 * 3, "pixels": 3 * 16 * 16 * 3},
        "error": None,
        "sha256": sha256_of(made / "videos/s0/1.mp4"),
    }
    names = ("schema", "method", "dataset", "clip", "metric", "protocol", "values", "stats", "error", "sha256")
    assert tuple(rows[0]) == names


def test_manifest_holds_what_a_repetition_needs() -> None:
    main(["run", *NOISE, "--seed", "2", "--dataset-set", "mark=c"])
    run = load_run(Path("runs/toy-test/toy-noise")).manifest
    assert run["schema"] == 1
    assert run["method"]["options"] == {"shift": 3, "batch": 2, "kind": "grey"}  # type: ignore[index]
    assert run["dataset"]["fingerprint"] == "c" * 64  # type: ignore[index]
    assert run["dataset"]["clips"] == ["s0/0", "s0/1", "s1/2", "s1/3", "s2/4"]  # type: ignore[index]
    assert run["seed"] == 2
    assert run["encoding"] == "lossless"
    assert run["notes"] == {"s0/0": ["made up"]}
    assert run["boxes"] == {}  # nobody asked for them
    assert run["versions"]["numpy"] == np.__version__  # type: ignore[index]
    assert run["started"] and run["finished"]
    entry = summary(Path("runs/toy-test/toy-noise"), "err")
    assert entry["mean"] == 5.0  # shift + seed
    assert (entry["n"], entry["failed"], entry["direction"]) == (5, 0, "down")


def test_a_run_reads_back_with_its_speakers_frames_and_sound(made: Path) -> None:
    run = load_run(made)
    assert run.finished
    assert run.speakers == {"s0/0": "s0", "s0/1": "s0", "s1/2": "s1", "s1/3": "s1", "s2/4": "s2"}
    assert [score.values for score in run.scores] == [{"err": 3.0}] * 5
    assert run.identity.options == {"shift": 3, "batch": 2, "kind": "grey"}
    media = read_media(made / "videos/s1/3.mp4")
    assert np.array_equal(media.frames, np.full((3, 16, 16, 3), 33, np.uint8))
    assert media.audio.shape == (1920,)


def test_one_leaderboard_with_best_in_bold_and_only_the_culprits_of_a_batch_fail(
    capsys: pytest.CaptureFixture[str],
) -> None:
    methods = ["--method", "toy-truth", "--method", "toy-noise", "--method", "toy-troubled"]
    run = ["run", *methods, "--dataset", "toy", "--metrics", "toy-error", "--set", "toy-noise.shift=3"]
    assert main([*run, "--strict"]) == 1
    printed = capsys.readouterr()
    board = Path("runs/toy-test/leaderboard.md").read_text(encoding="utf-8")
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in board.splitlines() if "toy-" in line]
    rows = [row for row in rows if len(row) > 2]  # lines below the table name methods as well
    assert [row[:2] for row in rows] == [["", "toy-truth"], ["1", "toy-troubled"], ["2", "toy-noise"]]
    assert rows[1][2].startswith("**0.0") and rows[1][2].endswith("ᵃ")
    assert "ᵃ toy-error (absolute): over 2 of 5 clips (3 failed)" in board
    assert not rows[0][2].startswith("**")  # a bound takes no part
    assert [row[3] for row in rows] == ["5 (0)", "2 (3)", "5 (0)"]
    assert "ERR ↓<br>absolute" in board
    assert "toy-noise" in printed.out
    assert "failed (toy-troubled): s0/1: toy-troubled made frames (2, 16, 16, 3)" in printed.err
    assert "RuntimeError: the GPU is on fire" in printed.err
    troubled = scores(Path("runs/toy-test/toy-troubled"))
    kinds = {row["clip"]: row["error"] and row["error"]["kind"] for row in troubled}  # type: ignore[index]
    failed = "generation"
    assert kinds == {"s0/0": None, "s0/1": failed, "s1/2": failed, "s1/3": failed, "s2/4": None}
    assert main(run) == 0


def test_where_no_clip_came_through_the_answer_is_no(capsys: pytest.CaptureFixture[str]) -> None:
    Path("bad").mkdir()
    Path("bad/a.mp4").write_bytes(b"no video")
    assert main(["score", "--videos", "bad", "--metrics", "psnr[region=full]"]) == 1
    assert "bad/a.mp4" in capsys.readouterr().err
    assert main(["generate", "--method", "static", "--dataset", "folder", "--data-root", "bad"]) == 1


def test_an_undecodable_clip_fails_alone_and_leaves_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOY_LOG", "log.txt")
    assert main(["run", *NOISE, "--dataset-set", "broken=2"]) == 0
    assert Path("log.txt").read_text().split("\n")[:3] == ["s0/0 s0/1", "s1/3", "s2/4"]
    row = scores(Path("runs/toy-test/toy-noise"))[2]
    assert row["values"] is None and row["stats"] is None
    assert row["error"] == {"kind": "generation", "message": "s1/2: cut short; copy it again"}


def killed(variable: str, clip: str, *arguments: str) -> None:
    environment = {**os.environ, variable: clip}
    finished = subprocess.run([*COMMAND, *arguments], env=environment, capture_output=True, check=False)
    assert finished.returncode == -9, finished.stderr.decode()


def interrupted(variable: str, clip: str, *arguments: str) -> None:
    """By Ctrl-C where `killed` is killed; in this process."""

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(variable, clip)
        patch.setattr(os, "kill", interrupt)
        assert main(list(arguments)) == 130


@pytest.mark.parametrize("variable", ["TOY_KILL", "TOY_KILL_SCORING"])
def test_kill_9_and_again_equals_never_killed(variable: str) -> None:
    metrics = ["--metrics", "toy-error,toy-words"]
    main(["run", *NOISE, *metrics, "--out", "whole"])
    killed(variable, "s1/3", "run", *NOISE, *metrics, "--out", "twice")
    run = Path("twice/toy-noise")
    journal = run / ("generation.jsonl" if variable == "TOY_KILL" else "scores.jsonl")
    with journal.open("a") as file:  # a line that the kill tore
        file.write('{"schema": 1, "cl')
    assert main(["run", *NOISE, *metrics, "--out", "twice"]) == 0
    assert (run / "scores.jsonl").read_bytes() == Path("whole/toy-noise/scores.jsonl").read_bytes()
    whole = {p.name: sha256_of(p) for p in Path("whole/toy-noise/videos").rglob("*.mp4")}
    assert {p.name: sha256_of(p) for p in (run / "videos").rglob("*.mp4")} == whole
    assert load_run(run).manifest["summary"] == load_run(Path("whole/toy-noise")).manifest["summary"]
    assert not list(run.rglob("*.part"))


def test_a_resumed_batch_is_generated_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    interrupted("TOY_KILL", "s1/3", "generate", *NOISE[:4], "--out", "o")
    assert len((Path("o/toy-noise") / "generation.jsonl").read_text().splitlines()) == 3
    untouched = Path("o/toy-noise/videos/s1/2.mp4")
    before = untouched.stat().st_mtime_ns
    monkeypatch.setenv("TOY_LOG", "log.txt")
    main(["generate", *NOISE[:4], "--out", "o"])
    assert Path("log.txt").read_text().splitlines() == ["s1/2 s1/3", "s2/4"]
    assert untouched.stat().st_mtime_ns == before


def test_a_finished_run_does_nothing_again(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_run(made).manifest
    monkeypatch.setenv("TOY_LOG", "log.txt")
    assert main(["run", *NOISE]) == 0
    assert not Path("log.txt").exists()
    assert load_run(made).manifest == first


def test_failures_are_final_until_asked_for() -> None:
    arguments = ["run", "--method", "toy-truth", "--dataset", "toy", "--metrics"]
    assert main([*arguments, "toy-error[fail=s0/0]", "--strict"]) == 1
    path = Path("runs/toy-test/toy-truth")
    assert scores(path)[0]["error"]["kind"] == "metric"
    assert scores(path)[0]["error"]["message"].startswith("ZeroDivisionError: no luck (toy_plugins.py:")
    assert main([*arguments, "toy-error", "--strict"]) == 1
    assert main([*arguments, "toy-error", "--strict", "--retry-failed"]) == 0
    assert scores(path)[0]["error"] is None


@pytest.mark.parametrize(
    ("changed", "difference"),
    [
        (["--set", "shift=4"], "option shift 3 -> 4"),
        (["--seed", "1"], "seed 0 -> 1"),
        (["--encoding", "crf23"], "encoding lossless -> crf23"),
        (["--dataset-set", "mark=b"], "dataset option mark a -> b"),
        (["--limit", "2"], "clips 5 -> 2"),
    ],
)
def test_the_folder_of_another_run_is_refused(
    changed: list[str], difference: str, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["run", *NOISE, "--out", "o"])
    before = {path: sha256_of(path) for path in Path("o").rglob("*") if path.is_file()}
    capsys.readouterr()
    assert main(["run", *NOISE, "--out", "o", *changed]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: o/toy-noise holds another run (")
    assert difference in line
    assert line.endswith("choose another --out, or --fresh to start it anew")
    assert {path: sha256_of(path) for path in Path("o").rglob("*") if path.is_file()} == before


def test_metrics_can_be_added_later_and_stay(made: Path) -> None:
    assert main(["score", str(made), "--metrics", "toy-error[signed]"]) == 0
    assert main(["score", *NOISE[:4], "--set", "shift=3", "--metrics", "toy-words"]) == 0
    order = [(row["clip"], row["metric"], row["protocol"]) for row in scores(made)][:4]
    assert order == [
        ("s0/0", "toy-error", "absolute"),
        ("s0/0", "toy-error", "signed"),
        ("s0/0", "toy-words", "absolute"),
        ("s0/1", "toy-error", "absolute"),
    ]
    protocols = load_run(made).manifest["protocols"]
    assert [entry["metric"] for entry in protocols] == ["toy-error", "toy-error", "toy-words"]  # type: ignore[attr-defined]


def test_unmet_needs_are_not_applicable_not_failed() -> None:
    main(["run", *NOISE, "--metrics", "toy-words"])
    path = Path("runs/toy-test/toy-noise")
    words = [row for row in scores(path) if row["metric"] == "toy-words"]
    assert words[0]["values"] == {"words": None}  # NaN is never written
    assert words[1]["error"] == {"kind": "not-applicable", "message": "the clip has no transcript"}
    entry = summary(path, "words")
    assert (entry["n"], entry["failed"], entry["mean"], entry["reason"]) == (1, 0, None, None)

    main(["run", *NOISE, "--metrics", "toy-words", "--dataset-set", "silent=true", "--limit", "1"])
    entry = summary(Path("runs/toy-test-first1/toy-noise"), "words")
    assert (entry["n"], entry["failed"], entry["reason"]) == (0, 0, "the clip has no audio track")


def test_missing_weights_make_one_column_na_until_they_are_there(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", *NOISE, "--metrics", "toy-heavy"]
    path = Path("runs/toy-test/toy-noise")
    assert main([*arguments, "--strict"]) == 0
    assert summary(path, "err")["mean"] == 3.0
    assert summary(path, "heavy")["reason"] == "weights toy missing; toy.bin is not there"
    assert "weights toy missing" in capsys.readouterr().out
    monkeypatch.setenv("TOY_WEIGHTS", "a" * 64)
    assert main(arguments) == 0
    assert summary(path, "heavy")["mean"] == 3.0
    assert summary(path, "heavy")["weights"] == [{"name": "toy", "sha256": "a" * 64}]


def test_half_scored_with_other_weights_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    heavy = ["run", *NOISE[:4], "--metrics", "toy-heavy", "--out", "o"]
    monkeypatch.setenv("TOY_WEIGHTS", "a" * 64)
    interrupted("TOY_KILL_SCORING", "s1/3", *heavy)
    monkeypatch.setenv("TOY_WEIGHTS", "b" * 64)
    assert "other weights (toy aaaaaaaa -> toy bbbbbbbb)" in refusal(capsys, heavy)


def test_videos_and_references_from_anywhere(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a/1", "a/2", "b"):
        write_grey(Path("truth") / f"{name}.mp4", 100)
    write_grey(Path("mine/a_1.mp4"), 107)  # flat name
    write_grey(Path("mine/b.mp4"), 109)
    arguments = ["score", "--videos", "mine", "--reference", "truth", "--metrics", "toy-error"]
    assert main(arguments) == 0
    path = Path("runs/videos-mine/videos")
    values = {row["clip"]: row["values"] for row in scores(path)}
    assert values == {"a/1": {"err": 7.0}, "a/2": None, "b": {"err": 9.0}}
    assert summary(path, "err")["mean"] == 8.0
    assert summary(path, "err")["failed"] == 1
    assert "a/2: no video named a/2 nor a_2 in mine" in capsys.readouterr().err

    assert main(["score", "--videos", "mine", "--metrics", "toy-error", "--out", "alone"]) == 0
    assert summary(Path("alone/videos"), "err")["reason"] == "there is no reference video"


def test_score_before_generate_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert "runs/toy-test/toy-noise holds no run" in refusal(capsys, ["score", *NOISE[:4]])
    interrupted("TOY_KILL", "s1/3", "generate", *NOISE[:4])
    assert "2 of 5 clips are not generated yet" in refusal(capsys, ["score", *NOISE[:4]])


def test_report_as_csv_and_json(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (record,) = csv.DictReader(io.StringIO(printed(capsys, ["report", "runs/toy-test", "--format", "csv"])))
    names = ("method", "column", "mean", "n")
    assert [record[name] for name in names] == ["toy-noise", "err", "3.0", "5"]
    assert main(["report", "runs/toy-test/toy-noise", "--format", "json", "--out", "new/b.json"]) == 0
    (entry,) = json.loads(Path("new/b.json").read_text())
    assert (entry["mean"], entry["ci95"], entry["rank"]) == (3.0, [3.0, 3.0], 1)


def test_runs_on_other_clips_never_share_a_board(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["run", *NOISE, "--limit", "2"])
    capsys.readouterr()
    main(["report", "runs/toy-test", "runs/toy-test-first2", "--format", "markdown"])
    out = capsys.readouterr().out
    assert "### toy, test: 5 clips" in out
    assert "### toy, test: 2 clips" in out


def test_report_finds_the_runs_of_a_reproduction_and_passes_over_probes(capsys: pytest.CaptureFixture[str]) -> None:
    """OUT/<job>/seed-S and OUT/<job>/training-K/seed-S, of which some are records of the variance probe."""
    for job in ("one", "two"):
        main(["run", *NOISE, "--out", f"all/{job}"])
    Path("all/two/toy-noise").rename("all/two/seed-0")
    Path("all/one/training-1").mkdir()
    Path("all/one/toy-noise").rename("all/one/training-1/seed-0")
    Path("all/three/seed-0").mkdir(parents=True)
    Path("all/three/seed-0/run.json").write_text('{"schema": 1, "method": {}, "dataset": {}, "probe": {}}')
    records = csv.DictReader(io.StringIO(printed(capsys, ["report", "all", "--format", "csv"])))
    assert [record["run"] for record in records] == ["all/two/seed-0", "all/one/training-1/seed-0"]
    assert "all/three holds no run.json of a run" in refusal(capsys, ["report", "all/three"])


def test_dry_run_writes_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    out = printed(capsys, ["run", *NOISE, "--dry-run"])
    assert "5 clips" in out and "3 batches of up to 2" in out and "nothing done yet" in out
    assert "toy-error (absolute)" in out
    assert not Path("runs").exists()
    main(["run", *NOISE])
    main(["run", *NOISE, "--dry-run"])
    assert "done: 5 clips generated, 0 failed, 5 scores" in capsys.readouterr().out
