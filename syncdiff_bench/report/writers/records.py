"""The values of tables in full precision, for scripts: CSV and JSON with one record per value."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from syncdiff_bench.characters import json_text as as_json
from syncdiff_bench.characters import one_line, visible
from syncdiff_bench.report.table import Table

FORMULA = tuple("=+-@")  # what a formula begins with, in any width of letters


def csv_text(tables: Sequence[Table]) -> str:
    """The fields of the tables; an empty one is a value that is not defined or was not measured."""
    text = io.StringIO()
    writer = csv.DictWriter(text, tables[0].fields if tables else (), lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(flat_records(tables))
    return text.getvalue()


def flat_records(tables: Sequence[Table]) -> Iterator[dict[str, Any]]:
    """The records with one text or number per field."""
    for record in (record for table in tables for record in table.records):
        low, high = record["ci95"] or (None, None)
        yield {key: _cell(value) for key, value in record.items()} | {"ci95_low": low, "ci95_high": high}


def json_text(tables: Sequence[Table]) -> str:
    """A list of the records."""
    records = [record for table in tables for record in table.records]
    return as_json(records) + "\n"


def _cell(value: Any) -> Any:
    """A list as one text: words, or the texts of caveats. No text that a terminal obeys or a spreadsheet computes."""
    if isinstance(value, list):
        caveats = any(isinstance(one, Mapping) for one in value)
        value = one_line("; ".join(one["text"] for one in value)) if caveats else " ".join(value)
    return inert(visible(value)) if isinstance(value, str) else value


def inert(text: str) -> str:
    """Text with an apostrophe before it where a spreadsheet would take it for a formula; numbers stay.

    >>> inert("=1+1"), inert("-0.5"), inert("-cmd")
    ("'=1+1", '-0.5', "'-cmd")
    """
    first = unicodedata.normalize("NFKC", text.lstrip()[:1])
    computed = text.startswith(("\t", "\r", "\n")) or (first in FORMULA and not _is_number(text))
    return f"'{text}" if computed else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
