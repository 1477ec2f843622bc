"""`syncdiff-bench launch`: a command by shards, as a job array of Slurm (submitit)."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from syncdiff_bench.cli.commands import DIR, NAME, N, Takes, command, option, say
from syncdiff_bench.errors import BenchError, Stopped, UsageError

AHEAD = 30  # seconds before its time limit that Slurm tells a job so


@command(
    keeps=True,
    examples="""
  syncdiff-bench launch --shards 8 --gpus 1 --report o -- run --out o
      eight jobs of one GPU, then the leaderboard
  syncdiff-bench launch --shards 9 -- data prepare latents syncdiff/paper
  syncdiff-bench launch --cluster local --shards 2 -- generate --limit 4
      the same on this machine, to try it out""",
)
@click.argument("words", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
@option("--shards", N, "Jobs.", required=True)
@option("--cluster", click.Choice(["slurm", "local"]), "Where the jobs run.", default="slurm")
@option("--partition", NAME, "Partition.", shown="the cluster's")
@option("--gpus", Takes("N", click.IntRange(min=0)), "GPUs of a job, a rank on each.", default=0)
@option("--cpus", N, "Cores of a job.", default=4)
@option("--memory", N, "Memory of a job, in GB.", shown="the cluster's")
@option("--hours", N, "Time limit of a job.", default=24)
@option("--slurm", Takes("KEY=VALUE"), "Another parameter of sbatch (account=lips).", name="more", many=True)
@option("--report", DIR, "Run `report` on this folder once all jobs have ended.")
@option("--logs", DIR, "Where the jobs write what they print.", default=Path("logs"))
@click.pass_context
def launch(
    ctx: click.Context,
    /,
    *,
    words: tuple[str, ...],
    shards: int,
    cluster: str,
    partition: str | None,
    gpus: int,
    cpus: int,
    memory: int | None,
    hours: int,
    more: tuple[str, ...],
    report: Path | None,
    logs: Path,
) -> None:
    """Submit COMMAND, which takes --shard, as a job array.

    Job I of N runs `syncdiff-bench COMMAND --shard I/N`. One that is stopped is submitted again: finished clips stay.
    Needs the extra `slurm`: pip install 'syncdiff-bench[slurm]'.
    """
    from syncdiff_bench.texts import parse_settings

    check_takes_shards(words)
    if gpus > 1 and words[0] not in ("run", "generate", "score"):
        raise UsageError(f"--gpus {gpus}: {words[0]} is one process; give --gpus 1 and more --shards")
    try:
        import submitit
    except ImportError:
        raise UsageError("launch needs submitit; pip install 'syncdiff-bench[slurm]'") from None
    asked = {
        "timeout_min": 60 * hours,
        "cpus_per_task": cpus,
        "slurm_signal_delay_s": AHEAD,
        **({"gpus_per_node": gpus} if gpus else {}),
        **({"mem_gb": memory} if memory else {}),
        **({"slurm_partition": partition} if partition else {}),
    }
    extra = dict(parse_settings(more, "--slurm"))
    lines = [[*words, "--shard", f"{index}/{shards}"] for index in range(1, shards + 1)]
    try:
        executor = submitit.AutoExecutor(folder=logs, cluster=cluster)
        executor.update_parameters(name="syncdiff-bench", slurm_additional_parameters=extra, **asked)
        jobs = executor.map_array(carry_out, lines, [max(1, gpus)] * shards, [places()] * shards)
        say(f"{cluster}: jobs {', '.join(job.job_id for job in jobs)}; what they print: {logs}/", err=True)
        if report is not None and cluster == "slurm":
            after = {**extra, "dependency": f"afterany:{jobs[0].job_id.partition('_')[0]}"}
            last = submitit.AutoExecutor(folder=logs, cluster=cluster)
            small = {key: value for key, value in asked.items() if key != "gpus_per_node"}
            last.update_parameters(name="syncdiff-report", slurm_additional_parameters=after, **small)
            job = last.submit(carry_out, ["report", str(report)], 1, places())
            say(f"{cluster}: job {job.job_id} reports on {report} after them", err=True)
    except (RuntimeError, OSError, submitit.core.utils.FailedJobError) as error:
        raise UsageError(f"{cluster} does not take the jobs ({' '.join(str(error).split())[:300]})") from None
    if cluster == "local":
        ctx.exit(_waited(jobs, report))


def check_takes_shards(words: tuple[str, ...]) -> None:
    """Raises UsageError where these words are no command, or one without --shard."""
    from syncdiff_bench.cli import cli

    found: click.Command | None = cli
    rest = list(words)
    while isinstance(found, click.Group) and rest:
        found = found.get_command(click.Context(found), rest.pop(0))
    if found is None or isinstance(found, click.Group):
        raise UsageError(f"launch -- {' '.join(words)}: no command; write `launch --shards N -- run ...`")
    if "shard" not in {one.name for one in found.params} or "--shard" in words:
        raise UsageError(f"launch -- {' '.join(words)}: the command has to take --shard, which launch gives it")


def places() -> dict[str, str]:
    """Where weights and data sets lie, for a job that may not see the variables of this shell."""
    from syncdiff_bench.files import home
    from syncdiff_bench.roots import VARIABLE, folders_of_variable

    folders = os.pathsep.join(map(str, folders_of_variable()))
    return {"SYNCDIFF_BENCH_HOME": str(home().absolute()), **({VARIABLE: folders} if folders else {})}


def carry_out(words: list[str], ranks: int, variables: Mapping[str, str]) -> None:
    """What a job does: the command, by as many ranks as it has GPUs. Raises BenchError unless it exits with 0.

    variables: of `places`.
    Told that its time is up, or that others need the machine, it ends as by Ctrl-C, then submitit submits it again.
    """
    from syncdiff_bench.cli import main
    from syncdiff_bench.cli.stopping import EXIT_CODE, stopped_by_signals, stopping_signals
    from syncdiff_bench.reproduction.launching import to_its_end

    os.environ.update(variables)
    with stopped_by_signals() as came:
        if ranks > 1:
            launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node", str(ranks), "-m"]
            try:
                code = to_its_end([sys.executable, "-m", *launcher, "syncdiff_bench", *words], stopping_signals()[1:])
            except Stopped as stopped:
                say(str(stopped), err=True)
                code = EXIT_CODE
        else:
            code = main(words)
    for ahead in stopping_signals()[1:]:
        if ahead in came:
            signal.raise_signal(ahead)  # now submitit may submit the job again
    if code:
        raise BenchError(f"syncdiff-bench {' '.join(words)}: exit code {code}")


def _as_before(words: list[str], ranks: int, variables: Mapping[str, str]) -> Any:
    """What submitit submits again: finished clips stay."""
    from submitit.helpers import DelayedSubmission

    return DelayedSubmission(carry_out, words, ranks, variables)


carry_out.checkpoint = _as_before  # type: ignore[attr-defined]


def _waited(jobs: list[Any], report: Path | None) -> int:
    """Wait for jobs of this machine, then report; 1 where one failed."""
    from syncdiff_bench.cli import main

    failed = [job for job in jobs if job.exception() is not None]
    for job in failed:
        say(f"failed: job {job.job_id}; see {job.paths.stderr}", err=True)
    code = 0 if report is None else main(["report", str(report)])
    return 1 if failed else code
