"""The text file that says how a program is started (docs/external.md), and what its placeholders stand for."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from syncdiff_bench.documents import read_toml
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.writing import ENCODINGS
from syncdiff_bench.options import nearest, options_from_values
from syncdiff_methods.external.process import OUTPUT_NAME, environment_with

OF_CLIP = ("video", "audio", "reference", "output", "output_folder", "seed", "device")
OF_OPTIONS = ("checkout", "python")
PLACEHOLDERS = (*OF_CLIP, *OF_OPTIONS)
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z_0-9]*)\}")
_TAKEN = ("config", "timeout", *PLACEHOLDERS)  # names that a setting cannot have
_OURS = ("video.mp4", "audio.wav", "reference.png", "output", "logs")  # in the clip's folder
MOST_SPARE = 100  # frames
MOST_PADDING = 10.0  # seconds


@dataclass(frozen=True)
class Choice:
    """What one value of a setting stands for. words: of the command. requires: as that of the file."""

    words: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


Setting = str | int | float | Mapping[str, Choice]


@dataclass(frozen=True)
class About:
    """Whose program this is. Texts for people, shown by `list methods`.

    repository: where it lies. revision: the commit that the file was written after. output: rate and size of its
        videos. weights: where they come from, also said where one is missing.
    """

    repository: str = ""
    revision: str = ""
    licence: str = ""
    python: str = ""
    gpu: str = ""
    output: str = ""
    weights: str = ""

    @property
    def needs(self) -> tuple[str, ...]:
        """One text per fact that is known."""
        of_code = f"{self.repository} at {self.revision[:7]}" if self.revision else self.repository
        facts = (
            of_code,
            self.python and f"Python {self.python}",
            self.gpu,
            self.weights and f"weights: {self.weights}",
            self.output and f"makes {self.output}",
            self.licence,
        )
        return tuple(one for one in facts if one)


@dataclass(frozen=True)
class Template:
    """The keys of the file.

    command: the program (a bare name, or a path relative to `folder`, else to the file) and its arguments, one each;
        `{audio}` and the like are filled in per clip. No shell sees it.
    before: commands that run first, in the same place.
    title: the method's name in tables, by default the file's.
    folder: where the program runs; by default a private folder per clip. Relative to the file.
    requires: files and folders that must be there; relative to `folder`, else to `{checkout}`, else to the file. The
        digests of the files belong to the run, as do those of the program and of the files that the command names:
        another file, another run.
    packages: modules that `{python}` must be able to import. programs: others that must be on the PATH.
    links: name in the clip's private folder -> the file or folder that is linked there; relative as `requires`.
    files: name in the clip's private folder -> the text that is written there.
    settings: name -> its default, or a table of choices: the words that each stands for, or a table of `Choice`. The
        first one is the default.
    result: which file is the video, where the command does not name `{output}`: of `{output_folder}` if that is
        named, else of the clip's private folder.
    picture: which half of the video's pictures shows the clip, where the program puts two side by side.
    stretched: the program stretches the clip's pictures to a shape of its own; they are brought back.
    audio_padding: seconds of silence that `{audio}` goes on for, for programs that leave out the last frames.
    video_padding: frames for which `{video}` goes on with its last one.
    spare_frames: how many frames the program makes too many at the end.
    timeout: seconds that one clip may take.
    video_encoding: of `{video}`; crf23 for programs that cannot read the lossless kind.
    no_face: what the program says where it finds no face.
    caveats: what a reader of its numbers should know.
    trained_against: metrics of whose kind of network one was a training loss (`Method.trained_against`).
    environment: variables to set; an empty text removes one.
    """

    command: tuple[str, ...]
    before: tuple[tuple[str, ...], ...] = ()
    title: str = ""
    folder: str = ""
    requires: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    programs: tuple[str, ...] = ()
    result: str = "*.mp4"
    picture: Literal["whole", "left half", "right half"] = "whole"
    stretched: bool = False
    audio_padding: float = 0.0
    video_padding: int = 0
    spare_frames: int = 0
    timeout: float = 1800.0
    video_encoding: str = "lossless"
    no_face: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    trained_against: tuple[str, ...] = ()
    about: About = field(default_factory=About)
    links: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Setting] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def placeholders(self) -> frozenset[str]:
        """Those that any of its texts names."""
        choices = [row for one in self.settings.values() if isinstance(one, Mapping) for row in one.values()]
        texts = (
            *self.command,
            *(word for command in self.before for word in command),
            *self.requires,
            self.folder,
            *(word for row in choices for word in (*row.words, *row.requires)),
            *(text for table in (self.links, self.files, self.environment) for text in table.values()),
        )
        return frozenset(name for text in texts for name in _PLACEHOLDER.findall(text))

    @property
    def result_pattern(self) -> str:
        return OUTPUT_NAME if "output" in self.placeholders else self.result


_TABLES = ("links", "files", "environment")


def read_template(path: Path) -> Template:
    """The file's template. Raises UsageError, naming the file and the key, for anything that cannot be."""
    try:
        table = read_toml(path)
    except UsageError as error:
        raise UsageError(f"{error}; see docs/external.md") from None
    tables = {name: table.pop(name, {}) for name in _TABLES}
    for name, one in tables.items():
        if not isinstance(one, dict) or not all(isinstance(value, str) for value in one.values()):
            raise UsageError(f'{path}: {name} must be a table of texts, NAME = "value"')
    settings = _settings(table.pop("settings", {}), path)
    template: Template = options_from_values(Template, table, str(path))
    template = replace(template, settings=settings, **tables)
    for problem in _problems(template):
        raise UsageError(f"{path}: {problem}")
    return template


