"""From phones to a moving mouth: co-articulated visemes by dominance functions.

Source: Cohen & Massaro, "Modeling coarticulation in synthetic visual speech", 1993. Every phone pulls each mouth
parameter towards its viseme's target with a dominance that falls off exponentially around the phone; the mouth is
the dominance-weighted mean. Closures (p b m, f v) dominate, so they are reached even in fast speech; the tongue and
the rounding of neighbours shine through where a phone does not care.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Spoken
from syncdiff_bench.errors import UsageError
from syncdiff_datasets.pocket.speech import STRESS

PARAMETERS = ("opening", "width", "rounding", "teeth", "tongue", "tuck")


@dataclass(frozen=True)
class Viseme:
    """Targets of a mouth shape, and how strongly it insists on them.

    opening 0 shut .. 1 wide; width -1 narrow .. 1 spread; rounding 0 .. 1 (protruded lips);
    teeth 0 hidden .. 1 (upper row shows); tongue 0 low .. 1 (tip at or between the teeth);
    tuck 0 .. 1 (lower lip under the upper teeth). `dominance` weighs it against its neighbours.
    """

    opening: float
    width: float
    rounding: float
    teeth: float
    tongue: float
    tuck: float
    dominance: float = 1.0


REST = Viseme(0.02, 0.0, 0.0, 0.0, 0.0, 0.0, 0.4)

VISEMES: dict[str, Viseme] = {
    "bilabial": Viseme(0.0, -0.05, 0.1, 0.0, 0.0, 0.0, 5.0),
    "labiodental": Viseme(0.10, 0.05, 0.0, 0.8, 0.0, 1.0, 4.0),
    "dental": Viseme(0.24, 0.15, 0.0, 0.5, 1.0, 0.0, 2.2),
    "alveolar": Viseme(0.20, 0.2, 0.0, 0.5, 0.55, 0.0, 0.9),
    "lateral": Viseme(0.34, 0.1, 0.0, 0.3, 0.85, 0.0, 1.2),
    "sibilant": Viseme(0.10, 0.5, 0.0, 1.0, 0.0, 0.0, 1.8),
    "postalveolar": Viseme(0.18, -0.5, 0.75, 0.9, 0.0, 0.0, 2.0),
    "velar": Viseme(0.26, 0.1, 0.0, 0.2, 0.0, 0.0, 0.5),
    "rhotic": Viseme(0.20, -0.4, 0.55, 0.2, 0.2, 0.0, 1.0),
    "labiovelar": Viseme(0.10, -0.9, 1.0, 0.0, 0.0, 0.0, 2.5),
    "palatal": Viseme(0.16, 0.7, 0.0, 0.6, 0.1, 0.0, 0.9),
    "close-front": Viseme(0.24, 1.0, 0.0, 0.7, 0.1, 0.0, 1.4),
    "near-close": Viseme(0.34, 0.55, 0.0, 0.5, 0.1, 0.0, 1.1),
    "mid-front": Viseme(0.58, 0.5, 0.0, 0.4, 0.1, 0.0, 1.3),
    "open": Viseme(1.0, 0.1, 0.0, 0.3, 0.0, 0.0, 1.5),
    "open-mid": Viseme(0.72, 0.0, 0.05, 0.25, 0.0, 0.0, 1.2),
    "open-rounded": Viseme(0.80, -0.4, 0.6, 0.0, 0.0, 0.0, 1.4),
    "close-rounded": Viseme(0.24, -1.0, 1.0, 0.0, 0.0, 0.0, 1.8),
    "mid-rounded": Viseme(0.50, -0.7, 0.9, 0.0, 0.0, 0.0, 1.6),
    "central": Viseme(0.38, 0.0, 0.1, 0.2, 0.1, 0.0, 0.7),
}

# eSpeak NG's ASCII phone names, stress marks removed; a diphthong passes through two visemes.
PHONE_VISEMES: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("p", "b", "m"), ("bilabial",)),
    **dict.fromkeys(("f", "v"), ("labiodental",)),
    **dict.fromkeys(("T", "D"), ("dental",)),
    **dict.fromkeys(("t", "t#", "t[", "d", "n", "*"), ("alveolar",)),
    **dict.fromkeys(("l", "l^"), ("lateral",)),
    **dict.fromkeys(("s", "z"), ("sibilant",)),
    **dict.fromkeys(("S", "Z", "tS", "dZ"), ("postalveolar",)),
    **dict.fromkeys(("k", "g", "h", "N", "x", "?"), ("velar",)),
    **dict.fromkeys(("r", "r-", "R"), ("rhotic",)),
    **dict.fromkeys(("w", "w#"), ("labiovelar",)),
    **dict.fromkeys(("j", ";"), ("palatal",)),
    **dict.fromkeys(("i:", "i", "I2"), ("close-front",)),
    **dict.fromkeys(("I", "I#"), ("near-close",)),
    **dict.fromkeys(("E", "e", "e:", "3:"), ("mid-front",)),
    **dict.fromkeys(("a", "aa", "A:", "A~", "a:"), ("open",)),
    **dict.fromkeys(("V", "A@"), ("open-mid",)),
    **dict.fromkeys(("0", "O2"), ("open-rounded",)),
    **dict.fromkeys(("u:", "u", "U"), ("close-rounded",)),
    **dict.fromkeys(("O:", "O", "O@", "o@", "o:"), ("mid-rounded",)),
    **dict.fromkeys(("@", "a#", "@2", "@L", "I@", "3"), ("central",)),
    "eI": ("mid-front", "close-front"),
    **dict.fromkeys(("aI", "aI2"), ("open", "near-close")),
    "aU": ("open", "close-rounded"),
    "OI": ("mid-rounded", "near-close"),
    **dict.fromkeys(("oU", "o"), ("mid-rounded", "close-rounded")),
    **dict.fromkeys(("i@", "i@3"), ("close-front", "central")),
    "aI@": ("open", "near-close", "central"),
    "e@": ("mid-front", "central"),
    "U@": ("close-rounded", "central"),
}


def visemes_of(phone: str) -> tuple[Viseme, ...]:
    """The visemes that an eSpeak phone passes through. Raises UsageError for a phone that is not mapped."""
    symbol = phone.lstrip(STRESS)
    names = PHONE_VISEMES.get(symbol) or PHONE_VISEMES.get(symbol.rstrip("2#"))
    if names is None:
        raise UsageError(f"eSpeak phone {phone!r} has no viseme; add it to PHONE_VISEMES in pocket/articulation.py")
    return tuple(VISEMES[name] for name in names)


def articulate(phones: Sequence[Spoken], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mouth parameters at the given times (seconds): (len(times), 6), columns in the order of PARAMETERS.

    Dominance of a segment at distance tau from its centre: d exp(-|tau| / (0.35 duration + 0.025 s)). The mouth leads
    the sound slightly, as real mouths do: a segment acts 15 ms early.
    """
    centres, widths, visemes = [-0.05], [0.1], [REST]
    for phone in phones:
        parts = visemes_of(phone.text)
        duration = (phone.end - phone.start) / len(parts)
        for k, viseme in enumerate(parts):
            centres.append(phone.start + (k + 0.5) * duration - 0.015)
            widths.append(0.35 * duration + 0.025)
            visemes.append(viseme)
    centres.append((phones[-1].end if phones else 0.0) + 0.12)
    widths.append(0.08)
    visemes.append(REST)

    targets = np.array([[getattr(v, name) for name in PARAMETERS] for v in visemes])
    strength = np.array([v.dominance for v in visemes])
    distance = np.abs(times[:, None] - np.array(centres)[None, :])
    dominance = strength * np.exp(-distance / np.array(widths)) + 1e-9
    # A closure must not be opened by the mean over its neighbours: the nearest segment counts double in the exponent.
    weight = dominance**1.5
    mouth: NDArray[np.float64] = (weight @ targets) / weight.sum(axis=1, keepdims=True)
    return mouth
