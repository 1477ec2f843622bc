"""Where columns and their labels stand in a side-by-side picture, and which letters can be drawn."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from syncdiff_bench.errors import ClipError
from syncdiff_bench.report import lettering as letters
from syncdiff_bench.report.lettering import lettering
from syncdiff_bench.report.side_by_side import GAP, LARGEST, Column, Picture, arranged


def grey(level: int, width: int, height: int) -> Picture:
    return np.full((height, width, 3), level, np.uint8)


def test_frames_stand_under_their_labels_in_the_order_of_columns() -> None:
    sizes = [(40, 30), (80, 60), (20, 30)]  # the second of other resolution, the third of another shape
    columns = [Column(name, size) for name, size in zip("abc", sizes, strict=True)]
    sheet = arranged(columns, scale=10, upscaling="nearest")
    shown = sheet.picture([grey(level, *size) for level, size in zip((10, 60, 110), sizes, strict=True)])
    height, width = shown.shape[:2]
    assert width == 3 * 400 + 2 * GAP and height % 2 == 0 and 300 < height < 350
    for index, level in enumerate((10, 60)):
        left = index * (400 + GAP)
        assert (shown[height - 290 : height - 10, left : left + 400] == level).all()
    third = shown[height - 150, 2 * (400 + GAP) :, 0]
    assert np.flatnonzero(third == 110).tolist() == list(range(100, 300))  # as high as the others, in the middle
    labels = sheet.ground[: height - 302].min(axis=(0, 2)) < 128
    inked = np.flatnonzero(labels)
    assert {int(column) // (400 + GAP) for column in inked} == {0, 1, 2}
    assert all(abs(column % (400 + GAP) - 200) < 20 for column in inked)


def test_pixels_are_repeated_where_they_should_be() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)
    sheet = arranged([Column("a", (40, 30))], scale=7, upscaling="nearest")
    left, top, width, height = sheet.places[0]
    shown = sheet.picture([frame])[top : top + height, left : left + width]
    np.testing.assert_array_equal(shown, frame.repeat(7, axis=0).repeat(7, axis=1))


@pytest.mark.parametrize(("count", "rows", "in_a_row"), [(6, 1, 6), (7, 2, 4), (20, 4, 5)])
def test_many_columns_stand_in_rows(count: int, rows: int, in_a_row: int) -> None:
    sheet = arranged([Column(f"m{i}", (160, 160)) for i in range(count)], scale=None, upscaling="lanczos")
    lefts, tops = {place[0] for place in sheet.places}, {place[1] for place in sheet.places}
    assert (len(tops), len(lefts)) == (rows, in_a_row)
    assert sheet.ground.shape[1] == in_a_row * 320 + (in_a_row - 1) * GAP
    frames = [grey(5 * i, 160, 160) for i in range(count)]
    shown = sheet.picture(frames)
    for i, (left, top, width, height) in enumerate(sheet.places):
        assert (shown[top : top + height, left : left + width] == 5 * i).all()


def test_large_columns_stand_in_rows_rather_than_shrink() -> None:
    sheet = arranged([Column(f"m{i}", (1280, 720)) for i in range(4)], scale=None, upscaling="lanczos")
    assert {place[2:] for place in sheet.places} == {(1280, 720)}
    assert len({place[1] for place in sheet.places}) == 2


@pytest.mark.parametrize("size", [(1920, 1080), (1080, 1920), (3840, 2160), (7, 5)])
@pytest.mark.parametrize("count", [1, 2, 5, 30])
def test_no_sheet_is_larger_than_players_show(size: tuple[int, int], count: int) -> None:
    """And none is stretched."""
    sheet = arranged([Column(f"method-{i}", size) for i in range(count)], scale=None, upscaling="lanczos")
    height, width = sheet.ground.shape[:2]
    assert width <= LARGEST[0] and height <= LARGEST[1] and not width % 2 and not height % 2
    for _, _, w, h in sheet.places:
        assert abs(w * size[1] - h * size[0]) <= max(size)


def test_a_scale_that_is_too_large_is_refused_and_never_changed() -> None:
    columns = [Column(name, (160, 160)) for name in "ab"]
    assert arranged(columns, scale=12, upscaling="lanczos").places[0][2:] == (1920, 1920)
    with pytest.raises(ClipError, match="more than players show; give a smaller --scale"):
        arranged(columns, scale=14, upscaling="lanczos")


def test_a_long_label_is_broken_and_stays_in_its_column() -> None:
    name = "a-method-with-a-very-long-name-in-one-word (runs/seed-0)"
    sheet = arranged([Column(name, (160, 160)), Column("b", (160, 160))], scale=1, upscaling="lanczos")
    _, top, _, _ = sheet.places[0]
    ink = np.flatnonzero(sheet.ground[:top].min(axis=(0, 2)) < 200)
    long = [column for column in ink if column < 160]
    assert not any(160 <= column < 164 for column in ink) and min(long) >= 2 and max(long) < 158
    font = ImageFont.load_default(size=16)
    assert font.getlength(name) > 300 and top >= 3 * 16  # it takes three lines


def test_letters_that_pillow_lacks_come_from_the_system_or_are_question_marks(monkeypatch: pytest.MonkeyPatch) -> None:
    text, font = lettering("wav2lip (a/b)", 18)
    assert (text, font.getname()) == ("wav2lip (a/b)", ImageFont.load_default(size=18).getname())
    monkeypatch.setattr(letters, "OF_THE_SYSTEM", ())
    assert lettering("Modèle 中", 18)[0] == "Mod?le ?"


@pytest.mark.skipif(letters._of_the_system("DejaVuSans.ttf", 18) is None, reason="needs DejaVu Sans")
def test_letters_of_other_languages_are_drawn() -> None:
    text, font = lettering("Modèle Жα", 18)
    assert (text, font.getname()[0]) == ("Modèle Жα", "DejaVu Sans")
