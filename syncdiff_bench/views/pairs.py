"""Mismatched pairs: the sound of one clip on the pictures of another, from the field's file lists.

Wav2Lip's `evaluation/test_filelists` hold one pair per line, `AUDIO VIDEO`, the sound first
(docs/spec/layouts.md#pairs). `pairs=FILE` makes such a data set out of any other; the loaders know nothing of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Clip, Dataset, Finding, Media, Planes
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import DecodedText, decode_text
from syncdiff_bench.views import DatasetView, with_option

OPTION = "pairs"
NAME_SUFFIX = "-pairs"
WITH_SOUND_OF = "/with-sound-of/"


def with_pairs(options: type[Any]) -> type[Any]:
    """A data set's Options class with the field `pairs`."""
    return with_option(options, OPTION, Path | None, None)


class PairedDataset(DatasetView):
    """The pairs of a list, as clips of their own: pictures, boxes and speaker of VIDEO, sound and words of AUDIO.

    Ids are `<line number>/<VIDEO>/with-sound-of/<AUDIO>`: lists repeat pairs. A pair lasts as long as the shorter of
    the two (Wav2Lip's script skips a pair whose video is the shorter one; here nothing is dropped, and the cut is
    noted). A line that pairs a clip with itself is that clip.
    """

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
        pictures = replace(self.of.clip(video), id=clip_id, dataset=self.name)
        if audio == video:
            return pictures
        sound = self.of.clip(audio)
        return replace(
            pictures,
            transcript=sound.transcript,
            transcript_note=sound.transcript_note,
            spoken=sound.spoken,
            sound=sound,
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
        for clip_id in (text, f"{split}/{text}"):
            if clip_id in known:
                return clip_id
        raise UsageError(
            f"pairs {self.list} line {number}: no clip {text!r} in split {split!r} of {self.of.name}; "
            "take the line off the list or choose another --split"
        )


def dubbed(clip: Clip) -> Media:
    """The pictures of a clip with the sound of `clip.sound`, both cut to the shorter of them.

    Raises ClipError `no-audio`, and those of decoding either.
    """
    assert clip.sound is not None
    pictures = replace(clip, sound=None).media
    # A copy: its pictures, which nobody wants, live no longer than this call.
    audio = replace(clip.sound).media.audio
    if not audio.size:
        raise ClipError("no-audio", f"{clip.id}: {clip.sound.id} has no audio track; take the line off the list")
    n_pictures = len(pictures.frames)
    n_frames = min(n_pictures, -(-len(audio) // SAMPLES_PER_FRAME))
    notes = [*pictures.notes, f"sound of {clip.sound.id}"]
    if n_frames < n_pictures:
        notes.append(f"cut to the sound: {n_pictures} -> {n_frames} frames")
    elif len(audio) > n_frames * SAMPLES_PER_FRAME:
        notes.append(f"sound cut to the video: {len(audio)} -> {n_frames * SAMPLES_PER_FRAME} samples")
    planes = pictures.planes and _first_planes(pictures.planes, n_frames)
    sources = pictures.source_frames
    return replace(
        pictures,
        frames=pictures.frames[:n_frames],
        audio=audio[: n_frames * SAMPLES_PER_FRAME],
        notes=tuple(notes),
        planes=planes,
        source_frames=None if sources is None else sources[:n_frames],
    )


def _first_planes(planes: Planes, n: int) -> Planes:
    return replace(planes, luma=planes.luma[:n], blue=planes.blue[:n], red=planes.red[:n])
