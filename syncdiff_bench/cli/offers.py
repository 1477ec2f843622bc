"""What a shell offers where a name is typed; no plugin is imported for it, and nothing that fails is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from syncdiff_bench.registry import Kind

Offer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]  # what was typed so far -> what fits


def _offering(names: Callable[[click.Context], Iterable[str]], *, or_file: bool = False) -> Offer:
    """Those of the names that begin as typed. or_file: a path where none does."""

    def offer(ctx: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        try:
            found = [CompletionItem(name) for name in names(ctx) if name.startswith(incomplete)]
        except Exception:  # a broken package, a config that is not in order: the command tells it, a key press does not
            found = []
        return found or ([CompletionItem(incomplete, type="file")] if or_file else [])

    return offer


def registered(*kinds: Kind) -> Offer:
    """Names of plugins of these kinds."""

    def names(_ctx: click.Context) -> Sequence[str]:
        from syncdiff_bench import registry

        return [name for kind in kinds for name in registry.names(kind)]

    return _offering(names)


def listed(kind: Kind) -> Offer:
    """Names of plugins in a list, `psnr,lse`: of the last one, none inside brackets."""
    offer_one = registered(kind)

    def offer(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        before, comma, last = incomplete.rpartition(",")
        if before.count("[") > before.count("]"):
            return []
        return [CompletionItem(f"{before}{comma}{one.value}") for one in offer_one(ctx, parameter, last)]

    return offer


def _weights(_ctx: click.Context) -> Iterable[str]:
    from syncdiff_bench.weights.catalog import installed

    return installed().entries


def _configs(_ctx: click.Context) -> Iterable[str]:
    from syncdiff_bench.training.loader import shipped_configs

    return shipped_configs()


def _variants(ctx: click.Context) -> Iterable[str]:
    from syncdiff_bench.training.loader import variants_of

    return variants_of(ctx.params["config"] or ctx.args[0])  # click stops at an option that lacks its value


def _added(_ctx: click.Context) -> Iterable[str]:
    from syncdiff_bench.roots import all_known

    return [one.dataset for one in all_known() if one.line and one.dataset]


METHOD, DATASET, LAYOUT = registered("method"), registered("dataset"), registered("converter")
PLUGIN = registered("method", "metric", "dataset")
METRICS = listed("metric")
WEIGHTS = _offering(_weights)
CONFIG = _offering(_configs, or_file=True)
VARIANT = _offering(_variants)  # of the config before it
ADDED = _offering(_added)  # data sets of `data add`