def _settings(table: Any, path: Path) -> dict[str, Setting]:
    if not isinstance(table, dict):
        raise UsageError(f"{path}: settings must be a table, NAME = default")
    return {name: _setting(name, value, path) for name, value in table.items()}


def _setting(name: str, value: Any, path: Path) -> Setting:
    if name in _TAKEN or not _PLACEHOLDER.fullmatch(f"{{{name}}}"):
        raise UsageError(f"{path}: a setting cannot be called {name!r}; choose another name, of letters and _")
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        return value
    if not isinstance(value, dict) or not value or not all(isinstance(row, list | dict) for row in value.values()):
        raise UsageError(
            f'{path}: setting {name} must be a text, a number or a table of choices, {{ a = ["--flag"], b = [] }}'
        )
    rows = {choice: row if isinstance(row, dict) else {"words": row} for choice, row in value.items()}
    return {choice: options_from_values(Choice, row, f"{path}: {name}.{choice}") for choice, row in rows.items()}


def _problems(template: Template) -> Iterator[str]:
    if not template.command or not template.command[0] or not all(one and one[0] for one in template.before):
        yield 'command is empty; give the program and its arguments, command = ["program", "--audio", "{audio}"]'
    known = (*PLACEHOLDERS, *template.settings)
    for name in sorted(template.placeholders - set(known)):
        yield f"unknown placeholder {{{name}}}{nearest(name, known, 'there are')}"
    if not template.placeholders & {"output", "output_folder"} and (template.folder or template.result == "*.mp4"):
        yield (
            "command never names {output} or {output_folder}; the program must be told where the video goes, or run"
            " without folder, and result say which file it writes"
        )
    if not template.timeout > 0:
        yield f"timeout is {template.timeout:g}; give the seconds that a clip may take"
    if not 0 <= template.audio_padding <= MOST_PADDING:
        yield f"audio_padding is {template.audio_padding:g}; give seconds, 0 to {MOST_PADDING:g}"
    for name in ("video_padding", "spare_frames"):
        if not 0 <= getattr(template, name) <= MOST_SPARE:
            yield f"{name} is {getattr(template, name)}; give frames, 0 to {MOST_SPARE}"
    if template.video_encoding not in ENCODINGS:
        yield f"unknown video_encoding {template.video_encoding!r}; choose one of: {', '.join(ENCODINGS)}"
    if not _is_inside(template.result):
        yield f"result {template.result!r} is no pattern below {{output_folder}}; write *.mp4 or the like"
    yield from _problems_of_its_folder(template)


def _problems_of_its_folder(template: Template) -> Iterator[str]:
    for name in (*template.links, *template.files):
        if not _is_inside(name):
            yield f"{name!r} of links and files is no name below the clip's folder; write it without / at the start"
        elif PurePosixPath(name).parts[0] in _OURS:
            yield f"{name!r} of links and files is a name that the clip's folder has already; choose another"
    if (template.links or template.files) and template.folder:
        yield "links and files are made in the clip's own folder; leave folder out"


def _is_inside(name: str) -> bool:
    path = PurePosixPath(name)
    return bool(path.parts) and not path.is_absolute() and ".." not in path.parts


