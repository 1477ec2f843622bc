"""`sadtalker`: the published program, one process per clip."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from syncdiff_bench.contracts import Clip, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_methods.external.adapter import ProgramMethod
from syncdiff_methods.external.clip_files import ClipFiles
from syncdiff_methods.external.process import Command, environment_with
from syncdiff_methods.sadtalker.checkout import Checkout

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
class SadTalkerOptions:
    """Options of `sadtalker`; the names are those of inference.py.

    checkout: a clone of OpenTalker/SadTalker. python: the interpreter of its environment.
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
    """First frame and sound in, one dated mp4 out, at 25 fps.

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
        from syncdiff_bench.weights.digests import sha256_of

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
        """Ours without what belongs to our Python, and with the one GPU that the run is on."""
        changes = {"PYTHONPATH": "", "PYTHONHOME": "", "PYTHONSAFEPATH": ""}
        kind, _, index = self.runtime.device.partition(":")
        if kind == "cuda" and index:
            visible = [one for one in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if one]
            changes["CUDA_VISIBLE_DEVICES"] = visible[int(index)] if visible else index
        return environment_with(changes)
