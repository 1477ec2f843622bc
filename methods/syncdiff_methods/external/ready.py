"""The programs whose text files come with this package: `adapters/NAME.toml` is the method `external-NAME`.

Their entry points name attributes of this module, which are made when they are asked for.
"""

from __future__ import annotations

from dataclasses import field, make_dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from syncdiff_bench.errors import UsageError
from syncdiff_methods.external.method import External
from syncdiff_methods.external.template import Setting, Template, read_template

ADAPTERS = Path(__file__).parent / "adapters"


class Adapter(External):
    """A checkout of a public repository, in the Python of that repository.

    Options: `checkout`, its clone; `python`, the interpreter of its environment, by default that of the checkout's
    `.venv`; `timeout`, seconds per clip; and the settings of its text file.
    """

    source: ClassVar[Path]
    described: ClassVar[Template]
    incidental = frozenset({"timeout"})

    def _template(self) -> Template:
        if not self.options.timeout > 0:
            raise UsageError(f"{self.name}: timeout is {self.options.timeout:g}; give the seconds that a clip may take")
        return self.described

    @property
    def timeout(self) -> float:
        return float(self.options.timeout)

    @property
    def config(self) -> Path:
        return self.source

    @property
    def owner(self) -> str:
        return self.name

    def _settings(self) -> dict[str, Any]:
        return {name: getattr(self.options, name) for name in self.described.settings}

    def _lacking(self) -> list[str]:
        of = self.described.about
        checkout = self.options.checkout.absolute()
        if not checkout.is_dir():
            raise UsageError(
                f"{self.name}: {checkout} is not a folder; give --set checkout=DIR, a clone of {of.repository}"
            )
        return super()._lacking()


@cache
def adapter(name: str) -> type[Adapter]:
    """The class of `adapters/NAME.toml`."""
    path = ADAPTERS / f"{name}.toml"
    template = read_template(path)
    place = {"__module__": __name__, "__qualname__": name}
    # Seen by pickle as `ready.NAME` and `ready.NAME.Options`.
    options = make_dataclass(
        "Options",
        [
            ("checkout", Path),
            ("python", Path | None, field(default=None)),
            *((key, *_option(value)) for key, value in template.settings.items()),
            ("timeout", float, field(default=template.timeout)),
        ],
        frozen=True,
        namespace={"__doc__": f"Options of external-{name}."},
    )
    options.__module__, options.__qualname__ = __name__, f"{name}.Options"
    body = {
        **place,
        "__doc__": f"{template.title}, of {template.about.repository}.",
        "name": f"external-{name}",
        "title": template.title,
        "trained_against": frozenset(template.trained_against),
        "needs": template.about.needs,
        "source": path,
        "described": template,
        "Options": options,
    }
    return type(name, (Adapter,), body)


def _option(default: Setting) -> tuple[Any, Any]:
    """Type and default of a setting."""
    if isinstance(default, str | int | float):
        return type(default), field(default=default)
    choices = tuple(default)
    return Literal[choices], field(default=choices[0])


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        if name.startswith("_") or not (ADAPTERS / f"{name}.toml").is_file():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return adapter(name)
