"""A finished run over tens of thousands of clips, made up: nothing is generated, decoded or measured.

    python tests/data/many_clips.py FOLDER --clips 28000

makes FOLDER/lrs3 (every video a link to the same few bytes) and the runs FOLDER/runs/static and FOLDER/runs/gt, which
resume as finished ones, and says with which commands. Scores are drawn: a clip's quality, and a little of the method's.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from syncdiff_bench import pipeline
from syncdiff_bench.contracts import Metric
from syncdiff_bench.runs.directory import RunDirectory
from syncdiff_bench.runs.plan import Plan, RunPlan, Selection, make_plan
from syncdiff_bench.runs.protocols import metric_entry
from syncdiff_bench.runs.records import Generated, Score
from syncdiff_bench.texts import metric_specs

SPLIT = "trainval"
CLIPS_OF_A_SPEAKER = 8
METRICS = ("psnr", "ssim", "lpips", "psnr[protocol=talklip]", "lse", "wer")
METHODS = ("static", "gt")
VIDEO = b"not a video"


def selection(folder: Path, *methods: str) -> Selection:
    return Selection(
        methods=methods,
        dataset="lrs3",
        data_root=folder / "lrs3",
        split=SPLIT,
        metrics=metric_specs(METRICS),
        out=folder / "runs",
        device="cpu",
    )


def resuming(folder: Path, method: str) -> list[str]:
    """The command that resumes a run of `make_runs`; it finds nothing to do."""
    where = ["--dataset", "lrs3", "--data-root", str(folder / "lrs3"), "--split", SPLIT, "--out", str(folder / "runs")]
    return ["run", "--method", method, *where, "--metrics", ",".join(METRICS), "--device", "cpu"]


def make_runs(folder: Path, clips: int) -> None:
    """Data and a run of each method, whole and finished."""
    ids = [f"{SPLIT}/speaker{number // CLIPS_OF_A_SPEAKER:05d}/{number:05d}" for number in range(clips)]
    folder.mkdir(parents=True, exist_ok=True)
    video, text = folder / "video", folder / "text"
    video.write_bytes(VIDEO)
    text.write_text("Text: PLACE BLUE AT F NINE NOW\n", encoding="utf-8")
    for clip_id in ids:
        place = folder / "lrs3" / clip_id
        place.parent.mkdir(parents=True, exist_ok=True)
        os.link(video, place.with_suffix(".mp4"))
        os.link(text, place.with_suffix(".txt"))
    plan = make_plan(selection(folder, *METHODS))
    for number, run_plan in enumerate(plan.runs):
        _make_run(plan, run_plan, number)


def _make_run(plan: Plan, run_plan: RunPlan, number: int) -> None:
    with RunDirectory.opened(run_plan.path, run_plan.identity, "cpu") as run:
        video = run.path / "video"  # of each run: a file has 65,000 names at most
        video.write_bytes(VIDEO)
        for clip_id in run.identity.clips:
            place = run.video_path(clip_id)
            place.parent.mkdir(parents=True, exist_ok=True)
            os.link(video, place)
        sha256 = run.files.sha256(video)
        lines = {
            clip_id: Generated(clip_id, 75, speaker=clip_id.split("/")[1], sha256=sha256)
            for clip_id in run.identity.clips
        }
        run.generated.update(lines)
        run.settle_generated()
        run.manifest["protocols"] = [_entry(metric) for metric in plan.metrics]
        run.settle_scores(list(_scores(run_plan, plan.metrics, number, sha256)))
        run.save()
    pipeline.score_run(plan, run_plan)


def _entry(metric: Metric[Any]) -> dict[str, Any]:
    return {**metric_entry(metric), "weights": []}


def _scores(run_plan: RunPlan, metrics: tuple[Metric[Any], ...], number: int, sha256: str | None) -> Iterator[Score]:
    of_clips, of_method = np.random.default_rng(0), np.random.default_rng(number + 1)
    identity = run_plan.identity
    for clip_id in identity.clips:
        quality = of_clips.normal(size=len(metrics)) + 0.3 * of_method.normal(size=len(metrics)) + 0.01 * number
        for metric, one in zip(metrics, quality.tolist(), strict=True):
            stats = statistics(metric, one, int(of_clips.integers(40, 160)))
            values = metric.values(metric.stats_from_json(stats))
            about = (identity.method, identity.dataset, clip_id, metric.name, metric.protocol)
            yield Score(*about, values=values, stats=stats, sha256=sha256)


def statistics(metric: Metric[Any], quality: float, frames: int) -> Mapping[str, Any]:
    """Made up of one clip; quality: about 0, give or take 1."""
    if metric.name == "psnr":
        return {"total_db": (28 + 3 * quality) * frames, "frames": frames, "identical": 0}
    if metric.name in ("ssim", "lpips"):
        return {"total": (0.5 + 0.1 * quality) * frames, "frames": frames}
    if metric.name == "lse":
        means = [round(12 + abs(shift) / 40 - quality, 12) for shift in range(-15, 16)]
        return {"lse_c": 6 + quality, "lse_d": 8 - quality, "offset": 0, "windows": frames - 5, "shift_means": means}
    if metric.name == "wer":
        errors = max(0, round(2 - 2 * quality))
        return {"errors": errors, "words": 6, "hypothesis": "bin blue at f", "reference": "place blue at f nine now"}
    raise ValueError(f"no statistics of {metric.name}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=28_000)
    given = parser.parse_args()
    make_runs(given.folder, given.clips)
    runs = [str(given.folder / "runs" / method) for method in METHODS]
    for command in (resuming(given.folder, METHODS[0]), ["report", *runs], ["compare", *runs]):
        print("syncdiff-bench", *command)


if __name__ == "__main__":
    main()
