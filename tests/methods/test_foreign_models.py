"""Models and judges of other data: never taken unasked; where somebody means it, the table says so."""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_networks import SYNCDIFF as TINY

from syncdiff_bench import load_method
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Media, Method, Pair, Runtime
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.writing import write_video
from syncdiff_bench.origins import PUBLISHED, UNRECORDED, Origin, foreign, of_model, origin_of, write_origin
from syncdiff_bench.plugins import load_dataset
from syncdiff_bench.plugins import load_method as registered
from syncdiff_bench.report.results import FOREIGN, read_run
from syncdiff_bench.reproduction.models import with_model
from syncdiff_bench.runs.plan import Selection, load_methods, make_plan
from syncdiff_bench.texts import method_options
from syncdiff_methods.bounds import Reconstruction
from syncdiff_methods.difftalk.method import DiffTalk, DiffTalkOptions
from syncdiff_methods.syncdiff.config import SyncDiffConfig
from syncdiff_methods.syncdiff.method import SyncDiff
from syncdiff_methods.syncdiff.model import SyncDiffModel
from syncdiff_metrics.avs import AVS, AVSStats
from syncdiff_metrics.lse import LSE, LSEOptions, LSEStats
from syncdiff_metrics.wer import WER, WEROptions, WERStats

FILMED = "judged by a network trained on filmed faces; those of pocket are drawn"
DRAWN = "trained on pocket (drawn faces), not on folder"


@pytest.fixture(autouse=True)
def empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without trainings, and without weights."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("SYNCDIFF_BENCH_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("SYNCDIFF_BENCH_OFFLINE", "1")


