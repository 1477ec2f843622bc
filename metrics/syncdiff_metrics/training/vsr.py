"""Train a small AV-HuBERT to read lips from scratch, without any pre-training.

Nine hundred short clips do not teach a visual front-end, an alignment and a language at once. The network hears as
well as it sees, and hearing is easy and cheap, so audio comes first: for `audio_steps` steps encoder and decoder learn
to transcribe audio. From then on every batch goes through the encoder twice. What the audio is encoded to is, frame by
frame, the target of what the frames are encoded to (as in audio-to-video distillation of VSR models, Zhao et al.
2020), beside the words themselves.

A still face says nothing: some clips are shown as one frame held for their whole length, and what is to be read then
is the single word `<unk>`. A model without this guesses a sentence of the grammar, and a guess is right in one word
of five.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from syncdiff_bench.arrays import writable
from syncdiff_bench.networks.avhubert.beam import beam_search
from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation, VSRModel
from syncdiff_bench.networks.avhubert.config import AVHubertConfig
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.avhubert.features import audio_features
from syncdiff_bench.networks.avhubert.tokenizer import EOS, PAD, UNK
from syncdiff_bench.networks.avhubert.visual import normalise_patches
from syncdiff_bench.training.task import TrainingTask, validated
from syncdiff_metrics.experts import WholeWords, save_vsr_model, words_of
from syncdiff_metrics.lip_patches import centre_patches, grey_frames
from syncdiff_metrics.training.clips import Augmentation, TrainingClip, augmented, read_split
from syncdiff_metrics.wer import word_errors


@dataclass(frozen=True)
class VSROptions:
    """network: its `vocab` is set by the transcripts, `pretraining_units` to 0. audio_steps: steps on audio alone.
    match_weight: weight of the distance between what frames and audio are encoded to. label_smoothing: share of the
    target that is spread over all words. still_share: part of the clips shown as one held frame. audio_noise: standard
    deviation of noise on the (normalised) audio features. half: export float16. validation_batches: of 32 held-out
    clips each, over whose words a validation is (0: all).
    """

    network: AVHubertConfig = field(default_factory=AVHubertConfig)
    input: PatchNormalisation = field(default_factory=PatchNormalisation)
    audio_steps: int = 0
    match_weight: float = 1.0
    label_smoothing: float = 0.1
    still_share: float = 0.05
    audio_noise: float = 0.0
    augmentation: Augmentation = field(default_factory=Augmentation)
    half: bool = False
    validation_batches: int = 0


@dataclass(frozen=True, eq=False)
class _Spoken:
    """patches: (T, S, S) uint8 grey, larger than the network's crop by the augmentation's shifts; audio: (T, 104)."""

    patches: NDArray[np.uint8]
    audio: Tensor
    tokens: tuple[int, ...]
    transcript: str


class TrainedVSR(nn.Module):
    """The loss around `AVHubertSeq2Seq`."""

    def __init__(self, options: VSROptions) -> None:
        super().__init__()
        self.options = options
        self.model = AVHubertSeq2Seq(options.network)
        front_end = self.model.encoder.w2v_model.feature_extractor_video
        # Half as fast again on a CPU. Under 8 channels, the backward pass of a strided 1x1 convolution in this layout
        # writes past its memory on CPUs without AVX-512 (oneDNN of torch 2.13).
        if front_end is not None and next(front_end.resnet.parameters()).shape[0] >= 8:
            front_end.resnet.frontend3D.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
            front_end.resnet.trunk.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self, audio: Tensor, padding: Tensor, tokens: Tensor, video: Tensor | None = None, still: Tensor | None = None
    ) -> dict[str, Tensor]:
        """audio: (B, T, 104); padding: (B, T) bool; tokens: (B, L) closed by EOS, then PAD; video: (B, 1, T, S, S),
        None while only the audio is learnt; still: (B,) bool, clips whose frames do not change.
        """
        heard = self.model.encode(audio=audio, padding_mask=padding)
        audio_loss = self._spelling(heard, padding, tokens)
        if video is None or still is None:
            return {"loss": audio_loss, "heard": audio_loss}
        seen = self.model.encode(video=video, padding_mask=padding)
        video_loss = self._spelling(seen, padding, torch.where(still[:, None], _nothing(tokens), tokens))
        speaking = (~padding & ~still[:, None]).float()
        apart = (seen.float() - heard.detach().float()).square().mean(dim=-1)
        match = (apart * speaking).sum() / speaking.sum().clamp(min=1)
        loss = video_loss + audio_loss + self.options.match_weight * match
        return {"loss": loss, "heard": audio_loss, "seen": video_loss, "match": match}

    def _spelling(self, features: Tensor, padding: Tensor, tokens: Tensor) -> Tensor:
        """Cross-entropy of every word given the right ones before it."""
        before = torch.cat([torch.full_like(tokens[:, :1], EOS), tokens[:, :-1]], dim=1)
        logits = self.model.decoder(before, features, padding)
        return F.cross_entropy(
            logits.flatten(0, 1).float(),
            tokens.flatten(),
            ignore_index=PAD,
            label_smoothing=self.options.label_smoothing,
        )


def _nothing(tokens: Tensor) -> Tensor:
    """`<unk>` and EOS in the shape of (B, L) tokens."""
    said = torch.full_like(tokens, PAD)
    said[:, 0], said[:, 1] = UNK, EOS
    return said


class VSRTask(TrainingTask):
    """B clips of similar length per step."""

    Options = VSROptions
    options: VSROptions
    incidental = frozenset(("validation_batches",))
    unused_parameters: ClassVar[bool] = True  # the video front-end, during `audio_steps`

    def prepare(self) -> None:
        clips, held_out = (self._read(split) for split in (self.data.split, self.data.validation_split))
        self.pieces = WholeWords(words_of(clip.transcript for clip in clips))
        network = replace(self.options.network, vocab=len(self.pieces), pretraining_units=0)
        self.options = replace(self.options, network=network)
        self.clips = sorted((self._spoken(clip) for clip in clips), key=lambda clip: len(clip.audio))
        self.held_out = [self._spoken(clip) for clip in held_out]

    def build(self) -> nn.Module:
        return TrainedVSR(self.options)

    def batch(self, seed: int, step: int, part: int, size: int) -> Mapping[str, Tensor]:
        rng = np.random.default_rng([seed, step, part])
        # similar lengths waste little on padding: a random few of a random stretch of the clips sorted by length
        stretch = min(4 * size, len(self.clips))
        first = int(rng.integers(len(self.clips) - stretch + 1))
        chosen = [self.clips[first + i] for i in rng.choice(stretch, size, replace=size > stretch)]
        batch = self._heard(chosen)
        noise = rng.standard_normal(tuple(batch["audio"].shape), dtype=np.float32)
        batch["audio"] = batch["audio"] + self.options.audio_noise * torch.from_numpy(noise)
        if step < self.options.audio_steps:
            return batch
        still = rng.random(size) < self.options.still_share
        video = [self._shown(clip, bool(held), rng) for clip, held in zip(chosen, still, strict=True)]
        return {**batch, "video": self._video(video), "still": torch.from_numpy(still)}

    def validation(self, model: nn.Module) -> Mapping[str, float]:
        """Word error rates in percent on the held-out clips: of audio, of lips, and of their first frame held."""
        assert isinstance(model, TrainedVSR)
        device = next(model.parameters()).device
        clips = validated(self.held_out, self.options.validation_batches)
        batch = self._heard(clips)
        padding = batch["padding"].to(device)
        patches = [self._cropped(torch.from_numpy(writable(clip.patches))).float() for clip in clips]
        held = [clip[:1].expand_as(clip) for clip in patches]
        features = {
            "wer_heard": model.model.encode(audio=batch["audio"].to(device), padding_mask=padding),
            "wer": model.model.encode(video=self._video(patches).to(device), padding_mask=padding),
            "wer_still": model.model.encode(video=self._video(held).to(device), padding_mask=padding),
        }
        return {name: self._word_error_rate(model.model, clips, found, padding) for name, found in features.items()}

    def export(self, model: nn.Module, folder: Path) -> None:
        """lipreader.safetensors and lipreader.json."""
        assert isinstance(model, TrainedVSR)
        save_vsr_model(VSRModel(model.model, self.pieces, self.options.input), folder, half=self.options.half)

    def _read(self, split: str) -> list[TrainingClip]:
        clips = read_split(self.data.dataset, split, self.options.input.frame_size, self.data.cache / "experts")
        return [clip for clip in clips if clip.transcript]

    def _spoken(self, clip: TrainingClip) -> _Spoken:
        margin = self.options.augmentation.shift
        patches = centre_patches(grey_frames(clip.frames), self.options.input.crop + 2 * margin)
        audio = torch.from_numpy(audio_features(clip.audio, len(clip.frames)))
        return _Spoken(patches.copy(), audio, self.pieces.encode(clip.transcript), clip.transcript)

    def _heard(self, clips: Sequence[_Spoken]) -> dict[str, Tensor]:
        audio = pad_sequence([clip.audio for clip in clips], batch_first=True)
        lengths = torch.tensor([len(clip.audio) for clip in clips])
        tokens = pad_sequence([torch.tensor(clip.tokens) for clip in clips], batch_first=True, padding_value=PAD)
        return {"audio": audio, "padding": torch.arange(audio.shape[1]) >= lengths[:, None], "tokens": tokens}

    def _shown(self, clip: _Spoken, held: bool, rng: np.random.Generator) -> Tensor:
        patches = augmented(clip.patches, self.options.augmentation, rng)
        index = int(rng.integers(len(patches)))
        if held:
            patches = patches[index : index + 1].expand_as(patches)
        return self._cropped(patches)

    def _cropped(self, patches: Tensor) -> Tensor:
        margin, crop = self.options.augmentation.shift, self.options.input.crop
        return patches[:, margin : margin + crop, margin : margin + crop]

    def _video(self, clips: Sequence[Tensor]) -> Tensor:
        """(B, 1, T, S, S) of B times (t, S, S) grey levels; the last frame of a shorter clip is held, because the batch
        statistics of the front-end count what the padding mask hides from the encoder.
        """
        longest = max(len(clip) for clip in clips)
        filled = [torch.cat([clip, clip[-1:].expand(longest - len(clip), -1, -1)]) for clip in clips]
        shown = self.options.input
        return normalise_patches(torch.stack(filled), shown.mean, shown.std).unsqueeze(1)

    def _word_error_rate(
        self, model: AVHubertSeq2Seq, clips: Sequence[_Spoken], features: Tensor, padding: Tensor
    ) -> float:
        best = beam_search(model.decoder, features, padding, beam=4)
        errors = words = 0
        for clip, hypotheses in zip(clips, best, strict=True):
            wrong, said = word_errors(clip.transcript, self.pieces.decode(hypotheses[0].tokens))
            errors, words = errors + wrong, words + said
        return 100 * errors / words
