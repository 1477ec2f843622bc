"""`external`: a program that a TOML file describes, what to start, where, with what (docs/external.md)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from syncdiff_bench.contracts import Runtime, WeightsUsed
from syncdiff_bench.documents import read_toml
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.writing import ENCODINGS
from syncdiff_bench.options import nearest, options_from_values
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_methods.external.process import OUTPUT_NAME, Command, environment_with
from syncdiff_methods.external.program import ClipFiles, ProgramMethod

PLACEHOLDERS = ("video", "audio", "reference", "output", "output_folder", "seed", "device")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_]+)\}")


@dataclass(frozen=True)
class Template:
    """The keys of the file.

    command: the program (a bare name, or a path relative to `folder`, else to the file) and its arguments, one each;
        `{audio}` and the like are filled in per clip. No shell sees it.
    title: the method's name in tables, by default the file's.
    folder: where the program runs; by default a private folder per clip. Relative to the file.
    requires: files and folders that must be there; relative to `folder`, else to the file. The digests of the files
        belong to the run, as do those of the program and of the files that the command names: another file, another
        run.
    result: which file of `{output_folder}` is the video, where the command does not name `{output}`.
    timeout: seconds that one clip may take.
    video_encoding: of `{video}`; crf23 for programs that cannot read the lossless kind.
    environment: variables to set; an empty text removes one.
    """

    command: tuple[str, ...]
    title: str = ""
    folder: str = ""
    requires: tuple[str, ...] = ()
    result: str = "*.mp4"
    timeout: float = 1800.0
    video_encoding: str = "lossless"
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def placeholders(self) -> frozenset[str]:
        """Those that the command and the environment name."""
        texts = (*self.command, *self.environment.values())
        return frozenset(name for text in texts for name in _PLACEHOLDER.findall(text))

    @property
    def result_pattern(self) -> str:
        return OUTPUT_NAME if "output" in self.placeholders else self.result


def read_template(path: Path) -> Template:
    """The file's template, its paths made absolute.

    Raises UsageError, naming the file and the key, for anything that cannot be.
    """
    try:
        table = read_toml(path)
    except UsageError as error:
        raise UsageError(f"{error}; see docs/external.md") from None
    environment = table.pop("environment", {})
    if not isinstance(environment, dict) or not all(isinstance(value, str) for value in environment.values()):
        raise UsageError(f'{path}: environment must be a table of texts, NAME = "value"')
    template: Template = options_from_values(Template, table, str(path))
    template = replace(template, environment=environment)
    for problem in _problems(template):
        raise UsageError(f"{path}: {problem}")
    base = path.absolute().parent
    folder = str(base / Path(template.folder).expanduser()) if template.folder else ""
    inside = Path(folder) if folder else base
    required = tuple(str(inside / Path(one).expanduser()) for one in template.requires)
    program, *arguments = template.command
    if os.sep in program:
        program = str(inside / Path(program).expanduser())
    return replace(template, command=(program, *arguments), folder=folder, requires=required)


def _problems(template: Template) -> Iterator[str]:
    if not template.command or not template.command[0]:
        yield 'command is empty; give the program and its arguments, command = ["program", "--audio", "{audio}"]'
    for name in sorted(template.placeholders - set(PLACEHOLDERS)):
        yield f"unknown placeholder {{{name}}}{nearest(name, PLACEHOLDERS, 'there are')}"
    if not template.placeholders & {"output", "output_folder"}:
        yield "command never names {output} or {output_folder}; the program must be told where the video goes"
    if not template.timeout > 0:
        yield f"timeout is {template.timeout:g}; give the seconds that a clip may take"
    if template.video_encoding not in ENCODINGS:
        yield f"unknown video_encoding {template.video_encoding!r}; choose one of: {', '.join(ENCODINGS)}"
    result = PurePosixPath(template.result)
    if not result.parts or result.is_absolute() or ".." in result.parts:
        yield f"result {template.result!r} is no pattern below {{output_folder}}; write *.mp4 or the like"


def missing(template: Template) -> list[str]:
    """What the program lacks, in words; empty where nothing."""
    found = []
    if template.folder and not Path(template.folder).is_dir():
        found.append(f"folder {template.folder}")
    if program_of(template) is None:
        where = "" if os.sep in template.command[0] else " on the PATH"
        found.append(f"program {template.command[0]}{where}")
    return found + [f"file {path}" for path in template.requires if not Path(path).exists()]


def program_of(template: Template) -> str | None:
    """Absolute path of the program, a bare name looked up on the PATH; None where there is none."""
    return shutil.which(template.command[0], path=environment_with(template.environment).get("PATH"))


def files_of(template: Template) -> tuple[Path, ...]:
    """The files that decide what comes out, as far as the template names them, each once.

    The program, words of the command that are files (a script, a checkpoint) and those of `requires`.
    """
    program = program_of(template)
    words = [word for word in template.command[1:] if not _PLACEHOLDER.search(word)]
    # Without a folder the program runs in an empty one, so that only a whole path can name a file.
    named = [Path(template.folder, word) for word in words if template.folder or Path(word).is_absolute()]
    found = (*(() if program is None else (Path(program),)), *named, *map(Path, template.requires))
    return tuple(dict.fromkeys(path for path in found if _is_file(path)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a word may be anything: too long for a name, or with a zero in it
        return False


def filled(text: str, values: Mapping[str, Any]) -> str:
    """`{name}` replaced; anything else in braces stays.

    >>> filled("--seed={seed} {}", {"seed": 3})
    '--seed=3 {}'
    """
    return _PLACEHOLDER.sub(lambda match: str(values[match[1]]), text)


# -------------------------------------------------------------------------------------- the method


@dataclass(frozen=True)
class ExternalOptions:
    """config: the TOML file (`Template`)."""

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