# ------------------------------------------------------------------------------------- with its values


@dataclass(frozen=True)
class Placed:
    """A template with all but the clip known: where its files are.

    base: the folder of the text file. values: `checkout`, `python` and the settings, as far as they are given.
    """

    template: Template
    base: Path
    values: Mapping[str, Any]

    def text(self, text: str, more: Mapping[str, Any] | None = None) -> str:
        """With what is known filled in, in one go: braces in a value stay what they are."""
        return filled(text, {**self.values, **(more or {})})

    def words(self, words: Iterable[str], more: Mapping[str, Any] | None = None) -> tuple[str, ...]:
        """As `text`; a word that is a setting of choices becomes the words of the one that is chosen."""
        found: list[str] = []
        for word in words:
            name = word[1:-1] if _PLACEHOLDER.fullmatch(word) else ""
            choices = self.template.settings.get(name)
            rows = choices[self.values[name]].words if isinstance(choices, Mapping) else (word,)
            found += (self.text(one, more) for one in rows)
        return tuple(found)

    @cached_property
    def folder(self) -> Path | None:
        """Where the program runs; None for the clip's own folder."""
        given = self.template.folder
        return self.base / Path(self.text(given)).expanduser() if given else None

    @property
    def root(self) -> Path:
        """What `requires` and `links` are relative to."""
        return self.folder or Path(self.values.get("checkout") or self.base)

    def path(self, text: str, more: Mapping[str, Any] | None = None) -> Path:
        return self.root / Path(self.text(text, more)).expanduser()

    @property
    def required(self) -> tuple[Path, ...]:
        settings = self.template.settings.items()
        chosen = [one[self.values[name]] for name, one in settings if isinstance(one, Mapping)]
        return tuple(
            self.path(text) for text in (*self.template.requires, *(t for one in chosen for t in one.requires))
        )

    def named(self, program: str) -> str:
        """A program as its command names it, a relative path made absolute."""
        word = self.text(program)
        return str((self.folder or self.base) / Path(word).expanduser()) if os.sep in word else word

    def program(self, name: str) -> str | None:
        """Absolute path of a command's program, a bare name looked up on the PATH; None where there is none."""
        return shutil.which(self.named(name), path=environment_with(self.template.environment).get("PATH"))

    def missing(self) -> list[str]:
        """What the program lacks, in words; empty where nothing."""
        asked = [name for name in OF_OPTIONS if name in self.template.placeholders and name not in self.values]
        found = [f"{name} (--set {name}=PATH)" for name in asked]
        if self.folder is not None and not self.folder.is_dir():
            found.append(f"folder {self.folder}")
        for name in dict.fromkeys(command[0] for command in (self.template.command, *self.template.before)):
            if self.program(name) is None and not set(_PLACEHOLDER.findall(name)) & set(asked):
                found.append(f"program {self.named(name)}{'' if os.sep in self.named(name) else ' on the PATH'}")
        path_of = environment_with(self.template.environment).get("PATH")
        found += [f"program {one} on the PATH" for one in self.template.programs if not shutil.which(one, path=path_of)]
        return found + [f"file {path}" for path in self.required if not path.exists()]

    def files(self) -> tuple[Path, ...]:
        """The files that decide what comes out, as far as the template names them, each once.

        The programs, words of the commands that are files (a script, a checkpoint) and those of `requires`.
        """
        commands = (self.template.command, *self.template.before)
        programs = [self.program(command[0]) for command in commands]
        words = [
            self.text(word)
            for command in commands
            for word in command[1:]
            if not set(_PLACEHOLDER.findall(word)) - set(self.values)
        ]
        # Without a folder the program runs in an empty one, so that only a whole path can name a file.
        named = [Path(self.folder or "", word) for word in words if self.folder or Path(word).is_absolute()]
        found = (*(Path(one) for one in programs if one is not None), *named, *self.required)
        return tuple(dict.fromkeys(path for path in found if _is_file(path)))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a word may be anything: too long for a name, or with a zero in it
        return False


def filled(text: str, values: Mapping[str, Any]) -> str:
    """`{name}` replaced where its value is known; anything else in braces stays.

    >>> filled("--seed={seed} {} {other}", {"seed": 3})
    '--seed=3 {} {other}'
    """
    return _PLACEHOLDER.sub(lambda match: str(values.get(match[1], match[0])), text)
