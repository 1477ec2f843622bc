"""From noise to frames: samplers of one frame, and the autoregressive loop over the frames of a batch of clips.

DDIM is that of CompVis; two fast solvers solve the same equation, start from the same noise and end at the same noise
level, so that with enough steps all three agree. Noise belongs to (seed, clip, frame index): a clip's result does not
depend on its batch mates. The frames of a clip are sequential (frame t needs the generated frame t - 1), so a batch is
frame t of N clips.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import torch
from torch import Tensor

from syncdiff_bench.arrays import writable
from syncdiff_bench.errors import UsageError
from syncdiff_methods.syncdiff.attention import cross_attention
from syncdiff_methods.syncdiff.audio import clip_features
from syncdiff_methods.syncdiff.beyond.consistency import check_consistency, consistency_scheduler, multistep
from syncdiff_methods.syncdiff.config import ConditionConfig, DiffusionConfig, Feedback, SyncDiffConfig
from syncdiff_methods.syncdiff.masking import apply_mask, cell_area, clip_mask
from syncdiff_methods.syncdiff.model import Autoencoder, Denoiser, SyncDiffModel, to_images

if TYPE_CHECKING:
    from diffusers import DDIMScheduler, DPMSolverMultistepScheduler, LCMScheduler, UniPCMultistepScheduler

    from syncdiff_bench.contracts import Clip

    Scheduler: TypeAlias = DDIMScheduler | DPMSolverMultistepScheduler | UniPCMultistepScheduler | LCMScheduler

Predict: TypeAlias = Callable[[Tensor, Tensor], Tensor]
CHUNK = 16  # frames of a clip that the autoencoder encodes at once
FAST_STEPS = 20  # of DPM-Solver++ and UniPC where no number is given
# Beyond, neighbouring steps of the fast solvers fall on the same training timestep.
MOST_FAST_STEPS = 100


def build_scheduler(config: DiffusionConfig) -> DDIMScheduler:
    """DDIM with CompVis' schedule and end points (docs/spec/ldm.md#ddim)."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        config.train_steps,
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
        **_schedule(config),
    )


def build_sampler(config: DiffusionConfig) -> Scheduler:
    """The scheduler that `config.sampler` names, for `denoise`. Raises UsageError as `check_sampler`.

    DPM-Solver++ (Lu et al. 2022) and UniPC (Zhao et al. 2023), second order, in steps that are even in log-SNR; evenly
    spaced timesteps would spend them where the noise is high and end several times further from the limit.
    """
    check_sampler(config)
    if config.sampler == "ddim":
        return build_scheduler(config)
    if config.sampler == "consistency":
        return consistency_scheduler(config)
    import diffusers

    kinds = {"dpmsolver++": diffusers.DPMSolverMultistepScheduler, "unipc": diffusers.UniPCMultistepScheduler}
    return kinds[config.sampler](
        config.train_steps, use_exponential_sigmas=True, final_sigmas_type="sigma_min", **_schedule(config)
    )


def _schedule(config: DiffusionConfig) -> dict[str, Any]:
    return {
        "beta_start": config.beta_start,
        "beta_end": config.beta_end,
        "beta_schedule": "scaled_linear",
        "prediction_type": config.prediction,
    }


def check_sampler(config: DiffusionConfig) -> None:
    """Raise UsageError for steps or an eta that the sampler cannot do."""
    if config.sampler == "ddim":
        check_steps(config.steps, config.train_steps)
        return
    if config.sampler == "consistency":
        check_consistency(config)
        return
    if not 2 <= config.steps <= MOST_FAST_STEPS:
        raise UsageError(
            f"steps={config.steps} is not possible with sampler={config.sampler}; give 2 to {MOST_FAST_STEPS}"
            f" (10 to 25 are its purpose), or sampler=ddim"
        )
    if config.eta != 0:
        raise UsageError(f"eta={config.eta} is for sampler=ddim; sampler={config.sampler} adds no noise, leave eta out")


