"""Weights files in the layouts of their publishers, from `weights add` to scores: AV-HuBERT Large and SyncNet.

The tensors are filled, so the numbers mean nothing; names, shapes, pickled classes and file formats are the official
ones (docs/spec/lse.md#network, docs/spec/avhubert.md#checkpoints). Some four gigabytes of memory and six of disk, hence
slow.
"""

from __future__ import annotations

import json
import os
import pickle
import random
import re
import subprocess
import sys
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from official_files import OldProcessor, by_name, fairseq_classes, save_with_old_processors, sentencepiece_model
from sentencepiece import SentencePieceProcessor
from tiny_networks import LARGE

from syncdiff_bench.networks.avhubert.decoder import AVHubertSeq2Seq
from syncdiff_bench.networks.syncnet import SyncNet
from syncdiff_bench.weights.digests import sha256_of

pytestmark = pytest.mark.slow

SHARED = Path(os.environ.get("SYNCDIFF_BENCH_SHARED", Path(__file__).parents[3] / "shared"))
LRS3 = SHARED / "clips" / "lrs3"
# pocket where there are no clips of LRS3; a short clip and a small beam, because Large decodes a token per second
CLIPS = ["--dataset", "lrs3", "--data-root", str(LRS3)] if LRS3.is_dir() else ["--dataset", "pocket"]
WER = "wer[beam=2]"
READER, SYNCNET = "avhubert-lrs2-vsr", "syncnet-v2"


# ------------------------------------------------------------------------------------- writing the files


def state_of(network: type[torch.nn.Module], *config: Any) -> OrderedDict[str, torch.Tensor]:
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in network(*config).state_dict().items()}
    return OrderedDict((name, by_name(name, shape)) for name, shape in shapes.items())


def made_up_speech() -> Iterator[str]:
    """Of made-up words of all letters."""
    rng = random.Random(0)
    syllables = [a + b for a in "bcdfghjklmnpqrstvwxyz'" for b in "aeiou"]
    words = ["".join(rng.choices(syllables, k=rng.randint(1, 3))) for _ in range(3000)]
    return (" ".join(rng.choices(words, k=8)) for _ in range(4000))


class Payload:
    """Makes a folder when it is unpickled freely."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.mark),))


def reader_content(names: Mapping[str, type]) -> dict[str, Any]:
    """A fine-tuned Large with every entry of an official file."""
    model = sentencepiece_model(made_up_speech(), 1000)
    processor = SentencePieceProcessor(model_proto=model)
    symbols = [processor.IdToPiece(index) for index in range(len(processor))]
    dictionary, bpe = names["Dictionary"](), names["SentencepieceBPE"]()
    vars(dictionary).update(
        symbols=symbols,
        count=[1] * len(symbols),
        indices={symbol: index for index, symbol in enumerate(symbols)},
        **dict(zip(("bos_word", "pad_word", "eos_word", "unk_word"), symbols, strict=False)),
        **{"bos_index": 0, "pad_index": 1, "eos_index": 2, "unk_index": 3, "nspecial": 4},
    )
    vars(bpe).update(sp=OldProcessor(model))
    encoder = {"_name": "av_hubert", "encoder_layers": 24, "encoder_embed_dim": 1024, "encoder_ffn_embed_dim": 4096}
    encoder |= {"encoder_attention_heads": 16, "layer_norm_first": True, "modality_fuse": "concat"}
    task = {"_name": "av_hubert_pretraining", "normalize": True, "stack_order_audio": 4, "labels": ["wrd"]}
    task |= {"image_crop_size": 88, "image_mean": 0.421, "image_std": 0.165, "max_sample_size": 500, "is_s2s": True}
    decoder = {"_name": "av_hubert_seq2seq", "decoder_layers": 9, "decoder_attention_heads": 8}
    decoder |= {"share_decoder_input_output_embed": True, "no_scale_embedding": True}
    return {
        "args": None,
        "cfg": {"common": {}, "task": task, "model": {**decoder, "w2v_args": {"model": encoder, "task": task}}},
        "model": state_of(AVHubertSeq2Seq, LARGE),
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "num_updates": 30_000}],
        "task_state": {"dictionaries": [dictionary], "target_dictionary": dictionary, "s2s_tokenizer": bpe},
        "extra_state": {"epoch": 3},
    }


@dataclass(frozen=True)
class Files:
    """Both files by their name in the catalogue, as they should be and with a payload that would make `mark`."""

    sound: Mapping[str, Path]
    armed: Mapping[str, Path]
    mark: Path


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    """In a folder that is gone afterwards; pytest's own would keep gigabytes for three more sessions."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        made = Files(
            {READER: folder / "checkpoint_best.pt", SYNCNET: folder / "syncnet_v2.model"},
            {READER: folder / "armed_best.pt", SYNCNET: folder / "armed.model"},
            folder / "mark",
        )
        write_files(made)
        yield made


