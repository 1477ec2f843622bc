"""DiffTalk's own Lightning checkpoints in and out (docs/spec/difftalk.md#checkpoints)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from syncdiff_bench.conversion import Converter
from syncdiff_bench.errors import WeightsError
from syncdiff_bench.weights.loading import load_tensors
from syncdiff_methods.difftalk.model import UNET_CHANNELS, DiffTalkConfig, DiffTalkModel
from syncdiff_methods.syncdiff import checkpoints, compvis
from syncdiff_methods.syncdiff.checkpoints import Part


@dataclass(frozen=True)
class DiffTalkLayoutOptions:
    """How to read a file.

    average: take the EMA weights of the UNet where the file has them.
    frame_size: not in the file.
    """

    average: bool = True
    frame_size: int = 256


class DiffTalkConverter(Converter):
    """A checkpoint of sstzal/DiffTalk <-> a directory of `DiffTalkModel`."""

    title = "DiffTalk's Lightning checkpoint (UNet, averages, first stage, audio and landmark encoders)"
    Options = DiffTalkLayoutOptions
    options: DiffTalkLayoutOptions

    def import_checkpoint(self, file: Path, folder: Path) -> None:
        """See `Converter`. Raises WeightsError naming what differs from DiffTalk, in one line."""
        tensors, source = load_tensors(file), str(file)
        unet, channels, context = compvis.unet_config(checkpoints.below(tensors, checkpoints.UNET), source)
        config = replace(
            DiffTalkConfig(),
            name=file.stem,
            frame_size=self.options.frame_size,
            unet=unet,
            autoencoder=compvis.autoencoder_config(checkpoints.below(tensors, checkpoints.FIRST_STAGE), source),
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
        model = DiffTalkModel(config)
        checkpoints.read_parts(difftalk_parts(model), tensors, config.diffusion, source, ema=self.options.average)
        model.save_pretrained(folder)

    def export_checkpoint(self, folder: Path, file: Path) -> None:
        """See `Converter`. Online weights and their EMA are the same in the file."""
        model = DiffTalkModel.from_pretrained(folder)
        checkpoints.write_lightning(checkpoints.gather(difftalk_parts(model)), file, model.config.diffusion)


def difftalk_parts(model: DiffTalkModel) -> list[Part]:
    """Every network of DiffTalk with its official place."""
    return [
        checkpoints.unet_part(model.denoiser, model.config.unet),
        checkpoints.first_stage(checkpoints.FIRST_STAGE, model.autoencoder),
        Part(checkpoints.AUDIO, model.conditions.audio),
        Part(checkpoints.AUDIO_FILTER, model.conditions.filter, checkpoints.filter_name),
        Part(checkpoints.LANDMARKS, model.conditions.landmarks),
    ]
