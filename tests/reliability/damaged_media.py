"""Media files that are damaged or lie, made from one clip in several containers; seeded, each way in its turn."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from encoded import encode

FRAMES, SIDE = 25, 96
# suffix -> codecs of pictures and sound, samples per second
KINDS: Mapping[str, tuple[str, str, int]] = {
    ".mp4": ("libx264", "aac", 16_000),
    ".mkv": ("libx264", "flac", 16_000),
    ".webm": ("libvpx", "libopus", 48_000),
    ".avi": ("mpeg4", "pcm_s16le", 16_000),
    ".mpg": ("mpeg2video", "mp2", 44_100),
}
EXTREMES = (0, 1, 2, 0x7F, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
FLOATS = (0.0, -1.0, 1e-300, 1e300, float("inf"), float("nan"))


def write_clip(path: Path, *, seed: int = 0, picture: bool = True, sound: bool = True, **more: Any) -> Path:
    """One second of moving noise and a tone. more: of `encoded.encode`."""
    texture = np.random.default_rng(seed).integers(0, 256, (2 * SIDE, 2 * SIDE), np.uint8)
    frames = np.stack([texture[2 * t :, t:][:SIDE, :SIDE] for t in range(FRAMES)])[..., None].repeat(3, 3)
    codec, audio_codec, rate = KINDS[path.suffix]
    tone = (8_000 * np.sin(np.arange(rate) / 9)).astype(np.int16)
    known = {
        "codec": codec,
        "pix_fmt": "yuv420p",
        "coding": {"g": "10", "threads": "1"},
        "audio_codec": audio_codec,
        "clock": 25,
    }
    given = {"audio": tone, "audio_rate": rate} if sound else {}
    return encode(path, frames if picture else None, **{**known, **given, **more})


class Source:
    """Whole files to damage, by suffix, and some that are odd but whole; other: another picture, for a reference."""

    def __init__(self, folder: Path) -> None:
        self.other = write_clip(folder / "other.mp4", seed=1).read_bytes()
        self.whole = {suffix: write_clip(folder / f"whole{suffix}").read_bytes() for suffix in KINDS}
        self.mute = {suffix: write_clip(folder / f"mute{suffix}", sound=False).read_bytes() for suffix in KINDS}
        self.blind = {suffix: write_clip(folder / f"blind{suffix}", picture=False).read_bytes() for suffix in KINDS}
        # Ticks per second of the pictures' times: one, fewer than the pictures, primes.
        self.clocks = [
            write_clip(folder / f"clock-{n}.mkv", clock=n).read_bytes() for n in (1, 7, 1_001, 90_001, 1_000_003)
        ]


def corpus(source: Source, count: int, seed: int = 0) -> Iterator[tuple[str, bytes]]:
    """(name of a file, its bytes), the name telling what was done."""
    rng = Random(seed)
    for number in range(count):
        way = WAYS[number % len(WAYS)]
        suffix, data = way(source, rng)
        yield f"{number:04d}-{way.__name__.strip('_').replace('_', '-')}{suffix}", data


def _any(source: Source, rng: Random) -> tuple[str, bytearray]:
    suffix = rng.choice(sorted(source.whole))
    return suffix, bytearray(source.whole[suffix])


def _truncated(source: Source, rng: Random) -> tuple[str, bytes]:
    suffix, data = _any(source, rng)
    return suffix, bytes(data[: rng.randrange(1, len(data))])


def _flip(data: bytearray, rng: Random, first: int, last: int) -> bytes:
    for _ in range(rng.choice([1, 2, 8, 40])):
        data[rng.randrange(first, last)] ^= 1 << rng.randrange(8)
    return bytes(data)


def _bits_in_the_header(source: Source, rng: Random) -> tuple[str, bytes]:
    suffix, data = _any(source, rng)
    return suffix, _flip(data, rng, 0, 600)


def _bits_in_the_body(source: Source, rng: Random) -> tuple[str, bytes]:
    suffix, data = _any(source, rng)
    return suffix, _flip(data, rng, len(data) // 4, 3 * len(data) // 4)


def _bits_in_the_index(source: Source, rng: Random) -> tuple[str, bytes]:
    """Which these files have at their end; of mp4 it is all that tells what is where."""
    suffix = rng.choice([".mp4", ".mp4", ".mkv", ".avi"])
    data = bytearray(source.whole[suffix])
    index = data.rindex({".mp4": b"moov", ".mkv": b"\x1c\x53\xbb\x6b", ".avi": b"idx1"}[suffix])
    return suffix, _flip(data, rng, index, len(data))


def _zeroed_blocks(source: Source, rng: Random) -> tuple[str, bytes]:
    suffix, data = _any(source, rng)
    for _ in range(rng.randrange(1, 4)):
        length = rng.choice([16, 512, 4096])
        at = rng.randrange(len(data))
        data[at : at + length] = bytes(len(data[at : at + length]))
    return suffix, bytes(data)


def _wrong_suffix(source: Source, rng: Random) -> tuple[str, bytes]:
    suffix, data = _any(source, rng)
    return rng.choice([other for other in (*KINDS, ".mov", ".m4v", ".mpeg") if other != suffix]), bytes(data)


def _no_media(source: Source, rng: Random) -> tuple[str, bytes]:
    text = b"#EXTM3U\nfile:///etc/passwd\n" if rng.random() < 0.5 else "Grüße, wörtlich.\n".encode() * 40
    return rng.choice([*KINDS]), rng.choice([b"", text, rng.randbytes(5_000), bytes(5_000), b"\xff" * 5_000])


def _sound_alone(source: Source, rng: Random) -> tuple[str, bytes]:
    suffix = rng.choice([*KINDS])
    return suffix, source.blind[suffix]


def _picture_alone(source: Source, rng: Random) -> tuple[str, bytes]:
    suffix = rng.choice([*KINDS])
    return suffix, source.mute[suffix]


def _odd_time_base(source: Source, rng: Random) -> tuple[str, bytes]:
    return ".mkv", rng.choice(source.clocks)


def _glued(source: Source, rng: Random) -> tuple[str, bytes]:
    """Two files in one, or the halves of one in the wrong order."""
    suffix, data = _any(source, rng)
    other = bytes(_any(source, rng)[1])
    half = len(data) // 2
    return suffix, rng.choice([bytes(data) + other, bytes(data[half:] + data[:half]), bytes(data[:half]) + other])


def _patch(data: bytearray, mark: bytes, which: int, offset: int, value: bytes) -> None:
    """Overwrite bytes `offset` behind the start of one of the marks, the last where there are fewer."""
    at = -1
    for _ in range(which + 1):
        following = data.find(mark, at + 1)
        at = following if following >= 0 else at
    assert at >= 0, mark
    data[at + offset : at + offset + len(value)] = value


# mark, offset from it, bytes: of ISO 14496-12, Microsoft's RIFF, RFC 9559 (floats have 8 bytes), RFC 6386, ISO 13818-2
_MP4 = {
    "size": [(b"avc1", 28, 2), (b"avc1", 30, 2), (b"tkhd", 80, 4)],
    "duration": [(b"mvhd", 20, 4), (b"mdhd", 20, 4), (b"stts", 12, 4), (b"tkhd", 24, 4), (b"stsz", 12, 4)],
    "rate": [(b"mvhd", 16, 4), (b"mdhd", 16, 4), (b"stts", 16, 4), (b"mp4a", 28, 4), (b"mp4a", 20, 2)],
}
_AVI = {
    "size": [(b"avih", 40, 4), (b"avih", 44, 4), (b"strf", 12, 4), (b"strf", 16, 4)],
    "duration": [(b"avih", 24, 4), (b"strh", 40, 4)],
    "rate": [(b"avih", 8, 4), (b"strh", 28, 4), (b"strh", 32, 4)],
}
_LITTLE = {**dict.fromkeys(_AVI, "little")}


def _claims(what: str, source: Source, rng: Random) -> tuple[str, bytes]:
    suffix, places = rng.choice([(".mp4", _MP4[what]), (".avi", _AVI[what])])
    data = bytearray(source.whole[suffix])
    for mark, offset, size in rng.sample(places, rng.randrange(1, len(places) + 1)):
        value = rng.choice(EXTREMES) & (256**size - 1)
        _patch(data, mark, rng.randrange(2), offset, value.to_bytes(size, "little" if suffix == ".avi" else "big"))
    return suffix, bytes(data)


def _claimed_size(source: Source, rng: Random) -> tuple[str, bytes]:
    if rng.random() < 0.5:
        return _claims("size", source, rng)
    if rng.random() < 0.3:  # MPEG-2: 12 bits each
        data = bytearray(source.whole[".mpg"])
        _patch(data, b"\x00\x00\x01\xb3", rng.randrange(3), 4, b"\xff\xff\xff")
        return ".mpg", bytes(data)
    data = bytearray(source.whole[".webm"])  # VP8: 14 bits each, in every key frame
    _patch(data, b"\x9d\x01\x2a", rng.randrange(3), 3, rng.choice([b"\xff\x3f\xff\x3f", b"\x01\x00\xff\x3f", bytes(4)]))
    return ".webm", bytes(data)


def _claimed_duration(source: Source, rng: Random) -> tuple[str, bytes]:
    if rng.random() < 0.6:
        return _claims("duration", source, rng)
    suffix = rng.choice([".mkv", ".webm"])
    data = bytearray(source.whole[suffix])
    _patch(data, b"\x44\x89\x88", 0, 3, struct.pack(">d", rng.choice(FLOATS)))
    return suffix, bytes(data)


def _claimed_rate(source: Source, rng: Random) -> tuple[str, bytes]:
    if rng.random() < 0.6:
        return _claims("rate", source, rng)
    data = bytearray(source.whole[".mkv"])
    mark, value = rng.choice(
        [
            (b"\x2a\xd7\xb1\x83", rng.choice([b"\x00\x00\x01", b"\xff\xff\xff", bytes(3)])),  # TimestampScale
            (b"\xb5\x88", struct.pack(">d", rng.choice(FLOATS))),  # SamplingFrequency
            (b"\x9f\x81", rng.choice([b"\x00", b"\x7f", b"\xff"])),  # Channels
        ]
    )
    _patch(data, mark, 0, len(mark), value)
    return ".mkv", bytes(data)


def _wav_that_lies(source: Source, rng: Random) -> tuple[str, bytes]:
    """RIFF WAVE of a tone, its header's numbers at their extremes; with the suffix of a video, else nobody reads it."""
    samples = (8_000 * np.sin(np.arange(16_000) / 9)).astype("<i2").tobytes()
    header = {"tag": 1, "channels": 1, "rate": 16_000, "bytes": 32_000, "align": 2, "bits": 16}
    sizes = {"riff": 36 + len(samples), "fmt": 16, "data": len(samples)}
    for name in rng.sample([*header, *sizes], rng.randrange(1, 4)):
        (header if name in header else sizes)[name] = rng.choice(EXTREMES)
    wide = {"rate", "bytes"}
    packed = b"".join(
        struct.pack("<I" if n in wide else "<H", v & (2**32 - 1 if n in wide else 65_535)) for n, v in header.items()
    )
    riff = b"RIFF" + struct.pack("<I", sizes["riff"]) + b"WAVE"
    fmt = b"fmt " + struct.pack("<I", sizes["fmt"]) + packed
    return rng.choice([".mp4", ".avi"]), riff + fmt + b"data" + struct.pack("<I", sizes["data"]) + samples


WAYS: tuple[Callable[[Source, Random], tuple[str, bytes]], ...] = (
    _truncated,
    _bits_in_the_header,
    _bits_in_the_body,
    _bits_in_the_index,
    _zeroed_blocks,
    _wrong_suffix,
    _no_media,
    _sound_alone,
    _picture_alone,
    _odd_time_base,
    _glued,
    _claimed_size,
    _claimed_duration,
    _claimed_rate,
    _wav_that_lies,
)
