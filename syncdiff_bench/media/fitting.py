"""Videos that somebody else made, brought to the frames of the clips that they should show: one contract of length,
rate and size for every way in which such videos come (docs/protocols.md, Length, rate and size of given videos).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import FPS, SAMPLES_PER_FRAME, Audio, Frames, Media
from syncdiff_bench.caveats import Caveat
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.frames import turn_of
from syncdiff_bench.media.reading import read_every_picture, read_media
from syncdiff_bench.media.timing import STARTS_LATE, rate_label

# Published methods drop a few last frames (584 and 586 of 588 were met); more is another video.
MOST_FRAMES = 5
MOST_PERCENT = 5
LENGTH = "length"  # the kind of the caveat, and of the failure

_UNSETTLED = 2  # frames at the start whose times B-frames may put astray
_IN_ORDER = "as many frames as the reference, taken frame by frame whatever the"
_SHORTER = "up to {most} frames shorter than their reference, scored over the common part"
_LONGER = "up to {most} frames longer than their reference, scored over the common part"
_TURNED = "turned or mirrored as their display matrix says, their reference is not"
_ALIGNED = "of another size than the reference; faces are cut out of either by its own boxes"
_RESIZED = "resized to the size of the reference (Pillow, bicubic)"

Indices = NDArray[np.int64]


class Reference(Protocol):
    """The clip whose frames a video should show (`contracts.Clip`)."""

    @property
    def media(self) -> Media: ...

    @property
    def accept_damaged(self) -> bool: ...


def tolerated(frames: int) -> int:
    """How many frames a video may have fewer or more than its clip.

    >>> tolerated(588), tolerated(40), tolerated(19)
    (5, 2, 0)
    """
    return min(MOST_FRAMES, frames * MOST_PERCENT // 100)


def read_fitted(
    path: Path,
    reference: Reference,
    *,
    any_shape: bool = False,
    spare: int = 0,
    stretched: bool = False,
    part: Callable[[Frames], Frames] | None = None,
) -> Media:
    """A video that should show the frames of `reference`: no more frames than it has, of its size.

    any_shape: of any size, as it is, for those who cut the face out of either by its own boxes.
    spare: frames that may be over at the end where its program is known to make them, if more than `tolerated`.
    stretched: its program stretches pictures to another shape, so that to resize them brings them back.
    part: what of the pictures is looked at, (T, H, W, 3) -> (T, h, w, 3), where a file shows more than the clip.

    A file with as many frames as the reference is taken frame by frame, whatever its rate label and timestamps
    say; any other is brought to 25 fps by its label. Then up to `tolerated` frames may be missing, or over and are cut
    off, and another size of the same shape is resized; `caveats` say all of it. The audio is the file's own.
    Raises ClipError `length`, `size`, and those of `read_media`; those of decoding the reference.
    """
    media = _in_step(read_media(path, accept_damaged=reference.accept_damaged), path, reference)
    media = _turned(_of_length(media, path, reference, spare), reference.media)
    if part is not None:
        media = replace(media, frames=part(media.frames), planes=None)
    return _of_size(media, path, reference.media.frames, any_shape=any_shape, stretched=stretched)


def with_audio(media: Media, audio: Audio, clip_id: str, audio_id: str) -> Media:
    """The frames of one clip with the audio of another, both cut to the shorter of them.

    Raises ClipError `no-audio` where there is none.
    """
    if not audio.size:
        raise ClipError("no-audio", f"{clip_id}: {audio_id} has no audio track; take the line off the list")
    there = len(media.frames)
    n_frames = min(there, -(-len(audio) // SAMPLES_PER_FRAME))
    notes = [*media.notes, f"sound of {audio_id}"]
    if n_frames < there:
        notes.append(f"cut to the sound: {there} -> {n_frames} frames")
    elif len(audio) > n_frames * SAMPLES_PER_FRAME:
        notes.append(f"sound cut to the video: {len(audio)} -> {n_frames * SAMPLES_PER_FRAME} samples")
    return picked(replace(media, audio=audio, notes=tuple(notes)), slice(n_frames))


def _in_step(media: Media, path: Path, reference: Reference) -> Media:
    """By the order of its frames where that is certain, by time elsewhere."""
    wanted, rate = _source_frames_of(media, reference.media)
    if wanted is None:
        return _started_with(_without_late_start(media, path, reference), reference.media)
    if media.source_frames is None or np.array_equal(media.source_frames, wanted):
        return media
    every = read_every_picture(path, accept_damaged=reference.accept_damaged)
    assert media.source_rate is not None
    if media.source_rate != rate:
        told = Caveat("rate-label", f"{_IN_ORDER} rate label", f"labelled {rate_label(media.source_rate)} fps")
    else:
        told = Caveat("timestamps", f"{_IN_ORDER} timestamps", f"{len(media.frames)} frames by its timestamps")
    every = _silent_first(every, _late(reference.media))
    return replace(picked(every, wanted), caveats=(*every.caveats, told))


def _started_with(media: Media, reference: Media) -> Media:
    """Held at its first frame as long as a reference that starts late, where it has more nearly the frames of the
    reference's file than the reference's frames.
    """
    late, sources = _late(reference), np.arange(len(media.frames))
    nearer = abs(media.source_count - reference.source_count) < abs(media.source_count - len(reference.frames))
    if not late or not nearer or not np.array_equal(media.source_frames, sources):  # type: ignore[arg-type]
        return media
    told = Caveat("timestamps", "starts late as the reference does, filled with its first frame", f"{late} frames late")
    held = picked(_silent_first(media, late), np.concatenate([np.zeros(late, np.int64), sources]))
    return replace(held, caveats=(*media.caveats, told))


def _silent_first(media: Media, late: int) -> Media:
    return replace(media, audio=np.concatenate([np.zeros(late * SAMPLES_PER_FRAME, np.int16), media.audio]))


def _late(media: Media) -> int:
    """How many frames stand in for a late start."""
    if media.source_frames is None or all(one.kind != STARTS_LATE for one in media.caveats):
        return 0
    return int(np.count_nonzero(media.source_frames == media.source_frames[0])) - 1


def _source_frames_of(media: Media, reference: Media) -> tuple[Indices | None, Fraction]:
    """Which frame of its file each frame of the reference is where the numbers of frames agree, else None; and the
    rate that the file should then be labelled with.
    """
    if reference.source_frames is not None and media.source_count == reference.source_count:
        return reference.source_frames, reference.source_rate or Fraction(FPS)
    if media.source_count == len(reference.frames):
        return np.arange(media.source_count), Fraction(FPS)
    return None, Fraction(FPS)


def _without_late_start(media: Media, path: Path, reference: Reference) -> Media:
    """Each frame of a 25 fps file once, and the audio from the first on, where only the first two are repeated.

    What is generated starts with the clip; containers that put B-frames late (Matroska, AVI, fragmented mp4) only claim
    otherwise.
    """
    assert media.source_frames is not None
    late = len(media.frames) - media.source_count
    sources, positions = np.unique(media.source_frames, return_index=True)
    steady = positions[_UNSETTLED:] - sources[_UNSETTLED:] == late
    if late <= 0 or len(sources) != media.source_count or not len(steady) or not steady.all():
        return media
    every = read_every_picture(path, accept_damaged=reference.accept_damaged)
    ignored = Caveat("timestamps", "a late start ignored: the first picture is the first frame", f"{late} frames late")
    return replace(every, caveats=(*every.caveats, ignored))


def _of_length(media: Media, path: Path, reference: Reference, spare: int) -> Media:
    made, wanted = len(media.frames), len(reference.media.frames)
    if made == wanted:
        return media
    off = abs(made - wanted)
    if off > tolerated(wanted) and not wanted < made <= wanted + spare:
        raise ClipError(
            LENGTH,
            f"{path}: {_counts(media)}, the reference has {_counts(reference.media)}; "
            f"make one frame per frame of the reference ({tolerated(wanted)} may be missing or over)",
        )
    length = Caveat(LENGTH, _SHORTER if made < wanted else _LONGER, f"{made} of {wanted} frames", off)
    return replace(picked(media, slice(wanted)), caveats=(*media.caveats, length))


def _counts(media: Media) -> str:
    """
    >>> from fractions import Fraction
    >>> _counts(Media(np.zeros((23, 2, 2, 3), np.uint8), np.zeros(0, np.int16), (), None, (), None, 27, Fraction(30)))
    '27 frames at 30 fps (23 at 25 fps)'
    """
    shown = f"{len(media.frames)} frames at {FPS} fps"
    if media.source_rate is None or (media.source_rate == FPS and media.source_count == len(media.frames)):
        return shown
    label = f"{media.source_count} frames at {rate_label(media.source_rate)} fps"
    return f"{label} ({shown.replace(' frames', '')})"


def _turned(media: Media, reference: Media) -> Media:
    """A display matrix that its reference does not have was seldom meant. The reverse is: methods write upright."""
    turn = turn_of(media.notes)
    if not turn or turn == turn_of(reference.notes):
        return media
    return replace(media, caveats=(*media.caveats, Caveat("turned", _TURNED, turn)))


def _of_size(media: Media, path: Path, reference: Frames, *, any_shape: bool, stretched: bool) -> Media:
    """Bicubic, with antialiasing where it shrinks; as it is for `any_shape`."""
    from PIL import Image

    (height, width), (wanted_height, wanted_width) = media.frames.shape[1:3], reference.shape[1:3]
    if (height, width) == (wanted_height, wanted_width):
        return media
    size, wanted = f"{width}x{height}", f"{wanted_width}x{wanted_height}"
    if any_shape:
        return replace(media, caveats=(*media.caveats, Caveat("aligned", _ALIGNED, f"{size} against {wanted}")))
    if not stretched and not same_shape((width, height), (wanted_width, wanted_height)):
        raise ClipError(
            "size",
            f"{path}: frames are {size}, those of the reference {wanted}, another shape; "
            "paste the face back into the whole frame, crop the reference as the video is, or score with --align faces",
        )
    target, bicubic = (wanted_width, wanted_height), Image.Resampling.BICUBIC
    frames = np.stack([np.asarray(Image.fromarray(frame).resize(target, bicubic)) for frame in media.frames])
    resized = Caveat("resized", _RESIZED, f"resized {size} -> {wanted}")
    return replace(media, frames=frames, planes=None, caveats=(*media.caveats, resized))


def same_shape(one: tuple[int, int], other: tuple[int, int]) -> bool:
    """Whether two sizes (width, height) differ by scale alone, to a pixel of the coarser one.

    >>> same_shape((512, 512), (160, 160)), same_shape((98, 76), (97, 75)), same_shape((512, 512), (480, 360))
    (True, True, False)
    """
    (width, height), (other_width, other_height) = one, other
    return abs(width * other_height - other_width * height) <= max(*one, *other)


def picked(media: Media, rows: Indices | slice) -> Media:
    """Some of the frames, and as much of the audio as belongs to so many; a slice copies nothing."""
    frames, planes, sources = media.frames[rows], media.planes, media.source_frames
    if planes is not None:
        planes = replace(planes, luma=planes.luma[rows], blue=planes.blue[rows], red=planes.red[rows])
    return replace(
        media,
        frames=frames,
        audio=media.audio[: len(frames) * SAMPLES_PER_FRAME],
        planes=planes,
        source_frames=None if sources is None else sources[rows],
    )
