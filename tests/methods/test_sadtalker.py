"""`sadtalker` on a checkout that the test writes: the same arguments, the same files, the same failures."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.options import options_to_json
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.texts import options_from_text
from syncdiff_methods.sadtalker import SadTalker, SadTalkerOptions

# As inference.py of OpenTalker/SadTalker behaves: arguments, dated result, folder of intermediate files that goes at
# the end, a video at 25 fps of int(samples / 640) frames, blinks drawn from `random`. $MODE makes it misbehave.
INFERENCE = """
import argparse, json, os, random, shutil, sys, time, wave
import av, numpy as np
from PIL import Image

parser = argparse.ArgumentParser()
for name in ("driven_audio", "source_image", "checkpoint_dir", "result_dir", "ref_pose", "enhancer"):
    parser.add_argument("--" + name)
parser.add_argument("--pose_style", type=int, default=0)
parser.add_argument("--batch_size", type=int, default=2)
parser.add_argument("--size", type=int, default=256)
parser.add_argument("--expression_scale", type=float, default=1.0)
parser.add_argument("--preprocess", default="crop", choices=["crop", "extcrop", "resize", "full", "extfull"])
for flag in ("--cpu", "--still", "--verbose"):
    parser.add_argument(flag, action="store_true")
args = parser.parse_args()

