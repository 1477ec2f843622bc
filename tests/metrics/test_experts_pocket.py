"""The experts that ship: what they score on pocket's ground truth, and that nothing else can pass for them."""

from __future__ import annotations

import shutil
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import wilcoxon

from syncdiff_bench.contracts import Clip, Media, Pair
from syncdiff_bench.errors import WeightsError
from syncdiff_datasets.pocket.dataset import SHIPPED, PocketFolder
from syncdiff_metrics.experts import POCKET
from syncdiff_metrics.lse import LSE, LSEOptions
from syncdiff_metrics.wer import WER, WEROptions

DATASET = PocketFolder(SHIPPED)
IDS = DATASET.clip_ids("test")
FEW = IDS[2::8]  # three speakers


@pytest.fixture(scope="module")
def lse() -> LSE:
    return LSE(LSEOptions(weights="pocket"))


@pytest.fixture(scope="module")
def wer() -> WER:
    return WER(WEROptions(reader="pocket"))


def with_sound_of(clip: Clip, other: Clip) -> Clip:
    """The pictures of one clip with the sound of another, cut or filled up with silence to their length."""
    samples = 640 * len(clip.frames)
    sound = np.pad(other.audio[:samples], (0, max(0, samples - len(other.audio))))
    return replace(clip, path=None, preloaded=Media(clip.frames, sound))


def held(clip: Clip) -> Clip:
    """The first frame for as long as the clip lasts: what the method `static` shows."""
    return replace(clip, path=None, preloaded=Media(np.repeat(clip.frames[:1], len(clip.frames), axis=0), clip.audio))


def mismatched(clips: list[Clip]) -> list[Clip]:
    """Every clip with the sound of the next speaker (two clips each)."""
    return [with_sound_of(clip, clips[(i + 2) % len(clips)]) for i, clip in enumerate(clips)]


def test_lips_and_sound_of_a_few_clips_belong_together(lse: LSE):
    clips = [DATASET.clip(clip_id) for clip_id in FEW]
    matched = [lse.measure(Pair(clip)) for clip in clips]
    assert [stats.offset for stats in matched] == [0] * len(clips)
    for one, other in zip(matched, map(lse.measure, map(Pair, mismatched(clips))), strict=True):
        assert one.lse_c > 1.5 * other.lse_c


def test_late_sound_is_found_late(lse: LSE):
    clip = DATASET.clip(FEW[0])
    late = np.concatenate([np.zeros(3 * 640, np.int16), clip.audio[: -3 * 640]])
    stats = lse.measure(Pair(replace(clip, path=None, preloaded=Media(clip.frames, late))))
    assert stats.offset == -3


def test_a_few_clips_are_read_and_a_still_face_is_not(wer: WER):
    clips = [DATASET.clip(clip_id) for clip_id in FEW]
    assert wer.aggregate([wer.measure(Pair(clip)) for clip in clips])["wer"] < 50  # type: ignore[operator]
    still = wer.measure(Pair(held(clips[0]), clips[0]))
    assert still.hypothesis == "<unk>"
    assert still.errors == still.words


@pytest.mark.slow
def test_lse_meets_its_targets_on_ground_truth(lse: LSE):
    clips = [DATASET.clip(clip_id) for clip_id in IDS]
    matched = [lse.measure(Pair(clip)) for clip in clips]
    other = [lse.measure(Pair(clip)) for clip in mismatched(clips)]
    assert np.mean([stats.offset == 0 for stats in matched]) >= 0.95
    assert wilcoxon([s.lse_c for s in matched], [s.lse_c for s in other], alternative="greater").pvalue < 0.001
    assert lse.aggregate(matched)["lse_d"] < lse.aggregate(other)["lse_d"]  # type: ignore[operator]


@pytest.mark.slow
def test_wer_meets_its_targets_on_ground_truth(wer: WER):
    clips = [DATASET.clip(clip_id) for clip_id in IDS]
    assert wer.aggregate([wer.measure(Pair(clip)) for clip in clips])["wer"] < 25  # type: ignore[operator]
    assert wer.aggregate([wer.measure(Pair(held(clip), clip)) for clip in clips])["wer"] > 90  # type: ignore[operator]


def test_the_slug_pocket_means_the_shipped_experts_alone(tmp_path: Path):
    shutil.copytree(POCKET, tmp_path / "pocket")
    parts = ("syncnet", "lipreader")
    digests = {part: sha256((POCKET / f"{part}.safetensors").read_bytes()).hexdigest() for part in parts}
    elsewhere = str(tmp_path / "pocket")
    assert LSE(LSEOptions(weights=elsewhere)).protocol == f"pocket-{digests['syncnet'][:8]}-lrs"
    assert WER(WEROptions(reader=elsewhere)).protocol == f"pocket-{digests['lipreader'][:8]}"


def test_two_trainings_are_two_columns_named_by_training_and_digest(tmp_path: Path):
    protocols = {}
    for training, change in (("first", b""), ("second", b""), ("third", b"another")):
        folder = tmp_path / training / "model"  # what every training calls the folder that it exports to
        shutil.copytree(POCKET, folder)
        with (folder / "syncnet.safetensors").open("ab") as file:
            file.write(change)
        protocols[training] = LSE(LSEOptions(weights=str(folder))).protocol
    digest = sha256((POCKET / "syncnet.safetensors").read_bytes()).hexdigest()[:8]
    assert protocols["first"] == f"first-{digest}-lrs" and protocols["second"] == f"second-{digest}-lrs"
    assert protocols["third"].startswith("third-") and digest not in protocols["third"]


def test_the_shipped_weights_are_told_by_their_digest(lse: LSE, wer: WER):
    for metric, part in ((lse, "syncnet"), (wer, "lipreader")):
        (used,) = metric.weights_used()
        assert used.name == f"pocket/{part}"
        assert used.sha256 == sha256((POCKET / f"{part}.safetensors").read_bytes()).hexdigest()
        assert (POCKET / f"{part}.safetensors").stat().st_size < 4_000_000


@pytest.mark.parametrize("part", ["syncnet", "lipreader"])
def test_broken_and_foreign_files_are_refused_by_name(part: str, tmp_path: Path):
    folder = shutil.copytree(POCKET, tmp_path / "mine")
    metric = LSE(LSEOptions(weights=str(folder))) if part == "syncnet" else WER(WEROptions(reader=str(folder)))
    file = folder / f"{part}.safetensors"
    whole = file.read_bytes()

    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=rf"{part}\.safetensors is not a readable safetensors file"):
        metric.prepare()
    other = "lipreader" if part == "syncnet" else "syncnet"
    file.write_bytes((POCKET / f"{other}.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=rf"{part}\.safetensors"):
        metric.prepare()
    file.unlink()
    with pytest.raises(WeightsError, match=rf"{part}\.safetensors: no such"):
        metric.prepare()
    file.write_bytes(whole)
    file.with_suffix(".json").write_text("not json")
    with pytest.raises(WeightsError, match=rf"{part}\.json is no description"):
        metric.prepare()
