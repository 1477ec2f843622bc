"""fairseq checkpoint files, written here in the official layout and read without fairseq."""

import hashlib
import pickle
import pickletools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from official_files import OldProcessor, fairseq_classes, save_with_old_processors, sentencepiece_model
from sentencepiece import SentencePieceProcessor
from tiny_networks import avhubert

from syncdiff_bench.contracts import Clip, Media, Pair
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.networks.avhubert.checkpoint import (
    Latin1Bytes,
    load_encoder,
    load_vsr_model,
    read_checkpoint,
)
from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_metrics.wer import WER, WEROptions

SENTENCES = [
    "bin blue at f two now",
    "lay red by q nine again",
    "place white with x zero please",
    "set green in c five soon",
]
SPECIALS = ["<s>", "<pad>", "</s>", "<unk>"]
TINY = avhubert(pretraining_units=6, decoder_layers=1, decoder_ffn=40, decoder_heads=2)


@pytest.fixture(scope="module")
def pieces() -> bytes:
    return sentencepiece_model(SENTENCES * 20, 36)


@pytest.fixture(scope="module")
def classes():
    with fairseq_classes() as made:
        yield made


@pytest.fixture(scope="module")
def content(pieces, classes) -> dict:
    """A fine-tuned checkpoint in memory."""
    processor = SentencePieceProcessor(model_proto=pieces)
    dictionary = classes["Dictionary"]()
    dictionary.symbols = SPECIALS + [processor.IdToPiece(i) for i in range(4, len(processor))]
    dictionary.pad_index = 1
    bpe = classes["SentencepieceBPE"]()
    bpe.sp = OldProcessor(pieces)
    torch.manual_seed(0)
    model = AVHubertSeq2Seq(replace(TINY, vocab=len(processor)))
    pretraining = {
        "model": {"_name": "av_hubert", "encoder_attention_heads": 4, "layer_norm_first": True},
        "task": {},
    }
    return {
        "args": None,
        "cfg": {
            "model": {"_name": "av_hubert_seq2seq", "decoder_attention_heads": 2, "w2v_args": pretraining},
            "task": {
                "_name": "av_hubert_pretraining",
                "image_crop_size": 88,
                "image_mean": 0.4,
                "image_std": 0.2,
            },
        },
        "model": model.state_dict(),
        "criterion": None,
        "task_state": {"dictionaries": [dictionary], "target_dictionary": dictionary, "s2s_tokenizer": bpe},
        "extra_state": {"epoch": 3},
    }


def test_a_fine_tuned_file_gives_its_network(content, tmp_path):
    reader = load_vsr_model(save_with_old_processors(content, tmp_path / "reader.pt"))
    assert reader.model.config == replace(TINY, vocab=36)
    assert (reader.patches.crop, reader.patches.mean, reader.patches.std) == (88, 0.4, 0.2)
    assert not reader.model.training
    ours = reader.model.state_dict()
    assert ours.keys() == content["model"].keys()
    assert all(torch.equal(ours[name], tensor) for name, tensor in content["model"].items())


def test_word_pieces_are_those_of_sentencepiece(content, pieces, tmp_path):
    ours = load_vsr_model(save_with_old_processors(content, tmp_path / "reader.pt")).pieces
    reference = SentencePieceProcessor(model_proto=pieces)
    assert ours.encode("Lay RED by q nine") == (*reference.EncodeAsIds("lay red by q nine"), 2)
    assert ours.decode([2, *reference.EncodeAsIds("set green"), 1, 2]) == "set green"
    assert ours.round_trip("Place white soon") == "place white soon"
    assert ours.round_trip("red!") == "red<unk>"


def test_word_pieces_pickled_by_todays_sentencepiece(content, pieces, tmp_path, classes):
    bpe = classes["SentencepieceBPE"]()
    bpe.sp = SentencePieceProcessor(model_proto=pieces)
    task_state = {**content["task_state"], "s2s_tokenizer": bpe}
    path = tmp_path / "resaved.pt"
    torch.save({**content, "task_state": task_state}, path)
    assert load_vsr_model(path).pieces.model == pieces


def test_half_precision_and_older_configurations_load(content, tmp_path):
    """TalkLip-style files may lack `w2v_args`; the head size is then the published one."""
    old = {
        **content,
        "model": {
            name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in content["model"].items()
        },
        "cfg": {"model": {"_name": "av_hubert_seq2seq", "w2v_args": None}},
    }
    reader = load_vsr_model(save_with_old_processors(old, tmp_path / "old.pt"))
    assert (reader.model.config.heads, reader.model.config.decoder_heads) == (1, 4)
    assert {parameter.dtype for parameter in reader.model.parameters()} == {torch.float32}


