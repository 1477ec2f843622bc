"""Every `syncdiff-bench` line in README, docs and workflows is one that the program would take; nothing is run.

Command and options exist, values have the right kind, plugins and their options are installed. Links and citations lead
somewhere, and what there is to know about is mentioned.
"""

from __future__ import annotations

import ast
import io
import re
import shlex
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import dropwhile
from pathlib import Path

import click
import pytest

from syncdiff_bench import plugins, registry
from syncdiff_bench.cli import cli
from syncdiff_bench.cli.commands import Group
from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.texts import address_settings, metric_specs, parse_spec, split_list
from syncdiff_bench.training.loader import read_plan

ROOT = Path(__file__).resolve().parents[2]
SOURCES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "docs/workflows/*.yml", ".github/**/*.md", ".github/**/*.yml")
    for path in ROOT.glob(pattern)
)
FENCED = re.compile(r"^(?:```|~~~)(\S*).*\n((?:.*\n)*?)^(?:```|~~~)$", re.MULTILINE)
INDENTED = re.compile(r"(?:^(?: {4}|\t).*\n)+", re.MULTILINE)
INLINE = re.compile(r"`([^`\n]*)`")
COMMENT = re.compile(r"<!--[\w ]*: (.*?) ?-->")
OPERATORS = frozenset({"&&", "||", "|", ";", ">", ">>", "<", "&"})
MODULES = {"syncdiff_bench": [], "syncdiff_bench.train": ["train"]}  # python -m


def shown_lines(path: Path) -> Iterator[str]:
    """What could be typed: lines of blocks (of console blocks only after `$ `), code spans, comments."""
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    if path.suffix == ".yml":
        yield from (re.sub(r"^[\s#]*(?:- )?(?:run: )?", "", line) for line in text.splitlines())
        return
    for language, block in FENCED.findall(text):
        lines = block.splitlines()
        yield from (line[2:] for line in lines if line.startswith("$ ")) if language == "console" else lines
    prose = FENCED.sub("", text)
    yield from (line for block in INDENTED.findall(prose) for line in block.splitlines())
    yield from INLINE.findall(INDENTED.sub("", prose))
    yield from COMMENT.findall(prose)


def commands_in(line: str) -> Iterator[list[str]]:
    """The arguments of each call of the program in a shell line."""
    if "syncdiff-bench" not in line and "syncdiff_bench" not in line:
        return
    try:
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
        lexer.whitespace_split = True
        words = list(lexer)
    except ValueError:  # prose in quotes
        return
    calls: list[list[str]] = [[]]
    for word in words:
        if word in OPERATORS:
            calls.append([])
        else:
            calls[-1].append(word)
    for words in calls:
        call = list(dropwhile(re.compile(r"[A-Z_]+=").match, words))
        if call[:1] == ["syncdiff-bench"]:
            yield call[1:]
        elif "-m" in call and call[call.index("-m") + 1 :]:
            module, *rest = call[call.index("-m") + 1 :]
            if module in MODULES:
                yield [*MODULES[module], *rest]


def parse(arguments: list[str]) -> click.Context:
    """The context of the command that would run. Raises ClickException for what the program would refuse.

    A mention may leave out what is required (`syncdiff-bench train`), or end with an ellipsis.
    """
    command: click.Command = cli
    context = click.Context(cli, info_name="syncdiff-bench")
    words = [word for word in arguments if word not in ("--help", "-h", "--version", "...")]
    while isinstance(command, click.Group) and words:
        _, found, words = command.resolve_command(context, words)
        assert found is not None
        command, context = found, click.Context(found, parent=context)
    if isinstance(command, click.Group):
        return context
    try:
        return command.make_context(command.name, list(words), parent=context.parent)
    except click.MissingParameter:
        return command.make_context(command.name, list(words), parent=context.parent, resilient_parsing=True)


def created(names: list[list[str]]) -> set[str]:
    """Plugins that `syncdiff-bench plugin new` makes somewhere in the documentation, and the reader's."""
    return {"my-method", *(words[3] for words in names if words[:2] == ["plugin", "new"] and len(words) > 3)}


