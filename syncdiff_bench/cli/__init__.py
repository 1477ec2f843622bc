"""The command line: everyday commands on top, the others in groups; a command is imported when it is used."""

from __future__ import annotations

import gc
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from syncdiff_bench.cli.commands import DEBUG, Group, Invoked, say
from syncdiff_bench.cli.stopping import AGAIN, EXIT_CODE, stopped_by_signals
from syncdiff_bench.cli.streams import lossy_streams
from syncdiff_bench.errors import BenchError, Stopped, one_line
from syncdiff_bench.faults import innermost, place_of, traced

PROGRAM = "syncdiff-bench"
FAULT = 3  # exit code
LOGGING = ("syncdiff_bench", "syncdiff_methods", "syncdiff_metrics", "syncdiff_datasets")
ALLOCATIONS = 50_000  # of objects that may lie in cycles, before Python looks for cycles

PREPARE = Group(
    "prepare",
    "Make ahead: face boxes, landmarks, latents, splits.",
    {"faces": "data:faces", "landmarks": "data:landmarks", "latents": "data:latents", "splits": "data:splits"},
    former={"data": "data prepare splits"},
    examples="""
  syncdiff-bench data prepare faces --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench data prepare splits --dataset pocket --split train""",
)
DATA = Group(
    "data",
    "Where datasets lie; check one; make ahead what later commands read.",
    {
        "add": "data_roots:add",
        "list": "data_roots:list_roots",
        "remove": "data_roots:remove",
        "verify": "data:verify",
        "prepare": PREPARE,
    },
    examples="""
  syncdiff-bench data add lrs2 /data/mvlrs_v1
  syncdiff-bench data verify --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench data prepare faces --dataset lrs3 --data-root /data/lrs3""",
)
WEIGHTS = Group(
    "weights",
    """Network weights; import and export checkpoints of other code.

    Weights are kept in one folder, $SYNCDIFF_BENCH_HOME/weights, each known by its sha256, which travels with every
    result. SYNCDIFF_BENCH_OFFLINE=1 forbids the network.""",
    {
        "list": "weights:list_weights",
        "fetch": "weights:fetch",
        "add": "weights:add",
        "verify": "weights:verify",
        "import": "weights:import_checkpoint",
        "export": "weights:export_checkpoint",
    },
    examples="""
  syncdiff-bench weights list
  syncdiff-bench weights fetch lpips-alex syncnet-v2
  syncdiff-bench weights import vq-f4 model.ckpt training/vq-f4""",
)
PAPER = Group(
    "paper",
    "The paper's tables: shown, made again, calibrated.",
    {
        "tables": "paper:tables",
        "reproduce": "reproduce:reproduce",
        "calibrate": "paper:calibrate",
        "probe": "paper:probe",
    },
    examples="""
  syncdiff-bench paper tables --table 1 runs/lrs2-test
  syncdiff-bench paper reproduce --table 3 --dry-run
  syncdiff-bench paper calibrate""",
)
PLUGIN = Group(
    "plugin",
    "Write a method, metric or dataset of your own, and check it.",
    {"new": "plugin:new", "check": "plugin:check"},
    examples="""
  syncdiff-bench plugin new method my-method
  syncdiff-bench plugin check my-method""",
)
cli = Group(
    PROGRAM,
    "One benchmark for audio-driven talking heads: generate, score, compare.",
    {
        "run": "run:run",
        "generate": "run:generate",
        "score": "score:score",
        "dub": "dub:dub",
        "report": "report:report",
        "compare": "report:compare",
        "watch": "watch:watch",
        "check": "check:check",
        "train": "train:train",
        "launch": "launch:launch",
        "doctor": "doctor:doctor",
        "list": "plugin:list_plugins",
        "completion": "completion:completion",
        "data": DATA,
        "weights": WEIGHTS,
        "paper": PAPER,
        "plugin": PLUGIN,
    },
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
        "convert": "weights import",
    },
    examples="""
  syncdiff-bench run
  syncdiff-bench run --method gt --method static --method syncdiff
  syncdiff-bench run --method static --dataset lrs3 --data-root /data/lrs3
  syncdiff-bench score --videos mine/ --reference theirs/
  syncdiff-bench run --help""",
    closing="Exit codes: 0 done; 1 the answer is no (a failed check, all clips of a run failed, failed or left-out"
    " clips under --strict); 2 wrong usage or unusable input; 3 a fault of this program"
    " or of a plugin; 130 stopped by Ctrl-C, 143 by SIGTERM: the same command goes on. --debug, on any command, or"
    f" {DEBUG}=1 shows the traceback of an error.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100, "show_default": True},
)
click.version_option(package_name="syncdiff-bench", prog_name=PROGRAM)(cli)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code; bad input ends in one line, never in a traceback."""
    with lossy_streams() as output, stopped_by_signals(), _rare_collections(), _warnings_told():
        invoked = Invoked()
        code = _run(arguments, invoked)
        sys.stdout.flush()
        if not output.lost:
            return code
        label, code = ("note", code) if code or invoked.keeps else ("error", 2)
        say(f"{label}: stdout cannot be written ({output.lost}); free space, or send it elsewhere", err=True)
        return code


@contextmanager
def _rare_collections() -> Iterator[None]:
    """Commands make objects by the hundred thousand and cycles by the hundred: to look for cycles takes half the time
    of `compare` at Python's threshold.
    """
    before = gc.get_threshold()
    gc.set_threshold(ALLOCATIONS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


class _Told(logging.Handler):
    """Says a record on stderr, unless the program around us has handlers of its own."""

    def emit(self, record: logging.LogRecord) -> None:
        if not logging.getLogger().handlers:
            label = "error" if record.levelno > logging.WARNING else "warning"
            say(f"{label}: {' '.join(record.getMessage().split())}", err=True)


@contextmanager
def _warnings_told() -> Iterator[None]:
    """In the block what our own code logs looks as other warnings do."""
    told = _Told(logging.WARNING)
    loggers = [logging.getLogger(name) for name in LOGGING]
    for one in loggers:
        one.addHandler(told)
    try:
        yield
    finally:
        for one in loggers:
            one.removeHandler(told)


def _run(arguments: Sequence[str] | None, invoked: Invoked) -> int:
    try:
        result = cli.main(args=arguments, prog_name=PROGRAM, standalone_mode=False, obj=invoked)
    except click.ClickException as error:
        # A group without a subcommand (`weights`): click >= 8.2 raises its whole help.
        if type(error).__name__ == "NoArgsIsHelpError":
            error.show()
            return 2
        return _fail(_usage_message(error))
    except BenchError as error:
        _trace(error, invoked)
        return _fail(" ".join(str(error).split()))
    except (KeyboardInterrupt, click.Abort) as error:
        cause = error.__cause__ if isinstance(error, click.Abort) else error
        say(str(cause) if isinstance(cause, Stopped) else f"interrupted; {AGAIN}", err=True)
        return EXIT_CODE if isinstance(cause, Stopped) else 130
    except OSError as error:  # where nobody nearer said more: a folder without permissions, a full disk
        _trace(error, invoked)
        where = f"{error.filename}: " if error.filename else ""
        _fail(f"{where}{error.strerror or one_line(error)}; mend that, or choose another place")
        return 2
    except BaseException as error:  # of this program, or of a plugin where nothing keeps it apart
        if isinstance(error, SystemExit) and not place_of(error):  # ours
            raise
        _trace(error, invoked)
        place = place_of(error) or innermost(error)
        told = f"{one_line(error)} ({place}): a fault of that code, not of what you gave"
        _fail(told if invoked.debug else f"{told}; --debug shows where it came from")
        return FAULT
    return result if isinstance(result, int) else 0


def _usage_message(error: click.ClickException) -> str:
    message = " ".join(error.format_message().split())
    context = getattr(error, "ctx", None)
    return message if context is None else f"{message.rstrip('.')} (see {context.command_path} --help)"


def _trace(error: BaseException, invoked: Invoked) -> None:
    for line in traced(error).splitlines() if invoked.debug else ():
        say(line, err=True)


def _fail(message: str) -> int:
    say(f"error: {message}", err=True)
    return 2
