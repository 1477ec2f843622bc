"""A sync loss on estimates of five frames (docs/spec/syncdiff.md#sync-loss).

    CACHE/sync/<dataset>-<split>/      mel (T, 80, 16) float16, the window that begins with frame t;
                                       areas (T, 4) float32, x1 y1 x2 y2 of the face as parts of the frame's sides

Some windows of five frames in a row come to a micro-batch, beside the examples that it has without them. What the
network says to noisy versions of their frames is decoded, and a sync expert must find the sound of the window in it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from syncdiff_bench.errors import UsageError
from syncdiff_bench.media.bilinear import FACE_SIZE
from syncdiff_bench.training.cache import TensorCache
from syncdiff_methods.syncdiff.model import Autoencoder
from syncdiff_methods.wav2lip.clip_faces import BOXES, face_facts
from syncdiff_methods.wav2lip.expert import FRAMES, TEMPERATURE, SyncExpert, SyncExpertConfig, SyncExpertModel
from syncdiff_methods.wav2lip.faces import face_areas
from syncdiff_methods.wav2lip.mel import BANDS, WINDOW, mel_windows

if TYPE_CHECKING:
    from syncdiff_bench.contracts import Dataset
    from syncdiff_methods.syncdiff.config import AutoencoderConfig
    from syncdiff_methods.syncdiff.latents import ClipLatents, DiffusionLoss

SOUNDS = 8  # of a clip, one of which is the window's own
SYNC = "sync_"  # begins the names of what a batch holds of windows
SEEN = ("masked", "identity", "previous", "mask", "audio", "padding", "frame")  # by the network
SHAPES = {"mel": (BANDS, WINDOW), "areas": (4,)}


@dataclass(frozen=True, kw_only=True)
class SyncOptions:
    """How much estimates of five frames must match their sound.

    sync_weight: of the sync loss beside the diffusion loss; 0: there is none.
    sync_expert: folder or shipped name of a `SyncExpertModel`.
    sync_windows: of five frames, per micro-batch.
    sync_from: the largest timestep with weight, from which on the way to the image the loss counts; noisier ones are
        not drawn for windows.
    sync_crop: side, in latent cells, of the square around the lower face that is decoded; 0: the whole frame.
    Raises ValueError for numbers that mean nothing.
    """

    sync_weight: float = 0.0
    sync_expert: str = ""
    sync_windows: int = 1
    sync_from: int = 600
    sync_crop: int = 0

    def __post_init__(self) -> None:
        least = {"sync_weight": 0, "sync_windows": 1, "sync_from": 0, "sync_crop": 0}
        for name, number in least.items():
            if getattr(self, name) < number:
                raise ValueError(f"{name} is {getattr(self, name)}; give {number} or more; sync_weight = 0 is none")


# --------------------------------------------------------------------------------------------- data


def sync_cache(dataset: Dataset, split: str, cache: Path) -> TensorCache:
    """Sound and face areas of a split, as the expert takes them."""

    def encode(clip_id: str) -> dict[str, Tensor]:
        clip = dataset.clip(clip_id)
        height, width = clip.frames.shape[1:3]
        areas = face_areas(clip.face_boxes.boxes, (height, width), BOXES) / np.array([width, height, width, height])
        mel = torch.from_numpy(mel_windows(clip.audio, len(clip.frames))).half()
        return {"mel": mel, "areas": torch.from_numpy(areas).float()}

    return TensorCache(
        folder=cache / "sync" / f"{dataset.name}-{split}",
        title=f"mel windows and face areas of {dataset.name} {split}",
        split=split,
        facts=face_facts(dataset, split),
        clip_ids=dataset.clip_ids(split),
        encode=encode,
        bytes_per_frame=2 * BANDS * WINDOW + 4 * 4,
        boxed=True,
    )


@dataclass(frozen=True, eq=False)
class Window:
    """Five frames in a row of a clip, from `start` on, and the frame that stands for the identity in all of them."""

    clip: ClipLatents
    start: int
    identity: int

    @property
    def frames(self) -> range:
        return range(self.start, self.start + FRAMES)

    def __str__(self) -> str:
        return f"window of clip {self.clip.clip_id} frames {self.start} to {self.start + FRAMES - 1}"


def draw_windows(clips: Sequence[ClipLatents], rng: np.random.Generator, count: int) -> list[Window]:
    """Windows of random clips, each after the first frame. Raises UsageError where no clip has six frames."""
    windows = []
    for _ in range(count):
        clip = next((clips[i] for i in rng.permutation(len(clips)) if len(clips[i]) > FRAMES), None)
        if clip is None:
            raise UsageError(f"no clip has {FRAMES + 1} frames, as a sync loss needs; set options.sync_weight=0")
        start = int(rng.integers(1, len(clip) - FRAMES + 1))
        other = int(rng.integers(len(clip) - FRAMES))
        windows.append(Window(clip, start, other + FRAMES * (other >= start)))
    return windows


def sounds(window: Window, rng: np.random.Generator) -> Tensor:
    """(8, 80, 16) float16: the window's own sound, then that of others of its clip, no two alike if there are eight."""
    others = len(window.clip) - FRAMES
    drawn = rng.choice(others, SOUNDS - 1, replace=others < SOUNDS - 1)
    assert window.clip.mel is not None
    return window.clip.mel[[window.start, *(drawn + (drawn >= window.start))]]


