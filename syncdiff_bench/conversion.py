"""Checkpoints of other code in and out of this project's format; one `Converter` per layout.

A converter registers its class under the entry-point group `syncdiff_bench.converters`; `weights import` and
`weights export` find it by name. Reading is restricted (`weights.loading`): nothing of a file is ever run.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

from syncdiff_bench.contracts import NoOptions


class Converter(ABC):
    """Turns one layout of checkpoint into a model directory and back. title: what the layout is, in words."""

    title: ClassVar[str]
    Options: ClassVar[type[Any]] = NoOptions

    def __init__(self, options: Any = None) -> None:
        self.options = self.Options() if options is None else options

    @abstractmethod
    def import_checkpoint(self, file: Path, folder: Path) -> None:
        """Write a model directory. Raises WeightsError where the file is broken or of another architecture."""

    @abstractmethod
    def export_checkpoint(self, folder: Path, file: Path) -> None:
        """Write a checkpoint. Raises UsageError or WeightsError where the directory is no such model."""
