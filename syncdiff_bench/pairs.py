"""What a metric looks at: a generated clip beside its reference."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass
from typing import Any, TypeVar

from numpy.typing import ArrayLike

from syncdiff_bench.clips import Clip
from syncdiff_bench.errors import UsageError
from syncdiff_bench.faults import contained

ResultT = TypeVar("ResultT")


@dataclass(frozen=True, eq=False)
class Pair:
    """What a metric looks at: a generated clip and, where there is one, its reference.

    Boxes and transcript are those of the reference (of the generated clip where there is no reference).
    """

    generated: Clip
    reference: Clip | None = None

    @classmethod
    def given(
        cls, generated: ArrayLike | Clip, reference: ArrayLike | Clip | None, *, audio: Any, boxes: Any, transcript: Any
    ) -> Pair:
        """Of clips, or of arrays as `Metric.__call__` says. Raises UsageError."""
        own = {"boxes": boxes, "transcript": transcript}
        theirs = None if reference is None else _clip(reference, "reference", own)
        return cls(_clip(generated, "generated", {"audio": audio, **(own if theirs is None else {})}), theirs)

    @property
    def target(self) -> Clip:
        """What should be seen and said: the reference, where there is one."""
        return self.generated if self.reference is None else self.reference

    @property
    def truth(self) -> Clip:
        """`target` by its older name."""
        return self.target

    def lacking(self, requires: Set[str]) -> str:
        """Which of `Metric.requires` is not there, and how a call gives it; "" where all is."""
        if "reference" in requires and self.reference is None:
            return "a reference to compare with; give its frames as the second argument"
        if "transcript" in requires and self.target.transcript is None:
            return "what is said; give transcript='...'"
        if "audio" in requires and not len(self.generated.audio):
            return "the sound of the video; give audio=, (N,) int16 mono at 16 kHz"
        return ""


def _clip(of: ArrayLike | Clip, name: str, own: Mapping[str, Any]) -> Clip:
    given = {key: value for key, value in own.items() if value is not None}
    if not isinstance(of, Clip):
        return Clip.of_arrays(of, clip_id=name, **given)
    if given:
        raise UsageError(
            f"{', '.join(given)}: {name} is a clip, which has its own; give arrays, or Clip.of_arrays(...)"
        )
    return of


def attempt(function: Callable[[Pair], ResultT], pair: Pair) -> ResultT | Exception:
    """What a function makes of a pair, or the exception that it raises: one pair must not cost its mates."""
    try:
        with contained():
            return function(pair)
    except Exception as error:
        return error
