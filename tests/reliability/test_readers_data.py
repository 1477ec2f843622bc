"""Damaged files of a data set: split lists, pairs, transcripts, boxes, landmarks, poses, and what is kept of them."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st
from reading import damaged_bytes, read_all, short_and_long

from syncdiff_bench.clips import known_landmarks
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.boxes import read_boxes, read_detected
from syncdiff_bench.faces.landmarks import landmarks_in
from syncdiff_bench.plugins import load_dataset
from syncdiff_bench.reproduction.probing import read_poses
from syncdiff_bench.testing.samples import sample_clip
from syncdiff_bench.weights.digests import KnownFiles, digest_of
from syncdiff_datasets.pocket.dataset import SHIPPED, PocketFolder
from syncdiff_datasets.transcripts import read_transcript
from syncdiff_methods.syncdiff.audio import _saved_windows

CLIPS = ("3000000000000000000/00001", "3000000000000000001/00001")
FRAMES = 8
TEXTS = (
    "Text:  BIN BLUE AT F TWO NOW\nConf:  9\nWORD START END ASDSCORE\nBIN 0.1 0.4 3\n",
    "Text:  ÜBER\nRef: 3\n\nFRAME X Y W H\n1 2 3 4 5\n",
    "a plain transcript\nof two lines\n",
)


@pytest.fixture(scope="module")
def pocket(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of pocket's test split in a folder of their own."""
    folder = tmp_path_factory.mktemp("pocket")
    for kind in ("main", "boxes", "landmarks", "phones"):
        for clip in CLIPS:
            for file in (SHIPPED / "mvlrs_v1" / kind).glob(f"{clip}.*"):
                (folder / "mvlrs_v1" / kind / clip).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, folder / "mvlrs_v1" / kind / clip.partition("/")[0])
    (folder / "mvlrs_v1" / "test.txt").write_text("".join(f"{clip}\n" for clip in CLIPS))
    return folder


def damaged_arrays(*arrays: Any) -> st.SearchStrategy[bytes]:
    """`.npy` files: these, and others of a strange dtype or shape, damaged as bytes or whole."""
    whole = [_saved(np.save, array) for array in arrays]
    bytewise: st.SearchStrategy[bytes] = st.sampled_from(whole).flatmap(damaged_bytes)
    return bytewise | st.sampled_from(whole) | st.builds(_with_header, st.sampled_from(whole), HEADERS)


def _saved(save: Callable[..., None], *arrays: Any, **named: Any) -> bytes:
    file = io.BytesIO()
    save(file, *arrays, **named)
    return file.getvalue()


HEADERS = st.builds(
    "{{'descr': {!r}, 'fortran_order': {}, 'shape': {}, }}".format,
    st.sampled_from(["<i4", "<f4", "|O", "<U9", "|V0", "<M8[s]", "c16", "nonsense", "<i999", ""]),
    st.sampled_from([True, False, None, "'x'"]),
    st.sampled_from([(8, 4), (), (0, 4), (10**12, 4), (-1, 4), (2**62, 2**62), "8", "None", (8.5,), (8, 68, 2)]),
)


def _with_header(data: bytes, header: str) -> bytes:
    """The data behind another header of a `.npy`."""
    padded = header.encode() + b" " * (117 - len(header)) + b"\n"
    return data[:8] + len(padded).to_bytes(2, "little") + padded + data[128:]


STRANGE = (
    *(np.zeros((FRAMES, 4), "O"), np.zeros((FRAMES, 4), "c16"), np.zeros((FRAMES, 4), "U3"), np.zeros((0, 4))),
    *(np.zeros(()), np.zeros((FRAMES, 4), "M8[s]"), np.zeros((FRAMES, 4), [("x", "i4")]), np.full((FRAMES, 4), np.nan)),
    *(np.full((FRAMES, 4), np.inf), np.full((FRAMES, 4), 1e300), np.full((FRAMES, 68, 2), 1e300)),
)


@short_and_long
def test_readers_of_boxes(tmp_path: Path, tries: int) -> None:
    media = sample_clip(frames=FRAMES).media
    strange = [one for one in STRANGE if one.dtype.kind != "O"]
    damaged = damaged_arrays(np.tile(np.array([8, 8, 80, 80], np.int32), (FRAMES, 1)), *strange)
    read_all("boxes", damaged, tmp_path / "a.npy", lambda file: read_boxes(file, media).caveats, tries)
    arrays = {"boxes": np.ones((FRAMES, 4), np.int32), "found": np.ones(FRAMES, bool), "detector": np.array("s3fd-1")}
    archives = [
        _saved(np.savez, **{**arrays, **other}) for other in ({}, {"found": np.zeros(3)}, {"boxes": STRANGE[0]})
    ]
    zipped: st.SearchStrategy[bytes] = st.sampled_from(archives).flatmap(damaged_bytes)
    read_all("detected boxes", zipped, tmp_path / "b.npz", read_detected, tries)


