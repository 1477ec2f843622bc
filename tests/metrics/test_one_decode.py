"""All six columns of the paper on two clips: every file is opened once, whatever the number of metrics.

The header of a reference is looked at before, as batches are cut by length.
"""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import av
import pytest
from official_files import lpips_file

import syncdiff_datasets
from syncdiff_bench.cli import main
from syncdiff_bench.weights.store import WeightsStore

METRICS = "psnr[protocol=talklip],ssim,lpips,lse[weights=pocket],wer[reader=pocket]"
COLUMNS = {"psnr", "ssim", "lpips", "lse_c", "lse_d", "wer"}
POCKET = Path(syncdiff_datasets.__file__).parent / "pocket" / "data" / "mvlrs_v1" / "main"


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two clips, generated and not scored yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    WeightsStore().add("lpips-alex", lpips_file(tmp_path / "alex.ckpt"), force=True)
    assert main(["generate", "--method", "static", "--dataset", "pocket", "--limit", "2", "--out", "runs"]) == 0
    return tmp_path / "runs" / "static"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each video file was opened; reading pictures and sound opens it once."""
    found: Counter[str] = Counter()
    open_file = av.open

    def counted_open(file: Any, *arguments: Any, **options: Any) -> Any:
        if str(file).endswith(".mp4"):
            found[str(file).removeprefix("file:")] += 1
        return open_file(file, *arguments, **options)

    monkeypatch.setattr(av, "open", counted_open)
    return found


def assert_one_decode(run: Path, opened: Counter[str]) -> None:
    summary = json.loads((run / "run.json").read_text(encoding="utf-8"))["summary"]
    assert {entry["column"]: (entry["n"], entry["failed"]) for entry in summary} == dict.fromkeys(COLUMNS, (2, 0))
    assert all(entry["mean"] is not None for entry in summary)
    generated = {file: n for file, n in opened.items() if Path(file).is_relative_to(run / "videos") or "mine" in file}
    assert len(generated) == 2 and set(generated.values()) == {1}
    references = opened - Counter(generated)
    assert len(references) == 2 and set(references.values()) == {2}


def test_videos_of_a_run(generated: Path, opened: Counter[str]) -> None:
    assert main(["score", str(generated), "--metrics", METRICS]) == 0
    assert_one_decode(generated, opened)


def test_videos_from_anywhere_under_other_names(generated: Path, tmp_path: Path, opened: Counter[str]) -> None:
    for clip_id in (clip.parent.name + "/" + clip.stem for clip in sorted(generated.glob("videos/**/*.mp4"))):
        (video,) = generated.glob(f"videos/**/{clip_id}.mp4")
        (tmp_path / "mine").mkdir(exist_ok=True)
        shutil.copy(video, tmp_path / "mine" / f"{clip_id.replace('/', '_')}.mp4")
        reference = POCKET / f"{clip_id}.mp4"
        (tmp_path / "truth" / clip_id).parent.mkdir(parents=True, exist_ok=True)
        for suffix in (".mp4", ".txt"):
            shutil.copy(reference.with_suffix(suffix), tmp_path / "truth" / f"{clip_id}{suffix}")
    arguments = ["score", "--videos", "mine", "--reference", "truth", "--metrics", METRICS, "--out", "given"]
    assert main(arguments) == 0
    assert_one_decode(tmp_path / "given" / "videos", opened)
