"""SadTalker, by the user's own checkout in the user's own environment, one process per clip (docs/spec/sadtalker.md).

What a checkout (OpenTalker/SadTalker cd4c046) and its environment must hold is told before anything runs.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from syncdiff_bench.contracts import Clip, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_methods.external.process import Command, environment_with
from syncdiff_methods.external.program import ClipFiles, ProgramMethod
from syncdiff_methods.external.python import own_environment, packages_lacking

# What tells SadTalker from another repository with an inference.py.
CODE = (
    "inference.py",
    "src/utils/init_path.py",
    "src/utils/preprocess.py",
    "src/test_audio2coeff.py",
    "src/facerender/animate.py",
    "src/config/auido2exp.yaml",
    "src/config/auido2pose.yaml",
    "src/config/similarity_Lm3D_all.mat",
)
FACE_WEIGHTS = ("gfpgan/weights/alignment_WFLW_4HG.pth", "gfpgan/weights/detection_Resnet50_Final.pth")
ENHANCER_WEIGHTS = ("gfpgan/weights/GFPGANv1.4.pth", "gfpgan/weights/parsing_parsenet.pth")
PACKAGES = ("torch", "kornia", "facexlib", "gfpgan")

POSE_STYLES = 46
# inference.py prints the first and exits with 0; croper.py raises the second, a text, and dies of that.
NO_FACE = ("Can't get the coeffs of the input", "can not detect the landmark from source image")

# It blinks at random and seeds nothing. Its own files are found relative to argv[0].
_SEEDED = """
import random, runpy, sys
seed, sys.argv = int(sys.argv[1]), sys.argv[2:]
random.seed(seed)
import numpy, torch
numpy.random.seed(seed % 2**32)
torch.manual_seed(seed)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@dataclass(frozen=True)
class Checkout:
    """Where the parts are.

    full: the frames are pasted back (`--preprocess full`), which other weights do.
    """

    folder: Path
    python: Path
    checkpoints: Path
    size: int
    full: bool
    enhancer: bool

    @property
    def script(self) -> Path:
        return self.folder / "inference.py"

    def code(self) -> tuple[Path, ...]:
        """The files of the repository that a checkout must have, as far as they are known here."""
        config = "facerender_still.yaml" if self.full else "facerender.yaml"
        return tuple(self.folder / name for name in (*CODE, f"src/config/{config}"))

    def weights(self) -> tuple[Path, ...]:
        """The files that decide what comes out."""
        mapping = "mapping_00109-model.pth.tar" if self.full else "mapping_00229-model.pth.tar"
        own = (f"SadTalker_V0.0.2_{self.size}.safetensors", mapping)
        faces = FACE_WEIGHTS + (ENHANCER_WEIGHTS if self.enhancer else ())
        return (*(self.checkpoints / name for name in own), *(self.folder / name for name in faces))

    def check_files(self) -> None:
        """Raises UsageError: no SadTalker here, or the list of the files and programs that are missing."""
        if not self.folder.is_dir():
            raise UsageError(f"sadtalker: {self.folder} is not a folder; give --set checkout=DIR, a clone of SadTalker")
        absent = [path.relative_to(self.folder).as_posix() for path in self.code() if not path.is_file()]
        if absent:
            raise UsageError(
                f"sadtalker: {self.folder} is not a SadTalker checkout (no {', '.join(absent)}); "
                "give --set checkout=DIR, a clone of OpenTalker/SadTalker"
            )
        lacking = [f"weights {path}" for path in self.weights() if not path.is_file()]
        if not self.python.is_file():
            lacking.append(f"program {self.python} (python=)")
        if shutil.which("ffmpeg") is None:
            lacking.append("program ffmpeg on the PATH")
        if lacking:
            raise UsageError(
                f"sadtalker: missing: {', '.join(lacking)}; the checkout's scripts/download_models.sh fetches weights"
            )

    def check_environment(self, environment: Mapping[str, str]) -> None:
        """Raises UsageError listing the packages that its Python cannot import, each with the reason."""
        said = packages_lacking(self.python, PACKAGES, self.folder, environment, "sadtalker")
        if said:
            raise UsageError(
                f"sadtalker: {self.python} cannot import {', '.join(said)}; install its requirements.txt there"
            )


