"""The base of every method that is another program: a clip as files, one process, the video that it leaves behind."""

from __future__ import annotations

import subprocess
import time
import wave
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import SAMPLE_RATE, SAMPLES_PER_FRAME, Audio, Clip, Frames, Media, Method, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.fitting import LENGTH, read_fitted
from syncdiff_bench.media.writing import write_video
from syncdiff_methods.external.process import OUTPUT_NAME, Command, ending, last_line, run_process


class ClipFiles:
    """The files of one clip in a private folder. No dot in a name but before the extension: Wav2Lip stumbles over it.

    encoding: of `video`, one of `syncdiff_bench.media.writing.ENCODINGS`.
    audio_padding: seconds of silence at the end of the audio, of `video` too. video_padding: how often the last frame
        is repeated.
    """

    def __init__(
        self,
        clip: Clip,
        folder: Path,
        encoding: str = "lossless",
        *,
        audio_padding: float = 0.0,
        video_padding: int = 0,
    ) -> None:
        self.clip = clip
        self.folder = folder
        self.encoding = encoding
        self.audio_padding = audio_padding
        self.video_padding = video_padding

    @cached_property
    def video(self) -> Path:
        """The whole clip as mp4: 25 fps, with its audio."""
        path = self.folder / "video.mp4"
        frames = self.clip.frames
        if self.video_padding:
            frames = np.concatenate([frames, np.repeat(frames[-1:], self.video_padding, axis=0)])
        audio = self._samples[: len(frames) * SAMPLES_PER_FRAME]
        write_video(path, Media(frames, audio), encoding=self.encoding)
        return path

    @cached_property
    def _samples(self) -> Audio:
        audio = self.clip.audio
        if not audio.size or not self.audio_padding:
            return audio
        return np.concatenate([audio, np.zeros(round(self.audio_padding * SAMPLE_RATE), audio.dtype)])

    @cached_property
    def audio(self) -> Path:
        """The audio as wav: 16 kHz, mono, 16 bit. Raises ClipError `no-audio`."""
        if not self.clip.audio.size:
            raise ClipError("no-audio", f"{self.clip.id}: has no audio track, and the program is to be given one")
        path = self.folder / "audio.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(self._samples.astype("<i2").tobytes())
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


