"""The caveats of a run, counted out of its journals: clips, faces, the method, left-out clips, speakers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from syncdiff_bench.caveats import UNRECORDED, Caveat, Counted, counted
from syncdiff_bench.runs.manifest import Identity
from syncdiff_bench.runs.records import NOT_APPLICABLE, Generated, Score

FEW_SPEAKERS = 5  # of fewer, the smallest p that signs can give is above .05, and intervals rest on three differences


def run_caveats(
    identity: Identity, records: Mapping[str, Generated], scores: Sequence[Score], speakers: Mapping[str, str]
) -> tuple[Counted, ...]:
    """records, speakers: by clip. scores: none before the run is scored."""
    clips, total = identity.clips, len(identity.clips)
    known = {clip: records[clip] for clip in clips if clip in records}
    found = [Counted(one.kind, one.sentence, example=one.detail) for one in identity.caveats]
    found += counted({clip: _of_record(record) for clip, record in known.items()}, total)
    for metric, protocol in dict.fromkeys((row.metric, row.protocol) for row in scores):
        rows = [row for row in scores if (row.metric, row.protocol) == (metric, protocol)]
        found += counted({row.clip: row.caveats for row in rows}, total, metric=metric, protocol=protocol)
        found += _left_out(rows, metric, protocol)
    return (*found, *few_speakers(speakers[clip] for clip in clips))


def _of_record(record: Generated) -> tuple[Caveat, ...]:
    return (UNRECORDED,) if record.caveats is None else record.caveats


def _left_out(rows: Sequence[Score], metric: str, protocol: str) -> Iterable[Counted]:
    """A column over a part of the clips; of one over none, its cells say why."""
    missing = [row.error for row in rows if row.stats is None and row.error is not None]
    if not missing or len(missing) == len(rows):
        return
    why = Counter("failed" if error.kind != NOT_APPLICABLE else f"n/a, {error.message}" for error in missing)
    reasons = "; ".join(f"{n} {reason}" for reason, n in why.most_common())
    sentence = f"over {len(rows) - len(missing)} of {len(rows)} clips ({reasons})"
    yield Counted("subset", sentence, total=len(rows), metric=metric, protocol=protocol)


def few_speakers(speakers: Iterable[str]) -> tuple[Counted, ...]:
    """What to say where intervals and tests cannot decide anything, nothing elsewhere."""
    n = len(set(speakers))
    if n >= FEW_SPEAKERS:
        return ()
    who = "1 speaker" if n == 1 else f"{n} speakers"
    return (Counted("few-speakers", f"{who}: with fewer than {FEW_SPEAKERS} neither intervals nor tests decide"),)
