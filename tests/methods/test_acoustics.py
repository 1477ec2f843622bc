"""The small recogniser: features and alphabet in closed form, padding, its training, and what the shipped one hears."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import jiwer
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from python_speech_features import mfcc

from syncdiff_bench.contracts import Clip
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.origins import write_origin
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.acoustics.network import (
    ALPHABET,
    BLANK,
    CONTEXT,
    INPUTS,
    PocketRecogniser,
    Recogniser,
    RecogniserConfig,
    coefficients,
    context_rows,
    load_recogniser,
    save_recogniser,
    scores_of,
    spelled,
    symbols_of,
)
from syncdiff_methods.acoustics.training import RecogniserTask, TrainedRecogniser
from syncdiff_methods.syncdiff.audio import (
    acoustic_model,
    acoustic_weights,
    clip_windows,
    foreign_acoustic_model,
    score_windows,
)

SMALL = ("data.split=test", "data.validation_split=test", "options.network.width=16", "training.batch_size=2")


def task_of(tmp_path: Path, *overrides: str) -> RecogniserTask:
    task = load_task(read_plan("acoustics/pocket-acoustics", (*SMALL, *overrides)), None, tmp_path, "cpu")
    assert isinstance(task, RecogniserTask)
    return task


def scores_for(symbols: list[int]) -> np.ndarray:  # type: ignore[type-arg]
    return np.eye(29, dtype=np.float32)[symbols]


# ------------------------------------------------------------------------------------ features and text


def test_coefficients_are_every_second_row_of_26_mfcc() -> None:
    audio = (3000 * np.sin(np.arange(16_000) * 0.2)).astype(np.int16)
    rows = mfcc(audio, 16_000, numcep=26)
    found = coefficients(audio)
    assert found.shape == (50, 26) and found.dtype == np.float32
    expected = rows[::2]
    np.testing.assert_allclose(found, (expected - expected.mean()) / expected.std(), rtol=1e-4, atol=1e-5)
    assert abs(float(found.mean())) < 1e-5


def test_a_row_stands_between_its_nine_neighbours_on_either_side() -> None:
    rows = torch.arange(1, 31).float()[:, None].expand(30, 26)
    around = context_rows(rows)
    assert around.shape == (30, INPUTS)
    first_coefficients = around.view(30, 2 * CONTEXT + 1, 26)[:, :, 0]
    assert first_coefficients[12].tolist() == list(range(4, 23))
    assert first_coefficients[0].tolist() == [0.0] * 9 + list(range(1, 11))
    assert first_coefficients[29].tolist() == list(range(21, 31)) + [0.0] * 9


def test_the_alphabet_is_that_of_deepspeech() -> None:
    assert len(ALPHABET) == BLANK == 28
    assert symbols_of("Ab z'9") == [1, 2, 0, 26, 27]


def test_repetitions_are_one_letter_unless_a_blank_parts_them() -> None:
    a, b = symbols_of("ab")
    assert spelled(scores_for([BLANK, a, a, b, b, BLANK, b, 0, a])) == "abb a"
    assert spelled(scores_for([BLANK, BLANK])) == ""


# --------------------------------------------------------------------------------------------- network


def test_padding_and_batch_mates_change_nothing() -> None:
    torch.manual_seed(0)
    network = Recogniser(RecogniserConfig(width=16)).eval()
    long, short = torch.randn(40, INPUTS), torch.randn(23, INPUTS)
    both = torch.nn.utils.rnn.pad_sequence([long, short], batch_first=True)
    both[1, 23:] = 7.0
    together = network(both, torch.tensor([40, 23]))
    alone = network(short[None], torch.tensor([23]))
    assert together.shape == (2, 40, 29)
    torch.testing.assert_close(together[1, :23], alone[0], rtol=1e-5, atol=1e-6)


def test_the_loss_is_ctc_of_the_rows_that_count() -> None:
    """By hand for two rows and one letter: the paths are blank-a, a-blank and a-a."""
    torch.manual_seed(0)
    module = TrainedRecogniser(RecogniserConfig(width=16, dropout=0.0))
    heard = torch.randn(1, 5, 26)
    loss = module(heard, torch.tensor([2]), torch.tensor([[1]]), torch.tensor([1]))["loss"]
    scores = module.network(context_rows(heard), torch.tensor([2]))[0, :2]
    first, second = F.softmax(scores, dim=-1)
    likelihood = first[BLANK] * second[1] + first[1] * second[BLANK] + first[1] * second[1]
    torch.testing.assert_close(loss, -likelihood.log())


# -------------------------------------------------------------------------------------------- training


@pytest.mark.usefixtures("few_clips")
def test_a_trained_one_is_what_its_folder_holds(tmp_path: Path) -> None:
    plan = read_plan(
        "acoustics/pocket-acoustics", (*SMALL, "training.steps=3", "training.log_every=1", "options.half=false")
    )
    task = task_of(tmp_path)
    train(task, plan.settings, tmp_path / "out", cpu=True)
    network = load_recogniser(tmp_path / "out" / "model")
    assert network.config == RecogniserConfig(width=16, dropout=0.1)
    audio = Pocket().clip(Pocket().clip_ids("test")[0]).audio
    heard = torch.from_numpy(coefficients(audio))
    assert heard.shape == task.clips[0].heard.shape
    with torch.no_grad():
        scores = network(context_rows(heard)[None], torch.tensor([len(heard)]))
    assert torch.isfinite(scores).all()


@pytest.mark.usefixtures("few_clips")
@pytest.mark.parametrize(("batches", "clips"), [(1, 32), (0, 33)])
def test_validation_is_the_mean_of_as_many_batches_as_asked_for(tmp_path: Path, batches: int, clips: int) -> None:
    task = task_of(tmp_path, f"options.validation_batches={batches}")
    task.prepare()
    model = task.build().eval()
    first, last = task.held_out[0], task.held_out[-1]
    with torch.no_grad():
        task.held_out = [first]
        of_first = task.validation(model)["loss"]
        task.held_out = [last]
        of_last = task.validation(model)["loss"]
        task.held_out = [*[first] * 32, last]
        mean = (32 * of_first + (clips - 32) * of_last) / clips
        assert of_first != of_last and task.validation(model)["loss"] == pytest.approx(mean, rel=1e-5)


@pytest.mark.usefixtures("few_clips")
def test_batches_belong_to_seed_step_and_rank(tmp_path: Path) -> None:
    task = task_of(tmp_path)
    task.prepare()
    once, again, other = (task.batch(seed, 5, 0, 2) for seed in (3, 3, 4))
    for name, tensor in once.items():
        torch.testing.assert_close(tensor, again[name])
    assert not torch.equal(once["heard"], other["heard"])
    assert len(task.describe(3, 5, 0, 2)) == 2


def test_it_learns_the_words_that_are_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Written(Pocket):
        text_rule = "normalised"

        def clip_ids(self, split: str) -> tuple[str, ...]:
            return super().clip_ids(split)[:3]

        def clip(self, clip_id: str) -> Clip:
            return replace(super().clip(clip_id), transcript="Bin — 2!")

    monkeypatch.setattr("syncdiff_bench.plugins.load_dataset", lambda *_: Written())
    task = task_of(tmp_path)
    task.prepare()
    assert {clip.transcript for clip in task.clips} == {"bin two"}


def test_a_split_without_words_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Silent(Pocket):
        def clip(self, clip_id: str) -> Clip:
            return Clip(clip_id, "silent")

    monkeypatch.setattr("syncdiff_bench.plugins.load_dataset", lambda *_: Silent())
    with pytest.raises(UsageError, match="no clip with sound and transcript"):
        task_of(tmp_path).prepare()


def test_a_folder_without_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"config\.json: not a readable recogniser"):
        load_recogniser(tmp_path)


# ------------------------------------------------------------------------------------------- as shipped


def test_the_shipped_one_understands_voices_that_it_never_heard() -> None:
    """Words of pocket's test split, whose accents and timbres are not in training; a guess is right in one of five."""
    pocket, model = Pocket(), PocketRecogniser()
    clips = [pocket.clip(clip_id) for clip_id in pocket.clip_ids("test")]
    heard = [spelled(model.logits(clip.audio)) for clip in clips]
    said = [clip.transcript or "" for clip in clips]
    assert jiwer.wer(said, heard) < 0.5
    assert jiwer.cer(said, heard) < 0.25


