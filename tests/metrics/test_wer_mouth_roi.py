"""Mouth crops: closed forms of alignment, crop and gaps, the official crops, and `wer[crop=mouth]` as a whole."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip, Frames, Media, Pair, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, NotApplicable, WeightsError
from syncdiff_bench.faces.landmarks import Landmarks, interpolated, read_landmarks
from syncdiff_bench.media.bilinear import resize_linear
from syncdiff_bench.weights.catalog import Catalogue, Entry, installed
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_metrics import lip_patches
from syncdiff_metrics.lip_patches import (
    MEAN_FACE,
    STABLE,
    alignments,
    cut_mouth,
    h264_round_trip,
    load_mean_face,
    mouth_crops,
    warped,
)
from syncdiff_metrics.wer import WER, WEROptions

OFFICIAL = Path(__file__).parents[1] / "data" / "mouth_roi_official.npz"
NO_SOUND = np.zeros(0, np.int16)


def mean_face() -> NDArray[np.float64]:
    """68 points that stand for a face on the canvas: a spiral around its middle, the mouth below."""
    i = np.arange(68)
    face = np.stack([128 + (20 + 0.8 * i) * np.cos(i), 110 + (20 + 0.8 * i) * np.sin(i)], axis=-1)
    face[48:] = [128, 160] + 0.2 * (face[48:] - [128, 110])
    return face


def moving_face(n: int) -> NDArray[np.float64]:
    """A smaller, turning, drifting copy of it, in whole pixels as dlib's points are."""
    faces = []
    for t in range(n):
        angle, scale = 0.2 * np.sin(0.4 * t), 0.55 + 0.02 * np.cos(t)
        turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        faces.append(np.rint((mean_face() - [128, 128]) @ turn.T + [80 + 0.5 * t, 62]))
    return np.stack(faces)


def waves(n: int, height: int = 120, width: int = 160) -> Frames:
    t, y, x, c = np.meshgrid(np.arange(n), np.arange(height), np.arange(width), np.arange(3), indexing="ij")
    grey = 127.5 + 60 * np.sin(0.11 * y + 0.07 * x + c + 0.3 * t) + 60 * np.sin(0.05 * x - 0.2 * y + 2 * c)
    return np.round(grey).astype(np.uint8)


@pytest.fixture
def lossless(monkeypatch: pytest.MonkeyPatch) -> None:
    """The codec left out, so that crops can be compared to the grey level."""
    monkeypatch.setattr(lip_patches, "h264_round_trip", lambda crops: crops)


# ------------------------------------------------------------------------------------------- closed forms


def test_a_face_in_place_stays_in_place() -> None:
    (transform,) = alignments(mean_face()[None], mean_face())
    np.testing.assert_allclose(transform.params, np.eye(3), atol=1e-9)
    frame = waves(1, 256, 256)[0]
    lower = frame.astype(int) - warped(frame, transform)
    assert set(np.unique(lower)) <= {0, 1}  # v / 255 * 255 may lie a hair below v, and fractions are cut off


def test_rotation_scale_and_shift_are_found_and_undone() -> None:
    """Points turned by 90 degrees, twice as large and moved: x' = 2 y + 7, y' = -2 x + 300."""
    face = mean_face()
    there = np.stack([2 * face[:, 1] + 7, -2 * face[:, 0] + 300], axis=-1)
    (transform,) = alignments(there[None], face)
    np.testing.assert_allclose(transform(there), face, atol=1e-9)
    np.testing.assert_allclose(transform.params, [[0, -0.5, 150], [0.5, 0, -3.5], [0, 0, 1]], atol=1e-9)


def test_only_the_stable_points_align() -> None:
    face = mean_face()[None].repeat(2, axis=0)
    others = np.setdiff1d(np.arange(68), STABLE)
    face[:, others] += np.random.default_rng(0).normal(0, 40, (2, len(others), 2))
    for transform in alignments(face, mean_face()):
        np.testing.assert_allclose(transform.params, np.eye(3), atol=1e-9)


@pytest.mark.parametrize(("frames", "windows"), [(1, 1), (12, 1), (13, 2), (20, 9)])
def test_a_frame_is_aligned_by_the_mean_of_the_twelve_from_it_on(frames: int, windows: int) -> None:
    """Frame t lies 3 t pixels to the right; the shift found is minus the mean of its window."""
    faces = mean_face() + np.stack([3.0 * np.arange(frames), np.zeros(frames)], axis=-1)[:, None]
    shifts = [transform.params[0, 2] for transform in alignments(faces, mean_face())]
    first = np.minimum(np.arange(frames), windows - 1)
    np.testing.assert_allclose(shifts, -3 * (first + (min(frames, 12) - 1) / 2), atol=1e-8)


