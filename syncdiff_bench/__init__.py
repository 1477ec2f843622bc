"""syncdiff-bench: one benchmark and reproduction toolkit for audio-driven talking heads.

The harness. It knows no single method, metric or dataset: those are entry-point plugins
(`syncdiff_bench.methods`, `.metrics`, `.datasets`), the built-in ones included.

    from syncdiff_bench import run, report, compare, score, load_run
"""

# Types stand in __init__.pyi. Here everything waits for its first use: `syncdiff-bench --help` imports this package and
# must load neither numpy nor metadata.
from syncdiff_bench.exports import offered

_FROM = {
    **dict.fromkeys(("load_dataset", "load_method", "load_metric", "load_run"), "syncdiff_bench.api.loading"),
    **dict.fromkeys(("compare", "report"), "syncdiff_bench.api.reporting"),
    "dub": "syncdiff_bench.api.dubbing",
    **dict.fromkeys(("run", "score"), "syncdiff_bench.api.running"),
}
__all__ = [
    "__version__",
    "compare",
    "dub",
    "load_dataset",
    "load_method",
    "load_metric",
    "load_run",
    "report",
    "run",
    "score",
]

_offered, __dir__ = offered(__name__, _FROM)


def __getattr__(name: str) -> object:
    if name != "__version__":
        return _offered(name)
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("syncdiff-bench")
    except PackageNotFoundError:  # a source tree that was never installed
        return "0+unknown"
