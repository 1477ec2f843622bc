"""Damaged files as far as they go: `accept_damaged=true` makes such a data set out of any other.

What was damaged is a caveat of the clip; without the option the clip fails.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from syncdiff_bench.contracts import Clip
from syncdiff_bench.views import DatasetView, with_option

OPTION = "accept_damaged"


def with_acceptance(options: type[Any]) -> type[Any]:
    """A data set's Options class with the field `accept_damaged`."""
    return with_option(options, OPTION, bool, False)


class AcceptingDataset(DatasetView):
    """The clips of a data set, each with `accept_damaged`. `verify` still says what is damaged."""

    def clip(self, clip_id: str) -> Clip:
        return replace(self.of.clip(clip_id), accept_damaged=True)
