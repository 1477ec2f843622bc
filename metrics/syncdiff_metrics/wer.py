"""Word error rate of an AV-HuBERT that reads the generated lips (reference: metrics.md B)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from syncdiff_bench.contracts import Column, Frames, Metric, Pair, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError, WeightsError
from syncdiff_metrics.experts.pretrained import expert_folder, expert_input, expert_used, load_expert_lip_reader
from syncdiff_metrics.lipreading_input import FrameSize, lip_patches

if TYPE_CHECKING:
    from syncdiff_bench.networks.avhubert.checkpoint import LipReader

PUBLISHED_READER = "avhubert-lrs2-vsr"


@dataclass(frozen=True)
class WEROptions:
    """Options of `wer`; every one of them changes the number, so that they are part of the protocol.

    reader: fine-tuned AV-HuBERT, a name of the weights catalogue or a checkpoint file (`.pt`); or a small expert of
        this project: `pocket`, which ships, or the folder that `train lipreader/...` wrote. An expert states its own
        frame size.
    beam, lenpen: width of the beam search and exponent of its length normalisation.
    lipreader_frame_size: `160` stretches every frame to 160x160, the size of LRS2, which the reader was
        fine-tuned on (no change for LRS2 itself; what the paper did on LRS3's 224x224 is not known); `native`
        crops frames as they are.
    """

    reader: str = PUBLISHED_READER
    beam: int = 50
    lenpen: float = 1.0
    lipreader_frame_size: FrameSize = "160"

    def __post_init__(self) -> None:
        if self.beam < 1:
            raise UsageError(f"wer: beam is {self.beam}; give 1 or more")
        if self.lipreader_frame_size not in get_args(FrameSize):
            raise UsageError(f"wer: lipreader_frame_size is {self.lipreader_frame_size!r}; give 160 or native")
        if self.lipreader_frame_size != "160" and expert_folder(self.reader, "lipreader") is not None:
            raise UsageError(f"wer: reader {self.reader} states its own frame size; leave lipreader_frame_size out")


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


class WER(Metric[WERStats]):
    """Corpus WER in percent: summed word errors over summed reference words; insertions bring it above 100.

    The reader sees video alone. The reference is the transcript as the reader's word pieces can spell it.
    """

    name = "wer"
    title = "Lip-reading word error rate"
    source = "TalkLip, lip reading observer 1: AV-HuBERT Large fine-tuned on LRS2, beam 50, no language model"
    columns = (Column("wer", "WER", "down", "%"),)
    needs = frozenset({"transcript"})
    Options = WEROptions
    Stats = WERStats
    options: WEROptions

    @property
    def protocol(self) -> str:
        """The default is `centre88-160`; another reader comes in front, other search settings behind.

        `pocket` reads the middle of whole frames stretched to the size that lipreader.json states, with the lip reader
        that was trained on pocket; it is no estimate of the published number.
        """
        options = self.options
        parts = [] if options.reader == PUBLISHED_READER else [_slug(options.reader)]
        if self._expert is None:
            parts += ["centre88", options.lipreader_frame_size]
        if options.beam != WEROptions.beam:
            parts.append(f"beam{options.beam}")
        if options.lenpen != WEROptions.lenpen:
            parts.append(f"lenpen{options.lenpen:g}")
        return "-".join(parts)

    def prepare(self) -> None:
        """Load the lip reader. Raises WeightsError where its file is missing or another network."""
        _ = self._reader

    def measure(self, pair: Pair) -> WERStats:
        """Read the generated clip and compare. Raises ClipError (`transcript`, `frame-size`)."""
        transcript = pair.truth.transcript
        if transcript is None:
            raise ClipError("transcript", f"{pair.truth.id}: no transcript to compare with; add its text file")
        reference = self._reader.pieces.round_trip(transcript)
        hypothesis = self._read_lips(pair.generated.frames)
        errors, words = word_errors(reference, hypothesis)
        return WERStats(errors, words, hypothesis, reference)

    def aggregate(self, stats: Sequence[WERStats]) -> Mapping[str, float | None]:
        words = sum(clip.words for clip in stats)
        return {"wer": 100 * sum(clip.errors for clip in stats) / words if words else None}

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (self._weights[1],)

    def _read_lips(self, frames: Frames) -> str:
        """The best sentence of one clip, (T, H, W, 3) uint8 RGB, at most one token per frame long."""
        import torch

        from syncdiff_bench.networks.avhubert.beam import beam_search
        from syncdiff_bench.networks.avhubert.visual import normalise_patches

        reader, options = self._reader, self.options
        patches = lip_patches(frames, self._frame_size, reader.patches.crop)
        video = normalise_patches(patches, reader.patches.mean, reader.patches.std)[None, None]
        with torch.inference_mode():
            features = reader.model.encode(video=video.to(self.runtime.device))
            best = beam_search(reader.model.decoder, features, beam=options.beam, lenpen=options.lenpen)[0][0]
        return reader.pieces.decode(best.tokens)

    @cached_property
    def _expert(self) -> Path | None:
        return expert_folder(self.options.reader, "lipreader")

    @cached_property
    def _frame_size(self) -> FrameSize | int:
        if self._expert is None:
            return self.options.lipreader_frame_size
        return expert_input(self._expert).frame_size

    @cached_property
    def _weights(self) -> tuple[Path, WeightsUsed]:
        """The checkpoint's file (an expert's folder), and its name and digest for the record."""
        from syncdiff_bench.weights.digests import sha256_of
        from syncdiff_bench.weights.store import WeightsStore

        if self._expert is not None:
            return self._expert, expert_used(self._expert, "lipreader")
        name = self.options.reader
        if _is_file(name):
            file = Path(name)
            if not file.is_file():
                raise WeightsError(f"wer: {file}: no such file; give a checkpoint or a catalogue name")
            return file, WeightsUsed(file.name, sha256_of(file))
        store = self.runtime.weights or WeightsStore()
        return store.ensure(name), WeightsUsed(name, store.digest(name))

    @cached_property
    def _reader(self) -> LipReader:
        from syncdiff_bench.networks.avhubert.checkpoint import load_lip_reader

        where = self._weights[0]
        reader = load_lip_reader(where) if self._expert is None else load_expert_lip_reader(where)
        reader.model.to(self.runtime.device)
        return reader


def _is_file(reader: str) -> bool:
    """Whether a reader is given as a file (`lips/mine.pt`); catalogue names have neither slash nor `.pt`."""
    return reader.endswith(".pt") or Path(reader).name != reader


def _slug(reader: str) -> str:
    """A reader's name inside a protocol; a file is never called as the catalogue's reader is."""
    name = f"{Path(reader).stem}-file" if _is_file(reader) else reader
    return re.sub(r"[^A-Za-z0-9._]+", "-", name)


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
