"""The conformance suite and `plugin check`: each way of being wrong is caught by the check that is named for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from console import printed, refusal
from right_plugins import Distance, Grey, Sums, outcomes

from syncdiff_bench import plugins
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Column, Frames, Pair, Runtime
from syncdiff_bench.errors import ClipError
from syncdiff_bench.reproduction.models import with_model
from syncdiff_bench.runs.plan import load_methods
from syncdiff_bench.testing import Check, checks_of, parametrize_with_checks
from syncdiff_bench.testing.plugin_checks import Plugin
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


@pytest.mark.parametrize(("kind", "spec"), QUICK)
def test_built_in_plugins_pass(kind: str, spec: str) -> None:
    assert outcomes(load(kind, spec)) == ({}, {})


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "spec"), SLOW)
def test_built_in_plugins_with_networks_pass(kind: str, spec: str) -> None:
    failed, skipped = outcomes(load(kind, spec))
    assert failed == {}
    if skipped:
        pytest.skip(f"{len(skipped)} checks: {next(iter(skipped.values()))}")


def test_samples_speak_and_can_be_told_apart() -> None:
    clip = sample_clip()
    assert clip.frames.shape == (8, 96, 96, 3) and clip.frames.std(axis=0).max() > 10
    assert len(clip.audio) == 8 * 640 and np.abs(clip.audio).max() > 5000
    assert not np.array_equal(clip.frames, sample_clip("check/1").frames)
    assert np.abs(degraded(clip).frames.astype(int) - clip.frames).mean() > 10


# ----------------------------------------------------------------------------------------- wrong methods


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


@dataclass
class LooseOptions:
    level: int = 1


FITTING = {"frames-fit-the-clip", "a-clip-of-one-frame", "a-silent-clip", "a-clip-without-sound"}


def test_the_right_method_passes() -> None:
    assert outcomes(Grey()) == ({}, {})


def drawing(picture: Callable[[Clip, Sequence[Clip]], Any]) -> type[Grey]:
    """A method that makes of a clip, in a batch of clips, what is given."""
    return type("Drawing", (Grey,), {"picture": lambda _self, clip, _seed, clips: picture(clip, clips)})


WRONG_METHODS = {
    "random": (
        drawing(lambda clip, _: np.random.default_rng().integers(0, 255, clip.frames.shape).astype(np.uint8)),
        {"same-seed-same-frames", "a-clip-does-not-depend-on-its-batch"},
    ),
    "sociable": (
        drawing(lambda clip, clips: np.full_like(clip.frames, 40 * len(clips))),
        {"a-clip-does-not-depend-on-its-batch"},
    ),
    "narrow": (drawing(lambda clip, _: clip.frames[:, :, :-1]), FITTING),
    "floating": (drawing(lambda clip, _: clip.frames / 255.0), FITTING | {"a-clip-does-not-depend-on-its-batch"}),
    "scribbling": (Scribbler, {"inputs-are-not-changed"}),
    "forgetful": (Forgetful, {"every-clip-is-yielded-once", "a-clip-does-not-depend-on-its-batch"}),
    "rude": (Rude, {"a-clip-of-one-frame", "a-silent-clip", "a-clip-without-sound"}),
    "boastful": (Boastful, {"progress-counts-frames"}),
    "locked": (Locked, {"copies"}),
    "shouting": (type("Shouting", (Grey,), {"name": "My Method!"}), {"name"}),
    "loose": (type("Loose", (Grey,), {"Options": LooseOptions}), {"options"}),
    "judged": (type("Judged", (Grey,), {"trained_against": "lse"}), {"trained-against"}),
    "careless": (type("Careless", (Grey,), {"incidental": frozenset({"speed"})}), {"incidental"}),
}


@pytest.mark.parametrize("wrong", WRONG_METHODS)
def test_a_wrong_method_is_caught_by_name(wrong: str) -> None:
    method, names = WRONG_METHODS[wrong]
    assert set(outcomes(method())[0]) == names


# ----------------------------------------------------------------------------------------- wrong metrics


class Clipper(Distance):
    def measure(self, pair: Pair) -> Sums:
        np.clip(pair.generated.frames, 10, 200, out=pair.generated.frames)
        return super().measure(pair)


class Summing(Distance):
    def aggregate(self, stats: Sequence[Sums]) -> Mapping[str, float | None]:
        return {"e": sum(s.total / s.n for s in stats)}


class FirstOnly(Distance):
    def aggregate(self, stats: Sequence[Sums]) -> Mapping[str, float | None]:
        return super().aggregate(stats[:1])


class Lopsided(Distance):
    def measure(self, pair: Pair) -> Sums:
        return Sums(float(np.maximum(pair.generated.frames.astype(float) - pair.target.frames, 0).sum()), 1)


class Noisy(Distance):
    def measure(self, pair: Pair) -> Sums:
        return Sums(float(np.random.default_rng().normal()) + super().measure(pair).total, 1)


class Misnamed(Distance):
    def aggregate(self, stats: Sequence[Sums]) -> Mapping[str, float | None]:
        return {"f": super().aggregate(stats)["e"]}


class Undefined(Distance):
    def measure(self, pair: Pair) -> Sums:
        if len(pair.generated.frames) < 2:
            raise IndexError("list index out of range")
        return super().measure(pair)


class Blurring(Distance):
    def measure_many(self, pairs: Sequence[Pair]) -> list[Sums | Exception]:
        each = [self.measure(pair) for pair in pairs]
        return [Sums(sum(stats.total for stats in each), sum(stats.n for stats in each))] * len(pairs)


class Dropping(Distance):
    def measure(self, pair: Pair) -> Sums:
        if len(pair.generated.frames) < 2:
            raise ClipError("too-short", "two frames are needed")
        return super().measure(pair)

    def measure_many(self, pairs: Sequence[Pair]) -> list[Sums | Exception]:
        return [self.measure(pair) for pair in pairs if len(pair.generated.frames) > 1]


def test_the_right_metric_passes() -> None:
    assert outcomes(Distance()) == ({}, {})


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        (type("Upside", (Distance,), {"columns": (Column("e", "E", "up"),)}), "identical-is-best"),
        (Clipper, "inputs-are-not-changed"),
        (Summing, "shards-aggregate-to-the-whole"),
        (FirstOnly, "shards-aggregate-to-the-whole"),
        (Lopsided, "symmetry-where-it-is-claimed"),
        (Noisy, "measuring-is-repeatable"),
        (Misnamed, "values-name-every-column"),
        (Undefined, "a-clip-of-one-frame"),
        (Blurring, "measuring-many-is-measuring-each"),
        (Dropping, "measuring-many-is-measuring-each"),
    ],
)
def test_a_wrong_metric_is_caught_by_name(metric: type[Distance], name: str) -> None:
    assert name in outcomes(metric())[0]


# ----------------------------------------------------------------------------------------- the doors


@parametrize_with_checks(Distance())
def test_the_decorator_runs_one_test_per_check(check: Check) -> None:
    check()


def test_something_else_is_refused() -> None:
    with pytest.raises(TypeError, match="not a Method, Metric or Dataset"):
        checks_of(object())  # type: ignore[arg-type]


@pytest.mark.usefixtures("toy_plugins")
def test_check_plugin_by_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert "18 passed\n" in printed(capsys, ["plugin", "check", "toy-truth"])
    assert "no plugin 'nobody' is installed" in refusal(capsys, ["plugin", "check", "nobody"])


@pytest.mark.usefixtures("toy_plugins")
def test_check_plugin_names_what_fails(capsys: pytest.CaptureFixture[str]) -> None:
    # toy-noise adds to uint8 frames of any clip, but `toy` does not refuse a clip that it does not have.
    out = printed(capsys, ["plugin", "check", "toy"], 1)
    assert "FAIL unknown-names-are-refused" in out and "12 passed, 1 failed" in out


def test_check_plugin_counts_what_was_skipped(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")
    lines = printed(capsys, ["plugin", "check", "lse"]).splitlines()
    assert lines[-1] == "8 passed, 9 skipped: weights syncnet-v2 missing; syncdiff-bench weights fetch syncnet-v2"
    assert sum(line.startswith("skip ") for line in lines) == 9
    assert main(["plugin", "check", "lse", "--strict"]) == 1
    assert "no such file" in printed(capsys, ["plugin", "check", "lse[weights=nowhere.pt]"], 1)


def test_check_plugin_takes_options_of_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plugin", "check", "psnr", "--set", "protocol=nonsense"]) == 2
    assert "nonsense" in refusal(capsys, ["plugin", "check", "static[nonsense=1]"])


def test_a_plugin_that_exits_does_not_pass(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    def leave(*_: Any, **__: Any) -> None:
        sys.exit(0)

    monkeypatch.setattr("syncdiff_methods.bounds.Static.generate", leave)
    assert "SystemExit: 0" in printed(capsys, ["plugin", "check", "static"], 1)


def test_pytest_shows_the_reason(tmp_path: Path) -> None:
    """A skipped check is a skipped test."""
    (tmp_path / "test_it.py").write_text(
        "from syncdiff_bench import plugins\n"
        "from syncdiff_bench.testing import parametrize_with_checks\n\n"
        "@parametrize_with_checks(plugins.load_metric('wer'))\n"
        "def test_conformance(check):\n    check()\n"
    )
    told = run("-m", "pytest", "-p", "no:cacheprovider", "-rs", str(tmp_path), SYNCDIFF_BENCH_HOME=str(tmp_path))
    assert told.returncode == 0 and "8 passed, 9 skipped" in told.stdout
    assert "weights avhubert-lrs2-vsr missing; only you can get it: TalkLip's README" in told.stdout
    assert "weights fetch" not in told.stdout


def test_without_assertions_nothing_is_checked() -> None:
    told = run("-O", "-m", "syncdiff_bench", "check-plugin", "gt")
    assert told.returncode == 2 and "run it without -O" in told.stderr


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
