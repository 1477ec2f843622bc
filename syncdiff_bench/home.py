"""The one folder that this project writes to outside a run: weights, drawn datasets, caches."""

from __future__ import annotations

import os
from pathlib import Path


def home() -> Path:
    """`$SYNCDIFF_BENCH_HOME`, by default the user's cache folder. Not created here."""
    chosen = os.environ.get("SYNCDIFF_BENCH_HOME")
    if chosen:
        return Path(chosen).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("syncdiff-bench", appauthor=False)
