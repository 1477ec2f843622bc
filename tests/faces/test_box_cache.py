"""The folder of detected boxes is listed once for tens of thousands of clips, and what comes in later is seen."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.faces import cache
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.faces.detection import keep_boxes


@pytest.fixture(autouse=True)
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path))
    (tmp_path / "faces").mkdir()
    return tmp_path / "faces"


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that were listed."""
    seen: list[str] = []
    listing = os.listdir

    def noted(folder: Path) -> list[str]:
        seen.append(str(folder))
        return listing(folder)

    monkeypatch.setattr(cache.os, "listdir", noted)
    return seen


def add(faces: Path, *names: str, age: float = 60.0) -> None:
    """Entries, and a folder that changed so many seconds ago."""
    for name in names:
        (faces / name).touch()
    facts = faces.stat()
    os.utime(faces, (facts.st_atime, facts.st_mtime - age))


def test_entries_are_those_of_the_content_and_the_detector(faces: Path) -> None:
    add(
        faces,
        "aa-s3fd-2.npz",
        "aa-s3fd-1.npz",
        "aa-dlib-hog-20.npz",
        "ab-s3fd-1.npz",
        "aa-s3fd-3.npy",
        ".aa-s3fd-4",
    )
    assert cache.entries("aa", "s3fd") == [faces / "aa-s3fd-1.npz", faces / "aa-s3fd-2.npz"]
    assert cache.entries("aa", "dlib-hog") == [faces / "aa-dlib-hog-20.npz"]
    assert cache.entries("a", "s3fd") == cache.entries("aa", "s3f") == []
    kept = cache.kept(("s3fd", "dlib-hog"))
    assert kept == {"s3fd": {"aa": ["s3fd-1", "s3fd-2"], "ab": ["s3fd-1"]}, "dlib-hog": {"aa": ["dlib-hog-20"]}}


def test_a_folder_that_does_not_change_is_listed_once(faces: Path, listings: list[str]) -> None:
    add(faces, *(f"{number:04x}-s3fd-1.npz" for number in range(200)))
    assert all(cache.entries(f"{number:04x}", "s3fd") for number in range(200))
    assert listings == [str(faces)]


def test_an_entry_that_comes_in_is_seen(faces: Path) -> None:
    for number in range(20):  # within one tick of the file system's clock
        assert cache.entries(f"{number}", "s3fd") == []
        (faces / f"{number}-s3fd-1.npz").touch()
        assert cache.entries(f"{number}", "s3fd") == [faces / f"{number}-s3fd-1.npz"]


def test_a_long_list_is_not_read_for_every_clip_that_is_written(
    faces: Path, listings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MANY", 0)
    monkeypatch.setattr(cache, "OF_USE", 1e9)
    boxes = FaceBoxes(np.zeros((2, 4), np.int32), "dlib-hog-20", np.ones(2, np.bool_))
    keep_boxes(cache.entry("faces", "first", "dlib-hog-20"), boxes)  # looks for what dead processes left, once
    listings.clear()
    for number in range(50):
        assert cache.entries(f"{number}", "s3fd") == []
        keep_boxes(cache.entry("faces", f"{number}", "dlib-hog-20"), boxes)
    assert listings.count(str(faces)) == 1
    # What a plan rests on is as the folder is now.
    assert len(cache.kept(("dlib-hog",))["dlib-hog"]) == 51


def test_no_folder_holds_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "none"))
    assert (cache.entries("aa", "s3fd"), cache.kept(("s3fd",))) == ([], {"s3fd": {}})
