"""syncdiff-bench: one benchmark and reproduction toolkit for audio-driven talking heads.

The harness. It knows no single method, metric or dataset: those are entry-point plugins
(`syncdiff_bench.methods`, `.metrics`, `.datasets`), the built-in ones included.

    from syncdiff_bench import run, score, load_run
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncdiff_bench.api import dub, load_dataset, load_method, load_metric, load_run, run, score

    __version__: str

__all__ = ["__version__", "dub", "load_dataset", "load_method", "load_metric", "load_run", "run", "score"]


def __getattr__(name: str) -> Any:
    # On first use: `syncdiff-bench --help` imports this package and must wait neither for numpy nor for metadata.
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("syncdiff-bench")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0+unknown"
    if name in __all__:
        from syncdiff_bench import api

        return getattr(api, name)
    raise AttributeError(f"module 'syncdiff_bench' has no attribute {name!r}")
