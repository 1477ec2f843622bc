"""One clip: where its files lie, and what they hold, read at its first use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from syncdiff_bench.arrays import (
    FPS,
    SAMPLE_RATE,
    Audio,
    Frames,
    Media,
    given_audio,
    given_boxes,
    given_frames,
    load_array,
)
from syncdiff_bench.errors import ClipError, NotApplicable, UsageError
from syncdiff_bench.faces import cache
from syncdiff_bench.faces.boxes import (
    BY_CONSTRUCTION,
    CENTRED,
    DETECTORS,
    GIVEN,
    FaceBoxes,
    centred_boxes,
    read_boxes,
)
from syncdiff_bench.faces.detection import detected_boxes
from syncdiff_bench.faces.framing import (
    Squares,
    boxes_into,
    crops,
    into_squares,
    is_framed,
    moved_inside,
    squares_of,
    steadied_boxes,
)
from syncdiff_bench.faces.landmarks import (
    POINTS,
    FaceAlignmentSource,
    Landmarks,
    LandmarkSource,
    interpolated,
    landmarks_in,
    read_landmarks,
)
from syncdiff_bench.media.fitting import picked, with_audio
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.presenting import Presented, card, known
from syncdiff_bench.weights.digests import sha256_in_process

THUMBNAIL = 160  # pixels of the longer side


@dataclass(frozen=True)
class Spoken:
    """A word or a phone, and when it sounds.

    text: in the dataset's notation.
    start, end: seconds from the first frame.
    label: how figures write it, "" for as it is.
    """

    text: str
    start: float
    end: float
    label: str = ""


@dataclass(frozen=True, eq=False)
class Cut:
    """What a clip shows of another one: of each frame a square, (T, 3) float64 x, y and side in pixels."""

    of: Clip
    squares: Squares


@dataclass(frozen=True, eq=False, repr=False)
class Clip(Presented):
    """One utterance: cheap to make, decodes its file on the first use of `media` and then keeps it.

    id: path of the clip inside its dataset without extension, with forward slashes ("test/0Fi83BHQsMA/00002").
    path: the media file; None only for a clip made in memory (`preloaded`).
    transcript: what is said, lower case (how it is compared: `Dataset.text_rule`), None where there is none.
    speaker: what confidence intervals cluster on (speaker or source video).
    boxes: where face boxes come from:
        "" for `boxes_path`, else a detector;
        "s3fd" or "dlib-hog" for that detector;
        "given" for a `boxes_path` that the user named;
        "centred" for the guess, "centred-by-construction" where that is no guess.
    boxes_path: face boxes saved as `.npy` (T, 4) or by `data prepare faces` as `.npz`, None where there are none.
    landmarks_path: 68 landmarks per frame saved as `.npy` (T, 68, 2), x and y in pixels; None where there are none.
        T, of both: of the frames that are read, or of the frames of the file.
    spoken: phones or words in order, where the dataset knows their times; figures are labelled with them.
    audio_from: clip whose audio replaces this one's (a mismatched pair), None for its own. Its transcript is used, and
        this clip's frames are no ground truth.
    transcript_note: why the file gives no transcript, or what was guessed in reading it.
    preloaded: frames and audio in place of those of `path`.
    cut: where `preloaded` was cut out of another clip's frames, whose boxes and landmarks it then has.
    accept_damaged: a damaged file is read as far as it goes, with a caveat, in place of a ClipError.
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
    audio_from: Clip | None = None
    transcript_note: str = ""
    preloaded: Media | None = field(default=None, repr=False)
    accept_damaged: bool = False
    cut: Cut | None = field(default=None, repr=False)

    @classmethod
    def of_arrays(
        cls,
        frames: ArrayLike,
        audio: ArrayLike | None = None,
        *,
        boxes: ArrayLike | str | None = None,
        transcript: str | None = None,
        clip_id: str = "clip",
    ) -> Clip:
        """A clip of arrays in memory.

        frames: (T, H, W, 3) uint8 RGB at 25 frames per second.
        audio: (N,) int16 mono at 16 kHz, of the same length; up to half a second more is cut off.
        boxes: the face, (4,) or (T, 4) pixels x1 y1 x2 y2 with exclusive ends; or where they come from, a text as of
            `boxes` above. None: a detector looks at their first use.
        clip_id: what messages call it.
        Raises UsageError for arrays of another shape, dtype or range.
        """
        shown = given_frames(frames, f"frames of {clip_id}")
        heard = np.zeros(0, np.int16) if audio is None else given_audio(audio, len(shown))
        source = boxes if isinstance(boxes, str) else ""
        if source and source not in (CENTRED, BY_CONSTRUCTION, *DETECTORS):
            raise UsageError(f"boxes={source!r}: give {', '.join((CENTRED, *DETECTORS))}, or an array of (T, 4)")
        clip = cls(clip_id, "arrays", transcript=transcript, boxes=source, preloaded=Media(shown, heard))
        if boxes is not None and not source:
            vars(clip)["face_boxes"] = FaceBoxes(given_boxes(boxes, len(shown)), GIVEN)
        return clip

    def _presentation(self) -> tuple[str, Mapping[str, Any]]:
        media = self.preloaded or vars(self).get("media")
        if media is None:
            return f"clip {self.id} of {self.dataset}", {"in": self.path.name if self.path else ""}
        n, height, width = media.frames.shape[:3]
        seconds = f"{len(media.audio) / SAMPLE_RATE:.1f} s" if len(media.audio) else "none"
        return f"clip {self.id} of {self.dataset}", {"frames": n, "size": f"{width}x{height}", "sound": seconds}

    def _repr_html_(self) -> str:
        """Also its middle frame; this decodes the clip."""
        try:
            picture = _picture(self.frames[len(self.frames) // 2])
        except ClipError as error:
            return card(f"clip {self.id} of {self.dataset}", {"cannot be shown": str(error)})
        title, facts = self._presentation()
        words = {"said": self.transcript or "", "speaker": self.speaker or ""}
        return card(title, known({**facts, **words}), picture)

    @cached_property
    def media(self) -> Media:
        """The decoded file, with the audio of `audio_from` where that is set. Raises ClipError."""
        if self.audio_from is not None:
            own = replace(self, audio_from=None).media
            # A copy: its frames, which are not used, live no longer than this call.
            return with_audio(own, replace(self.audio_from).media.audio, self.id, self.audio_from.id)
        if self.preloaded is not None:
            return self.preloaded
        assert self.path is not None, "a clip has a path or is preloaded"
        return read_media(self.path, accept_damaged=self.accept_damaged)

    @property
    def frames(self) -> Frames:
        """(T, H, W, 3) uint8 RGB."""
        return self.media.frames

    @property
    def header_frames(self) -> int:
        """How many frames there are at 25 fps by the header of the file; decodes nothing. Raises ClipError."""
        from syncdiff_bench.media.containers import probe

        if self.path is None or self.preloaded is not None:
            return len(self.frames)
        facts = probe(self.path)
        return round(facts.frames / facts.fps * FPS)

    @property
    def audio(self) -> Audio:
        """(N,) int16 mono 16 kHz; empty where the file has no audio track."""
        return self.media.audio

    @property
    def sound(self) -> Clip | None:
        """`audio_from` by its older name."""
        return self.audio_from

    def first(self, n: int) -> Clip:
        """The first n frames and the audio that goes with them; the clip itself where it is no longer."""
        if len(self.frames) <= n:
            return self
        return replace(self, audio_from=None, preloaded=picked(self.media, slice(n)))

    @property
    def content(self) -> str:
        """sha256 of the file, or of the frames where there is none. Raises ClipError where they cannot be read."""
        if self.path is None or self.preloaded is not None:
            shape = np.asarray(self.frames.shape, np.int64).tobytes()
            return hashlib.sha256(shape + np.ascontiguousarray(self.frames).tobytes()).hexdigest()
        try:
            return sha256_in_process(self.path)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ClipError("unreadable", f"{self.path}: cannot be read ({reason}); check its permissions") from None

    @property
    def face_boxes(self) -> FaceBoxes:
        """One box per frame; where there are none a detector looks. Raises ClipError `boxes`, NoBoxes (no face)."""
        self.asked_for.add("boxes")
        known = vars(self)
        if "face_boxes" not in known:
            known["face_boxes"] = self._boxes()
        found: FaceBoxes = known["face_boxes"]
        return found

    @cached_property
    def asked_for(self) -> set[str]:
        """Holds "boxes" once they were asked for, found or not; emptied before a call that is to be watched."""
        return set()

    def _boxes(self) -> FaceBoxes:
        if self.cut is not None:
            found, n, side = self.cut.of.face_boxes, len(self.frames), self.frames.shape[1]
            return replace(found, boxes=boxes_into(found.boxes[:n], self.cut.squares[:n], side))
        whole = self._whole()
        if whole is not None:
            found = whole.face_boxes
            return replace(found, boxes=found.boxes[: len(self.frames)])
        if self.boxes in (CENTRED, BY_CONSTRUCTION):
            n, height, width = self.frames.shape[:3]
            return centred_boxes(n, height, width, self.boxes)
        if self.boxes_path is not None and self.boxes in ("", GIVEN):
            read = read_boxes(self.boxes_path, self.media)
            return replace(read, source=GIVEN) if self.boxes == GIVEN else read
        return detected_boxes(self.id, self.content, self.frames, self.boxes)

    def _whole(self) -> Clip | None:
        """The clip as its file has it, where this one shows the first frames of that: cut to shorter audio or video.

        Boxes belong to the file, and are counted by its frames.
        """
        if self.audio_from is not None:
            return replace(self, audio_from=None)
        if self.path is None or self.preloaded is None:
            return None
        whole = replace(self, preloaded=None)
        n, sources = len(self.frames), self.media.source_frames
        try:
            every = whole.media
        except ClipError:
            return None
        if every.source_frames is None or every.frames.shape[1:] != self.frames.shape[1:]:
            return None
        return whole if np.array_equal(every.source_frames[:n], sources) else None  # type: ignore[arg-type]


def cut_to_face(clip: Clip, boxes: FaceBoxes, side: int) -> Clip | None:
    """The same clip in the framing of LRS, frames of `side`, cut out around these boxes; None where it is in it."""
    frame_hw = clip.frames.shape[1], clip.frames.shape[2]
    if is_framed(boxes.boxes, frame_hw, boxes.source):
        return None
    squares = moved_inside(squares_of(steadied_boxes(boxes.boxes), boxes.source), frame_hw)
    frames = np.stack(list(crops(clip.frames, squares, side)))
    return replace(clip, audio_from=None, preloaded=Media(frames, clip.audio), cut=Cut(clip, squares))


def _picture(frame: Frames) -> str:
    """A `data:` address of a small PNG of (H, W, 3) uint8 RGB."""
    import base64
    import io

    from PIL import Image

    image, out = Image.fromarray(np.ascontiguousarray(frame)), io.BytesIO()
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    image.save(out, "PNG")
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


# -------------------------------------------------------------------------------------------- landmarks


def landmarks_of(clip: Clip, folder: str = "") -> Landmarks:
    """(T, 68, 2) float32, all finite: x and y in pixels of the clip's frames.

    Those of `<folder>/<clip id>.npy` where a folder is given; else the dataset's own, else detected ones. A frame
    without a face has them interpolated between its neighbours.
    Raises ClipError (`landmarks`) where a file is not of that shape, where no frame has a face, and where there are
    neither files nor a detector.
    """
    if clip.cut is not None:
        points = landmarks_of(clip.cut.of, folder)[: len(clip.frames)]
        return into_squares(points, clip.cut.squares[: len(points)], clip.frames.shape[1]).astype(np.float32)
    if folder:
        found = read_landmarks(Path(folder), clip.id, clip.media)
    elif clip.landmarks_path is not None:
        found = landmarks_in(clip.landmarks_path, clip.media)
    else:
        try:
            found = clip_landmarks(clip, _face_alignment())
        except NotApplicable as error:
            mend = f"no landmarks, and none can be detected ({error}); or give landmarks=DIR"
            raise ClipError("landmarks", f"{clip.id}: {mend}") from None
    filled = interpolated(found)
    if filled is None:
        raise ClipError("landmarks", f"{clip.id}: no frame has the landmarks of a face")
    return filled.astype(np.float32)


@lru_cache
def _face_alignment() -> LandmarkSource:
    return FaceAlignmentSource()


def clip_landmarks(clip: Clip, source: LandmarkSource) -> Landmarks:
    """(T, 68, 2) float32 of a clip, detected on the first use and then read from `landmarks/` in `home()`.

    The entry belongs to the content of the clip's file (of its frames, for a clip in memory) and to the source.
    Raises ClipError where the clip cannot be decoded.
    """
    known = known_landmarks(clip, source)
    if known is not None:
        return known
    found = source.detect(clip.media.frames)
    with suppress(UsageError):  # where nothing can be written, it costs time
        cache.write(_entry(clip, source), lambda file: np.save(file, found, allow_pickle=False))
    return found


def known_landmarks(clip: Clip, source: LandmarkSource) -> Landmarks | None:
    """What an earlier call of `clip_landmarks` found; None where there was none or it is damaged. Raises as it does."""
    try:
        found = load_array(_entry(clip, source))
    except (OSError, ValueError):
        return None
    return found if found.shape == (len(clip.media.frames), POINTS, 2) and found.dtype == np.float32 else None


def _entry(clip: Clip, source: LandmarkSource) -> Path:
    return cache.entry("landmarks", clip.content, source.identity)