def check_steps(steps: int, train_steps: int = 1000) -> None:
    """Raise UsageError unless `steps` divides the training steps: with other counts DDIM silently starts too low."""
    allowed = [n for n in range(1, train_steps // 2 + 1) if train_steps % n == 0]
    if steps not in allowed:
        near = sorted(allowed, key=lambda n: abs(n - steps))[:2]
        raise UsageError(
            f"steps={steps} does not divide {train_steps}, so DDIM would start too low; use {near[0]} or {near[1]}"
        )


def check_levels(condition: ConditionConfig) -> None:
    """Raise UsageError for noise on previous frames that cannot be, or be told."""
    for name in ("previous_noise_at_test", "previous_level_at_test"):
        if not 0 <= getattr(condition, name) <= 1:
            raise UsageError(f"{name}={getattr(condition, name)} is no standard deviation of noise; give 0 to 1")
    if condition.previous_level_at_test and not condition.previous_level:
        raise UsageError(
            f"previous_level_at_test={condition.previous_level_at_test}, but this model is told no level; leave it out,"
            " or train variant noise-level"
        )


class NoiseSource(Protocol):
    """Standard normal noise of one frame, drawn in the order in which it is needed."""

    def draw(self, shape: Sequence[int]) -> Tensor: ...


class FrameNoise:
    """Standard normal noise of one frame of one clip, the same on every device and in every batch."""

    def __init__(self, seed: int, clip_id: str, index: int) -> None:
        digest = hashlib.sha256(f"{seed}/{clip_id}/{index}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def draw(self, shape: Sequence[int]) -> Tensor:
        return torch.randn(tuple(shape), generator=self._generator)


def denoise(
    predict: Predict,
    scheduler: Scheduler,
    noise: Sequence[NoiseSource],
    shape: Sequence[int],
    *,
    steps: int,
    eta: float = 0.0,
    device: torch.device,
) -> Tensor:
    """Denoise one latent per noise source with `steps` calls of `predict`: (B, 3, h, w), B = len(noise).

    predict(noisy (B, 3, h, w), timestep ()) -> (B, 3, h, w) float32, of the kind that `scheduler` was built for.
    eta: DDIM's; 1 is as random as DDPM (Song et al., "Denoising diffusion implicit models", 2021).
    """
    # Schedulers look their tables up on the CPU: a timestep on the GPU would make every step wait for it.
    timesteps = visits(scheduler, steps)
    there = sent(timesteps, device)
    if type(scheduler).__name__ == "LCMScheduler":
        return multistep(predict, scheduler, drawn(noise, shape, steps, device), there)
    latents, *fresh = drawn(noise, shape, 1 + steps * (eta > 0), device)
    for i, (timestep, on_device) in enumerate(zip(timesteps, there, strict=True)):
        prediction = predict(latents, on_device)
        random = {"eta": eta, "variance_noise": fresh[i]} if eta > 0 else {}
        latents = scheduler.step(prediction, timestep, latents, **random).prev_sample
    return latents


def visits(scheduler: Scheduler, steps: int) -> Tensor:
    """The timesteps (steps,) at which `denoise` asks, on the CPU; makes the scheduler ready to begin."""
    fast = type(scheduler).__name__ not in ("DDIMScheduler", "LCMScheduler")
    # The last interval of the fast solvers' grid is empty: it begins and ends at the smallest noise of the schedule.
    scheduler.set_timesteps(steps + fast)
    if fast:
        scheduler.set_begin_index(0)
    return scheduler.timesteps[:steps]  # type: ignore[no-any-return]


def drawn(noise: Sequence[NoiseSource], shape: Sequence[int], count: int, device: torch.device) -> Sequence[Tensor]:
    """The next `count` noises of each source, (B, *shape) each, brought to the device together."""
    rows = [torch.stack([source.draw(shape) for _ in range(count)]) for source in noise]
    return sent(torch.stack(rows, dim=1), device).unbind()


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A copy of a tensor of the CPU on the device, or the tensor itself there; a CUDA device is not waited for."""
    return (tensor.pin_memory() if device.type == "cuda" else tensor).to(device, non_blocking=True)


def encode_chunks(autoencoder: Autoencoder, images: Tensor) -> Tensor:
    """(T, 3, S, S) images of one clip to (T, 3, h, w) latents, `CHUNK` at once."""
    return torch.cat([autoencoder.encode(chunk) for chunk in torch.split(images, CHUNK)])


@torch.inference_mode()
def frame_by_frame(
    autoencoder: Autoencoder,
    lengths: Sequence[int],
    history: list[list[Tensor]],
    sample: Callable[[int, list[int]], tuple[Tensor, Tensor | None]],
    *,
    feedback: Feedback | None,
    on_frame: Callable[[int, int, Tensor], None],
    progress: Callable[[int], None],
) -> None:
    """Batched autoregressive sampling: frame t of every clip that has one, then frame t + 1.

    lengths: frames of each clip.
    history: per clip the (3, h, w) latents of its previous frames, nearest first; updated in place.
    sample: (t, clips) -> latents (B, 3, h, w) of frame t, and images where they are known without decoding.
    feedback: what enters `history`: the decoded frame encoded again, its latent, or nothing (None).
    on_frame: receives every finished frame: (clip, t, image (3, S, S) in [-1, 1]).
    progress: receives the number of frames finished since its last call.
    """
    for t in range(max(lengths)):
        clips = [i for i, length in enumerate(lengths) if t < length]
        latents, images = sample(t, clips)
        if images is None:
            images = autoencoder.decode(latents).clamp(-1, 1)
        for row, i in enumerate(clips):
            on_frame(i, t, images[row])
        going_on = [row for row, i in enumerate(clips) if t + 1 < lengths[i]]
        if going_on and feedback is not None:
            rows = sent(torch.tensor(going_on), images.device)
            shown = autoencoder.encode(images[rows]) if feedback == "pixel" else latents[rows]
            for latent, row in zip(shown, going_on, strict=True):
                history[clips[row]] = [latent, *history[clips[row]][:-1]]
        progress(len(clips))


@dataclass(frozen=True, eq=False)
class ClipConditions:
    """What is known of a clip before its first frame is generated. All float32; h = w = latent size.

    masked: (T, 3, h, w) latents of the masked frames.
    identity: (3, h, w) latent of the given first frame.
    tokens: (T, dim) audio condition.
    first_image: (3, S, S) in [-1, 1], the given first frame.
    area: (T, h, w) in 0..1, how much of each cell is masked.
    clean: (T, 3, h, w) latents of the true frames, where `previous_at_test` shows them.
    """

    clip_id: str
    masked: Tensor
    identity: Tensor
    tokens: Tensor
    first_image: Tensor
    area: Tensor
    clean: Tensor | None = None

    def __len__(self) -> int:
        return len(self.masked)


@torch.inference_mode()
def clip_conditions(model: SyncDiffModel, clip: Clip) -> ClipConditions:
    """Of one clip, on the model's device. Raises ClipError where it has no audio, or no box or landmarks for a mask."""
    config, device = model.config, model.denoiser.unet.device
    features = torch.from_numpy(clip_features(clip, config.audio)).to(device)
    mask = clip_mask(clip, config.condition, config.frame_size).to(device)
    tokens = model.audio(features[None])[0]
    encode = model.autoencoder.encode
    frames = torch.split(torch.from_numpy(writable(clip.frames)).to(device), CHUNK)
    # Images of one chunk at a time: of a minute they would take more than a gigabyte.
    masked = torch.cat(
        [
            encode(apply_mask(to_images(part, config.frame_size), covered))
            for part, covered in zip(frames, torch.split(mask, CHUNK), strict=True)
        ]
    )
    first = to_images(frames[0][:1], config.frame_size)
    identity, area = encode(first)[0], cell_area(mask, config.latent_size)
    clean = None
    if config.condition.previous_at_test == "true":
        clean = torch.cat([encode(to_images(part, config.frame_size)) for part in frames])
    return ClipConditions(clip.id, masked, identity, tokens, first[0], area, clean)


@torch.inference_mode()
def sample_clips(
    model: SyncDiffModel,
    clips: Sequence[ClipConditions],
    *,
    seed: int,
    on_frame: Callable[[int, int, Tensor], None],
    progress: Callable[[int], None] = lambda _frames: None,
) -> None:
    """Generate all frames of all clips, which may differ in length; `on_frame` and `progress` as in `frame_by_frame`.

    Raises UsageError for steps that the sampler cannot do.
    """
    config: SyncDiffConfig = model.config
    condition, diffusion = config.condition, config.diffusion
    scheduler = build_sampler(diffusion)
    # The last `previous_frames` latents of each clip, nearest first; before frame 0 the given first frame stands in.
    history = [[clip.identity] * condition.previous_frames for clip in clips]

    def sample(t: int, alive: list[int]) -> tuple[Tensor, Tensor | None]:
        chosen = [clips[i] for i in alive]
        given = torch.stack([clip.identity for clip in chosen])
        if t == 0 and config.first_frame == "copy":
            return given, torch.stack([clip.first_image for clip in chosen])
        masked = torch.stack([clip.masked[t] for clip in chosen])
        tokens = torch.stack([clip.tokens[t] for clip in chosen])
        area = torch.stack([clip.area[t] for clip in chosen])
        before = _frames_before(condition, chosen, t, [history[i] for i in alive])
        identity = before[0] if condition.identity_at_test == "previous" else given
        previous = before if condition.previous != "none" else []
        if condition.previous_noise_at_test > 0:
            sources = [FrameNoise(seed, f"{clip.clip_id}/previous", t) for clip in chosen]
            noise = drawn(sources, given.shape[1:], len(previous), given.device)
            previous = [old + condition.previous_noise_at_test * new for old, new in zip(previous, noise, strict=True)]
        visual = model.denoiser.visual_condition(masked, identity, previous)
        context = model.denoiser.context(tokens, previous, area).to(model.denoiser.unet.dtype)
        latents = denoise(
            predictor(model.denoiser, visual, attention_outputs(context), condition.previous_level_at_test),
            scheduler,
            [FrameNoise(seed, clip.clip_id, 0 if config.noise == "shared" else t) for clip in chosen],
            given.shape[1:],
            steps=diffusion.steps,
            eta=diffusion.eta,
            device=visual.device,
        )
        return latents, None

    feedback = config.feedback if condition.reads_generated else None
    lengths = [len(clip) for clip in clips]
    with cross_attention(model.denoiser.unet, condition) as attention_outputs:
        frame_by_frame(
            model.autoencoder, lengths, history, sample, feedback=feedback, on_frame=on_frame, progress=progress
        )


def predictor(denoiser: Denoiser, visual: Tensor, context: Tensor, level: float = 0.0) -> Predict:
    """The UNet of one frame, in the number format of its weights; latents stay in float32.

    context: (B, N, dim) of `Denoiser.context`, or what `cross_attention` makes of it.
    level: of noise on previous frames, as `Denoiser.forward` takes it.
    """
    dtype = denoiser.unet.dtype
    visual, context = visual.to(dtype), context.to(dtype)

    def predict(noisy: Tensor, timestep: Tensor) -> Tensor:
        # A copy, always: a solver remembers predictions, and the memory of a CUDA graph is written anew at every call.
        made: Tensor = denoiser(noisy.to(dtype), timestep, visual, context, level)
        return made.to(torch.float32, copy=True)

    return predict


def _frames_before(
    condition: ConditionConfig, clips: Sequence[ClipConditions], t: int, generated: Sequence[Sequence[Tensor]]
) -> list[Tensor]:
    """Latents (B, 3, h, w) of the NP frames before frame t, nearest first, as `previous_at_test` has them.

    generated: NP latents of each clip.
    """
    if condition.previous_at_test == "given":
        return [torch.stack([clip.identity for clip in clips])] * condition.previous_frames
    if condition.previous_at_test == "true":
        shown = [clip.clean for clip in clips if clip.clean is not None]
        return [torch.stack([clean[max(0, t - 1 - k)] for clean in shown]) for k in range(condition.previous_frames)]
    return [torch.stack(latents) for latents in zip(*generated, strict=True)]
