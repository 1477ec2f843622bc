"""The drawn world: what its documentation promises about visemes, hidden state and splits."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from syncdiff_bench.contracts import Spoken
from syncdiff_bench.errors import UsageError
from syncdiff_datasets.pocket.articulation import PARAMETERS, VISEMES, articulate, visemes_of
from syncdiff_datasets.pocket.drawing import Mouth, draw_frame, face_box
from syncdiff_datasets.pocket.grammar import SLOTS, VOCABULARY, draw_sentence, split_of
from syncdiff_datasets.pocket.persona import Motion, Persona, draw_motion, draw_persona


@pytest.fixture(scope="module")
def speaker() -> tuple[Persona, Motion]:
    rng = np.random.default_rng(4)
    persona = draw_persona("train", rng)
    return persona, draw_motion(persona, 4, rng)


def shape_of(name: str) -> Mouth:
    v = VISEMES[name]
    return Mouth(v.opening, v.width, v.rounding, v.teeth, v.tongue, v.tuck, smile=0.0, skew=0.0, jaw=0.0, tension=0.0)


def test_vocabulary_is_the_grid_corpus() -> None:
    assert [len(slot) for slot in SLOTS] == [4, 4, 4, 25, 10, 4]
    assert len(VOCABULARY) == 51


def test_every_sentence_belongs_to_one_split() -> None:
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        sentences = {draw_sentence(split, rng) for _ in range(50)}
        assert {split_of(sentence) for sentence in sentences} == {split}


def test_visemes_look_different(speaker: tuple[Persona, Motion]) -> None:
    """Any two visemes differ: 0.8 grey levels and more, averaged over the whole lower face."""
    persona, motion = speaker
    pictures = {name: draw_frame(persona, motion, shape_of(name), 0).astype(int)[85:145, 45:115] for name in VISEMES}
    closest = min(
        (float(np.abs(pictures[a] - pictures[b]).mean()), a, b) for a, b in itertools.combinations(VISEMES, 2)
    )
    assert closest[0] > 0.8, closest


def test_hidden_state_shows_in_the_lower_half_only(speaker: tuple[Persona, Motion]) -> None:
    persona, motion = speaker
    calm = shape_of("mid-front")
    moved = replace(calm, smile=0.8, skew=0.5, jaw=0.01, tension=0.6)
    a, b = (draw_frame(persona, motion, mouth, 0).astype(int) for mouth in (calm, moved))
    _, y1, _, y2 = face_box(persona, motion, 0)
    middle = (y1 + y2) // 2
    assert np.abs(a - b)[middle:y2].mean() > 1
    np.testing.assert_array_equal(a[:middle], b[:middle])


def test_face_box_does_not_give_the_opening_away(speaker: tuple[Persona, Motion]) -> None:
    persona, motion = speaker
    x1, y1, x2, y2 = face_box(persona, motion, 0)
    # The chin of a wide-open mouth stays in the lower half of the box: what moves is what was blanked.
    shut, wide = (draw_frame(persona, motion, shape_of(name), 0).astype(int) for name in ("bilabial", "open"))
    changed = np.argwhere(np.abs(shut - wide).sum(axis=2) > 0)
    assert (y1 + y2) // 2 <= changed[:, 0].min()
    assert changed[:, 0].max() < y2
    assert x1 <= changed[:, 1].min()
    assert changed[:, 1].max() < x2


def test_closures_close_between_open_vowels() -> None:
    phones = [Spoken("a", 0.1, 0.25), Spoken("p", 0.25, 0.33), Spoken("a", 0.33, 0.48)]
    times = np.array([0.165, 0.275, 0.385])
    opening = articulate(phones, times)[:, PARAMETERS.index("opening")]
    assert opening[1] < 0.15
    assert min(opening[0], opening[2]) > 0.6


def test_rounding_spreads_to_its_neighbours() -> None:
    """Co-articulation: an /s/ before /u:/ is rounder than one before /i:/."""
    times = np.array([0.14])
    rounding = [
        articulate([Spoken("s", 0.1, 0.18), Spoken(vowel, 0.18, 0.35)], times)[0, PARAMETERS.index("rounding")]
        for vowel in ("u:", "i:")
    ]
    assert rounding[0] > rounding[1] + 0.05


def test_diphthongs_move() -> None:
    start, end = articulate([Spoken("'aI", 0.1, 0.4)], np.array([0.16, 0.32]))[:, PARAMETERS.index("opening")]
    assert start > end + 0.2


def test_an_unknown_phone_is_named() -> None:
    with pytest.raises(UsageError, match="'qq'"):
        visemes_of("qq")


def test_motion_is_a_function_of_the_generator(speaker: tuple[Persona, Motion]) -> None:
    persona, _ = speaker
    first, second = (draw_motion(persona, 30, np.random.default_rng(9)) for _ in range(2))
    np.testing.assert_array_equal(first.smile, second.smile)
    assert np.abs(first.smile - draw_motion(persona, 30, np.random.default_rng(10)).smile).max() > 0.05


def test_train_and_test_never_share_a_voice() -> None:
    rng = np.random.default_rng(0)
    voices = {split: {draw_persona(split, rng).voice.name for _ in range(200)} for split in ("train", "test")}
    assert len(voices["train"]) > 30
    assert not voices["train"] & voices["test"]


def test_no_group_of_splits_shares_a_voice_with_another() -> None:
    """Whoever tests has other voices than whoever trains, and speech of elsewhere others than both."""
    rng = np.random.default_rng(1)
    voices = [
        {draw_persona(split, rng).voice.name for split in splits for _ in range(200)}
        for splits in (("train", "val"), ("test", "ablation"), ("speech",))
    ]
    assert min(map(len, voices)) > 10
    for mine, theirs in itertools.combinations(voices, 2):
        assert not mine & theirs


def test_speech_of_elsewhere_has_words_of_its_own() -> None:
    rng = np.random.default_rng(2)
    words = {word for _ in range(100) for word in draw_sentence("speech", rng).split()}
    assert words & set(VOCABULARY) == {"a"}  # the letter there, the article here
    assert {split_of(draw_sentence("ablation", rng)) for _ in range(20)} == {"test"}
