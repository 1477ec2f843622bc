"""The DiffTalk plugin with a small random model: inputs by closed form, references, blending, failures of clips."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Media
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.media.writing import write_video
from syncdiff_methods.difftalk.method import DiffTalk, DiffTalkOptions
from syncdiff_methods.difftalk.model import DiffTalkConfig, DiffTalkModel
from syncdiff_methods.difftalk.sampling import KEPT, kept_cells
from syncdiff_methods.syncdiff.audio import around
from syncdiff_methods.syncdiff.config import AutoencoderConfig, UNetConfig
from syncdiff_methods.syncdiff.masking import scaled

CONFIG = DiffTalkConfig(
    name="tiny",
    frame_size=32,
    autoencoder=AutoencoderConfig((32, 32), 1, 64),
    unet=UNetConfig((32, 64), (False, True), 1),
)
SIDE = 40
LENGTHS = {"a": 3, "b": 4, "c": 1}


def face() -> np.ndarray:  # type: ignore[type-arg]
    """68 points in a 40-pixel frame: a jaw of 17 around (20, 20), the nose base at (20, 22), the rest at the eyes."""
    points = np.full((68, 2), (20.0, 14.0), np.float32)
    angles = np.linspace(0, np.pi, 17)
    points[:17] = np.stack([20 - 14 * np.cos(angles), 20 + 16 * np.sin(angles)], axis=1)
    points[33] = (20, 22)
    return points


def toy_clip(name: str, frames: int, seed: int) -> Clip:
    rng = np.random.default_rng(seed)
    media = Media(
        rng.integers(0, 255, (frames, SIDE, SIDE, 3), np.uint8), rng.integers(-9, 9, 640 * frames).astype(np.int16)
    )
    return Clip(name, "toy", preloaded=media)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and landmarks (of so many frames) and scores of the clips a, b and c."""
    root = tmp_path_factory.mktemp("difftalk")
    torch.manual_seed(0)
    DiffTalkModel(CONFIG).save_pretrained(root / "model")
    for kind in ("landmarks", "logits"):
        (root / kind).mkdir()
    for index, name in enumerate(("a", "b", "c")):
        np.save(root / "landmarks" / f"{name}.npy", np.repeat(face()[None], LENGTHS[name], axis=0))
        scores = np.random.default_rng(index).standard_normal((8, 29)).astype(np.float32)
        np.save(root / "logits" / f"{name}.npy", scores)
    return root


def options(folder: Path, **changes: object) -> DiffTalkOptions:
    given = {name: str(folder / name) for name in ("model", "landmarks", "logits")}
    return replace(DiffTalkOptions(steps=2, **given), **changes)  # type: ignore[arg-type]


def generate(folder: Path, clips: list[Clip], seed: int = 0, **changes: object) -> dict[str, Frames | ClipError]:
    return dict(DiffTalk(options(folder, **changes)).generate(clips, seed=seed))


# ---------------------------------------------------------------------------------------------- inputs


def test_the_kept_landmarks_leave_mouth_and_chin_out() -> None:
    assert len(KEPT) == 39
    assert not set(KEPT) & {*range(4, 13), *range(48, 68)}


def test_cells_inside_jaw_and_nose_are_repainted() -> None:
    keep = kept_cells(scaled(face()[None], (SIDE, SIDE), 32), 32, 16)[0]
    assert keep.shape == (16, 16)
    assert set(np.unique(keep)) == {0, 1}
    assert keep[:8].all()  # above the nose base
    assert keep[12, 8] == 0  # the mouth
    assert keep[12, 0] == keep[12, 15] == 1


def test_neighbours_are_centred_and_zero_padded() -> None:
    rows = torch.arange(1.0, 6)[None, :, None] + torch.tensor([0, 10])
    found = around(rows, 8)
    assert found.shape == (1, 5, 8, 2)
    assert found[0, 0, :, 0].tolist() == [0, 0, 0, 0, 1, 2, 3, 4]
    assert found[0, 4, :, 1].tolist() == [11, 12, 13, 14, 15, 0, 0, 0]


# ------------------------------------------------------------------------------------------ generation


