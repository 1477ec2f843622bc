"""One clip: where its files lie, and what they hold once somebody asks."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from syncdiff_bench.arrays import Audio, Frames, Media
from syncdiff_bench.faces.boxes import FaceBoxes, asked_boxes


@dataclass(frozen=True)
class Spoken:
    """A word or a phone, and when it sounds: seconds from the first frame.

    text: in the dataset's notation. label: how figures write it, "" for as it is.
    """

    text: str
    start: float
    end: float
    label: str = ""


@dataclass(frozen=True, eq=False)
class Clip:
    """One utterance: cheap to make, decodes its file on the first use of `media` and then keeps it.

    id: path of the clip inside its dataset without extension, with forward slashes ("test/0Fi83BHQsMA/00002").
    path: the media file; None only for a clip made in memory (`preloaded`).
    transcript: what is said, lower case (how it is compared: `Dataset.text_rule`), None where there is none.
    transcript_note: what is to be said about its file: why it gives no transcript, or what was guessed in reading it.
    speaker: what confidence intervals cluster on (speaker or source video).
    boxes: where face boxes come from: "" for `boxes_path`, else a detector; the name of a detector; "given" for a
        `boxes_path` that the user named; "centred" for the guess, "centred-by-construction" where that is no guess.
    boxes_path: face boxes saved as `.npy` (T, 4) or by `prepare faces` as `.npz`, None where there are none.
    landmarks_path: 68 landmarks per frame saved as `.npy` (T, 68, 2), x and y in pixels; None where there are none.
        T, of both: of the frames that are read, or of the pictures of the file.
    spoken: phones or words in order, where the dataset knows their times; figures are labelled with them.
    sound: the clip whose sound is heard instead of this file's own (`pairs`), None for its own. Transcript and
        spoken are then those of the sound, and the frames are no reference of what should be seen.
    accept_damaged: whether a damaged file is read as far as it goes, with a caveat, in place of a ClipError.
    """

    id: str
    dataset: str
    path: Path | None = None
    transcript: str | None = None
    speaker: str | None = None
    boxes: str = ""
    boxes_path: Path | None = None
    landmarks_path: Path | None = None
    spoken: tuple[Spoken, ...] = ()
    sound: Clip | None = None
    transcript_note: str = ""
    preloaded: Media | None = field(default=None, repr=False)
    accept_damaged: bool = False

    @cached_property
    def media(self) -> Media:
        """The decoded file, with the sound of `sound` where that is set. Raises ClipError where it is undecodable."""
        if self.sound is not None:
            from syncdiff_bench.views.pairs import dubbed

            return dubbed(self)
        if self.preloaded is not None:
            return self.preloaded
        from syncdiff_bench.media.reading import read_media

        assert self.path is not None, "a clip has a path or is preloaded"
        return read_media(self.path, accept_damaged=self.accept_damaged)

    @property
    def frames(self) -> Frames:
        """(T, H, W, 3) uint8 RGB."""
        return self.media.frames

    @property
    def audio(self) -> Audio:
        """(N,) int16 mono 16 kHz; empty where the file has no audio track."""
        return self.media.audio

    @property
    def face_boxes(self) -> FaceBoxes:
        """One box per frame; where there are none a detector looks. Raises ClipError `boxes`, NoBoxes (no face)."""
        return asked_boxes(self)

    @cached_property
    def asked_for(self) -> set[str]:
        """ "boxes" once somebody asked for them, whatever came of it; to be emptied by whoever wants to know who."""
        return set()