@dataclass(frozen=True)
class SadTalkerOptions:
    """Options of `sadtalker`; the names are those of inference.py.

    checkout: a clone of OpenTalker/SadTalker.
    python: the interpreter of its environment.
    checkpoints: its weights, by default `checkpoints/` of the checkout.
    preprocess: full and extfull paste the face back into the first frame at its own size; crop, extcrop and resize
        give the face alone, which is then stretched to the clip's size and looks like no frame of it.
    still: hardly any head motion.
    ref_pose: head motion of the clip itself in place of synthesised one; the method then sees more than the others.
    timeout: seconds per clip.
    """

    checkout: Path
    python: Path
    checkpoints: Path | None = None
    preprocess: Literal["full", "extfull", "crop", "extcrop", "resize"] = "full"
    still: bool = True
    size: Literal[256, 512] = 256
    pose_style: int = 0
    expression_scale: float = 1.0
    enhancer: Literal["none", "gfpgan"] = "none"
    ref_pose: bool = False
    timeout: float = 1800.0

    def __post_init__(self) -> None:
        if not 0 <= self.pose_style < POSE_STYLES:
            raise UsageError(f"sadtalker: pose_style is {self.pose_style}; give 0 to {POSE_STYLES - 1}")
        if not self.timeout > 0:
            raise UsageError(f"sadtalker: timeout is {self.timeout:g}; give the seconds that a clip may take")


class SadTalker(ProgramMethod):
    """First frame and audio in, one dated mp4 out, at 25 fps.

    Only the first frame is used and the head moves on its own, so PSNR and SSIM are low by design (Table 1: 0.543).
    """

    name = "sadtalker"
    title = "SadTalker"
    incidental = frozenset({"checkpoints", "timeout"})
    Options = SadTalkerOptions
    options: SadTalkerOptions

    @cached_property
    def checkout(self) -> Checkout:
        given = self.options
        folder = Path(os.path.abspath(given.checkout))  # noqa: PTH100 - a venv's python is a link that must stay one
        return Checkout(
            folder=folder,
            python=Path(os.path.abspath(given.python)),  # noqa: PTH100
            checkpoints=(given.checkpoints or folder / "checkpoints").absolute(),
            size=given.size,
            full="full" in given.preprocess,
            enhancer=given.enhancer != "none",
        )

    def check(self) -> None:
        self.checkout.check_files()
        self.checkout.check_environment(self._environment())

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """Digests of its code, as far as it is known, and of the weights. Raises UsageError where any is missing."""
        self.checkout.check_files()
        files = (*self.checkout.code(), *self.checkout.weights())
        return tuple(WeightsUsed(path.name, sha256_of(path), path) for path in files)

    def command(self, files: ClipFiles, seed: int) -> Command:
        given = self.options
        arguments = {
            "driven_audio": files.audio,
            "source_image": files.reference,
            "checkpoint_dir": self.checkout.checkpoints,
            "result_dir": files.output_folder,
            "pose_style": given.pose_style,
            "expression_scale": given.expression_scale,
            "preprocess": given.preprocess,
            "size": given.size,
        }
        if self.checkout.enhancer:
            arguments["enhancer"] = given.enhancer
        if given.ref_pose:
            arguments["ref_pose"] = files.video
        flags = ["--still"] if given.still else []
        if not self.runtime.device.startswith("cuda"):
            flags.append("--cpu")
        pairs = [part for name, value in arguments.items() for part in (f"--{name}", str(value))]
        start = (str(self.checkout.python), "-c", _SEEDED, str(seed), str(self.checkout.script))
        return Command((*start, *pairs, *flags), self.checkout.folder, self._environment(), given.timeout)

    def explained(self, clip: Clip, stdout: Path, stderr: Path) -> ClipError | None:
        said = "".join(log.read_text(encoding="utf-8", errors="replace") for log in (stdout, stderr))
        if not any(words in said for words in NO_FACE):
            return None
        return ClipError("no-face", f"{clip.id}: SadTalker found no face in the first frame")

    def _environment(self) -> dict[str, str]:
        return environment_with(own_environment(self.runtime.device))
