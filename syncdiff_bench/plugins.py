"""Methods, metrics and data sets by name, made with the options that were given."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from syncdiff_bench.contracts import Dataset, Method, Metric, Runtime
from syncdiff_bench.errors import BenchError, UsageError
from syncdiff_bench.faults import contained, described
from syncdiff_bench.options import defaults_to_json, option_names, options_from_values, options_to_json
from syncdiff_bench.registry import Kind, load_class, unusable
from syncdiff_bench.roots import root_again, root_of
from syncdiff_bench.views import AUTO, NAME_SUFFIX, AcceptingDataset, BoxedDataset, PairedDataset

ACCEPT = AcceptingDataset.option[0]

Values = Mapping[str, Any]


def load_method(name: str, options: Values | None = None, runtime: Runtime | None = None) -> Method:
    """The method with these options. Raises UsageError as `load_class`, and for wrong options."""
    return cast("Method", make("method", name, options, runtime))


def default_options(method: str) -> dict[str, Any]:
    """Default options of a method as run.json records them, without the incidental ones; {} if it cannot be loaded."""
    try:
        cls = load_class("method", method)
    except UsageError:
        return {}
    return {name: value for name, value in defaults_to_json(cls.Options).items() if name not in cls.incidental}


def load_metric(name: str, options: Values | None = None, runtime: Runtime | None = None) -> Metric[Any]:
    """The metric with these options. Raises UsageError as `load_class`, and for wrong options."""
    return cast("Metric[Any]", make("metric", name, options, runtime))


def make(kind: Kind, name: str, options: Values | None, runtime: Runtime | None) -> Any:
    """A method or a metric with these options. Raises UsageError as `load_class`, and for wrong options."""
    cls = load_class(kind, name)
    return _construct(kind, name, cls, options_from_values(cls.Options, options or {}, name), runtime)


def dataset_options(name: str, given: Values) -> type[Any]:
    """The Options class of a data set: its own fields, `boxes`, `pairs`, and `accept_damaged` where that is given."""
    own = BoxedDataset.options_with(load_class("dataset", name).Options)
    return PairedDataset.options_with(AcceptingDataset.options_with(own) if ACCEPT in given else own)


DatasetSpec = tuple[str, Path | None, Values]


def dataset_spec(dataset: Dataset) -> DatasetSpec:
    """What `load_dataset` makes it from anew, in another process."""
    return dataset.name, dataset.root, options_to_json(dataset.options)


def load_dataset(name: str, root: Path | None = None, options: Values | None = None) -> Dataset:
    """The data set at `root`, or where `roots` knows it to lie, with these options, perhaps those of a run.json.

    Every data set takes the options of `syncdiff_bench.views` beside its own; run.json names `accept_damaged` where it
    is given.
    Raises UsageError as `load_class`, for wrong options, and as `roots.root_of`.
    """
    options = options or {}
    name = _own_name(name, options)
    cls = load_class("dataset", name)
    found = root_of(cls, root)
    boxed = BoxedDataset.options_with(cls.Options)
    given = options_from_values(dataset_options(name, options), options, name)
    dataset = cast("Dataset", _construct("dataset", name, cls, found and found.folder, _part(given, cls.Options)))
    if boxed is not cls.Options and given.boxes not in ("", AUTO):
        dataset = BoxedDataset(dataset, _part(given, boxed))
    if ACCEPT in options and ACCEPT not in option_names(cls.Options) and given.accept_damaged:
        dataset = AcceptingDataset(dataset, _part(given, AcceptingDataset.options_with(type(dataset.options))))
    return dataset if "pairs" in option_names(cls.Options) or given.pairs is None else PairedDataset(dataset, given)


def load_recorded(name: str, root: Path | None, before: str | None, options: Values) -> Dataset:
    """The data set of a run directory: at `root`, else where it was (`before`), else where it is known to lie now.

    Raises UsageError as `load_dataset`.
    """
    cls = load_class("dataset", _own_name(name, options))
    return load_dataset(name, root_again(cls, root, None if before is None else Path(before)), options)


def _own_name(name: str, options: Values) -> str:
    """Of the data set whose clips are seen as pairs; `name` itself where they are not."""
    return name.removesuffix(NAME_SUFFIX) if options.get("pairs") else name


def _part(given: Any, options: type[Any]) -> Any:
    """Those of the given options that a class has."""
    return options(**{key: getattr(given, key) for key in option_names(options)})


def _construct(kind: Kind, name: str, cls: type[Any], *arguments: Any) -> Any:
    try:
        with contained():
            return cls(*arguments)
    except BenchError:
        raise
    except Exception as error:
        raise unusable(kind, name, described(error)) from error
