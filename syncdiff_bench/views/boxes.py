"""Where the face boxes of a data set come from, for those who say so: `--boxes`, the same as `--dataset-set boxes=`.

`centred` is the centred guess; the name of a detector, what it finds, whatever boxes there are; anything else a folder
of boxes by another tool, `<clip id>.npy`, which come before the data set's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncdiff_bench.contracts import Clip, Dataset
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.boxes import CENTRED, DETECTORS, FILE, GIVEN
from syncdiff_bench.views import DatasetView, with_option

OPTION = "boxes"
AUTO = "auto"  # the default, said aloud


def with_boxes(options: type[Any]) -> type[Any]:
    """A data set's Options class with the field `boxes`."""
    return with_option(options, OPTION, str, "")


def with_boxes_of(clip: Clip, value: str) -> Clip:
    """The clip with its boxes from where `value` says, "" for as it is. Raises UsageError for a folder that is missing.

    A clip without a file in the folder has the boxes that it would have without it.
    """
    if value in ("", AUTO):
        return clip
    if value == CENTRED or value in DETECTORS:
        return replace(clip, boxes=value)
    file = given_file(value, clip.id)
    return replace(clip, boxes=GIVEN, boxes_path=file) if file is not None and file.is_file() else clip


def given_file(value: str, clip_id: str) -> Path | None:
    """The file of a clip in the folder that `value` names, there or not; None where it names none.

    Raises UsageError for a folder that is missing, ClipError (`outside`) for an id that leads out of it.
    """
    if value in ("", AUTO, CENTRED, *DETECTORS):
        return None
    folder = Path(value)
    if not folder.is_dir():
        raise UsageError(
            f"{value}: no such folder of face boxes; --boxes (--dataset-set boxes=DIR) is a folder, {CENTRED}, "
            f"{' or '.join(DETECTORS)}"
        )
    file = folder / f"{clip_id}.npy"
    if not file.resolve().is_relative_to(folder.resolve()):
        raise ClipError("outside", f"{file} lies outside {folder}; give the clip another id")
    return file


def boxes_of_clips(dataset: Dataset, clip_ids: Iterable[str]) -> str:
    """Where the boxes of these clips come from, decoding nothing: "file 1a2b3c4d, dlib-hog-20.0.1".

    Of files the digest is part of it. A clip that is missing says nothing.
    """
    from syncdiff_bench.faces.first_use import expected_source

    sources: dict[str, Any] = {}
    for clip_id in clip_ids:
        try:
            clip = dataset.clip(clip_id)
            source = expected_source(clip)
        except ClipError:
            continue
        digest = sources.setdefault(source, hashlib.sha256())
        if source in (FILE, GIVEN) and clip.boxes_path is not None:
            digest.update(hashlib.sha256(clip.boxes_path.read_bytes()).digest())
    return ", ".join(
        f"{source} {digest.hexdigest()[:8]}" if source in (FILE, GIVEN) else source
        for source, digest in sorted(sources.items())
    )


def boxes_fact(dataset: Dataset, split: str) -> dict[str, str]:
    """What a cache of face crops or masks rests on beside the fingerprint of the split; nothing for own boxes."""
    boxes = boxes_of_clips(dataset, dataset.clip_ids(split))
    return {} if boxes.partition(" ")[0] == FILE and "," not in boxes else {"face boxes": boxes}


class BoxedDataset(DatasetView):
    """Any data set that has no option `boxes` of its own, with its boxes from elsewhere."""

    def clip(self, clip_id: str) -> Clip:
        return with_boxes_of(self.of.clip(clip_id), self.options.boxes)
