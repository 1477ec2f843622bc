"""`external`: a program that a TOML file describes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from syncdiff_bench.contracts import Runtime, WeightsUsed
from syncdiff_bench.errors import UsageError
from syncdiff_methods.external.process import Command, environment_with
from syncdiff_methods.external.program import ClipFiles, ProgramMethod
from syncdiff_methods.external.template import PLACEHOLDERS, files_of, filled, missing, program_of, read_template


@dataclass(frozen=True)
class ExternalOptions:
    """config: the TOML file (`template.Template`)."""

    config: Path


class External(ProgramMethod):
    """The program of `config`; `mytool.toml` runs as `external-mytool`, so that several share a leaderboard."""

    name = "external"
    title = "Any program, described by a TOML file"
    Options = ExternalOptions
    options: ExternalOptions

    def __init__(self, options: ExternalOptions, runtime: Runtime | None = None) -> None:
        super().__init__(options, runtime)
        self.template = read_template(options.config)
        stem = options.config.stem
        # The class is every program, an instance is one.
        self.name = f"external-{_slug(stem)}"  # type: ignore[misc]
        self.title = self.template.title or stem  # type: ignore[misc]
        self.video_encoding = self.template.video_encoding

    @property
    def result_pattern(self) -> str:
        return self.template.result_pattern

    def check(self) -> None:
        lacking = missing(self.template)
        if lacking:
            raise UsageError(f"{self.options.config}: missing: {', '.join(lacking)}; correct the paths or install it")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """Digests of the TOML file, the program, the files among its arguments and those that it requires.

        Raises UsageError as `check`.
        """
        from syncdiff_bench.weights.digests import sha256_of

        self.check()
        files = dict.fromkeys((self.options.config, *files_of(self.template)))
        return tuple(WeightsUsed(path.name, sha256_of(path), path) for path in files)

    def command(self, files: ClipFiles, seed: int) -> Command:
        template = self.template
        values: dict[str, Any] = {"seed": seed, "device": self.runtime.device}
        # Only what is named is written.
        asked = [name for name in PLACEHOLDERS if name in template.placeholders and name not in values]
        values.update({name: getattr(files, name) for name in asked})
        program = program_of(template) or template.command[0]
        environment = {name: filled(value, values) for name, value in template.environment.items()}
        return Command(
            argv=(program, *(filled(text, values) for text in template.command[1:])),
            folder=Path(template.folder) if template.folder else files.folder,
            environment=environment_with(environment),
            timeout=template.timeout,
        )


def _slug(text: str) -> str:
    """
    >>> _slug("My Tool v2")
    'my-tool-v2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "program"
