"""The command line. A command's module is imported when it is used; the help texts here cost nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType

import click

from syncdiff_bench.errors import BenchError

PROGRAM = "syncdiff-bench"

# name -> (module:attribute, help in the overview)
COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("run:run", "Generate, score and print the leaderboard; resumes by itself."),
        "generate": ("generate:generate", "Only generate the videos."),
        "score": ("score:score", "Only score: a run, or videos of your own."),
        "report": ("report:report", "Existing runs as leaderboard, HTML page, figure, CSV."),
        "tables": ("tables:tables", "The paper's tables beside your runs."),
        "reproduce": ("reproduce:reproduce", "Make the paper's tables: train, generate, score, print."),
        "compare": ("compare:compare", "Are two runs different? Paired tests per metric."),
        "check": ("check:check", "The CI gate: exit 1 where a run is worse than its baseline."),
        "check-speed": ("check:check", "The old spelling of `check` for a result of pytest-benchmark."),
        "calibrate": ("calibrate:calibrate", "Score ground truth against known values, verdict in words."),
        "probe": ("probe:probe", "Variance of latents over identity and pose frames (Table 4)."),
        "train": ("train:train", "Train a method from a config file."),
        "prepare": ("prepare:prepare", "Make what can be made once: face boxes, data sets."),
        "verify": ("verify:verify", "Check a dataset on disk, clip by clip."),
        "convert": ("convert:convert", "Import and export checkpoints of other code."),
        "weights": ("weights:weights", "List, fetch, add and verify network weights."),
        "new": ("new:new", "A plugin package of your own, ready to install."),
        "check-plugin": ("check_plugin:check_plugin", "The conformance suite on an installed plugin."),
        "doctor": ("doctor:doctor", "What works on this machine, and how to mend the rest."),
        "list": ("listing:list_plugins", "Installed methods, metrics, datasets, weights, tables."),
    }
)

EPILOG = """\b
Examples:
  syncdiff-bench run
  syncdiff-bench run --method gt --method static --method syncdiff
  syncdiff-bench run --method static --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench score --videos mine/ --reference theirs/
  syncdiff-bench run --help

\b
Exit codes: 0 done; 1 the answer is no (a failed check, all clips of a run
failed, failed or left-out clips under --strict); 2 wrong usage or unusable
input."""


class LazyGroup(click.Group):
    """A group that imports a command's module only to run it or to show its help."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command = getattr(import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            close = get_close_matches(name, COMMANDS, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"commands: {', '.join(COMMANDS)}"
            raise click.UsageError(f"unknown command {name!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(package_name="syncdiff-bench", prog_name=PROGRAM)
def cli() -> None:
    """One benchmark for audio-driven talking heads: generate, score, compare."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; bad input ends in one line, never in a traceback."""
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False)
        sys.stdout.flush()
    except click.ClickException as error:
        # A group without a subcommand (`weights`): click >= 8.2 raises its whole help.
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return 2
        return _fail(_usage_message(error))
    except BenchError as error:
        return _fail(" ".join(str(error).split()))
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted; run the same command again to resume", err=True)
        return 130
    except BrokenPipeError:
        # The reader (head, less) has gone; Python would complain again while flushing at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return result if isinstance(result, int) else 0


def _usage_message(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message.rstrip('.')} (see {context.command_path} --help)"


def _fail(message: str) -> int:
    click.echo(f"error: {message}", err=True)
    return 2
