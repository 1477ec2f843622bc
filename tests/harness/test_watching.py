"""Copies of runs' videos: what players need, what is shown of what, and that nothing else is ever touched."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from console import refusal
from numpy.typing import NDArray

from syncdiff_bench.arrays import Media
from syncdiff_bench.cli import main
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.report.watching import Look, watch
from syncdiff_bench.runs.directory import Run, load_run
from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.usefixtures("work_folder")

FLASH = 12  # of the frames, the one that is bright
# In a shell, in a path, on another system, to an option parser, in a terminal.
HOSTILE = ("a b; rm", "-rf", "50%/é中", "what?.mp4", "\u202etxt")


def clip_of(n: int, height: int, width: int, samples: int) -> Media:
    """Grey stripes of three colours, white at FLASH; a click at that very moment."""
    frames = np.zeros((n, height, width, 3), np.uint8)
    frames[:, :, : width // 2], frames[:, :, width // 2 :] = (150, 60, 40), (40, 90, 160)
    frames[FLASH : FLASH + 1] = 255
    audio = np.zeros(samples, np.int16)
    audio[FLASH * 640 : FLASH * 640 + 64] = 30_000
    return Media(frames, audio)


def shown(path: Path) -> NDArray[np.uint8]:
    """Frames as RGB, by PyAV alone."""
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


def first_loud(path: Path) -> float:
    """Seconds, by PyAV alone."""
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            loud = np.flatnonzero(np.abs(frame.to_ndarray()).max(axis=0) > 0.3)
            if len(loud):
                return float(frame.pts * frame.time_base) + int(loud[0]) / frame.sample_rate
    raise AssertionError("silent")


def generated(clips: dict[str, Media], *methods: str) -> Path:
    """The runs of methods on a folder of these clips, in runs/."""
    for name, media in clips.items():
        write_video(Path("clips") / f"{name}.mp4", media)
    named = [word for method in methods for word in ("--method", method)]
    assert main(["generate", *named, "--dataset", "folder", "--data-root", "clips", "--out", "runs"]) == 0
    return Path("runs")


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_copies_are_what_players_want() -> None:
    """Also of odd sides, which H.264 4:2:0 cannot hold."""
    runs = generated({"odd": clip_of(20, 43, 57, 12_800)}, "gt")
    assert main(["watch", str(runs), "--scale", "1"]) == 0
    copy = runs / "watch" / "gt" / "odd.mp4"
    content = copy.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")
    with av.open(str(copy)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        coded = picture.codec_context
        assert (coded.name, coded.pix_fmt, coded.width, coded.height) == ("h264", "yuv420p", 58, 44)
        assert (picture.average_rate, picture.frames) == (25, 20)
        assert (sound.codec_context.name, sound.rate) == ("aac", 16_000)
    frames = shown(copy)
    assert np.abs(frames[0, :43, 2:26].astype(int) - (150, 60, 40)).max() <= 4
    assert np.abs(frames[0, :43, 32:57].astype(int) - (40, 90, 160)).max() <= 4


def test_flash_and_click_come_together() -> None:
    runs = generated({"clip": clip_of(40, 64, 64, 25_600)}, "gt", "static")
    assert main(["watch", str(runs)]) == 0
    for name in ("gt", "side-by-side"):
        copy = runs / "watch" / name / "clip.mp4"
        bright = np.flatnonzero(shown(copy)[:, 40:200, 20:200].mean(axis=(1, 2, 3)) > 200)
        assert bright.tolist() == [FLASH]
        assert first_loud(copy) == pytest.approx(FLASH / 25, abs=5e-3)


def test_small_pictures_are_enlarged_smoothly_or_pixel_by_pixel() -> None:
    runs = generated({"clip": clip_of(2, 64, 64, 0)}, "gt")
    for how, most in (("nearest", 4), ("lanczos", 255)):
        assert main(["watch", str(runs), "--filter", how, "--out", how]) == 0
        frame = shown(Path(how) / "gt" / "clip.mp4")[0].astype(int)
        assert frame.shape == (256, 256, 3)
        # An edge lies between pixels 127 and 128; pixel by pixel it is sharp but for the codec.
        assert np.abs(frame[:, 126] - (150, 60, 40)).max() <= most
        blurred = np.abs(frame[128, 124:132, 0] - np.repeat([150, 40], 4)).max()
        assert (blurred > 10) == (how == "lanczos")


def test_a_clip_without_sound_is_copied_without() -> None:
    runs = generated({"mute": clip_of(5, 32, 32, 0), "loud": clip_of(20, 32, 32, 12_800)}, "gt", "static")
    assert main(["watch", str(runs)]) == 0
    for name in ("gt", "side-by-side"):
        for clip, tracks in (("mute", 0), ("loud", 1)):
            with av.open(str(runs / "watch" / name / f"{clip}.mp4")) as container:
                assert len(container.streams.audio) == tracks


def test_names_of_any_kind_stay_in_the_folder(capsys: pytest.CaptureFixture[str]) -> None:
    runs = generated({name: clip_of(3, 32, 32, 0) for name in HOSTILE}, "gt", "static")
    before = files(Path())
    labels = ["--label", f"{runs / 'gt'}=../../up", "--label", f"{runs / 'static'}=Side-By-Side"]
    assert main(["watch", str(runs), "--out", "seen", *labels]) == 0
    assert files(Path()) - before == {
        f"seen/{folder}/{clip}.mp4" for folder in ("up", "Side-By-Side-2", "side-by-side") for clip in HOSTILE
    }
    assert main(["watch", str(runs / "gt"), "--out", "one", "--", *HOSTILE]) == 0
    assert "\u202e" not in capsys.readouterr().err
    assert files(Path("one/gt")) == {f"{clip}.mp4" for clip in HOSTILE}


def test_an_id_that_leads_out_of_the_folder_costs_nothing_else(
    toy_plugins: Path, toy_runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No dataset may give one, but run.json may be of anybody."""
    run = Path("runs/toy-test/toy-noise")
    shutil.copytree(toy_runs / run, run)
    manifest = json.loads((run / "run.json").read_text())
    manifest["dataset"]["clips"][0] = "../../../out"
    (run / "run.json").write_text(json.dumps(manifest))
    write_video(Path("runs/out.mp4"), clip_of(3, 16, 16, 0))
    before = sha256_of(Path("runs/out.mp4"))
    assert main(["watch", str(run), "--out", "deep/seen"]) == 0
    assert "failed (toy-noise): clip id '../../../out' leads out of its folder" in capsys.readouterr().err
    assert sha256_of(Path("runs/out.mp4")) == before
    assert not Path("out.mp4").exists() and not Path("deep/out.mp4").exists()
    assert len(files(Path("deep/seen/toy-noise"))) == 4


