"""`lse` against the official script on pocket's clips and on awkward files of their pictures: file in, score out.

How the official numbers were made: tests/data/official/README.md. The awkward files are coded without loss, so that
every encoder's file decodes to the same pictures and samples.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_networks import filled_syncnet

import syncdiff_datasets
from syncdiff_bench.contracts import Clip, Pair
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.reading import read_media
from syncdiff_metrics.jpeg_stage import mjpeg_round_trip
from syncdiff_metrics.lse import LSE, LSEOptions, LSEStats

POCKET = Path(syncdiff_datasets.__file__).parent / "pocket" / "data" / "mvlrs_v1" / "main"
OFFICIAL = json.loads((Path(__file__).parents[1] / "data" / "official" / "lse.json").read_text(encoding="utf-8"))
SHIPPED = [f"30000000000000000{clip}" for clip in ("03/00002", "05/00001", "06/00002", "08/00002", "11/00001")]


# ------------------------------------------------------------------------------------------- awkward files


@dataclass(frozen=True)
class Awkward:
    """A file of the first pictures of a clip of pocket: which of them it holds, how long its sound is.

    frames: how many pictures; gaps: every seventh is left out, and the others keep their times.
    pixels: changes the planes of a picture; late: the pictures start so many frames after the sound.
    samples: of sound; None for as many as the pictures last; stereo: at 44.1 kHz in two channels.
    """

    clip: str
    frames: int = 20
    rate: int = 25
    gaps: bool = False
    pix_fmt: str = "yuv420p"
    pixels: Callable[[list[NDArray[np.uint8]]], Sequence[NDArray[np.uint8]]] = list
    late: int = 0
    samples: int | None = None
    silent: bool = False
    stereo: bool = False


def odd_444(planes: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """95 x 87 pixels with a colour each."""
    luma, *chroma = planes
    return [plane[40:127, 30:125] for plane in (luma, *(c.repeat(2, 0).repeat(2, 1) for c in chroma))]


def wide(planes: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """160 x 96: the rows of the mouth."""
    return [plane[len(plane) * 2 // 5 :] for plane in planes]


def bright(planes: list[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
    """Values beyond the 16 to 235 of video."""
    return [np.clip(planes[0].astype(int) * 2 - 110, 0, 255).astype(np.uint8), *planes[1:]]


AWKWARD = {
    "sound_goes_on": Awkward(SHIPPED[0], frames=15, samples=32_000),
    "sound_ends_early": Awkward(SHIPPED[1], frames=40, samples=10_000),
    "one_window": Awkward(SHIPPED[2], frames=6, samples=20_000),
    "late_pictures": Awkward(SHIPPED[3], frames=14, late=6, samples=12_800),
    "missing_pictures": Awkward(SHIPPED[4], frames=22, gaps=True),
    "odd_size_444": Awkward(SHIPPED[0], pix_fmt="yuv444p", pixels=odd_444),
    "wide": Awkward(SHIPPED[1], pixels=wide),
    "beyond_video_range": Awkward(SHIPPED[2], pixels=bright),
    "thirty_a_second": Awkward(SHIPPED[3], frames=24, rate=30),
    "silence": Awkward(SHIPPED[4], silent=True),
    "stereo_44100": Awkward(SHIPPED[0], stereo=True),
}
FAILING = {
    "five_pictures": (Awkward(SHIPPED[1], frames=5, samples=20_000), "too-short"),
    "little_sound": (Awkward(SHIPPED[2], samples=3_000), "too-short"),
    "no_sound": (Awkward(SHIPPED[3], samples=0), "no-audio"),
}


def clip_sound(made: Awkward, count: int) -> NDArray[np.int16]:
    """`count` samples of tones and noise that depend on the clip alone: a decoder of AAC may round them otherwise."""
    t, seed = np.arange(count) / 16_000, int(made.clip[:19]) % 1000
    tones = np.sin(2 * np.pi * (180 + seed) * t) * np.sin(2 * np.pi * 3 * t) ** 2
    noise = np.random.RandomState(seed).standard_normal(count)
    return np.zeros(count, np.int16) if made.silent else np.round(7000 * tones + 900 * noise).astype(np.int16)


def write_awkward(made: Awkward, path: Path) -> Path:
    """The pictures as H.264 without loss, the sound as PCM, in a file that has a time for each picture."""
    with av.open(str(POCKET / f"{made.clip}.mp4")) as source:
        pictures = [frame for frame, _ in zip(source.decode(video=0), range(made.frames), strict=False)]
    planes = [made.pixels(planes_of(picture)) for picture in pictures]
    samples = made.frames * 16_000 // made.rate if made.samples is None else made.samples
    sound = clip_sound(made, samples)
    with av.open(str(path), "w") as file:
        video = file.add_stream("libx264", rate=made.rate, options={"qp": "0", "bf": "0", "g": "1"})
        video.height, video.width, video.pix_fmt = *planes[0][0].shape, made.pix_fmt
        video.codec_context.thread_count = 1
        audio = None
        if samples:
            rate, layout = (44_100, "stereo") if made.stereo else (16_000, "mono")
            audio = file.add_stream("pcm_s16le", rate=rate, layout=layout)
        for number, parts in enumerate(planes):
            if made.gaps and number % 7 == 3:
                continue
            frame = picture_of(parts, made.pix_fmt)
            frame.pts, frame.time_base = number + made.late, Fraction(1, made.rate)
            file.mux(video.encode(frame))
        file.mux(video.encode(None))
        if audio is not None:
            heard = sound[:, None]
            if made.stereo:
                at = np.arange(samples * 441 // 160)[:, None]
                heard = sound[at[:, 0] * 160 // 441][:, None] // np.array([1, 2], np.int16)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(heard).reshape(1, -1), "s16", audio.layout.name)
            frame.sample_rate, frame.pts = audio.rate, 0
            file.mux(audio.encode(frame))
            file.mux(audio.encode(None))
    return path


def planes_of(picture: Any) -> list[NDArray[np.uint8]]:
    return [
        np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width].copy()
        for plane in picture.planes
    ]


def picture_of(parts: Sequence[NDArray[np.uint8]], pix_fmt: str) -> Any:
    frame = av.VideoFrame(parts[0].shape[1], parts[0].shape[0], pix_fmt)
    for plane, part in zip(frame.planes, parts, strict=True):
        padded = np.zeros((plane.height, plane.line_size), np.uint8)
        padded[:, : plane.width] = part
        plane.update(padded.tobytes())
    return frame


# ----------------------------------------------------------------------------------------------- the scores


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The filled network in the official file layout."""
    file = tmp_path_factory.mktemp("syncnet") / "syncnet_filled.model"
    torch.save(filled_syncnet(shift=100), file, _use_new_zipfile_serialization=False)
    return str(file)


