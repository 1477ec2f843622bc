"""What a dataset has to do: list without opening, open on demand, and say what is wrong."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import PurePosixPath

import numpy as np

from syncdiff_bench.contracts import SAMPLES_PER_FRAME, Dataset, Finding
from syncdiff_bench.errors import ClipError, NoBoxes, UsageError

OPENED = 3  # clips that are decoded


def check_default_split_exists(dataset: Dataset) -> None:
    """`default_split` is one of `splits`."""
    assert dataset.default_split in dataset.splits(), f"{dataset.default_split!r} is not in {dataset.splits()}"


def check_clip_ids(dataset: Dataset) -> None:
    """In every split, ids are relative paths with forward slashes, each once; no split is empty."""
    for split in dataset.splits():
        ids = _ids(dataset, split)
        assert len(set(ids)) == len(ids), f"an id appears twice in split {split}"
        for clip_id in ids:
            parts = PurePosixPath(clip_id)
            assert not parts.is_absolute() and ".." not in parts.parts and "\\" not in clip_id, (
                f"id {clip_id!r} is not relative"
            )


def check_listing_opens_nothing(dataset: Dataset) -> None:
    """`clip` is cheap: the file is decoded on the first use of its frames."""
    clip_id = _ids(dataset)[0]
    clip = dataset.clip(clip_id)
    assert clip.preloaded is not None or "media" not in vars(clip), "clip() has decoded the file already"


def check_clips_are_as_promised(dataset: Dataset) -> None:
    """Frames (T, H, W, 3) uint8, audio int16 no longer than the frames, a face box per frame if there is a face."""
    for clip_id in _ids(dataset)[:OPENED]:
        clip = dataset.clip(clip_id)
        frames, audio = clip.frames, clip.audio
        assert clip.id == clip_id, f"asked for {clip_id!r}, got {clip.id!r}"
        assert frames.dtype == np.uint8 and frames.ndim == 4 and frames.shape[3] == 3, (
            f"{clip_id}: frames {frames.shape}"
        )
        assert len(frames), f"{clip_id}: has no frames"
        assert audio.dtype == np.int16 and audio.ndim == 1, f"{clip_id}: audio is {audio.dtype} {audio.shape}"
        assert len(audio) <= SAMPLES_PER_FRAME * len(frames), f"{clip_id}: {len(audio)} samples, {len(frames)} frames"
        with suppress(NoBoxes):
            boxes = clip.face_boxes.boxes
            assert boxes.shape == (len(frames), 4), f"{clip_id}: {len(frames)} frames, boxes {boxes.shape}"


def check_opening_twice_gives_the_same(dataset: Dataset) -> None:
    """Two openings of a clip give equal arrays."""
    clip_id = _ids(dataset)[0]
    one, other = dataset.clip(clip_id), dataset.clip(clip_id)
    assert np.array_equal(one.frames, other.frames) and np.array_equal(one.audio, other.audio), f"{clip_id} differs"


def check_unknown_names_are_refused(dataset: Dataset) -> None:
    """An unknown split raises UsageError, an unknown clip ClipError."""
    try:
        dataset.clip_ids("no-such-split")
    except UsageError:
        pass
    else:
        raise AssertionError("clip_ids('no-such-split') raised no UsageError")
    try:
        dataset.clip("no/such/clip")
    except ClipError:
        return
    raise AssertionError("clip('no/such/clip') raised no ClipError")


def check_fingerprint(dataset: Dataset) -> None:
    """A sha256 in hexadecimal, the same each time."""
    split = dataset.default_split
    _ids(dataset)
    first = dataset.fingerprint(split)
    assert re.fullmatch(r"[0-9a-f]{64}", first), f"fingerprint is {first!r}"
    assert dataset.fingerprint(split) == first, "the fingerprint changes from call to call"


def check_verify_yields_findings(dataset: Dataset) -> None:
    """`verify` yields Findings with a known level."""
    _ids(dataset)
    for finding in dataset.verify(dataset.default_split):
        assert isinstance(finding, Finding) and finding.level in ("ok", "note", "error"), f"verify yields {finding!r}"


def _ids(dataset: Dataset, split: str = "") -> tuple[str, ...]:
    """Of a split, by default the default one; without a clip there would be nothing that could fail."""
    ids = dataset.clip_ids(split or dataset.default_split)
    assert ids, f"split {split or dataset.default_split} is empty"
    return ids
