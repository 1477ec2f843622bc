"""The stages in order, on one run directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from syncdiff_bench import plugins
from syncdiff_bench.contracts import Metric
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faces.boxes import BOX_CAVEATS
from syncdiff_bench.faults import blamed
from syncdiff_bench.given import code_of
from syncdiff_bench.progress import Progress
from syncdiff_bench.runs.directory import Lines, Run, RunDirectory, load_run, speakers
from syncdiff_bench.runs.draws import Draw
from syncdiff_bench.runs.generating import generate
from syncdiff_bench.runs.layout import GENERATION, MANIFEST, PROTOCOLS, SCORES, InUse, discard, part_files
from syncdiff_bench.runs.manifest import AS_GIVEN, Identity, hardware, now, versions
from syncdiff_bench.runs.plan import (
    Plan,
    RunPlan,
    ScorePlan,
    Selection,
    default_metrics,
    load_metrics,
    make_runtime,
)
from syncdiff_bench.runs.protocols import joined_metrics, metric_entry, recorded_metric
from syncdiff_bench.runs.ranks import Ranks
from syncdiff_bench.runs.recorded import read_manifest
from syncdiff_bench.runs.records import Generated, Score
from syncdiff_bench.runs.scoring import score
from syncdiff_bench.runs.settled import settled
from syncdiff_bench.runs.sources import GeneratedVideos
from syncdiff_bench.runs.summary import boxes_behind, boxes_of_run, run_caveats, summarise
from syncdiff_bench.runs.workers import Crew
from syncdiff_bench.views import boxes_of_clips


def generate_run(
    plan: Plan,
    run_plan: RunPlan,
    *,
    retry_failed: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    crew: Crew | None = None,
) -> frozenset[str]:
    """Stage one of one method, by all processes together; which clips are those of this launch.

    fresh: what the directory holds is deleted first, whatever run it is of.
    Raises UsageError and WeightsError as `generating.generate`.
    """
    progress = progress or Progress()
    if fresh:
        _discard(run_plan.path, progress, ranks)
    with RunDirectory.opened(run_plan.path, run_plan.identity, plan.runtime.device, ranks) as run:
        if run_plan.method.given_videos() is None and settled(run):
            return frozenset(run.identity.clips)
        ours = generate(run, run_plan.method, plan.dataset, retry_failed=retry_failed, progress=progress, crew=crew)
        if run.whole and run.manifest["finished"] is None:
            _enter_clips(run, run.generated, ())
            run.save()
    return ours


def score_run(
    plan: Plan,
    run_plan: RunPlan,
    *,
    retry_failed: bool = False,
    progress: Progress | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    crew: Crew | None = None,
    own: frozenset[str] | None = None,
) -> Run | None:
    """Stages two and three of one method, as `score_videos`. own: what `generate_run` returned, of a shard."""
    own = None if ranks.shards == 1 else own
    scoring = plan.scoring(run_plan, partly=own is not None)
    return score_videos(scoring, retry_failed=retry_failed, progress=progress, ranks=ranks, crew=crew, own=own)


def score_videos(
    plan: ScorePlan,
    *,
    retry_failed: bool = False,
    fresh: bool = False,
    progress: Progress | None = None,
    ranks: Ranks = Ranks(),  # noqa: B008 - frozen
    crew: Crew | None = None,
    own: frozenset[str] | None = None,
) -> Run | None:
    """Stages two and three. fresh: scores that are there are deleted first, the videos kept. own: as `scoring.score`.

    A shard leaves stage three to whoever puts the shards together (`assemble`).
    Returns the run, its lines `unread` where there was nothing to do; None where another process puts it together.
    Raises UsageError where videos of a method are still missing.
    """
    progress = progress or Progress()
    if fresh:
        _discard(plan.path, progress, ranks, scores_only=not plan.given)
    with RunDirectory.opened(plan.path, plan.identity, plan.runtime.device, ranks) as run:
        if (done := settled(run, plan.metrics)) is not None:
            return done
        if not ranks.first:
            ranks.wait()
        source = plan.videos(run)
        if ranks.first:
            ranks.wait()  # the others see no fewer videos
        lines = Counter(key[1:] for key in run.scores)
        # A finished run had them all: of a column that lacks some, lines were lost, and are measured again.
        finished = run.manifest["finished"] is not None
        complete = ranks.agreed([one for one, n in lines.items() if finished or n == len(run.identity.clips)])
        joined = joined_metrics(run.manifest, complete, plan.metrics, plan.runtime)
        _without_other_code(run, joined, progress)
        _enter_metrics(run, joined)
        score(run, source, joined, retry_failed=retry_failed, progress=progress, crew=crew, own=own)
        if not run.whole:
            return None
        try:
            _settle(run, joined, source.records)
        except Exception:
            if not _without_unreadable(run, joined, progress):
                raise
            score(run, source, joined, retry_failed=retry_failed, progress=progress, crew=crew, own=own)
            _settle(run, joined, source.records)
        return run.as_run()


def assemble(path: Path) -> None:
    """Put together what shards, or ranks that were killed, left in a run directory; as far as they came.

    Whole, its files are those of one process. Nothing happens where there is nothing to put together, or another
    process is at work.
    Raises UsageError where the directory is damaged, or parts were scored with different weights.
    """
    if not part_files(path, GENERATION, SCORES, PROTOCOLS):
        return
    manifest = read_manifest(path)
    try:
        with RunDirectory.opened(path, Identity.from_json(manifest), manifest["hardware"]["device"]) as run:
            clips = run.identity.clips
            if run.identity.encoding == AS_GIVEN or all(clip in run.generated for clip in clips):
                run.settle_generated()
            try:
                metrics = [recorded_metric(entry) for entry in run.manifest["protocols"]]
            except UsageError as error:
                raise UsageError(f"{path / MANIFEST}: protocols: {error}") from None
            if metrics and all((clip, one.name, one.protocol) in run.scores for clip in clips for one in metrics):
                _settle(run, metrics, run.generated)
            else:
                _enter_clips(run, run.generated, ())
                run.save()
    except InUse:
        return


def load_whole(path: Path, *, lines: Lines = True) -> Run:
    """`load_run` of a run directory that is put together first."""
    assemble(path)
    return load_run(path, lines=lines)


def load_draws(folder: Path, *, lines: Lines = True) -> dict[Draw, Run]:
    """The run of a directory, or all below it that `reproduce` made of a row. Raises UsageError."""
    levels = () if (folder / MANIFEST).is_file() else ("seed-*", "training-*/seed-*")
    paths = sorted(path.parent for level in levels for path in folder.glob(f"{level}/{MANIFEST}"))
    found = {draw: load_whole(path, lines=lines) for path in paths if (draw := Draw.of(path)) is not None}
    if found:
        return found
    run = load_whole(folder, lines=lines)
    return {Draw(None, run.identity.seed): run}


def recorded_plan(path: Path, selection: Selection) -> ScorePlan:
    """The videos of a run directory again, with everything but the metrics taken from its run.json.

    Of the selection count the metrics, the device, the folder of the dataset where it is another now, and the boxes
    where the run does not say which ones it rests on.
    Raises UsageError where the dataset, or its face boxes, are not those that the videos were made from.
    """
    recorded = Identity.from_json(read_manifest(path))
    if recorded.encoding == AS_GIVEN:
        folder = recorded.options["folder"]
        raise UsageError(f"{path} scores videos of {folder}; give `score --videos {folder}` as you did then")
    runtime = make_runtime(selection.device)
    options = {**recorded.dataset_options, **selection.box_source}
    dataset = plugins.load_recorded(recorded.dataset, selection.data_root, recorded.root, options)
    if dataset.fingerprint(recorded.split) != recorded.fingerprint:
        raise UsageError(
            f"{path}: {recorded.dataset} is not what it was when the videos were made; "
            "give its folder with --data-root, or generate into another --out"
        )
    metrics = load_metrics(selection.metrics or default_metrics(dataset), runtime, dataset)
    identity = replace(recorded, boxes=boxes_of_clips(dataset, recorded.clips))
    return ScorePlan(path, identity, lambda run: GeneratedVideos(run, dataset), metrics, runtime)


def load_runs(plan: Plan, scored: Sequence[Run | None] = ()) -> tuple[Run, ...]:
    """The runs of a plan. scored: what `score_run` returned of each; the others are read back from disk."""
    known = scored or [None] * len(plan.runs)
    return tuple(run or load_whole(of.path) for run, of in zip(known, plan.runs, strict=True))


def _discard(path: Path, progress: Progress, ranks: Ranks, *, scores_only: bool = False) -> None:
    if ranks.shards > 1:
        raise UsageError(f"--fresh would delete what other shards made; delete {path} yourself, before all of them")
    deleted = discard(path, scores_only=scores_only) if ranks.first else ""
    if deleted:
        progress.note(deleted)


def _enter_clips(run: RunDirectory, records: Mapping[str, Generated], scores: Sequence[Score]) -> None:
    """What decoding and measuring told about the clips: conversions, where face boxes came from, caveats."""
    known = [records[clip] for clip in run.identity.clips if clip in records]
    notes = {record.clip: list(record.notes) for record in known}
    for row in scores:
        told = [one.text for one in row.caveats if one.kind in BOX_CAVEATS and one.detail]
        notes[row.clip] = list(dict.fromkeys((*notes.get(row.clip, ()), *told)))
    run.manifest["notes"] = {clip: texts for clip, texts in notes.items() if texts}
    run.manifest["boxes"] = boxes_of_run(known, scores)
    if run.identity.boxes is not None:  # where nobody had asked for boxes, they may be others by now
        run.manifest["dataset"]["boxes"] = run.identity.boxes
    clusters = speakers(run.identity, run.generated)
    found = run_caveats(run.identity, records, scores, clusters, run.manifest["protocols"])
    run.manifest["caveats"] = [one.to_json() for one in found]


def _settle(run: RunDirectory, metrics: Sequence[Metric[Any]], records: Mapping[str, Generated]) -> None:
    """Stage three: everything in plan order, and what run.json says of it."""
    keys = [(metric.name, metric.protocol) for metric in metrics]
    scores = tuple(run.scores[(clip, *key)] for clip in run.identity.clips for key in keys)
    run.settle_scores(scores)
    if run.identity.encoding == AS_GIVEN:
        run.settle_generated()
    weights = {}
    for entry in run.manifest["protocols"]:
        column = (entry["metric"], entry["protocol"])
        entry["boxes"] = boxes_behind(row for row in scores if (row.metric, row.protocol) == column)
        weights[column] = entry["weights"]
    clusters = speakers(run.identity, run.generated)
    with blamed(f"a metric on {run.path / SCORES}", "delete that file and score again, or mend the plugin"):
        run.manifest["summary"] = [entry.to_json() for entry in summarise([scores], metrics, clusters, weights)]
    _enter_clips(run, records, scores)
    run.manifest["finished"] = run.manifest["finished"] or now()
    for journal in (GENERATION, SCORES):
        run.files.sha256(run.path / journal)
    run.save()


def _without_unreadable(run: RunDirectory, metrics: Sequence[Metric[Any]], progress: Progress) -> bool:
    """Forget scores whose statistics their metric cannot read, as their lines were changed; whether there are such."""
    lost = []
    of = {(metric.name, metric.protocol): metric for metric in metrics}
    for key, row in run.scores.items():
        if row.stats is not None and key[1:] in of:
            metric = of[key[1:]]
            try:
                metric.values(metric.stats_from_json(row.stats))
            except Exception:
                lost.append(key)
    for key in lost:
        del run.scores[key]
    if lost:
        progress.note(f"{run.path}: {len(lost)} scores cannot be read, and are measured again (first: {lost[0][0]})")
    return bool(lost)


def _without_other_code(run: RunDirectory, metrics: Sequence[Metric[Any]], progress: Progress) -> None:
    """Delete the scores by a metric whose code is another than it was (`given.code_of`): it measures anew."""
    recorded = {(one["metric"], one["protocol"]): one.get("provenance") or {} for one in run.manifest["protocols"]}
    changed = {
        key
        for metric in metrics
        if (key := (metric.name, metric.protocol)) in recorded
        and recorded[key].get("code", "") != code_of("metric", metric)
    }
    kept = [row for key, row in run.scores.items() if key[1:] not in changed]
    if len(kept) < len(run.scores):
        progress.note(
            f"{run.path}: measured again: the code of {', '.join(name for name, _ in sorted(changed))} changed"
        )
        run.settle_scores(kept)


def _enter_metrics(run: RunDirectory, metrics: Sequence[Metric[Any]]) -> None:
    manifest = run.manifest
    before = {(entry["metric"], entry["protocol"]): entry for entry in manifest["protocols"]}
    entries = [before.get((metric.name, metric.protocol)) or metric_entry(metric) for metric in metrics]
    if entries != manifest["protocols"]:
        manifest.update(
            protocols=entries,
            finished=None,
            versions=versions(),
            hardware=hardware(manifest["hardware"]["device"]),
        )
