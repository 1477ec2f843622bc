"""The JPEG stage of the official LSE script: frames pass through FFmpeg's MJPEG encoder and back.

The official script dumps frames with `ffmpeg -i V -threads 1 -f image2 %06d.jpg` and gives no quality, hence
the encoder holds 200 kb/s: frame 1 is fine, and quality falls until quantiser 25. That loss is part of the
metric (docs/spec/lse.md#pictures). `mjpeg_round_trip` does it in memory with PyAV's libavcodec, whose version the wheel
pins, on the planes that ffmpeg 5.1 would hand it (`full_range`): the result is that of ffmpeg 5.1, pixel for pixel.
`dumped` runs an ffmpeg program on the file, as the script does; the result moves with the version of that program.
"""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Audio, Media, Subsampling
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.media.reading import probe

if TYPE_CHECKING:
    import av
    from av.video.codeccontext import VideoCodecContext

Picture = NDArray[np.uint8]  # (H, W, 3)
Plane = NDArray[np.uint8]  # (H, W)

# JFIF: full-range ITU-R BT.601, rows Y, Cb, Cr of R, G, B
_TO_YCBCR = np.array(
    [[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]], dtype=np.float32
)
_FRAME_RATE = Fraction(25)
_BIT_RATE = 200_000


class FullRange(NamedTuple):
    """One picture as JPEG codes it: Y, Cb and Cr in 0..255, chroma as large as `subsampling` says (see `Planes`)."""

    luma: Plane
    blue: Plane
    red: Plane
    subsampling: Subsampling


def mjpeg_round_trip(media: Media) -> Iterator[Picture]:
    """The pictures of a clip, (H, W, 3) uint8, as `cv2.imread` would find them in ffmpeg's dump: one by one, in BGR.

    The rate control remembers what came before and never looks ahead, so the iterator may be left early.
    """
    header = media.planes is None or media.planes.pixel_aspect is not None
    return (decode_jpeg(data) for data in encode_mjpeg(full_range(media), jfif=header))


def full_range(media: Media) -> Iterator[FullRange]:
    """The planes that ffmpeg 5.1 would hand its MJPEG encoder, one picture after the other.

    Those of the file, where the clip has them: 4:4:4 stays 4:4:4, as in the official script. From RGB they are
    made as 4:2:0, because that is what the systems of the field write their videos in.
    """
    planes = media.planes
    if planes is None:
        for rgb in media.frames:
            luma, blue, red = studio_420(restore_swscale_loss(rgb))
            yield FullRange(_FULL_LUMA[luma], _FULL_CHROMA[blue], _FULL_CHROMA[red], "420")
        return
    for luma, blue, red in zip(planes.luma, planes.blue, planes.red, strict=True):
        if planes.full_range:
            yield FullRange(luma, blue, red, planes.subsampling)
        else:
            yield FullRange(_FULL_LUMA[luma], _FULL_CHROMA[blue], _FULL_CHROMA[red], planes.subsampling)


def encode_mjpeg(pictures: Iterable[FullRange], *, jfif: bool = True) -> Iterator[bytes]:
    """One JPEG file per picture, with the settings that ffmpeg's command line leaves at their defaults.

    pictures: all of one size and subsampling, from the first of the clip on.
    jfif: whether the files have a JFIF header, whose 18 bytes the rate control counts. FFmpeg writes it where a
        video states the shape of its pixels, as those of LRS2 and LRS3 and of Wav2Lip and TalkLip do.
    """
    encoder: VideoCodecContext | None = None
    for index, picture in enumerate(pictures):
        encoder = _encoder(picture, jfif) if encoder is None else encoder
        frame = _video_frame(picture)
        frame.pts, frame.time_base = index, 1 / _FRAME_RATE
        yield from map(bytes, encoder.encode(frame))
    if encoder is not None:
        yield from map(bytes, encoder.encode(None))


def decode_jpeg(data: bytes) -> Picture:
    """(H, W, 3) uint8 BGR of a JPEG file; libjpeg-turbo with its defaults, as in `cv2.imread`."""
    from PIL import Image

    return np.asarray(Image.open(BytesIO(data)).convert("RGB"))[..., ::-1]


def libav_version() -> str:
    """The PyAV and libavcodec behind `encode_mjpeg` ("PyAV 18.1.0, libavcodec 62.28.102")."""
    import av

    codec = ".".join(map(str, av.library_versions["libavcodec"]))
    return f"PyAV {av.__version__}, libavcodec {codec}"


def _encoder(picture: FullRange, jfif: bool) -> VideoCodecContext:
    from av import CodecContext

    encoder: VideoCodecContext = CodecContext.create("mjpeg", "w")
    encoder.height, encoder.width = picture.luma.shape
    encoder.pix_fmt = f"yuvj{picture.subsampling}p"
    encoder.framerate, encoder.time_base = _FRAME_RATE, 1 / _FRAME_RATE
    encoder.bit_rate, encoder.qmin, encoder.qmax = _BIT_RATE, 2, 31
    if jfif:
        encoder.sample_aspect_ratio = Fraction(1)
    encoder.thread_count = 1
    return encoder


def _video_frame(picture: FullRange) -> av.VideoFrame:
    from av import VideoFrame

    height, width = picture.luma.shape
    frame = VideoFrame(width, height, f"yuvj{picture.subsampling}p")
    for plane, values in zip(frame.planes, picture[:3], strict=True):
        buffer = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)
        buffer[:, : plane.width] = values
    return frame


# ------------------------------------------------------------------------------------------ the planes