def check_plugins(context: click.Context, own: set[str]) -> None:
    """Raises UsageError for a plugin or a training config that is not installed, and for an option that it lacks."""
    given = context.params
    known = [name for name in given.get("methods") or () if name not in own]
    if "methods" in given and len(known) == len(given["methods"]):
        classes = {name: registry.load_class("method", name).Options for name in known}
        for name, settings in address_settings(given.get("settings") or (), classes).items():
            options_from_values(classes[name], settings, name)
    for spec in split_list(",".join(given.get("metrics") or ())):
        if parse_spec(spec).name not in own:
            (one,) = metric_specs([spec])
            plugins.load_metric(one.name, one.options)
    dataset = given.get("dataset")
    if isinstance(dataset, str) and dataset not in own:
        registry.load_class("dataset", dataset)
    if "overrides" in given and given.get("config") and not given["config"].endswith(".toml"):  # the reader's own
        read_plan(given["config"], given["overrides"], given["variant"])


CALLS = [(path, arguments) for path in SOURCES for line in shown_lines(path) for arguments in commands_in(line)]
OWN = created([arguments for _, arguments in CALLS])


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_its_commands_would_be_taken(path: Path) -> None:
    refused = []
    for source, arguments in CALLS:
        if source != path or not arguments:
            continue
        try:
            check_plugins(parse(arguments), OWN)
        except (click.ClickException, UsageError) as error:
            message = error.format_message() if isinstance(error, click.ClickException) else str(error)
            refused.append(f"syncdiff-bench {shlex.join(arguments)}: {message}")
    assert not refused, "\n".join(refused)


def test_enough_is_found() -> None:
    """Guards the search itself: every command is shown somewhere, most of them in a block."""
    shown = {" ".join(words[:length]) for _, words in CALLS for length in (1, 2, 3)}
    assert shown >= set(commands_of(cli))


def commands_of(group: Group, path: str = "") -> Iterator[str]:
    for name, entry in group.table.items():
        yield from commands_of(entry, f"{path}{name} ") if isinstance(entry, Group) else (f"{path}{name}",)


def test_no_page_speaks_a_former_spelling() -> None:
    spoken = [(path.name, *words) for path, words in CALLS if words and words[0] in cli.former]
    assert [words for words in spoken if words[0] != "CHANGELOG.md"] == []


@pytest.mark.parametrize(
    "line",
    [
        "syncdiff-bench rum",
        "$ syncdiff-bench run --methode gt".removeprefix("$ "),
        "syncdiff-bench run --limit many",
        "python -m pip install . && syncdiff-bench run --method nobody",
        "A=1 syncdiff-bench run --method syncdiff --set stepps=3  # fast",
        "syncdiff-bench score --videos a --metrics psnr,ssim[region=nose]",
        "torchrun --nproc_per_node 4 -m syncdiff_bench run --dataset nowhere ...",
        "torchrun -m syncdiff_bench.train syncdiff/pocket --steps 3",
        "syncdiff-bench train syncdiff/big",
        "syncdiff-bench plugin new thing NAME",
        "syncdiff-bench weights lst > list.txt",
    ],
)
def test_a_stale_line_is_caught(line: str) -> None:
    (arguments,) = commands_in(line)
    with pytest.raises((click.ClickException, UsageError)):
        check_plugins(parse(arguments), set())


@pytest.mark.parametrize("kind", ["method", "metric", "dataset"])
def test_the_readme_names_every_plugin(kind: registry.Kind) -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    ours = [one.name for one in registry.describe(kind) if one.distribution == "syncdiff-bench"]
    assert ours and [name for name in ours if f"`{name}`" not in readme and f"`{name}[" not in readme] == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_its_links_lead_somewhere(path: Path) -> None:
    text = FENCED.sub("", path.read_text(encoding="utf-8"))
    targets = [target for target in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in target]
    assert [target for target in targets if not (path.parent / target).exists()] == []


@pytest.mark.parametrize("path", sorted((ROOT / "docs").rglob("*.md")), ids=lambda path: path.name)
def test_the_site_can_show_its_blocks(path: Path) -> None:
    """mkdocs takes ```language and ```language title="FILE", and shows any other fence as text."""
    fences = re.findall(r"^```(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    assert [fence for fence in fences if not re.fullmatch(r'\w+( title="\S+")?', fence)] == []


# -------------------------------------------------------------------------------------------- what is cited

# What code, configurations and pages cite is here: `docs/PAGE.md#section` exists, section and all. A section is named
# as on GitHub and on the site: its heading in small letters, punctuation gone, hyphens for blanks.
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
CODE_BLOCKS = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
# What commands write, and docstrings speak of.
WRITTEN = {"diff.md", "findings.md", "gpu.md", "leaderboard.md", "tableN.md"}
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def sections(page: Path) -> frozenset[str]:
    headings = re.findall(r"^#+ (.+)$", CODE_BLOCKS.sub("", page.read_text(encoding="utf-8")), re.MULTILINE)
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
    if ".md" not in text:
        return []  # most files, and tokens take time
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
