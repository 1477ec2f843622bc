"""Damaged files, made here with PyAV and then cut or overwritten: each fails alone, with counts, or is a caveat."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import av
import numpy as np
import pytest
from encoded import encode

from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.damage import bytes_short
from syncdiff_bench.media.reading import read_every_picture, read_media

N = 40

# suffix, muxer options, codecs of pictures and sound; "live" as a browser streams it: no length is declared
KINDS = {
    "mp4": (".mp4", {"movflags": "faststart"}, "libx264", "aac"),
    "fragmented": (".mp4", {"movflags": "frag_keyframe+empty_moov"}, "libx264", "aac"),
    "mkv": (".mkv", {}, "libx264", "aac"),
    "webm": (".webm", {}, "libvpx", "libopus"),
    "live": (".webm", {"live": "1"}, "libvpx", "libopus"),
    "avi": (".avi", {}, "mpeg4", "mp2"),
    "mpg": (".mpg", {}, "mpeg2video", "mp2"),
}


def talk(path: Path, kind: str = "mp4") -> Path:
    path = path.with_suffix(KINDS[kind][0])
    path.write_bytes(talking(kind))
    return path


@cache
def talking(kind: str) -> bytes:
    with TemporaryDirectory() as folder:
        return encode_talk(Path(folder, "clip"), kind).read_bytes()


def encode_talk(path: Path, kind: str) -> Path:
    """40 pictures of moving noise, key frames every 10, and a tone."""
    suffix, options, pictures, sounds = KINDS[kind]
    rng = np.random.default_rng(0)
    texture = rng.integers(0, 256, (160, 160), np.uint8)
    path = path.with_suffix(suffix)
    with av.open(str(path), "w", options=options) as container:
        video: Any = container.add_stream(pictures, rate=25, options={"g": "10"})
        video.width, video.height, video.pix_fmt, video.bit_rate = 96, 96, "yuv420p", 800_000
        rate = 48_000 if sounds == "libopus" else 44_100
        sound: Any = container.add_stream(sounds, rate=rate, layout="mono")
        for t in range(N):
            frame = av.VideoFrame.from_ndarray(texture[t : t + 96, 2 * t // 3 :][:96, :96].copy(), format="gray")
            frame = frame.reformat(format="yuv420p")
            frame.pts, frame.time_base = t, Fraction(1, 25)
            container.mux(video.encode(frame))
            tone = (8_000 * np.sin(np.arange(rate // 25) / 9)).astype(np.int16)[None]
            heard = av.AudioFrame.from_ndarray(tone, format="s16", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = rate, t * (rate // 25), Fraction(1, rate)
            container.mux(sound.encode(heard))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ClipError) as caught:
        read_media(path)
    assert caught.value.kind == "damaged"
    assert str(path) in str(caught.value)
    assert "--accept-damaged" in str(caught.value)
    return str(caught.value)


def cut(path: Path, share: float) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def places(path: Path, kind: str, share: float = 0.5) -> list[int]:
    """Where in the file each packet lies: its middle, or this share of it further on than its start."""
    data = path.read_bytes()
    with av.open(str(path)) as container:
        stream = container.streams.best(kind)  # type: ignore[arg-type]
        packets = [bytes(packet) for packet in container.demux(stream) if packet.size]
    inside = [int(len(packet) * share) for packet in packets]
    return [data.index(packet[at:][:20]) for packet, at in zip(packets, inside, strict=True)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_file_is_not_damaged(tmp_path: Path, kind: str) -> None:
    media = read_every_picture(talk(tmp_path / "clip", kind))
    assert len(media.frames) == media.source_count == N
    assert media.caveats == ()


@pytest.mark.parametrize("share", [0.4, 0.75, 0.97])
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_cut_short_fails_and_says_by_how_much(tmp_path: Path, kind: str, share: float) -> None:
    whole = talk(tmp_path / "clip", kind).stat().st_size
    message = refusal(cut(tmp_path / f"clip{KINDS[kind][0]}", share))
    early = re.search(r"ends ([\d,]+) bytes early", message)
    assert early is not None
    if kind in ("mp4", "mkv", "webm"):  # whose one box, or segment, is the rest of the file
        assert int(early[1].replace(",", "")) == whole - int(whole * share)


@pytest.mark.parametrize("kind", ["mp4", "fragmented", "mkv", "webm", "avi"])
def test_missing_pictures_are_counted_where_the_container_declares_them(tmp_path: Path, kind: str) -> None:
    path = cut(talk(tmp_path / "clip", kind), 0.5)
    found = re.search(r"(\d+) of (\d+) pictures are missing", refusal(path))
    assert found is not None
    missing, total = int(found[1]), int(found[2])
    left = read_every_picture(path, accept_damaged=True).source_count
    # The last one, half there, may be lost with the rest; fragments that are not there are not known of.
    assert total <= N if kind == "fragmented" else total in (N - 1, N)
    assert missing == total - left
    assert 0 < missing < N


def test_a_file_that_loses_its_last_picture_alone_is_damaged(tmp_path: Path) -> None:
    path = talk(tmp_path / "clip", "webm")
    path.write_bytes(path.read_bytes()[: places(path, "video")[-1]])
    assert "1 of 40 pictures are missing" in refusal(path)


@pytest.mark.parametrize("kind", ["mp4", "mkv", "avi", "mpg"])
def test_pictures_that_the_decoder_flags_are_counted(tmp_path: Path, kind: str) -> None:
    """Or refuses: what 20 bytes hit is up to the encoder, which works in several threads."""
    path = talk(tmp_path / "clip", kind)
    data = bytearray(path.read_bytes())
    for middle in places(path, "video")[9:30:10]:
        data[middle : middle + 20] = bytes(20)
    path.write_bytes(data)
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        flagged = 0
        for packet in container.demux(video=0):
            try:
                flagged += sum(frame.is_corrupt for frame in packet.decode())
            except av.error.InvalidDataError:
                flagged += 1
    assert flagged >= 1
    assert f"{flagged} of {N} pictures are damaged" in refusal(path)


def test_packets_that_the_decoder_refuses_are_counted(tmp_path: Path) -> None:
    path = talk(tmp_path / "clip")
    data = bytearray(path.read_bytes())
    for start in (places(path, "video", 0.0)[n] for n in (12, 25)):
        data[start : start + 4] = b"\x7f\xff\xff\xff"  # a unit of H.264 that is longer than its packet
    path.write_bytes(data)
    message = refusal(path)
    assert 38 <= read_every_picture(path, accept_damaged=True).source_count < N
    found = re.search(r"(\d+) of 40 pictures are damaged", message)
    assert found is not None
    assert int(found[1]) >= 2


@pytest.mark.parametrize("missing", [0, 1, 90])
def test_a_browsers_stream_declares_only_its_blocks(tmp_path: Path, missing: int) -> None:
    """RFC 8794 by hand: a segment and a cluster of unknown length, a timestamp, and a block of 100 bytes."""
    unknown = b"\x01" + b"\xff" * 7
    block = b"\xa3\x40\x64" + bytes(100)  # 0x64 = 100 as a number of two bytes
    stream = b"\x1a\x45\xdf\xa3\x80" + b"\x18\x53\x80\x67" + unknown
    stream += b"\x1f\x43\xb6\x75" + unknown + b"\xe7\x81\x00" + block + block
    path = tmp_path / "clip.webm"
    path.write_bytes(stream[: len(stream) - missing])
    assert bytes_short(path) == missing


def test_sound_that_does_not_decode_is_damage_too(tmp_path: Path) -> None:
    path = talk(tmp_path / "clip")
    data = bytearray(path.read_bytes())
    for middle in places(path, "audio")[20:24]:
        data[middle - 20 : middle + 20] = b"\xff" * 40
    path.write_bytes(data)
    assert re.search(r"[1-5] of \d+ packets of sound are damaged", refusal(path))
    media = read_media(path, accept_damaged=True)
    assert len(media.frames) == N
    assert media.audio.any()


def test_an_accepted_file_has_the_counts_as_a_caveat(tmp_path: Path) -> None:
    path = cut(talk(tmp_path / "clip"), 0.5)
    whole = read_media(talk(tmp_path / "other"))
    media = read_media(path, accept_damaged=True)
    (caveat,) = (one for one in media.caveats if one.kind == "damaged")
    assert "pictures are missing" in caveat.detail
    assert 10 < len(media.frames) < 30
    np.testing.assert_array_equal(media.frames[:8], whole.frames[:8])


@pytest.mark.parametrize("damage", [b"h265", b"\x00\x00\x00\x00"])
def test_a_header_that_names_no_known_format(tmp_path: Path, damage: bytes) -> None:
    path = talk(tmp_path / "clip")
    data = path.read_bytes()
    path.write_bytes(data.replace(b"avc1", damage).replace(b"avcC", damage))
    with pytest.raises(ClipError, match=str(path)) as caught:
        read_media(path)
    assert caught.value.kind in ("undecodable", "damaged")


# ------------------------------------------------------------------------------------------- headers that lie


def test_sound_of_a_broken_clock_is_not_awaited(tmp_path: Path) -> None:
    """Its gap of an hour would be filled with zeros, which nobody hears behind the last picture."""
    grey, tone = np.full((10, 16, 16, 3), 90, np.uint8), np.full(6_400, 500, np.int16)
    path = encode(tmp_path / "clip.mkv", grey, audio=tone, audio_start=3_600.0)
    media = read_media(path, accept_damaged=True)
    assert len(media.frames) == 10
    whole = media.audio if media.audio.base is None else media.audio.base
    assert not media.audio.any() and memoryview(whole).nbytes <= 2 * 16_000  # type: ignore[arg-type]


def test_a_rate_that_no_sound_has_is_told(tmp_path: Path) -> None:
    grey, tone = np.full((10, 16, 16, 3), 90, np.uint8), np.zeros(200, np.int16)
    path = encode(tmp_path / "clip.mkv", grey, audio=tone, audio_rate=500, audio_codec="pcm_s16le")
    with pytest.raises(ClipError, match="claims 500 samples of sound per second, which no recording has") as caught:
        read_media(path)
    assert caught.value.kind == "undecodable"


def test_text_in_a_header_need_not_be_utf_8(tmp_path: Path) -> None:
    path = talk(tmp_path / "clip")
    data = path.read_bytes()
    assert data[16:20] == b"isom"  # the first of the compatible brands
    path.write_bytes(data[:16] + b"is\xe1m" + data[20:])
    assert len(read_media(path).frames) == N
