"""What stands for the previous frames at test: generated ones, the given first one, or the true ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_networks import SYNCDIFF as TINY
from torch import Tensor

from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Media
from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.writing import write_video
from syncdiff_methods.syncdiff import sampling
from syncdiff_methods.syncdiff.acceleration import Acceleration, part_flops, workload
from syncdiff_methods.syncdiff.config import ConditionConfig, DiffusionConfig, SyncDiffConfig
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions
from syncdiff_methods.syncdiff.model import SyncDiffModel, to_images
from syncdiff_methods.syncdiff.sampling import ClipConditions, FrameNoise, clip_conditions, sample_clips

RND = ConditionConfig(previous="none", identity_at_test="previous")
CONDITIONS = {
    "rnd": RND,
    "full": ConditionConfig(previous="full", previous_frames=2),
    "rnd+prv-": ConditionConfig(),
    "tokens": ConditionConfig(previous="tokens", previous_frames=3),
}
FRAMES = 5


def config_of(condition: ConditionConfig, **at_test: Any) -> SyncDiffConfig:
    diffusion = DiffusionConfig(prediction="sample", steps=2)
    return replace(TINY, feedback="latent", condition=replace(condition, **at_test), diffusion=diffusion)


def model_of(condition: ConditionConfig, **at_test: Any) -> SyncDiffModel:
    torch.manual_seed(0)
    return SyncDiffModel(config_of(condition, **at_test)).eval()


def clip_of(name: str, frames: int = FRAMES) -> ClipConditions:
    rng = torch.Generator().manual_seed(frames)
    clean = torch.randn(frames, 3, 8, 8, generator=rng)
    return ClipConditions(
        name, torch.randn(frames, 3, 8, 8, generator=rng), clean[0], torch.zeros(frames, 16), torch.zeros(3, 32, 32),
        torch.ones(frames, 8, 8), clean,
    )  # fmt: skip


def latents_of(model: SyncDiffModel, clips: list[ClipConditions]) -> dict[tuple[int, int], Tensor]:
    """Generated latents; the decoder changes nothing."""
    model.autoencoder.decode = lambda latents: latents.clone()  # type: ignore[method-assign]
    made: dict[tuple[int, int], Tensor] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Tensor, "clamp", lambda tensor, *_args, **_kwargs: tensor)
        sample_clips(model, clips, seed=0, on_frame=lambda i, t, image: made.update({(i, t): image.clone()}))
    return made


# ------------------------------------------------------------------------------------ closed forms


def ended(told: Tensor, noise: Tensor) -> Tensor:
    """Where DDIM ends from x_T = noise, told of one x_0 all along: sqrt(a_0) x_0 + sqrt(1 - a_0) eps, with
    eps = (x_T - sqrt(a_T) x_0) / sqrt(1 - a_T); T = 501 is the first of two steps.
    """
    diffusion = TINY.diffusion
    betas = torch.linspace(diffusion.beta_start**0.5, diffusion.beta_end**0.5, 1000, dtype=torch.float64) ** 2
    kept = torch.cumprod(1 - betas, dim=0)
    first, last = kept[501], kept[0]
    eps = (noise.double() - first.sqrt() * told.double()) / (1 - first).sqrt()
    return (last.sqrt() * told.double() + (1 - last).sqrt() * eps).float()


@pytest.mark.parametrize("at_test", ["generated", "given", "true"])
@pytest.mark.parametrize(("name", "channels"), [("rnd", slice(3, 6)), ("full", slice(6, 9))])
def test_a_network_that_adds_one_to_the_previous_frame(name: str, channels: slice, at_test: str) -> None:
    """Frame t is one more than true frame t - 1, than the given one, or than what was generated before it."""
    model = model_of(CONDITIONS[name], previous_at_test=at_test)
    model.denoiser.forward = lambda _noisy, _t, visual, *_rest: visual[:, channels] + 1  # type: ignore[method-assign]
    clips = [clip_of("a"), clip_of("b", 3)]
    made = latents_of(model, clips)
    for i, clip in enumerate(clips):
        before = clip.identity
        for t in range(len(clip)):
            assert clip.clean is not None
            shown = {"generated": before, "given": clip.identity, "true": clip.clean[max(0, t - 1)]}[at_test]
            before = ended(shown + 1, FrameNoise(0, clip.clip_id, t).draw((3, 8, 8)))
            torch.testing.assert_close(made[i, t], before, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("at_test", ["generated", "true"])
@pytest.mark.parametrize("name", CONDITIONS)
def test_with_true_frames_no_frame_depends_on_a_generated_one(
    name: str, at_test: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other noise in frame 0 changes frame 0, and with generated frames all after it."""
    model = model_of(CONDITIONS[name], previous_at_test=at_test)
    before = latents_of(model, [clip_of("a")])
    other = lambda seed, clip, t: FrameNoise(seed + (t == 0), clip, t)  # noqa: E731
    monkeypatch.setattr(sampling, "FrameNoise", other)
    after = latents_of(model, [clip_of("a")])
    changed = [t for t in range(FRAMES) if not torch.equal(before[0, t], after[0, t])]
    assert changed == ([0] if at_test == "true" else list(range(FRAMES)))


