"""Nothing passes the conformance suite unseen: what could not be checked is skipped with the reason, what fails on
every clip fails, and digests of weights are held against files.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from right_plugins import Distance, Grey, Listed, Sums, outcomes

from syncdiff_bench.contracts import Clip, Frames, Method, Pair, Runtime
from syncdiff_bench.contracts import WeightsUsed as Used
from syncdiff_bench.errors import ClipError, NotApplicable, WeightsError
from syncdiff_bench.testing import checks_of
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


WITHOUT = "weights net missing; only you can get it: nowhere; then syncdiff-bench weights add net FILE"


def store(folder: Path) -> WeightsStore:
    """That knows one file, `net`."""
    return WeightsStore(folder, Catalogue({"net": Entry("net", "net.bin", "a network", "none", "nowhere")}))


# ----------------------------------------------------------------------------------------- metrics


class Weighted(Distance):
    """Needs `net` of the store, as an honest metric does."""

    def prepare(self) -> None:
        assert self.runtime.weights is not None
        self.runtime.weights.path("net")

    def weights_used(self) -> tuple[Used, ...]:
        assert self.runtime.weights is not None
        return (Used("net", self.runtime.weights.digest("net")),)


def raising(hook: str, error: Exception) -> type[Distance]:
    """A metric whose hook does nothing else."""

    def raises(*_: Any) -> Any:
        raise error

    return type("Raising", (Distance,), {hook: raises})


class Patient(Distance):
    """Needs two seconds, as a metric over windows may: the sample clips have to be long enough for it."""

    def measure(self, pair: Pair) -> Sums:
        if len(pair.generated.frames) < 50:
            raise ClipError("too-short", f"{pair.generated.id}: 50 frames are needed")
        return super().measure(pair)


def test_missing_weights_skip_what_needs_them(tmp_path: Path) -> None:
    failed, skipped = outcomes(Weighted(None, Runtime("cpu", store(tmp_path))))
    assert failed == {}
    assert skipped == dict.fromkeys({*MEASURING, "weights-used"}, WITHOUT)
    (tmp_path / "net.bin").write_bytes(b"tensors")
    assert outcomes(Weighted(None, Runtime("cpu", store(tmp_path)))) == ({}, {})


def test_a_missing_package_skips_what_needs_it() -> None:
    reason = "package skimage-of-mine missing; pip install it"
    elsewhere = raising("prepare", NotApplicable(reason))
    assert outcomes(elsewhere()) == ({}, dict.fromkeys({*MEASURING, "weights-used"}, reason))


@pytest.mark.parametrize(
    "error",
    [
        ClipError("no-face", "no face"),
        NotApplicable("not today"),
        ZeroDivisionError("division by zero"),
        # found out while it measures: the harness would count every clip as failed
        WeightsError("weights net missing", missing="net"),
    ],
)
def test_a_metric_that_raises_on_every_clip_fails(error: Exception, tmp_path: Path) -> None:
    failed, skipped = outcomes(raising("measure", error)(None, Runtime("cpu", store(tmp_path))))
    assert set(failed) >= MEASURING - {"a-clip-of-one-frame"} and skipped == {}


def test_a_metric_without_a_value_on_any_clip_fails() -> None:
    blank = type("Blank", (Distance,), {"aggregate": lambda *_: {"e": None}})
    assert outcomes(blank())[0]["values-name-every-column"] == "e is None for every clip"


@pytest.mark.parametrize(
    ("error", "complaint"),
    [
        (WeightsError("net.bin is truncated"), "^net.bin is truncated$"),
        (WeightsError("fetch them", missing="dream"), "'dream' are missing, which no catalogue knows"),
        (WeightsError("fetch them", missing="net"), "net are missing, but"),
    ],
)
def test_only_what_is_missing_is_an_excuse(error: WeightsError, complaint: str, tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"tensors")
    failed, skipped = outcomes(raising("prepare", error)(None, Runtime("cpu", store(tmp_path))))
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


class Still(Grey):
    """The first frame, by weights that it names."""

    Options: ClassVar[type[Any]] = Claims
    weights_used = Claiming.weights_used

    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        return np.repeat(clip.frames[:1], len(clip.frames), axis=0)


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


class Yielding(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        return ClipError("no-face", f"{clip.id}: no face")


class Raising(Grey):
    def picture(self, clip: Clip, seed: int, clips: Sequence[Clip]) -> Any:
        raise ClipError("no-face", "no face")


def test_a_method_without_its_weights_is_skipped(tmp_path: Path) -> None:
    failed, skipped = outcomes(Waiting(None, Runtime("cpu", store(tmp_path))))
    assert failed == {} and len(skipped) == 11
    assert set(skipped.values()) == {WITHOUT}


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
