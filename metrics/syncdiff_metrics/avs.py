"""AVSu, AVSm and AVSv: lip synchronisation as cosine similarity of AV-HuBERT's features.

Yaman et al. 2024, "Audio-Visual Speech Representation Expert for Enhanced Talking Face Video Generation and
Evaluation" (arXiv 2405.04327). Per frame t of a clip with sound A and lips V, and the lips V* of its reference:

    AVSu = cos(f(A)_t, f(V)_t)            what is heard against what is seen
    AVSm = cos(f(A, V)_t, f(A, V*)_t)     both streams, generated lips against those of the reference
    AVSv = cos(f(V)_t, f(V*)_t)           lips against lips

f is the output of the encoder behind its last layer norm, as `extract_finetune` of the official code gives it; a
stream that is left out counts as zeros.

The authors published no code. The pairs are the paper's. The rest is a judgement: the layer and one cosine per
frame, averaged over the frames of a clip and then over clips, are those of the only public implementation that
cites the paper (AlignDiT's AVSync, which is AVSm; about 70 % confident); the paper's checkpoint and crop are not
stated (about 50 %), so compare runs of this metric with each other rather than with printed values.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from syncdiff_bench.contracts import Audio, Column, Frames, Metric, Pair, WeightsUsed
from syncdiff_bench.errors import ClipError, WeightsError
from syncdiff_metrics.lipreading_input import FrameSize, lip_patches
from syncdiff_metrics.regions import check_option
from syncdiff_metrics.weights_file import find_weights, slug

if TYPE_CHECKING:
    from torch import Tensor

    from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation
    from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder

PUBLISHED_ENCODER = "avhubert-lrs2-vsr"


@dataclass(frozen=True)
class AVSOptions:
    """Options of `avs`; both change the numbers, so that they are part of the protocol.

    encoder: AV-HuBERT, pre-trained or fine-tuned, a name of the weights catalogue or a checkpoint file. The
        default is the one that was trained on what `lip_patches` cuts out, without alignment of the mouth.
    frame_size: `160` stretches every frame to 160x160, the size of LRS2; `native` crops frames as they are.
    """

    encoder: str = PUBLISHED_ENCODER
    frame_size: FrameSize = "160"

    def __post_init__(self) -> None:
        check_option("avs", "frame_size", self.frame_size, FrameSize)


@dataclass(frozen=True)
class AVSStats:
    """One clip: cosine similarities summed over frames.

    unimodal: over all `frames` of the generated clip.
    multimodal, visual: over the `paired_frames` that it shares with its reference; 0 without a reference.
    """

    unimodal: float
    frames: int
    multimodal: float = 0.0
    visual: float = 0.0
    paired_frames: int = 0


@dataclass(frozen=True, eq=False)
class Expert:
    """The encoder, in evaluation mode, and how frames become what it reads."""

    encoder: AVHubertEncoder
    patches: PatchNormalisation


class AVS(Metric[AVSStats]):
    """Unweighted mean over clips of each clip's mean over frames; AVSm and AVSv need a reference.

    AVSm hears the sound of the generated clip on both sides, so that nothing but the lips can differ.
    """

    name = "avs"
    title = "Audio-visual speech similarity (AV-HuBERT)"
    source = "Yaman et al. 2024, arXiv 2405.04327; frames pooled as in AlignDiT's AVSync"
    columns = (
        Column("avs_u", "AVSu", "up", decimals=3),
        Column("avs_m", "AVSm", "up", decimals=3),
        Column("avs_v", "AVSv", "up", decimals=3),
    )
    needs = frozenset({"audio"})
    Options = AVSOptions
    Stats = AVSStats
    options: AVSOptions

    @property
    def protocol(self) -> str:
        """The default is `centre88-160`; another encoder comes in front."""
        crop = f"centre88-{self.options.frame_size}"
        encoder = self.options.encoder
        return crop if encoder == PUBLISHED_ENCODER else f"{slug(encoder)}-{crop}"

    def prepare(self) -> None:
        """Load the encoder. Raises WeightsError where its file is missing, another network, or deaf or blind."""
        _ = self._expert

    def measure(self, pair: Pair) -> AVSStats:
        """Similarities of one pair, over the shorter of the two videos where they are compared.

        Raises ClipError `no-audio`, `frame-size`.
        """
        frames, audio = pair.generated.frames, pair.generated.audio
        if not audio.size:
            raise ClipError("no-audio", f"{pair.generated.id}: has no sound; avs compares lips with sound")
        n = len(frames)
        heard, seen = self._sound(audio, n), self._lips(frames)
        lips = self._encode(video=seen)
        unimodal = summed_cosine(self._encode(audio=heard), lips)
        if pair.reference is None:
            return AVSStats(unimodal, n)
        paired = min(n, len(pair.reference.frames))
        expected = self._lips(pair.reference.frames[:paired])
        if paired < n:  # the encoder looks at the whole clip, so that a shorter one is encoded anew
            heard, seen = self._sound(audio, paired), seen[:, :, :paired]
            lips = self._encode(video=seen)
        visual = summed_cosine(lips, self._encode(video=expected))
        multimodal = summed_cosine(self._encode(heard, seen), self._encode(heard, expected))
        return AVSStats(unimodal, n, multimodal, visual, paired)

    def aggregate(self, stats: Sequence[AVSStats]) -> Mapping[str, float | None]:
        paired = [clip for clip in stats if clip.paired_frames]
        return {
            "avs_u": _mean(clip.unimodal / clip.frames for clip in stats),
            "avs_m": _mean(clip.multimodal / clip.paired_frames for clip in paired),
            "avs_v": _mean(clip.visual / clip.paired_frames for clip in paired),
        }

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._weights[1],)

    def _sound(self, audio: Audio, n_frames: int) -> Tensor:
        """(1, n_frames, 104) float32."""
        import torch

        from syncdiff_bench.networks.avhubert.features import audio_features

        return torch.from_numpy(audio_features(audio, n_frames))[None].to(self.runtime.device)

    def _lips(self, frames: Frames) -> Tensor:
        """(1, 1, T, 88, 88) float32."""
        from syncdiff_bench.networks.avhubert.visual import normalise_patches

        expect = self._expert.patches
        patches = lip_patches(frames, self.options.frame_size, expect.crop).to(self.runtime.device)
        return normalise_patches(patches, expect.mean, expect.std)[None, None]

    def _encode(self, audio: Tensor | None = None, video: Tensor | None = None) -> Tensor:
        """Features of one clip, (T, dim) float32."""
        import torch

        with torch.inference_mode():
            features: Tensor = self._expert.encoder(audio=audio, video=video)[0]
        return features

    @cached_property
    def _weights(self) -> tuple[Path, WeightsUsed]:
        return find_weights(self.options.encoder, self.runtime, metric="avs")

    @cached_property
    def _expert(self) -> Expert:
        from syncdiff_bench.networks.avhubert.checkpoint import read_checkpoint
        from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder
        from syncdiff_bench.weights.loading import check_state_dict

        file = self._weights[0]
        checkpoint = read_checkpoint(file)
        if not checkpoint.config.video:
            raise WeightsError(f"{file}: no video front-end inside; avs needs an AV-HuBERT that hears and sees")
        encoder = AVHubertEncoder(checkpoint.config)
        check_state_dict(encoder, checkpoint.encoder, str(file))
        return Expert(encoder.eval().requires_grad_(False).to(self.runtime.device), checkpoint.patches)


def summed_cosine(a: Tensor, b: Tensor) -> float:
    """Sum over frames of the cosine between rows of (T, dim) and (T, dim), in float64.

    >>> import torch
    >>> summed_cosine(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    1.0
    """
    import torch.nn.functional as F

    return float(F.cosine_similarity(a.double(), b.double(), dim=-1).sum())


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return sum(known) / len(known) if known else None
