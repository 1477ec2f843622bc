"""What tables are to show, as comparisons of two rows: `findings/*.toml` of the leaderboard packages. Most are what a
paper concludes; those of a table that is not the paper's are claims of this project.

    schema = 1
    [[findings]]
    key, claim, source               # texts; source: where the paper says so
    table = 3                        # the two rows are of this table, by number or name
    row, against                     # keys of rows: what is claimed to be better, and than what
    metrics = ["lse", "wer"]         # in any protocol; all of their columns count
    no_worse_by = { lse = 0.1 }      # optional, each metric's margin: the claim is then that the row loses no more
    confirmed_by = ["wer"]           # optional, some of the metrics: where none of them is better too, the others were
                                     # gamed (a loss has seen something like them)

Every error is a UsageError that names the package, the file and the key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from syncdiff_bench.report.packages import Node, read_root, sources
from syncdiff_bench.report.paper import PaperRow, PaperTable, table

FOLDER = "findings"
SCHEMA = 1


@dataclass(frozen=True)
class PaperFinding:
    """One conclusion: row is better than `against` in the columns of the metrics.

    no_worse_by: metric -> margin, for every metric or none; where given, the claim is that row loses less than that.
    confirmed_by: of the metrics, those that a gain in the others has to show in as well, else it is gaming.
    """

    key: str
    claim: str
    source: str
    table: PaperTable
    row: PaperRow
    against: PaperRow
    metrics: tuple[str, ...]
    no_worse_by: Mapping[str, float]
    confirmed_by: tuple[str, ...] = ()

    def paper_deltas(self) -> Mapping[tuple[str, str], float]:
        """(metric, column) -> what the paper prints for `row` minus `against`, on the first of its datasets."""
        if not self.table.of_paper:
            return {}
        dataset = self.table.datasets[0]
        mine, theirs = self.row.values[dataset], self.against.values[dataset]
        deltas = {}
        for column in self.table.columns:
            a, b = mine[column.key], theirs[column.key]
            if column.metric in self.metrics and a is not None and b is not None:
                deltas[column.metric, column.protocol if column.metric == "variance" else column.column] = a - b
        return deltas


def findings() -> tuple[PaperFinding, ...]:
    """Of all installed leaderboard packages, in the order of their files. Raises UsageError."""
    return tuple(one for where, content in sources(FOLDER) for one in _of_file(where, content))


def _of_file(where: str, content: bytes) -> Iterator[PaperFinding]:
    root = read_root(where, content, SCHEMA, ("schema", "findings"))
    seen: set[str] = set()
    for node in root.nodes("findings"):
        found = _finding(node)
        if found.key in seen:
            raise node.fail("key", f"{found.key!r} stands twice")
        seen.add(found.key)
        yield found


def _finding(node: Node) -> PaperFinding:
    one = table(node.get("table", int | str))
    metrics = node.get("metrics", tuple[str, ...])
    known = {column.metric for column in one.columns}
    for metric in metrics:
        if metric not in known:
            raise node.fail("metrics", f"table {one.key} has no {metric!r}; it has {', '.join(sorted(known))}")
    for metric in node.get("confirmed_by", tuple[str, ...], ()):
        if metric not in metrics:
            raise node.fail("confirmed_by", f"{metric!r} is none of the metrics; they are {', '.join(metrics)}")
    pair = {key: _row(node, key, one) for key in ("row", "against")}
    margins = _margins(node, metrics)
    return node.read(PaperFinding, "table", "no_worse_by", *pair, table=one, no_worse_by=margins, **pair)


def _margins(node: Node, metrics: tuple[str, ...]) -> Mapping[str, float]:
    if "no_worse_by" not in node.data:
        return {}
    margins = node.node("no_worse_by")
    margins.only(metrics)
    found = {metric: margins.get(metric, float) for metric in metrics}
    for metric, margin in found.items():
        if margin < 0:
            raise margins.fail(metric, f"must not be negative, is {margin:g}")
    return found


def _row(node: Node, key: str, one: PaperTable) -> PaperRow:
    wanted = node.get(key, str)
    rows = {row.key: row for row in one.rows}
    if wanted not in rows:
        raise node.fail(key, f"table {one.key} has no row {wanted!r}; it has {', '.join(rows)}")
    return rows[wanted]
