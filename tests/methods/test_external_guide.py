"""docs/external.md does what it says: its files are read, its commands are run."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from syncdiff_bench.cli import main
from syncdiff_bench.runs.directory import load_run
from syncdiff_methods.external import process
from syncdiff_methods.external import program as base
from syncdiff_methods.external.ready import ADAPTERS
from syncdiff_methods.external.template import PLACEHOLDERS, Placed, Template, read_template

GUIDE = (Path(__file__).parents[2] / "docs" / "external.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r'^```(\w+)(?: title="(\S+)")?\n(.*?)^```$', GUIDE, re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def guide_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The files of the guide, in the folder that its commands run in."""
    monkeypatch.chdir(tmp_path)
    for _, name, text in BLOCKS:
        if name:
            (tmp_path / name).write_text(text)
    return tmp_path


def commands() -> Iterator[list[str]]:
    for language, _, text in BLOCKS:
        if language == "sh":
            yield from map(shlex.split, text.splitlines())


def first_cells(heading: str) -> list[str]:
    """The words in backquotes in the first column of the table below a heading row."""
    table = GUIDE.partition(heading)[2].partition("\n\n")[0]
    return [word for row in table.splitlines()[2:] for word in re.findall("`([^`]+)`", row.split("|")[1])]


def test_its_templates_are_read(tmp_path: Path) -> None:
    templates = {path.stem: read_template(path) for path in tmp_path.glob("*.toml")}
    assert set(templates) == {"blurred", "wav2lip-official", "by-yaml"}
    official = Placed(templates["wav2lip-official"], tmp_path, {})
    assert official.template.title == "Wav2Lip (official code)"
    assert official.required[0] == Path("/home/me/Wav2Lip/checkpoints/wav2lip_gan.pth")


def test_it_knows_every_key_and_every_placeholder() -> None:
    keys = [name for name in Template.__dataclass_fields__ if name != "command"]
    assert sorted(first_cells("| key |")) == sorted(keys)
    assert first_cells("| write |") == [f"{{{name}}}" for name in PLACEHOLDERS]


def test_its_table_of_adapters_is_what_they_are() -> None:
    rows = [[cell.strip(" `") for cell in row.split("|")[1:4]] for row in GUIDE.splitlines() if "| `external-" in row]
    facts = {path.stem: read_template(path) for path in ADAPTERS.glob("*.toml")}
    assert sorted(rows) == sorted(
        [f"external-{name}", one.title, one.about.revision[:7]] for name, one in facts.items()
    )
    for one in facts.values():
        assert one.about.licence in GUIDE


def test_the_failures_that_it_lists_are_ours() -> None:
    sources = [Path(module.__file__ or "").read_text() for module in (process, base)]
    ours = set(re.findall(r'ClipError\(\s*"([a-z-]+)"', "".join(sources)))
    assert ours <= set(first_cells("| reason |"))


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="its example starts ffmpeg")
def test_its_commands_work(capsys: pytest.CaptureFixture[str]) -> None:
    for program, *arguments in commands():
        if program == "cp":
            assert arguments[0] == "-r"
            shutil.copytree(arguments[1], arguments[2])
            continue
        assert program == "syncdiff-bench"
        elsewhere = "sadtalker" in arguments
        assert main(arguments) == (2 if elsewhere else 0)
        if elsewhere:  # it gets as far as one can here
            assert "/home/me/SadTalker is not a folder; give --set checkout=DIR" in capsys.readouterr().err
    runs = [load_run(path) for path in sorted(Path("runs/pocket-test-first2").glob("*/"))]
    assert [run.identity.method for run in runs] == ["external-blurred", "videos"]
    assert [[record.error for record in run.generated.values()] for run in runs] == [[None, None]] * 2
    assert runs[0].manifest["notes"] == {}  # nothing had to be mended
    blurred, again = (run.manifest["summary"][0]["mean"] for run in runs)
    assert 0.5 < blurred == again < 0.99