def test_frames_fit_whatever_the_length(folder: Path) -> None:
    clips = [toy_clip(name, frames, seed) for seed, (name, frames) in enumerate(LENGTHS.items())]
    done = generate(folder, clips)
    for clip in clips:
        frames = done[clip.id]
        assert isinstance(frames, np.ndarray)
        assert (frames.shape, frames.dtype) == (clip.frames.shape, np.uint8)
    alone = generate(folder, [clips[1]])["b"]
    assert np.abs(np.asarray(alone, int) - np.asarray(done["b"], int)).max() <= 2
    other = generate(folder, [clips[1]], seed=1)["b"]
    assert np.abs(np.asarray(alone, int) - np.asarray(other, int)).max() > 5


def test_references_differ_and_previous_starts_from_the_first(folder: Path) -> None:
    clip = toy_clip("a", 3, 1)
    previous, first, same = (
        np.asarray(generate(folder, [clip], reference=name)["a"], int) for name in ("previous", "first", "same")
    )
    np.testing.assert_array_equal(previous[0], first[0])
    np.testing.assert_allclose(same[0], first[0], atol=2)  # frame 0 is the first frame
    assert np.abs(previous[1:] - first[1:]).mean() > 0.1
    assert np.abs(same[1:] - first[1:]).mean() > 0.1


def test_what_the_network_sees_of_the_true_mouth(folder: Path) -> None:
    """Nothing with reference=first and blend=masked; blending with the truth shows it."""
    clip = toy_clip("a", 3, 1)
    frames = clip.frames.copy()
    frames[1:, 23:] = 255
    painted = Clip("a", "toy", preloaded=Media(frames, clip.audio))
    for blend, hidden in (("masked", True), ("truth", False)):
        before = generate(folder, [clip], reference="first", blend=blend)["a"]
        after = generate(folder, [painted], reference="first", blend=blend)["a"]
        assert np.array_equal(np.asarray(before), np.asarray(after)) is hidden


def test_a_clip_without_landmarks_fails_alone(folder: Path) -> None:
    done = generate(folder, [toy_clip("unknown", 2, 1), toy_clip("a", 3, 2)])
    error = done["unknown"]
    assert isinstance(error, ClipError)
    assert error.kind == "landmarks"
    assert isinstance(done["a"], np.ndarray)


def test_what_is_missing_is_named(folder: Path) -> None:
    with pytest.raises(UsageError, match=r"difftalk needs --set model=DIR: `syncdiff-bench weights import"):
        DiffTalk().weights_used()
    with pytest.raises(UsageError, match=r"difftalk needs --set logits=\.\.\."):
        DiffTalk(options(folder, logits=None)).weights_used()
    with pytest.raises(UsageError, match="not a readable DiffTalk config"):
        DiffTalk(options(folder, model=str(folder / "logits"))).weights_used()
    with pytest.raises(UsageError, match="steps=3 does not divide 1000"):
        _ = DiffTalk(options(folder, steps=3)).model


def test_an_official_checkpoint_yields_a_row(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """convert, then run: from a Lightning file to a leaderboard."""
    clips = tmp_path / "clips"
    clips.mkdir()
    media = toy_clip("a", LENGTHS["a"], 1).media
    write_video(clips / "a.mp4", media)
    checkpoint, model = tmp_path / "last.ckpt", tmp_path / "model"
    assert main(["weights", "export", "difftalk", str(folder / "model"), str(checkpoint)]) == 0
    assert main(["weights", "import", "difftalk", str(checkpoint), str(model), "--set", "frame_size=32"]) == 0
    settings = [f"model={model}", f"landmarks={folder / 'landmarks'}", f"logits={folder / 'logits'}", "steps=2"]
    data = ["--dataset", "folder", "--data-root", str(clips), "--metrics", "psnr[region=full]"]
    arguments = ["run", "--method", "difftalk", *data]
    assert main([*arguments, "--out", str(tmp_path / "runs"), *(x for s in settings for x in ("--set", s))]) == 0
    assert re.search(r"difftalk\W+\d+\.\d\d\W+1 \(0\)", capsys.readouterr().out)  # a PSNR of one clip, none failed
