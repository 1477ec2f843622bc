"""Student's t on an estimate whose standard error has few degrees of freedom: interval, p, and what could be seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

Interval = tuple[float, float]


@dataclass(frozen=True)
class StandardError:
    """se: in the unit of the estimate, >= 0. df: degrees of freedom of its square, > 0."""

    se: float
    df: float


def combined(parts: Sequence[StandardError]) -> StandardError:
    """Of a sum of independent errors: se² = sum of se_i², df = se⁴ / sum of se_i⁴ / df_i (Satterthwaite 1946, "An
    approximate distribution of estimates of variance components"; Welch's t). One part alone comes back as it is.

    >>> combined([StandardError(3.0, 2), StandardError(4.0, 8)])
    StandardError(se=5.0, df=8.620689655172415)
    """
    if len(parts) == 1:
        return parts[0]
    square = sum(part.se**2 for part in parts)
    spread = sum(part.se**4 / part.df for part in parts)
    return StandardError(math.sqrt(square), square**2 / spread if spread else sum(part.df for part in parts))


def t_interval(estimate: float, error: StandardError, confidence: float = 0.95) -> Interval:
    """estimate ± t(df) * se."""
    from scipy import special

    half = float(special.stdtrit(error.df, (1 + confidence) / 2)) * error.se
    return estimate - half, estimate + half


def t_p_value(estimate: float, error: StandardError) -> float:
    """Two-sided p of "it is zero". Without an error it is 0, or 1 where the estimate is zero too."""
    from scipy import special

    if not error.se:
        return float(not estimate)
    return float(2 * special.stdtr(error.df, -abs(estimate) / error.se))


def smallest_effect(error: StandardError, *, power: float = 0.8, level: float = 0.05) -> float:
    """The true effect that a two-sided t test at `level` finds significant with probability `power`.

    It is se * delta, where P(T(df, delta) > t(df, 1 - level / 2)) = power for the noncentral t (Cohen 1988,
    "Statistical power analysis", chapter 2). A finding of the wrong sign, which delta makes unlikely, is not counted.
    """
    from scipy import special

    critical = special.stdtrit(error.df, 1 - level / 2)
    return error.se * float(special.nctdtrinc(error.df, 1 - power, critical))
