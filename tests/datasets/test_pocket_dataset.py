"""The shipped test split, read by LRS2's code, and its redrawing where eSpeak is installed."""

from __future__ import annotations

import importlib.util
import multiprocessing
import time
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.errors import UsageError
from syncdiff_datasets.lrs import LRS2
from syncdiff_datasets.pocket.articulation import PHONE_VISEMES
from syncdiff_datasets.pocket.dataset import SHIPPED, Pocket
from syncdiff_datasets.pocket.grammar import split_of
from syncdiff_datasets.pocket.persona import draw_persona
from syncdiff_datasets.pocket.speech import arpabet
from syncdiff_datasets.pocket.world import DrawnClip, Recipe, draw_clip, recipes


@pytest.fixture
def pocket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pocket:
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path))
    return Pocket()


def test_shipped_split(pocket: Pocket) -> None:
    ids = pocket.clip_ids("test")
    assert ids == tuple(recipe.id for recipe in recipes("test"))
    assert len(ids) == 24
    speakers = {pocket.clip(clip_id).speaker for clip_id in ids}
    assert len(speakers) == 12


def test_shipped_split_is_small() -> None:
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size < 2_000_000


def test_lrs2_reads_it_too() -> None:
    assert LRS2(SHIPPED).clip_ids("test") == Pocket(SHIPPED).clip_ids("test")


def test_verify_finds_nothing_wrong(pocket: Pocket) -> None:
    assert [finding for finding in pocket.verify("test") if finding.level == "error"] == []


def test_a_clip_is_whole(pocket: Pocket) -> None:
    clip = pocket.clip(pocket.clip_ids("test")[3])
    n = len(clip.frames)
    assert clip.frames.shape == (n, 160, 160, 3)
    assert len(clip.audio) == 640 * n
    assert clip.media.notes == ()
    assert clip.face_boxes.source == "file"
    assert clip.transcript is not None
    assert split_of(clip.transcript) == "test"


def test_phones_sound_when_they_say(pocket: Pocket) -> None:
    """Speech is at least 20 dB louder inside the phones than before the first one."""
    clip_id = pocket.clip_ids("test")[0]
    rows = (SHIPPED / "mvlrs_v1" / "phones" / f"{clip_id}.txt").read_text().splitlines()
    start, end = float(rows[0].split()[0]), float(rows[-1].split()[1])
    audio = pocket.clip(clip_id).audio.astype(float)
    speech = audio[int(16000 * start) : int(16000 * end)]
    before = audio[: int(16000 * (start - 0.03))]
    assert 20 * np.log10(speech.std() / before.std()) > 20


def test_every_phone_has_a_name_in_plain_letters(pocket: Pocket) -> None:
    """The ARPABET of CMUdict, TIMIT's flap, schwa, syllabic l and glottal stop included."""
    cmudict = "AA AE AH AO AW AY B CH D DH EH ER EY F G HH IH IY JH K L M N NG OW OY P R S SH T TH UH UW V W Y Z ZH"
    known = {*cmudict.split(), "DX", "AX", "EL", "Q"}
    assert {arpabet(phone) for phone in PHONE_VISEMES} == known
    labels = [[spoken.label for spoken in pocket.clip(clip_id).spoken] for clip_id in pocket.clip_ids("test")]
    assert all(set(clip) <= known for clip in labels)
    # "place white at l six soon", as CMUdict has it.
    assert " ".join(labels[0]) == "P L EY S W AY T AE T EH L S IH K S S UW N"


def test_a_split_that_is_not_drawn_says_how(pocket: Pocket) -> None:
    assert pocket.splits() == ("test",)
    with pytest.raises(UsageError, match="data prepare splits --dataset pocket --split train"):
        pocket.clip_ids("train")
    with pytest.raises(UsageError, match="no split 'tset'"):
        pocket.clip_ids("tset")


def _draw_in_own_process(recipe: Recipe) -> DrawnClip:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(draw_clip, (recipe,))


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="needs the extra 'pocket'")
def test_redrawing_gives_the_shipped_clip(pocket: Pocket) -> None:
    recipe = recipes("test")[5]
    drawn, shipped = _draw_in_own_process(recipe), pocket.clip(recipe.id)
    assert drawn.sentence == shipped.transcript
    np.testing.assert_array_equal(drawn.boxes, shipped.face_boxes.boxes)
    assert drawn.media.frames.shape == shipped.frames.shape
    error = (drawn.media.frames.astype(float) - shipped.frames) ** 2
    assert 10 * np.log10(255**2 / error.mean()) > 36  # H.264 lies between
    drawn_sound, shipped_sound = drawn.media.audio.astype(float), shipped.audio.astype(float)
    assert np.corrcoef(drawn_sound, shipped_sound)[0, 1] > 0.95  # AAC lies between


@pytest.mark.skipif(importlib.util.find_spec("espeakng_loader") is None, reason="needs the extra 'pocket'")
def test_a_voice_with_breath_breathes_alike_at_any_time_of_day() -> None:
    """eSpeak seeds the breath of some voices with the clock: seconds between two drawings must not be heard."""
    recipe = recipes("val")[6]
    assert draw_persona("val", recipe.generator(of_speaker=True)).voice.name == "en-029+f2"
    first = _draw_in_own_process(recipe)
    time.sleep(1.1)
    np.testing.assert_array_equal(first.media.audio, _draw_in_own_process(recipe).media.audio)
