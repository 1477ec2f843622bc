"""DiffTalk's own Lightning checkpoints in and out (docs/spec/difftalk.md#checkpoints)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from syncdiff_bench.conversion import Converter
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.loading import load_state_dict
from syncdiff_methods.difftalk.config import UNET_CHANNELS, DiffTalkConfig
from syncdiff_methods.difftalk.model import DiffTalkModel
from syncdiff_methods.syncdiff.checkpoint_sizes import autoencoder_config, unet_config
from syncdiff_methods.syncdiff.converters import first_stage, unet_part
from syncdiff_methods.syncdiff.lightning_layout import (
    AUDIO,
    AUDIO_FILTER,
    FIRST_STAGE,
    LANDMARKS,
    UNET,
    Part,
    averaged,
    below,
    check_schedule,
    fill,
    filter_name,
    gather,
    write_lightning,
)


@dataclass(frozen=True)
class DiffTalkLayoutOptions:
    """average: take the moving averages of the UNet where the file has them. frame_size: not in the file."""

    average: bool = True
    frame_size: int = 256


class DiffTalkConverter(Converter):
    """A checkpoint of sstzal/DiffTalk <-> a directory of `DiffTalkModel`."""

    title = "DiffTalk's Lightning checkpoint (UNet, averages, first stage, audio and landmark encoders)"
    Options = DiffTalkLayoutOptions
    options: DiffTalkLayoutOptions

    def import_checkpoint(self, file: Path, folder: Path) -> None:
        """See `Converter`. Raises WeightsError naming what differs from DiffTalk, in one line."""
        tensors, source = load_state_dict(file), str(file)
        unet, channels, context = unet_config(below(tensors, UNET), source)
        config = replace(
            DiffTalkConfig(),
            name=file.stem,
            frame_size=self.options.frame_size,
            unet=unet,
            autoencoder=autoencoder_config(below(tensors, FIRST_STAGE), source),
        )
        if channels != UNET_CHANNELS:
            raise WeightsError(
                f"{source}: the UNet takes {channels} input channels, DiffTalk's {UNET_CHANNELS} (noisy, masked,"
                " reference, 3 each); another layout may fit: `syncdiff-bench weights import` lists them"
            )
        if context != config.context_dim:
            raise WeightsError(
                f"{source}: the context is {context} wide, DiffTalk's {config.context_dim} (audio {config.audio_dim},"
                f" landmarks {config.landmark_dim}); another layout may fit: `syncdiff-bench weights import` lists them"
            )
        check_schedule(tensors, config.diffusion, source)
        if self.options.average and any(name.startswith("model_ema.") for name in tensors):
            tensors = averaged(tensors, source)
        model = DiffTalkModel(config)
        fill(difftalk_parts(model), tensors, source)
        model.save_pretrained(folder)

    def export_checkpoint(self, folder: Path, file: Path) -> None:
        """See `Converter`. Online weights and moving averages are the same in the file."""
        model = DiffTalkModel.from_pretrained(folder)
        write_lightning(gather(difftalk_parts(model)), file, model.config.diffusion)


def difftalk_parts(model: DiffTalkModel) -> list[Part]:
    """Every network of DiffTalk with its official place."""
    return [
        unet_part(model.denoiser, model.config.unet),
        first_stage(FIRST_STAGE, model.autoencoder),
        Part(AUDIO, model.conditions.audio),
        Part(AUDIO_FILTER, model.conditions.filter, filter_name),
        Part(LANDMARKS, model.conditions.landmarks),
    ]
