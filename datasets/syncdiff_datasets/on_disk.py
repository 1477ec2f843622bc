"""What the datasets on disk share: a video, a transcript beside it and, perhaps, a file of face boxes."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

from syncdiff_bench.contracts import Clip, Dataset, Finding, Spoken
from syncdiff_bench.detection.cache import prepared_boxes
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_datasets.fingerprint import fingerprint_clips
from syncdiff_datasets.layout import contained
from syncdiff_datasets.transcripts import Transcript, read_transcript
from syncdiff_datasets.verification import Promise, check_clip


@dataclass(frozen=True)
class BoxOptions:
    """boxes: folder of face boxes, `<clip id>.npy`; by default `boxes/` at the top of the dataset, if any.

    A clip without such a file has the boxes of `syncdiff-bench prepare faces`, if any.
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
        boxes = self._boxes_path(clip_id, path)
        return Clip(
            id=clip_id,
            dataset=self.name,
            path=path,
            transcript=None if transcript is None else transcript.text,
            speaker=self.speaker(clip_id),
            boxes_path=boxes if boxes is not None and boxes.is_file() else None,
            landmarks_path=self._landmarks_path(clip_id),
            spoken=self.spoken(clip_id, transcript),
            transcript_note=problem,
        )

    def spoken(self, clip_id: str, transcript: Transcript | None) -> tuple[Spoken, ...]:
        """Words of the transcript's table, where it has times."""
        return () if transcript is None else transcript.words

    def fingerprint(self, split: str) -> str:
        return fingerprint_clips((clip_id, self._files(clip_id)) for clip_id in self.clip_ids(split))

    def verify(self, split: str) -> Iterator[Finding]:
        ids = self.clip_ids(split)
        yield from self.check_split(split, ids)
        if self._boxes_folder is None:
            yield Finding("note", str(self.home), "no boxes/ folder: boxes of `prepare faces`, else the centred box")
        for clip_id in ids:
            yield from check_clip(partial(self.clip, clip_id), clip_id, self.promise)
            for boxes in self._files(clip_id)[2:]:
                if not boxes.is_file():
                    yield Finding("note", clip_id, f"no face boxes {boxes}; the centred box will be used")

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
            boxes = self._boxes_path(clip_id, path)
        except ClipError:
            return []
        return [path, path.with_suffix(".txt"), *([] if boxes is None else [boxes])]

    @cached_property
    def _boxes_folder(self) -> Path | None:
        if self.options.boxes:
            folder = Path(self.options.boxes)
            if not folder.is_dir():
                raise UsageError(f"{folder}: no such folder of face boxes; correct --dataset-set boxes=DIR")
            return folder
        beside = self.home / "boxes"
        return beside if beside.is_dir() else None

    def _landmarks_path(self, clip_id: str) -> Path | None:
        """`landmarks/<clip id>.npy` at the top of the dataset, if it is there."""
        file = contained(self.home / "landmarks", f"{clip_id}.npy")
        return file if file.is_file() else None

    def _boxes_path(self, clip_id: str, video: Path) -> Path | None:
        """The file of boxes that counts: the dataset's own, else a prepared one; the former, missing, for messages."""
        given = None if self._boxes_folder is None else contained(self._boxes_folder, f"{clip_id}.npy")
        if given is not None and given.is_file():
            return given
        return prepared_boxes(video) or given
