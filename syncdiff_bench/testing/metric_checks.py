"""What a metric has to do: measure without side effects, aggregate statistics, know which way is better."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from operator import index
from typing import Any

import numpy as np

from syncdiff_bench.caveats import as_caveats
from syncdiff_bench.contracts import AdditiveMetric, Column, Metric, Pair, attempt
from syncdiff_bench.errors import BenchError, WeightsError
from syncdiff_bench.testing.plugin_checks import Skipped, only_for, or_refusal, prepare, truly_missing
from syncdiff_bench.testing.samples import degraded, read_only, sample_clip

Values = Mapping[str, float | None]
CLOSE = {"rel_tol": 1e-6, "abs_tol": 1e-9}
ROUNDING = {"rel_tol": 1e-4, "abs_tol": 1e-6}  # of a network that sees several clips at once
NAMED_CLIPS = ("check/a", "check/b", "check/c")
LENGTHS = (12, 75)  # frames of an ordinary clip; the longer one for a metric that refuses the shorter


def check_columns(metric: Metric[Any]) -> None:
    """There is at least one column, and their names differ."""
    names = [column.name for column in metric.columns]
    assert names and all(isinstance(column, Column) for column in metric.columns), f"columns are {metric.columns!r}"
    assert len(set(names)) == len(names), f"two columns share a name: {names}"


def check_protocol(metric: Metric[Any]) -> None:
    """`protocol` is a slug: it is part of the number's identity, and of file names."""
    assert metric.protocol and not set(metric.protocol) & set(" /\\\n"), f"protocol is {metric.protocol!r}"


def check_prepare_says_what_is_missing(metric: Metric[Any]) -> None:
    """`prepare` succeeds, or says in one line what is missing: WeightsError(..., missing=NAME), or NotApplicable."""
    try:
        prepare(metric)
    except Skipped:
        return
    except WeightsError as error:
        if error.missing is None:
            raise
        truly_missing(error, metric)


def check_measuring_is_repeatable(metric: Metric[Any]) -> None:
    """Measuring a pair twice gives the same values."""
    pair = _pair("check/a", _length(metric))
    first, again = _values(metric, pair), _values(metric, pair)
    assert first == again, f"{first}, then {again}"


def check_inputs_are_not_changed(metric: Metric[Any]) -> None:
    """`measure` writes into no array of the pair."""
    pair = _pair("check/inputs", _length(metric))
    before = [array.copy() for clip in (pair.generated, pair.target) for array in (clip.frames, clip.audio)]
    for clip in (pair.generated, pair.target):
        read_only(clip)
    metric.measure(pair)
    after = [array for clip in (pair.generated, pair.target) for array in (clip.frames, clip.audio)]
    assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True)), "an input array was changed"


def check_values_name_every_column(metric: Metric[Any]) -> None:
    """Values are finite floats, one for every column, or None (not for every clip); more may stand beside them."""
    length = _length(metric)
    clips = [_values(metric, _pair(name, length)) for name in NAMED_CLIPS]
    for values in clips:
        assert set(values) >= {column.name for column in metric.columns}, f"columns {metric.columns}, values {values}"
        for name, value in values.items():
            assert value is None or math.isfinite(value), f"{name} is {value}"
    for column in metric.columns:
        assert any(values[column.name] is not None for values in clips), f"{column.name} is None for every clip"


@only_for(lambda metric: "reference" in metric.requires)
def check_identical_is_best(metric: Metric[Any]) -> None:
    """A copy of the reference is no worse in any column than a degraded one (or undefined: PSNR of no error)."""
    length = _length(metric)
    best = _values(metric, _pair("check/a", length, likeness="same"))
    other = _values(metric, _pair("check/a", length))
    for column in metric.columns:
        a, b = best[column.name], other[column.name]
        if a is None or b is None:
            continue
        better = a >= b - 1e-9 if column.direction == "up" else a <= b + 1e-9
        assert better, f"{column.name} ({column.direction} is better): {a} for a copy, {b} for a degraded clip"


@only_for(lambda metric: metric.symmetric)
def check_symmetry_where_it_is_claimed(metric: Metric[Any]) -> None:
    """`symmetric = True` means that exchanging the two videos changes no value."""
    pair = _pair("check/a", _length(metric))
    exchanged = Pair(pair.target, pair.generated)
    _assert_close(_values(metric, pair), _values(metric, exchanged), "exchanging the videos changes")