root = os.path.split(sys.argv[0])[0]
assert os.path.isfile(os.path.join(root, "src/config/auido2exp.yaml"))
assert os.path.isfile("gfpgan/weights/alignment_WFLW_4HG.pth")  # relative to the working folder
mapping = "mapping_00109" if "full" in args.preprocess else "mapping_00229"
assert os.path.isfile(os.path.join(args.checkpoint_dir, mapping + "-model.pth.tar"))
with open("arguments.json", "w") as file:
    json.dump({**vars(args), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES"), "path": os.environ.get("PYTHONPATH")}, file)

mode = os.environ.get("MODE", "")
save_dir = os.path.join(args.result_dir, time.strftime("%Y_%m_%d_%H.%M.%S"))
os.makedirs(os.path.join(save_dir, "first_frame_dir"))
print("3DMM Extraction for source image")
if mode == "faceless":
    print("Can't get the coeffs of the input")
    sys.exit(0)
if mode == "landmarkless":
    raise "can not detect the landmark from source image"
if mode == "dies":
    raise ImportError("No module named 'torchvision.transforms.functional_tensor'")
if mode == "hangs":
    time.sleep(600)
with wave.open(args.driven_audio) as file:
    n = int(file.getnframes() / 640)
picture = np.asarray(Image.open(args.source_image))
height, width = picture.shape[:2] if "full" in args.preprocess else (args.size, args.size)
blink = random.randrange(100)

def write(path):
    with av.open(path, "w") as container:
        stream = container.add_stream("libx264rgb", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = width, height, "rgb24"
        frame = np.full((height, width, 3), blink, np.uint8)
        for _ in range(n):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))

if mode != "silent":
    write(os.path.join(save_dir, "inner.mp4"))
    shutil.move(os.path.join(save_dir, "inner.mp4"), save_dir + ".mp4")
if not args.verbose:
    shutil.rmtree(save_dir)
"""
CODE = (
    "src/utils/init_path.py",
    "src/utils/preprocess.py",
    "src/test_audio2coeff.py",
    "src/facerender/animate.py",
    "src/config/auido2exp.yaml",
    "src/config/auido2pose.yaml",
    "src/config/facerender.yaml",
    "src/config/facerender_still.yaml",
    "src/config/similarity_Lm3D_all.mat",
)
WEIGHTS = (
    "checkpoints/SadTalker_V0.0.2_256.safetensors",
    "checkpoints/mapping_00109-model.pth.tar",
    "gfpgan/weights/alignment_WFLW_4HG.pth",
    "gfpgan/weights/detection_Resnet50_Final.pth",
)
MODULES = {
    "torch.py": "def manual_seed(seed): pass",
    "kornia.py": "",
    "facexlib/__init__.py": "",
    "gfpgan/__init__.py": "",
}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A stand-in checkout; the packages of its environment lie in it, where its Python finds them first."""
    folder = tmp_path / "SadTalker"
    files = {"inference.py": INFERENCE, **MODULES} | {name: name for name in (*CODE, *WEIGHTS)}
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ffmpeg").write_text("#!/bin/sh\n")
    (programs / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return folder


@pytest.fixture
def sadtalker(checkout: Path) -> Callable[..., SadTalker]:
    """`sadtalker(device="cpu", **options)` on the stand-in."""

    def make(device: str = "cpu", **options: Any) -> SadTalker:
        given = SadTalkerOptions(**{"checkout": checkout, "python": Path(sys.executable), **options})
        return SadTalker(given, Runtime(device))

    return make


def clip(clip_id: str = "s/1", n_frames: int = 4, samples: int = 640 * 4, height: int = 48) -> Clip:
    frames = np.random.default_rng(0).integers(0, 256, (n_frames, height, 32, 3), dtype=np.uint8)
    return Clip(clip_id, "test", preloaded=Media(frames, np.zeros(samples, np.int16)))


def made(method: SadTalker, given: Clip | None = None, seed: int = 0) -> Frames:
    ((_, frames),) = method.generate([given or clip()], seed=seed)
    if isinstance(frames, ClipError):
        raise frames
    return frames


def arguments(checkout: Path) -> dict[str, Any]:
    return dict(json.loads((checkout / "arguments.json").read_text()))


# ---------------------------------------------------------------------------------------- a checkout that works


def test_the_program_gets_its_own_arguments(sadtalker: Callable[..., SadTalker], checkout: Path) -> None:
    method = sadtalker()
    assert made(method).shape == (4, 48, 32, 3)
    assert method.caveats("s/1") == ()
    given = arguments(checkout)
    assert given["checkpoint_dir"] == str(checkout / "checkpoints")
    assert (given["preprocess"], given["still"], given["size"], given["cpu"]) == ("full", True, 256, True)
    assert (given["pose_style"], given["ref_pose"], given["enhancer"], given["verbose"]) == (0, None, None, False)
    assert all(Path(given[name]).is_absolute() for name in ("driven_audio", "source_image", "result_dir"))
    assert not Path(given["result_dir"]).exists()  # private, and gone
    assert given["path"] is None  # our PYTHONPATH is not its own


def test_options_reach_the_program(sadtalker: Callable[..., SadTalker], checkout: Path) -> None:
    for name in ("mapping_00229-model.pth.tar", "SadTalker_V0.0.2_512.safetensors"):
        (checkout / "checkpoints" / name).write_text("x")
    for name in ("GFPGANv1.4.pth", "parsing_parsenet.pth"):
        (checkout / "gfpgan" / "weights" / name).write_text("x")
    options = {"preprocess": "crop", "still": False, "size": 512, "pose_style": 7, "enhancer": "gfpgan"}
    method = sadtalker(**options, expression_scale=1.5, ref_pose=True)
    frames = made(method, clip(height=32))
    given = arguments(checkout)
    assert options.items() <= given.items()
    assert given["expression_scale"] == 1.5
    assert given["ref_pose"].endswith("video.mp4")
    assert frames.shape == (4, 32, 32, 3)
    assert tuple(one.text for one in method.caveats("s/1")) == ("output: resized 512x512 -> 32x32",)
    with pytest.raises(ClipError, match="frames are 512x512, those of the reference 32x48, another shape"):
        made(method)


@pytest.mark.parametrize(
    ("device", "visible", "gpu"),
    [("cuda", None, None), ("cuda:1", None, "1"), ("cuda:1", "4,6", "6"), ("cuda:0", "3", "3")],
)
def test_the_run_and_the_program_share_a_gpu(
    sadtalker: Callable[..., SadTalker],
    checkout: Path,
    monkeypatch: pytest.MonkeyPatch,
    device: str,
    visible: str | None,
    gpu: str | None,
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    made(sadtalker(device))
    assert (arguments(checkout)["gpu"], arguments(checkout)["cpu"]) == (gpu, False)


def test_its_dice_are_seeded(sadtalker: Callable[..., SadTalker]) -> None:
    levels = [int(made(sadtalker(), seed=seed)[0, 0, 0, 0]) for seed in (0, 0, 1)]
    assert levels[0] == levels[1] != levels[2]


# --------------------------------------------------------------------------------------------- one that does not


@pytest.mark.parametrize(
    ("mode", "kind", "words"),
    [
        ("faceless", "no-face", "sadtalker found no face"),
        ("landmarkless", "no-face", "sadtalker found no face"),
        ("silent", "no-output", r"sadtalker ended well but wrote no \*.mp4 \(3DMM Extraction for source image\)"),
        ("dies", "exit-status", "ended with status 1 .*functional_tensor"),
        ("hangs", "timeout", "sadtalker was stopped after 3 s"),
    ],
)
def test_failures_are_the_clips_own(
    sadtalker: Callable[..., SadTalker], monkeypatch: pytest.MonkeyPatch, mode: str, kind: str, words: str
) -> None:
    monkeypatch.setenv("MODE", mode)
    timeout = 3.0 if mode == "hangs" else 600.0
    ((clip_id, error),) = sadtalker(timeout=timeout).generate([clip()], seed=0)
    assert clip_id == "s/1"
    assert isinstance(error, ClipError) and error.kind == kind
    with pytest.raises(ClipError, match=words):
        raise error


def test_a_clip_without_sound_fails_alone(sadtalker: Callable[..., SadTalker]) -> None:
    with pytest.raises(ClipError, match="no audio track"):
        made(sadtalker(), clip(samples=0))


# --------------------------------------------------------------------------------------------------- preflight


def lacks(method: SadTalker, *words: str) -> None:
    """Planning and generating both refuse, with these words in one line."""
    for ask in (method.weights_used, lambda: list(method.generate([clip()], seed=0))):
        with pytest.raises(UsageError) as caught:
            ask()
        assert "\n" not in str(caught.value)
        for word in words:
            assert word in str(caught.value)


def test_a_checkout_of_something_else(sadtalker: Callable[..., SadTalker], checkout: Path) -> None:
    lacks(sadtalker(checkout=checkout / "nowhere"), "nowhere is not a folder")
    for name in CODE:
        (checkout / name).unlink()
    lacks(sadtalker(), f"missing: file {checkout}/src/utils/init_path.py, file {checkout}/src/utils/preprocess.py, ")


def test_everything_that_is_missing_is_named(
    sadtalker: Callable[..., SadTalker], checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (checkout / WEIGHTS[0]).unlink()
    (checkout / WEIGHTS[3]).unlink()
    monkeypatch.setenv("PATH", "/nowhere")
    lacks(
        sadtalker(python=checkout / "python"),
        f"missing: program {checkout}/python, program ffmpeg on the PATH, file {checkout / WEIGHTS[0]}, "
        f"file {checkout / WEIGHTS[3]};",
        "download_models.sh",
    )


def test_the_weights_depend_on_the_options(sadtalker: Callable[..., SadTalker], tmp_path: Path) -> None:
    lacks(sadtalker(preprocess="resize"), "mapping_00229-model.pth.tar")
    lacks(sadtalker(size=512), "SadTalker_V0.0.2_512.safetensors")
    lacks(sadtalker(enhancer="gfpgan"), "GFPGANv1.4.pth", "parsing_parsenet.pth")
    lacks(sadtalker(checkpoints=tmp_path / "elsewhere"), f"file {tmp_path}/elsewhere/SadTalker_V0.0.2_256")


def test_packages_that_its_python_lacks_are_named(sadtalker: Callable[..., SadTalker], checkout: Path) -> None:
    (checkout / "kornia.py").write_text("raise RuntimeError('numpy 2\\nis too new')")
    (checkout / "gfpgan" / "__init__.py").unlink()  # gfpgan/weights is still there
    with pytest.raises(UsageError) as caught:
        made(sadtalker())
    message = str(caught.value)
    kornia, gfpgan = "kornia (RuntimeError: numpy 2 is too new)", "gfpgan (ImportError: not installed)"
    assert f"sadtalker: missing: package {kornia}, package {gfpgan};" in message
    assert "torch (" not in message and "facexlib (" not in message


def test_a_python_that_is_none(sadtalker: Callable[..., SadTalker], tmp_path: Path) -> None:
    program = tmp_path / "python"
    program.write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(UsageError, match=r"is no working Python \(broken\); correct --set python="):
        made(sadtalker(python=program))
    program.chmod(0o644)
    with pytest.raises(UsageError, match="does not answer"):
        made(sadtalker(python=program))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, "needs the option 'checkout'; give checkout=PATH"),
        ({"checkout": "x"}, "needs the option 'python'"),
        ({"checkout": "x", "python": "y", "pose_style": "46"}, "pose_style is 46; give 0 to 45"),
        ({"checkout": "x", "python": "y", "size": "128"}, "size of sadtalker: '128' is not one of 256, 512"),
        ({"checkout": "x", "python": "y", "timeout": "0"}, "timeout is 0"),
    ],
)
def test_options_that_cannot_be(settings: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        options_from_text(SadTalkerOptions, settings, "sadtalker")


def test_code_and_weights_are_the_runs_identity(sadtalker: Callable[..., SadTalker], checkout: Path) -> None:
    used = {one.name: one.sha256 for one in sadtalker().weights_used()}
    code = {"inference.py", *CODE} - {"src/config/facerender.yaml"}  # of the other way to paste
    assert used == {
        Path(name).name: hashlib.sha256((checkout / name).read_bytes()).hexdigest() for name in (*code, *WEIGHTS)
    }


def test_its_options_are_recorded_as_ever(sadtalker: Callable[..., SadTalker], checkout: Path) -> None:
    """A run that was started by an earlier version goes on only where these are equal."""
    assert options_to_json(sadtalker().options) == {
        "checkout": str(checkout),
        "python": sys.executable,
        "checkpoints": None,
        "preprocess": "full",
        "still": True,
        "size": 256,
        "pose_style": 0,
        "expression_scale": 1.0,
        "enhancer": "none",
        "ref_pose": False,
        "timeout": 1800.0,
    }


# ------------------------------------------------------------------------------------------------ by command line


def test_a_row_from_the_command_line(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two clips of pocket; the second run makes nothing new, and a broken checkout is told before anything starts."""
    monkeypatch.chdir(tmp_path)
    settings = ["--set", f"checkout={checkout}", "--set", f"python={sys.executable}"]
    command = ["run", "--method", "sadtalker", *settings, "--limit", "2", "--metrics", "psnr", "--out", "out"]
    assert main(command) == 0
    run = load_run(Path("out/sadtalker"))
    assert [record.error for record in run.generated.values()] == [None, None]
    assert [entry["n"] for entry in run.manifest["summary"]] == [2]
    assert "sadtalker" in Path("out/leaderboard.md").read_text()
    (checkout / "arguments.json").unlink()
    assert main(command) == 0
    assert not (checkout / "arguments.json").exists()

    (checkout / WEIGHTS[1]).unlink()
    assert main(command) == 2
    assert f"error: sadtalker: missing: file {checkout / WEIGHTS[1]};" in capsys.readouterr().err
