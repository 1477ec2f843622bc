"""`sadtalker`: `external-sadtalker` by its older name and with its older options, so that runs from before go on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from syncdiff_bench.contracts import WeightsUsed
from syncdiff_bench.errors import UsageError
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_methods.external.ready import ADAPTERS, Adapter, adapter

POSE_STYLES = 46


@dataclass(frozen=True)
class SadTalkerOptions:
    """Options of `sadtalker`; the names are those of inference.py (docs/spec/sadtalker.md).

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


class SadTalker(Adapter):
    """First frame and audio in, one dated mp4 out, at 25 fps.

    Only the first frame is used and the head moves on its own, so PSNR and SSIM are low by design (Table 1: 0.543).
    """

    name = "sadtalker"
    title = "SadTalker"
    source = ADAPTERS / "sadtalker.toml"
    described = adapter("sadtalker").described
    needs = described.about.needs
    incidental = frozenset({"checkpoints", "timeout"})
    Options = SadTalkerOptions

    def _settings(self) -> dict[str, Any]:
        given: SadTalkerOptions = self.options
        return {
            "checkpoints": str((given.checkpoints or given.checkout / "checkpoints").absolute()),
            "preprocess": given.preprocess,
            "still": str(given.still).lower(),
            "size": str(given.size),
            "pose_style": given.pose_style,
            "expression_scale": given.expression_scale,
            "enhancer": given.enhancer,
            "ref_pose": str(given.ref_pose).lower(),
        }

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """Digests of its code and weights, but neither of the text file nor of the Python, as runs from before have it.

        Raises UsageError where any is missing.
        """
        self.check_files()
        return tuple(WeightsUsed(path.name, sha256_of(path), path) for path in self.placed.required)
