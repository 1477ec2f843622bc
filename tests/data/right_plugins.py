"""A method, a metric and a data set that are right in every way, and what the conformance suite says of a plugin.

Tests change one thing of them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest

from syncdiff_bench.contracts import Clip, Column, Dataset, Finding, Frames, Media, Method, Metric, Pair
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.testing import checks_of, plugin_checks
from syncdiff_bench.testing.plugin_checks import Plugin, Skipped

# A process of its own for each module, and the modules of tests stay as they are.
imported_alone = cache(plugin_checks._imported_alone)


def outcomes(plugin: Plugin, only: str = "") -> tuple[dict[str, str], dict[str, str]]:
    """Name -> message of the checks that fail, and of those that are skipped; of all or of one."""
    failed, skipped = {}, {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plugin_checks, "_imported_alone", imported_alone)
        for check in (check for check in checks_of(plugin) if only in ("", check.name)):
            try:
                check()
            except Skipped as reason:
                skipped[check.name] = str(reason)
            except Exception as error:
                failed[check.name] = str(error)
    return failed, skipped


@dataclass(frozen=True)
class GreyOptions:
    level: int = 100


class Grey(Method):
    """All of a clip's pixels are level + seed."""

    name = "grey"
    Options: ClassVar[type[Any]] = GreyOptions

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


@dataclass(frozen=True)
class Sums:
    total: float
    n: int = 1


class Distance(Metric[Sums]):
    """Mean absolute error; columns may be others, of the same mean."""

    name = "error"
    columns: ClassVar[tuple[Column, ...]] = (Column("e", "E", "down"),)
    symmetric = True
    Stats = Sums

    def measure(self, pair: Pair) -> Sums:
        difference = np.abs(pair.generated.frames.astype(float) - pair.target.frames)
        return Sums(float(difference.sum()), difference.size)

    def aggregate(self, stats: Sequence[Sums]) -> Mapping[str, float | None]:
        return dict.fromkeys((one.name for one in self.columns), sum(s.total for s in stats) / sum(s.n for s in stats))


class Listed(Dataset):
    """Clips of each split, three black frames each, made in memory."""

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
