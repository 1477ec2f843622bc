"""`wav2lip` and `talklip` with small random networks: where they draw, what they look at, how they refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage.transform import resize
from tiny_networks import avhubert

from syncdiff_bench.contracts import Clip, Frames, Media, Runtime
from syncdiff_bench.errors import ClipError, UsageError, WeightsError
from syncdiff_bench.faces.boxes import FaceBoxes
from syncdiff_bench.media.bilinear import cut_faces
from syncdiff_bench.networks.avhubert.features import normalise_rows, stacked_features
from syncdiff_bench.weights.store import WeightsStore
from syncdiff_methods.talklip.method import TalkLip, TalkLipOptions
from syncdiff_methods.talklip.network import TalkLip as TalkLipNetwork
from syncdiff_methods.talklip.network import load_talklip
from syncdiff_methods.wav2lip.checkpoint import fill_published, load_generator, save_generator
from syncdiff_methods.wav2lip.faces import network_input
from syncdiff_methods.wav2lip.generator import Wav2Lip as Generator
from syncdiff_methods.wav2lip.generator import Wav2LipConfig
from syncdiff_methods.wav2lip.inference import for_inference
from syncdiff_methods.wav2lip.method import FaceMethod, Wav2Lip, Wav2LipOptions

NARROW = Wav2LipConfig(width=1 / 16)
SMALL = avhubert(encoder_layers=1, ffn_dim=32, heads=2, conv_pos_groups=2, video=False)
BOX = (12, 9, 75, 70)
PADDED = {"wav2lip": 10, "talklip": 0}  # pixels added below
Make = Callable[..., FaceMethod]


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


@pytest.fixture(scope="module")
def network() -> TalkLipNetwork:
    torch.manual_seed(0)
    network = for_inference(TalkLipNetwork(SMALL, Wav2LipConfig(width=1 / 8)), "cpu")
    network.audio_map.weight.data.mul_(20)  # else a random network hardly hears anything
    return network


def wav2lip(folder: Path, **options: Any) -> Wav2Lip:
    return Wav2Lip(Wav2LipOptions(checkpoint=str(folder), **options))


def talklip(network: TalkLipNetwork, **options: Any) -> TalkLip:
    made = TalkLip(TalkLipOptions(**options))
    made.__dict__["network"] = network  # the cached property, filled by hand
    return made


@pytest.fixture(params=["wav2lip", "talklip"])
def make(request: pytest.FixtureRequest, folder: Path, network: TalkLipNetwork) -> Make:
    """Either method, by its options."""
    if request.param == "wav2lip":
        return lambda **options: wav2lip(folder, **options)
    return lambda **options: talklip(network, **options)


def generate(method: FaceMethod, *clips: Clip) -> dict[str, Frames]:
    done = dict(method.generate(clips, seed=0))
    assert all(isinstance(frames, np.ndarray) for frames in done.values())
    return done  # type: ignore[return-value]


# --------------------------------------------------------------------------------------------- of both


def test_only_the_box_is_redrawn(make: Make) -> None:
    """With 10 pixels below it for Wav2Lip."""
    given, method = clip("a"), make()
    frames = generate(method, given)["a"]
    assert frames.shape == given.frames.shape and frames.dtype == np.uint8
    x1, y1, x2, y2 = BOX
    y2 += PADDED[method.name]
    changed = (frames != given.frames).any(axis=(0, 3))
    assert changed[y1:y2, x1:x2].mean() > 0.9
    changed[y1:y2, x1:x2] = False
    assert not changed.any()


def test_the_first_reference_hides_every_other_mouth(make: Make) -> None:
    """Repainting the lower halves of later frames changes nothing; with `same` it does, which is the leak."""
    given, painted = clip("a"), clip("a")
    for reference, equal in (("first", True), ("same", False)):
        method = make(reference=reference)
        bottom = BOX[3] + PADDED[method.name]
        painted.frames[1:, (BOX[1] + bottom) // 2 + 2 :, BOX[0] : BOX[2]] = 255
        inside = np.s_[:, BOX[1] : bottom, BOX[0] : BOX[2]]
        ours, theirs = (generate(method, one)["a"][inside] for one in (given, painted))
        assert np.array_equal(ours, theirs) is equal


def test_the_mouth_depends_on_the_sound(make: Make) -> None:
    loud, other = clip("a"), clip("a")
    other.audio[:] = np.arange(len(other.audio)) % 300
    assert (generate(make(), loud)["a"] != generate(make(), other)["a"]).any()


def test_batches_of_frames_and_clips_change_nothing(make: Make) -> None:
    """Beyond float rounding, which may move a pixel by a grey level."""
    clips = [clip("a", 3), clip("b", 7, 60), clip("c", 1)]
    alone = {one.id: generate(make(batch=1), one)[one.id] for one in clips}
    told: list[int] = []
    together = dict(make(batch=4, clips=3).generate(clips, seed=0, progress=told.append))
    assert list(together) == ["a", "b", "c"]
    assert sum(told) == 11 and max(told) == 4
    for name, frames in together.items():
        assert np.abs(frames.astype(int) - alone[name]).max() <= 1  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("frames", "height", "width", "samples"),
    [
        (1, 81, 91, None),  # one frame
        (5, 160, 97, None),  # not square: TalkLip's official script writes an empty file
        (8, 81, 91, 700),  # sound for one frame of eight: TalkLip's official script fails
        (3, 81, 91, 50_000),  # sound beyond the last frame
    ],
)
def test_awkward_clips(make: Make, frames: int, height: int, width: int, samples: int | None) -> None:
    given = clip("a", frames, height, width, samples)
    assert generate(make(), given)["a"].shape == (frames, height, width, 3)


def test_a_bad_clip_fails_alone(make: Make) -> None:
    outside = with_boxes(clip("outside"), np.tile(np.array([200, 0, 240, 20], np.int32), (6, 1)))
    found = dict(make().generate([clip("mute", samples=0), outside, clip("good")], seed=0))
    mute, boxless = found["mute"], found["outside"]
    assert isinstance(mute, ClipError) and mute.kind == "no-audio" and str(mute).startswith("mute: ")
    assert isinstance(boxless, ClipError) and boxless.kind == "boxes"
    assert isinstance(found["good"], np.ndarray)


@pytest.mark.parametrize("kind", [Wav2Lip, TalkLip])
def test_missing_weights_are_named_with_the_command(kind: type[FaceMethod], tmp_path: Path) -> None:
    name = kind.name
    with pytest.raises(
        WeightsError, match=rf"weights {name} missing; only you can get it: .*README.*; then .* weights add {name} FILE"
    ) as caught:
        kind(runtime=Runtime(weights=WeightsStore(tmp_path))).weights_used()
    assert caught.value.missing == name


@pytest.mark.parametrize("options", [Wav2LipOptions, TalkLipOptions])
@pytest.mark.parametrize("wrong", [{"batch": 0}, {"clips": 0}])
def test_sizes_below_one_are_refused(options: type[Any], wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match="give 1 or more"):
        options(**wrong)


# --------------------------------------------------------------------------------------------- Wav2Lip


def test_the_filelist_script_pads_nothing(folder: Path) -> None:
    given = clip("a")
    frames = generate(wav2lip(folder, script="filelist"), given)["a"]
    np.testing.assert_array_equal(frames[:, BOX[3] :], given.frames[:, BOX[3] :])
    padded = generate(wav2lip(folder, script="filelist", pads=(0, 10, 0, 0)), given)["a"]
    np.testing.assert_array_equal(padded, generate(wav2lip(folder), given)["a"])


def test_the_official_layout_loads(tmp_path: Path) -> None:
    """Every name behind `module.`, beside an optimizer, as `torch.save` of a parallel module writes it."""
    generator = Generator(NARROW)
    path = tmp_path / "wav2lip.pth"
    state = {f"module.{name}": tensor for name, tensor in generator.state_dict().items()}
    content = {"state_dict": state, "optimizer": {"state": {}, "param_groups": []}, "global_step": 3, "global_epoch": 1}
    torch.save(content, path, _use_new_zipfile_serialization=False)
    loaded = Generator(NARROW)
    fill_published(loaded, path)
    for name, tensor in generator.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor)


def test_wav2lip_refuses_another_network(tmp_path: Path) -> None:
    path = tmp_path / "other.pth"
    torch.save({"state_dict": {"module.face_encoder_blocks.0.0.conv_block.0.weight": torch.zeros(2)}}, path)
    with pytest.raises(WeightsError, match=r"other.pth does not fit Wav2Lip: .* is missing .*use the weights made for"):
        load_generator(str(path), Runtime())


def test_a_folder_keeps_its_width_and_its_digest(folder: Path) -> None:
    assert load_generator(str(folder), Runtime()).config == NARROW
    (used,) = wav2lip(folder).weights_used()
    assert used.name == "wav2lip/narrow" and len(used.sha256) == 64
    half = folder.parent / "half"
    save_generator(load_generator(str(folder), Runtime()), half, half=True)
    assert (half / "generator.safetensors").stat().st_size < 0.6 * (folder / "generator.safetensors").stat().st_size
    ours, theirs = (generate(wav2lip(where), clip("a"))["a"].astype(int) for where in (folder, half))
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


# --------------------------------------------------------------------------------------------- TalkLip


def test_inference_step_by_step(network: TalkLipNetwork) -> None:
    """Own steps: first frame as identity, raw box, rows of the whole utterance, surplus cut on both sides."""
    given = clip("a", 4, samples=640 * 4 + 2000)  # rows of sound: 7, so one goes at the start and two at the end
    frames = generate(talklip(network), given)["a"]
    rows = normalise_rows(stacked_features(given.audio))
    assert len(rows) == 7
    faces = cut_faces(given.frames[..., ::-1], given.face_boxes.boxes)
    with torch.inference_mode():
        heard = network.encode_audio(torch.from_numpy(rows[1:5])[None])[0]
        seen = torch.from_numpy(network_input(faces, np.repeat(faces[:1], 4, axis=0)))
        drawn = network.draw_faces(heard, seen).numpy()
    x1, y1, x2, y2 = BOX
    for picture, frame in zip(drawn, frames, strict=True):
        sized = resize(picture.transpose(1, 2, 0), (y2 - y1, x2 - x1), order=1, mode="edge", anti_aliasing=False)
        difference = np.abs(frame[y1:y2, x1:x2, ::-1] - np.floor(255 * sized))
        assert difference.max() <= 1 and difference.mean() < 0.02
    untouched = frames.copy()
    untouched[:, y1:y2, x1:x2] = given.frames[:, y1:y2, x1:x2]
    np.testing.assert_array_equal(untouched, given.frames)


def test_pasting_is_bilinear_and_cut_off() -> None:
    """A ramp stays a ramp at every size; grey levels are cut off, not rounded."""
    picture = np.empty((96, 96, 3), np.float32)
    picture[:] = ((np.arange(96) + 0.5) / 96)[None, :, None]
    for width in (48, 96, 150):
        frame = np.zeros((40, 200, 3), np.uint8)
        TalkLip().paste(frame, picture, np.array([10, 5, 10 + width, 35], np.int32))
        row = frame[20, 10 : 10 + width, 0].astype(int)
        expected = np.floor(255 * (np.arange(width) + 0.5) / width + 1e-4)
        assert np.abs(row - expected)[2:-2].max() <= (0 if width == 96 else 1)


def test_talklip_refuses_another_network(tmp_path: Path) -> None:
    torch.save({"audio_encoder.0.conv_block.0.weight": torch.zeros(1)}, tmp_path / "x.pth")
    with pytest.raises(WeightsError, match=r"x.pth does not fit TalkLip: .* is missing"):
        load_talklip(tmp_path / "x.pth")


def test_the_work_of_wav2lip_is_that_of_its_convolutions() -> None:
    method = Wav2Lip(Wav2LipOptions("pocket"))
    found = method.workload([10, 25])
    network, counted = method.generator, []

    def count(layer: torch.nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        assert isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d)
        kernel = layer.kernel_size[0] * layer.kernel_size[1]
        # A transposed one multiplies each number that it is given, the other each that it makes.
        places = given[0][0, 0] if isinstance(layer, torch.nn.ConvTranspose2d) else made[0, 0]
        counted.append(2 * layer.in_channels * layer.out_channels * kernel * places.numel())

    for layer in network.modules():
        if isinstance(layer, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        network(torch.zeros(1, 1, 80, 16), torch.zeros(1, 6, 96, 96))
    assert found is not None and found.flops == 5 * 8 * sum(counted), "35 frames are five batches of eight"
    assert found.seconds is not None and found.seconds > 0
    assert found.batch == 4 and found.clip_bytes == 25 * (2 * 96 * 96 * 3 + 4 * 80 * 16)