def test_a_clip_that_fails_costs_no_other(capsys: pytest.CaptureFixture[str]) -> None:
    """Its column stands empty where the other methods are shown."""
    runs = generated({f"c{i}": clip_of(4, 128, 128, 2_560) for i in range(3)}, "gt", "static")
    (runs / "static" / "videos" / "c1.mp4").write_bytes(b"no video")
    (runs / "gt" / "videos" / "c2.mp4").unlink()
    (runs / "static" / "videos" / "c2.mp4").unlink()
    assert main(["watch", str(runs)]) == 0
    told = capsys.readouterr().err
    failed = [line for line in told.splitlines() if line.startswith("failed ")]
    assert [line.split(":")[0] for line in failed] == ["failed (static)", "failed (gt)", "failed (static)"]
    assert "c1.mp4: not a video file" in failed[0] and "has no video of clip 'c2'" in failed[1]
    assert f"wrote 3 copies and 2 files side by side to {runs / 'watch'}: 2 of 3 clips\n" in told
    both = {f"{folder}/{clip}.mp4" for folder in ("gt", "side-by-side") for clip in ("c0", "c1")}
    assert files(runs / "watch") == both | {"static/c0.mp4"}
    frame = shown(runs / "watch" / "side-by-side" / "c1.mp4")[0].astype(int)
    picture, empty = frame[-256:, :256], frame[-256:, -256:]
    assert np.abs(picture[10:-10, 10:100] - (150, 60, 40)).max() <= 6
    assert np.abs(empty[:60] - 0xD8).max() <= 4 and empty[118:138].min() < 80  # "no video" in the middle
    for run in ("gt", "static"):
        (runs / run / "videos" / "c0.mp4").unlink()
    assert main(["watch", str(runs), "c0"]) == 1


