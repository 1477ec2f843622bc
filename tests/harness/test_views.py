"""Data sets that show another's clips otherwise: pairs, damaged files; the rest is the data set's own."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from syncdiff_bench import plugins
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Dataset, Media, Planes, Spoken
from syncdiff_bench.errors import ClipError, NoBoxes, UsageError
from syncdiff_bench.media.reading import read_media
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.plugins import load_dataset
from syncdiff_bench.runs.directory import load_run
from syncdiff_bench.runs.layout import video_name
from syncdiff_bench.views import AcceptingDataset, BoxedDataset, PairedDataset

pytestmark = pytest.mark.usefixtures("work_folder")
FACTS = {
    "default_split": "odd",
    "default_metrics": ("psnr[region=full]",),
    "text_rule": "official",
    "drawn_faces": True,
}


@pytest.mark.parametrize("view", [AcceptingDataset, BoxedDataset, PairedDataset])
def test_a_view_says_of_its_clips_what_their_data_set_says(view: Any, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"x")
    of = load_dataset("folder", tmp_path)
    assert all(getattr(of, fact) != value for fact, value in FACTS.items()), "or the test sees nothing"
    for fact, value in FACTS.items():
        setattr(of, fact, value)
    options = load_dataset("folder", tmp_path, {"pairs": str(tmp_path / "none.txt")}).options
    shown = view(of, options)
    assert {fact: getattr(shown, fact) for fact in FACTS} == FACTS
    assert shown.name == ("folder-pairs" if view is PairedDataset else "folder")
    assert (shown.root, shown.splits(), shown.of) == (of.root, of.splits(), of)


# ---------------------------------------------------------------------------------------------------------------- pairs


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """a: 6 frames, b: 4, mute: no sound. Frames and samples of a are 10, of b 20; b speaks, and has boxes."""
    root = tmp_path / "clips"
    (root / "boxes").mkdir(parents=True)
    for name, n, value, sound in (("a", 6, 10, True), ("b", 4, 20, True), ("sub/mute", 4, 30, False)):
        (root / name).parent.mkdir(exist_ok=True)
        frames = np.full((n, 32, 32, 3), value, np.uint8)
        write_video(root / f"{name}.mp4", Media(frames, np.full(640 * n if sound else 0, value, np.int16)))
    (root / "b.txt").write_text("two words")
    np.save(root / "boxes" / "b.npy", np.tile([1, 2, 30, 31], (4, 1)))
    return root


def paired(root: Path, text: str) -> Dataset:
    path = root.parent / "pairs.txt"
    path.write_text(text)
    return plugins.load_dataset("folder", root, {"pairs": str(path)})


def only_clip(dataset: Dataset) -> Clip:
    (clip_id,) = dataset.clip_ids("all")
    return dataset.clip(clip_id)


def facts(clip: Clip) -> tuple[int, int, int, int]:
    """(frames, grey level, samples, sample value)."""
    return len(clip.frames), int(clip.frames[0, 0, 0, 0]), len(clip.audio), int(clip.audio[0])


# ------------------------------------------------------------------------------------------------------ one pair


def test_the_first_word_is_the_sound(clips: Path) -> None:
    clip = only_clip(paired(clips, "b a\n"))
    assert clip.id == "00001/a/with-sound-of/b"
    assert facts(clip) == (4, 10, 2560, 20)  # a's pictures, b's sound, the shorter of the two
    assert clip.media.notes == ("sound of b", "cut to the sound: 6 -> 4 frames")
    assert clip.transcript == "two words"
    with pytest.raises(NoBoxes, match="finds no face in any frame"):
        _ = clip.face_boxes


def test_a_longer_sound_is_cut_to_the_video(clips: Path) -> None:
    clip = only_clip(paired(clips, "a b"))
    assert facts(clip) == (4, 20, 2560, 10)
    assert clip.media.notes == ("sound of a", "sound cut to the video: 3840 -> 2560 samples")
    assert clip.transcript is None
    assert (clip.face_boxes.source, clip.face_boxes.boxes[0].tolist()) == ("file", [1, 2, 30, 31])


def test_a_clip_paired_with_itself_is_that_clip(clips: Path) -> None:
    clip = only_clip(paired(clips, "b b"))
    assert clip.audio_from is None
    assert facts(clip) == (4, 20, 2560, 20)
    assert clip.transcript == "two words"


def test_a_sound_that_is_none(clips: Path) -> None:
    with pytest.raises(ClipError, match="sub/mute has no audio track") as caught:
        _ = only_clip(paired(clips, "sub/mute a")).media
    assert caught.value.kind == "no-audio"
    assert facts(only_clip(paired(clips, "a sub/mute"))) == (4, 30, 2560, 10)


def test_everything_of_the_sound_goes_with_it_and_nothing_of_its_pictures() -> None:
    """A short sound ends inside its last frame; planes are cut as the frames are."""
    grey = np.arange(5 * 4 * 4, dtype=np.uint8).reshape(5, 4, 4)
    planes = Planes(grey, grey[:, ::2, ::2], grey[:, ::2, ::2], "420", full_range=False)
    frames = np.zeros((5, 4, 4, 3), np.uint8)
    pictures = Clip("v", "x", preloaded=Media(frames, np.ones(9, np.int16), ("note",), planes))
    sound = Clip("a", "x", spoken=(Spoken("hi", 0, 1),), preloaded=Media(frames[:1], np.full(641, 3, np.int16)))
    media = replace(pictures, audio_from=sound).media
    assert media.frames.shape == (2, 4, 4, 3)
    assert media.audio.tolist() == [3] * 641
    assert media.notes == ("note", "sound of a", "cut to the sound: 5 -> 2 frames")
    assert media.planes is not None
    assert [len(plane) for plane in (media.planes.luma, media.planes.blue, media.planes.red)] == [2, 2, 2]


# ------------------------------------------------------------------------------------------------------ the list


def test_repeated_pairs_have_ids_of_their_own_that_name_files(clips: Path) -> None:
    dataset = paired(clips, "\ufeffa b\n\n  a   b  \nb\tsub/mute\r\n")
    ids = dataset.clip_ids("all")
    assert ids == ("00001/b/with-sound-of/a", "00003/b/with-sound-of/a", "00004/sub/mute/with-sound-of/b")
    assert [str(video_name(clip_id)) for clip_id in ids] == [f"{clip_id}.mp4" for clip_id in ids]
    assert {dataset.clip(clip_id).id for clip_id in ids} == set(ids)


def test_tabs_let_names_hold_spaces(clips: Path) -> None:
    (clips / "b.mp4").rename(clips / "two words.mp4")
    assert facts(only_clip(paired(clips, "two words\ta"))) == (4, 10, 2560, 20)


def test_lists_may_leave_the_split_out(tmp_path: Path) -> None:
    for talk in ("0Fi83BHQsMA", "QoT0S2vu9m4"):
        path = tmp_path / "lrs3" / "test" / talk / "00002.mp4"
        write_video(path, Media(np.zeros((2, 32, 32, 3), np.uint8), np.ones(1280, np.int16)))
        path.with_suffix(".txt").write_text(f"Text:  {talk}\n")
    (tmp_path / "list.txt").write_text(
        "0Fi83BHQsMA/00002 QoT0S2vu9m4/00002\ntest/QoT0S2vu9m4/00002 0Fi83BHQsMA/00002\n"
    )
    dataset = plugins.load_dataset("lrs3", tmp_path / "lrs3", {"pairs": str(tmp_path / "list.txt")})
    first, second = dataset.clip_ids("test")
    assert first == "00001/test/QoT0S2vu9m4/00002/with-sound-of/test/0Fi83BHQsMA/00002"
    assert second == "00002/test/0Fi83BHQsMA/00002/with-sound-of/test/QoT0S2vu9m4/00002"
    clip = dataset.clip(first)
    assert (clip.transcript, clip.speaker) == ("0fi83bhqsma", "QoT0S2vu9m4")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a b\n\nc a\n", "line 3: no clip 'c' in split 'all' of folder"),
        ("a b\na ../b\n", r"line 2: no clip '\.\./b'"),
        ("a b\na\n", r"line 2: expected `AUDIO VIDEO`, two clip ids; got 'a'"),
        ("a b c\n", "line 1: expected `AUDIO VIDEO`"),
        ("\n", "holds no pair"),
    ],
)
def test_lines_that_are_no_pair(clips: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        paired(clips, text).clip_ids("all")
    assert "pairs.txt" in str(caught.value)
    findings = [finding for finding in paired(clips, text).verify("all") if finding.level == "error"]
    assert [finding.where for finding in findings] == [str(clips.parent / "pairs.txt")]


def test_a_list_of_windows_is_read_and_one_that_is_no_text_is_refused(clips: Path) -> None:
    dataset = paired(clips, "")
    path = clips.parent / "pairs.txt"
    path.write_bytes("a b\r\n".encode("utf-16"))
    assert dataset.clip_ids("all") == ("00001/b/with-sound-of/a",)
    assert ("note", "decoded from utf-16-le") in [(one.level, one.message) for one in dataset.verify("all")]
    path.write_bytes(b"a b\na \x81\n")
    with pytest.raises(UsageError, match=r"pairs\.txt line 2: byte 0x81"):
        dataset.clip_ids("all")


def test_what_is_wrong_with_a_transcript_goes_with_the_sound(clips: Path) -> None:
    (clips / "b.txt").write_bytes(b"\x81")
    clip = only_clip(paired(clips, "b a\n"))
    assert clip.transcript is None and "b.txt line 1: byte 0x81" in clip.transcript_note
    assert only_clip(paired(clips, "a b\n")).transcript_note == ""


def test_a_list_that_is_not_there(clips: Path) -> None:
    dataset = plugins.load_dataset("folder", clips, {"pairs": "nowhere.txt"})
    with pytest.raises(UsageError, match=r"pairs nowhere\.txt cannot be read"):
        dataset.clip_ids("all")
    with pytest.raises(ClipError, match=r"not a pair of nowhere\.txt"):
        dataset.clip("a")


def test_the_fingerprint_covers_list_and_clips(clips: Path) -> None:
    first = paired(clips, "a b").fingerprint("all")
    assert paired(clips, "a b").fingerprint("all") == first
    assert paired(clips, "b a").fingerprint("all") != first
    write_video(clips / "c.mp4", Media(np.zeros((1, 32, 32, 3), np.uint8), np.zeros(0, np.int16)))
    assert paired(clips, "a b").fingerprint("all") != first


# ---------------------------------------------------------------------------------------------------- the option


def test_every_dataset_has_the_option_beside_its_own(toy_plugins: Path, tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("s0/0 s0/1\n")
    dataset = plugins.load_dataset("toy", options={"pairs": "p.txt", "mark": "b"})
    assert isinstance(dataset, PairedDataset)
    assert dataset.of.options.mark == "b"
    assert (dataset.name, dataset.default_metrics) == ("toy-pairs", ("toy-error",))
    assert type(plugins.load_dataset("toy", options={"mark": "b"}).options).__name__ == "ToyOptions"
    with pytest.raises(UsageError, match="unknown option 'pair' of toy; did you mean 'pairs'"):
        plugins.load_dataset("toy", options={"pair": "p.txt"})


def run_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (path / "scores.jsonl").read_text().splitlines()]


def test_a_run_over_pairs(clips: Path, toy_plugins: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Videos carry the sound of the pair; a metric with a reference is n/a but for the matched line."""
    Path("pairs.txt").write_text("b a\nb b\n")
    data = ["--dataset", "folder", "--data-root", str(clips), "--dataset-set", "pairs=pairs.txt"]
    assert main(["run", "--method", "gt", *data, "--metrics", "toy-error"]) == 0
    path = Path("runs/folder-pairs-test/gt")
    mismatched, matched = load_run(path).identity.clips
    video = read_media(path / "videos" / f"{mismatched}.mp4")
    assert (video.frames[:, 0, 0, 0].tolist(), video.audio.tolist()) == ([10] * 4, [20] * 2560)
    rows = {row["clip"]: row for row in run_rows(path)}
    assert rows[mismatched]["error"]["kind"] == "not-applicable"
    assert rows[mismatched]["error"]["message"].startswith("the sound is another clip's (pairs)")
    assert rows[matched]["values"] == {"err": 0.0}
    assert rows[matched]["dataset"] == "folder-pairs"
    (entry,) = load_run(path).manifest["summary"]
    assert (entry["n"], entry["failed"]) == (1, 0)
    assert load_run(path).manifest["notes"][mismatched] == ["sound of b", "cut to the sound: 6 -> 4 frames"]

    assert main(["score", str(path), "--metrics", "psnr"]) == 0
    errors = {row["clip"]: row["error"] for row in run_rows(path) if row["metric"] == "psnr"}
    assert errors[mismatched]["kind"] == "not-applicable"
    assert errors[matched] is None

    Path("pairs.txt").write_text("b a\na a\n")
    capsys.readouterr()
    assert main(["run", "--method", "gt", *data, "--metrics", "toy-error"]) == 2
    assert "choose another --out" in capsys.readouterr().err


