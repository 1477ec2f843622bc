"""What the datasets on disk share: a video, a transcript beside it and, perhaps, a file of face boxes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from syncdiff_bench.contracts import Clip, Dataset, Finding, Spoken
from syncdiff_bench.errors import ClipError
from syncdiff_bench.views import with_boxes_of
from syncdiff_datasets.fingerprint import fingerprint_clips
from syncdiff_datasets.layout import contained
from syncdiff_datasets.transcripts import Transcript, read_transcript
from syncdiff_datasets.verification import Promise, check_clip


@dataclass(frozen=True)
class BoxOptions:
    """boxes: `centred`, a detector, or a folder of face boxes, `<clip id>.npy` (`syncdiff_bench.views`).

    By default those in `boxes/` at the top of the dataset, else detected ones.
    """

    boxes: str = ""


class DatasetOnDisk(Dataset):
    """Subclasses say where the dataset is, which ids a split has and which file an id means."""

    Options: ClassVar[type[Any]] = BoxOptions
    promise: ClassVar[Promise]

    @abstractmethod
    def locate(self) -> Path:
        """The top folder of the dataset. Raises UsageError where there is none."""

    @abstractmethod
    def media_path(self, clip_id: str) -> Path:
        """The video file of an id, there or not. Raises ClipError `outside` for a link out of the dataset."""

    @abstractmethod
    def speaker(self, clip_id: str) -> str | None:
        """What confidence intervals cluster on: the recording that the clip was cut from, if known."""

    @abstractmethod
    def check_split(self, split: str, ids: tuple[str, ...]) -> Iterator[Finding]:
        """Findings about the split as a whole: its count, leftovers."""

    @cached_property
    def home(self) -> Path:
        """What `locate` found, looked up once."""
        return self.locate()

    def clip(self, clip_id: str) -> Clip:
        path = self.media_path(clip_id)
        if not path.is_file():
            raise ClipError(
                "missing", f"{path}: listed, but there is no such file; copy it there or take it off the list"
            )
        transcript, problem = self._transcript(path)
        own = self._own_boxes(clip_id)
        clip = Clip(
            id=clip_id,
            dataset=self.name,
            path=path,
            transcript=None if transcript is None else transcript.text,
            speaker=self.speaker(clip_id),
            boxes_path=own if own is not None and own.is_file() else None,
            landmarks_path=self._landmarks_path(clip_id),
            spoken=self.spoken(clip_id, transcript),
            transcript_note=problem,
        )
        return with_boxes_of(clip, self.options.boxes)

    def spoken(self, clip_id: str, transcript: Transcript | None) -> tuple[Spoken, ...]:
        """Words of the transcript's table, where it has times."""
        return () if transcript is None else transcript.words

    def fingerprint(self, split: str) -> str:
        return fingerprint_clips((clip_id, self._files(clip_id)) for clip_id in self.clip_ids(split))

    def verify(self, split: str) -> Iterator[Finding]:
        ids = self.clip_ids(split)
        yield from self.check_split(split, ids)
        if not self._has_boxes and not self.options.boxes:
            yield Finding("note", str(self.home), "no boxes/ folder: face boxes are detected where they are needed")
        for clip_id in ids:
            yield from check_clip(partial(self.clip, clip_id), clip_id, self.promise)
            for boxes in self._files(clip_id)[2:]:
                if not boxes.is_file():
                    yield Finding("note", clip_id, f"no face boxes {boxes}; they are detected where they are needed")

    def _transcript(self, video: Path) -> tuple[Transcript | None, str]:
        """The transcript, and what is to be said about its file."""
        try:
            transcript = read_transcript(video.with_suffix(".txt"), plain=self.promise.plain)
        except ClipError as error:  # the pictures are none the worse for it
            return None, str(error)
        return transcript, transcript.encoding if transcript is not None and transcript.guessed else ""

    def _files(self, clip_id: str) -> list[Path]:
        try:
            path = self.media_path(clip_id)
            boxes = self._own_boxes(clip_id)
        except ClipError:
            return []
        return [path, path.with_suffix(".txt"), *([] if boxes is None else [boxes])]

    @cached_property
    def _has_boxes(self) -> bool:
        return (self.home / "boxes").is_dir()

    def _landmarks_path(self, clip_id: str) -> Path | None:
        """`landmarks/<clip id>.npy` at the top of the dataset, if it is there."""
        file = contained(self.home / "landmarks", f"{clip_id}.npy")
        return file if file.is_file() else None

    def _own_boxes(self, clip_id: str) -> Path | None:
        """`boxes/<clip id>.npy` at the top of the dataset, there or not; None where there is no such folder."""
        return contained(self.home / "boxes", f"{clip_id}.npy") if self._has_boxes else None
