"""The base of every method that is another program."""

from __future__ import annotations

import subprocess
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames, Method, Runtime
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_methods.external.clip_files import ClipFiles
from syncdiff_methods.external.process import Command, ending, last_line, run_process
from syncdiff_methods.external.result import only_video, read_result


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

    @property
    def result_pattern(self) -> str:
        """Glob of the video, relative to `ClipFiles.output_folder`."""
        return "*.mp4"

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
            files = ClipFiles(clip, Path(name), self.video_encoding)
            command = self.command(files, seed)
            with self._logs(clip, files.folder) as (stdout, stderr):
                self._run(command, clip, stdout, stderr)
                video = only_video(files.output_folder, self.result_pattern, clip.id)
                if video is None:
                    raise self.explained(clip, stdout, stderr) or self._nothing_written(clip, stdout, stderr)
            return read_result(video, clip)

    def _run(self, command: Command, clip: Clip, stdout: Path, stderr: Path) -> None:
        try:
            status = run_process(command, stdout, stderr)
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

    def _nothing_written(self, clip: Clip, stdout: Path, stderr: Path) -> ClipError:
        said = self._said(stdout, stderr)
        message = f"{clip.id}: {self.name} ended well but wrote no {self.result_pattern}{said}"
        return ClipError("no-output", message)

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
        base = private if self.runtime.folder is None else self.runtime.folder / "logs"
        paths = base / f"{clip.id}.stdout.txt", base / f"{clip.id}.stderr.txt"
        paths[0].parent.mkdir(parents=True, exist_ok=True)
        try:
            yield paths
        finally:
            for path in paths:
                if path.is_file() and not path.stat().st_size:
                    path.unlink()
