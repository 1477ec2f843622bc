"""The table of docs/reliability.md is what the long run noted; two folders are compared as they should be."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import page
import pytest
from same_bytes import contents, differences, values_of

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
LINES = [
    {
        "what": "run",
        "kind": "kill",
        "tries": 2,
        "tracebacks": 0,
        "clips_lost": 0,
        "bytes_different": 0,
        "peak_mb": 61.2,
    },
    {"what": "run", "kind": "kill", "tries": 1, "tracebacks": 1, "clips_lost": 0, "bytes_different": 7, "peak_mb": 60},
    {"what": "score", "kind": "damaged file", "tries": 400, "tracebacks": 0, "clips_lost": 2, "peak_mb": 80},
    {"what": "run.json", "kind": "reader", "tries": 12_000, "tracebacks": 0},
    {"what": "recipe", "kind": "reader", "tries": 9_000, "tracebacks": 0},
]


def test_lines_become_a_table(tmp_path: Path) -> None:
    report, target = tmp_path / "report.jsonl", tmp_path / "page.md"
    report.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    target.write_text(f"before\n\n{page.BEGIN}\nold\n{page.END}\n\nafter\n")
    assert page.main(report, target) == 1
    text = target.read_text()
    assert text.startswith("before\n") and text.endswith("after\n") and "old" not in text
    assert "Not yet the long run: killed, started again: 3 tries, 200 promised; " in text
    assert page.figures_of(text) == [
        ["killed, started again", "`run`", "3", "1", "0", "7", "61 MB"],
        ["given damaged media", "`score`", "400", "0", "2", "0", "80 MB"],
        ["given a damaged text or JSON file", "2 of them", "21,000", "0", "0", "0", ""],
    ]


def test_what_a_run_lacks_or_found_is_named() -> None:
    assert page.shortfalls(LINES) == [
        "killed, started again: 3 tries, 200 promised",
        "`run`, killed, started again: 1 tracebacks",
        "`run`, killed, started again: 7 bytes_different",
        "`score`, given damaged media: 2 clips_lost",
    ]
    enough = [{**line, "tries": 30_000, **dict.fromkeys(page.FAULTS, 0)} for line in LINES]
    assert page.shortfalls(enough) == []


def test_the_page_holds_a_table_without_a_fault() -> None:
    figures = page.figures_of(PAGE.read_text(encoding="utf-8"))
    assert figures
    assert all(row[3:6] == ["0", "0", "0"] for row in figures)


# ---------------------------------------------------------------------------------------------- comparing


def write(folder: Path, **files: bytes) -> Path:
    folder.mkdir()
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)
    return folder


def test_every_byte_counts_but_times(tmp_path: Path) -> None:
    times = [b'{"started": "2026-01-01T00:00:0%d", "seed": 0}' % n for n in range(2)]
    one = contents(write(tmp_path / "one", run__json=times[0], a=b"abc", b=b"", __lock=b""))
    two = contents(write(tmp_path / "two", run__json=times[1], a=b"axcd", c=b""))
    assert differences(one, two) == {"a": 2, "b": 1, "c": 1}
    assert differences(one, contents(write(tmp_path / "three", run__json=times[1], a=b"abc", b=b""))) == {}
    seeds = contents(write(tmp_path / "four", run__json=times[0].replace(b": 0}", b": 1}"), a=b"abc", b=b""))
    assert differences(one, seeds) == {"run.json": 1}


@pytest.mark.parametrize(("changed", "same"), [({}, True), ({"counted": 7}, True), ({"rate": 0.2}, False)])
def test_what_pytorch_saves_is_compared_by_value(tmp_path: Path, changed: dict[str, float], same: bool) -> None:
    torch = pytest.importorskip("torch")
    saved = []
    for name, more in (("one", {}), ("two", changed)):
        known = {"rate": 0.1, "counted": 3, **more}
        shared = "step" if name == "one" else "".join(["st", "ep"])  # another object: another pickle
        state = {"groups": [{"step": 1}, {shared: 1}], "rate": known["rate"], "weights": torch.ones(3)}
        state["step"] = int(known["counted"])
        torch.save(state, tmp_path / name)
        saved.append((tmp_path / name).read_bytes())
    assert (values_of(saved[0]) == values_of(saved[1])) is same
    with zipfile.ZipFile(tmp_path / "one") as archive:
        assert any(name.endswith("data/0") for name in archive.namelist())
    other = dict(state, weights=torch.zeros(3))
    torch.save(other, tmp_path / "three")
    assert values_of(saved[1]) != values_of((tmp_path / "three").read_bytes())