def test_a_reference_that_cannot_be_read_is_said_and_costs_no_method(capsys: pytest.CaptureFixture[str]) -> None:
    runs = generated({f"c{i}": clip_of(4, 128, 128, 0) for i in range(2)}, "static")
    (Path("clips") / "c0.mp4").write_bytes(b"no video")
    assert main(["watch", str(runs)]) == 0
    told = capsys.readouterr().err
    assert "failed (reference): " in told and "clips/c0.mp4: not a video file" in told
    left = {clip: shown(runs / "watch" / "side-by-side" / f"{clip}.mp4")[0, -200, 20] for clip in ("c0", "c1")}
    assert np.abs(left["c0"].astype(int) - 0xD8).max() <= 4
    assert np.abs(left["c1"].astype(int) - (150, 60, 40)).max() <= 6
    shutil.rmtree("clips")
    assert main(["watch", str(runs), "--out", "seen"]) == 0
    assert "note: without references, as the dataset cannot be opened: " in capsys.readouterr().err
    assert files(Path("seen")) == {"static/c0.mp4", "static/c1.mp4"}  # alone, nothing is beside it


def test_nothing_that_is_scored_is_written_to(capsys: pytest.CaptureFixture[str]) -> None:
    runs = generated({"c0": clip_of(4, 32, 32, 0)}, "gt", "static")
    kept = {path: sha256_of(path) for path in Path().rglob("*") if path.is_file()}
    line = refusal(capsys, ["watch", str(runs), "--out", str(runs / "gt" / "videos" / "new")])
    assert line.startswith(f"error: --out: {runs}/gt/videos/new") and "which are scored" in line
    alias = ["--out", str(runs / "gt"), "--label", f"{runs / 'static'}=videos"]
    assert "are scored" in refusal(capsys, ["watch", str(runs / "static"), *alias])
    # Videos that somebody else made are scored where they lie; and the dataset's own are shown.
    shutil.copytree(runs / "static" / "videos", "theirs/mine")
    kept |= {path: sha256_of(path) for path in Path("theirs").rglob("*.mp4")}
    scoring = ["--videos", "theirs/mine", "--reference", "clips", "--metrics", "psnr", "--out", "scored"]
    assert main(["score", *scoring]) == 0
    given = next(Path("scored").rglob("run.json")).parent
    capsys.readouterr()
    assert main(["watch", str(given), "--out", "theirs", "--label", f"{given}=mine"]) == 1
    assert "is the video that is shown, which no copy replaces" in capsys.readouterr().err
    assert main(["watch", str(runs / "static"), "--out", ".", "--label", f"{runs / 'static'}=clips"]) == 1
    assert {path: sha256_of(path) for path in kept} == kept
    assert main(["watch", str(given), "--out", "seen"]) == 0
    assert len(files(Path("seen"))) == 2


@pytest.fixture
def toys(toy_plugins: Path, toy_runs: Path, work_folder: Path) -> list[Run]:
    shutil.copytree(toy_runs, work_folder, dirs_exist_ok=True)
    return [load_run(Path("runs/toy-test") / name) for name in ("toy-noise", "toy-truth")]


def test_the_worst_clips_come_first(toys: list[Run], tmp_path: Path) -> None:
    run = toys[0]
    worse = {"s1/3": 90.0, "s0/0": 50.0}
    scores = tuple(replace(score, values={"err": worse.get(score.clip, 1.0)}) for score in run.scores)
    made = watch([replace(run, scores=scores)], out=tmp_path / "seen", limit=2)
    assert files(tmp_path / "seen/toy-noise") == {"s1/3.mp4", "s0/0.mp4"}
    assert (made.copies, made.side_by_side, made.clips, made.of) == (2, 2, 2, 5)
    assert watch(toys, out=tmp_path / "all").copies == 10