def _stretched(limit: int, factor: int, offset: int, shift: int) -> NDArray[np.uint8]:
    """(256,) uint8: where swscale of ffmpeg 5.1 moves each studio value, in its 15-bit fixed point."""
    wide = np.minimum(np.arange(256) << 7, limit)
    full = (((wide * factor - offset) >> shift) + 64) >> 7
    return np.asarray(np.clip(full, 0, 255), dtype=np.uint8)


_FULL_LUMA = _stretched(30_189, 19_077, 39_057_361, 14)  # of 16..235
# of 16..240; libswscale 9 puts more than a third of them one lower
_FULL_CHROMA = _stretched(30_775, 4_663, 9_289_992, 12)


def restore_swscale_loss(rgb: Picture) -> NDArray[np.float32]:
    """(H, W, 3) float32: the RGB that a file's YUV stood for, from the RGB that swscale made of it.

    Quirk: swscale's 8-bit YUV to RGB rounds down each product it sums, two for red and blue, three for green,
    so that decoded frames are darker than their YUV by half a grey level per product (measured: 0.98, 1.47 and
    1.02). The official script never leaves YUV on the way to JPEG, hence its frames are brighter than decoded
    ones. What RGB cuts off below 0 and above 255 stays lost.
    """
    rows = rgb.reshape(len(rgb), -1)  # long ones, which numpy adds faster than three values at a time
    lost = np.tile(np.array([1.0, 1.5, 1.0], dtype=np.float32), rgb.shape[1])
    return np.add(rows, lost, dtype=np.float32).reshape(rgb.shape)


def studio_420(rgb: NDArray[np.float32]) -> tuple[Plane, Plane, Plane]:
    """The planes of a video file: Y (H, W) in 16..235, Cb and Cr (ceil(H / 2), ceil(W / 2)) in 16..240, uint8.

    rgb: (H, W, 3) float32, 0..255 or slightly beyond.
    Chroma is the mean of 2 x 2 pixels, which undoes the doubling by which swscale turned 4:2:0 into RGB: for most
    pixels this gives back the very byte of the file.
    """
    height, width = rgb.shape[:2]
    ycbcr = (_TO_YCBCR @ rgb.reshape(-1, 3).T).reshape(3, height, width)
    chroma = np.pad(ycbcr[1:], ((0, 0), (0, height % 2), (0, width % 2)), mode="edge")
    chroma = (chroma[:, ::2, ::2] + chroma[:, 1::2, ::2] + chroma[:, ::2, 1::2] + chroma[:, 1::2, 1::2]) / 4
    luma, chroma = ycbcr[0] * (219 / 255) + 16, chroma * (224 / 255) + 128
    return _to_bytes(luma), _to_bytes(chroma[0]), _to_bytes(chroma[1])


def _to_bytes(plane: NDArray[Any]) -> Plane:
    return np.asarray(np.clip(np.rint(plane), 0, 255), dtype=np.uint8)


# ----------------------------------------------------------------------------------- the ffmpeg program


# `-async 1`, as ffmpeg 5 forwards it; later versions know the filter only.
_ALIGNED = "aresample=async=1:min_hard_comp=0.100000:first_pts=0"


@contextmanager
def dumped(video: Path, program: str) -> Iterator[tuple[list[Path], Audio]]:
    """A JPEG file per frame, in order, in a folder that lives as long as the block; and (N,) int16 mono 16 kHz audio.

    program: name or path of ffmpeg.
    Raises ClipError: `no-audio`, or what is wrong with the file (`missing`, `empty`, `truncated`, `no-video`,
    `undecodable`); NotApplicable where the program does not start.
    """
    with TemporaryDirectory(prefix="syncdiff-bench-lse-") as name:
        folder = Path(name)
        complaint = _call(program, video, folder, "-threads", "1", "-f", "image2", "%06d.jpg")
        jpegs = sorted(folder.glob("*.jpg"))
        if not jpegs:
            raise _no_frames(video, complaint)
        audio = ("-af", _ALIGNED, "-ac", "1", "-vn", "-acodec", "pcm_s16le", "-ar", "16000", "audio.wav")
        _call(program, video, folder, *audio)
        if not (folder / "audio.wav").is_file():
            raise ClipError("no-audio", f"{video}: has no audio track that ffmpeg can read; lse needs speech")
        with wave.open(str(folder / "audio.wav"), "rb") as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.int16)
        yield jpegs, samples


def program_version(program: str) -> str:
    """First words of `PROGRAM -version` ("ffmpeg version 5.1.9-0+deb12u1").

    Raises NotApplicable where the program does not start.
    """
    first_line = _run([program, "-version"]).stdout.partition("\n")[0]
    return first_line.partition(" Copyright")[0]


def _call(program: str, video: Path, folder: Path, *output: str) -> str:
    """Run one command inside `folder`; its last line of complaint, which the official script ignores too."""
    # `file:` and the whitelist keep a name or a playlist from reaching the network; running inside the folder
    # keeps a % in its name out of the pattern of the frames
    source = ("-protocol_whitelist", "file", "-i", f"file:{video.absolute()}")
    command = [program, "-nostdin", "-loglevel", "error", "-y", *source, *output]
    return _run(command, folder).stderr.strip().rpartition("\n")[2]


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise NotApplicable(
            f"ffmpeg program {command[0]!r} does not start ({error.strerror}); install ffmpeg, "
            "name it with lse.ffmpeg=PATH, or use frames=jpeg"
        ) from None


def _no_frames(video: Path, complaint: str) -> ClipError:
    try:
        probe(video)
    except ClipError as error:
        return error
    return ClipError("undecodable", f"{video}: ffmpeg wrote no frames ({complaint}); replace the file")
