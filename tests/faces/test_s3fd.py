"""S3FD: input, thresholds and failures on stand-ins; and the real package on weights in the published layout.

The published weights are not here, so the real network gets filled ones; what comes out is compared with the decoding
of docs/spec/face-boxes.md#s3fd, written again below. These tests run where the extra `faces` is installed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from official_files import by_number
from torch import Tensor, nn

from syncdiff_bench.errors import NotApplicable, WeightsError
from syncdiff_bench.faces import s3fd
from syncdiff_bench.faces.s3fd import S3FD, SYNCNET, WAV2LIP
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_bench.weights.store import WeightsStore

HEADS = 0.16
FILE = "s3fd-619a316812.pth"


def stored(folder: Path, content: Any) -> WeightsStore:
    """A weights store that holds these tensors under the published name."""
    torch.save(content, folder / FILE)
    return WeightsStore(folder)


# --------------------------------------------------------------------------------------------- stand-ins


class Net(nn.Module):
    """In place of the network: hands its input on, so that the test sees it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1_1 = nn.Conv2d(3, 1, 1)

    def forward(self, x: Tensor) -> list[Tensor]:
        return [x, x]


def overlap_to_all(one: NDArray[Any], others: NDArray[Any]) -> NDArray[Any]:
    """Intersection over union with the +1 of pixel counting (docs/spec/face-boxes.md#s3fd)."""
    low, high = np.maximum(one[:2], others[:, :2]), np.minimum(one[2:4], others[:, 2:4])
    common = np.maximum(high - low + 1, 0).prod(axis=1)
    areas = [np.prod(np.atleast_2d(box)[:, 2:4] - np.atleast_2d(box)[:, :2] + 1, axis=1) for box in (one, others)]
    return common / (areas[0] + areas[1] - common)


def suppress(rows: NDArray[Any], threshold: float) -> list[int]:
    left, kept = list(np.argsort(-rows[:, 4], kind="stable")), []
    while left:
        kept.append(int(left.pop(0)))
        left = [i for i in left if overlap_to_all(rows[kept[-1]], rows[i : i + 1])[0] <= threshold]
    return kept


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """`face_alignment` in a few lines; every frame has the candidates that the test puts into the list."""
    candidates: list[Any] = []

    def predictions(maps: list[NDArray[Any]], n: int) -> NDArray[Any]:
        assert [len(values) for values in maps] == [n, n]
        np.testing.assert_allclose(maps[0].sum(axis=1), 1, rtol=1e-6)  # scores have gone through a softmax
        seen.append(maps[1])
        return np.array([candidates] * n, np.float64)

    seen: list[Any] = []
    modules = {
        "net_s3fd": SimpleNamespace(s3fd=Net),
        "detect": SimpleNamespace(get_predictions=predictions, seen=seen),
        "bbox": SimpleNamespace(nms=suppress),
    }
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, f"face_alignment.detection.sfd.{name}", module)
    for name in ("face_alignment", "face_alignment.detection", "face_alignment.detection.sfd"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace())
    return candidates


def inputs() -> list[NDArray[np.float32]]:
    seen: list[NDArray[np.float32]] = sys.modules["face_alignment.detection.sfd.detect"].seen
    return seen


def test_wav2lip_takes_the_means_off_in_the_wrong_order(package: list[Any], tmp_path: Path) -> None:
    """docs/spec/face-boxes.md#s3fd: RGB minus (104, 117, 123), though these are the means of blue, green and red."""
    frames = np.zeros((1, 2, 2, 3), np.uint8)
    frames[..., :] = (200, 150, 130)
    S3FD("cpu", stored(tmp_path, Net().state_dict())).detect(frames)
    np.testing.assert_array_equal(inputs()[0][0, :, 0, 0], [200 - 104, 150 - 117, 130 - 123])
    S3FD("cpu", WeightsStore(tmp_path), SYNCNET).detect(frames)
    np.testing.assert_array_equal(inputs()[1][0, :, 0, 0], [200 - 123, 150 - 117, 130 - 104])


def test_frames_go_through_the_network_in_parts(
    package: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3fd, "PIXELS_PER_PASS", 2 * 4 * 6)
    package.append([1, 1, 4, 4, 0.9])
    found = S3FD("cpu", stored(tmp_path, Net().state_dict())).detect(np.zeros((5, 4, 6, 3), np.uint8))
    assert [len(part) for part in inputs()] == [2, 2, 1]
    assert len(found) == 5


@pytest.mark.parametrize(("thresholds", "kept"), [(WAV2LIP, [0.99, 0.95, 0.6]), (SYNCNET, [0.99])])
def test_scores_and_overlaps_are_exceeded_not_reached(
    package: list[Any], tmp_path: Path, thresholds: s3fd.Thresholds, kept: list[float]
) -> None:
    package += [
        [0, 0, 9, 9, 0.6 - 0.1],  # a score of exactly 0.5
        [100, 0, 109, 9, 0.95],  # overlaps the next in 2 of 18 columns: more than 0.1, less than 0.3
        [108, 0, 117, 9, 0.99],
        [109, 0, 118, 9, 0.97],  # suppressed by the one before
        [0, 50, 9, 59, 0.6],
    ]
    (found,) = S3FD("cpu", stored(tmp_path, Net().state_dict()), thresholds).detect(np.zeros((1, 4, 4, 3), np.uint8))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[:, 4], kept)


def test_no_candidate_is_no_face(package: list[Any], tmp_path: Path) -> None:
    found = S3FD("cpu", stored(tmp_path, Net().state_dict())).detect(np.zeros((2, 4, 4, 3), np.uint8))
    assert [one.shape for one in found] == [(0, 5), (0, 5)]


