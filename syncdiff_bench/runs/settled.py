"""A run in which nothing is left to do, told by run.json and the times of its files: no journal is read for that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from syncdiff_bench.contracts import Metric
from syncdiff_bench.given import code_of
from syncdiff_bench.runs.directory import Run, RunDirectory
from syncdiff_bench.runs.layout import GENERATION, SCORES
from syncdiff_bench.runs.manifest import AS_GIVEN, versions


def settled(run: RunDirectory, metrics: Sequence[Metric[Any]] = ()) -> Run | None:
    """The run where its stages, asked for these metrics, would change nothing; None where they have to look.

    Such a run was ended by these versions, with a video of every clip and a number of every metric, and neither its
    journals nor its videos were touched since. Its lines are unread (`directory.Run`).
    """
    manifest, identity = run.manifest, run.identity
    asked = {(metric.name, metric.protocol, code_of("metric", metric)) for metric in metrics}
    scored = {
        (one["metric"], one["protocol"], (one.get("provenance") or {}).get("code", "")) for one in manifest["protocols"]
    }
    if not (
        manifest["finished"]
        and run.ranks.count == run.ranks.shards == 1
        and identity.encoding != AS_GIVEN
        and identity.boxes in (None, manifest["dataset"].get("boxes"))
        and manifest["summary"]
        and all(entry["n"] == len(identity.clips) for entry in manifest["summary"])
        and asked <= scored
        and manifest["versions"] == versions()
    ):
        return None
    videos = (f"{run.path}/videos/{clip_id}.mp4" for clip_id in identity.clips)
    if not run.files.unchanged(run.path / GENERATION, run.path / SCORES, *videos):
        return None
    return Run(run.path, manifest, identity, (), {}, unread=True)
