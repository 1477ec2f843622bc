"""What a SadTalker checkout and its environment must hold (OpenTalker/SadTalker cd4c046)."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from syncdiff_bench.errors import UsageError

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
IMPORT_SECONDS = 300.0

# `gfpgan/weights` makes the folder look like a package from inside the checkout; one without a file is none.
_IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    try:
        if getattr(importlib.import_module(name), "__file__", None) is None:
            raise ImportError("not installed")
    except BaseException as error:
        print(name + " (" + type(error).__name__ + ": " + " ".join(str(error).split()) + ")")
"""


@dataclass(frozen=True)
class Checkout:
    """Where the parts are. full: the pictures are pasted back (`--preprocess full`), which other weights do."""

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
        argv = [str(self.python), "-c", _IMPORTS, *PACKAGES]
        try:
            done = subprocess.run(
                argv,
                cwd=self.folder,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=IMPORT_SECONDS,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise UsageError(f"sadtalker: {self.python} does not answer ({error}); correct --set python=") from None
        said = [line for line in done.stdout.splitlines() if line.startswith(PACKAGES)]
        if done.returncode and not said:
            last = done.stderr.strip().rpartition("\n")[2]
            raise UsageError(f"sadtalker: {self.python} is no working Python ({last}); correct --set python=")
        if said:
            raise UsageError(
                f"sadtalker: {self.python} cannot import {', '.join(said)}; install its requirements.txt there"
            )
