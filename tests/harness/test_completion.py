"""What a shell is offered, asked as a shell asks: by the variables of click's protocol, in a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from console import printed, refusal

from syncdiff_bench import registry, roots
from syncdiff_bench.registry import GROUPS
from syncdiff_bench.training.loader import shipped_configs
from syncdiff_bench.weights.catalog import installed

pytestmark = pytest.mark.usefixtures("work_folder")

BRANCH = """
import sys
from syncdiff_bench.cli import main
try:
    main()
finally:
    heavy = {"torch", "av", "diffusers", "pandas", "numpy", "scipy"}.intersection(sys.modules)
    print("imported:", *sorted(heavy), file=sys.stderr)
"""


def asked(*words: str) -> list[str]:
    """The values offered for the last word; the others are typed already."""
    done = subprocess.run(
        [sys.executable, "-c", BRANCH],
        env={
            **os.environ,
            "_SYNCDIFF_BENCH_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(["syncdiff-bench", *words]),
            "COMP_CWORD": str(len(words)),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr in ("imported:\n", "imported: numpy\n"), done.stderr  # nothing that takes a second
    return [line.partition(",")[2] for line in done.stdout.splitlines() if line]


def names(kind: registry.Kind) -> list[str]:
    """As the metadata of the installed packages have them."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group=GROUPS[kind].name)})


def test_names_of_plugins(toy_plugins: Path) -> None:
    assert asked("run", "--method", "") == names("method") and "toy-noise" in names("method")
    assert asked("run", "--method", "gt", "--method", "sync") == ["syncdiff"]
    assert asked("paper", "probe", "--method", "toy-n") == ["toy-noise"]
    for words in (["run", "--dataset"], ["data", "verify", "--dataset"], ["paper", "calibrate", "--dataset"]):
        assert asked(*words, "lrs") == ["lrs2", "lrs3"]
    assert asked("data", "add", "") == names("dataset")
    assert asked("plugin", "check", "lp") == ["lpips"]
    assert asked("weights", "import", "") == names("converter")


def test_metrics_of_a_list() -> None:
    assert asked("run", "--metrics", "") == names("metric")
    assert asked("score", "--metrics", "psnr,l") == ["psnr,lmd", "psnr,lpips", "psnr,lse"]
    assert asked("run", "--metrics", "lpips[net=vgg],ss") == ["lpips[net=vgg],ssim"]
    assert asked("run", "--metrics", "lpips[net=vgg,s") == []


def test_weights_configs_variants_and_choices(tmp_path: Path) -> None:
    assert asked("weights", "fetch", "lpips-alex", "") == list(installed().entries)
    assert asked("weights", "add", "avhubert-l") == ["avhubert-lrs2-vsr", "avhubert-lrs3-vsr"]
    configs = [name for name in shipped_configs() if name.startswith("syncdiff/")]
    assert asked("train", "syncdiff/") == configs and "syncdiff/pocket" in configs
    assert asked("data", "prepare", "latents", "syncdiff/pap") == ["syncdiff/paper"]
    (tmp_path / "mine.toml").write_text('like = "syncdiff/pocket"\n[variants]\nzigzag = {}\n')
    assert "prv-" in asked("train", "syncdiff/pocket", "--variant", "")
    assert asked("train", "mine.toml", "--variant", "zi") == ["zigzag"]
    assert asked("run", "--progress", "b") == ["bar"]
    assert asked("completion", "") == ["bash", "zsh", "fish"]


def test_what_data_remove_can_forget(tmp_path: Path) -> None:
    roots.add("lrs3", tmp_path)
    assert asked("data", "remove", "") == ["lrs3"]


def test_what_is_not_in_order_offers_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("like = 3")
    assert asked("train", "broken.toml", "--variant", "") == []
    assert asked("train", "--variant", "") == []
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "data-roots.txt").mkdir()
    assert asked("data", "remove", "") == []


def program(folder: Path) -> dict[str, str]:
    """An environment in which `syncdiff-bench` is this project's."""
    file = folder / "bin" / "syncdiff-bench"
    file.parent.mkdir()
    file.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m syncdiff_bench "$@"\n')
    file.chmod(0o755)
    return {**os.environ, "PATH": os.pathsep.join([str(file.parent), os.environ["PATH"]])}


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(capsys, ["completion", "bash"])
    script += "COMP_WORDS=(syncdiff-bench run --method gt); COMP_CWORD=3; complete -p syncdiff-bench\n"
    script += '_syncdiff_bench_completion syncdiff-bench; echo "${COMPREPLY[@]}"\n'
    done = subprocess.run(["bash", "-c", script], env=program(tmp_path), capture_output=True, text=True, check=True)
    assert done.stderr == ""
    how, offered = done.stdout.splitlines()
    assert "_syncdiff_bench_completion syncdiff-bench" in how and offered == "gt gt-rec"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_read_their_script(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    script = printed(capsys, ["completion", shell])
    assert f"_SYNCDIFF_BENCH_COMPLETE={shell}_complete" in script and "syncdiff-bench" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_an_unknown_shell_is_told_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'bash', 'zsh', 'fish'" in refusal(capsys, ["completion", "csh"])