def test_true_frames_come_nearest_first() -> None:
    model, seen = model_of(CONDITIONS["full"], previous_at_test="true"), list[Tensor]()
    model.denoiser.register_forward_pre_hook(lambda _module, given: seen.append(given[2][0]))
    clip = clip_of("a")
    latents_of(model, [clip])
    assert clip.clean is not None
    for t, conditions in enumerate(seen[::2]):  # two steps a frame
        for k, latent in enumerate(conditions[6:].chunk(2)):
            assert torch.equal(latent, clip.clean[max(0, t - 1 - k)]), f"frame {t}, {k + 1} back"


def test_nothing_generated_is_encoded_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model = SyncDiffModel(replace(config_of(ConditionConfig(), previous_at_test="true"), feedback="pixel")).eval()
    monkeypatch.setattr(model.autoencoder, "encode", lambda _images: pytest.fail("encoded"))
    sample_clips(model, [clip_of("a")], seed=0, on_frame=lambda *_: None)


def toy_clip(frames: int = 3) -> Clip:
    rng = np.random.default_rng(0)
    pictures: NDArray[np.uint8] = rng.integers(0, 255, (frames, 40, 40, 3), np.uint8)
    sound = rng.integers(-900, 900, 640 * frames).astype(np.int16)
    return Clip("a", "toy", boxes="centred", preloaded=Media(pictures, sound))


def test_true_frames_are_those_of_the_clip() -> None:
    clip = toy_clip()
    model = model_of(ConditionConfig(), previous_at_test="true")
    conditions = clip_conditions(model, clip)
    images = to_images(torch.from_numpy(clip.frames), TINY.frame_size)
    with torch.inference_mode():
        expected = torch.cat([model.autoencoder.encode(image[None]) for image in images])
    assert conditions.clean is not None
    torch.testing.assert_close(conditions.clean, expected, atol=1e-4, rtol=1e-4)
    assert clip_conditions(model_of(ConditionConfig()), clip).clean is None


def test_work_counts_the_true_frames_that_are_encoded() -> None:
    true, given = (config_of(ConditionConfig(), previous_at_test=at) for at in ("true", "given"))
    more = [workload(config, [7], 1, Acceleration(), "cpu").flops for config in (true, given)]
    assert more[0] - more[1] == 7 * part_flops(TINY)["encode"]


# ------------------------------------------------------------------------------------ options of the method


def saved(folder: Path, condition: ConditionConfig, variant: str) -> Path:
    torch.manual_seed(0)
    SyncDiffModel(replace(config_of(condition), variant=variant)).save_pretrained(folder)
    return folder


def options_of(folder: Path, **options: Any) -> SyncDiff:
    return SyncDiff(SyncDiffOptions(model=str(folder), **options))


def test_one_model_of_rnd_runs_with_its_last_frame_and_with_the_first(tmp_path: Path) -> None:
    folder = saved(tmp_path / "rnd", RND, "rnd")
    assert options_of(folder).config.condition.identity_at_test == "previous"
    first = options_of(folder, identity_at_test="given").config.condition
    assert (first.identity_at_test, first.reads_generated) == ("given", False)


@pytest.mark.parametrize(
    ("condition", "options", "message"),
    [
        (ConditionConfig(identity=False), {"identity_at_test": "given"}, "identity_at_test=given.*no identity frame"),
        (RND, {"identity_at_test": "given", "previous_at_test": "true"}, "previous_at_test=true.*no previous frame"),
    ],
)
def test_what_a_model_does_not_read_is_refused(
    condition: ConditionConfig, options: Mapping[str, Any], message: str, tmp_path: Path
) -> None:
    method = options_of(saved(tmp_path / "model", condition, "mine"), **options)
    with pytest.raises(UsageError, match=f"{message}; leave it out"):
        method.weights_used()
    with pytest.raises(UsageError, match=message):
        method.general_caveats()


SENTENCE = "the true frames before each one were shown in place of the generated ones: a diagnosis, no method"


def test_a_run_records_both_and_its_tables_say_that_true_frames_were_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    folder, clip = saved(tmp_path / "rnd", RND, "rnd"), toy_clip()
    (tmp_path / "videos").mkdir()
    write_video(tmp_path / "videos" / "one.mp4", Media(clip.frames, clip.audio))
    run = ["run", "--method", "syncdiff", "--set", f"model={folder}", "--dataset", "folder", "--boxes", "centred"]
    run += ["--data-root", "videos", "--metrics", "psnr"]
    assert main([*run, "--set", "previous_at_test=true"]) == 0
    assert SENTENCE in capsys.readouterr().out
    (record,) = Path("runs").rglob("run.json")
    known = json.loads(record.read_text())
    assert known["method"]["options"]["previous_at_test"] == "true"
    assert [one["sentence"] for one in known["caveats"] if one["kind"] == "true-frames"] == [SENTENCE]
    for other, change in (
        ([], "option previous_at_test true -> None"),
        (["previous_at_test=true", "identity_at_test=previous"], "option identity_at_test None -> previous"),
    ):
        assert main([*run, *(word for text in other for word in ("--set", text))]) == 2
        assert change in capsys.readouterr().err
