"""A clip as the files that other programs read, each written when it is first asked for."""

from __future__ import annotations

import wave
from functools import cached_property
from pathlib import Path

from syncdiff_bench.contracts import SAMPLE_RATE, Clip, Media
from syncdiff_bench.errors import ClipError

OUTPUT_NAME = "output.mp4"


class ClipFiles:
    """The files of one clip in a private folder. No dot in a name but before the extension: Wav2Lip stumbles over it.

    encoding: of `video`, one of `syncdiff_bench.media.writing.ENCODINGS`.
    """

    def __init__(self, clip: Clip, folder: Path, encoding: str = "lossless") -> None:
        self.clip = clip
        self.folder = folder
        self.encoding = encoding

    @cached_property
    def video(self) -> Path:
        """The whole clip as mp4: 25 fps, with its sound."""
        from syncdiff_bench.media.writing import write_video

        path = self.folder / "video.mp4"
        write_video(path, Media(self.clip.frames, self.clip.audio), encoding=self.encoding)
        return path

    @cached_property
    def audio(self) -> Path:
        """The sound as wav: 16 kHz, mono, 16 bit. Raises ClipError `no-audio`."""
        if not self.clip.audio.size:
            raise ClipError("no-audio", f"{self.clip.id}: has no audio track, and the program is to be given one")
        path = self.folder / "audio.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(self.clip.audio.astype("<i2").tobytes())
        return path

    @cached_property
    def reference(self) -> Path:
        """The first frame as PNG."""
        from PIL import Image

        path = self.folder / "reference.png"
        Image.fromarray(self.clip.frames[0]).save(path)
        return path

    @cached_property
    def output_folder(self) -> Path:
        """An empty folder for what the program makes."""
        path = self.folder / "output"
        path.mkdir()
        return path

    @property
    def output(self) -> Path:
        """`output_folder/output.mp4`, which the program is to write."""
        return self.output_folder / OUTPUT_NAME
