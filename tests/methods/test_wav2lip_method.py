"""The `wav2lip` plugin with a narrow random network: where it draws, what it looks at, what it says when it cannot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from syncdiff_bench.contracts import Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError, UsageError, WeightsError
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_methods.wav2lip.checkpoint import generator_of, load_generator, published_tensors, save_generator
from syncdiff_methods.wav2lip.config import Wav2LipConfig
from syncdiff_methods.wav2lip.generator import Wav2Lip as Generator
from syncdiff_methods.wav2lip.method import Wav2Lip, Wav2LipOptions

NARROW = Wav2LipConfig(width=1 / 16)
BOX = (12, 9, 75, 70)


def clip(clip_id: str, frames: int = 6, height: int = 81, width: int = 91, samples: int | None = None) -> Clip:
    """Noise with a sound, an odd size and one box."""
    rng = np.random.default_rng(frames + height)
    pictures = rng.integers(0, 256, (frames, height, width, 3), np.uint8)
    audio = rng.integers(-9000, 9000, 640 * frames if samples is None else samples).astype(np.int16)
    made = Clip(clip_id, "test", preloaded=Media(pictures, audio))
    return with_boxes(made, np.tile(np.array(BOX, np.int32), (frames, 1)))


def with_boxes(made: Clip, boxes: np.ndarray) -> Clip:
    made.__dict__["face_boxes"] = FaceBoxes(boxes, "file")  # the cached property, filled by hand
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    generator = Generator(NARROW)
    with torch.no_grad():
        for module in generator.modules():  # else a random network hardly hears anything
            if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
                module.weight.mul_(2.0)
    path = tmp_path_factory.mktemp("wav2lip") / "narrow"
    save_generator(generator, path, half=False)
    return path


def method(folder: Path, **options: object) -> Wav2Lip:
    return Wav2Lip(Wav2LipOptions(checkpoint=str(folder), **options))  # type: ignore[arg-type]


def generate(method: Wav2Lip, *clips: Clip) -> dict[str, Frames]:
    done = dict(method.generate(clips, seed=0))
    assert all(isinstance(frames, np.ndarray) for frames in done.values())
    return done  # type: ignore[return-value]


def test_only_the_padded_box_is_redrawn(folder: Path) -> None:
    given = clip("a")
    frames = generate(method(folder), given)["a"]
    assert frames.shape == given.frames.shape and frames.dtype == np.uint8
    x1, y1, x2, y2 = BOX
    changed = (frames != given.frames).any(axis=(0, 3))
    assert changed[y1 : y2 + 10, x1:x2].mean() > 0.9
    changed[y1 : y2 + 10, x1:x2] = False
    assert not changed.any()


def test_the_filelist_script_pads_nothing(folder: Path) -> None:
    given = clip("a")
    frames = generate(method(folder, script="filelist"), given)["a"]
    np.testing.assert_array_equal(frames[:, BOX[3] :], given.frames[:, BOX[3] :])
    padded = generate(method(folder, script="filelist", pads=(0, 10, 0, 0)), given)["a"]
    np.testing.assert_array_equal(padded, generate(method(folder), given)["a"])


def test_the_first_reference_hides_every_other_mouth(folder: Path) -> None:
    """Repainting the lower halves of later frames changes nothing; with `same` it does, which is the leak."""
    given, painted = clip("a"), clip("a")
    painted.frames[1:, (BOX[1] + BOX[3] + 10) // 2 + 1 :, BOX[0] : BOX[2]] = 255
    for reference, equal in (("first", True), ("same", False)):
        ours, theirs = (generate(method(folder, reference=reference), one)["a"] for one in (given, painted))
        inside = np.s_[:, BOX[1] : BOX[3] + 10, BOX[0] : BOX[2]]
        assert np.array_equal(ours[inside], theirs[inside]) is equal


def test_the_mouth_depends_on_the_sound(folder: Path) -> None:
    loud, silent = clip("a"), clip("a")
    silent.audio[:] = 0
    one = method(folder)
    assert (generate(one, loud)["a"] != generate(one, silent)["a"]).any()


def test_batches_of_frames_and_clips_change_nothing(folder: Path) -> None:
    """Beyond float rounding, which may move a pixel by a grey level."""
    clips = [clip("a", 3), clip("b", 7, 60), clip("c", 1)]
    alone = {one.id: generate(method(folder, batch=1), one)[one.id] for one in clips}
    told: list[int] = []
    together = dict(method(folder, batch=4, clips=3).generate(clips, seed=0, progress=told.append))
    assert list(together) == ["a", "b", "c"]
    assert sum(told) == 11 and max(told) == 4
    for name, frames in together.items():
        assert np.abs(frames.astype(int) - alone[name]).max() <= 1


@pytest.mark.parametrize(
    ("frames", "height", "width", "samples"),
    [
        (1, 81, 91, None),  # one frame
        (5, 160, 97, None),  # not square
        (8, 81, 91, 700),  # sound for one frame of eight
        (3, 81, 91, 50_000),  # sound beyond the picture
    ],
)
def test_awkward_clips(folder: Path, frames: int, height: int, width: int, samples: int | None) -> None:
    given = clip("a", frames, height, width, samples)
    assert generate(method(folder), given)["a"].shape == (frames, height, width, 3)


def test_a_bad_clip_fails_alone(folder: Path) -> None:
    outside = with_boxes(clip("outside"), np.tile(np.array([200, 0, 240, 20], np.int32), (6, 1)))
    found = dict(method(folder).generate([clip("mute", samples=0), outside, clip("good")], seed=0))
    mute, boxless = found["mute"], found["outside"]
    assert isinstance(mute, ClipError) and mute.kind == "no-audio" and str(mute).startswith("mute: ")
    assert isinstance(boxless, ClipError) and boxless.kind == "boxes"
    assert isinstance(found["good"], np.ndarray)


# ------------------------------------------------------------------------------------------------ weights


def test_missing_weights_are_named_with_the_command(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="weights wav2lip missing; syncdiff-bench weights fetch wav2lip") as caught:
        Wav2Lip(runtime=Runtime(weights=WeightsStore(tmp_path))).weights_used()
    assert caught.value.missing == "wav2lip"


def test_the_official_layout_loads(tmp_path: Path) -> None:
    """Every name behind `module.`, beside an optimizer, as `torch.save` of a parallel module writes it."""
    generator = Generator(NARROW)
    path = tmp_path / "wav2lip.pth"
    state = {f"module.{name}": tensor for name, tensor in generator.state_dict().items()}
    content = {"state_dict": state, "optimizer": {"state": {}, "param_groups": []}, "global_step": 3, "global_epoch": 1}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    loaded = generator_of(published_tensors(path), NARROW, str(path))
    assert not loaded.training
    for name, tensor in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_another_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"state_dict": {"module.face_encoder_blocks.0.0.conv_block.0.weight": torch.zeros(2)}}, path)
    with pytest.raises(WeightsError, match=r"other.pth does not fit Wav2Lip: .* is missing .*use the weights made for"):
        load_generator(str(path), Runtime())


def test_a_folder_keeps_its_width_and_its_digest(folder: Path) -> None:
    assert load_generator(str(folder), Runtime()).config == NARROW
    (used,) = method(folder).weights_used()
    assert used.name == "wav2lip/narrow" and len(used.sha256) == 64
    half = folder.parent / "half"
    save_generator(load_generator(str(folder), Runtime()), half, half=True)
    assert (half / "generator.safetensors").stat().st_size < 0.6 * (folder / "generator.safetensors").stat().st_size
    ours, theirs = (generate(method(where), clip("a"))["a"].astype(int) for where in (folder, half))
    assert np.abs(ours - theirs).max() <= 2


@pytest.mark.parametrize(
    ("checkpoint", "error", "words"),
    [
        ("nowhere/x.pth", WeightsError, "nowhere/x.pth: no such file"),
        ("wav2lap", UsageError, "unknown weights 'wav2lap'.*wav2lip"),
    ],
)
def test_checkpoints_that_are_not_there(checkpoint: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        Wav2Lip(Wav2LipOptions(checkpoint=checkpoint)).weights_used()


def test_a_damaged_config_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"wide": 1}')
    with pytest.raises(WeightsError, match=r"config.json: not a readable wav2lip config .*wide"):
        load_generator(str(tmp_path), Runtime())


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"clips": 0}])
def test_sizes_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        Wav2LipOptions(**wrong)
