"""The conformance suite: built-in plugins pass it, and each way of being wrong is caught by the check named for it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from syncdiff_bench import plugins
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Column, Frames, Method, Metric, Pair, Runtime
from syncdiff_bench.errors import ClipError
from syncdiff_bench.reproduction.models import with_model
from syncdiff_bench.runs.plan import load_methods
from syncdiff_bench.testing import Check, checks_of, parametrize_with_checks
from syncdiff_bench.testing.plugin_checks import Plugin, Skipped
from syncdiff_bench.testing.samples import degraded, sample_clip
from syncdiff_bench.texts import metric_specs
from syncdiff_bench.weights.store import WeightsStore

QUICK = [("method", "static"), ("method", "gt"), ("metric", "psnr"), ("metric", "psnr[protocol=talklip]")]
QUICK += [("metric", "ssim"), ("dataset", "pocket")]
SLOW = [
    ("method", "syncdiff"),
    ("method", "gt-rec"),
    ("metric", "lse[weights=pocket]"),
    ("metric", "wer[reader=pocket]"),
]
SLOW += [("metric", "lpips"), ("metric", "lmd"), ("metric", "avs")]


def load(kind: str, spec: str) -> Plugin:
    runtime = Runtime("cpu", WeightsStore(), dataset="pocket")
    if kind == "method":
        return load_methods((spec,), {}, runtime, with_model)[0]
    if kind == "dataset":
        return plugins.load_dataset(spec)
    (one,) = metric_specs([spec])
    return plugins.load_metric(one.name, one.options, runtime)


def failing(plugin: Plugin, skipped: list[str] | None = None) -> dict[str, str]:
    """Name -> message of the checks that fail. skipped: gets the reasons of those that are; without it they fail."""
    failed = {}
    for check in checks_of(plugin):
        try:
            check()
        except Exception as error:
            if skipped is not None and isinstance(error, Skipped):
                skipped.append(str(error))
            else:
                failed[check.name] = str(error)
    return failed


@pytest.mark.parametrize(("kind", "spec"), QUICK)
def test_built_in_plugins_pass(kind: str, spec: str) -> None:
    assert failing(load(kind, spec)) == {}


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "spec"), SLOW)
def test_built_in_plugins_with_networks_pass(kind: str, spec: str) -> None:
    skipped: list[str] = []
    assert failing(load(kind, spec), skipped) == {}
    if skipped:
        pytest.skip(f"{len(skipped)} checks: {skipped[0]}")


def test_samples_speak_and_can_be_told_apart() -> None:
    clip = sample_clip()
    assert clip.frames.shape == (8, 96, 96, 3) and clip.frames.std(axis=0).max() > 10
    assert len(clip.audio) == 8 * 640 and np.abs(clip.audio).max() > 5000
    assert not np.array_equal(clip.frames, sample_clip("check/1").frames)
    assert np.abs(degraded(clip).frames.astype(int) - clip.frames).mean() > 10


# ----------------------------------------------------------------------------------------- wrong methods


@dataclass(frozen=True)
class Options:
    level: int = 100


class Grey(Method):
    """Right in every way; the wrong ones below change one thing."""

    name = "grey"
    Options = Options

    @property
    def batch_size(self) -> int:
        return 2

    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        return np.full_like(clip.frames, self.options.level + seed)

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        for clip in clips:
            yield clip.id, self.picture(clip, seed, clips)


class Random(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        return np.random.default_rng().integers(0, 255, clip.frames.shape).astype(np.uint8)


class Sociable(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        return np.full_like(clip.frames, 40 * len(clips))


class Narrow(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        return clip.frames[:, :, :-1]


class Floating(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        return clip.frames / 255.0


class Scribbler(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        clip.frames[:, 0] = 0
        return clip.frames.copy()


class Forgetful(Grey):
    def generate(self, clips: Sequence[Clip], **more: Any) -> Iterator[tuple[str, Frames | ClipError]]:
        yield from list(super().generate(clips, **more))[:1]


class Rude(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        if len(clip.frames) < 2 or not clip.audio.any():
            raise ZeroDivisionError("division by zero")
        return clip.frames.copy()


class Boastful(Grey):
    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        progress(10_000)
        yield from super().generate(clips, seed=seed)


class Locked(Grey):
    def __init__(self, options: Any = None, runtime: Runtime | None = None) -> None:
        super().__init__(options, runtime)
        self.lock = threading.Lock()


class Shouting(Grey):
    name = "My Method!"


@dataclass
class LooseOptions:
    level: int = 1


class Loose(Grey):
    Options = LooseOptions


class Judged(Grey):
    trained_against = "lse"  # type: ignore[assignment]


class Careless(Grey):
    incidental = frozenset({"speed"})


FITTING = {"frames-fit-the-clip", "a-clip-of-one-frame", "a-silent-clip", "a-clip-without-sound"}


def test_the_right_method_passes() -> None:
    assert failing(Grey()) == {}


@pytest.mark.parametrize(
    ("method", "names"),
    [
        (Random(), {"same-seed-same-frames", "a-clip-does-not-depend-on-its-batch"}),
        (Sociable(), {"a-clip-does-not-depend-on-its-batch"}),
        (Narrow(), FITTING),
        (Floating(), FITTING | {"a-clip-does-not-depend-on-its-batch"}),
        (Scribbler(), {"inputs-are-not-changed"}),
        (Forgetful(), {"every-clip-is-yielded-once", "a-clip-does-not-depend-on-its-batch"}),
        (Rude(), {"a-clip-of-one-frame", "a-silent-clip", "a-clip-without-sound"}),
        (Boastful(), {"progress-counts-frames"}),
        (Locked(), {"copies"}),
        (Shouting(), {"name"}),
        (Loose(), {"options"}),
        (Judged(), {"trained-against"}),
        (Careless(), {"incidental"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Method) else "",
)
def test_a_wrong_method_is_caught_by_name(method: Method, names: set[str]) -> None:
    assert set(failing(method)) == names


# ----------------------------------------------------------------------------------------- wrong metrics


@dataclass(frozen=True)
class Stats:
    total: float
    n: int


class Distance(Metric[Stats]):
    """Mean absolute error: right in every way."""

    name = "error"
    columns = (Column("e", "E", "down"),)
    symmetric = True
    Stats = Stats

    def measure(self, pair: Pair) -> Stats:
        assert pair.reference is not None
        difference = np.abs(pair.generated.frames.astype(float) - pair.reference.frames)
        return Stats(float(difference.sum()), difference.size)

    def aggregate(self, stats: Sequence[Stats]) -> Mapping[str, float | None]:
        return {"e": sum(s.total for s in stats) / sum(s.n for s in stats)}


class Upside(Distance):
    columns = (Column("e", "E", "up"),)


class Clipper(Distance):
    def measure(self, pair: Pair) -> Stats:
        np.clip(pair.generated.frames, 10, 200, out=pair.generated.frames)
        return super().measure(pair)


class Summing(Distance):
    def aggregate(self, stats: Sequence[Stats]) -> Mapping[str, float | None]:
        return {"e": sum(s.total / s.n for s in stats)}


class FirstOnly(Distance):
    def aggregate(self, stats: Sequence[Stats]) -> Mapping[str, float | None]:
        return super().aggregate(stats[:1])


class Lopsided(Distance):
    def measure(self, pair: Pair) -> Stats:
        assert pair.reference is not None
        return Stats(float(np.maximum(pair.generated.frames.astype(float) - pair.reference.frames, 0).sum()), 1)


class Noisy(Distance):
    def measure(self, pair: Pair) -> Stats:
        return Stats(float(np.random.default_rng().normal()) + super().measure(pair).total, 1)


class Misnamed(Distance):
    def aggregate(self, stats: Sequence[Stats]) -> Mapping[str, float | None]:
        return {"f": super().aggregate(stats)["e"]}


class Undefined(Distance):
    def measure(self, pair: Pair) -> Stats:
        if len(pair.generated.frames) < 2:
            raise IndexError("list index out of range")
        return super().measure(pair)


class Blurring(Distance):
    def measure_many(self, pairs: Sequence[Pair]) -> list[Stats | Exception]:
        each = [self.measure(pair) for pair in pairs]
        return [Stats(sum(stats.total for stats in each), sum(stats.n for stats in each))] * len(pairs)


class Dropping(Distance):
    def measure(self, pair: Pair) -> Stats:
        if len(pair.generated.frames) < 2:
            raise ClipError("too-short", "two frames are needed")
        return super().measure(pair)

    def measure_many(self, pairs: Sequence[Pair]) -> list[Stats | Exception]:
        return [self.measure(pair) for pair in pairs if len(pair.generated.frames) > 1]


def test_the_right_metric_passes() -> None:
    assert failing(Distance()) == {}


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (Upside(), "identical-is-best"),
        (Clipper(), "inputs-are-not-changed"),
        (Summing(), "shards-aggregate-to-the-whole"),
        (FirstOnly(), "shards-aggregate-to-the-whole"),
        (Lopsided(), "symmetry-where-it-is-claimed"),
        (Noisy(), "measuring-is-repeatable"),
        (Misnamed(), "values-name-every-column"),
        (Undefined(), "a-clip-of-one-frame"),
        (Blurring(), "measuring-many-is-measuring-each"),
        (Dropping(), "measuring-many-is-measuring-each"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Metric) else "",
)
def test_a_wrong_metric_is_caught_by_name(metric: Metric[Any], name: str) -> None:
    assert name in failing(metric)


# ----------------------------------------------------------------------------------------- the doors


@parametrize_with_checks(Distance())
def test_the_decorator_runs_one_test_per_check(check: Check) -> None:
    check()


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="not a Method, Metric or Dataset"):
        checks_of(object())  # type: ignore[arg-type]


@pytest.mark.usefixtures("toy_plugins")
def test_check_plugin_by_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "check", "toy-truth"]) == 0
    assert "18 passed\n" in capsys.readouterr().out
    assert main(["plugin", "check", "nobody"]) == 2
    assert "no plugin 'nobody' is installed" in capsys.readouterr().err


@pytest.mark.usefixtures("toy_plugins")
def test_check_plugin_names_what_fails(capsys: pytest.CaptureFixture[str]) -> None:
    # toy-noise adds to uint8 frames of any clip, but `toy` does not refuse a clip that it does not have.
    assert main(["plugin", "check", "toy"]) == 1
    out = capsys.readouterr().out
    assert "FAIL unknown-names-are-refused" in out and "12 passed, 1 failed" in out
