"""What Wav2Lip reads: mel spectrogram against librosa, windows against hand counts, faces cut from hand-made boxes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.bilinear import cut_faces
from syncdiff_methods.wav2lip.faces import BoxConfig, face_areas, inside, network_input, paste, smoothed
from syncdiff_methods.wav2lip.mel import mel_spectrogram, mel_windows, window_starts

DATA = Path(__file__).parents[1] / "data"
PLAIN = BoxConfig(pads=(0, 0, 0, 0), smooth=False)


def chirp(samples: int = 20_000) -> NDArray[np.int16]:
    """A rising tone and a throbbing one; the golden spectrogram is of these samples."""
    t = np.arange(samples) / 16_000
    tones = 0.3 * np.sin(2 * np.pi * (200 * t + 600 * t * t))
    tones += 0.1 * np.sin(2 * np.pi * 3100 * t) * np.sin(2 * np.pi * 3 * t) ** 2
    return np.round(32_767 * tones).astype(np.int16)


def test_it_is_librosas() -> None:
    """librosa 0.11: stft(pad_mode="reflect"), filters.mel, and the official scaling."""
    with np.load(DATA / "wav2lip_golden.npz", allow_pickle=False) as file:
        expected = file["mel"]
    np.testing.assert_allclose(mel_spectrogram(chirp()), expected, atol=1e-4)


def test_silence_is_the_floor() -> None:
    assert (mel_spectrogram(np.zeros(3200, np.int16)) == -4).all()


def test_windows_start_every_three_columns_and_a_fifth() -> None:
    assert window_starts(11).tolist() == [0, 3, 6, 9, 12, 16, 19, 22, 25, 28, 32]


def test_windows_are_columns_of_the_spectrogram() -> None:
    """20 frames, 65 columns: frames 0 .. 15 have windows of their own, the others share the last 16 columns."""
    audio = chirp(20 * 640)
    mel, windows = mel_spectrogram(audio), mel_windows(audio, 20)
    assert mel.shape == (80, 65) and windows.shape == (20, 80, 16)
    np.testing.assert_array_equal(windows[15], mel[:, 48:64])
    for t in range(16, 20):
        np.testing.assert_array_equal(windows[t], mel[:, 49:65])


def test_a_short_track_is_followed_by_silence() -> None:
    windows = mel_windows(chirp(640 * 10), 40)
    assert windows[2].max() > -2
    assert (windows[20:] == -4).all()
    np.testing.assert_array_equal(windows[:5], mel_windows(chirp(), 20)[:5])  # whose windows end with column 27 of 32


def test_a_longer_track_is_heard_to_its_end() -> None:
    audio = chirp(640 * 12)
    np.testing.assert_array_equal(mel_windows(audio, 4), mel_windows(audio, 12)[:4])


@pytest.mark.parametrize("samples", [1, 400, 640])
def test_one_frame(samples: int) -> None:
    assert mel_windows(chirp(samples), 1).shape == (1, 80, 16)


def test_no_sound() -> None:
    with pytest.raises(ClipError, match="no audio") as caught:
        mel_windows(np.zeros(0, np.int16), 3)
    assert caught.value.kind == "no-audio"
    with pytest.raises(ClipError, match="needs more than 400"):
        mel_spectrogram(chirp(400))


# --------------------------------------------------------------------------------------------- faces


def boxes(*rows: tuple[int, int, int, int]) -> NDArray[np.int32]:
    return np.array(rows, np.int32)


def test_the_worked_example_of_smoothing() -> None:
    """docs/spec/wav2lip.md#boxes."""
    x1 = np.array([10, 12, 14, 16, 18, 20], np.int32)
    assert smoothed(x1).tolist() == [14, 16, 16, 17, 17, 17]
    assert x1.tolist() == [10, 12, 14, 16, 18, 20]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ([10], [10]),  # boxes[-4:] is all of them
        ([10, 20], [15, 17]),  # boxes[-3:]; the second sees the first already averaged
        ([10, 20, 30], [25, 25, 27]),  # boxes[-2:]
        ([10, 20, 30, 40], [40, 40, 40, 40]),  # boxes[-1:]
    ],
)
def test_smoothing_of_fewer_boxes_than_it_averages(given: list[int], expected: list[int]) -> None:
    assert smoothed(np.array(given, np.int32)).tolist() == expected


def test_pads_are_cut_at_the_border_before_smoothing() -> None:
    given = boxes(*[(10, 20, 90, 95)] * 5)
    assert face_areas(given, (100, 120), BoxConfig()).tolist() == [[10, 20, 90, 100]] * 5
    padded = face_areas(given, (100, 120), BoxConfig(pads=(30, 0, 4, 50), smooth=False))
    assert padded.tolist() == [[6, 0, 120, 95]] * 5


def test_boxes_reach_no_further_than_each_side_of_a_frame() -> None:
    """Width bounds x and height bounds y (the official TalkLip bounds both by the height)."""
    assert inside(boxes((-5, -6, 200, 200)), (60, 150)).tolist() == [[0, 0, 150, 60]]


@pytest.mark.parametrize("box", [(50, 10, 50, 40), (70, 10, 90, 40), (10, 45, 20, 60), (-9, 0, 0, 9)])
def test_a_box_without_pixels_names_its_frame(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ClipError, match=r"of frame 1 holds no pixel of 64x40") as caught:
        face_areas(boxes((0, 0, 9, 9), box), (40, 64), PLAIN)
    assert caught.value.kind == "boxes"


def test_faces_are_bgr() -> None:
    frames = np.zeros((2, 50, 60, 3), np.uint8)
    frames[:, 10:40, 5:35] = (200, 100, 50)
    faces = cut_faces(frames[..., ::-1], boxes((5, 10, 35, 40), (5, 10, 35, 40)))
    assert faces.shape == (2, 96, 96, 3)
    assert (faces == (50, 100, 200)).all()


def test_the_network_sees_half_a_face_and_a_whole_reference() -> None:
    faces, references = (np.full((1, 96, 96, 3), level, np.uint8) for level in (51, 255))
    seen = network_input(faces, references)
    assert seen.shape == (1, 6, 96, 96) and seen.dtype == np.float32
    np.testing.assert_allclose(seen[:, :3, :48], 0.2)
    assert (seen[:, :3, 48:] == 0).all()
    assert (seen[:, 3:] == 1).all()


def test_what_is_cut_out_goes_back_to_its_place() -> None:
    """A box of 96 x 96 needs no resizing: cutting and pasting is the identity, and nothing else moves."""
    frames = np.random.default_rng(0).integers(0, 256, (1, 120, 130, 3), np.uint8)
    area = boxes((20, 10, 116, 106))
    face = cut_faces(frames[..., ::-1], area)[0]
    canvas = np.zeros((120, 130, 3), np.uint8)
    paste(canvas, face, area[0])
    np.testing.assert_array_equal(canvas[10:106, 20:116], frames[0, 10:106, 20:116])
    canvas[10:106, 20:116] = 0
    assert not canvas.any()
