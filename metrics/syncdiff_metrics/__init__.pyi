from syncdiff_metrics.avs import AVS as AVS
from syncdiff_metrics.lmd import LMD as LMD
from syncdiff_metrics.lpips import LPIPS as LPIPS
from syncdiff_metrics.lse import LSE as LSE
from syncdiff_metrics.psnr import PSNR as PSNR
from syncdiff_metrics.ssim import SSIM as SSIM
from syncdiff_metrics.wer import WER as WER
