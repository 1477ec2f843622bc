"""Landmark distances in closed form on made-up landmarks, their cache, and the adapter of `face-alignment`."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.clips import clip_landmarks
from syncdiff_bench.contracts import Clip, Frames, Media, Pair, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable
from syncdiff_bench.faces.landmarks import FaceAlignmentSource, published_file
from syncdiff_bench.media.writing import write_video
from syncdiff_metrics.lmd import LMD, LMDOptions, LMDStats

CIRCLE = np.stack([np.cos(np.arange(68)), np.sin(np.arange(68))], axis=-1)


class Written:
    """Landmarks that the test wrote, found again by the first pixel of a frame; counts its calls."""

    def __init__(self, **faces: NDArray[np.floating[Any]]) -> None:
        self.identity = "written-1"
        self.faces = [np.asarray(face, np.float32) for face in faces.values()]
        self.calls = 0

    def detect(self, frames: Frames) -> NDArray[np.float32]:
        self.calls += 1
        return np.stack([self.faces[frame[0, 0, 0]] for frame in frames])

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (WeightsUsed("points", "00"),)

    def provenance(self) -> dict[str, str]:
        return {"landmarks": "written"}


@pytest.fixture(autouse=True)
def work_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    return tmp_path


def clip_of(faces: list[int], side: int = 8) -> Clip:
    """Frame t shows face number `faces[t]` of the source."""
    frames = np.zeros((len(faces), side, side, 3), np.uint8)
    frames[:, 0, 0, 0] = faces
    return Clip("s/1", "test", preloaded=Media(frames, np.zeros(0, np.int16)))


def measured(source: Written, ours: list[int], theirs: list[int], **options: Any) -> LMDStats:
    return LMD(LMDOptions(**options), landmarks=source).measure(Pair(clip_of(ours), clip_of(theirs)))


# ------------------------------------------------------------------------------------------ the arithmetic


def test_identical_faces_have_no_distance() -> None:
    stats = measured(Written(face=CIRCLE), [0, 0], [0, 0])
    assert stats == LMDStats(mouth=0.0, face=0.0, frames=2, faceless=0)


def test_moving_a_face_counts_only_without_centring() -> None:
    source = Written(face=CIRCLE, moved=CIRCLE + np.array([3, 4]))
    centred, raw = (measured(source, [1], [0], align=align) for align in ("centre", "none"))
    assert (centred.mouth, centred.face) == (pytest.approx(0, abs=1e-6), pytest.approx(0, abs=1e-6))
    assert (raw.mouth, raw.face) == (pytest.approx(5, abs=1e-6), pytest.approx(5, abs=1e-6))


def test_one_moved_point_of_the_mouth() -> None:
    """Centred, a point moved by d is off by d (1 - 1/P) and the other P - 1 points by d / P each."""
    face = CIRCLE.copy()
    face[48] += [0, 10]
    stats = measured(Written(truth=CIRCLE, face=face), [1], [0])
    assert stats.mouth == pytest.approx(2 * 19 * 10 / 20**2, rel=1e-5)
    assert stats.face == pytest.approx(2 * 67 * 10 / 68**2, rel=1e-5)


@pytest.mark.parametrize(("point", "in_mouth"), [(0, False), (47, False), (48, True), (67, True)])
def test_the_mouth_is_points_48_to_67(point: int, in_mouth: bool) -> None:
    face = CIRCLE.copy()
    face[point] += 5
    stats = measured(Written(truth=CIRCLE, face=face), [1], [0])
    assert (stats.mouth > 0.1) == in_mouth
    assert stats.face > 0.1


def test_size_is_not_normalised() -> None:
    """A regular 68-gon of radius r against one of radius 3 r: every point is off by 2 r."""
    angles = 2 * np.pi * np.arange(68) / 68
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)
    assert measured(Written(truth=ring, face=3 * ring), [1], [0]).face == pytest.approx(2, rel=1e-6)


def test_frames_pool_over_clips() -> None:
    stats = [LMDStats(mouth=1.0, face=2.0, frames=1, faceless=5), LMDStats(mouth=0.0, face=2.0, frames=3, faceless=0)]
    assert LMD().aggregate(stats) == {"lmd": 0.25, "f_lmd": 1.0}
    assert LMD().aggregate([]) == {"lmd": None, "f_lmd": None}


def test_frames_without_a_face_are_counted_and_left_out() -> None:
    source = Written(truth=CIRCLE, face=CIRCLE * 2, none=np.full((68, 2), np.nan))
    stats = measured(source, [1, 2, 1, 1], [0, 0, 2, 0])
    assert (stats.frames, stats.faceless) == (2, 2)
    assert np.isfinite([stats.mouth, stats.face]).all()
    assert json.loads(json.dumps(LMD().stats_to_json(stats))) == LMD().stats_to_json(stats)
    with pytest.raises(ClipError, match="s/1: none of 2 frames has a face in both") as caught:
        measured(source, [2, 1], [0, 2])
    assert caught.value.kind == "no-face"


def test_the_shorter_video_decides() -> None:
    source = Written(truth=CIRCLE, face=CIRCLE * 2)
    assert measured(source, [1, 1, 1], [0, 0]).frames == 2
    assert measured(source, [1], [0, 0]).frames == 1


def test_another_resolution_is_told() -> None:
    pair = Pair(clip_of([0], side=8), clip_of([0], side=16))
    with pytest.raises(ClipError, match="generated at 8x8, its reference is 16x16") as caught:
        LMD(landmarks=Written(face=CIRCLE)).measure(pair)
    assert caught.value.kind == "size"


# ----------------------------------------------------------------------------------------------- the cache


def test_landmarks_are_detected_once_per_content_and_source(work_folder: Path) -> None:
    source = Written(one=CIRCLE, two=2 * CIRCLE)
    first = clip_landmarks(clip_of([0, 1]), source)
    np.testing.assert_array_equal(first, np.stack([CIRCLE, 2 * CIRCLE]).astype(np.float32))
    np.testing.assert_array_equal(clip_landmarks(clip_of([0, 1]), source), first)
    assert source.calls == 1
    clip_landmarks(clip_of([1, 0]), source)
    assert source.calls == 2
    source.identity = "written-2"
    clip_landmarks(clip_of([0, 1]), source)
    assert source.calls == 3
    assert len(list((work_folder / "home" / "landmarks").iterdir())) == 3


def test_a_file_is_known_by_its_bytes(work_folder: Path) -> None:
    source = Written(**{str(i): CIRCLE for i in range(256)})
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    for name, grey in (("a.mp4", 0), ("copy.mp4", 0), ("b.mp4", 255)):
        write_video(work_folder / name, Media(frames + np.uint8(grey), np.zeros(0, np.int16)))
        clip_landmarks(Clip(name, "test", path=work_folder / name), source)
    assert source.calls == 2


def test_damaged_cache_entries_are_made_again(work_folder: Path) -> None:
    source = Written(face=CIRCLE)
    clip_landmarks(clip_of([0]), source)
    (entry,) = (work_folder / "home" / "landmarks").iterdir()
    for content in (b"", b"\x93NUMPY no"):
        entry.write_bytes(content)
        assert clip_landmarks(clip_of([0]), source).shape == (1, 68, 2)
    np.save(entry, np.zeros((7, 68, 2), np.float32))
    assert clip_landmarks(clip_of([0]), source).shape == (1, 68, 2)
    assert source.calls == 4


def test_a_folder_that_cannot_be_written_costs_only_time(work_folder: Path) -> None:
    (work_folder / "home").write_text("a file is in the way")
    assert clip_landmarks(clip_of([0]), Written(face=CIRCLE)).shape == (1, 68, 2)


# ------------------------------------------------------------------------------------- `face-alignment`


def test_without_the_package_the_column_is_not_applicable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(
        NotApplicable, match=r"face-alignment missing .*pip install 'syncdiff-bench\[faces\]'"
    ) as caught:
        LMD().prepare()
    assert "\n" not in str(caught.value)


@pytest.fixture
def hub(work_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder of torch's hub, and no network."""
    monkeypatch.setenv("TORCH_HOME", str(work_folder / "torch"))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    folder = work_folder / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def published(hub: Path, name: str) -> str:
    """Write a file whose name carries its digest, and return its address."""
    content = name.encode()
    digest = hashlib.sha256(content).hexdigest()
    file = hub / f"{name}-{digest[:10]}.pth"
    file.write_bytes(content)
    return f"https://example.org/{file.name}"


