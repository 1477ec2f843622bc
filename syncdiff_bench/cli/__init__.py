"""The command line. A command's module is imported when it is used; the help texts here cost nothing."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from types import MappingProxyType
from typing import Any

import click

from syncdiff_bench.errors import BenchError

PROGRAM = "syncdiff-bench"

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
    """A group that imports a command's module only to run it or to show its help.

    commands: name -> (module:attribute below this package, line of the overview); hidden where the line is empty.
    groups: groups below this one, shown after its commands.
    former: name that a command or group had -> its present path from the program on; hidden, told on stderr.
    """

    def __init__(
        self,
        *arguments: Any,
        table: Mapping[str, tuple[str, str]],
        groups: Sequence[click.Group] = (),
        former: Mapping[str, str] = MappingProxyType({}),
        **settings: Any,
    ) -> None:
        super().__init__(*arguments, **settings)
        self.table, self.former = table, former
        self.groups = {str(group.name): group for group in groups}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*(name for name, (_, line) in self.table.items() if line), *self.groups]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name in self.groups:
            return self.groups[cmd_name]
        if cmd_name in self.former:
            return at(self.former[cmd_name])
        if cmd_name not in self.table:
            return None
        module, _, attribute = self.table[cmd_name][0].partition(":")
        command = getattr(import_module(f"{__name__}.{module}"), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in self.table.items() if line])
        if self.groups:
            with formatter.section("Groups of commands"):
                formatter.write_dl([(name, str(group.short_help)) for name, group in self.groups.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if not ctx.resilient_parsing:  # as it is where a shell completes
            self._tell(ctx, args[0])
        return super().resolve_command(ctx, args)

    def _tell(self, ctx: click.Context, name: str) -> None:
        """Where a former spelling leads now. Raises UsageError, with the nearest name, for no command at all."""
        if name in self.former:
            click.echo(f"note: `{ctx.command_path} {name}` is now `{PROGRAM} {self.former[name]}`", err=True)
        elif name not in (*self.table, *self.groups) and not name.startswith("-"):
            shown = self.list_commands(ctx)
            close = get_close_matches(name, shown, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"commands: {', '.join(shown)}"
            raise click.UsageError(f"unknown command {name!r}; {hint}", ctx)


PREPARE = LazyGroup(
    "prepare",
    short_help="Make ahead: face boxes, landmarks, latents, splits.",
    help="Make once what later commands read; each goes on where it was interrupted.",
    epilog="""\b
Examples:
  syncdiff-bench data prepare faces --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench data prepare splits --dataset pocket --split train""",
    table={
        "faces": ("data:faces", "Detect the face of every clip."),
        "landmarks": ("data:landmarks", "Detect the 68 landmarks of every frame."),
        "latents": ("data:latents", "Fill the caches of a training."),
        "splits": ("data:splits", "Draw splits that are not shipped."),
    },
    former={"data": "data prepare splits"},
)
DATA = LazyGroup(
    "data",
    short_help="Check a dataset; make ahead what later commands read.",
    help="Datasets: check one on disk, and make once what later commands read.",
    epilog="""\b
Examples:
  syncdiff-bench data verify --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench data prepare faces --dataset lrs3 --data-root /data/lrs3""",
    table={"verify": ("data:verify", "Check a dataset on disk, clip by clip.")},
    groups=(PREPARE,),
)
WEIGHTS = LazyGroup(
    "weights",
    short_help="Network weights; import and export checkpoints of other code.",
    help="""Network weights: kept in one folder, each known by its sha256, which travels with every result.

    \b
    The folder is $SYNCDIFF_BENCH_HOME/weights; SYNCDIFF_BENCH_OFFLINE=1 forbids
    the network.""",
    epilog="""\b
Examples:
  syncdiff-bench weights list
  syncdiff-bench weights fetch lpips-alex syncnet-v2
  syncdiff-bench weights import vq-f4 model.ckpt training/vq-f4""",
    table={
        "list": ("weights:list_weights", "Every known file: whether it is here, and how it is got."),
        "fetch": ("weights:fetch", "Download files; goes on where it stopped."),
        "add": ("weights:add", "Put a file that you have into the store."),
        "verify": ("weights:verify", "Compare the files that are here with their digests."),
        "import": ("weights:import_checkpoint", "Checkpoint of other code to model directory."),
        "export": ("weights:export_checkpoint", "Model directory to checkpoint of other code."),
    },
)
PAPER = LazyGroup(
    "paper",
    short_help="The paper's tables: shown, made again, calibrated.",
    help="The paper's tables: printed, made again, and what their numbers rest on.",
    epilog="""\b
Examples:
  syncdiff-bench paper tables --table 1 runs/lrs2-test
  syncdiff-bench paper reproduce --table 3 --dry-run
  syncdiff-bench paper calibrate""",
    table={
        "tables": ("tables:tables", "The paper's tables beside your runs."),
        "reproduce": ("reproduce:reproduce", "Make the paper's tables: train, generate, score, print."),
        "calibrate": ("calibrate:calibrate", "Score ground truth against known values, verdict in words."),
        "probe": ("probe:probe", "Variance of latents over identity and pose frames (Table 4)."),
    },
)
PLUGIN = LazyGroup(
    "plugin",
    short_help="Write a method, metric or dataset of your own, and check it.",
    help="Plugins: methods, metrics and datasets of your own.",
    epilog="""\b
Examples:
  syncdiff-bench plugin new method my-method
  syncdiff-bench plugin check my-method""",
    table={
        "new": ("plugin:new", "A plugin package of your own, ready to install."),
        "check": ("plugin:check", "The conformance suite on an installed plugin."),
    },
)
cli = LazyGroup(
    "syncdiff-bench",
    help="One benchmark for audio-driven talking heads: generate, score, compare.",
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
    table={
        "run": ("run:run", "Generate, score and print the leaderboard; resumes by itself."),
        "generate": ("run:generate", "Only generate the videos."),
        "score": ("score:score", "Only score: a run, or videos of your own."),
        "report": ("report:report", "Existing runs as leaderboard, HTML page, figure, CSV."),
        "compare": ("compare:compare", "Are two runs different? Paired tests per metric."),
        "check": ("check:check", "The CI gate: exit 1 where a run or a speed is worse than before."),
        "train": ("train:train", "Train a method from a config file."),
        "doctor": ("doctor:doctor", "What works on this machine, and how to mend the rest."),
        "list": ("listing:list_plugins", "Installed methods, metrics, datasets, weights, tables."),
        "convert": ("weights:convert", ""),
    },
    groups=(DATA, WEIGHTS, PAPER, PLUGIN),
    former={
        "tables": "paper tables",
        "reproduce": "paper reproduce",
        "calibrate": "paper calibrate",
        "probe": "paper probe",
        "prepare": "data prepare",
        "verify": "data verify",
        "new": "plugin new",
        "check-plugin": "plugin check",
        "check-speed": "check",
    },
)
click.version_option(package_name="syncdiff-bench", prog_name=PROGRAM)(cli)


def at(path: str) -> click.Command:
    """The command of a path such as "paper tables"."""
    command: click.Command = cli
    for word in path.split():
        assert isinstance(command, click.Group)
        found = command.get_command(click.Context(command), word)
        assert found is not None, path
        command = found
    return command


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
