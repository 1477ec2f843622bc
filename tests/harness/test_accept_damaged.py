"""`--accept-damaged`: one damaged file among whole ones, from the command line to the table."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest

from syncdiff_bench import plugins
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Media
from syncdiff_bench.errors import ClipError
from syncdiff_bench.media.writing import write_video

PSNR = ["--metrics", "psnr[region=full]"]


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three clips in `truth/`, brighter ones in `made/`, of which `b` has a picture of zeros in place of its bytes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
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


def run_json(path: str) -> dict[str, object]:
    return dict(json.loads(Path(path, "run.json").read_text(encoding="utf-8")))


def test_without_it_the_clip_fails_and_with_it_the_table_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    score = ["score", "--videos", "made", "--reference", "truth", *PSNR]
    assert main([*score, "--out", "refused", "--strict"]) == 1
    refused = capsys.readouterr()
    assert "damaged" in refused.err
    assert "accept_damaged" not in json.dumps(run_json("refused/videos"))

    main([*score, "--out", "accepted", "--accept-damaged"])
    accepted = capsys.readouterr()
    assert "1 of 3 clips: the file is damaged" in accepted.out
    assert "of 12 pictures are damaged" in accepted.out
    assert run_json("accepted/videos")["dataset"]["options"]["accept_damaged"] is True  # type: ignore[index]


def test_a_run_that_accepts_is_another_run(capsys: pytest.CaptureFixture[str]) -> None:
    run = ["run", "--method", "gt", "--dataset", "folder", "--data-root", "made", "--out", "out", *PSNR]
    assert main(run) == 0
    capsys.readouterr()
    assert main([*run, "--accept-damaged"]) == 2
    assert "accept_damaged" in capsys.readouterr().err
    assert main([*run[:-4], "--out", "again", *PSNR, "--accept-damaged"]) == 0
    assert "1 of 3 clips: the file is damaged" in capsys.readouterr().out
    manifest = run_json("again/gt")
    assert manifest["versions"]["libavcodec"]  # type: ignore[index]
    assert main(["score", "again", *PSNR]) == 0  # opens the data as recorded


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
