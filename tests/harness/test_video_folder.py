"""Which file of a folder belongs to which clip."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.video_folder import VideoFolder


def folder(root: Path, *names: str) -> VideoFolder:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return VideoFolder(root)


@pytest.mark.parametrize("name", ["a/1.mp4", "a_1.mp4", "a/1.mkv", "a_1.WEBM", "a/1.mp4.avi"])
def test_a_video_is_found_nested_and_flat_in_any_container(tmp_path: Path, name: str) -> None:
    clip_id = "a/1.mp4" if name.endswith(".avi") else "a/1"
    assert folder(tmp_path, name, "a/10.mp4", "a/1.txt", ".a_1.mp4", ".hidden/a/1.mp4").find(clip_id) == tmp_path / name


@pytest.mark.parametrize(("one", "other"), [("x.mkv", "x.mp4"), ("a/x.mp4", "a_x.mp4"), ("x.MP4", "x.mp4")])
def test_two_files_of_one_name_are_refused(tmp_path: Path, one: str, other: str) -> None:
    clip_id = "a/x" if one.startswith("a/") else "x"
    with pytest.raises(ClipError, match=f"{clip_id}: {one} and {other} in {tmp_path} are both named") as caught:
        folder(tmp_path, one, other).find(clip_id)
    assert caught.value.kind == "ambiguous"


def test_ids_that_keep_their_suffix_name_one_file(tmp_path: Path) -> None:
    """A data set of files that differ in nothing else."""
    videos = folder(tmp_path, "x.mkv", "x.mp4")
    assert [videos.find(name).name for name in ("x.mkv", "x.mp4")] == ["x.mkv", "x.mp4"]


def test_a_missing_video_names_both_places(tmp_path: Path) -> None:
    (tmp_path / "a" / "1.mp4").mkdir(parents=True)  # a folder is no video
    with pytest.raises(ClipError, match=f"no video named a/1 nor a_1 in {tmp_path}") as caught:
        folder(tmp_path).find("a/1")
    assert caught.value.kind == "missing"


def test_what_belongs_to_no_clip_is_told(tmp_path: Path) -> None:
    videos = folder(tmp_path, "a/1.mp4", "a_2.mkv", "b.mp4", "c.mp4", "notes.txt")
    (told,) = videos.unclaimed(("a/1", "a/2"))
    assert told.kind == "unclaimed-videos"
    assert told.sentence == "2 videos belong to no clip and took no part (first: b.mp4)"
    assert videos.unclaimed(("a/1", "a/2", "b", "c")) == ()