def test_a_pre_trained_file_gives_its_encoder(content, tmp_path):
    prefix = "encoder.w2v_model."
    model = {name.removeprefix(prefix): t for name, t in content["model"].items() if name.startswith(prefix)}
    model["final_proj.weight"] = torch.zeros(3, 3)
    cfg = {"model": content["cfg"]["model"]["w2v_args"]["model"], "task": {}}
    task_state = {"dictionaries": content["task_state"]["dictionaries"]}
    path = save_with_old_processors({"cfg": cfg, "model": model, "task_state": task_state}, tmp_path / "pretrained.pt")
    encoder, patches = load_encoder(path)
    assert encoder.config == replace(TINY, decoder_layers=0, decoder_ffn=3072, decoder_heads=4)
    assert (patches.crop, patches.mean, patches.std) == (88, 0.421, 0.165)
    assert not encoder.training
    with pytest.raises(WeightsError, match="needs a fine-tuned checkpoint"):
        load_vsr_model(path)


def test_an_encoder_comes_out_of_a_fine_tuned_file_too(content, tmp_path):
    encoder, patches = load_encoder(save_with_old_processors(content, tmp_path / "reader.pt"))
    assert patches.mean == 0.4
    expected = content["model"]["encoder.w2v_model.encoder.layers.1.fc1.weight"]
    assert torch.equal(encoder.encoder.layers[1].fc1.weight, expected)


def test_wer_reads_lips_with_a_checkpoint_file(content, pieces, tmp_path):
    path = save_with_old_processors(content, tmp_path / "reader.pt")
    metric = WER(WEROptions(reader=str(path), beam=3))
    frames = np.random.default_rng(0).integers(0, 256, (4, 160, 160, 3), dtype=np.uint8)
    clip = Clip("a", "test", transcript="lay red", preloaded=Media(frames, np.zeros(0, np.int16)))
    stats = metric.measure(Pair(clip))
    assert (stats.reference, stats.words) == ("lay red", 2)
    assert stats.hypothesis, "min_len is 1: the reader always says something"
    assert metric.weights_used()[0].sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


class Payload:
    """Runs when unpickled freely."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        return (open, (str(self.mark), "w"))


@pytest.mark.parametrize("section", ["cfg", "extra_state", "task_state"])
def test_a_foreign_class_is_refused_and_nothing_runs(content, tmp_path, section):
    mark = tmp_path / "mark"
    path = save_with_old_processors({**content, section: {**content[section], "x": Payload(mark)}}, tmp_path / "bad.pt")
    with pytest.raises(WeightsError, match=r"bad\.pt"):
        read_checkpoint(path)
    assert not mark.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": None}, "no `model` tensors"),
        ({"model": {"weight": torch.zeros(1)}}, "not those of an AV-HuBERT"),
        ({"cfg": {"model": {"w2v_args": {"model": {"modality_fuse": "add"}}}}}, "modality_fuse is 'add'"),
        ({"cfg": {"model": {"decoder_normalize_before": False}}}, "decoder_normalize_before is False"),
        ({"task_state": {}}, "needs a fine-tuned checkpoint"),
    ],
)
def test_other_networks_are_refused_by_name(content, tmp_path, change, message):
    with pytest.raises(WeightsError, match=message):
        load_vsr_model(save_with_old_processors({**content, **change}, tmp_path / "other.pt"))


def test_missing_surplus_and_misshapen_tensors_are_named(content, tmp_path):
    name = "decoder.layers.0.fc2.bias"
    others = {key: tensor for key, tensor in content["model"].items() if key != name}
    cases = {
        f"{name} is missing": others,
        "decoder.embed_out is unexpected": {**content["model"], "decoder.embed_out": torch.zeros(2)},
        rf"{name} has shape \(5,\) instead of \(32,\)": {**others, name: torch.zeros(5)},
    }
    for message, model in cases.items():
        with pytest.raises(WeightsError, match=message):
            load_vsr_model(save_with_old_processors({**content, "model": model}, tmp_path / "x.pt"))


def test_a_truncated_file_is_refused(content, tmp_path):
    path = save_with_old_processors(content, tmp_path / "cut.pt")
    path.write_bytes(path.read_bytes()[:4000])
    with pytest.raises(WeightsError, match=r"cut\.pt"):
        read_checkpoint(path)


def test_bytes_of_old_pickles():
    """Protocol 2 spells bytes as a call of `_codecs.encode` on Latin-1 text."""
    data = bytes(range(256))
    function, arguments = pickle_protocol_2_call(data)
    assert function == "_codecs encode"
    assert Latin1Bytes(*arguments) == data
    with pytest.raises(WeightsError, match="rot13"):
        Latin1Bytes("abc", "rot13")


def pickle_protocol_2_call(data: bytes) -> tuple[str, tuple[str, str]]:
    strings = [arg for op, arg, _ in pickletools.genops(pickle.dumps(data, protocol=2)) if isinstance(arg, str)]
    return strings[0], (strings[1], strings[2])