def test_the_digest_names_the_detector(package: list[Any], tmp_path: Path) -> None:
    detector = S3FD("cpu", stored(tmp_path, Net().state_dict()))
    digest = sha256_of(tmp_path / FILE)
    assert detector.identity == f"s3fd-{digest[:10]}"
    assert [(used.name, used.sha256) for used in detector.weights_used()] == [("s3fd", digest)]


def test_missing_weights_are_named_with_the_mend(tmp_path: Path) -> None:
    with pytest.raises(
        WeightsError, match=r"weights s3fd missing; only you can get it: .*; then .* weights add s3fd FILE"
    ) as caught:
        S3FD("cpu", WeightsStore(tmp_path))
    assert caught.value.missing == "s3fd"


def test_a_missing_package_is_not_applicable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(NotApplicable, match=r"face-alignment missing .*pip install 'syncdiff-bench\[faces\]'"):
        S3FD("cpu", stored(tmp_path, Net().state_dict()))


class Foreign:
    """A class that no weights file should pickle."""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"vgg.0.weight": torch.zeros(1)}, "does not fit Net: conv1_1.weight is missing"),
        ({"state": Foreign()}, "holds the foreign class or function .*Foreign"),
    ],
)
def test_other_files_are_refused_by_name(package: list[Any], tmp_path: Path, content: Any, words: str) -> None:
    with pytest.raises(WeightsError, match=rf"{FILE}.*{words}"):
        S3FD("cpu", stored(tmp_path, content))


# --------------------------------------------------------------------------------------- the real package


def filled(layout: nn.Module) -> dict[str, Tensor]:
    """By number; with weaker heads, so that scores are not all 0 or 1."""
    tensors = by_number(layout.state_dict())
    return {name: HEADS * tensor if "mbox" in name else tensor for name, tensor in tensors.items()}


def decoded(maps: list[Tensor]) -> NDArray[np.float64]:
    """All candidates of one picture, (n, 5): docs/spec/face-boxes.md#s3fd written with nothing but numpy."""
    rows = []
    for level in range(6):
        logits, offsets = (maps[2 * level + k][0].double().numpy() for k in (0, 1))
        face = 1 / (1 + np.exp(logits[0] - logits[1]))
        stride = 2 ** (level + 2)
        for y, x in zip(*np.nonzero(face > 0.05), strict=True):
            dx, dy, dw, dh = offsets[:, y, x]
            centre = np.array([x + 0.5 + 4 * 0.1 * dx, y + 0.5 + 4 * 0.1 * dy]) * stride
            half = 2 * stride * np.exp(0.2 * np.array([dw, dh]))
            rows.append([*(centre - half), *(centre + half), face[y, x]])
    return np.array(rows)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    layout = pytest.importorskip("face_alignment.detection.sfd.net_s3fd", reason="needs the extra faces")
    folder = tmp_path_factory.mktemp("weights")
    network = layout.s3fd()
    tensors = filled(network)
    torch.save(tensors, folder / FILE)
    network.load_state_dict(tensors)
    return folder, network.eval()


def test_the_published_layout(real: tuple[Path, Any]) -> None:
    """VGG's names, four channels in the first head (docs/spec/face-boxes.md#s3fd): 65 tensors, 22,459,110 numbers."""
    tensors = torch.load(real[0] / FILE, weights_only=True)
    assert len(tensors) == 65
    assert sum(tensor.numel() for tensor in tensors.values()) == 22_459_110
    assert tensors["conv3_3_norm_mbox_conf.weight"].shape == (4, 256, 3, 3)
    assert {"conv1_1.weight", "conv7_2.bias", "fc6.weight", "fc7.bias", "conv3_3_norm.weight"} <= set(tensors)


@pytest.mark.parametrize("thresholds", [WAV2LIP, SYNCNET])
def test_faces_of_filled_weights_are_those_of_the_specification(
    real: tuple[Path, Any], thresholds: s3fd.Thresholds
) -> None:
    folder, network = real
    frames = np.random.default_rng(0).integers(0, 256, (2, 64, 48, 3)).astype(np.uint8)
    found = S3FD("cpu", WeightsStore(folder), thresholds).detect(frames)
    for faces, frame in zip(found, frames, strict=True):
        official = frame.astype(np.float32) - np.array(thresholds.means, np.float32)
        with torch.inference_mode():
            rows = decoded(network(torch.from_numpy(official.transpose(2, 0, 1)[None])))
        rows = rows[suppress(rows, 0.3)]
        rows = rows[rows[:, 4] > thresholds.score]
        if thresholds is SYNCNET:
            rows = rows[suppress(rows, 0.1)]
        assert len(rows) > 1
        np.testing.assert_allclose(faces, rows, rtol=1e-4, atol=1e-3)


def test_the_command_line_prepares_with_filled_weights(
    real: tuple[Path, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from syncdiff_bench.cli import main
    from syncdiff_bench.contracts import Media
    from syncdiff_bench.media.writing import write_video
    from syncdiff_datasets.folder import Folder

    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    WeightsStore().add("s3fd", real[0] / FILE)
    frames = np.random.default_rng(1).integers(0, 256, (2, 48, 48, 3)).astype(np.uint8)
    write_video(tmp_path / "data" / "a.mp4", Media(frames, np.zeros(0, np.int16)))
    assert main(["data", "prepare", "faces", "--dataset", "folder", "--data-root", str(tmp_path / "data")]) == 0
    identity = f"s3fd-{sha256_of(real[0] / FILE)[:10]}"
    assert f"1 clips by {identity} (1 now, 0 before)" in capsys.readouterr().out
    assert Folder(tmp_path / "data").clip("a").face_boxes.source == identity