def check_statistics_survive_json(metric: Metric[Any]) -> None:
    """Statistics come back from scores.jsonl with the same aggregate."""
    pair = _pair("check/a", _length(metric))
    stats = metric.measure(pair)
    line = json.dumps(metric.stats_to_json(stats), allow_nan=False)
    back = metric.stats_from_json(json.loads(line))
    _assert_close(metric.aggregate([stats]), metric.aggregate([back]), "JSON changes")


def check_caveats(metric: Metric[Any]) -> None:
    """`caveats` of a measured pair are a sequence of Caveat, and `left_out` is a number of frames."""
    pair = _pair("check/a", _length(metric))
    stats = metric.measure(pair)
    as_caveats(metric.caveats(pair, stats))
    lost = metric.left_out(stats)
    assert 0 <= index(lost) <= len(pair.generated.frames), f"left_out is {lost!r} of {len(pair.generated.frames)}"


def check_shards_aggregate_to_the_whole(metric: Metric[Any]) -> None:
    """The aggregate depends neither on the order of the clips nor on which process measured them."""
    length = _length(metric)
    pairs = [_pair(name, length) for name in NAMED_CLIPS]
    stats = [metric.measure(pair) for pair in pairs]
    other = type(metric)(metric.options, metric.runtime)
    other.prepare()
    shard = [other.measure(pair) for pair in pairs[1:]]
    whole = metric.aggregate(stats)
    _assert_close(whole, metric.aggregate([*shard[::-1], stats[0]]), "sharding changes")
    # A mean of means over unequal clips is the usual mistake: twice the same statistics must change nothing.
    _assert_close(whole, metric.aggregate([*stats, *stats]), "doubling every clip changes")
    if isinstance(metric, AdditiveMetric):
        with np.errstate(divide="ignore", invalid="ignore"):
            columns = metric.of_sums(*np.array([metric.summands(one) for one in stats], float).T)
        for number, one in enumerate(stats):
            own = {name: float(column[number]) for name, column in columns.items() if np.isfinite(column[number])}
            _assert_close(own, metric.aggregate([one]), "of_sums of several clips at once changes")


def check_measuring_many_is_measuring_each(metric: Metric[Any]) -> None:
    """`measure_many` gives what `measure` gives, in the order of the pairs; one that fails takes no other along."""
    length = _length(metric)
    pairs = [_pair(name, frames) for name, frames in zip(NAMED_CLIPS, (length, 1, length + 3), strict=True)]
    together = metric.measure_many(pairs)
    assert len(together) == len(pairs), f"{len(pairs)} pairs, {len(together)} results"
    for pair, found in zip(pairs, together, strict=True):
        alone = attempt(metric.measure, pair)
        what = f"{pair.generated.id}: among others {found!r}, alone {alone!r}"
        assert isinstance(found, Exception) == isinstance(alone, Exception), what
        if not isinstance(alone, Exception):
            _assert_close(metric.values(alone), metric.values(found), "batch mates change", **ROUNDING)


def check_a_clip_of_one_frame(metric: Metric[Any]) -> None:
    """One frame is measured, or refused with a ClipError; nothing else is raised."""
    prepare(metric)
    pair = _pair("check/one", 1)
    or_refusal(lambda: metric.measure(pair))


def _pair(name: str, frames: int, *, likeness: str = "degraded") -> Pair:
    reference = sample_clip(name, frames=frames)
    return Pair(degraded(reference) if likeness == "degraded" else sample_clip(name, frames=frames), reference)


def _length(metric: Metric[Any]) -> int:
    """How many frames an ordinary clip has that the metric measures. Raises AssertionError where it refuses them all,
    Skipped or WeightsError where it cannot be prepared here.
    """
    prepare(metric)
    for frames in LENGTHS:
        try:
            metric.measure(_pair("check/a", frames))
        except BenchError as error:
            refusal = error
        else:
            return frames
    raise AssertionError(f"refuses every ordinary clip ({type(refusal).__name__}: {refusal})")


def _values(metric: Metric[Any], pair: Pair) -> Values:
    return metric.values(metric.measure(pair))


def _assert_close(one: Values, other: Values, what: str, **tolerance: float) -> None:
    for name, a in one.items():
        b = other[name]
        same = a == b if a is None or b is None else math.isclose(a, b, **(tolerance or CLOSE))
        assert same, f"{what} {name} from {a} to {b}"
