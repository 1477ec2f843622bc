"""The values of tables in full precision, for scripts: CSV and JSON with one record per value."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from syncdiff_bench.report.table import Table
from syncdiff_bench.report.writers.characters import one_line


def csv_text(tables: Sequence[Table]) -> str:
    """The fields of the tables; an empty one is a value that is not defined or was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, tables[0].fields if tables else (), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for record in (record for table in tables for record in table.records):
        low, high = record["ci95"] or (None, None)
        flat = {key: _joined(value) for key, value in record.items()}
        writer.writerow(flat | {"ci95_low": low, "ci95_high": high})
    return text.getvalue()


def json_text(tables: Sequence[Table]) -> str:
    """A list of the records."""
    records = [record for table in tables for record in table.records]
    return json.dumps(records, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _joined(value: Any) -> Any:
    """A list as one text: words, or the texts of caveats."""
    if not isinstance(value, list):
        return value
    if any(isinstance(one, Mapping) for one in value):
        return one_line("; ".join(one["text"] for one in value))
    return " ".join(value)
