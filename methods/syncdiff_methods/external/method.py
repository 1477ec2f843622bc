"""`external`: a program that a TOML file describes, what to start, where, with what (docs/external.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import Clip, Frames, Runtime, WeightsUsed
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.platforms import link_or_copy
from syncdiff_bench.weights.digests import sha256_of
from syncdiff_methods.external.process import Command, environment_with
from syncdiff_methods.external.program import ClipFiles, ProgramMethod, read_result
from syncdiff_methods.external.python import own_environment, packages_lacking
from syncdiff_methods.external.template import OF_CLIP, Placed, Template, read_template

INAUDIBLE = 0.01  # seconds of padding that are not worth a word
PYTHONS = (".venv/bin/python", "venv/bin/python", ".venv/Scripts/python.exe")  # of a checkout


@dataclass(frozen=True)
class ExternalOptions:
    """config: the TOML file (`Template`). checkout: what `{checkout}` in it stands for, the folder of the program's
    code. python: what `{python}` stands for, by default the one in the checkout's `.venv`.
    """

    config: Path
    checkout: Path | None = None
    python: Path | None = None


class External(ProgramMethod):
    """The program of `config`; `mytool.toml` runs as `external-mytool`, so that several share a leaderboard."""

    name = "external"
    title = "Any program, described by a TOML file"
    Options: ClassVar[type[Any]] = ExternalOptions
    options: Any

    def __init__(self, options: Any, runtime: Runtime | None = None) -> None:
        super().__init__(options, runtime)
        self.template = self._template()
        self.video_encoding = self.template.video_encoding

    def _template(self) -> Template:
        template, stem = read_template(self.options.config), self.options.config.stem
        # The class is every program, an instance is one.
        self.name = f"external-{_slug(stem)}"  # type: ignore[misc]
        self.title = template.title or stem  # type: ignore[misc]
        self.trained_against = frozenset(template.trained_against)  # type: ignore[misc]
        return template

    @property
    def config(self) -> Path:
        return Path(self.options.config)

    @property
    def timeout(self) -> float:
        """Seconds that one clip may take."""
        return self.template.timeout

    @property
    def owner(self) -> str:
        """Whom a message is about."""
        return str(self.config)

    @cached_property
    def placed(self) -> Placed:
        """The template where its files are."""
        return Placed(self.template, self.config.absolute().parent, self._settings() | self._places())

    def _settings(self) -> dict[str, Any]:
        defaults = self.template.settings.items()
        return {name: next(iter(one)) if isinstance(one, Mapping) else one for name, one in defaults}

    def _places(self) -> dict[str, Any]:
        checkout, python = self.options.checkout, self.options.python
        places: dict[str, Any] = {}
        if checkout is not None:
            places["checkout"] = checkout.absolute()
        if python is None and checkout is not None:
            python = next((checkout / name for name in PYTHONS if (checkout / name).is_file()), None)
        if python is not None:
            places["python"] = python.absolute()  # a venv's python is a link that must stay one
        return places

    @property
    def result_pattern(self) -> str:
        return self.template.result_pattern

    def result_folder(self, files: ClipFiles) -> Path:
        named = self.template.placeholders & {"output", "output_folder"}
        return files.output_folder if named else files.folder

    def files_of(self, clip: Clip, folder: Path) -> ClipFiles:
        of = self.template
        paddings = {"audio_padding": of.audio_padding, "video_padding": of.video_padding}
        return ClipFiles(clip, folder, of.video_encoding, **paddings)  # type: ignore[arg-type]

    def read_result(self, path: Path, clip: Clip) -> tuple[Frames, tuple[Caveat, ...]]:
        part = {"left half": _left_half, "right half": _right_half}.get(self.template.picture)
        of = self.template
        return read_result(path, clip, spare=of.spare_frames, stretched=of.stretched, part=part)

    def general_caveats(self) -> tuple[Caveat, ...]:
        of = self.template
        told = list(of.caveats)
        if of.audio_padding >= INAUDIBLE:
            told.append(
                f"the program gets {of.audio_padding:g} s of silence after the sound, to make the last frames too"
            )
        if of.video_padding:
            told.append(f"the program gets the last frame {of.video_padding} times more, to make the last frames too")
        if of.picture != "whole":
            told.append(f"the {of.picture} of the program's pictures is taken")
        return tuple(Caveat("program", one) for one in told)

    # ------------------------------------------------------------------------------ what it lacks

    def check(self) -> None:
        self._refuse([*self._lacking(), *self._lacking_packages()])

    def check_files(self) -> None:
        """As `check`, but looks at packages only where something else is missing as well."""
        lacking = self._lacking()
        if lacking:
            self._refuse([*lacking, *self._lacking_packages()])

    def _lacking(self) -> list[str]:
        return self.placed.missing()

    def _lacking_packages(self) -> list[str]:
        python = self.placed.values.get("python")
        if not self.template.packages or python is None or not Path(python).is_file():
            return []
        given = self.template.packages
        found = packages_lacking(python, given, self.placed.root, self._environment({}), self.owner)
        return [f"package {one}" for one in found]

    def _refuse(self, lacking: list[str]) -> None:
        if not lacking:
            return
        mends, weights = ["correct the paths or install it"], self.template.about.weights
        if any(one.startswith("package ") for one in lacking):
            mends.append(f"packages: into {self.placed.values['python']}")
        if weights and any(one.startswith("file ") for one in lacking):
            mends.append(f"weights: {weights}")
        raise UsageError(f"{self.owner}: missing: {', '.join(lacking)}; {'; '.join(mends)}")

    def weights_used(self) -> tuple[WeightsUsed, ...]:
        """Digests of the TOML file, the program, the files among its arguments and those that it requires.

        Raises UsageError as `check_files`.
        """
        self.check_files()
        files = dict.fromkeys((self.config, *self.placed.files()))
        return tuple(WeightsUsed(path.name, sha256_of(path), path) for path in files)

    # ---------------------------------------------------------------------------------- one clip

    def command(self, files: ClipFiles, seed: int) -> Command:
        return self.commands(files, seed)[-1]

    def commands(self, files: ClipFiles, seed: int) -> tuple[Command, ...]:
        template, placed = self.template, self.placed
        values: dict[str, Any] = {"seed": seed, "device": self.runtime.device}
        # Only what is named is written.
        asked = [name for name in OF_CLIP if name in template.placeholders and name not in values]
        values.update({name: getattr(files, name) for name in asked})
        self._furnish(files.folder, values)
        environment = self._environment(values)
        return tuple(
            Command(
                (placed.program(name) or placed.named(name), *placed.words(words, values)),
                placed.folder or files.folder,
                environment,
                self.timeout,
            )
            for name, *words in (*template.before, template.command)
        )

    def _furnish(self, folder: Path, values: Mapping[str, Any]) -> None:
        """Links and files of the clip's own folder."""
        for name, text in self.template.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.placed.text(text, values), encoding="utf-8")
        for name, target in self.template.links.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                link_or_copy(self.placed.path(target, values), path)
            except (OSError, NotImplementedError) as error:
                raise UsageError(f"{self.owner}: {path} cannot be linked ({error}); rename it") from None

    def _environment(self, values: Mapping[str, Any]) -> dict[str, str]:
        given = {name: self.placed.text(value, values) for name, value in self.template.environment.items()}
        own = own_environment(self.runtime.device) if "python" in self.template.placeholders else {}
        return environment_with({**own, **given})

    def explained(self, clip: Clip, stdout: Path, stderr: Path) -> ClipError | None:
        if not self.template.no_face:
            return None
        said = "".join(log.read_text(encoding="utf-8", errors="replace") for log in (stdout, stderr))
        if not any(words in said for words in self.template.no_face):
            return None
        return ClipError("no-face", f"{clip.id}: {self.name} found no face")


def _left_half(frames: Frames) -> Frames:
    return frames[:, :, : frames.shape[2] // 2]


def _right_half(frames: Frames) -> Frames:
    return frames[:, :, frames.shape[2] // 2 :]


def _slug(text: str) -> str:
    """
    >>> _slug("My Tool v2")
    'my-tool-v2'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-") or "program"
