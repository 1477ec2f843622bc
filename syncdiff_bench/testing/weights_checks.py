"""What a plugin says about its weights: that they are missing where they are, and which file a number rests on."""

from __future__ import annotations

import re
from typing import Any
from weakref import WeakKeyDictionary

from syncdiff_bench.contracts import Method, Metric
from syncdiff_bench.errors import BenchError, NotApplicable, WeightsError
from syncdiff_bench.testing.checks import Plugin, Skipped

SHA256 = re.compile(r"[0-9a-f]{64}")

# Looking again may mean another attempt to fetch a large file.
_unready: WeakKeyDictionary[Metric[Any], BenchError] = WeakKeyDictionary()


def check_weights_used(plugin: Method | Metric[Any]) -> None:
    """`weights_used` names each file with the sha256 of its bytes: one of the weights store, or `file` says where."""
    from syncdiff_bench.weights.digests import sha256_of

    if isinstance(plugin, Metric):
        prepare(plugin)
    store = _store(plugin)
    for used in plugin.weights_used():
        assert used.name, f"{used} has no name"
        assert isinstance(used.sha256, str) and SHA256.fullmatch(used.sha256), (
            f"weights {used.name}: {used.sha256!r} is no sha256 (64 hexadecimal digits, lower case)"
        )
        file = used.file
        if file is None:
            assert used.name in store.catalogue.entries, (
                f"weights {used.name}: no catalogue knows the name, so nothing shows that {used.sha256[:12]}... is the "
                "digest of a file; say where it is: WeightsUsed(name, sha256, file)"
            )
            file = store.folder / store.catalogue[used.name].file
        assert file.is_file(), f"weights {used.name}: {file} is not there, so nobody can have used it"
        found = sha256_of(file)
        assert used.sha256 == found, f"weights {used.name}: {used.sha256[:12]}... is not the sha256 of {file}: {found}"


def prepare(metric: Metric[Any]) -> None:
    """Raises WeightsError as the metric does, Skipped where it says that it is not applicable here."""
    try:
        if metric in _unready:
            raise _unready[metric]
        metric.prepare()
    except NotApplicable as error:
        _unready[metric] = error
        raise Skipped(one_line(error)) from None
    except WeightsError as error:
        _unready[metric] = error
        raise


def truly_missing(error: WeightsError, plugin: Plugin) -> str:
    """The reason why a check is skipped. Raises AssertionError where nothing that could be fetched is missing."""
    name, store = error.missing, _store(plugin)
    assert name in store.catalogue.entries, (
        f"says that weights {name!r} are missing, which no catalogue knows: register a weights.toml ({one_line(error)})"
    )
    file = store.folder / store.catalogue[name].file
    assert not file.is_file(), f"says that weights {name} are missing, but {file} is there ({one_line(error)})"
    return one_line(error)


def one_line(error: BaseException) -> str:
    """Raises AssertionError where there is no reason, or one of several lines."""
    reason = str(error).strip()
    assert reason, f"{type(error).__name__} gives no reason"
    assert "\n" not in reason, f"the reason has several lines: {reason}"
    return reason


def _store(plugin: Plugin) -> Any:
    from syncdiff_bench.weights.store import WeightsStore

    runtime = getattr(plugin, "runtime", None)
    return WeightsStore() if runtime is None or runtime.weights is None else runtime.weights
