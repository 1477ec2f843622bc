"""`launch`: submitit with its executor of this machine, and with a Slurm that only takes notes."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from syncdiff_bench.cli import launch, main
from syncdiff_bench.errors import BenchError
from syncdiff_bench.runs.directory import load_run

pytest.importorskip("submitit")
pytestmark = pytest.mark.usefixtures("toy_plugins", "work_folder")

NOISE = ["--method", "toy-noise", "--dataset", "toy", "--set", "shift=3"]


def test_shards_of_this_machine_and_a_report(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", *NOISE, "--metrics", "toy-error", "--out", "o"]
    assert main(["launch", "--cluster", "local", "--shards", "2", "--report", "o", "--", *words]) == 0
    run = load_run(Path("o/toy-noise"))
    assert run.finished and [row.clip for row in run.scores] == list(run.identity.clips)
    assert "toy-noise" in capsys.readouterr().out
    assert list(Path("logs").glob("*_log.err"))


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder where every file that sbatch is given is kept, by its number."""
    folder = tmp_path / "slurm"
    folder.mkdir()
    sbatch = f"""#!/bin/sh
n=$(ls {folder}/*.sh 2>/dev/null | wc -l)
for last in "$@"; do :; done
cp "$last" {folder}/$n.sh
echo "Submitted batch job $((70 + n))"
"""
    for name, text in (("sbatch", sbatch), ("srun", "#!/bin/sh\n")):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", os.pathsep.join([str(tmp_path), os.environ["PATH"]]))
    return folder


def test_slurm_gets_an_array_and_a_job_after_it(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["--shards", "3", "--gpus", "2", "--partition", "gpu", "--hours", "5", "--slurm", "account=lips"]
    assert main(["launch", *asked, "--report", "o", "--", "run", *NOISE, "--out", "o"]) == 0
    array, report = ((slurm / f"{n}.sh").read_text() for n in (0, 1))
    for line in (
        "--array=0-2%",
        "--partition=gpu",
        "--gpus-per-node=2",
        "--time=300",
        "--signal=USR2@30",
        "--account=lips",
    ):
        assert f"#SBATCH {line}" in array, line
    assert "#SBATCH --dependency=afterany:70" in report and "--gpus" not in report and "--array" not in report
    err = capsys.readouterr().err
    assert "jobs 70_0, 70_1, 70_2" in err and "job 71 reports on o after them" in err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["report", "o"], "has to take --shard"),
        (["run", "--shard", "1/2"], "which launch gives it"),
        (["data"], "no command"),
        (["nonsense"], "no command"),
    ],
)
def test_a_command_without_shards_is_refused(
    words: list[str], told: str, slurm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["launch", "--shards", "2", "--", *words]) == 2
    assert told in capsys.readouterr().err and not list(slurm.iterdir())


def test_ranks_are_for_the_stages_alone(slurm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["data", "prepare", "latents", "syncdiff/pocket"]
    assert main(["launch", "--shards", "2", "--gpus", "2", "--", *words]) == 2
    assert "give --gpus 1 and more --shards" in capsys.readouterr().err


def test_a_job_that_fails_says_so() -> None:
    with pytest.raises(BenchError, match="run --method nobody: exit code 2"):
        launch.carry_out(["run", "--method", "nobody"], 1, {})
