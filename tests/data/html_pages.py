"""What is in a page of HTML: its tags, the cells of its tables, and the data that its script reads."""

from __future__ import annotations

import json
from collections import defaultdict
from html.parser import HTMLParser
from typing import Any

UNCLOSED = frozenset({"meta", "br", "input"})


class Page(HTMLParser):
    """Checks that tags nest.

    tags: every tag with its attributes. tables: the rows of the tables of an id, each the texts of its cells. data: of
    the script that is called so.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.tables: defaultdict[str, list[list[str]]] = defaultdict(list)
        self.data: dict[str, Any] = {}
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in UNCLOSED:
            self._open.append((tag, dict(attrs).get("id") or ""))
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop()[0] == tag

    def handle_data(self, data: str) -> None:
        if self._open and self._open[-1] == ("script", "data"):
            self.data = json.loads(data)
        elif {"td", "th"} & {tag for tag, _ in self._open}:
            self._rows[-1][-1] += data

    @property
    def _rows(self) -> list[list[str]]:
        return self.tables[next(name for tag, name in reversed(self._open) if tag == "table")]