@pytest.mark.parametrize(
    ("centre", "top", "left"),
    [
        ((128, 160), 112, 80),
        ((128.5, 161.5), 114, 80),  # halves go to the even number
        ((10, 47), 0, 0),
        ((250, 209), 160, 160),
        ((-500, 900), 160, 0),
    ],
)
def test_the_crop_is_centred_on_the_mouth_and_stays_on_the_canvas(
    centre: tuple[float, float], top: int, left: int
) -> None:
    canvas = np.arange(256 * 256 * 3, dtype=np.uint32).reshape(256, 256, 3)
    mouth = np.array(centre) + np.array([[-9, 4], [9, -4]])
    crop = cut_mouth(canvas, mouth)  # type: ignore[arg-type]
    np.testing.assert_array_equal(crop, canvas[top : top + 96, left : left + 96])


def test_frames_without_a_face_are_interpolated_and_the_ends_copied() -> None:
    landmarks = np.full((7, 68, 2), np.nan, np.float32)
    landmarks[1], landmarks[5] = 10, 30
    landmarks[3, 0] = 99  # half a face is none
    known = interpolated(landmarks)
    assert known is not None
    np.testing.assert_allclose(known[:, 40, 1], [10, 10, 15, 20, 25, 30, 30])
    np.testing.assert_allclose(known[3], 20)
    assert interpolated(np.full((2, 68, 2), np.nan, np.float32)) is None


def test_a_clip_without_any_face_is_shrunk_as_a_whole(lossless: None) -> None:
    frames = waves(2)
    crops = mouth_crops(frames, np.full((2, 68, 2), np.nan, np.float32), mean_face())
    np.testing.assert_array_equal(crops, [resize_linear(frame, 96, 96) for frame in frames])


def test_points_that_coincide_fail_the_clip() -> None:
    with pytest.raises(ClipError, match="frame 0 lie in one point") as caught:
        mouth_crops(waves(2), np.full((2, 68, 2), 7, np.float32), mean_face())
    assert caught.value.kind == "landmarks"


# --------------------------------------------------------------------------------------- the official code


def test_crops_are_the_official_ones(lossless: None) -> None:
    """Every sixth pixel of what av_hubert 258fb50's crop_patch cuts out of the same frames and points."""
    landmarks = moving_face(16).astype(np.float32)
    landmarks[[0, 5, 6, 15]] = np.nan
    crops = mouth_crops(waves(16), landmarks, mean_face())
    with np.load(OFFICIAL, allow_pickle=False) as official:
        np.testing.assert_array_equal(crops[:, ::6, ::6], official["crops"])


def test_the_codec_loses_what_crf_20_loses() -> None:
    """Against ffmpeg 5.1.9 on the same crops: as large a loss, and no shift of the grey level."""
    crops = waves(16, 96, 96)
    with np.load(OFFICIAL, allow_pickle=False) as official:
        mean, bias = official["codec_loss"]
    lost = h264_round_trip(crops).astype(int) - crops
    assert np.abs(lost).mean() == pytest.approx(mean, rel=0.05)
    assert lost.mean() == pytest.approx(bias, abs=0.1)


def test_the_codec_gives_the_same_bytes_again() -> None:
    crops = waves(14, 96, 96)
    np.testing.assert_array_equal(h264_round_trip(crops), h264_round_trip(crops))


# ------------------------------------------------------------------------------------------ landmark files


def of_frames(n: int) -> Media:
    return Media(np.zeros((n, 8, 8, 3), np.uint8), np.zeros(0, np.int16))


def test_landmarks_are_read_by_clip_id(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s" / "1.npy", moving_face(3).astype(np.int64))
    found = read_landmarks(tmp_path, "s/1", of_frames(3))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, moving_face(3))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, r"1\.npy does not exist; write the landmarks of s/1 there"),
        (b"", "no readable .npy"),
        (np.array([{"points": 1}]), "no readable .npy"),
        (np.zeros((3, 68, 3)), r"holds \(3, 68, 3\) float64, expected \(3, 68, 2\)"),
        (np.zeros((4, 68, 2)), r"holds \(4, 68, 2\)"),
        (np.full((3, 68, 2), "a"), "numbers"),
    ],
)
def test_unusable_landmark_files_fail_their_clip(tmp_path: Path, content: Any, words: str) -> None:
    file = tmp_path / "s" / "1.npy"
    file.parent.mkdir()
    if isinstance(content, bytes):
        file.write_bytes(content)
    elif content is not None:
        np.save(file, content, allow_pickle=True)
    with pytest.raises(ClipError, match=words) as caught:
        read_landmarks(tmp_path, "s/1", of_frames(3))
    assert caught.value.kind == "landmarks"
    assert "\n" not in str(caught.value)


def test_a_clip_id_leads_to_no_file_outside_the_folder(tmp_path: Path) -> None:
    np.save(tmp_path / "out.npy", moving_face(3))
    (tmp_path / "in").mkdir()
    with pytest.raises(ClipError, match="lies outside"):
        read_landmarks(tmp_path / "in", "../out", of_frames(3))


