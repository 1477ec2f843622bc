"""From generators to videos: frames of many clips in one batch, pasted back as they come (Wav2Lip's and TalkLip's)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from syncdiff_bench.contracts import Boxes, Frames, Workload
from syncdiff_bench.estimates.counting import flops_of, peak_bytes_of
from syncdiff_bench.estimates.machine import seconds_of
from syncdiff_bench.media.bilinear import FACE_SIZE
from syncdiff_methods.wav2lip.faces import Faces, network_input
from syncdiff_methods.wav2lip.generator import Block, FaceGenerator

MEL = (80, 16)  # channels and steps of what one frame hears
NetworkT = TypeVar("NetworkT", bound=FaceGenerator)
Paste = Callable[[Frames, NDArray[np.float32], Boxes], None]


@dataclass(frozen=True, eq=False)
class FaceClip:
    """One clip, ready for the generator.

    frames: (T, H, W, 3) uint8 RGB.
    boxes: (T, 4) int32, where the faces are.
    faces: (T, 96, 96, 3) uint8 BGR, cut out of the boxes.
    references: the same of the reference frames.
    audio: (T, ...) float32, what drives each frame.
    """

    id: str
    frames: Frames
    boxes: Boxes
    faces: Faces
    references: Faces
    audio: Tensor


def for_inference(network: NetworkT, device: str) -> NetworkT:
    """Frozen, on its device, batch norms folded into their convolutions, channels last.

    Measured on CPUs: 1.4 times as fast on one without AVX-512, no faster (1.0) on one with it.

    The folded network has other tensors: fill it before.
    """
    for module in network.eval().modules():
        if isinstance(module, Block):
            convolution, norm = module.conv_block
            assert isinstance(convolution, nn.Conv2d | nn.ConvTranspose2d) and isinstance(norm, nn.BatchNorm2d)
            transposed = isinstance(convolution, nn.ConvTranspose2d)
            module.conv_block = nn.Sequential(fuse_conv_bn_eval(convolution, norm, transpose=transposed))
    for part in (network.face_encoder_blocks, network.face_decoder_blocks, network.output_block):
        part.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.to(device).requires_grad_(requires_grad=False)


def workload(network: nn.Module, frames: Sequence[int], *, batch: int, clips: int, device: str) -> Workload:
    """Of Wav2Lip's generator on clips of so many frames, by one batch of nothing."""

    def call() -> Tensor:
        with torch.inference_mode():
            drawn: Tensor = network(torch.zeros((batch, 1, *MEL), device=device), seen)
            return drawn

    seen = torch.zeros((batch, 6, FACE_SIZE, FACE_SIZE), device=device).contiguous(memory_format=torch.channels_last)
    passes = -(-sum(frames) // batch)
    flops = passes * flops_of(call)
    weights = sum(one.nbytes for one in network.parameters())
    seconds = passes * seconds_of(call, device)
    of_frame = 2 * FACE_SIZE * FACE_SIZE * 3 + 4 * MEL[0] * MEL[1]
    return Workload(flops, seconds, weights + peak_bytes_of(call), of_frame * max(frames), clips)


def redraw(
    clips: Sequence[FaceClip],
    generator: Callable[[Tensor, Tensor], Tensor],
    paste: Paste,
    *,
    batch: int,
    device: str,
    progress: Callable[[int], None],
) -> Iterator[tuple[str, Frames]]:
    """Clip by clip, (id, (T, H, W, 3) uint8 RGB frames) with every face redrawn.

    generator: (N, ...) audio and (N, 6, 96, 96) float32 faces to (N, 3, 96, 96) in 0..1, BGR.
    paste: puts one (96, 96, 3) float32 face, BGR 0..1, over its box of a frame, in place.
    batch: frames per pass, of one clip or of several.
    progress: is told of finished frames.
    """
    rows = [(index, t) for index, clip in enumerate(clips) for t in range(len(clip.frames))]
    video = np.empty(0, np.uint8)
    for start in range(0, len(rows), batch):
        chunk = rows[start : start + batch]
        for (index, t), face in zip(chunk, _drawn(clips, chunk, generator, device), strict=True):
            clip = clips[index]
            if t == 0:
                video = clip.frames.copy()
            paste(video[t], face, clip.boxes[t])
            if t == len(clip.frames) - 1:
                yield clip.id, video
        progress(len(chunk))


def _drawn(
    clips: Sequence[FaceClip],
    chunk: Sequence[tuple[int, int]],
    generator: Callable[[Tensor, Tensor], Tensor],
    device: str,
) -> NDArray[np.float32]:
    """(N, 96, 96, 3) float32 in 0..1, BGR, of N (clip, frame) pairs."""
    faces = np.stack([clips[index].faces[t] for index, t in chunk])
    references = np.stack([clips[index].references[t] for index, t in chunk])
    audio = torch.stack([clips[index].audio[t] for index, t in chunk]).to(device)
    seen = torch.from_numpy(network_input(faces, references)).to(device, memory_format=torch.channels_last)
    with torch.inference_mode():
        drawn = generator(audio, seen).float().permute(0, 2, 3, 1)
    return drawn.cpu().numpy()