def test_weights_that_are_missing_or_others_are_named_with_the_mend(hub: Path) -> None:
    with pytest.raises(NotApplicable, match=r"weights net-0123456789\.pth missing .* copy https://example.org/net-"):
        published_file("https://example.org/net-0123456789.pth")
    (hub / "net-0123456789.pth").write_bytes(b"truncated")
    with pytest.raises(NotApplicable, match=r"net-0123456789\.pth is not the published file .* delete it"):
        published_file("https://example.org/net-0123456789.pth")
    file, sha256 = published_file(published(hub, "net"))
    assert sha256 == hashlib.sha256(file.read_bytes()).hexdigest()


def test_the_weights_store_comes_before_torchs_hub(hub: Path, work_folder: Path) -> None:
    address = published(hub, "net")
    name = address.rpartition("/")[2]
    stored = work_folder / "home" / "weights" / name
    stored.parent.mkdir(parents=True)
    (hub / name).rename(stored)
    assert published_file(address)[0] == stored


def test_the_package_is_asked_for_rgb_frames_and_its_surest_face(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class FaceAlignment:
        def __init__(self, kind: str, **settings: Any) -> None:
            asked.append((kind, settings))

        def get_landmarks_from_image(self, image: Frames) -> list[NDArray[np.float32]] | None:
            red, green, _ = image[0, 0]
            if green:
                return None
            return [np.full((68, 2), red, np.float32), np.zeros((68, 2), np.float32)]

    urls = {"2DFAN-4": published(hub, "fan"), "s3fd": published(hub, "s3fd")}
    api = SimpleNamespace(FaceAlignment=FaceAlignment, LandmarksType=SimpleNamespace(TWO_D="2d"), models_urls=urls)
    for name, module in (
        ("face_alignment", ModuleType("face_alignment")),
        ("face_alignment.api", api),
        ("face_alignment.detection", ModuleType("detection")),
        ("face_alignment.detection.sfd", ModuleType("sfd")),
        ("face_alignment.detection.sfd.sfd_detector", SimpleNamespace(models_urls=urls)),
    ):
        monkeypatch.setitem(sys.modules, name, module)
    source = FaceAlignmentSource("cpu")
    ((kind, settings),) = asked
    assert kind == "2d"
    assert settings["flip_input"] is False
    # with a path the package reads the detector without free unpickling
    assert Path(settings["face_detector_kwargs"]["path_to_detector"]).name.startswith("s3fd-")
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    frames[0, 0, 0] = (7, 0, 9)
    frames[1, 0, 0] = (7, 1, 9)
    found = source.detect(frames)
    assert found.dtype == np.float32
    assert (found[0] == 7).all()
    assert np.isnan(found[1]).all()
    assert [used.name.partition("-")[0] for used in source.weights_used()] == ["fan", "s3fd"]
