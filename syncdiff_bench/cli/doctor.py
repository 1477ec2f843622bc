"""`syncdiff-bench doctor`: what works on this machine, what is missing, and the command that mends it."""

from __future__ import annotations

import importlib.util
import platform
import shutil
import sys
from collections.abc import Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from syncdiff_bench.characters import json_text
from syncdiff_bench.cli.commands import Takes, command, option, say
from syncdiff_bench.cli.options import AS_JSON
from syncdiff_bench.errors import BenchError, UsageError, one_line
from syncdiff_bench.platforms import nvidia_driver

Level = Literal["ok", "warn", "fail"]

OLDEST_PYTHON = (3, 10)
FREE_BYTES = 5_000_000_000  # enough for weights, caches and one LRS test split of lossless video
# Top-level folders of this repository that must never be importable packages.
SHADOWING = ("datasets", "metrics", "methods", "leaderboards")
COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@dataclass(frozen=True)
class Check:
    """One line. mend: the command or act that helps, "" where all is well."""

    name: str
    level: Level
    message: str
    mend: str = ""


@command(
    examples="""
  syncdiff-bench doctor
  syncdiff-bench doctor --data lrs2=/data/lrs2 --data lrs3=/data/lrs3""",
    closing="Exit codes: 0 nothing fails (warnings are fine); 1 something does.",
)
@option("--data", Takes("DATASET=DIR"), "A dataset to look at.", name="data", many=True)
@AS_JSON
def doctor(*, data: tuple[str, ...], as_json: bool) -> int:
    """Tell what works on this machine, and how to mend the rest.

    Looks at Python, torch, GPU, ffmpeg, plugins, weights, the disk, and datasets: those that are embedded, those of
    `data add` and SYNCDIFF_BENCH_DATA, and --data.
    """
    roots = {}
    for text in data:
        name, found, folder = text.partition("=")
        if not (name and found and folder):
            raise UsageError(f"--data {text}: give DATASET=DIR, for example lrs2=/data/lrs2")
        roots[name] = Path(folder)
    checks = []
    for check in diagnose(roots):
        checks.append(check)
        if not as_json:
            told = f"{check.name}: {check.message}"
            say(told, label=f"{check.level:5}", fg=COLOURS[check.level], bold=check.level == "fail")
            if check.mend:
                say(check.mend, label="     -> ")
    if as_json:
        say(json_text([asdict(check) for check in checks]))
    return int(any(check.level == "fail" for check in checks))


def diagnose(data_roots: dict[str, Path] | None = None) -> Iterator[Check]:
    """Every check, in the order in which one would mend things. Never raises; never downloads.

    data_roots: dataset -> folder, to look at besides the embedded datasets.
    """
    from syncdiff_bench.files import home

    yield _python()
    yield from _shadowed()
    yield from _torch()
    yield _torchvision()
    yield _ffmpeg()
    yield _writable("home", home())
    yield _writable("working folder", Path.cwd())
    yield _disk(home())
    yield from _plugins()
    yield from _weights()
    yield from _datasets(data_roots or {})


def _python() -> Check:
    version = platform.python_version()
    if sys.version_info < OLDEST_PYTHON:
        return Check("python", "fail", version, "use Python 3.10 or newer")
    return Check("python", "ok", f"{version} ({sys.executable})")


def _shadowed() -> Iterator[Check]:
    """A checkout on sys.path makes its folders `datasets` and `metrics` importable, and other libraries stumble."""
    for name in SHADOWING:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is not None:
            continue  # not there, or a real package of somebody else
        places = ", ".join(spec.submodule_search_locations or ())
        yield Check(
            "sys.path",
            "warn",
            f"`import {name}` finds the bare folder {places}",
            "take that folder's parent off PYTHONPATH, or start from another folder",
        )


def _torch() -> Iterator[Check]:
    try:
        import torch
    except Exception as error:
        yield Check("torch", "fail", f"cannot be imported: {one_line(error)}", "pip install --force-reinstall torch")
        return
    yield Check("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads")
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        yield Check("gpu", "ok", f"{name}, {free / 1e9:.0f} of {total / 1e9:.0f} GB free, {bf16}")
    elif nvidia_driver():
        yield Check(
            "gpu",
            "warn",
            f"there is an NVIDIA driver, but torch {torch.__version__} does not see it",
            "install a CUDA build of torch that fits the driver (nvidia-smi shows its version)",
        )
    else:
        yield Check("gpu", "ok", "none; everything runs on the CPU")


def _torchvision() -> Check:
    """Not needed; but where it is installed for another torch, libraries that import it break."""
    import importlib.metadata

    try:
        version = importlib.metadata.version("torchvision")
    except importlib.metadata.PackageNotFoundError:
        return Check("torchvision", "ok", "not installed, and not needed")
    try:
        import torchvision  # type: ignore[import-not-found,unused-ignore]  # noqa: F401
    except Exception as error:
        return Check(
            "torchvision",
            "warn",
            f"{version} is broken: {one_line(error)}",
            "pip uninstall torchvision (nothing needs it)",
        )
    return Check("torchvision", "ok", version)