@pytest.mark.parametrize("content", [b"", b"no numpy", np.zeros((68, 3)), np.zeros((68, 2), int)])
def test_another_file_is_no_mean_face(tmp_path: Path, content: Any) -> None:
    file = tmp_path / "face.npy"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        np.save(file, content)
    with pytest.raises(WeightsError, match=rf"face\.npy: not 68 points.*weights fetch {MEAN_FACE}"):
        load_mean_face(file)


# -------------------------------------------------------------------------------------------- the metric


class Reader:
    """A lip reader in name only: what it is shown is what these tests look at."""

    class patches:  # noqa: N801 - stands for PatchNormalisation
        crop = 88


class Detected:
    """Landmarks of a made-up detector."""

    identity = "made-up-1"

    def detect(self, frames: Frames) -> Landmarks:
        return moving_face(len(frames)).astype(np.float32)

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        return (WeightsUsed("points", "00"),)

    def provenance(self) -> dict[str, str]:
        return {"landmarks": "made up"}


def clip_of(frames: Frames) -> Clip:
    return Clip("s/1", "test", transcript="bin", preloaded=Media(frames, NO_SOUND))


@pytest.fixture
def store(tmp_path: Path) -> WeightsStore:
    """A store with a mean face and nothing else."""
    entries = [Entry(name, f"{name}.npy", "", "", "") for name in (MEAN_FACE, "avhubert-lrs2-vsr")]
    made = WeightsStore(tmp_path / "weights", Catalogue({entry.name: entry for entry in entries}))
    np.save(tmp_path / "face.npy", mean_face())
    made.add(MEAN_FACE, tmp_path / "face.npy")
    return made


def metric_of(store: WeightsStore, source: Detected | None = None, **options: Any) -> WER:
    metric = WER(WEROptions(crop="mouth", **options), Runtime(weights=store), source)
    metric._model = Reader()  # type: ignore[assignment]
    metric._weights = (Path("reader.pt"), WeightsUsed("reader", "11"))
    return metric


def test_the_reader_sees_the_grey_middle_of_the_crops(store: WeightsStore, tmp_path: Path) -> None:
    frames, landmarks = waves(14), moving_face(14).astype(np.float32)
    (tmp_path / "s").mkdir()
    np.save(tmp_path / "s" / "1.npy", landmarks)
    crops = mouth_crops(frames, landmarks, mean_face())
    expected = np.rint(crops[:, 4:92, 4:92].astype(float) @ [0.299, 0.587, 0.114])
    for metric in (metric_of(store, landmarks=tmp_path), metric_of(store, Detected())):
        metric.prepare()
        seen = metric._patches(clip_of(frames)).numpy()
        assert seen.shape == (14, 88, 88)
        assert np.abs(seen - expected).max() <= 1


def test_the_generated_clip_is_read(store: WeightsStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the reference, whose landmarks would give the generated lips away."""
    metric, shown = metric_of(store, Detected()), []
    metric._model.pieces = type("Pieces", (), {"round_trip": staticmethod(str)})  # type: ignore[misc]
    monkeypatch.setattr(metric, "_patches", shown.append)
    monkeypatch.setattr(metric, "_read_lips", lambda _clips: ["bin"])
    generated = clip_of(waves(3))
    metric.measure(Pair(generated, clip_of(255 - waves(3))))
    assert shown == [generated]


def test_the_record_names_reader_mean_face_and_landmarks(store: WeightsStore, tmp_path: Path) -> None:
    face = WeightsUsed(MEAN_FACE, sha256((tmp_path / "face.npy").read_bytes()).hexdigest())
    detected, given = metric_of(store, Detected()), metric_of(store, landmarks=tmp_path)
    assert detected.weights_used() == (WeightsUsed("reader", "11"), face, WeightsUsed("points", "00"))
    assert given.weights_used() == (WeightsUsed("reader", "11"), face)
    assert detected.provenance()["landmarks"] == "made up"
    assert given.provenance()["landmarks"] == "files"
    assert given.provenance()["encoder"].startswith("PyAV ")
    assert WER().provenance() == {}


def test_without_landmarks_the_column_is_not_applicable(
    store: WeightsStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(NotApplicable, match=r"none is not a folder; give one with <clip id>\.npy files"):
        metric_of(store, landmarks=tmp_path / "none").prepare()
    monkeypatch.setitem(__import__("sys").modules, "face_alignment", None)
    with pytest.raises(NotApplicable, match=r"face-alignment missing .*or give landmarks=DIR"):
        metric_of(store).prepare()


def test_without_a_mean_face_the_column_is_not_applicable(tmp_path: Path) -> None:
    entry = Entry(MEAN_FACE, "face.npy", "", "", "")
    empty = WeightsStore(tmp_path / "empty", Catalogue({entry.name: entry}))
    with pytest.raises(WeightsError, match=f"weights {MEAN_FACE} missing; only you") as caught:
        metric_of(empty, landmarks=tmp_path).prepare()
    assert caught.value.missing == MEAN_FACE
    assert installed().entries[MEAN_FACE].sources, "the shipped catalogue says where it is got"
