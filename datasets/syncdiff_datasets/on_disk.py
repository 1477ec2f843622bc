"""Data sets on disk: a video, a transcript beside it and, perhaps, a file of face boxes."""

from __future__ import annotations

import hashlib
import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, ClassVar

from syncdiff_bench.contracts import Clip, Dataset, Finding, Spoken
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.files import read_text_file
from syncdiff_bench.listing import Oddity, composed, is_folder, leads_below, shown_name, spelled, why_no_file
from syncdiff_bench.platforms import opened_at_once
from syncdiff_bench.roots import ways
from syncdiff_bench.views import with_boxes_of
from syncdiff_datasets.transcripts import Transcript, beside, read_transcript
from syncdiff_datasets.verification import Promise, check_clip


@dataclass(frozen=True)
class BoxOptions:
    """boxes: `centred`, a detector, or a folder of face boxes, `<clip id>.npy` (`syncdiff_bench.views`).

    By default those in `boxes/` at the top of the dataset, else detected ones.
    """

    boxes: str = ""


class DatasetOnDisk(Dataset):
    """Subclasses say which ids a split has and which file an id means.

    markers: folders of which the top folder holds one; it is then looked for below `root`, else it is `root` itself.
    promise: what every clip of the data set should be.
    """

    Options: ClassVar[type[Any]] = BoxOptions
    markers: ClassVar[tuple[str, ...]] = ()
    promise: ClassVar[Promise]

    def locate(self) -> Path:
        """The top folder of the dataset. Raises UsageError where there is none."""
        root = required_root(self.root, self.name)
        return find_layout(root, self.markers, self.name) if self.markers else root

    @abstractmethod
    def media_path(self, clip_id: str) -> Path:
        """The video file of an id, there or not. Raises ClipError `outside` for a link out of the dataset."""

    @abstractmethod
    def speaker(self, clip_id: str) -> str | None:
        """What confidence intervals cluster on: the recording that the clip was cut from, if known."""

    @abstractmethod
    def check_split(self, split: str, ids: tuple[str, ...]) -> Iterator[Finding]:
        """Findings about the split as a whole: its count, leftovers."""

    def oddities(self, split: str) -> Sequence[Oddity]:
        """What listing the split passed over; nothing where it is listed in a file."""
        del split
        return ()

    @cached_property
    def home(self) -> Path:
        """What `locate` found, looked up once."""
        return self.locate()

    def check_known(self, split: str, known: Iterable[str]) -> None:
        """Raise UsageError for a split that the dataset never had."""
        if split not in known:
            raise UsageError(f"{self.name} has no split '{split}'; choose one of: {', '.join(known)}")

    def clip(self, clip_id: str) -> Clip:
        clip = self.clip_without_words(clip_id)
        assert clip.path is not None, "it is on disk"
        transcript, problem = self._transcript(clip.path)
        text = None if transcript is None else transcript.text
        return replace(clip, transcript=text, spoken=self.spoken(clip_id, transcript), transcript_note=problem)

    def clip_without_words(self, clip_id: str) -> Clip:
        path = self.media_path(clip_id)
        if reason := why_no_file(path):
            raise ClipError("missing", f"{path}: listed, but it {reason}; copy it there or take it off the list")
        own = self._own_boxes(clip_id)
        clip = Clip(
            id=clip_id,
            dataset=self.name,
            path=path,
            speaker=self.speaker(clip_id),
            boxes_path=own if own is not None and os.path.lexists(own) else None,
            landmarks_path=self._landmarks_path(clip_id),
        )
        return with_boxes_of(clip, self.options.boxes)

    def spoken(self, clip_id: str, transcript: Transcript | None) -> tuple[Spoken, ...]:
        """Words of the transcript's table, where it has times."""
        return () if transcript is None else transcript.words

    def odd_files(self, split: str) -> Sequence[Finding]:
        return [Finding("error" if one.lost else "note", one.name, one.reason) for one in self.oddities(split)]

    def fingerprint(self, split: str) -> str:
        return fingerprint_clips((clip_id, self._files(clip_id)) for clip_id in self.clip_ids(split))

    def verify(self, split: str) -> Iterator[Finding]:
        ids = self.clip_ids(split)
        yield from self.check_split(split, ids)
        yield from self.odd_files(split)
        if not self._has_boxes and not self.options.boxes:
            yield Finding("note", str(self.home), "no boxes/ folder: face boxes are detected where they are needed")
        for clip_id in ids:
            yield from check_clip(partial(self.clip, clip_id), clip_id, self.promise)
            for boxes in self._files(clip_id)[2:]:
                if not os.path.lexists(boxes):
                    yield Finding("note", clip_id, f"no face boxes {boxes}; they are detected where they are needed")

    def _transcript(self, video: Path) -> tuple[Transcript | None, str]:
        """The transcript, and what is to be said about its file."""
        try:
            transcript = read_transcript(beside(video, ".txt"), plain=self.promise.plain)
        except ClipError as error:  # the frames are none the worse for it
            return None, str(error)
        return transcript, transcript.encoding if transcript is not None and transcript.guessed else ""

    def _files(self, clip_id: str) -> list[Path]:
        try:
            path = self.media_path(clip_id)
            boxes = self._own_boxes(clip_id)
        except ClipError:
            return []
        return [path, beside(path, ".txt"), *([] if boxes is None else [boxes])]

    @cached_property
    def _has_boxes(self) -> bool:
        return is_folder(self.home / "boxes")

    @cached_property
    def _has_landmarks(self) -> bool:
        return is_folder(self.home / "landmarks")

    def _landmarks_path(self, clip_id: str) -> Path | None:
        """`landmarks/<clip id>.npy` at the top of the dataset, if it is there."""
        if not self._has_landmarks:
            return None
        file = contained(self.home / "landmarks", f"{clip_id}.npy")
        return file if os.path.lexists(file) else None

    def _own_boxes(self, clip_id: str) -> Path | None:
        """`boxes/<clip id>.npy` at the top of the dataset, there or not; None where there is no such folder."""
        return contained(self.home / "boxes", f"{clip_id}.npy") if self._has_boxes else None


