"""The caveats of a run, counted out of its journals: clips, faces, the method, left-out clips, speakers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from syncdiff_bench.caveats import UNRECORDED, Caveat, Counted, counted
from syncdiff_bench.faces.boxes import BOX_CAVEATS
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import FRAMES_LEFT_OUT, NOT_APPLICABLE, Generated, Score

FEW_SPEAKERS = 5  # of fewer, the smallest p that signs can give is above .05, and intervals rest on three differences


def run_caveats(
    identity: Identity,
    records: Mapping[str, Generated],
    scores: Sequence[Score],
    speakers: Mapping[str, str],
    protocols: Sequence[Mapping[str, Any]] = (),
) -> tuple[Counted, ...]:
    """records, speakers: by clip. scores: none before the run is scored. protocols: of run.json."""
    clips, total = identity.clips, len(identity.clips)
    known = {clip: records[clip] for clip in clips if clip in records}
    found = [Counted(one.kind, one.sentence, example=one.detail) for one in identity.caveats]
    found += _unpublished(one.to_json() for one in identity.weights)
    # Every column that looks at a face says the same of it, and so may the method: once is enough.
    of_faces: dict[str, list[Caveat]] = {}
    for row in scores:
        of_faces.setdefault(row.clip, []).extend(one for one in row.caveats if one.kind in BOX_CAVEATS)
    noticed = {clip: dict.fromkeys((*_of_record(one), *of_faces.get(clip, ()))) for clip, one in known.items()}
    found += counted(noticed, total)
    found += _mixed_boxes(known.values(), scores)
    for entry in protocols:
        judges = _unpublished(entry["weights"])
        found += [replace(one, metric=entry["metric"], protocol=entry["protocol"]) for one in judges]
    for metric, protocol in dict.fromkeys((row.metric, row.protocol) for row in scores):
        rows = [row for row in scores if (row.metric, row.protocol) == (metric, protocol)]
        own = {row.clip: [one for one in row.caveats if one.kind not in BOX_CAVEATS] for row in rows}
        found += counted(own, total, metric=metric, protocol=protocol)
        found += _left_out(rows, metric, protocol)
        found += _fewer_speakers(rows, clips, speakers)
    return (*found, *few_speakers(speakers[clip] for clip in clips))


def _unpublished(weights: Iterable[Mapping[str, Any]]) -> list[Counted]:
    """A file under the name of a published one that it is not."""
    return [
        Counted("unpublished-weights", f"{one['name']} is sha256 {one['sha256'][:12]}, not the published file")
        for one in weights
        if not one.get("published", True)
    ]


def _of_record(record: Generated) -> tuple[Caveat, ...]:
    return (UNRECORDED,) if record.caveats is None else record.caveats


def boxes_of_run(records: Iterable[Generated], scores: Sequence[Score]) -> dict[str, int]:
    """Source of face boxes -> clips whose boxes a method or a metric asked for."""
    used = {(record.clip, record.boxes) for record in records if record.boxes is not None}
    used |= {(row.clip, row.boxes.rpartition(" ")[0]) for row in scores if row.boxes}
    return dict(sorted(Counter(source for _, source in used).items()))


def _mixed_boxes(records: Iterable[Generated], scores: Sequence[Score]) -> Iterable[Counted]:
    sources = boxes_of_run(records, scores)
    if len(sources) > 1:
        each = ", ".join(f"{source} ({clips} clips)" for source, clips in sources.items())
        yield Counted("mixed-boxes", f"face boxes of several sources: {each}")


def _left_out(rows: Sequence[Score], metric: str, protocol: str) -> Iterable[Counted]:
    """A column over a part of the clips; of one over none, its cells say why."""
    missing = [row.error for row in rows if row.stats is None and row.error is not None]
    if len(missing) == len(rows):
        return
    why = Counter("failed" if error.kind != NOT_APPLICABLE else f"n/a, {error.message}" for error in missing)
    if undefined := sum(_undefined(rows)):
        why["without a value"] = undefined
    if not why:
        return
    reasons = "; ".join(f"{n} {reason}" for reason, n in why.most_common())
    sentence = f"over {len(rows) - why.total()} of {len(rows)} clips ({reasons})"
    yield Counted("subset", sentence, total=len(rows), metric=metric, protocol=protocol)


def _undefined(rows: Sequence[Score]) -> Iterable[bool]:
    """Whether a measured clip lacks a value that another clip has; not where a caveat says so of its frames."""
    defined = {name for row in rows for name, value in (row.values or {}).items() if value is not None}
    for row in rows:
        lacking = any(value is None and name in defined for name, value in (row.values or {}).items())
        yield lacking and not any(one.kind == FRAMES_LEFT_OUT for one in row.caveats)


def _fewer_speakers(rows: Sequence[Score], clips: Iterable[str], speakers: Mapping[str, str]) -> Iterable[Counted]:
    """A column over few speakers in a run of more."""
    measured = {speakers[row.clip] for row in rows if row.stats is not None}
    if measured and len({speakers[clip] for clip in clips}) >= FEW_SPEAKERS:
        yield from (replace(one, metric=rows[0].metric, protocol=rows[0].protocol) for one in few_speakers(measured))


def few_speakers(speakers: Iterable[str]) -> tuple[Counted, ...]:
    """What to say where intervals and tests cannot decide anything, nothing elsewhere."""
    n = len(set(speakers))
    if n >= FEW_SPEAKERS:
        return ()
    who = "1 speaker" if n == 1 else f"{n} speakers"
    return (Counted("few-speakers", f"{who}: with fewer than {FEW_SPEAKERS} neither intervals nor tests decide"),)
