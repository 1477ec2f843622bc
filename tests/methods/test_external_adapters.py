"""Each ready adapter against a stand-in for its repository (tests/data/adapters), as strict as the original."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import runpy
import sys
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Media, Runtime
from syncdiff_bench.documents import read_toml
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.plugins import load_method
from syncdiff_bench.registry import describe
from syncdiff_bench.runs.directory import load_run
from syncdiff_methods.external.ready import ADAPTERS, Adapter, adapter

DATA = Path(__file__).parents[1] / "data" / "adapters"
STUB = DATA / "stub.py"
NAMES = sorted(path.stem for path in ADAPTERS.glob("*.toml"))
SHOWN = 29  # frames; 29 / 25 s, times 25, is less than 29 in floats

Make = Callable[..., Adapter]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """`make(name, device="cpu", **options)`: the adapter on a stand-in that holds what it requires alone."""
    monkeypatch.setenv("SAID", str(tmp_path / "said.jsonl"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ffmpeg").write_text("#!/bin/sh\n")
    (programs / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")

    def made(name: str, device: str = "cpu", **options: Any) -> Adapter:
        given = {"checkout": tmp_path / name, "python": Path(sys.executable), **options}
        method = adapter(name)(adapter(name).Options(**given), Runtime(device))
        stand_in(name, tmp_path / name, method)
        return method

    return made


def stand_in(name: str, root: Path, method: Adapter) -> None:
    data = read_toml(DATA / f"{name}.toml")
    inside = (path for path in method.placed.required if path.is_relative_to(root))
    contents = {path.relative_to(root).as_posix(): "x" for path in inside}
    contents |= {f"{package.replace('.', '/')}/__init__.py": "" for package in data["packages"]}
    contents |= {f"{package.partition('.')[0]}/__init__.py": "" for package in data["packages"]}
    code = [*data["folders"], *data.get("files", [])]
    contents["torch/__init__.py"] = "def manual_seed(seed): pass"
    for script in data["scripts"]:
        contents[script["path"]] = f"SPEC = {script | {'root': str(root), 'code': code}!r}\n{STUB.read_text()}"
    for path, text in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def clip(clip_id: str = "s/1", width: int = 48) -> Clip:
    """Frame t is all t."""
    frames, height = SHOWN, 48
    shown = np.repeat(np.arange(frames, dtype=np.uint8), height * width * 3).reshape(frames, height, width, 3)
    return Clip(clip_id, "test", preloaded=Media(shown, np.full(640 * frames, 9, np.int16)))


def made_by(method: Adapter, *clips: Clip, seed: int = 7) -> list[Frames]:
    found = []
    for _, frames in method.generate(clips or (clip(),), seed=seed):
        if isinstance(frames, ClipError):
            raise frames
        found.append(frames)
    return found


def said(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "said.jsonl").read_text().splitlines()]


# ------------------------------------------------------------------------------------------ all of them


def test_every_file_is_a_method() -> None:
    points = {one.name: one.value for one in entry_points(group="syncdiff_bench.methods")}
    ready = {name: value for name, value in points.items() if name.startswith("external-")}
    assert ready == {f"external-{name}": f"syncdiff_methods.external.ready:{name}" for name in NAMES}
    assert sorted(path.stem for path in DATA.glob("*.toml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_it_makes_clips_of_what_it_requires(make: Make, tmp_path: Path, name: str) -> None:
    """Two clips, one after the other: nothing of the first is left where the second looks."""
    method, root, data = make(name), tmp_path / name, read_toml(DATA / f"{name}.toml")
    squares = "side" in data["scripts"][-1]
    width = 48 if squares and not method.template.stretched else 64
    for frames, wide in zip(made_by(method, clip(), clip("s/2", width)), (48, width), strict=True):
        assert frames.shape == (SHOWN, 48, wide, 3)
        assert np.allclose(frames.mean(axis=(1, 2, 3)), np.arange(SHOWN), atol=1.5)
    kinds = {one.kind for one in method.caveats("s/2")}
    assert ("resized" in kinds) == squares
    assert kinds <= {"resized", "length"}
    assert ("length" in kinds) <= (method.template.spare_frames > 0)
    assert all(one.sentence and one.kind == "program" for one in method.general_caveats())
    # Nothing else was there, and nothing is required that the program does not open.
    opened = {Path(path) for line in said(tmp_path) for path in line["opened"] if Path(path).is_relative_to(root)}
    scripts = {root / script["path"] for script in data["scripts"]}
    assert set(method.placed.required) == opened | scripts
    assert set(method.template.packages) == set(data["packages"])
    assert {used.name for used in method.weights_used()} >= {path.name for path in opened | scripts}
    # What it wrote lies with the clip, not in the checkout.
    assert {path.suffix for path in root.rglob("*") if "__pycache__" not in path.parts} & {".mp4", ".npy"} == set()


@pytest.mark.parametrize("name", NAMES)
def test_clips_of_any_length_come_out_whole(make: Make, name: str) -> None:
    """By what the originals compute, not by what the stand-ins write."""
    of = adapter(name).described
    frames_of = runpy.run_path(str(STUB))["FRAMES"][name]
    for wanted in range(16, 500):
        samples = 640 * wanted + round(16000 * of.audio_padding)
        shown = 1 if "reference" in of.placeholders and "video" not in of.placeholders else wanted + of.video_padding
        got = frames_of(samples, shown, 25)
        assert wanted <= got <= wanted + of.spare_frames, (wanted, got)


def test_what_each_needs_is_listed() -> None:
    rows = {row.name: row for row in describe("method")}
    for name in NAMES:
        row, of = rows[f"external-{name}"], adapter(name).described.about
        assert row.status == "ok"
        assert row.title == adapter(name).described.title
        assert re.fullmatch(r"[0-9a-f]{40}", of.revision)
        assert row.needs[0] == f"{of.repository} at {of.revision[:7]}"
        assert of.licence in row.needs and of.gpu in row.needs
        assert any("weights: " in one for one in row.needs)
    assert rows["gt"].needs == ()
    assert adapter("latentsync").trained_against == {"lse"} and not adapter("hallo2").trained_against


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_without_sound_fails_alone(make: Make, name: str) -> None:
    silent = Clip("s/1", "test", preloaded=Media(clip().frames, np.zeros(0, np.int16)))
    ((_, error),) = make(name).generate([silent], seed=0)
    assert isinstance(error, ClipError) and error.kind == "no-audio"


def test_it_travels_to_another_process(make: Make) -> None:
    method = make("float", framing="face")
    cls, options = pickle.loads(pickle.dumps((type(method), method.options)))
    assert cls is adapter("float") and options == method.options


# ------------------------------------------------------------------------------------------ what is said


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("latentsync", {"inference_steps": 40}, {"inference_steps": 40, "guidance_scale": 1.5, "seed": 7}),
        ("float", {}, {"no_crop": True, "fix_noise_seed": True, "seed": 7}),
        ("float", {"framing": "face"}, {"no_crop": False}),
        ("edtalk", {"pose": "fixed"}, {"fix_pose": True, "pose_driving_path": None}),
        ("echomimic", {"facecrop_dilation_ratio": 0.5}, {"facecrop_dilation_ratio": 0.5, "fps": 25}),
        ("keysync", {}, {"seed": "7", "compute_until": "end"}),
    ],
)
def test_options_reach_the_program(
    make: Make, tmp_path: Path, name: str, options: dict[str, Any], expected: dict[str, Any]
) -> None:
    made_by(make(name, **options))
    assert expected.items() <= said(tmp_path)[-1].items()


def test_weights_of_another_name(make: Make, tmp_path: Path) -> None:
    make("diff2lip")
    (tmp_path / "mine.pt").write_text("x")
    made_by(make("diff2lip", checkpoint=str(tmp_path / "mine.pt")))
    assert str(tmp_path / "mine.pt") in said(tmp_path)[-1]["opened"]


def test_the_program_sees_the_gpu_of_the_run(make: Make, tmp_path: Path) -> None:
    made_by(make("sonic", device="cuda:2"))
    assert said(tmp_path)[-1]["gpu"] == "2"


def test_no_face_is_told(make: Make, tmp_path: Path) -> None:
    method = make("latentsync")
    (tmp_path / "latentsync" / "scripts" / "inference.py").write_text('raise RuntimeError("Face not detected")')
    with pytest.raises(ClipError, match="external-latentsync found no face") as caught:
        made_by(method)
    assert caught.value.kind == "no-face"


# ------------------------------------------------------------------------------------------ what is missing


def test_all_that_is_missing_is_one_message(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method, root = make("latentsync"), tmp_path / "latentsync"
    monkeypatch.setenv("PATH", "/nowhere")
    absent = ["checkpoints/latentsync_unet.pt", "checkpoints/whisper/tiny.pt"]
    for name in (*absent, "DeepCache/__init__.py"):
        (root / name).unlink()
    for ask in (method.weights_used, lambda: made_by(method)):
        with pytest.raises(UsageError) as caught:
            ask()
        message = str(caught.value)
        assert message.startswith("external-latentsync: missing: ") and "\n" not in message
        for words in (
            *(f"file {root / name}" for name in absent),
            "package DeepCache (",
            "program ffmpeg on the PATH",
            f"into {sys.executable}",
            "LatentSync-1.6",
        ):
            assert words in message


def test_a_checkout_that_is_none_and_a_python_that_nobody_named(make: Make, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere is not a folder; give --set checkout=DIR, a clone of github.com/"):
        adapter("sonic")(adapter("sonic").Options(checkout=tmp_path / "nowhere")).check()
    method = make("sonic", python=None)
    with pytest.raises(UsageError, match=r"missing: python \(--set python=PATH\);"):
        method.check()
    own = tmp_path / "sonic" / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.symlink_to(sys.executable)
    fresh = type(method)(method.options)
    fresh.check()
    assert fresh.placed.values["python"] == own


def test_options_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="external-float needs the option 'checkout'"):
        load_method("external-float")
    with pytest.raises(UsageError, match="option framing of external-float: 'head' is not one of clip, face"):
        load_method("external-float", {"checkout": str(tmp_path), "framing": "head"})
    with pytest.raises(UsageError, match="timeout is -1; give the seconds"):
        load_method("external-float", {"checkout": str(tmp_path), "timeout": -1})


# ------------------------------------------------------------------------------------------ by command line


def test_a_row_from_the_command_line(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make("keysync")
    given = ["--set", f"checkout={tmp_path / 'keysync'}", "--set", f"python={sys.executable}"]
    command = ["run", "--method", "external-keysync", *given, "--limit", "1", "--metrics", "psnr", "--out", "out"]
    assert main(command) == 0
    run = load_run(Path("out/external-keysync"))
    assert [record.error for record in run.generated.values()] == [None]
    assert math.isfinite(run.manifest["summary"][0]["mean"])
    board = Path("out/leaderboard.md").read_text()
    assert "external-keysync" in board and "stretches the picture to 512x512" in board
    before = (tmp_path / "said.jsonl").read_text()
    assert main(command) == 0
    assert (tmp_path / "said.jsonl").read_text() == before  # resumed: nothing is made again
    (tmp_path / "keysync" / "pretrained_models" / "checkpoints" / "keyframe_dub.pt").write_text("other weights")
    capsys.readouterr()
    assert main(command) == 2
    assert "keyframe_dub.pt" in capsys.readouterr().err