@short_and_long
def test_readers_of_landmarks(tmp_path: Path, tries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    clip = sample_clip(frames=FRAMES)
    strange = [one for one in STRANGE if one.dtype.kind != "O"]
    damaged = damaged_arrays(np.zeros((FRAMES, 68, 2), np.float32), *strange)
    read_all("landmarks", damaged, tmp_path / "l.npy", lambda file: landmarks_in(file, clip.media), tries)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path))
    (tmp_path / "landmarks").mkdir()
    entry = tmp_path / "landmarks" / f"{clip.content}-toy.npy"
    read_all("detected landmarks", damaged, entry, lambda _file: known_landmarks(clip, _Toy()), tries)
    scores = damaged_arrays(np.zeros((FRAMES, 16, 29), np.float32), np.zeros((16, 29), np.float32), *strange)
    read_all("DeepSpeech scores", scores, tmp_path / "d.npy", lambda file: _saved_windows(file, FRAMES), tries)


class _Toy:
    identity = "toy"


def texts(*whole: str) -> st.SearchStrategy[bytes]:
    made: st.SearchStrategy[bytes] = st.sampled_from(whole).flatmap(lambda text: damaged_bytes(text.encode()))
    return made | st.text(max_size=60).map(lambda text: text.encode("utf-8", "surrogatepass"))


@short_and_long
def test_readers_of_transcripts(tmp_path: Path, tries: int) -> None:
    def read(file: Path) -> None:
        read_transcript(file)
        read_transcript(file, plain=True)

    read_all("transcripts", texts(*TEXTS), tmp_path / "t.txt", read, tries)


@short_and_long
def test_readers_of_split_lists(pocket: Path, tmp_path: Path, tries: int) -> None:
    """All that a run does with a list before it decodes a clip."""
    shutil.copytree(pocket, tmp_path / "pocket")
    file = tmp_path / "pocket" / "mvlrs_v1" / "test.txt"

    def read(_file: Path) -> None:
        data = PocketFolder(tmp_path / "pocket")
        for clip in data.clip_ids("test")[:5]:
            with _its_own_failure():
                data.clip(clip)
        data.fingerprint("test")
        list(data.check_split("test", data.clip_ids("test")))

    ids = "".join(f"{clip}\n" for clip in CLIPS)
    read_all("split lists", texts(ids, f"{ids}../x\n", f"{ids}/a b\n"), file, read, tries)


class _its_own_failure:  # noqa: N801 - reads as contextlib's do
    """A clip may fail alone."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: object, _trace: object) -> bool:
        return isinstance(error, ClipError) and "\n" not in str(error)


@short_and_long
def test_readers_of_pairs(pocket: Path, tmp_path: Path, tries: int) -> None:
    def read(file: Path) -> None:
        data = load_dataset("lrs2", pocket, {"pairs": str(file)})
        for clip in data.clip_ids("test"):
            with _its_own_failure():
                data.clip(clip)
        data.fingerprint("test")

    lines = f"{CLIPS[0]} {CLIPS[1]}\n{CLIPS[1]}\t{CLIPS[1]}\n"
    read_all("pairs", texts(lines, f"{lines}{CLIPS[0]} x\n"), tmp_path / "pairs.txt", read, tries)


@short_and_long
def test_readers_of_phones_and_poses(pocket: Path, tmp_path: Path, tries: int) -> None:
    shutil.copytree(pocket, tmp_path / "pocket")
    data = PocketFolder(tmp_path / "pocket")
    phones = tmp_path / "pocket" / "mvlrs_v1" / "phones" / f"{CLIPS[0]}.txt"
    text = phones.read_text()
    read_all("phones", texts(text), phones, lambda _file: data.clip(CLIPS[0]).spoken, tries, name="00001")
    poses = f"# frames\n{CLIPS[0]} 3\n{CLIPS[1]} 4\n"
    read_all(
        "poses", texts(poses, f"{poses}{CLIPS[0]} ²\n"), tmp_path / "p.txt", lambda f: _poses(f, data), tries, name=""
    )


def _poses(file: Path, data: PocketFolder) -> None:
    try:
        read_poses(file, data)
    except UsageError as error:
        assert file.name in str(error)


@short_and_long
def test_notes_of_digests_cost_time_alone(tmp_path: Path, tries: int) -> None:
    """A damaged note is passed over: the digest is worked out anew."""
    weights = tmp_path / "w.bin"
    weights.write_bytes(b"weights")
    expected = digest_of(weights).sha256
    note = tmp_path / "w.bin.sha256.json"

    def read(file: Path) -> None:
        from json import loads

        try:
            known = loads(file.read_bytes())["sha256"]
        except (ValueError, KeyError, TypeError, RecursionError):
            known = None
        assert digest_of(weights).sha256 in (expected, known)

    from reading import damaged_json

    read_all("notes of digests", damaged_json(note.read_bytes()), note, read, tries)
    files = KnownFiles(tmp_path / ".digests.json")
    files.sha256(weights)
    files.save()
    kept = (tmp_path / ".digests.json").read_bytes()

    def read_list(file: Path) -> None:
        found = KnownFiles(file)
        found.sha256(weights)
        found.remember(weights, expected)
        found.save()

    read_all("lists of digests", damaged_json(kept), tmp_path / ".digests.json", read_list, tries)
