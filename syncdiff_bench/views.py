"""Data sets that show another's clips otherwise, each behind an option that every data set gets.

boxes: where face boxes come from, for those who say so (`--boxes`, the same as `--dataset-set boxes=`): `centred` is
    the centred guess; the name of a detector, what it finds, whatever boxes there are; anything else a folder of boxes
    by another tool, `<clip id>.npy`, which come before the data set's own.
accept_damaged: damaged files as far as they go, with a caveat; without the option such a clip fails.
pairs: a file list of the field with one mismatched pair per line, `AUDIO VIDEO`, as Wav2Lip's
    `evaluation/test_filelists` (docs/spec/layouts.md#pairs); the loaders know nothing of it.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import make_dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from syncdiff_bench.contracts import Clip, Dataset, Finding
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces import cache
from syncdiff_bench.faces.boxes import CENTRED, DETECTORS, FILE, GIVEN
from syncdiff_bench.faces.detection import are_kept, expected_detector
from syncdiff_bench.faults import decoding
from syncdiff_bench.files import DecodedText, decode_text
from syncdiff_bench.listing import composed, is_folder, leads_below, spelled, why_no_file
from syncdiff_bench.options import option_names

BOXES_FACT = "face boxes"  # of a cache: where they came from
AUTO = "auto"  # the default of `boxes`, said aloud
NAME_SUFFIX = "-pairs"
WITH_SOUND_OF = "/with-sound-of/"


class DatasetView(Dataset):
    """The clips of another data set, which it is in all that a subclass does not change.

    of: the data set that is shown.
    options: those of `of` and the view's own.
    option: name, type and default of the view's own.
    """

    option: ClassVar[tuple[str, Any, Any]]

    @classmethod
    def options_with(cls, options: type[Any]) -> type[Any]:
        """A data set's Options class with the view's option; one that has a field of that name keeps its own."""
        name, kind, default = cls.option
        if name in option_names(options):
            return options
        frozen = options.__dataclass_params__.frozen
        return make_dataclass(options.__name__, [(name, kind, default)], bases=(options,), frozen=frozen)

    def __init__(self, of: Dataset, options: Any) -> None:
        super().__init__(of.root, options)
        self.of = of
        for fact in ("name", "default_split", "default_metrics", "text_rule", "drawn_faces"):
            setattr(self, fact, getattr(of, fact))

    def splits(self) -> tuple[str, ...]:
        return self.of.splits()

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return self.of.clip_ids(split)

    def clip(self, clip_id: str) -> Clip:
        return self.of.clip(clip_id)

    def odd_files(self, split: str) -> Sequence[Finding]:
        return self.of.odd_files(split)

    def fingerprint(self, split: str) -> str:
        return self.of.fingerprint(split)

    def verify(self, split: str) -> Iterator[Finding]:
        return self.of.verify(split)

    def prepare(self, split: str, workers: int) -> Iterator[tuple[int, int]]:
        return self.of.prepare(split, workers)


# ---------------------------------------------------------------------------------------------------------------- boxes


class BoxedDataset(DatasetView):
    """Any data set that has no option `boxes` of its own, with its boxes from elsewhere."""

    option = ("boxes", str, "")

    def clip(self, clip_id: str) -> Clip:
        return with_boxes_of(self.of.clip(clip_id), self.options.boxes)


def with_boxes_of(clip: Clip, value: str) -> Clip:
    """The clip with its boxes from where `value` says, "" for as it is. Raises UsageError for a folder that is missing.

    A clip without a file in the folder has the boxes that it would have without it.
    """
    if value in ("", AUTO):
        return clip
    if value == CENTRED or value in DETECTORS:
        return replace(clip, boxes=value)
    file = _given_file(value, clip.id)
    return replace(clip, boxes=GIVEN, boxes_path=file) if os.path.lexists(file) else clip


def _given_file(value: str, clip_id: str) -> Path:
    """The file of a clip in the folder that `value` names, there or not.

    Raises UsageError for a folder that is missing, ClipError (`outside`) for an id that leads out of it.
    """
    folder = Path(value)
    if not is_folder(folder):
        raise UsageError(
            f"{value}: no such folder of face boxes; --boxes (--dataset-set boxes=DIR) is a folder, {CENTRED}, "
            f"{' or '.join(DETECTORS)}"
        )
    file = spelled(folder, f"{clip_id}.npy")
    if not leads_below(file, folder):
        raise ClipError("outside", f"{file} lies outside {folder}; give the clip another id")
    return file


def expected_source(clip: Clip, kept: cache.Kept) -> str:
    """What `clip.face_boxes.source` will be, decoding nothing; "none" where there are none and no detector."""
    if clip.boxes_path is not None and clip.boxes == "":
        return FILE
    if clip.boxes and clip.boxes not in DETECTORS:
        return clip.boxes
    return expected_detector(lambda: clip.content, clip.boxes, kept)


def boxes_of_clips(dataset: Dataset, clip_ids: Iterable[str]) -> str:
    """Where the boxes of these clips come from, decoding nothing: "file 1a2b3c4d, dlib-hog-20.0.1".

    Of files the digest is part of it. A clip that is missing says nothing.
    """
    sources: dict[str, Any] = {}
    kept = cache.kept(DETECTORS)
    for clip_id in clip_ids:
        try:
            with decoding(clip_id):
                clip = dataset.clip_without_words(clip_id)
                source = expected_source(clip, kept)
        except ClipError:  # told where it is read
            continue
        digest = sources.setdefault(source, hashlib.sha256())
        if source in (FILE, GIVEN) and clip.boxes_path is not None:
            digest.update(_digest(clip.boxes_path))
    return ", ".join(
        f"{source} {digest.hexdigest()[:8]}" if source in (FILE, GIVEN) else source
        for source, digest in sorted(sources.items())
    )


def _digest(file: Path) -> bytes:
    """sha256 of a file; of nothing where it is none, or cannot be read."""
    with suppress(OSError):
        if not why_no_file(file):
            return hashlib.sha256(file.read_bytes()).digest()
    return hashlib.sha256().digest()


def boxes_fact(dataset: Dataset, split: str) -> dict[str, str]:
    """What a cache of face crops or masks rests on beside the clips of the split: source and digest of their boxes.

    A detector's name holds its version or the digest of its weights.
    """
    return {BOXES_FACT: boxes_of_clips(dataset, dataset.clip_ids(split))}


def require_boxes(dataset: Dataset, needed: Mapping[str, Sequence[str]]) -> None:
    """A training takes boxes that are given, made ahead or asked for as a guess; it does not detect any by the way.

    needed: clips by split. Clips in memory, which cannot be prepared ahead, may have theirs detected.
    Raises UsageError with the command that makes those which are missing.
    """
    kept = cache.kept(DETECTORS)
    lacking = {
        split: clips for split, ids in needed.items() if (clips := [one for one in ids if _lacks(dataset, one, kept)])
    }
    if not lacking:
        return
    n, total = (sum(map(len, clips.values())) for clips in (lacking, needed))
    wanted = getattr(dataset.options, "boxes", "")
    command = [
        f"syncdiff-bench data prepare faces --dataset {dataset.name}",
        *([] if dataset.root is None else [f"--data-root {dataset.root}"]),
        *(f"--split {split}" for split in lacking),
        *([f"--detector {wanted}"] if wanted in DETECTORS else []),
    ]
    raise UsageError(
        f"{dataset.name} {', '.join(lacking)}: {n:,} of {total:,} clips have no face boxes, so nothing says where to"
        f" mask; `{' '.join(command)}` makes them, --boxes DIR gives those of another tool, --boxes {CENTRED} takes a"
        " guess that leaves mouths in sight"
    )


def _lacks(dataset: Dataset, clip_id: str, kept: cache.Kept) -> bool:
    try:
        with decoding(clip_id):
            clip = dataset.clip_without_words(clip_id)
            given = clip.boxes_path is not None and clip.boxes in ("", GIVEN)
            if given or clip.path is None or (clip.boxes and clip.boxes not in DETECTORS):
                return False
            return not are_kept(lambda: clip.content, clip.boxes, kept)
    except ClipError:  # told where it is read
        return False


# -------------------------------------------------------------------------------------------------------- damaged files


class AcceptingDataset(DatasetView):
    """The clips of a data set, each with `accept_damaged`. `verify` still says what is damaged."""

    option = ("accept_damaged", bool, False)

    def clip(self, clip_id: str) -> Clip:
        return replace(self.of.clip(clip_id), accept_damaged=True)


# ---------------------------------------------------------------------------------------------------------------- pairs


class PairedDataset(DatasetView):
    """The pairs of a list, as clips of their own: frames, boxes and speaker of VIDEO, audio and words of AUDIO.

    Ids are `<line number>/<VIDEO>/with-sound-of/<AUDIO>`: lists repeat pairs. A pair lasts as long as the shorter of
    the two (Wav2Lip's script skips a pair whose video is the shorter one; here nothing is dropped, and the cut is
    noted). A line that pairs a clip with itself is that clip.
    """

    option = ("pairs", Path | None, None)

    def __init__(self, of: Dataset, options: Any) -> None:
        super().__init__(of, options)
        self.list: Path = options.pairs
        # A name of its own: these numbers belong in no column of the matched data set. The class has none.
        self.name = f"{of.name}{NAME_SUFFIX}"  # type: ignore[misc]

    def clip_ids(self, split: str) -> tuple[str, ...]:
        """One id per line, in the list's order. Raises UsageError naming the line that is no pair of the split."""
        known = set(self.of.clip_ids(split))
        pairs = [
            (number, self._known_id(audio, split, known, number), self._known_id(video, split, known, number))
            for number, audio, video in self._lines()
        ]
        if not pairs:
            raise UsageError(f"pairs {self.list} holds no pair; write one `AUDIO VIDEO` per line")
        return tuple(f"{number:05d}/{video}{WITH_SOUND_OF}{audio}" for number, audio, video in pairs)

    def clip(self, clip_id: str) -> Clip:
        video, between, audio = clip_id.partition("/")[2].partition(WITH_SOUND_OF)
        if not between:
            raise ClipError(
                "missing", f"{clip_id}: not a pair of {self.list}; ids look like 00001/VIDEO{WITH_SOUND_OF}AUDIO"
            )
        seen = replace(self.of.clip(video), id=clip_id, dataset=self.name)
        if audio == video:
            return seen
        heard = self.of.clip(audio)
        return replace(
            seen,
            transcript=heard.transcript,
            transcript_note=heard.transcript_note,
            spoken=heard.spoken,
            audio_from=heard,
        )

    def fingerprint(self, split: str) -> str:
        """Changes with the clips of the split and with the list."""
        digest = hashlib.sha256(self.of.fingerprint(split).encode())
        digest.update(self._content())
        return digest.hexdigest()

    def verify(self, split: str) -> Iterator[Finding]:
        """The findings of the clips, then of the list."""
        yield from self.of.verify(split)
        try:
            yield Finding("ok", str(self.list), f"{len(self.clip_ids(split))} pairs")
            if note := self._text().note:
                yield Finding("note", str(self.list), note)
        except UsageError as error:
            yield Finding("error", str(self.list), str(error))

    def _content(self) -> bytes:
        try:
            return self.list.read_bytes()
        except OSError as error:
            raise UsageError(
                f"pairs {self.list} cannot be read ({error.strerror}); correct --dataset-set pairs=FILE"
            ) from None

    def _text(self) -> DecodedText:
        return decode_text(self._content(), f"pairs {self.list}")

    def _lines(self) -> Iterator[tuple[int, str, str]]:
        """(line number from 1, audio, video); tabs separate where a line has one, so that names may hold spaces."""
        for number, line in enumerate(self._text().text.splitlines(), start=1):
            ids = [part.strip() for part in line.split("\t")] if "\t" in line.strip() else line.split()
            if len(ids) == 2:
                yield number, ids[0], ids[1]
            elif ids and line.strip():
                raise UsageError(f"pairs {self.list} line {number}: expected `AUDIO VIDEO`, two clip ids; got {line!r}")

    def _known_id(self, text: str, split: str, known: set[str], number: int) -> str:
        # Wav2Lip's lists leave the split out where LRS3's ids begin with it.
        for clip_id in (composed(text), f"{split}/{composed(text)}", text, f"{split}/{text}"):
            if clip_id in known:
                return clip_id
        raise UsageError(
            f"pairs {self.list} line {number}: no clip {text!r} in split {split!r} of {self.of.name}; "
            "take the line off the list or choose another --split"
        )