def window_batch(
    windows: Sequence[Window], examples: Mapping[str, Tensor], rng: np.random.Generator, latest: int
) -> dict[str, Tensor]:
    """What a batch holds of windows, by names that begin with `sync_`.

    examples: of the 5 W frames, as the network takes them.
    """
    shape = examples["clean"].shape
    areas = [window.clip.areas[list(window.frames)] for window in windows if window.clip.areas is not None]
    made = {
        **examples,
        "noise": torch.from_numpy(rng.standard_normal(shape, dtype=np.float32)),
        "timestep": torch.from_numpy(rng.integers(latest + 1, size=len(windows))).repeat_interleave(FRAMES),
        "mel": torch.stack([sounds(window, rng) for window in windows]).float(),
        "areas": torch.stack(areas),
    }
    return {SYNC + name: tensor for name, tensor in made.items()}


# --------------------------------------------------------------------------------------------- loss


class SyncLoss(nn.Module):
    """A frozen decoder and a frozen sync expert, through which gradients reach a prediction and nothing else."""

    def __init__(self, options: SyncOptions, autoencoder: AutoencoderConfig) -> None:
        super().__init__()
        self.options = options
        self.autoencoder = Autoencoder(autoencoder)
        for part in ("encoder", "quant_conv", "quantize"):
            setattr(self.autoencoder.vq, part, nn.Identity())  # `decode` without quantisation needs none of them
        config = expert_config(options.sync_expert)
        self.expert = SyncExpert(config.width, config.embedding)
        self.requires_grad_(False).eval()

    def fill(self, autoencoder: Autoencoder) -> None:
        """Load the weights of the decoder and, from its folder, the expert. Raises as `SyncExpertModel`."""
        for part in ("decoder", "post_quant_conv"):
            getattr(self.autoencoder.vq, part).load_state_dict(getattr(autoencoder.vq, part).state_dict())
        self.expert.load_state_dict(SyncExpertModel.from_pretrained(self.options.sync_expert).expert.state_dict())

    def train(self, mode: bool = True) -> SyncLoss:
        """It stays in evaluation mode."""
        return super().train(False)

    def forward(
        self, batch: Mapping[str, Tensor], predict: Callable[..., Tensor], diffusion_loss: DiffusionLoss
    ) -> dict[str, Tensor]:
        """`sync`, the mean over W windows of alpha-bar times the cross-entropy of finding a window's sound among eight;
        and `sync_found`, the share that is found.

        batch: with what `window_batch` says of 5 W frames.
        predict: as `TrainedSyncDiff.predict`, by keywords.
        """
        windows = {name.removeprefix(SYNC): tensor for name, tensor in batch.items() if name.startswith(SYNC)}
        timestep = windows["timestep"]
        noisy = diffusion_loss.noisy(windows["clean"], windows["noise"], timestep)
        prediction = predict(noisy=noisy, timestep=timestep, **{name: windows[name] for name in SEEN})
        estimate = diffusion_loss.estimate(prediction.float(), noisy, timestep)
        scores, fits = self.scores(torch.unflatten(estimate, 0, (-1, FRAMES)), windows["areas"], windows["mel"])
        own = torch.zeros(len(scores), dtype=torch.long, device=scores.device)
        missed = F.cross_entropy(scores, own, reduction="none")
        kept = diffusion_loss.scheduler.alphas_cumprod.to(noisy.device)[timestep[::FRAMES]]
        found = (scores.detach().argmax(dim=1) == own).float()
        return {"sync": (kept * fits * missed).mean(), "sync_found": found.mean()}

    def scores(self, latents: Tensor, areas: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines of lips and sounds over the temperature, (W, 8); and (W,), 1 where the crop holds the lower face.

        latents: (W, 5, 3, h, w). areas: (W, 5, 4) as parts of the frame. mel: (W, 8, 80, 16).
        """
        x1, y1, x2, y2 = areas.unbind(dim=-1)
        lower = torch.stack([x1, (y1 + y2) / 2, x2, y2], dim=-1)
        cropped, lower = crop_around(latents, lower, self.options.sync_crop)
        images = self.autoencoder.decode(cropped.flatten(0, 1), quantise=False).float()
        faces = cut_areas(images, lower.flatten(0, 1))
        lips = self.expert.embed_lower(torch.unflatten(faces, 0, (-1, FRAMES)))
        audio = torch.unflatten(self.expert.embed_audio(mel.flatten(0, 1)[:, None]), 0, (-1, SOUNDS))
        fits = ((lower >= 0) & (lower <= 1)).all(dim=-1).all(dim=-1)
        return torch.einsum("we,wse->ws", lips.float(), audio.float()) / TEMPERATURE, fits.float()


def crop_around(latents: Tensor, areas: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """A square of side x side cells of latents (W, 5, 3, h, w), the same in five frames: around the middle of what
    their areas (W, 5, 4) cover, within the frame. With it the areas, as parts of the square. side 0: all.
    """
    height = latents.shape[-1]
    if not 0 < side < height:
        return latents, areas
    first, last = areas[..., :2].amin(dim=1), areas[..., 2:].amax(dim=1)
    corner = ((first + last) / 2 * height - side / 2).round().clamp(0, height - side)
    steps = corner.long()[..., None] + torch.arange(side, device=latents.device)  # (W, 2, side): columns, rows
    columns, rows = steps[:, 0, None, None, None, :], steps[:, 1, None, None, :, None]
    cropped = latents.take_along_dim(rows, dim=-2).take_along_dim(columns, dim=-1)
    return cropped, (areas * height - corner.repeat(1, 2)[:, None]) / side


def cut_areas(images: Tensor, areas: Tensor) -> Tensor:
    """The areas (N, 4), as parts of the sides, of images (N, 3, S, S) RGB in [-1, 1], resized to (N, 3, 48, 96) BGR in
    0..1: bilinear at the middles of pixels, as OpenCV does.
    """
    x1, y1, x2, y2 = areas.unbind(dim=1)
    zero = torch.zeros_like(x1)
    # From -1..1 of what is cut to -1..1 of the image.
    rows = [torch.stack([x2 - x1, zero, x1 + x2 - 1], 1), torch.stack([zero, y2 - y1, y1 + y2 - 1], 1)]
    shape = [len(images), 3, FACE_SIZE // 2, FACE_SIZE]
    grid = F.affine_grid(torch.stack(rows, dim=1), shape, align_corners=False)
    cut = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return (cut.flip(1).clamp(-1, 1) + 1) / 2


def expert_config(where: str) -> SyncExpertConfig:
    """Of the expert's folder or shipped name; the default where there is none yet, which `fill` says."""
    try:
        config: Any = SyncExpertModel.read_config(where)
    except UsageError:
        return SyncExpertConfig()
    return config  # type: ignore[no-any-return]
