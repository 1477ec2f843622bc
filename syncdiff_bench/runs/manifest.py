"""run.json: the identity of a run, and with what and when it was made."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.contracts import WeightsUsed
from syncdiff_bench.given import code_differs
from syncdiff_bench.platforms import processor_name
from syncdiff_bench.runs.records import SCHEMA

# Distributions that can move a number.
VERSIONED = ("syncdiff-bench", "torch", "diffusers", "numpy", "scipy", "scikit-image", "av")
# FFmpeg's libraries inside PyAV: what is decoded, scaled to RGB, resampled, and which packets there are.
DECODERS = ("libavcodec", "libavformat", "libavfilter", "libswscale", "libswresample")

# The encoding of videos that somebody else wrote.
AS_GIVEN = "as given"


@dataclass(frozen=True)
class Identity:
    """What makes two runs the same run. A run directory belongs to one identity for good.

    options, dataset_options: canonical records (`options_to_json`).
    root: where the dataset was; recorded, but not part of the identity.
    boxes: where the face boxes come from (`views.boxes_of_clips`); None where that is not known, or nobody asked.
    topline: the method is a bound (ground truth), not a rival.
    trained_against: metrics whose scoring network was also a training loss; in run.json only where there are some.
    caveats: what the method says of all that it makes; in run.json only where there are some.
    code: of a method that is not installed (`given.code_of`); in run.json only of such a one.
    """

    method: str
    options: Mapping[str, Any]
    weights: tuple[WeightsUsed, ...]
    dataset: str
    split: str
    fingerprint: str
    clips: tuple[str, ...]
    dataset_options: Mapping[str, Any]
    seed: int
    encoding: str
    boxes: str | None = None
    code: str = ""
    title: str = field(default="", compare=False)
    topline: bool = field(default=False, compare=False)
    trained_against: frozenset[str] = field(default=frozenset(), compare=False)
    caveats: tuple[Caveat, ...] = field(default=(), compare=False)
    root: str | None = field(default=None, compare=False)

    @property
    def aligned(self) -> bool:
        """Whether given videos are compared face by face, each cut by its own boxes (`score --align faces`)."""
        return self.options.get("align") == "faces"

    def to_json(self) -> dict[str, Any]:
        return {
            "method": {
                "name": self.method,
                "title": self.title,
                "options": dict(self.options),
                "weights": [weights.to_json() for weights in self.weights],
                "topline": self.topline,
                **({"code": self.code} if self.code else {}),
                **({"trained_against": sorted(self.trained_against)} if self.trained_against else {}),
                **({"caveats": [asdict(one) for one in self.caveats]} if self.caveats else {}),
            },
            "dataset": {
                "name": self.dataset,
                "split": self.split,
                "root": self.root,
                "options": dict(self.dataset_options),
                "fingerprint": self.fingerprint,
                "clips": list(self.clips),
                **({} if self.boxes is None else {"boxes": self.boxes}),
            },
            "seed": self.seed,
            "encoding": self.encoding,
        }

    @classmethod
    def from_json(cls, manifest: Mapping[str, Any]) -> Identity:
        """Of a `schema.RunRecord`, or another that is held to have a method and a dataset."""
        method, dataset = manifest["method"], manifest["dataset"]
        return cls(
            method=method["name"],
            options=method["options"],
            weights=tuple(WeightsUsed(**weights) for weights in method["weights"]),
            dataset=dataset["name"],
            split=dataset["split"],
            fingerprint=dataset["fingerprint"],
            clips=tuple(map(sys.intern, dataset["clips"])),  # lines of journals name them again
            dataset_options=dataset["options"],
            seed=manifest["seed"],
            encoding=manifest["encoding"],
            boxes=_boxes_of(manifest),
            code=method.get("code", ""),
            title=method["title"],
            topline=method["topline"],
            trained_against=frozenset(method.get("trained_against", ())),
            caveats=tuple(Caveat(**one) for one in method.get("caveats", ())),
            root=dataset["root"],
        )

    def differences(self, other: Identity) -> list[str]:
        """How `other` departs from this identity, in words: "seed 0 -> 1"."""
        found = []
        for name in ("method", "dataset", "split", "seed", "encoding"):
            found += _changed(name, getattr(self, name), getattr(other, name))
        found += _changed_options("option", self.options, other.options)
        found += code_differs(self.code, other.code)
        # What was asked for as boxes is one thing, and which ones they are the other; the latter decides.
        mine, theirs = ({k: v for k, v in one.dataset_options.items() if k != "boxes"} for one in (self, other))
        found += _changed_options("dataset option", mine, theirs)
        if None not in (self.boxes, other.boxes):
            found += _changed("boxes", self.boxes, other.boxes)
        found += _changed_weights(self.weights, other.weights)
        if self.clips != other.clips:
            same_number = len(self.clips) == len(other.clips)
            found += ["other clips"] if same_number else _changed("clips", len(self.clips), len(other.clips))
        # With other clips the fingerprint differs of necessity and explains nothing.
        elif self.fingerprint != other.fingerprint:
            files = f"{self.fingerprint[:8]} -> {other.fingerprint[:8]}"
            found.append(f"the files of the clips changed: dataset fingerprint {files}")
        return found


def _boxes_of(manifest: Mapping[str, Any]) -> str | None:
    """Of a run whose boxes nobody asked for it does not matter where they come from."""
    used = manifest.get("boxes")
    recorded = manifest["dataset"].get("boxes")
    if recorded is not None:
        return None if used == {} else str(recorded)
    # Versions that recorded nothing else counted the sources; files they did not tell apart.
    return next(iter(used)) if used and len(used) == 1 and not {"file", "unreadable"} & used.keys() else None


def _changed(name: str, mine: Any, theirs: Any) -> list[str]:
    return [] if mine == theirs else [f"{name} {mine} -> {theirs}"]


def _changed_options(label: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    keys = dict.fromkeys([*mine, *theirs])
    return [change for key in keys for change in _changed(f"{label} {key}", mine.get(key), theirs.get(key))]


def _changed_weights(mine: Iterable[WeightsUsed], theirs: Iterable[WeightsUsed]) -> list[str]:
    """Only those that differ; a name may occur twice."""
    left, right = Counter(mine), Counter(theirs)
    gone, new = (", ".join(f"{one.name} {one.sha256[:8]}" for one in some) for some in (left - right, right - left))
    return _changed("weights", gone or "none", new or "none")


def new_manifest(identity: Identity, device: str) -> dict[str, Any]:
    """The run.json of a run that is about to start."""
    return {
        "schema": SCHEMA,
        **identity.to_json(),
        "protocols": [],
        "versions": versions(),
        "hardware": hardware(device),
        "started": now(),
        "finished": None,
        "notes": {},
        "boxes": None,
        "caveats": [],
        "summary": [],
    }


def now() -> str:
    """UTC, to the second, ISO 8601."""
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Python, the installed distributions that can move a number, and the decoders inside PyAV."""
    import av

    found = {name: _installed(name) for name in VERSIONED}
    decoders = {name: ".".join(map(str, av.library_versions[name])) for name in DECODERS}
    return {"python": platform.python_version(), **{name: found[name] for name in found if found[name]}, **decoders}


@cache  # the search of sys.path takes longer than a small run, and what is imported stays as it is
def _installed(name: str) -> str:
    """The version of a distribution; "" where there is none."""
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def decoders_differ(mine: Mapping[str, str], theirs: Mapping[str, str]) -> str:
    """Which decoders of two runs' `versions` differ, in words, as far as both recorded them; "" where none does.

    FFmpeg's third number counts changes that do not alter what comes out.
    """
    found = []
    for name in DECODERS:
        a, b = mine.get(name), theirs.get(name)
        if a and b and a.rpartition(".")[0] != b.rpartition(".")[0]:
            found.append(f"{name} {a} against {b}")
    return f"decoded by {', '.join(found)}: pixels and samples may differ" if found else ""


def hardware(device: str) -> dict[str, Any]:
    """Machine, processor, cores and device; the name of the GPU where one is used."""
    facts: dict[str, Any] = {
        "device": device,
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu": processor_name(),
        "cores": os.cpu_count(),
    }
    torch = sys.modules.get("torch")
    if torch is not None and device.startswith("cuda") and torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name(device)
    return facts
