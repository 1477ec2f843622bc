"""The small Wav2Lip's training on a few clips of pocket's test split, at toy size."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.bilinear import cut_faces
from syncdiff_bench.training.loader import load_task, read_plan
from syncdiff_bench.training.loop import train
from syncdiff_bench.views import BoxedDataset
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.wav2lip.clip_faces import BOXES
from syncdiff_methods.wav2lip.expert import SyncExpert, mismatch
from syncdiff_methods.wav2lip.faces import face_areas
from syncdiff_methods.wav2lip.mel import mel_windows
from syncdiff_methods.wav2lip.method import Wav2Lip, Wav2LipOptions
from syncdiff_methods.wav2lip.training import TrainedWav2Lip, Wav2LipTask, Wav2LipTrainingOptions

pytestmark = pytest.mark.usefixtures("few_clips")
SMALL = (
    "data.split=test",
    "data.validation_split=test",
    "options.model.width=0.0625",
    "options.expert_width=8",
    "training.batch_size=2",
    "training.mixed_precision=no",
    "training.log_every=1",
)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def task_of(cache: Path, *overrides: str) -> Wav2LipTask:
    task = load_task(read_plan("wav2lip/pocket-wav2lip", (*SMALL, *overrides)), None, cache, "cpu")
    assert isinstance(task, Wav2LipTask)
    return task


@pytest.fixture
def task(cache: Path) -> Wav2LipTask:
    made = task_of(cache)
    made.prepare()
    return made


def module_of(task: Wav2LipTask) -> TrainedWav2Lip:
    torch.manual_seed(0)
    made = task.build()
    assert isinstance(made, TrainedWav2Lip)
    return made


def test_examples_are_faces_sound_and_another_window(task: Wav2LipTask) -> None:
    """The clip that `describe` names, cut afresh; five frames in a row of elsewhere in it as reference."""
    batch = task.batch(3, 5, 0, 2)
    assert batch["faces"].shape == (2, 12, 3, 96, 96) and batch["faces"].dtype == torch.uint8
    for i, words in enumerate(task.describe(3, 5, 0, 2)):
        _, clip_id, _, start, _, end = words.split()
        first, last = int(start), int(end)
        clip = Pocket().clip(clip_id)
        faces = cut_faces(clip.frames[..., ::-1], face_areas(clip.face_boxes.boxes, (160, 160), BOXES)).transpose(
            0, 3, 1, 2
        )
        np.testing.assert_array_equal(batch["faces"][i], faces[first : last + 1])
        windows = mel_windows(clip.audio, len(faces))[first : first + 8]
        np.testing.assert_allclose(batch["mel"][i], windows, atol=2e-3)  # kept as float16
        starts = [t for t in range(len(faces) - 4) if (faces[t : t + 5] == batch["references"][i].numpy()).all()]
        assert starts and first not in starts


def test_batches_repeat_and_differ(task: Wav2LipTask) -> None:
    one, again, other, rank = (task.batch(0, step, r, 2)["mel"] for step, r in ((1, 0), (1, 0), (2, 0), (1, 1)))
    assert torch.equal(one, again)
    assert not torch.equal(one, other) and not torch.equal(one, rank)


def test_the_probe_has_the_shapes_of_a_batch(cache: Path) -> None:
    unprepared = task_of(cache)
    probe, batch = unprepared.probe_batch(2), None
    unprepared.prepare()
    batch = unprepared.batch(0, 0, 0, 2)
    assert {k: (v.shape, v.dtype) for k, v in probe.items()} == {k: (v.shape, v.dtype) for k, v in batch.items()}


def gradients(model: TrainedWav2Lip, part: str) -> Tensor:
    grads = [p.grad.flatten() for name, p in model.named_parameters() if name.startswith(part) and p.grad is not None]
    return torch.cat(grads) if grads else torch.zeros(1)


def test_the_expert_learns_from_real_frames_alone(task: Wav2LipTask) -> None:
    """Its gradient is the same whatever the generator's loss weighs; the generator's is not."""
    model, batch = module_of(task), task.batch(0, 0, 0, 2)
    found = []
    for weight in (0.0, 0.5):
        model.zero_grad()
        model.sync_weight = weight
        model(**batch)["loss"].backward()
        found.append((gradients(model, "expert"), gradients(model, "generator")))
    (expert, generator), (expert_synced, generator_synced) = found
    assert expert.abs().max() > 0
    torch.testing.assert_close(expert, expert_synced)
    assert (generator - generator_synced).abs().max() > 1e-6


def test_losses_of_a_perfect_generator(task: Wav2LipTask, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in L1, and a sync loss equal to the expert's on the real first windows."""
    model, batch = module_of(task), task.batch(0, 0, 0, 2)
    model.sync_weight = 0.25
    real = batch["faces"].float() / 255
    monkeypatch.setattr(model, "draw", lambda faces, *_: faces)
    losses = model(**batch)
    assert float(losses["l1"]) == 0
    sound = model.expert.embed_audio(batch["mel"].flatten(0, 1)[:, None])
    lips = model.expert.embed_lips(real[:, :5])
    expected = mismatch(lips, sound, torch.tensor([0, 8]))
    torch.testing.assert_close(losses["sync"], expected)
    torch.testing.assert_close(losses["loss"], 0.25 * expected + losses["expert"])