@pytest.fixture(scope="module")
def metrics(weights: str) -> dict[str, LSE]:
    """`jpeg` is the official way; `direct` is the official script with OpenCV's frames in place of ffmpeg's JPEGs."""
    return {frames: LSE(LSEOptions(frames=frames, weights=weights)) for frames in ("jpeg", "direct")}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Clip]:
    folder = tmp_path_factory.mktemp("awkward")

    def opened(name: str) -> Clip:
        if name in SHIPPED:
            return Clip(name, "pocket", POCKET / f"{name}.mp4")
        path = folder / f"{name}.mov"
        if not path.exists():
            write_awkward(AWKWARD[name] if name in AWKWARD else FAILING[name][0], path)
        # the official script pairs whatever frame rate with 25-fps sound; the harness would bring it to 25
        return Clip(name, "awkward", path, preloaded=read_media(path, fps=None) if name in OTHER_RATE else None)

    return opened


OTHER_RATE = {"thirty_a_second"}  # ffmpeg gives each of its JPEGs fewer bytes: so many a second
OTHER_FRAMES = {"late_pictures", "missing_pictures"}  # OpenCV, behind `direct`, neither repeats nor delays a picture
CASES = [
    *((name, "jpeg") for name in (*SHIPPED, *AWKWARD)),
    *((name, "direct") for name in (*SHIPPED, *AWKWARD) if name not in OTHER_FRAMES),
]
# two seconds each, and no other kind than their neighbours
LONG = {(SHIPPED[0], "jpeg"), (SHIPPED[4], "jpeg"), *((name, "direct") for name in (*SHIPPED[:2], *SHIPPED[3:]))}