def test_clips_are_named_by_id_or_by_file(toys: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", "runs/toy-test", "s1/2", "s0/1"]) == 0
    assert files(Path("runs/toy-test/watch/side-by-side")) == {"s1/2.mp4", "s0/1.mp4"}
    assert main(["watch", "runs/toy-test/toy-noise/videos/s2/4.mp4"]) == 0
    assert files(Path("runs/toy-test/toy-noise/watch")) == {"toy-noise/s2/4.mp4", "side-by-side/s2/4.mp4"}
    assert refusal(capsys, ["watch", "runs/toy-test", "s9/9"]).startswith(
        "error: s9/9: neither a folder with runs nor a clip of theirs, such as s0/0"
    )
    assert "s0/1 is no folder" in refusal(capsys, ["watch", "s0/1"])
    assert main(["watch", "runs/toy-test", "--clips", "2", "--out", "two"]) == 0
    assert "2 of 5 clips; --all for every one" in capsys.readouterr().err
    assert len(files(Path("two/toy-noise"))) == 2


def test_runs_of_one_dataset_stand_side_by_side_whichever_clips_they_have(toys: list[Run]) -> None:
    few = ["--dataset", "toy", "--limit", "1", "--out", "few", "--method", "toy-noise", "--set", "shift=40"]
    assert main(["generate", *few]) == 0
    generated({"c0": clip_of(3, 16, 16, 0)}, "static")
    assert main(["watch", "runs/toy-test", "few", "runs/static", "--all", "--out", "seen"]) == 0
    assert len(files(Path("seen/toy-test/side-by-side"))) == 5
    assert files(Path("seen/folder-test")) == {"static/c0.mp4", "side-by-side/c0.mp4"}
    frames = {i: shown(Path(f"seen/toy-test/side-by-side/s0/{i}.mp4"))[0] for i in range(2)}
    # toy-truth is no ground truth by name, so that the reference is shown as well. Clip i of toy is all 10 i.
    assert [frames[i].shape[1] for i in range(2)] == [4 * 256 + 3 * 4, 3 * 256 + 2 * 4]
    middles = [frames[0][-100, 128 + 260 * column].mean() for column in range(4)]
    assert middles == pytest.approx([0, 3, 0, 40], abs=3)


def test_a_shorter_video_holds_its_last_frame(toys: list[Run], tmp_path: Path) -> None:
    """All is shown of the longest one."""
    for run, levels in zip(toys, ([50, 100], [10, 20, 30, 40]), strict=True):
        frames = np.repeat(np.uint8(levels), 16 * 16 * 3).reshape(-1, 16, 16, 3)
        write_video(run.path / "videos" / "s0" / "1.mp4", Media(frames, np.zeros(0, np.int16)))
    watch(toys, out=tmp_path / "seen", wanted=["s0/1"])
    frames = shown(tmp_path / "seen/side-by-side/s0/1.mp4")
    columns = [frames[:, -100, 128 + 260 * column].mean(axis=1) for column in range(3)]
    assert columns[0] == pytest.approx([10, 10, 10, 10], abs=3)  # the reference, of three frames
    assert columns[1] == pytest.approx([50, 100, 100, 100], abs=3)
    assert columns[2] == pytest.approx([10, 20, 30, 40], abs=3)


def test_what_is_said_stands_below(toys: list[Run], tmp_path: Path) -> None:
    plain = watch(toys, out=tmp_path / "plain", wanted=["s0/0"])
    without = shown(tmp_path / "plain/side-by-side/s0/0.mp4")[0]
    told = watch(toys, out=tmp_path / "told", wanted=["s0/0"], look=Look(transcript=True))
    frame = shown(tmp_path / "told/side-by-side/s0/0.mp4")[0]
    assert not plain.notes and not told.notes
    below = frame[without.shape[0] :]
    assert len(below) > 20 and below.min() < 80 and below.max() > 240


def test_a_dataset_without_words_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    runs = generated({"c0": clip_of(3, 32, 32, 0)}, "static")
    assert main(["watch", str(runs), "--transcript"]) == 0
    assert "note: --transcript: folder-test does not know what is said" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(toys: list[Run], capsys: pytest.CaptureFixture[str]) -> None:
    Path("taken").write_text("x")
    assert "taken/seen cannot be written" in refusal(capsys, ["watch", "runs/toy-test", "--out", "taken/seen"])
    with pytest.raises(UsageError, match="cannot be written"):
        watch(toys, out=Path("taken"))
