"""S3FD (Zhang et al. 2017) as `face-alignment` builds it, with the weights that Wav2Lip and TalkLip use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from syncdiff_bench.arrays import Frames, writable
from syncdiff_bench.errors import NotApplicable
from syncdiff_bench.faces.detectors import EXTRA, Faces
from syncdiff_bench.weights.digests import WeightsUsed
from syncdiff_bench.weights.finding import weights_found
from syncdiff_bench.weights.loading import check_state_dict, load_tensors
from syncdiff_bench.weights.store import WeightsStore

WEIGHTS = "s3fd"
CANDIDATE_OVERLAP = 0.3  # of two boxes, beyond which only the surer one is a candidate
PIXELS_PER_PASS = 1_000_000  # about 1 GB of activations
# the network was trained with these means of blue, green, red
MEANS = (104.0, 117.0, 123.0)


@dataclass(frozen=True)
class Thresholds:
    """What counts as a face.

    score: to be exceeded. overlap: intersection over union with a surer face, not to be exceeded.
    means: what is taken off red, green and blue.
    """

    score: float
    overlap: float
    means: tuple[float, float, float]


# Quirk: Wav2Lip and TalkLip turn BGR frames into RGB and take off the means in their order for BGR
# (docs/spec/face-boxes.md#s3fd).
WAV2LIP = Thresholds(score=0.5, overlap=CANDIDATE_OVERLAP, means=MEANS)
# syncnet_python's run_pipeline.py (docs/spec/lse.md#real-videos); RGB with the mean of each channel.
SYNCNET = Thresholds(score=0.9, overlap=0.1, means=(MEANS[2], MEANS[1], MEANS[0]))


class S3FD:
    """Candidates score above 0.05 at strides 4 to 128; see `Thresholds` for which of them are faces.

    Raises NotApplicable where `face-alignment` is missing, WeightsError where the weights are missing or of another
    network.
    """

    most_pixels = 1920 * 1080
    surest = True

    def __init__(
        self, device: str = "cpu", store: WeightsStore | None = None, thresholds: Thresholds = WAV2LIP
    ) -> None:
        """device: a torch device string. store: where the weights lie, None for the user's."""
        path = (store or WeightsStore()).ensure(WEIGHTS)  # before the package, which takes seconds to import
        try:
            layout: Any = import_module("face_alignment.detection.sfd.net_s3fd")
            self._decoding: Any = import_module("face_alignment.detection.sfd.detect")
            self._boxes: Any = import_module("face_alignment.detection.sfd.bbox")
        except ImportError as error:
            raise NotApplicable(f"package face-alignment missing ({error}); {EXTRA}") from None
        network = layout.s3fd()
        check_state_dict(network, load_tensors(path), str(path))
        self._network = network.to(device).eval().requires_grad_(requires_grad=False)
        self._weights = weights_found(WEIGHTS, path)
        self._device = device
        self.thresholds = thresholds

    @property
    def identity(self) -> str:
        """The first digits of the digest, which the published file has in its name (s3fd-619a316812.pth)."""
        return f"s3fd-{self._weights.sha256[:10]}"

    def detect(self, frames: Frames) -> list[Faces]:
        # Consecutive frames that fit one pass of the network together; how many changes no result.
        size = max(1, PIXELS_PER_PASS // (frames.shape[1] * frames.shape[2]))
        parts = (frames[start : start + size] for start in range(0, len(frames), size))
        return [face for part in parts for face in self._detect(part)]

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._weights,)

    def _detect(self, frames: Frames) -> Iterator[Faces]:
        candidates = self._decoding.get_predictions(self._maps(frames), len(frames))
        for rows in candidates:
            yield self._kept(np.asarray(rows).reshape(-1, 5)).astype(np.float32)

    def _maps(self, frames: Frames) -> list[Any]:
        """Scores (N, 2, h, w) and box offsets (N, 4, h, w) by turns, of strides 4, 8, 16, 32, 64 and 128."""
        # The official scripts compute in float32, without TF32.
        exact = torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False)
        means = torch.tensor(self.thresholds.means, device=self._device).view(3, 1, 1)
        pixels = torch.from_numpy(writable(np.ascontiguousarray(frames))).to(self._device)
        with torch.inference_mode(), exact:
            maps = self._network(pixels.permute(0, 3, 1, 2).float() - means)
            maps[::2] = [scores.softmax(dim=1) for scores in maps[::2]]
            return [values.cpu().numpy() for values in maps]

    def _kept(self, candidates: Any) -> Any:
        surest_first = candidates[self._boxes.nms(candidates, CANDIDATE_OVERLAP)]
        faces = surest_first[surest_first[:, 4] > self.thresholds.score]
        if self.thresholds.overlap == CANDIDATE_OVERLAP:
            return faces
        return faces[self._boxes.nms(faces, self.thresholds.overlap)]