def official(name: str, frames: str) -> dict[str, Any]:
    values: dict[str, Any] = OFFICIAL[f"{name}|{frames}"]
    return values


def assert_close(stats: LSEStats, expected: dict[str, Any], *, lse_c: float, lse_d: float) -> None:
    """Relative tolerances; LSE-C also to two steps of float32 at LSE-D, finer than which nobody counts."""
    steps = 2 * float(np.spacing(np.float32(expected["lse_d"])))
    assert (stats.windows, stats.offset) == (expected["windows"], expected["offset"])
    assert stats.lse_d == pytest.approx(expected["lse_d"], rel=lse_d)
    assert stats.lse_c == pytest.approx(expected["lse_c"], rel=lse_c, abs=steps)
    np.testing.assert_allclose(stats.shift_means, expected["shift_means"], rtol=lse_d)


@pytest.mark.parametrize(
    ("name", "frames"), [pytest.param(*case, marks=[pytest.mark.slow] if case in LONG else []) for case in CASES]
)
def test_scores_equal_those_of_the_official_script(
    name: str, frames: str, metrics: dict[str, LSE], clip: Callable[[str], Clip]
) -> None:
    stats = metrics[frames].measure(Pair(clip(name)))
    assert isinstance(stats, LSEStats)
    if frames == "direct":
        assert_close(stats, official(name, frames), lse_c=5e-6, lse_d=1e-6)
    elif name in OTHER_RATE:
        assert_close(stats, official(name, frames), lse_c=1e-3, lse_d=2e-3)
    else:
        # this libavcodec packs one JPEG in fifty some bytes tighter, which moves the quantiser of that picture
        assert_close(stats, official(name, frames), lse_c=3e-4, lse_d=1.5e-4)


@pytest.mark.parametrize(("name", "frames"), CASES)
def test_the_network_sees_the_official_pixels(name: str, frames: str, clip: Callable[[str], Clip]) -> None:
    """Checksums of BGR pictures: all equal, but for a JPEG that was coded otherwise."""
    media = clip(name).media
    pictures = mjpeg_round_trip(media) if frames == "jpeg" else (frame[..., ::-1] for frame in media.frames)
    ours = [zlib.crc32(np.ascontiguousarray(picture).tobytes()) for picture in pictures]
    expected = official(name, frames)["frame_crc32"]
    assert len(ours) == len(expected)
    other = sum(mine != theirs for mine, theirs in zip(ours, expected, strict=True))
    if frames == "direct":
        assert other == 0
    elif name not in OTHER_RATE:
        assert other <= 0.06 * len(ours)


@pytest.mark.parametrize("name", [name for name, made in AWKWARD.items() if not made.stereo])
def test_the_network_hears_the_official_samples(name: str, clip: Callable[[str], Clip]) -> None:
    """PCM at 16 kHz, so nothing is rounded; what lasts longer than the pictures is cut here, and unheard there."""
    expected = official(name, "jpeg")
    made, audio = AWKWARD[name], clip(name).audio
    whole = clip_sound(made, expected["samples"])
    assert hashlib.sha256(whole.tobytes()).hexdigest() == expected["wav_sha256"]
    np.testing.assert_array_equal(audio, whole[: len(audio)])
    assert len(audio) == min(expected["samples"], 640 * len(clip(name).frames))


@pytest.mark.parametrize("name", FAILING)
def test_a_clip_fails_alone_where_the_official_script_dies(
    name: str, metrics: dict[str, LSE], clip: Callable[[str], Clip]
) -> None:
    assert set(official(name, "jpeg")) == {"error"}
    with pytest.raises(ClipError, match=name) as caught:
        metrics["jpeg"].measure(Pair(clip(name)))
    assert caught.value.kind == FAILING[name][1]


def test_a_methods_frames_score_nearly_as_those_of_the_file(
    metrics: dict[str, LSE], clip: Callable[[str], Clip]
) -> None:
    """A method gives RGB: the file's own YCbCr is gone, and is made again."""
    given = clip(SHIPPED[1])
    stats = metrics["jpeg"].measure(Pair(replace(given, preloaded=replace(given.media, planes=None))))
    assert isinstance(stats, LSEStats)
    assert_close(stats, official(SHIPPED[1], "jpeg"), lse_c=0.02, lse_d=1e-3)
