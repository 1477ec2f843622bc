"""Plugins are found: lazy, isolating, and precise about whose fault it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from syncdiff_bench import plugins
from syncdiff_bench.errors import UsageError

Install = Callable[[str, str, str], None]

GOOD = """
from dataclasses import dataclass
from syncdiff_bench.contracts import Method
class Good(Method):
    name = {name!r}
    title = "a good one"
    def generate(self, clips, *, seed, progress=None):
        yield from ()
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Put a distribution with one method on sys.path: install(distribution, method name, module source)."""

    def put(distribution: str, name: str, source: str) -> None:
        module = f"{distribution.replace('-', '_')}_{name}".replace("-", "_")
        sys.modules.pop(module, None)
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{distribution.replace('-', '_')}-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
        with (info / "entry_points.txt").open("a", encoding="utf-8") as file:
            if file.tell() == 0:
                file.write("[syncdiff_bench.methods]\n")
            file.write(f"{name} = {module}:Good\n")
        plugins.registrations.cache_clear()

    monkeypatch.syspath_prepend(str(tmp_path))
    plugins.registrations.cache_clear()
    yield put  # type: ignore[misc]
    plugins.registrations.cache_clear()


def statuses() -> dict[str, plugins.Description]:
    return {row.name: row for row in plugins.describe("method")}


def test_a_third_party_method_loads_by_name(install: Install) -> None:
    install("third-party", "good", GOOD.format(name="good"))
    assert "good" in plugins.names("method")
    assert plugins.load_method("good").name == "good"
    row = statuses()["good"]
    assert (row.title, row.distribution, row.status) == ("a good one", "third-party", "ok")


def test_names_import_nothing(install: Install) -> None:
    install("third-party", "lazy", "raise RuntimeError('imported too early')")
    assert "lazy" in plugins.names("method")
    assert "third_party_lazy" not in sys.modules


def test_unknown_names_suggest_the_nearest(install: Install) -> None:
    install("third-party", "wave2lip", GOOD.format(name="wave2lip"))
    with pytest.raises(UsageError, match="unknown method 'wave2lips'; did you mean 'wave2lip'") as caught:
        plugins.load_method("wave2lips")
    assert "known methods: " in str(caught.value)


def test_two_distributions_with_one_name(install: Install) -> None:
    install("first-party", "twice", GOOD.format(name="twice"))
    install("second-party", "twice", GOOD.format(name="twice"))
    install("second-party", "good", GOOD.format(name="good"))
    with pytest.raises(UsageError, match="first-party and second-party both register it"):
        plugins.load_method("twice")
    assert plugins.load_method("good").name == "good"
    assert statuses()["twice"].distribution == "first-party, second-party"
    assert statuses()["good"].status == "ok"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nowhere_to_be_found", "ModuleNotFoundError: No module named 'nowhere_to_be_found'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def (", "SyntaxError"),
        ("Bad = 1", "AttributeError"),
        ("Good = 1", "1 is not a subclass of syncdiff_bench.contracts.Method"),
        (
            "from syncdiff_bench.contracts import Method\nclass Good(Method):\n name='bad'",
            "implement generate",
        ),
        (GOOD.format(name="other"), "Good.name is 'other', its entry point says 'bad'"),
        (GOOD.format(name="bad") + "    Options = dict", "Good.Options is not a dataclass"),
        (GOOD.format(name="bad") + "    Options = property(lambda self: 1 / 0)", "is not a dataclass"),
    ],
)
def test_a_broken_plugin_is_reported_and_isolated(install: Install, source: str, words: str) -> None:
    install("broken-party", "bad", source)
    install("third-party", "good", GOOD.format(name="good"))
    with pytest.raises(UsageError) as caught:
        plugins.load_method("bad")
    message = str(caught.value)
    assert "broken-party" in message
    assert words in message
    assert "\n" not in message
    assert words in statuses()["bad"].status
    assert statuses()["good"].status == "ok"


def test_a_constructor_that_breaks_is_the_plugins_fault(install: Install) -> None:
    source = GOOD.format(name="bad") + "    def __init__(self, options=None, runtime=None):\n        1 / 0\n"
    install("broken-party", "bad", source)
    with pytest.raises(UsageError, match="broken-party cannot be used: ZeroDivisionError"):
        plugins.load_method("bad")


def test_metric_specs_and_facts(toy_plugins: Path) -> None:
    assert plugins.load_metric("toy-error[signed]").protocol == "signed"
    assert plugins.load_metric("toy-error", recorded={"protocol": "signed"}).protocol == "signed"
    with pytest.raises(UsageError, match="is not one of absolute, signed"):
        plugins.load_metric("toy-error[wrong]")
    row = {row.name: row for row in plugins.describe("metric")}["toy-words"]
    assert row.columns == (("WORDS", "↑", ""),)
    assert row.needs == ("audio", "transcript")
    assert (row.protocol, row.source) == ("absolute", "closed form")


def test_datasets_need_a_root_that_exists(toy_plugins: Path, tmp_path: Path) -> None:
    assert plugins.load_dataset("toy", options={"mark": "b"}).fingerprint("test") == "b" * 64
    with pytest.raises(UsageError, match="does not exist"):
        plugins.load_dataset("toy", tmp_path / "missing")
