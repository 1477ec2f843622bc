"""`score --align faces`: videos of another crop than their references, face against face.

Either side is cut by boxes of its own, one detector's, in columns of their own: regions `own-face96` and `own-mouth`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from syncdiff_bench.contracts import Metric
from syncdiff_bench.errors import UsageError
from syncdiff_bench.runs.manifest import Identity

Align = Literal["frames", "faces"]
FRAMES: Align = "frames"
FACES: Align = "faces"
OWN = "own-"  # before the name of a region


def align_option(align: str) -> dict[str, str]:
    """What the options of a run of given videos say of it; nothing where whole frames are compared."""
    return {"align": align} if align == FACES else {}


def is_aligned(identity: Identity) -> bool:
    return identity.options.get("align") == FACES


def by_own_boxes(metric: Metric[Any]) -> Metric[Any]:
    """The metric on the same region cut by each side's own boxes; itself where it knows no such region."""
    region = getattr(metric.options, "region", "")
    if not isinstance(region, str) or region.startswith(OWN):
        return metric
    try:
        return type(metric)(replace(metric.options, region=OWN + region), metric.runtime)
    except (UsageError, TypeError):
        return metric
