"""The sentences of pocket: the six-word grammar of the GRID corpus, split so that no test sentence is trained on.

Source: Cooke et al., "An audio-visual corpus for speech perception and automatic speech recognition", 2006. The split
`speech`, from which an audio encoder may learn beforehand, has a grammar of its own, of everyday words.
"""

from __future__ import annotations

import hashlib
from typing import Literal

import numpy as np

Split = Literal["train", "val", "test", "ablation", "speech"]

COMMANDS = ("bin", "lay", "place", "set")
COLOURS = ("blue", "green", "red", "white")
PREPOSITIONS = ("at", "by", "in", "with")
LETTERS = tuple("abcdefghijklmnopqrstuvxyz")  # no w: three syllables
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ADVERBS = ("again", "now", "please", "soon")

SLOTS = (COMMANDS, COLOURS, PREPOSITIONS, LETTERS, DIGITS, ADVERBS)
SPEECH_SLOTS = (
    ("the", "my", "every", "your", "our", "some"),
    ("young", "quick", "lazy", "happy", "tall", "small", "brave", "clever", "thirsty", "quiet"),
    ("farmer", "teacher", "doctor", "singer", "sailor", "baker", "mother", "uncle", "judge", "painter"),
    ("found", "bought", "carried", "watched", "moved", "sold", "showed", "chose", "fed", "washed"),
    ("the", "many", "few", "our", "their", "those"),
    ("boats", "horses", "apples", "chairs", "books", "wolves", "jackets", "bridges", "fish", "yellow flowers"),
    ("near", "behind", "under", "beside", "before", "through"),
    (
        "the river",
        "a garden",
        "the village",
        "her house",
        "the old church",
        "a thick forest",
        "the measure",
        "this school",
    ),
)
VOCABULARY = tuple(sorted({word for slot in SLOTS for word in slot}))  # 51 words


def split_of(sentence: str) -> Split:
    """The one split that may use a GRID sentence: decided by its digest, 10 % test, 10 % val, the rest train."""
    bucket = hashlib.sha256(sentence.encode()).digest()[0]
    if bucket < 26:
        return "test"
    return "val" if bucket < 52 else "train"


def draw_sentence(split: Split, rng: np.random.Generator) -> str:
    """A random sentence of a split, lower case, words separated by single spaces; `ablation` says test sentences."""
    slots, wanted = (SPEECH_SLOTS, split) if split == "speech" else (SLOTS, "test" if split == "ablation" else split)
    while True:
        sentence = " ".join(slot[rng.integers(len(slot))] for slot in slots)
        if split == "speech" or split_of(sentence) == wanted:
            return sentence
