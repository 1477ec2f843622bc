"""Commands over a folder that holds anything: clips are scored, all else is named, and nothing waits or ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from console import printed, refusal
from encoded import write_grey

from syncdiff_bench.cli import main
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.video_folder import VideoFolder
from syncdiff_bench.runs.directory import load_run

pytestmark = [
    pytest.mark.usefixtures("work_folder"),
    pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names"),
]

COMMAND = [sys.executable, "-m", "syncdiff_bench"]
STATIC = ["--method", "static", "--boxes", "centred", "--metrics", "psnr", "--progress", "off"]
ODD = (
    "caf\\xe9.mp4 has a name that is not UTF-8",
    "circle is a link to a folder and not followed",
    "loop.mp4 is a link that leads in a circle",
    "pipe.mp4 is a named pipe",
    "x.mp4 is a folder",
    "zero.mp4 is a device",
)
NFC, NFD = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def odd_folder(work_folder: Path) -> Path:
    """Two clips among names of all other kinds, and a damaged clip."""
    root = work_folder / "clips"
    for name in ("good", "fine"):
        write_grey(root / f"{name}.mp4", [90, 120, 60])
    content = (root / "good.mp4").read_bytes()
    Path(os.fsdecode(os.fsencode(root) + b"/caf\xe9.mp4")).write_bytes(content)
    (root / "broken.mp4").write_bytes(content[:100])
    (root / "circle").symlink_to(root)
    (root / "loop.mp4").symlink_to("loop.mp4")
    (root / "zero.mp4").symlink_to("/dev/zero")
    (root / "x.mp4").mkdir()
    os.mkfifo(root / "pipe.mp4")
    return root


def test_run_scores_the_clips_and_names_the_rest(odd_folder: Path) -> None:
    """In a process of its own, which a pipe would hold up for ever."""
    asked = [*COMMAND, "run", "--dataset", "folder", "--data-root", str(odd_folder), "--out", "out", *STATIC]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    run = load_run(Path("out/static"))
    assert {row.clip for row in run.scores if row.values is not None} == {"good", "fine"}
    assert [row.clip for row in run.scores if row.error is not None] == ["broken"]
    for name in ODD:
        assert name in done.stderr
        assert name.replace("\\", "\\\\") in Path("out/leaderboard.md").read_text(encoding="utf-8")
    (caveat,) = [one for one in run.caveats if one.kind == "odd-files"]
    assert caveat.sentence.startswith("6 names are no clips and took no part: ")
    assert json.loads(Path("out/static/run.json").read_text(encoding="utf-8"))["dataset"]["clips"] == [
        *("broken", "fine", "good")
    ]


def test_score_and_its_kin_name_them_too(odd_folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = str(odd_folder)
    data = ["--dataset", "folder", "--data-root", folder]
    videos = ["score", "--videos", folder, "--metrics", "psnr", "--boxes", "centred", "--progress", "off"]
    for code, command in (
        (1, [*videos, "--out", "alone"]),  # without a reference psnr says nothing of any clip, and one is damaged
        (0, [*videos, "--reference", folder, "--out", "paired"]),
        (0, ["generate", *data, "--method", "static", "--progress", "off", "--out", "made"]),
        (0, ["run", *data, *STATIC, "--dry-run", "--out", "never"]),
        (1, ["data", "verify", *data]),
    ):
        assert main(command) == code, command
        captured = capfd.readouterr()
        for name in ODD:
            assert name.replace(" ", ": ", 1) in captured.out or name in captured.out + captured.err, (command, name)


def test_preparing_names_them_too(odd_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("dlib")
    assert main(["data", "prepare", "faces", "--dataset", "folder", "--data-root", str(odd_folder)]) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if line.startswith("odd: ")]
    assert told == [f"odd: {name}" for name in ODD]


def test_verify_goes_on_behind_each_of_them(odd_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, ["data", "verify", "--dataset", "folder", "--data-root", str(odd_folder)], 1).splitlines()
    errors = [line.split(": ")[0] for line in lines if line.startswith("error")]
    names = ("caf\\xe9.mp4", "loop.mp4", "pipe.mp4", "zero.mp4", "broken")
    assert errors == [f"error {name}" for name in names]
    assert lines[-1].endswith("3 clips checked, 5 errors, 4 notes: 5 places to mend")


def test_videos_of_a_method_that_are_no_files_are_named_by_their_clip(odd_folder: Path, work_folder: Path) -> None:
    for name in ("pipe", "good", "loop"):
        write_grey(work_folder / "reference" / f"{name}.mp4", [90, 120, 60])
    data = ["--dataset", "folder", "--data-root", "reference", "--boxes", "centred"]
    assert main(["run", "--method", "videos", "--set", f"folder={odd_folder}", *data, "--metrics", "psnr"]) == 0
    run = load_run(next(Path("runs").glob("*/videos")))
    failed = {one.clip: one.error.message for one in run.generated.values() if one.error is not None}
    assert failed.keys() == {"pipe", "loop"}
    assert "(pipe.mp4 is a named pipe)" in failed["pipe"] and "(loop.mp4 is a link" in failed["loop"]


@pytest.mark.parametrize("name", ["n" * 300, "loop"])
@pytest.mark.parametrize(
    "command",
    [
        *(["run", "--dataset", "folder", "--data-root"], ["run", "--dataset", "lrs3", "--data-root"]),
        *(
            ["score", "--videos"],
            ["run", *STATIC[:2], "--boxes"],
            ["data", "verify", "--dataset", "lrs2", "--data-root"],
        ),
    ],
)
def test_a_folder_that_cannot_be_is_refused(
    work_folder: Path, capsys: pytest.CaptureFixture[str], command: list[str], name: str
) -> None:
    (work_folder / "loop").symlink_to("loop")
    assert name in refusal(capsys, [*command, name])


@pytest.mark.parametrize("there", [NFC, NFD])
@pytest.mark.parametrize("asked", [NFC, NFD, f"{NFC}/1", f"{NFD}/1"])
def test_a_video_is_found_composed_or_not(tmp_path: Path, there: str, asked: str) -> None:
    (tmp_path / "videos").mkdir()
    file = tmp_path / "videos" / f"{there}{'_1' if asked.endswith('/1') else ''}.MP4"
    file.touch()
    videos = VideoFolder(tmp_path / "videos")
    assert videos.find(asked) == file
    assert videos.unclaimed([asked]) == ()


def test_a_flat_file_of_two_clips_is_neither_ones(tmp_path: Path) -> None:
    for name in ("a_b_c", "a_d", "x/y"):
        (tmp_path / f"{name}.mp4").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.mp4").touch()
    found = VideoFolder(tmp_path).find_all(["a/b_c", "a_b/c", "a/d", "x/y", "gone"])
    assert found["a/d"] == tmp_path / "a_d.mp4" and found["x/y"] == tmp_path / "x/y.mp4"
    wrong = {clip: one for clip, one in found.items() if isinstance(one, ClipError)}
    assert {clip: one.kind for clip, one in wrong.items()} == {
        **{"a/b_c": "ambiguous", "a_b/c": "ambiguous", "gone": "missing"}
    }
    assert f"a/b_c: {tmp_path / 'a_b_c.mp4'} may be of a/b_c or of a_b/c" in str(wrong["a/b_c"])


@pytest.mark.parametrize("command", ["run", "score"])
def test_clips_that_share_a_flat_video_fail_and_the_others_are_scored(work_folder: Path, command: str) -> None:
    for name in ("a/b_c", "a_b/c", "a/d"):
        write_grey(work_folder / "reference" / f"{name}.mp4", [90, 120, 60])
    for name in ("a_b_c", "a_d"):
        write_grey(work_folder / "flat" / f"{name}.mp4", [90, 120, 60])
    how = ["--boxes", "centred", "--metrics", "psnr", "--out", "out"]
    given = ["--method", "videos", "--set", "folder=flat", "--dataset", "folder", "--data-root", "reference"]
    given = given if command == "run" else ["--videos", "flat", "--reference", "reference"]
    assert main([command, *given, *how]) == 0
    run = load_run(Path("out/videos"))
    assert {row.clip: row.error is None for row in run.scores} == {"a/b_c": False, "a_b/c": False, "a/d": True}
    messages = {row.error.message for row in run.scores if row.error is not None}
    assert all("may be of a/b_c or of a_b/c" in message for message in messages)
