"""What code, configurations and pages cite is here: `docs/PAGE.md#section` exists, section and all.

A section is named as on GitHub and on the site: its heading in small letters, punctuation gone, hyphens for blanks.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("syncdiff_bench", "methods", "metrics", "datasets", "leaderboards", "tests", "docs", ".ci", ".github")
SUFFIXES = {".py", ".toml", ".md", ".yml", ".template", ""}
FILES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*.toml"), *(p for room in ROOMS for p in (ROOT / room).rglob("*")))
    if path.is_file()
    and path.suffix in SUFFIXES
    and "__pycache__" not in path.parts
    and path != Path(__file__)  # its broken ones are meant
)
CITED = re.compile(r"(?<![\w./-])(docs/[\w/-]+\.md)(?:#([\w-]+))?")
NAMED = re.compile(r"(?<![\w./-])[\w./-]*\w\.md\b")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# What commands write, and docstrings speak of.
WRITTEN = {"diff.md", "findings.md", "leaderboard.md", "tableN.md"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def sections(page: Path) -> frozenset[str]:
    headings = re.findall(r"^#+ (.+)$", FENCED.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings)


def missing(text: str) -> Iterator[str]:
    """Citations of pages of docs/, or of sections, that are not there."""
    for name, section in CITED.findall(text):
        page = ROOT / name
        if not page.is_file() or (section and section not in sections(page)):
            yield f"{name}#{section}"


def explained(source: str) -> Iterator[str]:
    """The docstrings and comments of a Python file."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def foreign(text: str, beside: Path) -> Iterator[str]:
    """Markdown files that a text names and that are neither here nor written by a command."""
    for name in NAMED.findall(text):
        if name.rsplit("/", 1)[-1] not in WRITTEN and not any((at / name).is_file() for at in (ROOT, beside)):
            yield name


def named_by(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8")
    match path.suffix:
        case ".py":
            parts = list(explained(text))
        case ".toml":
            parts = [line for line in text.splitlines() if line.startswith("#")]
        case _:
            parts = []
    return [name for part in parts for name in foreign(part, path.parent)]


def test_every_page_and_section_that_is_cited_exists() -> None:
    broken = {str(path.relative_to(ROOT)): list(missing(path.read_text(encoding="utf-8"))) for path in FILES}
    assert {path: names for path, names in broken.items() if names} == {}


def test_no_other_page_is_cited() -> None:
    broken = {str(path.relative_to(ROOT)): named_by(path) for path in FILES if path.suffix in (".py", ".toml")}
    assert {path: names for path, names in broken.items() if names} == {}


def test_enough_is_cited() -> None:
    """Guards the search itself: most pages of the specification are the source of some file of code."""
    cited = {name for path in FILES if path.suffix == ".py" for name, _ in CITED.findall(path.read_text("utf-8"))}
    pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs" / "spec").glob("*.md")}
    assert pages - cited == {"docs/spec/index.md"}


@pytest.mark.parametrize("cited", ["docs/spec/no-such-page.md", "docs/spec/lse.md#no-such-section"])
def test_a_broken_citation_is_seen(cited: str) -> None:
    assert list(missing(f"as {cited} says")) and not list(missing("as docs/spec/lse.md#real-videos says"))


def test_a_page_from_elsewhere_is_seen() -> None:
    source = '"""As no_such_page.md says."""\nX = "kept.md"  # and other_page.md\n'
    assert [name for part in explained(source) for name in foreign(part, ROOT)] == ["no_such_page.md", "other_page.md"]


def test_every_kind_of_caveat_is_explained() -> None:
    """In docs/protocols.md, by its name: scripts rely on it."""
    rooms = [ROOT / room for room in ("syncdiff_bench", "methods", "metrics", "datasets")]
    code = [path.read_text(encoding="utf-8") for room in rooms for path in room.rglob("*.py")]
    kinds = {kind for text in code for kind in re.findall(r"(?:Caveat|Counted)\(\s*\"([a-z-]+)\"", text)}
    page = (ROOT / "docs" / "protocols.md").read_text(encoding="utf-8")
    assert {"guessed-boxes", "subset", "retimed"} <= kinds
    assert {kind for kind in kinds if f"`{kind}`" not in page} == set()