def _ffmpeg() -> Check:
    import subprocess

    program = shutil.which("ffmpeg")
    if program is None:
        return Check("ffmpeg", "ok", "no program; only lse[frames=ffmpeg] would use one, the default works without")
    try:
        done = subprocess.run(
            [program, "-version"], capture_output=True, text=True, errors="replace", timeout=20, check=True
        )
    except (OSError, subprocess.SubprocessError) as error:
        return Check("ffmpeg", "warn", f"{program} does not run: {one_line(error)}", "reinstall ffmpeg")
    return Check("ffmpeg", "ok", done.stdout.partition(" Copyright")[0].strip())


def _writable(name: str, folder: Path) -> Check:
    import tempfile

    existing = next(path for path in (folder, *folder.parents) if path.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        mend = (
            "set SYNCDIFF_BENCH_HOME to a folder of yours"
            if name == "home"
            else "run from another folder, or give --out"
        )
        return Check(name, "fail", f"{folder} cannot be written ({error.strerror})", mend)
    return Check(name, "ok", str(folder))


def _disk(folder: Path) -> Check:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    message = f"{free / 1e9:.0f} GB free"
    if free < FREE_BYTES:
        return Check("disk", "warn", message, f"free some space, or set SYNCDIFF_BENCH_HOME (now {folder})")
    return Check("disk", "ok", message)


def _plugins() -> Iterator[Check]:
    from syncdiff_bench.registry import Kind, describe
    from syncdiff_bench.report.paper import tables
    from syncdiff_bench.weights.catalog import installed

    for kind in get_args(Kind):
        found, label = describe(kind), kind.replace("_", " ")
        for plugin in found:
            if plugin.status != "ok":
                mend = f"pip uninstall {plugin.distribution}, or mend it"
                yield Check(f"{label} plugin", "fail", f"{plugin.name}: {plugin.status}", mend)
        usable = [plugin.name for plugin in found if plugin.status == "ok"]
        yield Check(f"{label} plugins", "ok", ", ".join(usable))
    for problem in installed().problems:
        yield Check("weights plugin", "fail", problem, "mend the package that is named")
    try:
        tables()
    except BenchError as error:
        yield Check("table plugin", "fail", one_line(error), "mend the package that is named")


def _weights() -> Iterator[Check]:
    """What is there, and what is wrong; missing files are only told together: most people need few of them."""
    from syncdiff_bench.weights.store import WeightsStore

    try:
        states = list(WeightsStore().status())
    except BenchError as error:
        yield Check("weights", "fail", one_line(error), "mend the package that is named")
        return
    for status in states:
        if status.state == "wrong":
            yield Check(
                "weights",
                "fail",
                f"{status.path}: {status.problem}",
                f"delete it, then {status.entry.mend}",
            )
    here = [status.entry.name for status in states if status.state == "here"]
    if here:
        yield Check("weights", "ok", f"here: {', '.join(here)}")
    missing = [status.entry for status in states if status.state == "missing"]
    for whose, mend, served in (
        ("missing", "syncdiff-bench weights fetch NAME, as you need them", True),
        ("missing, and only you can get them", "syncdiff-bench weights list says where, weights add NAME FILE", False),
    ):
        if names := [entry.name for entry in missing if bool(entry.sources) == served]:
            yield Check("weights", "warn", f"{whose}: {', '.join(names)}", mend)


def _datasets(roots: dict[str, Path]) -> Iterator[Check]:
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.registry import describe, load_class

    embedded = [
        one.name for one in describe("dataset") if one.status == "ok" and load_class("dataset", one.name).embedded
    ]
    yield from _known_roots(roots)
    for name, root in [*((name, None) for name in embedded), *roots.items()]:
        try:
            dataset = load_dataset(name, root)
            splits = dataset.splits()
            counts = ", ".join(f"{split} {len(dataset.clip_ids(split))}" for split in splits)
        except BenchError as error:
            yield Check(f"dataset {name}", "fail", one_line(error), f"syncdiff-bench data verify --dataset {name}")
            continue
        yield Check(f"dataset {name}", "ok", f"clips: {counts}")


def _known_roots(looked_at: Collection[str]) -> Iterator[Check]:
    """The data sets of `data add` and of SYNCDIFF_BENCH_DATA, without those that are looked at anyway."""
    from syncdiff_bench.plugins import load_dataset
    from syncdiff_bench.roots import all_known, file

    try:
        known = [one for one in all_known() if one.problem or one.dataset not in looked_at]
    except BenchError as error:
        known = []
        yield Check("datasets", "fail", one_line(error), f"mend or delete {file()}")
    for one in known:
        about, by = f"dataset {one.dataset}".rstrip(), f"by {one.source}"
        if one.problem:
            what, _, mend = one.problem.partition("; ")
            line = f" (line {one.line} of {file()})" if one.line else f" ({by})"
            yield Check(about, "warn", f"{one.folder}{line}: {what}".lstrip(), mend)
            continue
        try:
            splits = ", ".join(load_dataset(one.dataset, Path(one.folder)).splits())
        except BenchError as error:
            yield Check(about, "fail", one_line(error), f"syncdiff-bench data verify --dataset {one.dataset}")
            continue
        yield Check(about, "ok", f"{one.folder} ({by}): {splits}")
