"""The metrics that come with the benchmark; `weights.toml` lists the networks that they and the methods use."""

from __future__ import annotations

from typing import Any, Literal, get_args, get_origin, get_type_hints

from syncdiff_bench.errors import UsageError


def check_choices(metric: str, options: Any) -> None:
    """Raise UsageError, with the allowed values, where an option is none of its Literal's values."""
    for key, kind in get_type_hints(type(options)).items():
        value = getattr(options, key)
        if get_origin(kind) is Literal and value not in get_args(kind):
            raise UsageError(f"{metric}: {key} is {value!r}; give {' or '.join(get_args(kind))}")
