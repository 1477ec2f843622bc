"""The metrics that come with the benchmark; `weights.toml` lists the networks that they and the methods use.

from syncdiff_metrics import PSNR

PSNR()(generated, reference, boxes=boxes)
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from syncdiff_metrics.avs import AVS
    from syncdiff_metrics.lmd import LMD
    from syncdiff_metrics.lpips import LPIPS
    from syncdiff_metrics.lse import LSE
    from syncdiff_metrics.psnr import PSNR
    from syncdiff_metrics.ssim import SSIM
    from syncdiff_metrics.wer import WER

__all__ = ["AVS", "LMD", "LPIPS", "LSE", "PSNR", "SSIM", "WER"]

if not TYPE_CHECKING:
    from syncdiff_bench.exports import offered

    __getattr__, __dir__ = offered(__name__, {name: f"{__name__}.{name.lower()}" for name in __all__})
