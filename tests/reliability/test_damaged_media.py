"""Damaged and lying media files end no command, hold none up, and leave the whole clips beside them as they are."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from damaged_media import WAYS, Source, corpus
from killing import Command, Ended
from tiny_commands import Inputs

FILES = 30  # in each run of the tests; in the long run this many rounds of it, each of other files
ROUNDS = 14
SECONDS = 120.0  # what a command over them may take, and then it hangs
MEMORY = 1_500.0  # MB
WHOLE = ("0000-a-whole-clip", "9999-a-whole-clip")  # read before and after the others

COMMANDS = {
    "data verify": "data verify --dataset folder --data-root clips",
    "score": "score --videos clips --reference truth --boxes centred --metrics psnr",
    "run": "run --method static --dataset folder --data-root clips --boxes centred --metrics psnr --device cpu",
    "run --accept-damaged": "run --method static --dataset folder --data-root clips --boxes centred --metrics psnr"
    " --device cpu --accept-damaged --out accepted",
}


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Source:
    return Source(tmp_path_factory.mktemp("media"))


@pytest.fixture(scope="session")
def alone(source: Source, inputs: Inputs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What the whole clips get where nothing lies beside them."""
    work = tmp_path_factory.mktemp("alone") / "work"
    lay_out(work, source, {})
    ended = {name: Command(line.split(), work, inputs.environment(work)).end() for name, line in COMMANDS.items()}
    assert {one.code for one in ended.values()} == {0}, ended
    scores = {name: scores_of_whole(work, name) for name in COMMANDS}
    assert all(len(found) == len(WHOLE) for name, found in scores.items() if name != "data verify")
    return scores


def lay_out(work: Path, source: Source, files: dict[str, bytes]) -> None:
    """clips/: these files and two whole ones; truth/: a reference for each of them, the same whole clip."""
    (work / "clips").mkdir(parents=True)
    (work / "truth").mkdir()
    for name, data in {**files, **dict.fromkeys((f"{one}.mp4" for one in WHOLE), source.whole[".mp4"])}.items():
        (work / "clips" / name).write_bytes(data)
        (work / "truth" / f"{Path(name).stem}.mp4").write_bytes(source.other)


def scores_of_whole(work: Path, command: str) -> dict[str, Any]:
    """Clip -> its lines of the score journal."""
    if command == "data verify":
        return {}
    folder = {"score": "runs/videos-clips/videos", "run": "runs/folder-test/static"}.get(command, "accepted/static")
    rows = [json.loads(line) for line in (work / folder / "scores.jsonl").read_text().splitlines()]
    return {row["clip"]: row for row in rows if row["clip"] in WHOLE}


def accounted_for(work: Path, command: str) -> set[str]:
    """The clips of which the journal of a run says something."""
    folder = {"score": "runs/videos-clips/videos", "run": "runs/folder-test/static"}.get(command, "accepted/static")
    return {json.loads(line)["clip"] for line in (work / folder / "generation.jsonl").read_text().splitlines()}


@pytest.mark.parametrize(
    "round_",
    [pytest.param(n, marks=[pytest.mark.reliability] if n else []) for n in range(ROUNDS + 1)],
)
def test_damaged_files_cost_themselves_alone(
    round_: int,
    source: Source,
    alone: dict[str, dict[str, Any]],
    inputs: Inputs,
    note: Callable[..., None],
    tmp_path: Path,
) -> None:
    files = dict(islice(corpus(source, FILES, seed=round_), FILES))
    work = tmp_path / "work"
    lay_out(work, source, files)
    ended: dict[str, Ended] = {}
    lost: dict[str, list[str]] = {}
    unsaid: dict[str, set[str]] = {}
    for command, line in COMMANDS.items():
        ended[command] = Command(line.split(), work, inputs.environment(work)).end(SECONDS)
        if command == "data verify":
            lost[command] = [name for name in WHOLE if f"error {name}" in ended[command].said]
            continue
        ours = scores_of_whole(work, command)
        lost[command] = [name for name, row in alone[command].items() if ours.get(name) != row]
        unsaid[command] = {Path(name).stem for name in files} - accounted_for(work, command)
    for command, one in ended.items():
        note(
            command,
            "damaged file",
            tries=len(files),
            tracebacks=int(one.traceback),
            clips_lost=len(lost[command]),
            peak_mb=one.peak_mb,
        )
    assert {command: one.said for command, one in ended.items() if one.code not in (0, 1)} == {}
    assert [command for command, one in ended.items() if one.traceback] == []
    assert lost == {key: [] for key in COMMANDS}
    assert unsaid == {key: set() for key in unsaid}
    assert {command: one.peak_mb for command, one in ended.items() if one.peak_mb > MEMORY} == {}


def test_every_way_of_damaging_is_tried_and_differs_by_seed(source: Source) -> None:
    first, again, other = ([*corpus(source, 2 * len(WAYS), seed)] for seed in (0, 0, 1))
    assert first == again
    assert len({name.partition("-")[2].rpartition(".")[0] for name, _ in first}) == len(WAYS)
    assert sum(one != two for one, two in zip(first, other, strict=True)) > len(WAYS)
