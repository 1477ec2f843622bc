"""68 face landmarks of every frame of a clip: detected by `face-alignment` and kept on disk, or files with them.

The points are numbered as iBUG's: 0..16 jaw, 17..26 brows, 27..35 nose, 36..47 eyes, 48..67 mouth.
"""

from __future__ import annotations

import re
import warnings
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.arrays import Frames, Media, load_array
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.faces.boxes import rows_of_frames
from syncdiff_bench.faces.detectors import EXTRA
from syncdiff_bench.listing import leads_below, spelled, why_no_file
from syncdiff_bench.weights.digests import WeightsUsed, sha256_of
from syncdiff_bench.weights.store import OFFLINE, WeightsStore, offline

POINTS = 68
MOUTH = slice(48, 68)

Landmarks = NDArray[np.float32]


class LandmarkSource(Protocol):
    """Where landmarks come from.

    identity: a slug that changes when the landmarks of a frame may; part of the cache's file names.
    """

    @property
    def identity(self) -> str: ...

    def detect(self, frames: Frames) -> Landmarks:
        """(T, 68, 2) float32, x and y in pixels of the frames (T, H, W, 3) uint8 RGB; NaN where there is no face."""

    def weights_used(self) -> tuple[WeightsUsed, ...]: ...

    def provenance(self) -> dict[str, str]: ...


class FaceAlignmentSource:
    """2DFAN-4 on S3FD's boxes, as the package `face-alignment` runs them, without its mirrored second pass.

    Of several faces the one that the detector is surest of. The package keeps its weights in torch's hub folder and
    fetches what is missing (about 90 MB each); this class checks them against the digest in their names first.
    Raises NotApplicable, with the mend, where the package or its weights are missing.
    """

    def __init__(self, device: str = "cpu") -> None:
        try:
            api: Any = import_module("face_alignment.api")
            detector: Any = import_module("face_alignment.detection.sfd.sfd_detector")
        except ImportError as error:
            raise NotApplicable(f"package face-alignment missing ({error}); {EXTRA}") from None
        urls = (api.models_urls["2DFAN-4"], detector.models_urls["s3fd"])
        files = [published_file(url) for url in urls]
        self._weights = tuple(WeightsUsed(file.name, sha256, file) for file, sha256 in files)
        self._network = api.FaceAlignment(
            api.LandmarksType.TWO_D,
            device=device,
            flip_input=False,
            compile=False,
            # Without a path the package unpickles the detector freely.
            face_detector_kwargs={"path_to_detector": str(files[1][0])},
        )

    @property
    def identity(self) -> str:
        return f"face-alignment-{version('face-alignment')}-2dfan4"

    def detect(self, frames: Frames) -> Landmarks:
        found = np.full((len(frames), POINTS, 2), np.nan, np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # one for every frame without a face
            for points, frame in zip(found, frames, strict=True):
                faces = self._network.get_landmarks_from_image(np.ascontiguousarray(frame))
                if faces:
                    points[:] = faces[0]
        return found

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return self._weights

    def provenance(self) -> dict[str, str]:
        return {"landmarks": f"face-alignment {version('face-alignment')}, 2DFAN-4 on S3FD"}


def published_file(url: str) -> tuple[Path, str]:
    """The file of that address in the weights store or in torch's hub folder, fetched into the latter where it is in
    neither, and its sha256.

    The name ends in the first digits of its sha256 (`2DFAN4-11f355bf06.pth.tar`).
    Raises NotApplicable where it is missing and cannot be fetched, and where it is another file.
    """
    from torch.hub import download_url_to_file, get_dir

    name = url.rpartition("/")[2]
    named = re.search(r"-([0-9a-f]{8,64})\.", name)
    prefix = named[1] if named else ""
    file = Path(get_dir()) / "checkpoints" / name
    if (stored := WeightsStore().folder / name).is_file():
        file = stored
    if not file.is_file():
        mend = f"copy {url} into {file.parent}"
        if offline():
            raise NotApplicable(f"weights {name} missing and {OFFLINE} is set; unset it, or {mend}")
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            download_url_to_file(url, str(file), prefix)
        except (OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:160]
            raise NotApplicable(f"weights {name} cannot be fetched ({reason}); {mend}") from None
    sha256 = sha256_of(file)
    if not sha256.startswith(prefix):
        raise NotApplicable(f"{file} is not the published file of that name; delete it, it is fetched again")
    return file, sha256


# ------------------------------------------------------------------------------------------ given landmarks


def read_landmarks(folder: Path, clip_id: str, media: Media) -> Landmarks:
    """(T, 68, 2) float32 of `<folder>/<clip id>.npy`: x and y in pixels, NaN where a frame has no face.

    Raises ClipError (`landmarks`) where the file is missing, unreadable, of another shape or length, or lies
    outside the folder.
    """
    file = spelled(folder, f"{clip_id}.npy")
    if not leads_below(file, folder):
        raise ClipError("landmarks", f"{file} lies outside {folder}; give the clip another id")
    if reason := why_no_file(file):
        raise ClipError("landmarks", f"{file} {reason}; write the landmarks of {clip_id} there")
    return landmarks_in(file, media)


def landmarks_in(file: Path, media: Media) -> Landmarks:
    """(T, 68, 2) float32 of a file with a row per frame of the clip, or of its file.

    Raises ClipError (`landmarks`) where it cannot be read or has another shape.
    """
    try:
        found = load_array(file)
    except (OSError, ValueError):
        raise ClipError("landmarks", f"{file} is no readable .npy of numbers; write it with numpy.save") from None
    fits = found.shape[1:] == (POINTS, 2) and found.dtype.kind in "iuf"
    rows, doubts = rows_of_frames(len(found), media, "landmarks", file) if fits else (None, ())
    if rows is None or doubts:  # a mouth that may be a frame late is of no use where mouths are measured
        expected = (len(media.frames), POINTS, 2)
        raise ClipError(
            "landmarks", f"{file} holds {found.shape} {found.dtype}, expected {expected} numbers; detect them again"
        )
    with np.errstate(over="ignore"):  # what is beyond float32 is infinite, and so no face
        landmarks: Landmarks = found[rows].astype(np.float32)
    return landmarks


def interpolated(landmarks: Landmarks) -> NDArray[np.float64] | None:
    """Rows that are not finite, linear between their neighbours; beyond the first and last face, those.

    None where no row is finite.
    """
    seen = np.flatnonzero(np.isfinite(landmarks).all(axis=(1, 2)))
    if not len(seen):
        return None
    flat, rows = landmarks.reshape(len(landmarks), -1), np.arange(len(landmarks))
    filled = np.stack([np.interp(rows, seen, column[seen]) for column in flat.T], axis=1)
    return filled.reshape(landmarks.shape)
