"""What a reader would want to know before believing a number: a guess, a conversion, a subset, damaged input.

The part that notices it (media, face boxes, a method, a metric) adds a `Caveat` to the clip; a run counts them, and
every table prints the counts below its numbers (docs/protocols.md, Caveats).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from operator import index
from typing import Any

MOST_SENTENCES = 5  # of one kind, below a table


@dataclass(frozen=True)
class Caveat:
    """One thing about one clip.

    kind: a stable slug for scripts: "retimed", "length", "guessed-boxes".
    sentence: what holds of every clip of this kind, to stand behind "3 of 40 clips: ". `{most}` in it becomes the
        largest `amount` of these clips, `{sum}` their sum.
    detail: about this clip, "" where the sentence says it all.

    Raises TypeError for words that are no text, and for an amount that is no whole number (numpy's are).
    """

    kind: str
    sentence: str
    detail: str = ""
    amount: int = 0

    def __post_init__(self) -> None:
        for name in ("kind", "sentence", "detail"):
            value = getattr(self, name)
            if not isinstance(value, str):
                raise TypeError(f"the {name} of a caveat is {value!r}, no text")
        try:
            object.__setattr__(self, "amount", index(self.amount))
        except TypeError:
            raise TypeError(f"the amount of the caveat {self.kind!r} is {self.amount!r}, no whole number") from None

    @property
    def text(self) -> str:
        """For a list of what happened to this clip."""
        return self.detail or self.sentence

    @property
    def alone(self) -> str:
        """All that it says of this clip.

        >>> Caveat("length", "up to {most} frames shorter", "584 of 588 frames", 4).alone
        'up to 4 frames shorter (584 of 588 frames)'
        """
        sentence = _filled(self.sentence, [self.amount])
        return f"{sentence} ({self.detail})" if self.detail else sentence


@dataclass(frozen=True)
class Counted:
    """A caveat of a run.

    clips: whom it is about, in the run's order; none for one about the run as a whole. total: clips of the run.
    metric, protocol: whose column alone it is about, "" for all of them. example: the detail of the first clip.
    """

    kind: str
    sentence: str
    clips: tuple[str, ...] = ()
    total: int = 0
    metric: str = ""
    protocol: str = ""
    example: str = ""

    @property
    def text(self) -> str:
        """One line, to stand below a table.

        >>> Counted("retimed", "retimed to 25 fps", ("a", "b"), 40, example="retimed 30 -> 25 fps").text
        '2 of 40 clips: retimed to 25 fps (a: retimed 30 -> 25 fps)'
        """
        column = f"{self.metric} ({self.protocol})" if self.metric else ""
        if not self.clips:
            return f"{column}: {self.sentence}" if column else self.sentence
        count = f"{len(self.clips)} of {self.total} clips"
        example = f" ({self.clips[0]}: {self.example})" if self.example else ""
        return f"{column + ', ' if column else ''}{count}: {self.sentence}{example}"

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "clips": list(self.clips)}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Counted:
        """Of an entry that was held to this class (`documents.check`)."""
        return cls(**{**entry, "clips": tuple(entry.get("clips", ()))})


Groups = dict[tuple[str, str], dict[str, Caveat]]


def as_caveats(said: Any) -> tuple[Caveat, ...]:
    """What a plugin says, held to be caveats. Raises TypeError for anything else.

    >>> as_caveats("resized")
    Traceback (most recent call last):
    TypeError: caveats are a str ('resized'), not a sequence of Caveat
    """
    if isinstance(said, str) or not isinstance(said, Iterable):
        raise TypeError(f"caveats are a {type(said).__name__} ({said!r}), not a sequence of Caveat")
    found = tuple(said)
    for one in found:
        if not isinstance(one, Caveat):
            raise TypeError(f"caveats hold a {type(one).__name__} ({one!r}), not a Caveat")
    return found


def counted(
    found: Mapping[str, Iterable[Caveat]], total: int, *, metric: str = "", protocol: str = ""
) -> tuple[Counted, ...]:
    """The caveats of clips, by kind and sentence, in the order in which they first occur.

    found: clip id -> what was noticed about it. total: clips of the run.

    >>> short = "up to {most} frames shorter than the reference"
    >>> (one,) = counted({"a": [Caveat("length", short, "584 of 588 frames", 4)], "b": []}, 2)
    >>> one.text
    '1 of 2 clips: up to 4 frames shorter than the reference (a: 584 of 588 frames)'
    """
    groups: Groups = {}
    for clip, caveats in found.items():
        for caveat in caveats:
            groups.setdefault((caveat.kind, caveat.sentence), {}).setdefault(clip, caveat)
    groups = _folded(groups)
    return tuple(
        Counted(
            kind,
            _filled(sentence, [one.amount for one in of_clips.values()]),
            tuple(of_clips),
            total,
            metric,
            protocol,
            next(iter(of_clips.values())).detail,
        )
        for (kind, sentence), of_clips in groups.items()
    )


def _folded(groups: Groups) -> Groups:
    """One group for a kind of which nearly every clip says something else: a table has no room for a line per clip."""
    ways = Counter(kind for kind, _ in groups)
    folded: Groups = {}
    for (kind, sentence), of_clips in groups.items():
        if ways[kind] <= MOST_SENTENCES:
            folded[kind, sentence] = of_clips
            continue
        ones = folded.setdefault((kind, f"{kind}, in {ways[kind]} ways"), {})
        for clip, one in of_clips.items():
            ones.setdefault(clip, replace(one, detail=one.alone))
    return folded


def _filled(sentence: str, amounts: list[int]) -> str:
    return sentence.replace("{most}", str(max(amounts))).replace("{sum}", str(sum(amounts)))


def recorded(manifest: Mapping[str, Any]) -> tuple[Counted, ...]:
    """The caveats in a run.json. Of a version that recorded none it is said that they are unknown.

    Raises KeyError or TypeError for entries that are none.
    """
    if "caveats" in manifest:
        return tuple(Counted.from_json(entry) for entry in manifest["caveats"])
    total = len(manifest["dataset"].get("clips") or ())
    subsets = {(e["metric"], e["protocol"]): e["n"] for e in manifest["summary"] if 0 < e["n"] < total}
    return (
        Counted(UNRECORDED.kind, UNRECORDED.sentence),
        *(Counted("subset", f"over {n} of {total} clips", (), total, *key) for key, n in subsets.items()),
    )


UNRECORDED = Caveat("unrecorded", "made by a version that did not record guesses, conversions and damage: unknown")
