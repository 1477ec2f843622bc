"""All six columns of the paper on two clips: every file is decoded once, whatever the number of metrics."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.media import reading
from syncdiff_bench.networks.lpips import ALEX
from syncdiff_bench.weights.store import WeightsStore

METRICS = "psnr[protocol=talklip],ssim,lpips,lse[weights=pocket],wer[reader=pocket]"
COLUMNS = {"psnr", "ssim", "lpips", "lse_c", "lse_d", "wer"}
OPENINGS = 2  # of a file: one for its pictures, one for its sound


def random_lpips(path: Path) -> Path:
    """The layout of the published file; the distances mean nothing, the network costs what it costs."""
    random = np.random.default_rng(0)
    convs: dict[str, Any] = {}
    content: dict[str, Any] = {"AlexNet_0": convs}
    inputs = 3
    for number, (outputs, kernel, _, _) in enumerate(conv for stage in ALEX for conv in stage):
        shape = (kernel, kernel, inputs, outputs)
        weights = random.standard_normal(shape).astype(np.float32) / np.float32(np.sqrt(kernel * kernel * inputs))
        convs[f"Conv_{number}"] = {"kernel": weights, "bias": np.zeros(outputs, np.float32)}
        content[f"NetLinLayer_{number}"] = {"Conv_0": {"kernel": np.ones((1, 1, outputs, 1), np.float32)}}
        inputs = outputs
    path.write_bytes(pickle.dumps(content, protocol=3))
    return path


@pytest.fixture
def generated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of two clips, generated and not scored yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    WeightsStore().add("lpips-alex", random_lpips(tmp_path / "alex.ckpt"), force=True)
    assert main(["generate", "--method", "static", "--dataset", "pocket", "--limit", "2", "--out", "runs"]) == 0
    return tmp_path / "runs" / "static"


def test_six_columns_and_one_decode_per_file(generated: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decoded: Counter[str] = Counter()
    opened: Counter[str] = Counter()
    decode, open_file = reading._decode, av.open

    def counted_decode(container: Any, stream: Any, rate: Any, path: Path) -> Any:
        decoded[str(path)] += 1
        return decode(container, stream, rate, path)

    def counted_open(file: Any, *arguments: Any, **options: Any) -> Any:
        opened[str(file).removeprefix("file:")] += 1
        return open_file(file, *arguments, **options)

    monkeypatch.setattr(reading, "_decode", counted_decode)
    monkeypatch.setattr(av, "open", counted_open)
    assert main(["score", str(generated), "--metrics", METRICS]) == 0

    summary = json.loads((generated / "run.json").read_text(encoding="utf-8"))["summary"]
    assert {entry["column"]: (entry["n"], entry["failed"]) for entry in summary} == dict.fromkeys(COLUMNS, (2, 0))
    assert all(entry["mean"] is not None for entry in summary)
    assert len(decoded) == 4  # two clips and their references
    assert set(decoded.values()) == {1}
    assert {name: opened[name] for name in decoded} == dict.fromkeys(decoded, OPENINGS)
