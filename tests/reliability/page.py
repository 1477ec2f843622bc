"""The table of docs/reliability.md, from the lines that the long run notes.

    RELIABILITY_REPORT=report.jsonl pytest -m reliability tests/reliability
    python tests/reliability/page.py report.jsonl docs/reliability.md

Exit codes: 0; 1 where the run was shorter than what the page promises, or found something.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures: made by tests/reliability/page.py -->", "<!-- end of figures -->"
# kind of a line -> what was done, in the order of the table
KINDS = {
    "kill": "killed, started again",
    "two at once": "started twice at once",
    "damaged file": "given damaged media",
    "full disk": "out of space, started again",
    "read-only place": "without permission to write",
    "surroundings": "other surroundings",
    "reader": "given a damaged text or JSON file",
}
PROMISED = {"kill": 200, "damaged file": 400, "reader": 20_000}
FAULTS = {"tracebacks": "tracebacks", "clips_lost": "clips lost beside it", "bytes_different": "bytes different"}


def rows(lines: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """One row for each kind and command: sums, and the largest peak. Readers and surroundings are one row each."""
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    named: dict[str, set[str]] = defaultdict(set)
    for line in lines:
        named[line["kind"]].add(line["what"])
        found[line["kind"], "" if line["kind"] in ("reader", "surroundings") else line["what"]].append(line)
    for kind in KINDS:
        for (its_kind, what), these in found.items():
            if its_kind == kind:
                sums = {key: sum(one.get(key, 0) for one in these) for key in ("tries", *FAULTS)}
                peak = max(one.get("peak_mb", 0) for one in these)
                name = f"`{what}`" if what else f"{len(named[kind])} of them"
                yield {"kind": kind, "what": name, **sums, "peak_mb": peak}


def table(lines: Iterable[Mapping[str, Any]]) -> str:
    """Markdown."""
    head = ["", "of", "tries", *FAULTS.values(), "peak memory"]
    cells = [head, [":--", ":--", *["--:"] * (len(head) - 2)]]
    for row in rows(lines):
        peak = f"{row['peak_mb']:,.0f} MB" if row["peak_mb"] else ""
        cells.append([KINDS[row["kind"]], row["what"], *(f"{row[key]:,}" for key in ("tries", *FAULTS)), peak])
    return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def shortfalls(lines: Iterable[Mapping[str, Any]]) -> list[str]:
    """What the run lacks, or found. Of damaged media each command has to have had as many."""
    made = list(rows(lines))
    lacking = []
    for kind, least in PROMISED.items():
        tries = [row["tries"] for row in made if row["kind"] == kind]
        there = min(tries, default=0) if kind == "damaged file" else sum(tries)
        if there < least:
            lacking.append(f"{KINDS[kind]}: {there:,} tries, {least:,} promised")
    wrong = [f"{row['what']}, {KINDS[row['kind']]}: {row[key]} {key}" for row in made for key in FAULTS if row[key]]
    return [*lacking, *wrong]


def main(report: Path, page: Path) -> int:
    lines = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    lacking = shortfalls(lines)
    told = f"\nNot yet the long run: {'; '.join(lacking)}.\n" if lacking else ""
    page.write_text(f"{before}{BEGIN}\n\n{table(lines)}{told}\n{END}{after}", encoding="utf-8")
    for one in lacking:
        print(one, file=sys.stderr)
    return int(bool(lacking))


def figures_of(page: str) -> list[list[str]]:
    """The cells of the table of a page, without its head."""
    inside = page.partition(BEGIN)[2].partition(END)[0]
    lines = [line for line in inside.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
