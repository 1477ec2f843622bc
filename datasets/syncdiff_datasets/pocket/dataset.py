"""The `pocket` plugin: LRS2's loader over a drawn world."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

from syncdiff_bench.contracts import Clip, Dataset, Finding, Spoken
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import home, read_text_file
from syncdiff_bench.normalisation import TextRule
from syncdiff_datasets.lrs import LRS2
from syncdiff_datasets.on_disk import contained
from syncdiff_datasets.pocket.speech import arpabet
from syncdiff_datasets.pocket.world import CLIPS_PER_SPEAKER, SPLIT_SPEAKERS, draw_split, split_of_clip
from syncdiff_datasets.transcripts import Transcript, seconds

SHIPPED = Path(__file__).parent / "data"  # the test split, in the LRS2 layout


class PocketFolder(LRS2):
    """One folder that `world` has written."""

    name = "pocket"
    lists: ClassVar[Mapping[str, Sequence[str]]] = MappingProxyType(
        {split: (f"{split}.txt",) for split in SPLIT_SPEAKERS}
    )
    published: ClassVar[Mapping[str, int]] = MappingProxyType(
        {split: speakers * CLIPS_PER_SPEAKER[split] for split, speakers in SPLIT_SPEAKERS.items()}
    )

    def spoken(self, clip_id: str, transcript: Transcript | None) -> tuple[Spoken, ...]:
        """Phones in eSpeak's notation, labelled in ARPABET."""
        path = contained(self.home / "phones", f"{clip_id}.txt")
        if not path.is_file():
            return ()
        try:
            rows = [line.split(maxsplit=2) for line in read_text_file(path).text.splitlines()]
            return tuple(Spoken(phone, *seconds(start, end), arpabet(phone)) for start, end, phone in rows)
        except (OSError, ValueError, UsageError) as error:
            raise ClipError("phones", f"{path}: no lines of START END PHONE ({error}); draw the split again") from None


class Pocket(Dataset):
    """Drawn faces speaking GRID sentences with a synthetic voice; read by the code that reads LRS2.

    The test split is part of the package. The others (train and val; ablation, 48 speakers of the test's kind with a
    clip of three seconds each; speech, voices and sentences of another kind) are drawn by `syncdiff-bench data prepare
    splits` into `$SYNCDIFF_BENCH_HOME/pocket`, or into `root` where one is given.
    """

    name = "pocket"
    title = "pocket: drawn talking faces (embedded)"
    embedded = True
    drawn_faces = True
    text_rule: ClassVar[TextRule] = "official"
    default_metrics = (
        "psnr[region=mouth]",
        "ssim[region=mouth]",
        "lpips[region=mouth]",
        "psnr",
        "psnr[protocol=talklip]",
        "ssim",
        "lpips",
        "lse[weights=pocket]",
        "wer[reader=pocket]",
    )

    def __init__(self, root: Path | None = None, options: Any = None) -> None:
        super().__init__(root, options)
        self.drawn = home() / "pocket" if root is None else root

    def splits(self) -> tuple[str, ...]:
        return tuple(split for split in SPLIT_SPEAKERS if self._is_drawn(split) or split == "test")

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return self._folder(split).clip_ids(split)

    def clip(self, clip_id: str) -> Clip:
        split = split_of_clip(clip_id)
        if split is None:
            raise ClipError("missing", f"{clip_id}: not a clip of pocket; ids look like 3000000000000000000/00001")
        return self._folder(split).clip(clip_id)

    def odd_files(self, split: str) -> Sequence[Finding]:
        return self._folder(split).odd_files(split)

    def fingerprint(self, split: str) -> str:
        return self._folder(split).fingerprint(split)

    def verify(self, split: str) -> Iterator[Finding]:
        return self._folder(split).verify(split)

    def prepare(self, split: str, workers: int) -> Iterator[tuple[int, int]]:
        """Draw a split (`world.draw_split`); needs the extra `pocket`."""
        if split not in SPLIT_SPEAKERS:
            raise UsageError(f"pocket has no split {split!r}; it has {', '.join(SPLIT_SPEAKERS)}")
        return draw_split(split, self.drawn, workers=workers)

    def _folder(self, split: str) -> PocketFolder:
        if split not in SPLIT_SPEAKERS:
            raise UsageError(f"pocket has no split {split!r}; it has {', '.join(SPLIT_SPEAKERS)}")
        if self._is_drawn(split):
            return PocketFolder(self.drawn)
        if split == "test":
            return PocketFolder(SHIPPED)
        raise UsageError(
            f"pocket's {split} split is not drawn yet;"
            f" syncdiff-bench data prepare splits --dataset pocket --split {split}"
        )

    def _is_drawn(self, split: str) -> bool:
        return (self.drawn / "mvlrs_v1" / f"{split}.txt").is_file()
