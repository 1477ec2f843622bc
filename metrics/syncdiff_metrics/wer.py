"""Word error rate of an AV-HuBERT that reads the generated lips (docs/spec/lip-reading.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import (
    FRAMES_TOGETHER,
    AdditiveMetric,
    Clip,
    Column,
    Dataset,
    Pair,
    Runtime,
    WeightsUsed,
    attempt,
)
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.landmarks import LandmarkSource
from syncdiff_bench.networks.avhubert.tokenizer import UNK
from syncdiff_bench.normalisation import TextRule, normalised, numbers_in
from syncdiff_bench.weights.finding import slug
from syncdiff_metrics.experts import (
    expert_folder,
    foreign_network,
    load_expert_vsr,
    locate_network,
)
from syncdiff_metrics.lip_patches import FrameSize, MouthCropper, lip_patches, middle_patches

if TYPE_CHECKING:
    from torch import Tensor

    from syncdiff_bench.networks.avhubert.checkpoint import VSRModel

PUBLISHED_VSR = "avhubert-lrs2-vsr"
Crop = Literal["centre", "mouth"]
EncoderPrecision = Literal["fp32", "bf16"]
Text = Literal["auto", TextRule]


UNSPELLABLE = "{sum} words of the references cannot be spelt by the VSR model, so that they are never read right"
NUMBERS = "{sum} numbers of the transcripts are in digits, spelt out in a way that need not be the one that was said"


@dataclass(frozen=True)
class WEROptions:
    """Options of `wer`; every one of them changes the number, so that they are part of the protocol.

    reader: the VSR model, a fine-tuned AV-HuBERT: a name of the weights catalogue or a checkpoint file (`.pt`); or a
        small one of this project: `pocket`, which ships, or the folder that `train lipreader/...` wrote. A small one
        states its own frame size.
    beam, lenpen: width of the beam search and exponent of its length normalisation.
    lipreader_frame_size: `160` stretches every frame to 160x160, the size of LRS2, which the model was
        fine-tuned on (no change for LRS2 itself; what the paper did on LRS3's 224x224 is not known); `native`
        crops frames as they are. For `crop=centre`.
    crop: `centre` cuts the middle 88x88 pixels, as TalkLip and with it the paper do; `mouth` aligns the face by 68
        landmarks and cuts the mouth, which Meta's own checkpoints were trained on.
    landmarks: for `crop=mouth`, the folder with the landmarks of the scored videos, `<clip id>.npy` each: (T, 68, 2)
        numbers, x and y in pixels, NaN where a frame has no face. None: face-alignment finds them.
    precision: of the encoder; `bf16` is faster on GPUs that have it, and has changed no sentence of pocket's model.
        The beam search is float32 always.
    text: `official` compares transcripts to the letter, as TalkLip's script does with LRS's; `normalised` compares
        words, both sides in lower case without punctuation, numbers spelt out (`normalisation.normalised`); `auto` asks
        the data set, which is `official` where it is spelt as LRS is (lrs2, lrs3, pocket).
    """

    reader: str = PUBLISHED_VSR
    beam: int = 50
    lenpen: float = 1.0
    lipreader_frame_size: FrameSize = "160"
    crop: Crop = "centre"
    landmarks: Path | None = None
    precision: EncoderPrecision = "fp32"
    text: Text = "auto"

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise UsageError(f"wer: beam is {self.beam}; give 1 or more")
        if self.landmarks is not None and self.crop != "mouth":
            raise UsageError("wer: landmarks are for crop=mouth; add crop=mouth or leave them out")
        if self.lipreader_frame_size != "160" and self.crop == "mouth":
            raise UsageError("wer: crop=mouth scales faces by their landmarks; leave lipreader_frame_size out")
        if expert_folder(self.reader, "lipreader") is None:
            return
        if self.lipreader_frame_size != "160" or self.crop != "centre":
            raise UsageError(
                f"wer: reader {self.reader} states its own frame size and crop; leave lipreader_frame_size and crop out"
            )


@dataclass(frozen=True)
class WERStats:
    """One clip: what was read, what was said, and how far apart they are.

    errors: substitutions + deletions + insertions. words: words of the reference.
    hypothesis, reference: the texts as they were compared.
    """

    errors: int
    words: int
    hypothesis: str
    reference: str


class WER(AdditiveMetric[WERStats]):
    """Corpus WER in percent: summed word errors over summed reference words; insertions bring it above 100.

    The VSR model sees video alone. The official reference is the transcript as its word pieces can spell it.
    landmarks: where those of `crop=mouth` come from; the options decide unless one is given.
    """

    name = "wer"
    title = "Lip-reading word error rate"
    source = "TalkLip, lip reading observer 1: AV-HuBERT Large fine-tuned on LRS2, beam 50, no language model"
    columns = (Column("wer", "WER", "down", "%", bounds=(0, None)),)
    requires = frozenset({"transcript"})
    Options = WEROptions
    Stats = WERStats
    options: WEROptions

    def __init__(
        self, options: Any = None, runtime: Runtime | None = None, landmarks: LandmarkSource | None = None
    ) -> None:
        super().__init__(options, runtime)
        self._given = landmarks

    @property
    def protocol(self) -> str:
        """The default is `centre88-160`; another VSR model comes in front, other search settings behind.

        `...-normalised` compares normalised words (option `text`), the rule of every data set not written as LRS is.

        `mouth96-2dfan4` and `mouth96-given` are `crop=mouth` with the landmarks of face-alignment and of files.

        `pocket` reads the middle of whole frames stretched to the size that lipreader.json states, with the VSR model
        that was trained on pocket; it is no estimate of the published number.
        """
        options = self.options
        parts = [] if options.reader == PUBLISHED_VSR else [slug(options.reader, "lipreader")]
        if options.crop == "mouth":
            parts += ["mouth96", "2dfan4" if options.landmarks is None else "given"]
        elif self._expert is None:
            parts += ["centre88", options.lipreader_frame_size]
        if options.beam != WEROptions.beam:
            parts.append(f"beam{options.beam}")
        if options.lenpen != WEROptions.lenpen:
            parts.append(f"lenpen{options.lenpen:g}")
        if options.precision != WEROptions.precision:
            parts.append(options.precision)
        if self._normalises:
            parts.append("normalised")
        return "-".join(parts)

    def for_dataset(self, dataset: Dataset | type[Dataset], /) -> WER:
        """With the data set's rule of text, unless the options name one."""
        if self.options.text != "auto" or dataset.text_rule == "official":
            return self
        return type(self)(replace(self.options, text=dataset.text_rule), self.runtime, self._given)

    def prepare(self) -> None:
        """Load the VSR model and what finds the mouth.

        Raises WeightsError where a file is missing or another network, NotApplicable where nothing gives landmarks.
        """
        _ = self._model
        if self._mouth is not None:
            self._mouth.prepare()

    @property
    def batch_frames(self) -> int:
        return FRAMES_TOGETHER

    def measure(self, pair: Pair) -> WERStats:
        """Read the generated clip and compare. Raises ClipError (`transcript`, `frame-size`, `landmarks`)."""
        reference, patches = self._prepared(pair)
        (hypothesis,) = self._read_lips([patches])
        return self._compared(reference, hypothesis)

    def measure_many(self, pairs: Sequence[Pair]) -> Sequence[WERStats | Exception]:
        """Sentences of several clips are searched together; each is the one of its clip alone."""
        prepared = [attempt(self._prepared, pair) for pair in pairs]
        ready = [clip for clip in prepared if not isinstance(clip, Exception)]
        hypotheses = iter(self._read_lips([patches for _, patches in ready]))
        return [clip if isinstance(clip, Exception) else self._compared(clip[0], next(hypotheses)) for clip in prepared]

    def _prepared(self, pair: Pair) -> tuple[str, Tensor]:
        """The reference as it is compared, and what the VSR model sees."""
        transcript = pair.target.transcript
        if transcript is None:
            raise ClipError("transcript", f"{pair.target.id}: no transcript to compare with; add its text file")
        reference = normalised(transcript) if self._normalises else self._model.pieces.round_trip(transcript)
        if not reference:
            raise ClipError(
                "transcript", f"{pair.target.id}: no word is left of its transcript {transcript!r}; mend its text"
            )
        return reference, self._patches(pair.generated)

    def _compared(self, reference: str, hypothesis: str) -> WERStats:
        said = normalised(hypothesis) if self._normalises else hypothesis
        errors, words = word_errors(reference, said)
        return WERStats(errors, words, said, reference)

    def caveats(self, pair: Pair, stats: WERStats) -> tuple[Caveat, ...]:
        """A VSR model of other data, words it cannot spell, numbers spelt out by guess, a guessed encoding."""
        truth = pair.target
        transcript = truth.transcript or ""
        found = [*foreign_network(self.options.reader, self._expert, truth)]
        words = stats.reference if self._normalises else transcript
        beyond = [word for word in words.split() if UNK in self._model.pieces.encode(word)]
        if beyond:
            found.append(Caveat("unspellable", UNSPELLABLE, f"cannot spell {', '.join(beyond)}", len(beyond)))
        if self._normalises and (numbers := numbers_in(transcript)):
            found.append(Caveat("numbers", NUMBERS, f"compared with: {stats.reference}", numbers))
        if truth.transcript_note:
            found.append(Caveat("encoding", "the encoding of the transcript is a guess", truth.transcript_note))
        return tuple(found)

    def summands(self, stats: WERStats) -> tuple[float, ...]:
        return stats.errors, stats.words

    def of_sums(self, *sums: NDArray[np.float64]) -> Mapping[str, NDArray[np.float64]]:
        errors, words = sums
        return {"wer": 100 * errors / words}

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._weights[1], *(() if self._mouth is None else self._mouth.weights_used()))

    def provenance(self) -> Mapping[str, str]:
        """Where the mouth was found and what encoded it, for `crop=mouth`; what spelt numbers out."""
        mouth = {} if self._mouth is None else self._mouth.provenance()
        return {**mouth, "num2words": version("num2words")} if self._normalises else mouth

    def _patches(self, clip: Clip) -> Tensor:
        """What the VSR model sees of a clip, (T, side, side) uint8 grey on the CPU."""
        side = self._model.patches.crop
        if self._mouth is None:
            published = self._expert is None
            size = self.options.lipreader_frame_size if published else self._model.patches.frame_size
            return lip_patches(clip.frames, size, side)
        return middle_patches(self._mouth.crops(clip), side)

    def _read_lips(self, clips: Sequence[Tensor]) -> list[str]:
        """The best sentence of each clip, (T, side, side) uint8 grey, at most one token per frame long."""
        from syncdiff_bench.networks.avhubert.beam import beam_search
        from syncdiff_bench.networks.avhubert.encoder import Streams, encode_clips
        from syncdiff_bench.networks.avhubert.visual import normalise_patches
        from syncdiff_bench.networks.inference import inference, padded_batches

        vsr, options, device = self._model, self.options, self.runtime.device
        encoder, expect = vsr.model.encoder.w2v_model, vsr.patches
        sentences = [""] * len(clips)
        for batch in padded_batches([len(patches) for patches in clips], FRAMES_TOGETHER):
            with inference(device, options.precision):
                videos = [normalise_patches(clips[i].to(device), expect.mean, expect.std)[None, None] for i in batch]
                features, mask = encode_clips(encoder, [Streams(None, encoder.see(video)[0]) for video in videos])
            with inference(device):
                found = beam_search(vsr.model.decoder, features.float(), mask, beam=options.beam, lenpen=options.lenpen)
            for index, hypotheses in zip(batch, found, strict=True):
                sentences[index] = vsr.pieces.decode(hypotheses[0].tokens)
        return sentences

    @property
    def _normalises(self) -> bool:
        return self.options.text == "normalised"

    @cached_property
    def _mouth(self) -> MouthCropper | None:
        """None where the middle of the frame is read."""
        if self.options.crop == "centre":
            return None
        return MouthCropper(self.runtime, self.options.landmarks, self._given)

    @cached_property
    def _expert(self) -> Path | None:
        return expert_folder(self.options.reader, "lipreader")

    @cached_property
    def _weights(self) -> tuple[Path, WeightsUsed]:
        """The checkpoint's file (an expert's folder), and its name and digest for the record."""
        return locate_network(self.options.reader, "lipreader", self.runtime, owner="wer")

    @cached_property
    def _model(self) -> VSRModel:
        from syncdiff_bench.networks.avhubert.checkpoint import load_vsr_model

        where = self._weights[0]
        vsr = load_vsr_model(where) if self._expert is None else load_expert_vsr(where)
        vsr.model.to(self.runtime.device)
        return vsr


def word_errors(reference: str, hypothesis: str) -> tuple[int, int]:
    """Levenshtein distance in words, and the number of reference words.

    >>> word_errors("place red at a nine", "place bed at nine now")
    (3, 5)
    """
    import jiwer

    # jiwer splits at single spaces; the official code at any white space
    counts = jiwer.process_words(" ".join(reference.split()), " ".join(hypothesis.split()))
    errors = counts.substitutions + counts.deletions + counts.insertions
    return errors, counts.hits + counts.substitutions + counts.deletions
