"""The official way from a video file to JPEG frames and a wav: an ffmpeg program (docs/spec/lse.md#pictures).

The result moves with the version of that program, hence the version belongs to every result.
"""

from __future__ import annotations

import subprocess
import wave
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from syncdiff_bench.contracts import Audio
from syncdiff_bench.errors import ClipError, NotApplicable

# `-async 1`, as ffmpeg 5 forwards it; later versions know the filter only.
_ALIGNED = "aresample=async=1:min_hard_comp=0.100000:first_pts=0"


@dataclass(frozen=True, eq=False)
class Dump:
    """jpegs: one file per frame, in order. audio: (N,) int16 mono 16 kHz, as long as ffmpeg makes it."""

    jpegs: tuple[Path, ...]
    audio: Audio


@contextmanager
def dumped(video: Path, program: str) -> Iterator[Dump]:
    """Frames and audio of a file in a private folder that lives as long as the block.

    program: name or path of ffmpeg.
    Raises ClipError: `no-audio`, or what is wrong with the file (`missing`, `empty`, `truncated`, `no-video`,
    `undecodable`); NotApplicable where the program does not start.
    """
    with TemporaryDirectory(prefix="syncdiff-bench-lse-") as name:
        folder = Path(name)
        complaint = _call(program, video, folder, "-threads", "1", "-f", "image2", "%06d.jpg")
        jpegs = tuple(sorted(folder.glob("*.jpg")))
        if not jpegs:
            raise _no_frames(video, complaint)
        sound = ("-af", _ALIGNED, "-ac", "1", "-vn", "-acodec", "pcm_s16le", "-ar", "16000", "audio.wav")
        _call(program, video, folder, *sound)
        if not (folder / "audio.wav").is_file():
            raise ClipError("no-audio", f"{video}: has no audio track that ffmpeg can read; lse needs speech")
        yield Dump(jpegs, _read_wav(folder / "audio.wav"))


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
    from syncdiff_bench.media.reading import probe

    try:
        probe(video)
    except ClipError as error:
        return error
    return ClipError("undecodable", f"{video}: ffmpeg wrote no frames ({complaint}); replace the file")


def _read_wav(path: Path) -> Audio:
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), dtype="<i2").astype(np.int16)