def clip(path: Path, n_frames: int = 3) -> None:
    rng = np.random.default_rng(n_frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = rng.integers(0, 256, (n_frames, 64, 64, 3), dtype=np.uint8)
    write_video(path, Media(frames, rng.integers(-999, 999, 640 * n_frames, dtype=np.int16)))


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    clip(tmp_path / "videos" / "one.mp4")
    return tmp_path / "videos"


@pytest.fixture
def lrs2(tmp_path: Path) -> Path:
    home = tmp_path / "mvlrs_v1"
    clip(home / "main" / "6330311066473698535" / "00011.mp4")
    (home / "main" / "6330311066473698535" / "00011.txt").write_text("Text:  HELLO WORLD\nConf:  4\n")
    (home / "test.txt").write_text("6330311066473698535/00011 NF\n")
    return home


def trained(folder: str, dataset: str | None, config: SyncDiffConfig = TINY) -> Path:
    """A model of random weights, as a training on that data leaves it; None for one of a version without records."""
    path = Path(folder)
    SyncDiffModel(config).save_pretrained(path)
    (path.parent / "log.jsonl").touch()
    if dataset is not None:
        known = {"schema": 1, "dataset": dataset, "drawn": dataset == "pocket"}
        (path / "trained.json").write_text(json.dumps(known))
    return path


def planned(root: Path, *settings: str, dataset: str = "lrs2", method: str = "syncdiff") -> Method:
    selection = Selection((method,), dataset, root, options=method_options((method,), settings))
    plan = make_plan(selection, with_metrics=False, model_of=with_model)
    recorded = plan.runs[0].identity.to_json()["method"]
    assert recorded["options"]["model"] == plan.runs[0].method.options.model
    return plan.runs[0].method


def sentences(method: Method) -> list[str]:
    return [caveat.sentence for caveat in method.general_caveats()]


# ------------------------------------------------------------------------------------ what is said of a model


@pytest.mark.parametrize(
    ("origin", "dataset", "sentence"),
    [
        (Origin("pocket", drawn=True), "lrs2", "m trained on pocket (drawn faces), not on lrs2"),
        (Origin("pocket", drawn=True), "pocket", None),
        (Origin("pocket", drawn=True), "pocket-pairs", None),
        (Origin("lrs2"), "lrs3", "m trained on lrs2, not on lrs3"),
        (Origin("lrs2"), "lrs2-pairs", None),
        (Origin("lrs2"), "", None),
        (PUBLISHED, "lrs3", None),
        (PUBLISHED, "somebody's", None),
        (PUBLISHED, "pocket", "m trained on filmed faces; those of pocket are drawn"),
        (PUBLISHED, "pocket-pairs", "m trained on filmed faces; those of pocket are drawn"),
        (UNRECORDED, "pocket", "m trained on data that nobody recorded"),
        (None, "lrs2", None),
    ],
)
def test_where_a_network_is_a_stranger(origin: Origin | None, dataset: str, sentence: str | None) -> None:
    assert [caveat.sentence for caveat in foreign(origin, dataset, "m")] == ([] if sentence is None else [sentence])


@pytest.mark.parametrize(
    ("boxes", "guessed"),
    [
        ("centred", True),
        ("centred, file 1a2b3c4d", True),
        ("centred-by-construction", False),
        ("file 1a2b3c4d, s3fd-1", False),
        ("", False),
    ],
)
def test_a_model_whose_masks_were_guessed_says_so(boxes: str, guessed: bool) -> None:
    told = [caveat.sentence for caveat in of_model(Origin("lrs2", boxes=boxes), "lrs2", "m")]
    guess = "m trained with guessed face boxes (centred), which may leave the mouth in sight"
    assert told == ([guess] if guessed else [])
    elsewhere = [caveat.sentence for caveat in of_model(Origin("lrs2", boxes=boxes), "lrs3", "m")]
    assert elsewhere == ["m trained on lrs2, not on lrs3", *told]
    assert of_model(None, "lrs2", "m") == ()


def test_the_methods_that_mask_by_boxes_say_how_their_model_was_masked(lrs2: Path) -> None:
    folder = trained("guessed/model", "lrs2")
    known = json.loads((folder / "trained.json").read_text())
    (folder / "trained.json").write_text(json.dumps({**known, "boxes": "centred"}))
    (told,) = sentences(planned(lrs2, f"model={folder}"))
    assert told.startswith("syncdiff runs a model trained with guessed face boxes (centred)")


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_origin(tmp_path, load_dataset("pocket"))
    assert origin_of(tmp_path) == Origin("pocket", drawn=True)
    write_origin(tmp_path, load_dataset("pocket"), {"steps": 3}, boxes="file 1a2b3c4d")
    assert origin_of(tmp_path) == Origin("pocket", drawn=True, boxes="file 1a2b3c4d")
    (tmp_path / "trained.json").write_text('{"schema": 1}')
    with pytest.raises(UsageError, match=r"trained\.json does not say what the model was trained on"):
        origin_of(tmp_path)


# ------------------------------------------------------------------------------------ none is taken unasked


@pytest.mark.parametrize(
    ("method", "option", "made_by"),
    [
        ("syncdiff", "model", "training/paper/model, made with `syncdiff-bench weights import vq-f4"),
        (
            "gt-rec",
            "model",
            "training/vq-f4, made with `syncdiff-bench weights import vq-f4 model.ckpt training/vq-f4`",
        ),
        ("difftalk", "model", "training/difftalk, made with `syncdiff-bench weights import difftalk CHECKPOINT"),
        ("wav2lip", "checkpoint", "weights wav2lip missing"),
    ],
)
def test_other_data_gets_no_drawn_model(
    method: str, option: str, made_by: str, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--method", method, "--dataset", "folder", "--data-root", str(videos)]) == 2
    told = capsys.readouterr().err.strip()
    assert made_by in told and "\n" not in told
    assert told.endswith(f"--set {option}=pocket is for drawn faces")
    assert not Path("runs").exists()


def test_the_missing_model_of_lrs2_is_told_with_its_training(lrs2: Path) -> None:
    with pytest.raises(UsageError) as caught:
        planned(lrs2)
    assert str(caught.value) == (
        "syncdiff has no model for dataset lrs2: training/paper/model is missing; make it with"
        " `syncdiff-bench weights import vq-f4 model.ckpt training/vq-f4`, then"
        " `syncdiff-bench train syncdiff/paper --data-root DIR --set options.autoencoder=training/vq-f4`;"
        " or give --set model=DIR; --set model=pocket is for drawn faces"
    )


@pytest.mark.parametrize("method", [SyncDiff, Reconstruction, DiffTalk])
def test_a_method_by_itself_has_no_model_either(method: type[Method]) -> None:
    with pytest.raises(UsageError, match=r"needs --set model=DIR.* model=pocket is for drawn faces"):
        method().weights_used()


def test_a_probe_takes_no_drawn_model(videos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["paper", "probe", "--dataset", "folder", "--data-root", str(videos)]) == 2
    assert "syncdiff has no model for dataset folder" in capsys.readouterr().err
    clip(videos / "one.mp4", 5)
    probe = ["paper", "probe", "--dataset", "folder", "--data-root", str(videos), "--set", "model=pocket"]
    assert main([*probe, "--boxes", "centred"]) == 0
    caveats = read_run(Path("probes/folder-test/syncdiff/run.json")).caveats
    assert [one.kind for one in caveats] == [FOREIGN, "guessed-boxes"]


# ------------------------------------------------------------------------------------ the data's own is found


def test_on_pocket_it_is_the_one_that_ships() -> None:
    names = ("syncdiff", "gt-rec", "difftalk", "wav2lip")
    methods = {m.name: m for m in load_methods(names, {}, Runtime(dataset="pocket"), with_model)}
    assert {name: methods[name].options.model for name in names[:3]} == dict.fromkeys(names[:3], "pocket")
    assert methods["wav2lip"].options.checkpoint == "pocket"
    assert [method.general_caveats() for method in methods.values()] == [()] * 4
    assert load_method("syncdiff").options == methods["syncdiff"].options


def test_a_trained_model_is_found_where_reproduce_looks(lrs2: Path) -> None:
    model = trained("training/paper/model", "lrs2")
    method = planned(lrs2)
    assert method.options.model == "training/paper/model"
    digests = {one.name: one.sha256 for one in method.weights_used()}
    weights = (model / "denoiser.safetensors").read_bytes()
    assert digests["syncdiff/model/denoiser"] == hashlib.sha256(weights).hexdigest()
    assert sentences(method) == []


def test_each_variant_has_a_training_of_its_own(lrs2: Path) -> None:
    trained("training/paper/model", "lrs2")
    with pytest.raises(UsageError, match=r"training/paper-rnd/model is missing.*--variant rnd"):
        planned(lrs2, "variant=rnd")
    trained("training/paper-rnd/model", "lrs2", replace(TINY, variant="rnd"))
    assert planned(lrs2, "variant=rnd").options.model == "training/paper-rnd/model"
    assert planned(lrs2, f"variant={TINY.variant}").options.model == "training/paper/model"


def test_a_model_of_other_data_in_its_place_is_not_taken(lrs2: Path) -> None:
    trained("training/paper/model", "pocket")
    with pytest.raises(UsageError, match=r"training/paper/model was trained on other data, see trained\.json"):
        planned(lrs2)
    assert sentences(planned(lrs2, "model=training/paper/model")) == [
        "syncdiff runs a model trained on pocket (drawn faces), not on lrs2"
    ]


def test_a_training_that_recorded_nothing_is_said_to_be_unknown(lrs2: Path) -> None:
    trained("training/paper/model", None)
    assert sentences(planned(lrs2)) == ["syncdiff runs a model trained on data that nobody recorded"]


def test_lrs3_gets_the_model_of_lrs2_and_says_so() -> None:
    trained("training/paper/model", "lrs2")
    settings = with_model("syncdiff", {"steps": 4}, "lrs3")
    assert settings == {"steps": 4, "model": "training/paper/model"}
    assert sentences(registered("syncdiff", settings, Runtime(dataset="lrs3"))) == [
        "syncdiff runs a model trained on lrs2, not on lrs3"
    ]


def test_what_was_given_stays() -> None:
    assert with_model("syncdiff", {"model": "mine"}, "lrs2") == {"model": "mine"}
    assert with_model("wav2lip", {}, "lrs2") == with_model("wav2lip", {}, "folder") == {}
    assert with_model("static", {}, "folder") == {}


# ------------------------------------------------------------------------------------ where it is meant


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("--method", "gt-rec", "--set", "model=pocket"), f"gt-rec runs an autoencoder {DRAWN}"),
        (("--method", "wav2lip", "--set", "checkpoint=pocket"), f"wav2lip runs a model {DRAWN}"),
        (("--method", "syncdiff", "--set", "model=pocket", "--set", "steps=1"), f"syncdiff runs a model {DRAWN}"),
    ],
)
def test_the_table_says_that_the_model_is_a_stranger(
    settings: tuple[str, ...], said: str, videos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--dataset", "folder", "--data-root", str(videos), "--boxes", "centred")
    scored = ("--metrics", "psnr[region=full]", "--out", "runs")
    assert main(["run", *settings, *data, *scored]) == 0
    assert said in " ".join(capsys.readouterr().out.split())
    assert said in Path("runs/leaderboard.md").read_text()
    recorded = json.loads((Path("runs") / settings[1] / "run.json").read_text())
    assert [one["sentence"] for one in recorded["caveats"] if one["kind"] == "foreign-model"] == [said]
    told = read_run(Path("runs") / settings[1] / "run.json").caveats
    assert [one.sentence for one in told if one.kind == FOREIGN] == [said]
    capsys.readouterr()
    assert main(["report", "runs", "--format", "csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert all(said in row["caveats"] for row in rows) and rows


def test_a_recogniser_of_other_data_is_said_as_well() -> None:
    method = DiffTalk(DiffTalkOptions("pocket"), Runtime(dataset="lrs2"))
    assert sentences(method) == [
        "difftalk runs a model trained on pocket (drawn faces), not on lrs2",
        "difftalk hears by an ASR model trained on pocket (drawn faces), not on lrs2",
    ]
    saved = DiffTalk(DiffTalkOptions("pocket", logits="."), Runtime(dataset="lrs2"))
    assert sentences(saved) == sentences(method)[:1]


def test_a_recogniser_counts_where_it_is_heard(lrs2: Path) -> None:
    heard = replace(TINY, variant="ds", audio=replace(TINY.audio, features="deepspeech", logits="pocket"))
    trained("training/paper-ds/model", "lrs2", heard)
    assert sentences(planned(lrs2, "variant=ds")) == [
        "syncdiff hears by an ASR model trained on pocket (drawn faces), not on lrs2"
    ]
    trained("training/paper/model", "lrs2")
    assert sentences(planned(lrs2, "logits=pocket")) == []  # AV-HuBERT listens


# ------------------------------------------------------------------------------------ judges


def judged(metric: Any, stats: Any, dataset: str) -> list[str]:
    heard = Media(np.zeros((1, 4, 4, 3), np.uint8), np.ones(640, np.int16))
    return [caveat.sentence for caveat in metric.caveats(Pair(Clip("c", dataset, preloaded=heard)), stats)]


@pytest.mark.parametrize("name", ["lse", "wer"])
def test_a_judge_on_faces_of_other_data(name: str, tmp_path: Path) -> None:
    stats: Any = LSEStats(1.0, 2.0, 0, 3, ()) if name == "lse" else WERStats(0, 1, "a", "a")

    def metric(given: str) -> Any:
        return LSE(LSEOptions(weights=given)) if name == "lse" else WER(WEROptions(reader=given))

    assert judged(metric("pocket"), stats, "pocket") == []
    assert judged(metric("pocket"), stats, "folder") == [f"judged by a network {DRAWN}"]
    published = metric(LSEOptions.weights if name == "lse" else WEROptions.reader)
    assert judged(published, stats, "lrs2") == []
    assert judged(published, stats, "pocket") == [FILMED]
    assert judged(metric(str(tmp_path / "mine.pt")), stats, "pocket") == []
    own = tmp_path / "model"
    own.mkdir()
    (own / f"{'syncnet' if name == 'lse' else 'lipreader'}.json").write_text("{}")
    (own / "trained.json").write_text('{"schema": 1, "dataset": "lrs2", "drawn": false}')
    assert judged(metric(str(own)), stats, "lrs3") == ["judged by a network trained on lrs2, not on lrs3"]


def test_an_encoder_of_filmed_faces_on_drawn_ones() -> None:
    assert judged(AVS(), AVSStats(1.0, 1), "lrs2") == []
    assert judged(AVS(), AVSStats(1.0, 1), "pocket") == [FILMED]


def test_the_column_of_a_strange_judge_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clip(tmp_path / "videos" / "one.mp4", 12)
    metrics = ["--metrics", "psnr[region=full],lse[weights=pocket]", "--out", "out"]
    assert main(["score", "--videos", f"{tmp_path}/videos", "--reference", f"{tmp_path}/videos", *metrics]) == 0
    assert f"judged by a network {DRAWN}" in " ".join(capsys.readouterr().out.split())
    caveats = json.loads(Path("out/videos/run.json").read_text())["caveats"]
    found = [(one["metric"], one["clips"]) for one in caveats if one["kind"] == "foreign-judge"]
    assert found == [("lse", ["one"])]
