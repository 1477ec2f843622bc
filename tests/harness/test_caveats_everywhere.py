"""Five caveats: whatever a reader opens says them, and of a clean run nothing does."""

from __future__ import annotations

import json
from html import unescape
from pathlib import Path

import av
import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Frames
from syncdiff_bench.runs.directory import load_run

SCORED = ["--metrics", "psnr,lse[weights=pocket]"]
MADE = {  # of the run that reconstructs `truth/` with the model that was drawn for pocket
    "guessed-boxes": "the face box is the centred guess",
    "retimed": "retimed to 25 fps, nearest frames (b: retimed 50 -> 25 fps: 50 -> 25 frames)",
    "foreign-model": "gt-rec runs an autoencoder trained on pocket (drawn faces), not on folder",
    "subset": "lse (pocket): over 5 of 6 clips (1 n/a, the clip has no audio track)",
}
GIVEN = {  # of that which scores the videos of `given/`
    "length": "up to 1 frames shorter than their reference, scored over the common part (c: 24 of 25 frames)"
}


def written(path: Path, frames: Frames, *, sound: bool, fps: int = 25) -> None:
    path.parent.mkdir(exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264rgb", rate=fps, options={"qp": "0"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "rgb24"
        heard = container.add_stream("aac", rate=16_000, layout="mono") if sound else None
        for picture in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
        if heard is not None:
            samples = np.random.default_rng(0).integers(-3000, 3000, (1, len(frames) * 16_000 // fps)).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
            frame.sample_rate, frame.pts = 16_000, 0
            container.mux([*heard.encode(frame), *heard.encode(None)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of noise, `b` at 50 frames per second, `d` without sound; videos of them, a frame of `c` missing."""
    where = tmp_path_factory.mktemp("caveats")
    random = np.random.default_rng(1)
    for name in "abcdef":
        frames = random.integers(8, 240, (50 if name == "b" else 25, 64, 64, 3)).astype(np.uint8)
        written(where / "truth" / f"{name}.mp4", frames, sound=name != "d", fps=50 if name == "b" else 25)
        made = (frames[::2] if name == "b" else frames) + 4
        written(where / "given" / f"{name}.mp4", made[: 24 if name == "c" else 25], sound=name != "d")
    return where


@pytest.fixture(scope="module")
def runs(folder: Path) -> dict[str, Path]:
    data = [
        "--dataset",
        "folder",
        "--data-root",
        str(folder / "truth"),
        "--boxes",
        "centred",
        "--out",
        str(folder / "runs"),
    ]
    assert main(["run", "--method", "gt-rec", "--set", "model=pocket", *data, *SCORED]) == 0
    assert main(["run", "--method", "videos", "--set", f"folder={folder / 'given'}", *data, *SCORED]) == 0
    assert (
        main(["run", "--method", "static", "--metrics", "ssim", "--limit", "10", "--out", str(folder / "clean")]) == 0
    )
    return {name: folder / "runs" / name for name in ("gt-rec", "videos")} | {"clean": folder / "clean" / "static"}


def plain(text: str) -> str:
    """Without the escapes of Markdown, LaTeX, HTML and XML."""
    return unescape(text).replace("\\", "").replace("$>$", ">")


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert main(list(arguments)) in (0, 1)
    return plain(capsys.readouterr().out)


def test_run_json_counts_them(runs: dict[str, Path]) -> None:
    kinds = {name: {one.kind for one in load_run(path).caveats} for name, path in runs.items()}
    assert set(MADE) <= kinds["gt-rec"] and set(GIVEN) <= kinds["videos"]
    assert kinds["clean"] == set()
    assert json.loads((runs["clean"] / "run.json").read_text())["caveats"] == []


@pytest.mark.parametrize("form", ["table", "markdown", "csv", "json"])
def test_leaderboards_say_them(
    form: str, folder: Path, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    text = said(capsys, "report", str(folder / "runs"), "--format", form)
    for sentence in (MADE | GIVEN).values():
        assert sentence in text, sentence
    assert " clips:" not in said(capsys, "report", str(runs["clean"]), "--format", form).partition("\n")[2]


def test_the_page_says_them(folder: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    for name, arguments in (
        ("report", ["report", str(folder / "runs")]),
        ("compare", ["compare", str(runs["gt-rec"]), str(runs["videos"])]),
    ):
        page = tmp_path / f"{name}.html"
        assert main([*arguments, "--html", str(page), "--clips", "0"]) == 0
        text = plain(page.read_text(encoding="utf-8"))
        assert all(sentence in text for sentence in (MADE | GIVEN).values())


@pytest.mark.parametrize("form", ["markdown", "latex", "html", "csv"])
def test_the_papers_table_says_them(form: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    given = ["paper", "tables", "--table", "1", "--dataset", "folder", "--format", form]
    text = said(capsys, *given, str(runs["gt-rec"]), str(runs["videos"]))
    for sentence in (MADE | GIVEN).values():
        assert sentence in text, sentence


@pytest.mark.parametrize("form", ["table", "markdown"])
def test_compare_says_them_of_their_side(form: str, runs: dict[str, Path], capsys: pytest.CaptureFixture[str]) -> None:
    text = said(capsys, "compare", str(runs["gt-rec"]), str(runs["videos"]), "--format", form)
    for sides, sentence in (
        ("A and B", MADE["guessed-boxes"]),
        ("A and B", MADE["retimed"]),
        ("A", MADE["foreign-model"]),
        ("A and B", MADE["subset"]),
        ("B", GIVEN["length"]),
    ):
        (line,) = [line for line in text.splitlines() if sentence in line]
        assert line.startswith(f"{sides}: ")


def test_check_says_them_on_the_terminal_in_the_summary_and_in_junit(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    baseline, summary, junit = (str(tmp_path / name) for name in ("base.json", "summary.md", "check.xml"))
    for name, kinds in (("gt-rec", MADE), ("videos", GIVEN)):
        assert main(["check", str(runs[name]), "--baseline", baseline, "--update"]) == 0
        text = said(capsys, "check", str(runs[name]), "--baseline", baseline, "--summary", summary, "--junit", junit)
        files = (plain(Path(file).read_text(encoding="utf-8")) for file in (summary, junit))
        for where in (text, *files):
            assert all(sentence in where for sentence in kinds.values())
