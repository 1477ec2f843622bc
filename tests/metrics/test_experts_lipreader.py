"""Training a small lip reader on a few clips of pocket, at toy size, and its dictionary."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_networks import avhubert

from syncdiff_bench.contracts import Clip, Pair
from syncdiff_bench.errors import UsageError, WeightsError
from syncdiff_bench.networks.avhubert.checkpoint import PatchNormalisation
from syncdiff_bench.networks.avhubert.tokenizer import EOS, PAD, UNK
from syncdiff_bench.training.loop import train
from syncdiff_bench.training.task import TrainingData, TrainingSettings
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_metrics.experts import WholeWords, words_of
from syncdiff_metrics.training import vsr
from syncdiff_metrics.training.vsr import TrainedVSR, VSROptions, VSRTask
from syncdiff_metrics.wer import WER, WEROptions

DECODER = {"decoder_layers": 1, "decoder_ffn": 32, "decoder_heads": 2}
TINY = avhubert(encoder_layers=1, dim=16, ffn_dim=32, heads=2, conv_pos=4, resnet_width=2, **DECODER)
OPTIONS = VSROptions(TINY, PatchNormalisation(frame_size=56, crop=32), audio_steps=20, still_share=0.4, half=True)


class FewClips(Pocket):
    """The first three clips of pocket's test split."""

    def clip_ids(self, split: str) -> tuple[str, ...]:
        return super().clip_ids(split)[:3]


class Wordless(FewClips):
    def clip(self, clip_id: str) -> Clip:
        return replace(super().clip(clip_id), transcript=None)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def task(cache: Path) -> VSRTask:
    task = VSRTask(OPTIONS, TrainingData(FewClips(), "test", "test", cache))
    task.prepare()
    return task


def test_words_are_tokens():
    pieces = WholeWords(words_of(["bin red", None, "Red at"]))
    assert pieces.symbols[4:] == ("\u2581at", "\u2581bin", "\u2581red")
    assert pieces.encode("Bin  blue at") == (5, UNK, 4, EOS)
    assert pieces.decode((5, UNK, 4, EOS)) == "bin<unk> at"
    assert pieces.round_trip("red at") == "red at"


def test_clips_without_words_are_told(cache: Path):
    with pytest.raises(UsageError, match="no clip has a transcript"):
        VSRTask(OPTIONS, TrainingData(Wordless(), "test", "test", cache)).prepare()


def test_sound_comes_first_then_both(task: VSRTask):
    assert set(task.batch(0, 19, 0, 2)) == {"audio", "padding", "tokens"}
    batch = task.batch(0, 20, 0, 2)
    assert batch["video"].shape == (2, 1, batch["audio"].shape[1], 32, 32)
    again = task.batch(0, 20, 0, 2)
    assert all(torch.equal(batch[name], again[name]) for name in batch)


def test_a_still_clip_is_one_frame_held(task: VSRTask):
    batches = [task.batch(0, step, 0, 3) for step in range(20, 30)]
    for batch in batches:
        moving = (batch["video"][:, 0, :40].diff(dim=1).abs().amax(dim=(1, 2, 3)) > 0).tolist()
        assert moving == (~batch["still"]).tolist()
    share = np.mean([batch["still"].float().mean() for batch in batches])
    assert 0.2 < share < 0.6


def test_words_of_a_still_clip_do_not_count(task: VSRTask):
    """What is to be read off a face that does not move is `<unk>`, whatever was said."""
    torch.manual_seed(0)
    model = task.build().eval()
    batch = dict(task.batch(0, 20, 0, 2))
    batch["still"] = torch.tensor([True, True])
    other = {**batch, "tokens": torch.where(batch["tokens"] > UNK, 5, batch["tokens"])}
    with torch.no_grad():
        one, two = model(**batch), model(**other)
    assert float(one["seen"]) == pytest.approx(float(two["seen"]), rel=1e-6)
    assert float(one["heard"]) != pytest.approx(float(two["heard"]), rel=1e-3)
    assert float(one["match"]) == 0.0


