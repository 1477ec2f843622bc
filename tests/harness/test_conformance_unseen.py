"""Nothing passes the conformance suite unseen: what could not be checked is skipped with the reason, what fails on
every clip fails, and digests of weights are held against files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Column, Dataset, Finding, Frames, Media, Method, Metric, Pair, Runtime
from syncdiff_bench.contracts import WeightsUsed as Used
from syncdiff_bench.errors import ClipError, NotApplicable, UsageError, WeightsError
from syncdiff_bench.testing import checks_of
from syncdiff_bench.testing.plugin_checks import Plugin, Skipped
from syncdiff_bench.weights.catalog import Catalogue, Entry
from syncdiff_bench.weights.store import WeightsStore

MEASURING = {
    "measuring-is-repeatable",
    "inputs-are-not-changed",
    "values-name-every-column",
    "identical-is-best",
    "symmetry-where-it-is-claimed",
    "statistics-survive-json",
    "caveats",
    "shards-aggregate-to-the-whole",
    "measuring-many-is-measuring-each",
    "a-clip-of-one-frame",
}


def outcomes(plugin: Plugin) -> tuple[dict[str, str], dict[str, str]]:
    """Name -> message of the checks that fail, and of those that are skipped."""
    failed, skipped = {}, {}
    for check in checks_of(plugin):
        try:
            check()
        except Skipped as reason:
            skipped[check.name] = str(reason)
        except Exception as error:
            failed[check.name] = str(error)
    return failed, skipped


def store(folder: Path) -> WeightsStore:
    """That knows one file, `net`."""
    return WeightsStore(folder, Catalogue({"net": Entry("net", "net.bin", "a network", "none", "nowhere")}))


# ----------------------------------------------------------------------------------------- metrics


@dataclass(frozen=True)
class Stats:
    total: float
    n: int


class Distance(Metric[Stats]):
    """Right in every way; those below change one thing."""

    name = "error"
    columns = (Column("e", "E", "down"),)
    symmetric = True
    Stats = Stats

    def measure(self, pair: Pair) -> Stats:
        difference = np.abs(pair.generated.frames.astype(float) - pair.target.frames)
        return Stats(float(difference.sum()), difference.size)

    def aggregate(self, stats: Sequence[Stats]) -> Mapping[str, float | None]:
        return {"e": sum(s.total for s in stats) / sum(s.n for s in stats)}


class Weighted(Distance):
    """Needs `net` of the store, as an honest metric does."""

    def prepare(self) -> None:
        assert self.runtime.weights is not None
        self.runtime.weights.path("net")

    def weights_used(self) -> tuple[Used, ...]:
        assert self.runtime.weights is not None
        return (Used("net", self.runtime.weights.digest("net")),)


class Elsewhere(Distance):
    """Has nothing to say on any machine of this kind."""

    def prepare(self) -> None:
        raise NotApplicable("package skimage-of-mine missing; pip install it")


class Refusing(Distance):
    def measure(self, pair: Pair) -> Stats:
        raise ClipError("no-face", f"{pair.generated.id}: no face")


class Declining(Distance):
    def measure(self, pair: Pair) -> Stats:
        raise NotApplicable("not today")


class Crashing(Distance):
    def measure(self, pair: Pair) -> Stats:
        raise ZeroDivisionError("division by zero")


class Blank(Distance):
    def aggregate(self, stats: Sequence[Stats]) -> Mapping[str, float | None]:
        return {"e": None}


class Late(Distance):
    """Finds out while it measures: the harness would count every clip as failed."""

    def measure(self, pair: Pair) -> Stats:
        raise WeightsError("weights net missing", missing="net")


class Broken(Distance):
    def prepare(self) -> None:
        raise WeightsError("net.bin is truncated")


class Inventing(Distance):
    def prepare(self) -> None:
        raise WeightsError("weights dream missing; fetch them", missing="dream")


class Pretending(Distance):
    def prepare(self) -> None:
        raise WeightsError("weights net missing; fetch them", missing="net")


class Patient(Distance):
    """Needs two seconds, as a metric over windows may: the sample clips have to be long enough for it."""

    def measure(self, pair: Pair) -> Stats:
        if len(pair.generated.frames) < 50:
            raise ClipError("too-short", f"{pair.generated.id}: 50 frames are needed")
        return super().measure(pair)


def test_missing_weights_skip_what_needs_them(tmp_path: Path) -> None:
    failed, skipped = outcomes(Weighted(None, Runtime("cpu", store(tmp_path))))
    assert failed == {}
    assert skipped == dict.fromkeys(
        {*MEASURING, "weights-used"}, "weights net missing; syncdiff-bench weights fetch net"
    )
    (tmp_path / "net.bin").write_bytes(b"tensors")
    assert outcomes(Weighted(None, Runtime("cpu", store(tmp_path)))) == ({}, {})


def test_a_missing_package_skips_what_needs_it() -> None:
    reason = "package skimage-of-mine missing; pip install it"
    assert outcomes(Elsewhere()) == ({}, dict.fromkeys({*MEASURING, "weights-used"}, reason))


@pytest.mark.parametrize("metric", [Refusing, Declining, Crashing, Late])
def test_a_metric_that_raises_on_every_clip_fails(metric: type[Distance], tmp_path: Path) -> None:
    failed, skipped = outcomes(metric(None, Runtime("cpu", store(tmp_path))))
    assert set(failed) >= MEASURING - {"a-clip-of-one-frame"} and skipped == {}


def test_a_metric_without_a_value_on_any_clip_fails() -> None:
    failed, _ = outcomes(Blank())
    assert failed["values-name-every-column"] == "e is None for every clip"


@pytest.mark.parametrize(
    ("metric", "complaint"),
    [
        (Broken, "^net.bin is truncated$"),
        (Inventing, "'dream' are missing, which no catalogue knows"),
        (Pretending, "net are missing, but"),
    ],
)
def test_only_what_is_missing_is_an_excuse(metric: type[Distance], complaint: str, tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"tensors")
    failed, skipped = outcomes(metric(None, Runtime("cpu", store(tmp_path))))
    assert skipped == {} and set(failed) == {*MEASURING, "prepare-says-what-is-missing", "weights-used"}
    assert all(re.search(complaint, message) for message in failed.values())


def test_a_metric_of_long_clips_is_measured() -> None:
    assert outcomes(Patient()) == ({}, {})


def test_a_check_that_says_nothing_is_not_listed() -> None:
    class Sound(Distance):
        requires = frozenset({"audio"})
        symmetric = False

    silent = {"identical-is-best", "symmetry-where-it-is-claimed"}
    assert {check.name for check in checks_of(Distance())} - {check.name for check in checks_of(Sound())} == silent


# ----------------------------------------------------------------------------------------- digests


@dataclass(frozen=True)
class Claims:
    """sha256 of `name`; file: where it lies, "" for not said."""

    name: str = "net"
    sha256: str = ""
    file: str = ""


class Claiming(Distance):
    Options: ClassVar[type[Any]] = Claims

    def weights_used(self) -> tuple[Used, ...]:
        given = self.options
        return (Used(given.name, given.sha256, Path(given.file) if given.file else None),)


class Still(Method):
    """The first frame, by weights that it names."""

    name = "still"
    Options: ClassVar[type[Any]] = Claims

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        for clip in clips:
            yield clip.id, np.repeat(clip.frames[:1], len(clip.frames), axis=0)

    weights_used = Claiming.weights_used


CONTENT = b"tensors"
DIGEST = hashlib.sha256(CONTENT).hexdigest()
MADE_UP = hashlib.sha256(b"nothing").hexdigest()


@pytest.mark.parametrize("kind", [Claiming, Still])
@pytest.mark.parametrize(
    ("name", "sha256", "file", "complaint"),
    [
        ("net", DIGEST, "", ""),
        ("mine", DIGEST, "net.bin", ""),
        ("net", DIGEST[:40], "", "is no sha256"),
        ("net", DIGEST.upper(), "", "is no sha256"),
        ("net", MADE_UP, "", "is not the sha256 of"),
        ("mine", MADE_UP, "net.bin", "is not the sha256 of"),
        ("mine", DIGEST, "", "no catalogue knows the name"),
        ("mine", DIGEST, "gone.bin", "is not there"),
        ("", DIGEST, "net.bin", "has no name"),
    ],
)
def test_a_made_up_digest_fails(
    kind: type[Claiming] | type[Still], name: str, sha256: str, file: str, complaint: str, tmp_path: Path
) -> None:
    (tmp_path / "net.bin").write_bytes(CONTENT)
    claims = Claims(name, sha256, str(tmp_path / file) if file else "")
    failed, skipped = outcomes(kind(claims, Runtime("cpu", store(tmp_path))))
    assert skipped == {}
    assert set(failed) == ({"weights-used"} if complaint else set())
    assert complaint in failed.get("weights-used", "")


@pytest.mark.parametrize("kind", [Claiming, Still])
def test_a_digest_of_weights_that_are_not_here_fails(kind: type[Claiming] | type[Still], tmp_path: Path) -> None:
    failed, skipped = outcomes(kind(Claims("net", DIGEST), Runtime("cpu", store(tmp_path))))
    assert skipped == {} and "is not there" in failed["weights-used"]


# ----------------------------------------------------------------------------------------- methods


class Waiting(Still):
    """Without its weights, which it does not have."""

    def generate(self, clips: Sequence[Clip], **more: Any) -> Iterator[tuple[str, Frames | ClipError]]:
        self.weights_used()
        yield from super().generate(clips, **more)

    def weights_used(self) -> tuple[Used, ...]:
        assert self.runtime.weights is not None
        return (Used("net", self.runtime.weights.digest("net")),)


class Yielding(Still):
    def generate(self, clips: Sequence[Clip], **more: Any) -> Iterator[tuple[str, Frames | ClipError]]:
        for clip in clips:
            yield clip.id, ClipError("no-face", f"{clip.id}: no face")

    def weights_used(self) -> tuple[Used, ...]:
        return ()


class Raising(Yielding):
    def generate(self, clips: Sequence[Clip], **more: Any) -> Iterator[tuple[str, Frames | ClipError]]:
        raise ClipError("no-face", "no face")


def test_a_method_without_its_weights_is_skipped(tmp_path: Path) -> None:
    failed, skipped = outcomes(Waiting(None, Runtime("cpu", store(tmp_path))))
    assert failed == {} and len(skipped) == 11
    assert set(skipped.values()) == {"weights net missing; syncdiff-bench weights fetch net"}


@pytest.mark.parametrize("method", [Yielding(), Raising()])
def test_a_method_that_fails_on_every_clip_fails(method: Method) -> None:
    failed, skipped = outcomes(method)
    assert skipped == {}
    assert set(failed) >= {
        "frames-fit-the-clip",
        "same-seed-same-frames",
        "a-clip-does-not-depend-on-its-batch",
        "inputs-are-not-changed",
    }


# ----------------------------------------------------------------------------------------- datasets


class Listed(Dataset):
    """Clips of each split, made in memory."""

    name = "listed"
    embedded = True
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {"test": ("a", "b"), "val": ("c",)}
    frames = 3

    def splits(self) -> tuple[str, ...]:
        return tuple(self.listed)

    def clip_ids(self, split: str) -> tuple[str, ...]:
        if split not in self.listed:
            raise UsageError(f"no split {split!r}")
        return self.listed[split]

    def clip(self, clip_id: str) -> Clip:
        if all(clip_id not in ids for ids in self.listed.values()):
            raise ClipError("missing", f"no clip {clip_id!r}")
        frames = np.zeros((self.frames, 8, 8, 3), np.uint8)
        return Clip(clip_id, self.name, preloaded=Media(frames, np.zeros(0, np.int16)))

    def fingerprint(self, split: str) -> str:
        return hashlib.sha256(repr(self.listed[split]).encode()).hexdigest()

    def verify(self, split: str) -> Iterator[Finding]:
        return iter(())


class Empty(Listed):
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {"test": ()}


class HalfEmpty(Listed):
    listed: ClassVar[Mapping[str, tuple[str, ...]]] = {"test": ("a",), "val": ()}


class Frameless(Listed):
    frames = 0


def test_the_right_dataset_passes() -> None:
    assert outcomes(Listed()) == ({}, {})


def test_nothing_passes_over_no_clips() -> None:
    failed, _ = outcomes(Empty())
    assert set(failed.values()) == {"split test is empty"} and len(failed) == 6


def test_no_split_is_empty_and_no_clip_without_frames() -> None:
    assert outcomes(HalfEmpty())[0] == {"clip-ids": "split val is empty"}
    assert outcomes(Frameless())[0] == {"clips-are-as-promised": "a: has no frames"}
