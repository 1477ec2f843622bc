"""The bounds of pyproject.toml are those that CI tests: .ci/lowest.txt and .ci/newest.txt say the same."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from fnmatch import fnmatch
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
DIRECT = {one.name: one for one in map(Requirement, PROJECT["dependencies"])}


def pinned(name: str) -> dict[str, Version]:
    lines = (ROOT / ".ci" / name).read_text(encoding="utf-8").splitlines()
    pins = (line.split("==") for line in lines if not line.startswith("#"))
    return {package: Version(version) for package, version in pins}


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = (one.version for one in requirement.specifier if one.operator == ">=")
    return Version(bound)


def test_the_lowest_are_the_bounds() -> None:
    bounds = {name: lower_bound(one) for name, one in DIRECT.items() if name != "torch"}
    assert pinned("lowest.txt") == bounds


def test_the_newest_are_allowed_and_no_older() -> None:
    newest, lowest = pinned("newest.txt"), pinned("lowest.txt")
    assert newest.keys() == lowest.keys()
    assert [name for name, version in newest.items() if version < lowest[name]] == []
    assert [name for name, version in newest.items() if version not in DIRECT[name].specifier] == []


def test_torchs_lowest_is_in_the_workflow_alone() -> None:
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    (version,) = re.findall(r"torch==([0-9.]+)", workflow)
    assert Version(version) == lower_bound(DIRECT["torch"])
    assert "torch==" not in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_who_cites_names_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert (citation["cff-version"], citation["version"]) == ("1.2.0", PROJECT["version"])
    assert (citation["license"], citation["type"]) == (PROJECT["license"], "software")
    assert {"title", "message", "authors"} <= citation.keys()


def test_the_image_gets_all_that_the_build_needs() -> None:
    """What .dockerignore leaves out is no package, and none of the files that pyproject.toml reads."""
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    needed = ["pyproject.toml", PROJECT["readme"], *PROJECT["license-files"], "syncdiff_bench/", "methods/", "metrics/"]
    needed += ["datasets/", "leaderboards/syncdiff_leaderboards/"]
    assert [name for name in needed for pattern in left_out if fnmatch(name.rstrip("/"), pattern)] == []


# ----------------------------------------------------------------------------------------------- the audit


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", ROOT / ".ci" / "audit.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GOOD = {"name": "click", "version": "8.1", "vulns": []}
BAD = {"name": "requests", "version": "2.32.0", "vulns": [{"id": "GHSA-9hjg"}, {"id": "CVE-1"}]}
UNKNOWN = {"name": "ours", "skip_reason": "Dependency not found"}


@pytest.mark.parametrize(
    ("packages", "status", "lines"),
    [
        ([GOOD, UNKNOWN], 0, ["1 packages audited, none with a known vulnerability; 1 unknown"]),
        ([GOOD, BAD], 1, ["requests 2.32.0: GHSA-9hjg", "requests 2.32.0: CVE-1"]),
        ([UNKNOWN], 0, ["::warning::not audited, the database knows none of 1 packages"]),
    ],
)
def test_what_pip_audit_found(audit: ModuleType, packages: list[Any], status: int, lines: list[str]) -> None:
    assert audit.judge(json.dumps({"dependencies": packages, "fixes": []}), "") == (status, lines)


def test_a_database_that_cannot_be_asked_is_said(audit: ModuleType) -> None:
    expected = "::warning::not audited, the database cannot be asked: ProxyError: refused"
    assert audit.judge("", "Traceback\n  File\nProxyError: refused\n") == (0, [expected])