def test_padding_carries_no_words(task: VSRTask):
    torch.manual_seed(0)
    model = task.build().eval()
    batch = dict(task.batch(0, 0, 0, 2))
    longer = {**batch, "tokens": torch.nn.functional.pad(batch["tokens"], (0, 3), value=PAD)}
    with torch.no_grad():
        assert float(model(**batch)["loss"]) == pytest.approx(float(model(**longer)["loss"]), rel=1e-5)


def test_the_picture_is_drawn_towards_the_sound_not_the_sound_towards_the_picture(task: VSRTask):
    model = task.build()
    assert isinstance(model, TrainedVSR)
    model(**task.batch(0, 20, 0, 2))["match"].backward()
    encoder = model.model.encoder.w2v_model
    assert encoder.feature_extractor_audio.proj.weight.grad is None
    assert float(encoder.feature_extractor_video.proj.weight.grad.abs().sum()) > 0


@pytest.mark.parametrize(("batches", "clips"), [(1, 32), (0, 33)])
def test_validation_is_over_as_many_batches_as_asked_for(
    task: VSRTask, monkeypatch: pytest.MonkeyPatch, batches: int, clips: int
):
    """The decoder of this one says the right words of the first clip, and nothing for the last."""
    task.options = replace(task.options, validation_batches=batches)
    first, *_, last = task.held_out
    task.held_out = [*[first] * 32, last]
    said = [first.tokens] * 32 + [()]
    found = [[type("Hypothesis", (), {"tokens": tokens})] for tokens in said]
    monkeypatch.setattr(vsr, "beam_search", lambda _decoder, features, *_, **__: found[: len(features)])
    words = [len(clip.transcript.split()) for clip in task.held_out[:clips]]
    expected = 100 * (words[-1] if clips == 33 else 0) / sum(words)
    with torch.no_grad():
        found_rates = task.validation(task.build().eval())
    assert found_rates == pytest.approx(dict.fromkeys(("wer_heard", "wer", "wer_still"), expected))


def test_training_lowers_the_loss_and_its_reader_scores_clips(task: VSRTask, tmp_path: Path):
    settings = TrainingSettings(
        40, 3, 1e-2, gradient_clip=1.0, ema_decay=0, log_every=1, validate_every=40, checkpoint_every=40
    )
    folder = train(task, settings, tmp_path, cpu=True)
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    heard = [row["heard"] for row in rows if "heard" in row]
    seen = [row["seen"] for row in rows if "seen" in row]
    assert np.mean(heard[-5:]) < 0.7 * heard[0]
    assert np.mean(seen[-5:]) < 0.9 * seen[0]
    assert set(rows[-1]["validation"]) == {"wer_heard", "wer", "wer_still"}

    metric = WER(WEROptions(reader=str(folder), beam=2))
    stats = metric.measure(Pair(FewClips().clip(FewClips().clip_ids("test")[0])))
    assert stats.words == 6
    assert set(stats.hypothesis.split()) <= {symbol[1:] for symbol in task.pieces.symbols[4:]} | {"<unk>"}
    (used,) = metric.weights_used()
    assert used.name == f"{folder.parent.name}/lipreader"
    assert metric.protocol == f"{re.sub('[^a-z0-9._]+', '-', folder.parent.name.lower())}-{used.sha256[:8]}-beam2"


def test_a_description_of_another_network_is_refused(task: VSRTask, tmp_path: Path):
    task.export(task.build().eval(), tmp_path / "reader")
    file = tmp_path / "reader" / "lipreader.json"
    described = json.loads(file.read_text())
    file.write_text(json.dumps({**described, "words": described["words"][1:]}))
    with pytest.raises(WeightsError, match=r"lipreader\.json.*words for .* outputs"):
        WER(WEROptions(reader=str(tmp_path / "reader"))).prepare()
    file.write_text(json.dumps({**described, "network": {**described["network"], "dim": 32}}))
    with pytest.raises(WeightsError, match=r"lipreader\.safetensors"):
        WER(WEROptions(reader=str(tmp_path / "reader"))).prepare()
    file.write_text("{}")
    with pytest.raises(WeightsError, match=r"lipreader\.json is no description of an expert \(input: is missing\)"):
        WER(WEROptions(reader=str(tmp_path / "reader"))).prepare()
