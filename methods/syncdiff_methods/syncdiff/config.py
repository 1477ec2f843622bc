"""Every choice of SyncDiff as a field; the defaults are the paper's, or the ranked reading where it is silent.

Sources: the paper (sections 3 and 4.3) and docs/spec/syncdiff.md, whose "Open choices" lists what it leaves open. A
config is nested frozen dataclasses (read by `syncdiff_bench.options`), written to `config.json` beside the weights
and into run.json. A size is a training config (`configs/paper.toml`), a variant of Tables 2, 3, 5 and 6 one line of its
`[variants]` table.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from syncdiff_bench.errors import UsageError
from syncdiff_bench.options import options_from_values
from syncdiff_bench.training.loader import read_plan

Prediction = Literal["epsilon", "sample", "v_prediction"]
Sampler = Literal["ddim", "dpmsolver++", "unipc", "consistency"]
Previous = Literal["none", "full", "bottleneck", "tokens"]
PreviousAtTest = Literal["generated", "given", "true"]
IdentityAtTest = Literal["given", "previous"]
MaskMode = Literal["face_lower_half", "nose_to_bottom"]
MaskBoxes = Literal["frame", "smoothed", "clip"]
Feedback = Literal["pixel", "latent"]
FirstFrame = Literal["generate", "copy"]
Noise = Literal["fresh", "shared"]
AudioFeatures = Literal["avhubert", "deepspeech"]
Precision = Literal["auto", "fp32", "bf16"]
Compile = Literal["off", "on", "graphs"]


@dataclass(frozen=True)
class AutoencoderConfig:
    """VQ-f4 (docs/spec/ldm.md#autoencoder).

    channels: one entry per resolution, so f = 2 ** (len - 1).
    scaling_factor: multiplies latents before diffusion; 1 in the paper, 1 / std of the latents for a small one.
    """

    channels: tuple[int, ...] = (128, 256, 512)
    layers_per_block: int = 2
    codes: int = 8192
    norm_groups: int = 32
    mid_attention: bool = True
    scaling_factor: float = 1.0


@dataclass(frozen=True)
class UNetConfig:
    """Denoising UNet (docs/spec/ldm.md#unet).

    attention: per resolution, whether its blocks are transformers.
    """

    channels: tuple[int, ...] = (256, 512, 768, 1024)
    attention: tuple[bool, ...] = (False, True, True, True)
    layers_per_block: int = 2
    head_dim: int = 32
    norm_groups: int = 32


@dataclass(frozen=True)
class AudioConfig:
    """Audio features, what is learnt of them, and the temporal filter behind it (docs/spec/syncdiff.md#audio).

    layers, ffn_dim, heads, position_kernel, position_groups: of AV-HuBERT; unused with deepspeech.
    dim: width of the condition token.
    frozen_layers: NF, the first layers of AV-HuBERT that training does not touch; everything below them is frozen with
        them when NF > 0.
    window: W, frames t - W/2 .. t + W/2 - 1 that the filter weighs into the token of frame t (an open choice); 1
        switches the filter off.
    features: `avhubert`, an encoder over log-mel of which the first layers are frozen; or `deepspeech`, windows of 16
        character scores per frame and a small convolutional network (128 numbers a frame in the paper, dim = 128).
    logits: deepspeech only: the folder of the scores (`<clip id>.npy`), or the name of an installed acoustic model.
    """

    layers: int = 12
    dim: int = 768
    ffn_dim: int = 3072
    heads: int = 12
    position_kernel: int = 128
    position_groups: int = 16
    frozen_layers: int = 9
    window: int = 8
    features: AudioFeatures = "avhubert"
    logits: str = ""


@dataclass(frozen=True)
class ConditionConfig:
    """What the UNet sees beside the noisy latent.

    identity: concatenate the identity frame, in training a random frame of the clip.
    identity_at_test: the given first frame or, as RND variants do it, the previous frame (an open choice).
    previous: the previous frame, none | full (3 channels) | bottleneck (1 channel, paper 3.3) | tokens (attention over
        the previous frames, beyond the paper); in training the true one.
    previous_at_test: what stands for previous frames at test, also where one is the identity frame: the generated ones
        or, as an ablation, the given first frame throughout; or, to learn what generated ones cost, the true ones
        (teacher forcing), which is a diagnosis and no method.
    previous_frames: NP, how many of them.
    previous_level: tell the UNet the standard deviation of the noise on previous frames, which training adds.
    previous_noise_at_test: standard deviation of noise that is added to them at test.
    previous_level_at_test: what is told of it; more than there is makes the model trust them less.
    nearest_channel: with tokens, the nearest previous frame enters as its bottleneck too.
    mask_mode: the lower half of the face box, or every row from the base of the nose down over the full width, as
        DiffTalk masks (needs landmarks).
    mask_pad: pixels (of frame_size 256) by which the mask of the lower half reaches below the box.
    mask_boxes: the mask of the lower half follows the box of every frame, and with it the jaw; or boxes smoothed over
        time; or one area for the whole clip (`masking.steadied`).
    """

    identity: bool = True
    identity_at_test: IdentityAtTest = "given"
    previous: Previous = "bottleneck"
    previous_at_test: PreviousAtTest = "generated"
    previous_frames: int = 1
    previous_level: bool = False
    previous_noise_at_test: float = 0.0
    previous_level_at_test: float = 0.0
    nearest_channel: bool = True
    mask_mode: MaskMode = "face_lower_half"
    mask_pad: int = 0
    mask_boxes: MaskBoxes = "frame"

    @property
    def channels(self) -> int:
        """UNet input channels: noisy 3, masked 3, identity 3, previous 3 or 1 each (docs/spec/syncdiff.md#variants)."""
        return 6 + 3 * self.identity + (3 if self.previous == "full" else 1) * self.concatenated

    @property
    def concatenated(self) -> int:
        """How many previous frames enter as channels."""
        return {"none": 0, "tokens": int(self.nearest_channel)}.get(self.previous, self.previous_frames)

    @property
    def context_tokens(self) -> int:
        """Tokens of cross-attention: the audio, and what previous frames tell where they are tokens."""
        return 1 + (self.previous == "tokens")

    @property
    def reads_previous(self) -> bool:
        """Whether any condition of a frame is, at test, a frame before it."""
        return self.previous != "none" or (self.identity and self.identity_at_test == "previous")

    @property
    def reads_generated(self) -> bool:
        """Whether any condition of a frame is a generated frame; where none is, nothing needs encoding again."""
        return self.reads_previous and self.previous_at_test == "generated"


@dataclass(frozen=True)
class DiffusionConfig:
    """Noise schedule and sampler (docs/spec/ldm.md#ddim; `sampling`).

    sampler: `consistency` where `syncdiff-distillation` made the model, and only there.
    steps: calls of the UNet per frame; of 1000 a divisor with ddim, 2 to 100 with the fast solvers, 1 to 8 with
        consistency.
    eta: of ddim.
    """

    train_steps: int = 1000
    beta_start: float = 0.0015
    beta_end: float = 0.0195
    prediction: Prediction = "epsilon"
    sampler: Sampler = "ddim"
    steps: int = 200
    eta: float = 0.0


@dataclass(frozen=True)
class SyncDiffConfig:
    """The whole method.

    name: of its size.
    variant: the row of Tables 2, 3, 5 and 6 that it stands for ("rnd", "prv-", "np5", "nf12", "ds", ...), or what goes
        beyond the paper ("temporal", or "few-step" of a distilled one); the default is SyncDiff itself, which is
        RND+PRV-, NP 1, NF 9.
    frame_size: side in pixels to which frames are resized (aspect ratio not kept; LRS frames are square).
    feedback: how a generated frame becomes the next previous frame: through pixels (decode, clamp, encode, as Fig. 1
        draws it) or as its latent (an open choice).
    first_frame: generate it with itself-as-given as previous frame, or copy the given frame (an open choice).
    noise: fresh per frame, or shared by the frames of a clip (less flicker).
    """

    name: str = "paper"
    variant: str = "rnd+prv-"
    frame_size: int = 256
    feedback: Feedback = "pixel"
    first_frame: FirstFrame = "generate"
    noise: Noise = "fresh"
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    unet: UNetConfig = field(default_factory=UNetConfig)
    audio: AudioConfig = field(default_factory=AudioConfig)
    condition: ConditionConfig = field(default_factory=ConditionConfig)
    diffusion: DiffusionConfig = field(default_factory=DiffusionConfig)

    @property
    def latent_size(self) -> int:
        return self.frame_size >> (len(self.autoencoder.channels) - 1)


ITSELF = SyncDiffConfig().variant  # RND+PRV-, NP 1, NF 9: no line of its own
BEYOND = ("scheduled", "noise-level", "temporal", "sync-loss")  # beyond the paper (docs/spec/syncdiff.md#beyond)
VARIANTS = ("ds", "rnd", "prv", "prv-", ITSELF, "np5", "np10", "nf3", "nf6", "nf12", *BEYOND)


def shipped_config(size: str, variant: str = ITSELF) -> SyncDiffConfig:
    """The config of a shipped size ("paper", "pocket") and variant. Raises UsageError for an unknown one."""
    if variant not in VARIANTS:
        raise UsageError(f"no SyncDiff variant {variant!r}; variants: {', '.join(VARIANTS)}")
    plan = read_plan(f"syncdiff/{size}", variant="" if variant == ITSELF else variant)
    if plan.trainer != "syncdiff":
        raise UsageError(f"{size!r} is no size of SyncDiff; sizes: paper, pocket")
    config: SyncDiffConfig = options_from_values(SyncDiffConfig, plan.options["model"], f"size {size}")
    return config
