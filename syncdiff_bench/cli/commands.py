"""What all commands are made of: options of few kinds, examples below each help, former spellings that still answer."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar

import click

from syncdiff_bench.characters import spelled, visible
from syncdiff_bench.cli import offers
from syncdiff_bench.cli.offers import Offer
from syncdiff_bench.options import TRUE_WORDS
from syncdiff_bench.progress import QUIET, silence
from syncdiff_bench.screens import cells_in, columns_of, paint_of, wrapped

NONE: Mapping[str, str] = MappingProxyType({})
Function = TypeVar("Function", bound=Callable[..., Any])
Option = Callable[[Function], Function]


# How the first words of a line on stderr look, with what they are about: "failed (static):".
LOUD: dict[str, dict[str, Any]] = {
    "error": {"fg": "red", "bold": True},
    "failed": {"fg": "red", "bold": True},
    "warning": {"fg": "yellow", "bold": True},
    "odd": {"fg": "yellow"},
    "left out": {"fg": "yellow"},
    "note": {"fg": "cyan"},
}
LABEL = re.compile(rf"({'|'.join(LOUD)})( \([^)]*\))?: ")
FAILURES = ("error", "failed", "tracebacks", "left out")  # what a line on stderr begins with that is more than talk


def say(text: object, *, err: bool = False, nl: bool = True, label: str = "", hang: int = 0, **style: Any) -> None:
    """Print on stdout or stderr, without the characters that a terminal obeys: names and messages come from anywhere.

    A terminal gets a line in its width and characters, and colours as far as it and its user want them
    (`screens.paint_of`); a text of several lines is a document and stays as it is.

    With --quiet stderr gets FAILURES alone.
    label: words before the text; the lines below begin under the text, or after `hang` columns.
    style: as of `click.style`, for words of our own: of the label, where there is one.
    """
    if err and QUIET.get() and not f"{label}{text}".startswith(FAILURES):
        return
    stream, shown = sys.stderr if err else sys.stdout, visible(str(text))
    if err and not label and (found := LABEL.match(shown)):
        label, shown, style = found[0], shown[found.end() :], LOUD[found[1]]
    width = columns_of(stream)
    if width is not None and "\n" not in shown:
        encoding = stream.encoding or "utf-8"
        label, shown = spelled(label, encoding), spelled(shown, encoding)
        if cells_in(label + shown) > width:
            hang = hang or (len(label) if len(label) <= width // 3 else 2)
            lines = wrapped(shown, width - hang, taken=len(label) - hang)
            shown = f"\n{' ' * hang}".join(lines)
    paint = paint_of(stream)
    if paint != "colour":
        style = {name: value for name, value in style.items() if paint == "bold" and name not in ("fg", "bg")}
    if style and label:
        label = click.style(label, **style)
    elif style:
        shown = click.style(shown, **style)
    click.echo(f"{label}{shown}", file=stream, nl=nl, color=paint != "none")


def say_item(label: str, text: str, wide: int) -> None:
    """On stdout, in several lines where it needs them, in a pipe of `wide` columns; they begin under the text."""
    if columns_of(sys.stdout) is None:
        say(click.wrap_text(text, wide, label, " " * len(label)))
    else:
        say(text, label=label)


class Takes(NamedTuple):
    """What an option takes.

    metavar: how its help calls it; "" of a flag.
    type: what click makes of the text.
    offer: what a shell completes it with, where the type does not say.
    """

    metavar: str
    type: click.ParamType[Any] | None = None
    offer: Offer | None = None


def at_least(least: int) -> Takes:
    return Takes("N", click.IntRange(min=least))


ANY_PATH = click.Path(path_type=Path)
FLAG = Takes("")
NAME = Takes("NAME")
METHOD_NAME, DATASET_NAME = Takes("NAME", offer=offers.METHOD), Takes("NAME", offer=offers.DATASET)
TABLE = Takes("N")  # a number, or the name of a table that has one
PAIR = Takes("KEY=VALUE")
N = at_least(1)
DIR = Takes("DIR", ANY_PATH)
NEW_DIR = Takes("DIR", click.Path(path_type=Path, file_okay=False))
FILE = Takes("FILE", click.Path(path_type=Path, dir_okay=False))


def option(
    spelling: str,
    kind: Takes | click.Choice[str],
    text: str,
    *,
    name: str | None = None,
    many: bool = False,
    default: Any = None,
    shown: str = "",
    required: bool = False,
    short: str = "",
) -> Option[Any]:
    """An option.

    short: its one-letter spelling.
    text: what it is for, a sentence.
    name: of the parameter, where it is not the spelling's.
    many: it may be repeated, and the text says so.
    shown: what the help says of a default that is none of the command line's.
    """
    settings: dict[str, Any] = {
        "help": f"{text.removesuffix('.')}; repeatable." if many else text,
        "required": required,
    }
    if isinstance(kind, Takes):
        taken = {"metavar": kind.metavar, "type": kind.type, "shell_complete": kind.offer}
        settings |= taken if kind.metavar else {"is_flag": True}
    else:
        settings["type"] = kind
    if default is not None:
        settings["default"] = default
    names = tuple(filter(None, (short, spelling, name)))
    return click.option(*names, multiple=many, show_default=shown or default != "", **settings)


def with_options(*options: Option[Any]) -> Option[Any]:
    """Several options of a command, shown in this order."""

    def decorate(function: Function) -> Function:
        for add in reversed(options):
            function = add(function)
        return function

    return decorate


def below_help(examples: str, closing: str = "") -> str:
    """The end of a help.

    examples: command lines, each with what it is for, indented, below it.
    closing: a paragraph after them.
    """
    return f"\b\nExamples:\n  {examples.strip()}\n\n{closing}"


def command(
    *, examples: str, closing: str = "", former: Mapping[str, str] = NONE, keeps: bool = False
) -> Callable[[Callable[..., Any]], click.Command]:
    """A command with what `below_help` takes, and `former` and `keeps` as in `Command`."""
    return click.command(cls=Command, epilog=below_help(examples, closing), former=former, keeps=keeps)


DEBUG = "SYNCDIFF_BENCH_DEBUG"


@dataclass
class Invoked:
    """The `obj` of a context.

    keeps: that of the command that was run, False where none was.
    debug: show the traceback of what ends it.
    """

    keeps: bool = False
    debug: bool = field(default_factory=lambda: os.environ.get(DEBUG, "").strip().lower() in TRUE_WORDS)


def _debug_option() -> click.Option:
    """Of every command and group; the first help tells of it."""

    def ask(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        if value and isinstance(ctx.obj, Invoked):
            ctx.obj.debug = True

    told = "Show the traceback of what ends the command."
    return click.Option(
        ["--debug"], is_flag=True, is_eager=True, expose_value=False, hidden=True, callback=ask, help=told
    )


def _quiet_option() -> click.Option:
    """Of every command."""

    def obey(ctx: click.Context, _option: click.Parameter, value: bool) -> None:
        if value and not ctx.resilient_parsing:
            ctx.with_resource(silence())

    told = "Only errors, and what was asked for: no notes, no progress."
    return click.Option(["-q", "--quiet"], is_flag=True, is_eager=True, expose_value=False, callback=obey, help=told)


class Command(click.Command):
    """A command that still takes former spellings of its options.

    former: "--spelling" -> what is read in its place, such as "--device cpu"; hidden, told on stderr.
    keeps: what it makes is in files, or is its exit code; where stdout cannot be written, nothing is lost.
    """

    def __init__(self, *arguments: Any, former: Mapping[str, str] = NONE, keeps: bool = False, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.params += [_quiet_option(), _debug_option()]
        self.former = former
        self.keeps = keeps

    def invoke(self, ctx: click.Context) -> Any:
        if isinstance(ctx.obj, Invoked):
            ctx.obj.keeps = self.keeps
        return super().invoke(ctx)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [word for given in args for word in self._present(ctx, given)])

    def _present(self, ctx: click.Context, given: str) -> Iterator[str]:
        spelling, equals, value = given.partition("=")
        if spelling not in self.former:
            yield given
            return
        words = self.former[spelling].split()
        if not ctx.resilient_parsing:
            now = f"`{' '.join(words)}`" if words else "an argument without a name"
            say(f"note: `{spelling}` is now {now} (see {ctx.command_path} --help)", err=True)
        yield from words
        if equals:
            yield value


class Group(click.Group):
    """A group that imports a command's module only to run it or to show its help.

    examples, closing: as of `below_help`.
    table: name -> "module:attribute" below this package, or a group; groups are shown below the commands.
    former: name that a command or group had -> its present path from the program on; hidden, told on stderr.
    """

    def __init__(
        self,
        name: str,
        about: str,
        table: Mapping[str, str | click.Group],
        *,
        examples: str,
        closing: str = "",
        former: Mapping[str, str] = NONE,
        **settings: Any,
    ) -> None:
        super().__init__(name, help=about, epilog=below_help(examples, closing), **settings)
        self.params.append(_debug_option())
        self.table, self.former = table, former

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.former:
            return self._walk(ctx.find_root().command, self.former[cmd_name])
        entry = self.table.get(cmd_name)
        if entry is None or isinstance(entry, click.Group):
            return entry
        module, _, attribute = entry.partition(":")
        found = getattr(import_module(f"syncdiff_bench.cli.{module}"), attribute)
        assert isinstance(found, click.Command)
        return found

    def _walk(self, found: click.Command | None, path: str) -> click.Command | None:
        for word in path.split():
            assert isinstance(found, click.Group)
            found = found.get_command(click.Context(found), word)
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        found = {name: self.get_command(ctx, name) for name in self.table}
        for title, kind in (("Commands", False), ("Groups of commands", True)):
            chosen = {name: one for name, one in found.items() if one and isinstance(one, click.Group) == kind}
            if chosen:
                with formatter.section(title):
                    formatter.write_dl([(name, one.get_short_help_str(100)) for name, one in chosen.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing:  # as it is where a shell completes
            self._tell(ctx, args[0])
        return super().resolve_command(ctx, args)

    def _tell(self, ctx: click.Context, name: str) -> None:
        """Where a former spelling leads now. Raises UsageError, with the nearest name, for no command at all."""
        if name in self.former:
            now = f"{ctx.find_root().command_path} {self.former[name]}"
            say(f"note: `{ctx.command_path} {name}` is now `{now}`", err=True)
        elif name not in self.table and not name.startswith("-"):
            close = get_close_matches(name, self.table, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"commands: {', '.join(self.table)}"
            raise click.UsageError(f"unknown command {name!r}; {hint}", ctx)