def test_it_is_an_acoustic_model_by_name() -> None:
    pocket = Pocket()
    clip = pocket.clip(pocket.clip_ids("test")[0])
    assert isinstance(acoustic_model("pocket"), PocketRecogniser)
    windows = clip_windows(clip, len(clip.frames), "pocket")
    assert windows.shape == (len(clip.frames), 16, 29)
    assert abs(len(acoustic_model("pocket").logits(clip.audio)) - 2 * len(clip.frames)) <= 1


# ------------------------------------------------------------------------------------------ by its folder


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """What a training exports, with random weights and the record of its data."""
    folder = tmp_path / "model"
    torch.manual_seed(3)
    save_recogniser(Recogniser(RecogniserConfig(width=16)), folder, half=False)
    write_origin(folder, Pocket())
    return folder


def test_a_trained_one_is_used_by_its_folder(trained: Path) -> None:
    pocket = Pocket()
    clip = pocket.clip(pocket.clip_ids("test")[0])
    found = clip_windows(clip, len(clip.frames), str(trained))
    expected = score_windows(scores_of(load_recogniser(trained), clip.audio), len(clip.frames))
    np.testing.assert_array_equal(found, expected)
    assert not np.array_equal(found, clip_windows(clip, len(clip.frames), "pocket"))


def test_its_weights_and_its_data_stand_in_the_run(trained: Path) -> None:
    (used,) = acoustic_weights(str(trained))
    assert used.sha256 == hashlib.sha256((trained / "recogniser.safetensors").read_bytes()).hexdigest()
    (caveat,) = foreign_acoustic_model(str(trained), "lrs2", "difftalk")
    assert caveat.sentence == "difftalk hears by an ASR model trained on pocket (drawn faces), not on lrs2"
    assert acoustic_weights("pocket") == ()  # the version of the package stands for it


def test_a_folder_of_scores_stays_one(tmp_path: Path) -> None:
    assert acoustic_weights(str(tmp_path)) == ()
    assert foreign_acoustic_model(str(tmp_path), "lrs2", "difftalk") == ()


def test_a_folder_of_another_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"unet": 3}')
    with pytest.raises(WeightsError, match=rf"{tmp_path}/config\.json: not a readable recogniser"):
        acoustic_model(str(tmp_path))
