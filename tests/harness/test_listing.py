"""What lies below a folder, and how names on disk are found."""

from __future__ import annotations

import os
import socket
import sys
import unicodedata
from pathlib import Path

import pytest

from syncdiff_bench import listing as room
from syncdiff_bench.listing import Oddity, listing, shown_name, spelled, why_no_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")

NFC, NFD = "caf\u00e9", "cafe\u0301"
VIDEOS = frozenset({".mp4", ".mov"})


def odd(root: Path) -> dict[str, str]:
    return {one.name: one.reason for one in listing(root, VIDEOS).odd}


def test_regular_files_are_listed_whatever_their_suffix_is_written_like(tmp_path: Path) -> None:
    for name in (
        "a/b.mp4",
        "a/B.MP4",
        "c.MoV",
        "x.mp4.txt",
        "notes.txt",
        ".hidden.mp4",
        ".folder/d.mp4",
        "e.mp4/f.mp4",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = listing(tmp_path, VIDEOS)
    assert found.files == ("a/B.MP4", "a/b.mp4", "c.MoV", "e.mp4/f.mp4")
    assert found.odd == (Oddity("e.mp4", "is a folder", lost=False),)


def test_links_are_files_where_they_lead_to_one_below_the_folder(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (root / "a" / "real.mp4").touch()
    (tmp_path / "outside.mp4").touch()
    (tmp_path / "root-2").mkdir()  # its path begins like that of the folder
    (tmp_path / "root-2" / "near.mp4").touch()
    targets = {"in": "a/real.mp4", "out": "../outside.mp4", "near": "../root-2/near.mp4", "gone": "nothing.mp4"}
    targets |= {"loop": "loop.mp4", "zero": os.devnull, "long": "n" * 300, "folder": "a"}
    for name, target in targets.items():
        (root / f"{name}.mp4").symlink_to(target)
    (root / "circle").symlink_to(root)
    (root / "dangling").symlink_to("nowhere")  # of no suffix that is asked for
    assert listing(root, VIDEOS).files == ("a/real.mp4", "in.mp4")
    assert odd(root) == {
        "circle": "is a link to a folder and not followed",
        "folder.mp4": "is a link to a folder and not followed",
        "gone.mp4": "is a link to nothing",
        "long.mp4": "cannot be read (File name too long)",
        "loop.mp4": "is a link that leads in a circle",
        "near.mp4": f"is a link that leads out of {root}",
        "out.mp4": f"is a link that leads out of {root}",
        "zero.mp4": "is a device",
    }
    assert {one.name for one in listing(root, VIDEOS).odd if not one.lost} == {"circle", "folder.mp4"}


def test_a_folder_that_is_a_link_itself_holds_its_files(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.mp4").touch()
    (tmp_path / "disk" / "b.mp4").symlink_to("a.mp4")
    (tmp_path / "link").symlink_to("disk")
    assert listing(tmp_path / "link", VIDEOS) == room.Listing(("a.mp4", "b.mp4"), ())


def test_pipes_and_sockets_are_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the path of a socket is short
    os.mkfifo("pipe.mp4")
    with socket.socket(socket.AF_UNIX) as one:
        one.bind("socket.mp4")
        assert odd(tmp_path) == {"pipe.mp4": "is a named pipe", "socket.mp4": "is a socket"}


def test_names_that_cannot_name_a_clip_are_odd(tmp_path: Path) -> None:
    for name in (
        b"caf\xe9.mp4",
        b"back\\slash.mp4",
        b"n" * 217 + b".mp4",
        b"m" * 216 + b".mp4",
        "ñ".encode() * 109 + b".mp4",
    ):
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).touch()
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    (folder / "inside.mp4").touch()
    assert listing(tmp_path, VIDEOS).files == ("m" * 216 + ".mp4",)
    assert odd(tmp_path) == {
        "\\xff": "has a name that is not UTF-8",
        "back\\slash.mp4": "has a backslash in its name, which elsewhere stands between folders",
        "caf\\xe9.mp4": "has a name that is not UTF-8",
        "n" * 100 + "…": "has a name of over 220 bytes",
        "ñ" * 109 + ".mp4": "has a name of over 220 bytes",
    }


def test_a_folder_that_cannot_be_read_costs_the_others_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "closed", "z"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.mp4").touch()
    scandir = os.scandir

    def refusing(path: str | Path) -> object:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)  # a superuser may read anything
    assert listing(tmp_path, VIDEOS).files == ("a/1.mp4", "z/1.mp4")
    assert odd(tmp_path) == {"closed/": "cannot be read (Permission denied)"}
    assert odd(tmp_path / "missing") == {"./": "cannot be read (No such file or directory)"}


@pytest.mark.parametrize("path", ["n" * 300, "a\0b", "file/below"])
def test_a_path_that_cannot_be_is_no_file(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").touch()
    assert why_no_file(tmp_path / path) in (
        "cannot be read (File name too long)",
        "cannot be read (embedded null byte)",
        "does not exist",
    )
    assert why_no_file(tmp_path / "file") == ""


@pytest.mark.parametrize("there", [NFC, NFD])
@pytest.mark.parametrize("asked", [NFC, NFD])
def test_names_are_found_composed_or_not(tmp_path: Path, there: str, asked: str) -> None:
    assert unicodedata.normalize("NFC", NFD) == NFC != NFD
    (tmp_path / there / "x").mkdir(parents=True)
    file = tmp_path / there / "x" / f"{there}.MP4"
    file.touch()
    assert spelled(tmp_path, f"{asked}/x/{asked}.mp4") == file
    assert spelled(tmp_path, f"{asked}/x/{asked}.mov") == tmp_path / there / "x" / f"{asked}.mov"  # not there


def test_the_name_as_given_comes_first_and_new_files_are_seen(tmp_path: Path) -> None:
    assert spelled(tmp_path, "a.mp4") == tmp_path / "a.mp4"
    (tmp_path / "a.MP4").touch()
    assert spelled(tmp_path, "a.mp4") == tmp_path / "a.MP4"
    (tmp_path / "a.mp4").touch()
    assert spelled(tmp_path, "a.mp4") == tmp_path / "a.mp4"
    assert spelled(tmp_path, "A.mp4") == tmp_path / "A.mp4"  # the suffix alone is in any case


def test_a_long_name_in_a_folder_is_shown_with_the_folder() -> None:
    assert shown_name("a/" + "n" * 300) == "a/" + "n" * 100 + "…"
