import csv
import hashlib
from collections.abc import Iterator
from pathlib import Path

from syncdiff_bench.contracts import Clip, Dataset, Finding
from syncdiff_bench.errors import ClipError, UsageError


class Listed(Dataset):
    """clips.csv with the columns split, video, speaker, transcript; videos beside it."""

    name = "listed"

    def splits(self) -> tuple[str, ...]:
        return tuple(sorted({row["split"] for row in self._rows()}))

    def clip_ids(self, split: str) -> tuple[str, ...]:
        found = tuple(Path(row["video"]).with_suffix("").as_posix() for row in self._rows() if row["split"] == split)
        if not found:
            raise UsageError(f"{self.root}/clips.csv has no split {split!r}; it has {', '.join(self.splits())}")
        return found

    def clip(self, clip_id: str) -> Clip:
        """Cheap: the file is decoded when its frames are first asked for."""
        row = next((row for row in self._rows() if Path(row["video"]).with_suffix("").as_posix() == clip_id), None)
        path = None if row is None else self._root() / row["video"]
        if row is None or path is None or not path.resolve().is_relative_to(self._root()) or not path.is_file():
            raise ClipError("missing", f"{clip_id}: no such video in {self.root}; mend clips.csv")
        return Clip(clip_id, self.name, path, row["transcript"].lower() or None, row["speaker"])

    def fingerprint(self, split: str) -> str:
        sizes = (f"{clip_id} {self.clip(clip_id).path.stat().st_size}\n" for clip_id in self.clip_ids(split))
        return hashlib.sha256("".join(sizes).encode()).hexdigest()

    def verify(self, split: str) -> Iterator[Finding]:
        for clip_id in self.clip_ids(split):
            try:
                yield Finding("ok", clip_id, f"{len(self.clip(clip_id).frames)} frames")
            except ClipError as error:
                yield Finding("error", clip_id, str(error))

    def _root(self) -> Path:
        if self.root is None:
            raise UsageError("listed needs its folder: --data-root DIR")
        return self.root.resolve()

    def _rows(self) -> list[dict[str, str]]:
        try:
            with (self._root() / "clips.csv").open(encoding="utf-8", newline="") as file:
                return list(csv.DictReader(file))
        except OSError as error:
            raise UsageError(f"{self.root}/clips.csv cannot be read ({error.strerror})") from None
