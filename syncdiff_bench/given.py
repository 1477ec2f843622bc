"""Methods and metrics that nobody installed: the class, or the object, that a caller of the Python API gave.

They have no version, so a run records a digest of their code in place of one (`code_of`): other code is another run.
"""

from __future__ import annotations

import ast
import copy
import hashlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from textwrap import dedent
from tokenize import TokenError
from types import CodeType, FunctionType
from typing import Any, Literal
from uuid import uuid4

from syncdiff_bench import registry
from syncdiff_bench.contracts import Metric, Runtime
from syncdiff_bench.errors import UsageError, shown

Kind = Literal["method", "metric"]

NAME = re.compile(r"[A-Za-z0-9][\w.+-]*")
HARNESS = __name__.partition(".")[0]
_LENT = ("options", "runtime")  # what the harness makes a plugin of
_STATE = "_state_of_object"


def name_of(kind: Kind, plugin: Any) -> str:
    """The name under which a class, or an object of one, is run. Raises UsageError for what is no plugin."""
    cls = plugin if isinstance(plugin, type) else type(plugin)
    words = registry.GROUPS[kind].words
    name = getattr(cls, "name", None)
    problem = registry.problem_of(kind, cls)
    if problem and not isinstance(name, str) and not problem.startswith(repr(cls)):
        problem = f"{cls.__name__} has no name; give it one, as name = 'mine'"
    elif not problem and not (isinstance(name, str) and NAME.fullmatch(name)):
        problem = f"{cls.__name__}.name is {shown(name)}; give letters, digits, - and _"
    elif not problem and name in registry.names(kind) and not is_installed(kind, cls):
        problem = f"{cls.__name__}.name is {name!r}, the name of an installed {words}; give it another"
    if problem:
        raise UsageError(f"{shown(plugin)} cannot be used as a {words}: {problem}")
    return str(name)


def is_installed(kind: Kind, cls: type[Any]) -> bool:
    """Whether the class is the one that its package registered under its name."""
    known = registry.registrations(kind).get(getattr(cls, "name", ""))
    values = () if known is None else (point.value.replace(" ", "") for point in known.points)
    return f"{cls.__module__}:{cls.__qualname__}" in values


def accepted(kind: Kind, plugin: Any) -> str:
    """`name_of`, which means this class in this process from now on, as that of an installed one would."""
    name = name_of(kind, plugin)
    cls = plugin if isinstance(plugin, type) else type(plugin)
    if not is_installed(kind, cls):
        registry.remember(kind, name, cls)
    return name


def working(kind: Kind, plugin: Any, options: Mapping[str, Any], runtime: Runtime) -> Any:
    """A copy of an object for a run to work with: it has what the run lends, where nobody lent it anything before.

    Raises UsageError as `name_of`, and for options, of which it has its own.
    """
    name = accepted(kind, plugin)
    if options:
        raise UsageError(f"options of {name}: {shown(plugin)} has its own; give its class, or no options")
    made, own = copy.copy(plugin), getattr(plugin, "runtime", Runtime())
    if own_state(kind, plugin):
        vars(made)[_STATE] = uuid4().hex[:8]  # another one each time: the caller may have changed it meanwhile
    made.runtime = runtime if own == Runtime() else replace(own, dataset=runtime.dataset)
    return made


def own_state(kind: Kind, plugin: Any) -> tuple[str, ...]:
    """Attributes that options and runtime do not make again: such an object cannot be rebuilt in another process, and
    nobody can tell whether two of them are the same.
    """
    cls = type(plugin)
    if is_installed(kind, cls):
        return ()
    derived = {name for one in cls.__mro__ for name, value in vars(one).items() if isinstance(value, cached_property)}
    return tuple(name for name in vars(plugin) if name not in derived and name not in (*_LENT, _STATE))


def require_importable(kind: Kind, plugin: Any) -> None:
    """Raises UsageError for a class that a worker cannot import: of a notebook, a prompt, or within a function."""
    cls = type(plugin)
    nowhere = cls.__module__ == "__main__" and not hasattr(sys.modules["__main__"], "__file__")
    if nowhere or "<locals>" in cls.__qualname__:
        where = "a notebook or a prompt" if nowhere else "a function"
        raise UsageError(
            f"{cls.__name__} is defined in {where}: workers cannot import it; move it to a file, or workers=1"
        )


