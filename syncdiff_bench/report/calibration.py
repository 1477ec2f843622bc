"""Does this installation measure what others measure? Scores of ground truth against their anchors, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from syncdiff_bench.contracts import Dataset, Runtime
from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.anchors import Anchor, Anchors
from syncdiff_bench.runs.directory import Run
from syncdiff_bench.runs.layout import MANIFEST
from syncdiff_bench.runs.manifest import versions
from syncdiff_bench.runs.plan import load_metrics
from syncdiff_bench.runs.recorded import read_manifest
from syncdiff_bench.runs.summary import ColumnSummary
from syncdiff_bench.texts import metric_specs

METHOD = "gt"

AnchorKey = tuple[str, str, str]  # metric, protocol, column


class Answer(Enum):
    """What comparisons came to, as they are counted; only DISAGREES is a no."""

    AGREES = "agree"
    DISAGREES = "disagree"
    UNDECIDED = "undecided"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class AnchorVerdict:
    """One anchor and what was found.

    - label: of the column ("LSE-C")
    - protocol: of the metric that was scored
    - measured: the value as printed, "" where there is none
    - words: the answer with its reasons, in one line
    """

    anchor: Anchor
    label: str
    protocol: str
    measured: str
    answer: Answer
    words: str

    def line(self) -> str:
        """For people: `SSIM (face96) 1.000, expected 1 ± 1e-06 [closed form]: agrees`."""
        found, anchor = f" {self.measured}" if self.measured else "", self.anchor
        tolerance = "" if anchor.tolerance is None else f" ± {anchor.tolerance:g}"
        expected = f"{anchor.printed}{tolerance} [{anchor.source}]"
        return f"{self.label} ({self.protocol}){found}, expected {expected}: {self.words}"


def calibration_out(dataset: str, split: str, limit: int | None) -> Path:
    """A calibration has a folder of its own: it does not touch the leaderboards of real runs."""
    return Path("runs") / (f"calibrate-{dataset}-{split}" + ("" if limit is None else f"-first{limit}"))


def check_same_software(path: Path) -> None:
    """Raises UsageError where a run directory was scored by other versions of what can move a number.

    Resuming it would repeat the old verdict, or mix two.
    """
    if not (path / MANIFEST).is_file():
        return
    before, now = read_manifest(path)["versions"], versions()
    changed = [
        f"{name} {before.get(name, 'absent')} -> {now.get(name, 'absent')}"
        for name in dict.fromkeys([*before, *now])
        if before.get(name) != now.get(name)
    ]
    if changed:
        raise UsageError(f"{path} was calibrated with other software ({', '.join(changed)}); choose another --out")


def summary_keys(anchors: Anchors, runtime: Runtime, dataset: Dataset | type[Dataset]) -> tuple[AnchorKey, ...]:
    """Where in a run's summary the column of each anchor stands.

    Raises UsageError where an anchor names a metric or a column that does not exist.
    """
    keys = []
    for anchor in anchors.anchors:
        (metric,) = load_metrics(metric_specs([anchor.metric]), runtime, dataset)
        names = [column.name for column in metric.columns]
        if anchor.column not in names:
            raise UsageError(
                f"an anchor names column {anchor.column!r} of {anchor.metric}, which has {', '.join(names)}"
            )
        keys.append((metric.name, metric.protocol, anchor.column))
    return tuple(keys)


def judge(anchors: Anchors, keys: Sequence[AnchorKey], run: Run) -> tuple[AnchorVerdict, ...]:
    """One verdict per anchor, from the summary of a finished run of ground truth. keys: `summary_keys`."""
    known = {(entry.metric, entry.protocol, entry.column): entry for entry in run.summary}
    whole = len(run.identity.clips) >= anchors.clips
    return tuple(
        _judge_one(anchor, known[key], anchors.clips, whole=whole)
        for anchor, key in zip(anchors.anchors, keys, strict=True)
    )


def _judge_one(anchor: Anchor, entry: ColumnSummary, clips: int, *, whole: bool) -> AnchorVerdict:
    measured = "" if entry.mean is None else f"{entry.mean:.{entry.decimals}f}"
    answer, words = _compare(anchor, entry, clips, whole=whole)
    if entry.failed and entry.n:
        words += f" ({entry.failed} of {entry.n + entry.failed} clips failed and are left out)"
    if entry.mean is None and entry.n:
        measured = "N/A"
    return AnchorVerdict(anchor, entry.label, entry.protocol, measured, answer, words)


def _compare(anchor: Anchor, entry: ColumnSummary, clips: int, *, whole: bool) -> tuple[Answer, str]:
    if entry.reason is not None:
        return Answer.NOT_MEASURED, f"not measured: {entry.reason}"
    if not entry.n:
        return Answer.DISAGREES, _off(f"all {entry.failed} clips failed", anchor)
    if entry.mean is None:
        if anchor.undefined:
            return Answer.AGREES, "agrees"
        return Answer.DISAGREES, _off("off: it is undefined here", anchor)
    if anchor.undefined:
        return Answer.DISAGREES, _off("off: it must be undefined", anchor)
    if anchor.distance(entry.mean) == 0:
        return Answer.AGREES, "agrees"
    off = _off(_how_far(anchor, entry.mean, entry.decimals), anchor)
    if whole or anchor.any_clips:
        return Answer.DISAGREES, off
    return _compare_part(anchor, entry, clips, off)


def _compare_part(anchor: Anchor, entry: ColumnSummary, clips: int, off: str) -> tuple[Answer, str]:
    """Some clips of a split against a number about all of them: chance moves them within their interval."""
    part = f"{entry.n} of {clips} clips"
    if entry.ci95 is None:
        return Answer.UNDECIDED, f"undecided: {part}, of one speaker, say too little about the split"
    low, high = entry.ci95
    if low <= anchor.high and high >= anchor.low:
        interval = f"{low:.{entry.decimals}f} to {high:.{entry.decimals}f}"
        return Answer.UNDECIDED, f"undecided: the 95 % interval of {part}, {interval}, holds it"
    return Answer.DISAGREES, f"on {part} {off}"


def _how_far(anchor: Anchor, value: float, decimals: int) -> str:
    if anchor.tolerance is None:
        return f"off by {_digits(anchor.distance(value), decimals)}: outside {anchor.printed}"
    middle = (anchor.low + anchor.high) / 2
    return f"off by {_digits(abs(value - middle), decimals)}: more than the tolerance {anchor.tolerance:g}"


def _digits(value: float, decimals: int) -> str:
    """As many digits as the column prints, and more where they would all be 0."""
    text = f"{value:.{decimals}f}"
    return text if float(text) else f"{value:.1e}"


def _off(what: str, anchor: Anchor) -> str:
    return f"{what}; likely causes: {'; '.join(anchor.causes)}" if anchor.causes else what


def overall(verdicts: Sequence[AnchorVerdict]) -> str:
    """One line: "nothing disagrees: 3 agree, 1 not measured"."""
    counts = {answer: sum(verdict.answer is answer for verdict in verdicts) for answer in Answer}
    told = ", ".join(f"{count} {answer.value}" for answer, count in counts.items() if count)
    if counts[Answer.DISAGREES]:
        return f"this installation does not measure what others do: {told}"
    if not counts[Answer.AGREES]:
        return f"nothing could be confirmed: {told}"
    return f"nothing disagrees: {told}"
