"""syncdiff-bench: one benchmark and reproduction toolkit for audio-driven talking heads.

The harness. It knows no single method, metric or dataset: those are entry-point plugins
(`syncdiff_bench.methods`, `.metrics`, `.datasets`), the built-in ones included.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("syncdiff-bench")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