# ------------------------------------------------------- finding files, and staying inside the data set


# Depth to which the dataset is searched below --data-root: the dataset itself, its parent, its grandparent.
SEARCH_DEPTH = 2


def required_root(root: Path | None, dataset: str) -> Path:
    """The folder given by the user. Raises UsageError where there is none or it is not a folder."""
    if root is None:
        raise UsageError(f"dataset {dataset} lies on your disk, say where: {ways(dataset)}")
    if not is_folder(root):
        what = "is a file" if os.path.lexists(root) else "does not exist"
        raise UsageError(f"{root}: {what}; say where dataset {dataset} is: {ways(dataset)}")
    return root


def find_layout(root: Path, markers: Sequence[str], dataset: str) -> Path:
    """The folder at or below `root` (two levels at most) that holds one of the folders `markers`.

    Raises UsageError where there is none (and says what was looked for) or more than one at the same depth.
    """
    level = [root]
    for _ in range(SEARCH_DEPTH + 1):
        found = [folder for folder in level if any(is_folder(folder / marker) for marker in markers)]
        if len(found) > 1:
            names = ", ".join(str(folder) for folder in found[:4])
            raise UsageError(f"{root} holds more than one {dataset}: {names}; give one of them with --data-root")
        if found:
            return found[0]
        level = [child for folder in level for child in _visible_folders(folder)]
    wanted = " or ".join(f"{marker}/" for marker in markers)
    raise UsageError(
        f"{root}: no {dataset} here: looked for a folder holding {wanted}, {SEARCH_DEPTH} levels deep; "
        f"give the right folder: {ways(dataset)}"
    )


def _visible_folders(folder: Path) -> list[Path]:
    try:
        return sorted(child for child in folder.iterdir() if is_folder(child) and not child.name.startswith("."))
    except OSError:
        return []


def safe_relative(text: str, where: str) -> str:
    """`text` as a relative forward-slash path that stays below its folder, letters composed (NFC).

    where: what to blame in the message ("test.txt line 7").
    Raises UsageError for an absolute path, a drive, a backslash, or a `..`: such an id would also name an
    output file.
    """
    if not {"", ".", ".."} & {*text.split("/")} and "\\" not in text and ":" not in text:
        return composed(text)  # as nearly all are
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts or "\\" in text or ":" in text or not path.parts:
        raise UsageError(f"{where}: '{text}' leaves the dataset; write ids as folder/clip, relative and without '..'")
    return composed(path.as_posix())


def contained(base: Path, relative: str) -> Path:
    """`base / relative`, spelled as on disk. Raises ClipError `outside` where a link leads out of `base`."""
    path = spelled(base, relative)
    if not leads_below(path, base):
        raise ClipError("outside", f"{path}: is a link that leads out of {base}; put the file itself there")
    return path


def examples(items: Sequence[str], n: int = 3) -> str:
    """The first few of many, for a message: "a, b, c and 7 more"."""
    more = f" and {len(items) - n:,} more" if len(items) > n else ""
    return ", ".join(islice(items, n)) + more


def list_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, first token) of every line of a split list that is not blank.

    Raises UsageError where the list is no text.
    """
    for number, line in enumerate(read_text_file(path).text.splitlines(), start=1):
        if tokens := line.split():
            yield number, tokens[0]


# ----------------------------------------------------------------------------------------- fingerprints


# An LRS clip is 50 to 200 kB, so most of one is read; a whole training split would take minutes otherwise.
CHUNK = 32 * 1024


def fingerprint_clips(clips: Iterable[tuple[str, list[Path]]]) -> str:
    """sha256 (hex) over all clips sorted by id: id, and size, first and last 32 KiB of each of its files.

    clips: (id, its files in a fixed order: video, transcript, boxes); a file that is not there counts as
    missing, so that the digest changes when it appears. Not seen: a change that keeps the size and touches
    only bytes more than 32 KiB away from both ends. Neither folder names above the dataset nor times enter.
    Raises UsageError for a file whose name no record can hold.
    """
    digest = hashlib.sha256()
    for clip_id, files in sorted(clips):
        try:
            digest.update(f"{clip_id}\0".encode())
        except UnicodeEncodeError:
            raise UsageError(f"{shown_name(clip_id)}: the name of this file is not UTF-8; rename it") from None
        for path in files:
            digest.update(_file_digest(path))
    return digest.hexdigest()


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    try:
        with opened_at_once(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            digest.update(f"{size}\0".encode())
            digest.update(file.read(CHUNK))
            file.seek(max(CHUNK, size - CHUNK))
            digest.update(file.read(CHUNK))
    except OSError:  # a pipe cannot seek
        digest.update(b"missing")
    return digest.digest()
