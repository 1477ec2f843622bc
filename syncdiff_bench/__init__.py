"""syncdiff-bench: one benchmark and reproduction toolkit for audio-driven talking heads.

The harness. It knows no single method, metric or dataset: those are entry-point plugins
(`syncdiff_bench.methods`, `.metrics`, `.datasets`), the built-in ones included.

    from syncdiff_bench import run, report, compare, score, load_run
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from syncdiff_bench.api.loading import load_dataset, load_method, load_metric, load_run
    from syncdiff_bench.api.reporting import compare, report
    from syncdiff_bench.api.running import run, score

    __version__: str

__all__ = ["__version__", "compare", "load_dataset", "load_method", "load_metric", "load_run", "report", "run", "score"]

if not TYPE_CHECKING:  # or every misspelt name would be an Any
    # On first use: `syncdiff-bench --help` imports this package and must wait neither for numpy nor for metadata.
    from syncdiff_bench.exports import offered

    _of_api, __dir__ = offered(
        __name__,
        {
            **dict.fromkeys(("run", "score"), "syncdiff_bench.api.running"),
            **dict.fromkeys(("report", "compare"), "syncdiff_bench.api.reporting"),
            **dict.fromkeys(("load_run", "load_method", "load_metric", "load_dataset"), "syncdiff_bench.api.loading"),
        },
    )

    def __getattr__(name: str) -> Any:
        if name != "__version__":
            return _of_api(name)
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("syncdiff-bench")
        except PackageNotFoundError:  # a source tree that was never installed
            return "0+unknown"
