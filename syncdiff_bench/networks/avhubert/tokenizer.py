"""Word pieces of a VSR model: text to ids and back (docs/spec/avhubert.md#word-pieces)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING

from syncdiff_bench.errors import WeightsError

if TYPE_CHECKING:
    from sentencepiece import SentencePieceProcessor

SPECIALS = ("<s>", "<pad>", "</s>", "<unk>")  # the first symbols of every fairseq dictionary
BOS, PAD, EOS, UNK = range(len(SPECIALS))
UNSPOKEN = frozenset({BOS, PAD, EOS})
SPACE = "\u2581"  # what SentencePiece writes for the space before a word


class WordPieces:
    """A fairseq dictionary and the SentencePiece model that cuts text into its symbols.

    symbols: piece of every id, the four specials first.
    model: serialized SentencePiece proto, None for a model that only ever decodes.
    Raises WeightsError where the dictionary does not start with the specials.
    """

    def __init__(self, symbols: Sequence[str], model: bytes | None) -> None:
        if tuple(symbols[: len(SPECIALS)]) != SPECIALS:
            raise WeightsError(
                f"the dictionary starts with {list(symbols[:4])}, expected {list(SPECIALS)}; "
                "use the checkpoint as published"
            )
        self.symbols = tuple(symbols)
        self.model = model

    def __len__(self) -> int:
        return len(self.symbols)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    @cached_property
    def _processor(self) -> SentencePieceProcessor:
        from sentencepiece import SentencePieceProcessor

        if self.model is None:
            raise WeightsError(
                "no SentencePiece model in the checkpoint to cut text into pieces; use a fine-tuned file"
            )
        processor = SentencePieceProcessor()
        try:
            processor.LoadFromSerializedProto(self.model)
        except RuntimeError:
            raise WeightsError("the checkpoint's SentencePiece model is damaged; get the file again") from None
        return processor

    def encode(self, text: str) -> tuple[int, ...]:
        """Ids of the lower-cased text, closed by EOS; unknown pieces become UNK."""
        pieces: list[str] = self._processor.EncodeAsPieces(text.lower())
        return (*(self._ids.get(piece, UNK) for piece in pieces), EOS)

    def decode(self, ids: Iterable[int]) -> str:
        """Text of ids: specials are dropped, except that UNK is spelt `<unk>`, glued to its neighbours."""
        joined = "".join(self.symbols[index] for index in ids if index not in UNSPOKEN)
        return joined.replace(" ", "").replace(SPACE, " ").strip()

    def round_trip(self, text: str) -> str:
        """The text as the VSR model could say it; the official code scores against this, not the label."""
        return self.decode(self.encode(text))