def write_files(files: Files) -> None:
    payload = Payload(files.mark)
    with fairseq_classes() as names:
        content = reader_content(names)
        save_with_old_processors(content, files.sound[READER])
        armed = {**content, "extra_state": {"epoch": 3, "hook": payload}}
        save_with_old_processors(armed, files.armed[READER])
    state = state_of(SyncNet)
    torch.save(state, files.sound[SYNCNET], _use_new_zipfile_serialization=False)
    torch.save({**state, "hook": payload}, files.armed[SYNCNET], _use_new_zipfile_serialization=False)


# --------------------------------------------------------------------------------------- the command line


def bench(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = "import sys; from syncdiff_bench.cli import main; sys.exit(main())"
    environment = {**os.environ, "SYNCDIFF_BENCH_HOME": str(home), "SYNCDIFF_BENCH_OFFLINE": "1"}
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


def add(home: Path, files: Mapping[str, Path]) -> None:
    """Put the files into the store: no digest is published of the one, the other needs --force."""
    assert (done := bench(home, "weights", "add", READER, str(files[READER]))).returncode == 0, done.stderr
    refused = bench(home, "weights", "add", SYNCNET, str(files[SYNCNET]))
    assert refused.returncode == 2
    assert f"{files[SYNCNET].name} has" in refused.stderr
    assert "expected for syncnet-v2" in refused.stderr
    forced = bench(home, "weights", "add", SYNCNET, str(files[SYNCNET]), "--force")
    assert "NOT the published file" in forced.stdout


def run(home: Path, *metrics: str) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """Scores of ground truth by metric, and run.json."""
    chosen = [part for metric in metrics for part in ("--metrics", metric)]
    out = home / "runs"
    done = bench(home, "run", "--method", "gt", *CLIPS, "--limit", "1", "--device", "cpu", "--out", str(out), *chosen)
    assert done.returncode == 0, done.stderr
    (folder,) = (file.parent for file in out.glob("*/run.json"))
    rows: dict[str, list[dict[str, Any]]] = {}
    for line in (folder / "scores.jsonl").read_text().splitlines():
        row = json.loads(line)
        rows.setdefault(row["metric"], []).append(row)
    return rows, json.loads((folder / "run.json").read_text())


@pytest.fixture
def home(files: Files) -> Iterator[Path]:
    """SYNCDIFF_BENCH_HOME, beside the files, so that their disk holds the store too."""
    with tempfile.TemporaryDirectory(dir=files.mark.parent) as folder:
        yield Path(folder)


def test_official_files_are_added_and_score(files: Files, home: Path) -> None:
    add(home, files.sound)
    rows, record = run(home, "lse", WER)
    (lse,), (wer,) = rows["lse"], rows["wer"]
    assert lse["error"] is None
    assert lse["stats"]["windows"] > 0
    assert np.isfinite([lse["values"]["lse_c"], lse["values"]["lse_d"]]).all()
    assert wer["error"] is None
    assert wer["protocol"] == "centre88-160-beam2"
    assert wer["stats"]["hypothesis"]
    assert wer["stats"]["reference"] == wer["stats"]["reference"].lower() != ""
    assert wer["values"]["wer"] == pytest.approx(100 * wer["stats"]["errors"] / wer["stats"]["words"])
    recorded = {weights["name"]: weights["sha256"] for entry in record["protocols"] for weights in entry["weights"]}
    assert recorded == {name: sha256_of(file) for name, file in files.sound.items()}


def test_a_foreign_class_is_refused_by_name_and_nothing_runs(files: Files, home: Path) -> None:
    pickle.loads(pickle.dumps(Payload(home / "armed")))
    assert (home / "armed").exists(), "the payload must work where it is let in, or this test shows nothing"
    add(home, files.armed)
    rows, _ = run(home, "lse", WER, "ssim")
    for metric, file in (("lse", "syncnet_v2.model"), ("wer", "avhubert_lrs2_vsr.pt")):
        (row,) = rows[metric]
        assert row["values"] is None
        assert row["error"]["kind"] == "not-applicable"
        refusal = rf"{file}: holds the foreign class or function (posix|nt)\.mkdir, which is not run"
        assert re.search(refusal, row["error"]["message"])
    assert rows["ssim"][0]["values"]["ssim"] == pytest.approx(1)
    assert not files.mark.exists()