class ProgramMethod(Method):
    """One process per clip. What it prints is kept in the run, below `logs/`.

    A program that hangs, dies, or leaves anything but one readable video that fits (`media.fitting.read_fitted`) fails
    that clip alone.
    """

    video_encoding = "lossless"

    def __init__(self, options: Any = None, runtime: Runtime | None = None) -> None:
        super().__init__(options, runtime)
        self._caveats: dict[str, tuple[Caveat, ...]] = {}
        self._checked = False

    @abstractmethod
    def check(self) -> None:
        """Raises UsageError listing all that the program lacks. Called once, before the first clip."""

    @abstractmethod
    def command(self, files: ClipFiles, seed: int) -> Command:
        """How to start the program on one clip."""

    def commands(self, files: ClipFiles, seed: int) -> Sequence[Command]:
        """All that is started on one clip, one after the other, within the time of the last one."""
        return (self.command(files, seed),)

    def files_of(self, clip: Clip, folder: Path) -> ClipFiles:
        """The clip as the program is to see it."""
        return ClipFiles(clip, folder, self.video_encoding)

    @property
    def result_pattern(self) -> str:
        """Glob of the video, relative to `result_folder`."""
        return "*.mp4"

    def result_folder(self, files: ClipFiles) -> Path:
        """Where the video is looked for."""
        return files.output_folder

    def read_result(self, path: Path, clip: Clip) -> tuple[Frames, tuple[Caveat, ...]]:
        """See `read_result`."""
        return read_result(path, clip)

    def explained(self, clip: Clip, stdout: Path, stderr: Path) -> ClipError | None:
        """What the program said instead of writing a video, where its words are known."""
        del clip, stdout, stderr
        return None

    def caveats(self, clip_id: str) -> tuple[Caveat, ...]:
        return self._caveats.get(clip_id, ())

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        """See `Method.generate`. Raises UsageError as `check` does, and where the program does not start."""
        if not self._checked:
            self.check()
            self._checked = True
        for clip in clips:
            try:
                frames, self._caveats[clip.id] = self._made(clip, seed)
            except ClipError as error:
                yield clip.id, error
                continue
            progress(len(frames))
            yield clip.id, frames

    def _made(self, clip: Clip, seed: int) -> tuple[Frames, tuple[Caveat, ...]]:
        with TemporaryDirectory(prefix="syncdiff_bench_", ignore_cleanup_errors=True) as name:
            files = self.files_of(clip, Path(name))
            commands = self.commands(files, seed)
            started = time.monotonic()
            with self._logs(clip, files.folder) as (stdout, stderr):
                for command in commands:
                    used = time.monotonic() - started if command is not commands[0] else 0.0
                    self._run(command, command.timeout - used, clip, stdout, stderr)
                video = only_video(self.result_folder(files), self.result_pattern, clip.id)
                if video is None:
                    message = f"{clip.id}: {self.name} ended well but wrote no {self.result_pattern}"
                    raise self.explained(clip, stdout, stderr) or ClipError(
                        "no-output", message + self._said(stdout, stderr)
                    )
            return self.read_result(video, clip)

    def _run(self, command: Command, seconds: float, clip: Clip, stdout: Path, stderr: Path) -> None:
        try:
            status = run_process(replace(command, timeout=max(seconds, 0.0)), stdout, stderr)
        except subprocess.TimeoutExpired:
            said = self._said(stderr, stdout)
            message = f"{clip.id}: {self.name} was stopped after {command.timeout:g} s{said}; allow it more time"
            raise ClipError("timeout", message) from None
        except (OSError, ValueError) as error:
            raise UsageError(f"{self.name}: {command.argv[0]} does not start ({error}); correct the command") from None
        if status:
            raise self.explained(clip, stdout, stderr) or ClipError(
                "exit-status", f"{clip.id}: {self.name} {ending(status)}{self._said(stderr, stdout)}"
            )

    def _said(self, *logs: Path) -> str:
        """The last line of the first log that has one, and where the rest is kept."""
        for log in logs:
            line = last_line(log)
            if line:
                kept = f"; all of it in {log}" if self.runtime.folder is not None else ""
                return f" ({line}{kept})"
        return ""

    @contextmanager
    def _logs(self, clip: Clip, private: Path) -> Iterator[tuple[Path, Path]]:
        """Files for stdout and stderr: in the run where there is one, else in the private folder; empty ones go."""
        base = (private if self.runtime.folder is None else self.runtime.folder) / "logs"
        paths = base / f"{clip.id}.stdout.txt", base / f"{clip.id}.stderr.txt"
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_bytes(b"")
        try:
            yield paths
        finally:
            for path in paths:
                if path.is_file() and not path.stat().st_size:
                    path.unlink()


def only_video(folder: Path, pattern: str, clip_id: str) -> Path | None:
    """The file that matches, None where none does. Raises ClipError `two-outputs` for several."""
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
    if len(found) > 1:
        names = ", ".join(path.relative_to(folder).as_posix() for path in found[:4])
        raise ClipError("two-outputs", f"{clip_id}: {len(found)} videos came out ({names}), expected one {pattern}")
    return found[0] if found else None


def read_result(
    path: Path,
    clip: Clip,
    *,
    spare: int = 0,
    stretched: bool = False,
    part: Callable[[Frames], Frames] | None = None,
) -> tuple[Frames, tuple[Caveat, ...]]:
    """Frames that fit the clip, and what a reader should know of how they were made to.

    spare, stretched, part: see `media.fitting.read_fitted`.
    Raises ClipError of the kinds of `media.fitting.read_fitted`.
    """
    try:
        # As the program saw it, at 25 frames per second: it is told nothing of how many frames the file has.
        shown = replace(clip, audio_from=None, preloaded=replace(clip.media, source_frames=None, source_rate=None))
        media = read_fitted(path, shown, spare=spare, stretched=stretched, part=part)
    except ClipError as error:
        # The file is gone once this is read.
        told = str(error).replace(str(path), path.name)
        does_not = "does not fit" if error.kind in (LENGTH, "size") else "cannot be read"
        raise ClipError(error.kind, f"{clip.id}: what came out {does_not} ({told})") from None
    return media.frames, tuple(replace(one, detail=f"output: {one.detail}") for one in media.caveats)