def code_of(kind: Kind, plugin: Any) -> str:
    """ "" of an installed plugin; else a sha256 of its code, and of an object with state a + and its run.

    Comments, docstrings and layout do not count. Functions, classes and constants of its own module count where they
    are named; other modules do not.
    """
    if is_installed(kind, type(plugin)):
        return ""
    digest = hashlib.sha256("\n".join(_Reading().of_class(type(plugin))).encode()).hexdigest()
    state = vars(plugin).get(_STATE, "") if own_state(kind, plugin) else ""
    return f"{digest}+{state}" if state else digest


def provenance_of(metric: Metric[Any]) -> dict[str, str]:
    """What `Metric.provenance` says, and the code of a metric that is not installed."""
    code = code_of("metric", metric)
    return {**metric.provenance(), **({"code": code} if code else {})}


def code_differs(mine: str, theirs: str) -> list[str]:
    """How two of `code_of` differ, in words; none where they are the same."""
    if mine == theirs:
        return []
    (code, _, _), (other, _, _) = mine.partition("+"), theirs.partition("+")
    if code == other:
        return ["an object with state of its own, which nobody can compare: what makes it belongs into its Options"]
    return [f"the code of the method changed: {code[:8] or 'installed'} -> {other[:8] or 'installed'}"]


class _Reading:
    """The code behind a class as lines of text, each function and class once."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def of_class(self, cls: type[Any]) -> Iterator[str]:
        for one in cls.__mro__:
            module = sys.modules.get(one.__module__)
            top = one.__module__.partition(".")[0]
            released = "site-packages" in str(getattr(module, "__file__", ""))
            if id(one) in self._seen or released or top == HARNESS or top in sys.stdlib_module_names:
                continue
            self._seen.add(id(one))
            yield f"class {one.__qualname__}"
            for name, value in sorted(vars(one).items()):
                yield from self._of(name, value, dunder=name.startswith(("__", "_abc_")))

    def _of(self, name: str, value: Any, *, dunder: bool = False) -> Iterator[str]:
        parts = [getattr(value, part, None) for part in ("__func__", "fget", "fset", "func")]
        functions = [inspect.unwrap(one) for one in (value, *parts) if isinstance(one, FunctionType)]
        for function in functions:
            yield from self._of_function(name, function)
        if not functions and not dunder and isinstance(value, str | bytes | int | float | tuple | frozenset | None):
            text = repr(sorted(value, key=repr) if isinstance(value, frozenset) else value)
            if " at 0x" not in text:
                yield f"{name} = {text}"

    def _of_function(self, name: str, function: FunctionType) -> Iterator[str]:
        if id(function) in self._seen:
            return
        self._seen.add(id(function))
        yield f"{name}: {_text_of(function)}"
        for used in sorted(_names_in(function.__code__)):
            value = function.__globals__.get(used)
            if getattr(value, "__module__", function.__module__) != function.__module__:
                continue
            yield from self.of_class(value) if isinstance(value, type) else self._of(used, value)


def _text_of(function: FunctionType) -> str:
    """Its source without comments and docstrings; its instructions where there is no source."""
    try:
        tree = ast.parse(dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError, TokenError):  # typed at a prompt; a lambda in a line; the file is another
        return _instructions(function.__code__)
    if [getattr(node, "name", "") for node in tree.body] != [function.__name__]:  # other lines: the file is another now
        return _instructions(function.__code__)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and isinstance(node, ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            body[:1] = [ast.Pass()]
    return ast.unparse(tree)


def _instructions(code: CodeType) -> str:
    inner = [_instructions(one) if isinstance(one, CodeType) else repr(one) for one in code.co_consts]
    return f"{code.co_code.hex()} {code.co_names} {code.co_varnames} {inner}"


def _names_in(code: CodeType) -> set[str]:
    inner = (_names_in(one) for one in code.co_consts if isinstance(one, CodeType))
    return set(code.co_names).union(*inner)
