"""What `prepare faces` and `prepare landmarks` say when they are done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from syncdiff_bench.detection.preparing import Prepared

SHOWN_FAILURES = 10


def print_failed(clips: Sequence[Prepared]) -> None:
    """Name the clips that failed, with the reason."""
    for clip in clips[:SHOWN_FAILURES]:
        click.echo(f"failed: {clip.problem}", err=True)
    if len(clips) > SHOWN_FAILURES:
        click.echo(f"failed: {len(clips) - SHOWN_FAILURES} more clips", err=True)


def summary(clips: Sequence[Prepared], detector: str, *, own: str, faceless: str) -> str:
    """One line: "4 clips by s3fd-619a316812 (3 now, 1 before); 1 with gaps: 2 of 25 frames interpolated".

    own: what some clips have with the dataset. faceless: what a clip is of which no frame has a face.
    """
    outcomes = Counter(clip.outcome for clip in clips)
    seen = [clip for clip in clips if clip.outcome in ("detected", "known")]
    parts = [f"{len(seen)} clips by {detector} ({outcomes['detected']} now, {outcomes['known']} before)"]
    gaps = [clip for clip in seen if 0 < clip.faceless < clip.frames]
    if gaps:
        missed, frames = sum(clip.faceless for clip in gaps), sum(clip.frames for clip in gaps)
        parts.append(f"{len(gaps)} with gaps: {missed} of {frames} frames interpolated")
    without = sum(clip.faceless == clip.frames for clip in seen)
    if without:
        parts.append(f"{without} {faceless}")
    if outcomes["given"]:
        parts.append(f"{outcomes['given']} have {own} of their own")
    if outcomes["failed"]:
        parts.append(f"{outcomes['failed']} failed")
    return "; ".join(parts)
