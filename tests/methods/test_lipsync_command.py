"""`syncdiff-bench run` with full-size Wav2Lip and TalkLip out of files in the official layouts (slow)."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch

from syncdiff_bench.cli import main
from syncdiff_bench.media.reading import read_media
from syncdiff_methods.talklip.network import TalkLip
from syncdiff_methods.wav2lip.generator import Wav2Lip

pytestmark = pytest.mark.slow
SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
LRS3 = SHARED / "clips" / "lrs3"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))


def source() -> list[str]:
    """Two clips of LRS3 where they are, else of pocket."""
    found = ["--dataset", "lrs3", "--data-root", str(LRS3)] if LRS3.is_dir() else ["--dataset", "pocket"]
    return [*found, "--limit", "2"]


@pytest.mark.parametrize(("name", "network", "prefix"), [("wav2lip", Wav2Lip, "module."), ("talklip", TalkLip, "")])
def test_a_row_out_of_an_official_file(name: str, network: type[torch.nn.Module], prefix: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = {prefix + key: tensor for key, tensor in network().state_dict().items()}
    content = {"state_dict": state, "optimizer": {"state": {}, "param_groups": []}, "global_step": 1, "global_epoch": 1}
    torch.save(content, tmp_path / "downloaded.pth")
    assert main(["weights", "add", name, str(tmp_path / "downloaded.pth")]) == 0
    arguments = ["run", *source(), "--method", name, "--metrics", "psnr", "--out", "runs", "--encoding", "talklip"]
    # On pocket, Wav2Lip's default is the one that was trained there.
    arguments += ["--set", "checkpoint=wav2lip"] if name == "wav2lip" else []
    assert main(arguments) == 0
    run = json.loads((tmp_path / "runs" / name / "run.json").read_text())
    (entry,) = run["summary"]
    assert entry["n"] == 2 and entry["failed"] == 0 and entry["mean"] > 5
    assert run["encoding"] == "talklip"
    assert run["method"]["options"]["reference"] == "first"
    assert run["method"]["weights"][0]["name"] == name and len(run["method"]["weights"][0]["sha256"]) == 64
    videos = sorted((tmp_path / "runs" / name / "videos").rglob("*.mp4"))
    assert len(videos) == 2
    frames = read_media(videos[0]).frames
    assert frames.shape[1] == frames.shape[2] and np.ptp(frames) > 100
