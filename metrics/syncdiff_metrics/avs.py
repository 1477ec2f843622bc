"""AVSu, AVSm and AVSv: lip synchronisation as cosine similarity of AV-HuBERT's features.

Yaman et al. 2024, "Audio-Visual Speech Representation Expert for Enhanced Talking Face Video Generation and
Evaluation" (arXiv 2405.04327). Per frame t of a clip with audio A and lips V, and the lips V* of its reference:

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import FRAMES_TOGETHER, AdditiveMetric, Audio, Column, Frames, Pair, WeightsUsed, attempt
from syncdiff_bench.errors import NotApplicable
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_bench.weights.finding import locate_weights, slug
from syncdiff_metrics.experts import foreign_network
from syncdiff_metrics.lip_patches import FrameSize, lip_patches

if TYPE_CHECKING:
    from torch import Tensor

    from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation
    from syncdiff_bench.networks.avhubert.encoder import AVHubertEncoder, Streams

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


@dataclass(frozen=True)
class AVSStats:
    """One clip: cosine similarities summed over frames.

    unimodal: over all `frames` of the generated clip; both are 0 without audio.
    multimodal, visual: over the `paired_frames` that it shares with its reference; all are 0 without one, and
        `multimodal` without audio.
    """

    unimodal: float
    frames: int
    multimodal: float = 0.0
    visual: float = 0.0
    paired_frames: int = 0


class AVS(AdditiveMetric[AVSStats]):
    """Unweighted mean over clips of each clip's mean over frames.

    AVSu needs audio, AVSv a reference, AVSm both; the column of a clip that lacks it is undefined, and the clip is not
    applicable where nothing is left.
    AVSm hears the audio of the generated clip on both sides, so that nothing but the lips can differ.
    """

    name = "avs"
    title = "Audio-visual speech similarity (AV-HuBERT)"
    source = "Yaman et al. 2024, arXiv 2405.04327; frames pooled as in AlignDiT's AVSync"
    columns = (
        Column("avs_u", "AVSu", "up", decimals=3, bounds=(-1, 1)),
        Column("avs_m", "AVSm", "up", decimals=3, bounds=(-1, 1)),
        Column("avs_v", "AVSv", "up", decimals=3, bounds=(-1, 1)),
    )
    requires = frozenset()  # by column, see above
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

    @property
    def batch_frames(self) -> int:
        # a pair alone makes up to six passes of one length, which keep a CPU as busy as those of several pairs
        return 0 if self.runtime.device == "cpu" else FRAMES_TOGETHER

    def measure(self, pair: Pair) -> AVSStats:
        """Similarities of one pair, over the shorter of the two videos where they are compared.

        Raises NotApplicable where there is neither audio nor a reference, ClipError `frame-size`.
        """
        return self._compared([self._streams(pair)])[0]

    def measure_many(self, pairs: Sequence[Pair]) -> Sequence[AVSStats | Exception]:
        """All that is encoded of several pairs goes through the Transformer together, except on a CPU."""
        if not self.batch_frames:
            return super().measure_many(pairs)
        streams = [attempt(self._streams, pair) for pair in pairs]
        stats = iter(self._compared([clip for clip in streams if not isinstance(clip, Exception)]))
        return [clip if isinstance(clip, Exception) else next(stats) for clip in streams]

    def caveats(self, pair: Pair, stats: AVSStats) -> tuple[Caveat, ...]:
        """An encoder of filmed faces that looks at drawn ones."""
        return foreign_network(self.options.encoder, None, pair.target)

    def summands(self, stats: AVSStats) -> tuple[float, ...]:
        """The mean over frames of each column, and whether the clip has one (1 or 0)."""
        of_columns = (
            (stats.unimodal, stats.frames, bool(stats.frames)),
            (stats.multimodal, stats.paired_frames, bool(stats.frames and stats.paired_frames)),
            (stats.visual, stats.paired_frames, bool(stats.paired_frames)),
        )
        means = (total / frames if defined else 0.0 for total, frames, defined in of_columns)
        return *means, *(float(defined) for _, _, defined in of_columns)

    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        names = (column.name for column in self.columns)
        return {name: mean / clips for name, mean, clips in zip(names, sums[:3], sums[3:], strict=True)}

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._weights[1],)

    def _streams(self, pair: Pair) -> dict[str, Streams]:
        """What is encoded of a pair, from front-ends that see each video and hear each audio once.

        audio, lips: of the whole generated clip, where it has audio; ours, theirs: of the frames that it shares with
        its reference, ours + audio and theirs + audio with the generated clip's audio.
        """
        from syncdiff_bench.networks.avhubert.encoder import Streams

        frames, audio = pair.generated.frames, pair.generated.audio
        if pair.reference is None and not audio.size:
            raise NotApplicable("the clip has neither an audio track nor a reference video")
        n, seen = len(frames), self._see(frames)
        heard = self._hear(audio, n) if audio.size else None
        wanted = {} if heard is None else {"audio": Streams(heard, None), "lips": Streams(None, seen)}
        if pair.reference is None:
            return wanted
        paired = min(n, len(pair.reference.frames))
        expected = self._see(pair.reference.frames[:paired])
        if paired < n:  # the encoder looks at the whole clip, so that a shorter one is encoded anew
            seen, heard = self._see(frames[:paired]), None if heard is None else self._hear(audio, paired)
        wanted |= {"ours": Streams(None, seen), "theirs": Streams(None, expected)}
        if heard is not None:
            wanted |= {"ours + audio": Streams(heard, seen), "theirs + audio": Streams(heard, expected)}
            if paired == n:
                del wanted["ours"]  # the lips already
        return wanted

    def _compared(self, pairs: Sequence[Mapping[str, Streams]]) -> list[AVSStats]:
        features = iter(self._encode([streams for pair in pairs for streams in pair.values()]))
        return [_similarities({name: next(features) for name in pair}) for pair in pairs]

    def _hear(self, audio: Audio, n_frames: int) -> Tensor:
        """(n_frames, dim) float32."""
        import torch

        from syncdiff_bench.networks.inference import inference

        bands = torch.from_numpy(audio_features(audio, n_frames))[None]
        with inference(self.runtime.device):
            return self._expert[0].hear(bands.to(self.runtime.device))[0]

    def _see(self, frames: Frames) -> Tensor:
        """(T, dim) float32."""
        from syncdiff_bench.networks.avhubert.visual import normalise_patches
        from syncdiff_bench.networks.inference import inference

        encoder, expect = self._expert
        patches = lip_patches(frames, self.options.frame_size, expect.crop).to(self.runtime.device)
        with inference(self.runtime.device):
            return encoder.see(normalise_patches(patches, expect.mean, expect.std)[None, None])[0]

    def _encode(self, clips: Sequence[Streams]) -> list[Tensor]:
        """Features of each clip, (T, dim) float32."""
        from syncdiff_bench.networks.avhubert.encoder import encode_clips
        from syncdiff_bench.networks.inference import inference, padded_batches

        lengths = [clip.frames for clip in clips]
        features: dict[int, Tensor] = {}
        for batch in padded_batches(lengths, FRAMES_TOGETHER):
            with inference(self.runtime.device):
                rows, _ = encode_clips(self._expert[0], [clips[index] for index in batch])
            features.update({index: row[: lengths[index]] for index, row in zip(batch, rows, strict=True)})
        return [features[index] for index in range(len(clips))]

    @cached_property
    def _weights(self) -> tuple[Path, WeightsUsed]:
        return locate_weights(self.options.encoder, self.runtime.weights, owner="avs")

    @cached_property
    def _expert(self) -> tuple[AVHubertEncoder, PatchNormalisation]:
        """The encoder, in evaluation mode, and how frames become what it reads."""
        from syncdiff_bench.networks.avhubert.checkpoint import load_encoder

        encoder, patches = load_encoder(self._weights[0])
        return encoder.to(self.runtime.device), patches


def _similarities(features: Mapping[str, Tensor]) -> AVSStats:
    audio, ours = features.get("audio"), features.get("ours", features.get("lips"))
    unimodal = 0.0 if audio is None else summed_cosine(audio, features["lips"])
    frames = 0 if audio is None else len(audio)
    if ours is None or "theirs" not in features:
        return AVSStats(unimodal, frames)
    visual = summed_cosine(ours, features["theirs"])
    multimodal = 0.0 if audio is None else summed_cosine(features["ours + audio"], features["theirs + audio"])
    return AVSStats(unimodal, frames, multimodal, visual, len(ours))


def summed_cosine(a: Tensor, b: Tensor) -> float:
    """Sum over frames of the cosine between rows of (T, dim) and (T, dim), in float64.

    >>> import torch
    >>> summed_cosine(torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([[3.0, 0.0], [1.0, 0.0]]))
    1.0
    """
    import torch.nn.functional as F

    return float(F.cosine_similarity(a.double(), b.double(), dim=-1).sum())
