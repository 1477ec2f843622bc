"""The scores of a run as a data frame of pandas."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from syncdiff_bench.caveats import UNRECORDED
from syncdiff_bench.runs.records import Generated, Score

if TYPE_CHECKING:
    from pandas import DataFrame


def data_frame(scores: Collection[Score], speakers: Mapping[str, str], generated: Mapping[str, Generated]) -> DataFrame:
    """As `Run.to_pandas` says."""
    import pandas as pd

    owners: dict[tuple[str, str], set[str]] = {}
    for score in scores:
        for column in score.values or {}:
            owners.setdefault((column, score.protocol), set()).add(score.metric)
    values: dict[str, dict[str, Any]] = {clip: {"speaker": speaker} for clip, speaker in speakers.items()}
    failures: dict[str, list[str]] = {clip: [] for clip in values}
    caveats: dict[str, list[str]] = {clip: [] for clip in values}
    for clip, line in generated.items():
        if clip in caveats:
            found = (UNRECORDED,) if line.caveats is None else line.caveats
            caveats[clip] += [one.alone for one in found]
    for score in scores:
        for column, value in (score.values or {}).items():
            owner = f"{score.metric}." if len(owners[column, score.protocol]) > 1 else ""
            values[score.clip][f"{owner}{column}[{score.protocol}]"] = float("nan") if value is None else value
        if score.error is not None and score.failed:
            failures[score.clip].append(f"{score.metric}: {score.error.message}")
        caveats[score.clip] += [f"{score.metric}: {one.alone}" for one in score.caveats]
    frame = pd.DataFrame.from_dict(values, orient="index").rename_axis("clip")
    return frame.assign(
        failures=pd.Series({clip: "; ".join(texts) for clip, texts in failures.items()}),
        caveats=pd.Series({clip: "; ".join(texts) for clip, texts in caveats.items()}),
    )
