"""The shipped sizes of SyncDiff, and the variants of Tables 2, 3, 5 and 6 in each.

A size is a training config (`configs/paper.toml`), a variant one line of its `[variants]` table.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.loader import read_plan
from syncdiff_methods.syncdiff.config import SyncDiffConfig

if TYPE_CHECKING:
    from syncdiff_methods.syncdiff.method import SyncDiffOptions

ITSELF = SyncDiffConfig().variant  # RND+PRV-, NP 1, NF 9: no line of its own
VARIANTS = ("ds", "rnd", "prv", "prv-", ITSELF, "np5", "np10", "nf3", "nf6", "nf12")


def shipped_model(size: str, variant: str = ITSELF) -> SyncDiffConfig:
    """The model config of a shipped size ("paper", "pocket") and variant. Raises UsageError for an unknown one."""
    if variant not in VARIANTS:
        raise UsageError(f"no SyncDiff variant {variant!r}; variants: {', '.join(VARIANTS)}")
    plan = read_plan(f"syncdiff/{size}", variant="" if variant == ITSELF else variant)
    if plan.trainer != "syncdiff":
        raise UsageError(f"{size!r} is no size of SyncDiff; sizes: paper, pocket")
    config: SyncDiffConfig = options_from_values(SyncDiffConfig, plan.options["model"], f"size {size}")
    return config


def with_variant(options: SyncDiffOptions) -> SyncDiffOptions:
    """The options with the variant of their model filled in.

    Where another variant is asked for than the model is, MODEL-VARIANT beside it takes its place ("pocket-rnd").
    Raises UsageError where there is none, no such model at all, or none is named.
    """
    from syncdiff_methods.syncdiff.model import locate, read_config

    if not options.model:
        raise UsageError(
            "syncdiff needs --set model=DIR, what `syncdiff-bench train` made; model=pocket is for drawn faces"
        )
    known = read_config(locate(options.model)).variant
    if options.variant in (None, known):
        return replace(options, variant=known)
    sibling = f"{options.model}-{options.variant}"
    try:
        found = read_config(locate(sibling)).variant
    except UsageError:
        found = ""
    if found != options.variant:
        raise UsageError(
            f"model {options.model!r} is variant {known}, not {options.variant}, and there is no {sibling!r}; train one"
            f" (`syncdiff-bench train syncdiff/pocket --variant {options.variant}`) and give its folder as model"
        )
    return replace(options, model=sibling)