def test_lse_needs_no_matching_reference(tmp_path: Path) -> None:
    """On pocket: the sound that belongs there is in sync, another one is not."""
    dataset = plugins.load_dataset("pocket")
    a, b = dataset.clip_ids("test")[:2]
    Path("pairs.txt").write_text(f"{a} {a}\n{b} {a}\n")
    command = ["run", "--method", "gt", "--metrics", "lse[weights=pocket],psnr", "--dataset-set", "pairs=pairs.txt"]
    assert main(command) == 0
    values = [row["values"] for row in run_rows(Path("runs/pocket-pairs-test/gt")) if row["metric"] == "lse"]
    assert values[0]["lse_c"] > values[1]["lse_c"] + 2
    psnr = [row["error"] for row in run_rows(Path("runs/pocket-pairs-test/gt")) if row["metric"] == "psnr"]
    assert psnr[0] is None and psnr[1]["kind"] == "not-applicable"


# ------------------------------------------------------------------------------------------- damaged files

PSNR = ["--metrics", "psnr[region=full]"]


@pytest.fixture
def damaged(work_folder: Path) -> None:
    """Three clips in `truth/`, brighter ones in `made/`, of which `b` has a picture of zeros in place of its bytes."""
    random = np.random.default_rng(0)
    for name in "abc":
        frames = random.integers(8, 240, (12, 32, 32, 3)).astype(np.uint8)
        sound = random.integers(-3000, 3000, 640 * 12).astype(np.int16)
        write_video(Path("truth", f"{name}.mp4"), Media(frames, sound))
        write_video(Path("made", f"{name}.mp4"), Media(frames + 4, sound))
    with av.open("made/b.mp4") as container:
        packet = bytes(list(container.demux(video=0))[6])
    data = Path("made/b.mp4").read_bytes()
    Path("made/b.mp4").write_bytes(data.replace(packet[500:], bytes(len(packet) - 500)))


