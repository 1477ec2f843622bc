"""Anchors: what ground truth must score, as data of the leaderboard packages (`anchors/*.toml`).

The packages are those of the entry-point group `syncdiff_bench.tables`; one that brings no anchors has no such
folder. One file per dataset and split:

    schema = 1
    dataset = "lrs2"
    split = "test"
    clips = 1243                     # how many clips the anchors are about
    [[anchors]]
    metric = "lse[weights=pocket]"   # spec of the metric, with its options
    column = "lse_c"                 # of that metric
    value = 8.25                     # "N/A" where the column must be undefined
    tolerance = 0.05                 # beside a number
    low, high = 7.9, 8.6             # instead of value and tolerance; one of them is enough
    any_clips = true                 # optional (false): holds for every part of the split
    source, reason                   # texts: who says so, and why this tolerance
    causes = ["..."]                 # what is wrong, most likely, where ground truth does not agree

Every error is a UsageError that names the package, the file and the key.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.report.packages import Node, read_root, sources

FOLDER = "anchors"
SCHEMA = 1
FILE_KEYS = ("schema", "dataset", "split", "clips", "anchors")


@dataclass(frozen=True)
class Anchor:
    """What one column of a metric must read for ground truth.

    - low, high: the bounds, inclusive; infinite where there is none, NaN where the column must be undefined
    - printed: the value as its source prints it ("8.25", "at least 5", "N/A")
    - tolerance: half of the interval around a value, None where bounds were given or nothing may be defined
    """

    metric: str
    column: str
    low: float
    high: float
    printed: str
    tolerance: float | None
    source: str
    reason: str
    causes: tuple[str, ...]
    any_clips: bool = False

    @property
    def undefined(self) -> bool:
        return math.isnan(self.low)

    def distance(self, value: float) -> float:
        """How far a value lies outside the bounds, 0 within."""
        return max(self.low - value, value - self.high, 0.0)


@dataclass(frozen=True)
class Anchors:
    """The anchors of one split. clips: how many clips they are about."""

    dataset: str
    split: str
    clips: int
    anchors: tuple[Anchor, ...]


def find_anchors(dataset: str, split: str) -> Anchors:
    """The anchors of a split, of all installed leaderboard packages together.

    Raises UsageError naming the known ones where there are none, and where a file is not in order.
    """
    known = [parse_anchors(*source) for source in sources(FOLDER)]
    found = [one for one in known if (one.dataset, one.split) == (dataset, split)]
    if not found:
        names = ", ".join(sorted({f"{one.dataset} {one.split}" for one in known})) or "none"
        raise UsageError(f"there are no anchors for {dataset}, split {split}; there are: {names}")
    return Anchors(dataset, split, found[0].clips, tuple(anchor for one in found for anchor in one.anchors))


def split_size(dataset: str, split: str) -> int | None:
    """How many clips a split has, by the anchors about it; None where there are none. Raises UsageError."""
    known = (parse_anchors(*source) for source in sources(FOLDER))
    return next((one.clips for one in known if (one.dataset, one.split) == (dataset, split)), None)


def parse_anchors(where: str, content: bytes) -> Anchors:
    """One file. where: its name, for messages. Raises UsageError."""
    root = read_root(where, content, SCHEMA, FILE_KEYS)
    clips = root.get("clips", int)
    if clips < 1:
        raise root.fail("clips", f"must be at least 1, is {clips}")
    anchors = tuple(
        node.read(Anchor, "value", "tolerance", "low", "high", **_bounds(node)) for node in root.nodes("anchors")
    )
    return Anchors(root.get("dataset", str), root.get("split", str), clips, anchors)


def _bounds(node: Node) -> dict[str, Any]:
    """low, high, tolerance and printed of an Anchor, of either way to give them."""
    bounds = {key: node.get(key, float) for key in ("low", "high") if key in node.data}
    if ("value" in node.data) == bool(bounds):
        raise node.fail("value", "give either value (with tolerance), or low and high, or one of them")
    if bounds:
        if "tolerance" in node.data:
            raise node.fail("tolerance", "belongs to value; low and high are bounds already")
        low, high = bounds.get("low", -math.inf), bounds.get("high", math.inf)
        if low > high:
            raise node.fail("low", f"{low:g} is above high = {high:g}")
        words = {1: f"at least {low:g}" if "low" in bounds else f"at most {high:g}", 2: f"{low:g} to {high:g}"}
        return {"low": low, "high": high, "tolerance": None, "printed": words[len(bounds)]}
    value = node.get("value", float | Literal["N/A"])
    if value == "N/A":
        if "tolerance" in node.data:
            raise node.fail("tolerance", 'means nothing beside value = "N/A"')
        return {"low": math.nan, "high": math.nan, "tolerance": None, "printed": "N/A"}
    tolerance = node.get("tolerance", float)
    if tolerance < 0:
        raise node.fail("tolerance", f"must not be negative, is {tolerance:g}")
    return {"low": value - tolerance, "high": value + tolerance, "tolerance": tolerance, "printed": f"{value:g}"}
