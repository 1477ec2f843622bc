"""Videos that every player and browser shows: H.264 4:2:0, AAC, the index first, written frame by frame.

For people to look at; nothing is ever scored from one. Of any length in the memory of some frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import replacing, unwritable
from syncdiff_bench.media.sound import between, heard, sound_facts

# Close to what the eye can tell; a key frame every two seconds, so that a player jumps at once.
VIDEO = {"crf": "18", "preset": "veryfast"}
SECONDS_OF_A_GROUP = 2
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
AAC_LAYOUTS = {1: "mono", 2: "stereo", 3: "3.0", 4: "4.0", 5: "5.0", 6: "5.1"}
BITS_PER_CHANNEL = 96_000  # per second
MOST_BITS = 6144 / 1024  # per channel and sample, what AAC can hold
AHEAD = Fraction(1, 2)  # seconds by which the sound is written before the picture


@dataclass(frozen=True)
class SoundOf:
    """The sound of a file, in its own channels and at its own rate where AAC has them.

    path: any file with sound. start, duration: seconds of the file; None for all that follows.
    """

    path: Path
    start: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, eq=False)
class Samples:
    """samples: (N,) or (N, channels), int16, or floats in -1..1. sample_rate: Hz."""

    samples: NDArray[Any]
    sample_rate: int


Sound = SoundOf | Samples


class WatchableVideo:
    """Takes the frames of a video one by one.

    width, height: pixels of the file. H.264 4:2:0 holds no odd side: such a one is a pixel longer there, its last
        column or row repeated.
    frames: how many were written.
    """

    def __init__(
        self, container: Any, given: tuple[int, int], rate: Fraction, pixel_aspect: Fraction, sound: _Track | None
    ) -> None:
        from av.video.reformatter import VideoReformatter

        self.frames = 0
        self._given, self._rate, self._sound, self._container = given, rate, sound, container
        self.width, self.height = (side + side % 2 for side in given)
        self._scaler = VideoReformatter()
        self._stream = container.add_stream("libx264", rate=rate, options=VIDEO)
        self._stream.width, self._stream.height, self._stream.pix_fmt = self.width, self.height, "yuv420p"
        coded = self._stream.codec_context
        coded.gop_size = max(1, round(SECONDS_OF_A_GROUP * rate))
        # BT.709, and said so: players take for a guess what is not said.
        coded.colorspace = coded.color_primaries = coded.color_trc = _BT709
        coded.color_range = _LIMITED
        coded.sample_aspect_ratio = pixel_aspect
        self._track = None if sound is None else sound.added_to(container)

    def write(self, frame: NDArray[np.uint8]) -> None:
        """The next frame, (H, W, 3) uint8 RGB of the given size. Raises ClipError `frames` for another."""
        import av

        width, height = self._given
        if frame.shape != (height, width, 3) or frame.dtype != np.uint8:
            told = f"frame {self.frames} is {frame.shape} {frame.dtype}, expected ({height}, {width}, 3) uint8"
            raise ClipError("frames", told)
        if (self.width, self.height) != self._given:
            frame = np.pad(frame, ((0, self.height - height), (0, self.width - width), (0, 0)), mode="edge")
        shown = self._scaler.reformat(
            av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24"),
            format="yuv420p",
            dst_colorspace=_BT709,
            dst_color_range=_LIMITED,
            interpolation="BICUBIC",
            threads=1,
        )
        shown.pts, shown.time_base = self.frames, 1 / self._rate
        self._hear(self.frames / self._rate + AHEAD)
        self._container.mux(self._stream.encode(shown))
        self.frames += 1

    def finish(self) -> None:
        """The rest of both tracks."""
        self._hear(None)
        self._container.mux(self._stream.encode(None))
        if self._track is not None:
            self._container.mux(self._track.encode(None))

    def _hear(self, until: Fraction | None) -> None:
        """Write the sound up to so many seconds, None for all: players want both tracks side by side in the file."""
        import av

        while self._sound is not None and (until is None or self._sound.written < until * self._sound.sample_rate):
            block = next(self._sound.blocks, None)
            if block is None:
                return
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", self._sound.layout)
            frame.sample_rate, frame.pts = self._sound.sample_rate, self._sound.written
            frame.time_base = Fraction(1, self._sound.sample_rate)
            self._sound.written += block.shape[1]
            assert self._track is not None, "a sound has a track"
            self._container.mux(self._track.encode(frame))


_BT709 = 1  # AVCOL_SPC_BT709, AVCOL_PRI_BT709 and AVCOL_TRC_BT709
_LIMITED = 1  # AVCOL_RANGE_MPEG


@contextmanager
def watchable(
    path: Path,
    width: int,
    height: int,
    rate: Fraction | int,
    sound: Sound | None = None,
    *,
    pixel_aspect: Fraction | int = 1,
) -> Iterator[WatchableVideo]:
    """An mp4 to write frames to; it appears at `path` when the block ends, whole, and not at all where that fails.

    width, height: of the frames in pixels. rate: frames per second.
    pixel_aspect: width over height of a pixel.
    sound: begins with the first frame and is written to its own end, however long the picture is; None for silence.
    Raises ClipError `frames` where no frame was written, those of `sound.heard`, UsageError where the file cannot be
    written.
    """
    import av

    rate = Fraction(rate)
    track = None if sound is None else _Track(sound)
    ours = True
    try:
        options = {"movflags": "+faststart"}
        with replacing(path) as partial, av.open(f"file:{partial}", "w", format="mp4", options=options) as container:
            video = WatchableVideo(container, (width, height), rate, Fraction(pixel_aspect), track)
            ours = False
            yield video
            ours = True
            if not video.frames:
                raise ClipError("frames", f"{path}: no frame was written to it")
            video.finish()
    except OSError as error:
        if not ours:
            raise
        raise unwritable(path, error) from None


class _Track:
    """A sound in blocks (channels, n) of float32, as AAC takes it. written: samples that are in the file."""

    def __init__(self, sound: Sound) -> None:
        self.written = 0
        if isinstance(sound, Samples):
            self.sample_rate, channels = sound.sample_rate, 1 if sound.samples.ndim == 1 else sound.samples.shape[1]
            if sound.sample_rate not in AAC_RATES or channels not in AAC_LAYOUTS:
                told = f"{channels} channels at {sound.sample_rate} Hz are no sound that AAC holds; resample them"
                raise UsageError(told)
            self.layout = AAC_LAYOUTS[channels]
            self.blocks = _in_blocks(sound.samples.reshape(len(sound.samples), channels))
        else:
            facts = sound_facts(sound.path)
            self.sample_rate, self.layout = aac_rate(facts.sample_rate), AAC_LAYOUTS.get(facts.channels, "stereo")
            first = round(sound.start * self.sample_rate)
            count = None if sound.duration is None else round(sound.duration * self.sample_rate)
            self.blocks = between(heard(sound.path, self.sample_rate, self.layout, "fltp"), first, count)

    def added_to(self, container: Any) -> Any:
        stream = container.add_stream("aac", rate=self.sample_rate, layout=self.layout)
        channels = next(n for n, layout in AAC_LAYOUTS.items() if layout == self.layout)
        stream.bit_rate = int(channels * min(BITS_PER_CHANNEL, MOST_BITS * self.sample_rate))
        return stream


def aac_rate(sample_rate: int) -> int:
    """The rate itself where AAC has it, else the next higher one, and the highest beyond.

    >>> aac_rate(44100), aac_rate(37800), aac_rate(192000)
    (44100, 44100, 96000)
    """
    return min((rate for rate in AAC_RATES if rate >= sample_rate), default=max(AAC_RATES))


def _in_blocks(samples: NDArray[Any], size: int = 1 << 15) -> Iterator[NDArray[Any]]:
    for start in range(0, len(samples), size):
        block = samples[start : start + size].T
        yield block / np.float32(32768) if block.dtype == np.int16 else block.astype(np.float32)