def test_the_network_is_not_shown_the_mouth(task: Wav2LipTask) -> None:
    model, batch = module_of(task).eval(), task.batch(0, 0, 0, 2)
    real, references = (batch[name][:, :5].float() / 255 for name in ("faces", "references"))
    painted = real.clone()
    painted[..., 48:, :] = 1
    with torch.no_grad():
        ours, theirs = (model.draw(faces, references, batch["mel"][:, :5]) for faces in (real, painted))
    assert torch.equal(ours, theirs)


def test_the_expert_looks_at_the_lower_half_only() -> None:
    expert, faces = SyncExpert(8), torch.rand(2, 5, 3, 96, 96)
    other = faces.clone()
    other[..., :48, :] = 0
    assert torch.equal(expert.embed_lips(faces), expert.embed_lips(other))
    torch.testing.assert_close(expert.embed_lips(faces).norm(dim=1), torch.ones(2))


def test_mismatch_is_cross_entropy() -> None:
    """Orthogonal unit vectors: -log(e^(1/T) / (e^(1/T) + n - 1)) for partners, the same without the 1/T for others."""
    lips = torch.eye(3)
    scale = float(np.exp(1 / 0.07))
    right = mismatch(lips, torch.eye(3), torch.tensor([0, 1, 2]))
    wrong = mismatch(lips, torch.eye(3), torch.tensor([1, 2, 0]))
    assert float(right) == pytest.approx(np.log((scale + 2) / scale), abs=1e-6)
    assert float(wrong) == pytest.approx(np.log(scale + 2), rel=1e-5)


def test_sync_and_settling_begin_at_their_steps(cache: Path) -> None:
    task = task_of(cache, "options.sync_from=3", "options.settle_from=5")
    model = module_of(task)
    for step, weight, gathering in ((0, 0.0, True), (3, 0.01, True), (5, 0.01, False)):
        model.train()
        task.between(model, step)
        assert model.sync_weight == weight
        assert model.generator.training is gathering and model.expert.training


def test_training_learns_and_ends_in_a_checkpoint_that_the_method_loads(tmp_path: Path) -> None:
    """12 steps on one batch's worth of clips: the error falls, the export generates and knows of the boxes."""
    overrides = ("training.steps=12", "training.learning_rate=2e-3", "training.validate_every=12")
    plan = read_plan("wav2lip/pocket-wav2lip", (*SMALL, *overrides, "training.warmup_steps=1", "options.sync_from=6"))
    task = load_task(plan, None, tmp_path / "cache", "cpu")
    options = BoxedDataset.options_with(type(task.data.dataset.options))(boxes="centred")
    task.data = replace(task.data, dataset=BoxedDataset(task.data.dataset, options))
    folder = train(task, plan.settings, tmp_path, cpu=True)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    errors = [row["l1"] for row in rows if "l1" in row]
    assert np.mean(errors[-3:]) < 0.8 * np.mean(errors[:2])
    (figures,) = (row["validation"] for row in rows if "validation" in row)
    assert 0 < figures["l1_static"] < 20 and 0 <= figures["in_sync"] <= 1
    clip = Pocket().clip(Pocket().clip_ids("test")[0])
    method = Wav2Lip(Wav2LipOptions(checkpoint=str(folder)))
    (told,) = method.general_caveats()
    assert "wav2lip runs a model trained with guessed face boxes (centred)" in told.sentence
    ((_, frames),) = method.generate([clip], seed=0)
    assert isinstance(frames, np.ndarray) and frames.shape == clip.frames.shape


@pytest.mark.parametrize(("batches", "clips"), [(1, 16), (0, 17)])
def test_validation_is_the_mean_of_as_many_batches_as_asked_for(task: Wav2LipTask, batches: int, clips: int) -> None:
    task.options = replace(task.options, validation_batches=batches)
    model = module_of(task).eval()
    first, last = task.held_out[0], task.held_out[-1]
    with torch.no_grad():
        task.held_out = [first]
        of_first = task.validation(model)["l1_static"]
        task.held_out = [last]
        of_last = task.validation(model)["l1_static"]
        task.held_out = [*[first] * 16, last]
        mean = (16 * of_first + (clips - 16) * of_last) / clips
        assert of_first != of_last and task.validation(model)["l1_static"] == pytest.approx(mean)


def test_samples_show_truth_above_generation(task: Wav2LipTask) -> None:
    with torch.no_grad():
        picture = task.samples(module_of(task).eval())
    assert picture.shape == (3 * 2 * 96, 4 * 96, 3) and picture.dtype == np.uint8
    clip = Pocket().clip(Pocket().clip_ids("test")[0])
    faces = cut_faces(clip.frames[..., ::-1], face_areas(clip.face_boxes.boxes, (160, 160), BOXES))
    for column in range(4):
        shown = picture[:96, 96 * column : 96 * (column + 1)].astype(int)
        assert np.abs(shown - faces[3 * column][..., ::-1]).max() <= 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [({"windows": 4}, "give 5 or more"), ({"sync_weight": 1.0}, "give a share"), ({"sync_weight": -0.1}, "share")],
)
def test_options_that_mean_nothing(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Wav2LipTrainingOptions(**wrong)  # type: ignore[arg-type]


def test_clips_that_are_too_short_are_said_so(cache: Path) -> None:
    with pytest.raises(UsageError, match=r"split 'test' has no clip to train on .none has 504 frames"):
        task_of(cache, "options.windows=500").prepare()
