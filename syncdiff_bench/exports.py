"""The names that a package offers: imported at their first use, listed by `dir()`, TAB and `help()`."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from types import ModuleType
from typing import Any


def offered(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package. names: name -> the module that has it.

    Beside its `__init__.py` a package has an `__init__.pyi` with the same names, which is what type checkers read: to
    them every name would be there otherwise, the misspelt ones too.
    """

    def __getattr__(name: str) -> Any:  # noqa: N807
        if name in names:
            return getattr(import_module(names[name]), name)
        from difflib import get_close_matches

        close = [] if name.startswith("_") else get_close_matches(name, names, n=1)
        mend = f"; did you mean {close[0]!r}?" if close else ""
        raise AttributeError(f"module {package!r} has no attribute {name!r}{mend}")

    def __dir__() -> list[str]:  # noqa: N807
        own = vars(sys.modules[package])
        return sorted({*own, *names, *own["__all__"]} - {"offered"})

    class Package(ModuleType):
        """Importing a module of the name of a function (`report`) would put it in the place of that function."""

        def __setattr__(self, name: str, value: Any) -> None:
            if not (name in names and isinstance(value, ModuleType)):
                super().__setattr__(name, value)

    sys.modules[package].__class__ = Package
    return __getattr__, __dir__
