"""The metrics that come with the benchmark; `weights.toml` lists the networks that they and the methods use.

from syncdiff_metrics import PSNR

PSNR()(generated, reference, boxes=boxes)
"""

from syncdiff_bench.exports import offered

__all__ = ["AVS", "LMD", "LPIPS", "LSE", "PSNR", "SSIM", "WER"]
__getattr__, __dir__ = offered(__name__, {name: f"{__name__}.{name.lower()}" for name in __all__})
