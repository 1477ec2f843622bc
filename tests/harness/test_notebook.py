"""docs/notebook.ipynb shows what its cells give today; UPDATE_DOCUMENTATION=1 writes that into it."""

from __future__ import annotations

import os
import re
from itertools import zip_longest
from pathlib import Path
from typing import Any

import pytest
from notebook import carried_out, read, write

from syncdiff_bench import registry

NOTEBOOK = Path(__file__).resolve().parents[2] / "docs" / "notebook.ipynb"
PICTURE = re.compile(r"base64,[^\"]+")  # another release of Pillow packs the same pixels otherwise

pytestmark = pytest.mark.usefixtures("work_folder")


NUMBER = re.compile(r"-?\d+\.\d+")


def agree(before: str, after: str) -> bool:
    """Equal but for white space and the last digits of numbers, which another machine may round otherwise."""
    apart = [NUMBER.split(" ".join(text.split())) for text in (before, after)]
    numbers = [[float(one) for one in NUMBER.findall(text)] for text in (before, after)]
    return apart[0] == apart[1] and numbers[0] == pytest.approx(numbers[1], rel=0.01, abs=0.02)


def stale(before: dict[str, Any], after: dict[str, Any]) -> list[tuple[str, str]]:
    """What the cells show and what they give, where these differ."""
    pairs = zip_longest(shown(before), shown(after), fillvalue={})
    texts = ((old.get(kind, ""), new.get(kind, "")) for old, new in pairs for kind in old | new)
    return [(old, new) for old, new in texts if not agree(old, new)]


def shown(notebook: dict[str, Any]) -> list[Any]:
    """What a reader sees of the code cells."""
    found = []
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            texts = output.get("data") or {"text/plain": output["text"]}
            found.append({kind: PICTURE.sub("base64,", "".join(lines)) for kind, lines in texts.items()})
    return found


@pytest.mark.slow
def test_the_notebook_shows_what_its_cells_give(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_remembered", {})
    before = read(NOTEBOOK)
    after = carried_out(before)
    found = stale(before, after)
    if os.environ.get("UPDATE_DOCUMENTATION") and found:
        write(NOTEBOOK, after)
        return
    assert found == []


def test_the_notebook_is_small_and_whole() -> None:
    cells = [cell for cell in read(NOTEBOOK)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert NOTEBOOK.stat().st_size < 100_000
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert "Traceback" not in text and "/tmp" not in text and "data:image/png;base64," in text


def test_cells_are_carried_out_in_one_namespace() -> None:
    def cell(source: str) -> dict[str, Any]:
        return {"cell_type": "code", "source": source.splitlines(keepends=True), "outputs": ["old"]}

    made = carried_out({"cells": [{"cell_type": "markdown"}, cell("a = 2\nprint(a)"), cell("a += 1\na")]})
    assert shown(made) == [{"text/plain": "2\n"}, {"text/plain": "3"}]
    with pytest.raises(ZeroDivisionError):
        carried_out({"cells": [cell("1 / 0")]})


def test_code_of_a_cell_is_read_as_its_source() -> None:
    """So that an edit of a comment is no other run there either."""
    source = "import inspect\ndef f():\n    # three\n    return 3\nprint(inspect.getsource(f))"
    made = carried_out({"cells": [{"cell_type": "code", "source": [source], "outputs": []}]})
    assert "# three" in shown(made)[0]["text/plain"]


def test_a_stale_notebook_is_seen() -> None:
    def showing(*texts: str) -> dict[str, Any]:
        return {"cells": [{"outputs": [{"text": [text]} for text in texts]}]}

    assert stale(showing("PSNR 22.43 of 3"), showing("PSNR  22.44 of 3")) == []
    assert stale(showing("PSNR 22.43 of 3"), showing("PSNR 23.43 of 3")) == [("PSNR 22.43 of 3", "PSNR 23.43 of 3")]
    assert stale(showing("PSNR 22.43 of 3"), showing("PSNR 22.43 of 4")) != []
    assert stale(showing("a"), showing("a", "b")) == [("", "b")]