@pytest.mark.usefixtures("damaged")
def test_without_it_the_clip_fails_and_with_it_the_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    score = ["score", "--videos", "made", "--reference", "truth", *PSNR]
    assert main([*score, "--out", "refused", "--strict"]) == 1
    refused = capsys.readouterr()
    assert "damaged" in refused.err
    assert "accept_damaged" not in json.dumps(load_run(Path("refused/videos")).manifest)

    main([*score, "--out", "accepted", "--accept-damaged"])
    accepted = capsys.readouterr()
    assert "1 of 3 clips: the file is damaged" in accepted.out
    assert "of 12 pictures are damaged" in accepted.out
    assert load_run(Path("accepted/videos")).manifest["dataset"]["options"]["accept_damaged"] is True


@pytest.mark.usefixtures("damaged")
def test_a_run_that_accepts_is_another_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--method", "gt", "--dataset", "folder", "--data-root", "made", "--out", "out", *PSNR]
    assert main(run) == 0
    capsys.readouterr()
    assert main([*run, "--accept-damaged"]) == 2
    assert "accept_damaged" in capsys.readouterr().err
    assert main([*run[:-4], "--out", "again", *PSNR, "--accept-damaged"]) == 0
    assert "1 of 3 clips: the file is damaged" in capsys.readouterr().out
    assert load_run(Path("again/gt")).manifest["versions"]["libavcodec"]
    assert main(["score", "again", *PSNR]) == 0  # opens the data as recorded


@pytest.mark.usefixtures("damaged")
def test_it_is_an_option_of_every_dataset_and_of_pairs(tmp_path: Path) -> None:
    Path("pairs.txt").write_text("a b\n", encoding="utf-8")
    accepting = plugins.load_dataset("folder", tmp_path / "made", {"accept_damaged": True, "pairs": "pairs.txt"})
    (clip_id,) = accepting.clip_ids("all")
    assert any(one.kind == "damaged" for one in accepting.clip(clip_id).media.caveats)
    refusing = plugins.load_dataset("folder", tmp_path / "made", {"pairs": "pairs.txt"})
    with pytest.raises(ClipError, match="damaged"):
        _ = refusing.clip(clip_id).media
    recorded = {"boxes": "", "accept_damaged": True}
    assert plugins.load_dataset("folder", tmp_path / "made", recorded).clip("b").accept_damaged
    assert not plugins.load_dataset("folder", tmp_path / "made", {"boxes": ""}).clip("b").accept_damaged
