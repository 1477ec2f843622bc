"""Clips made in memory for the checks: a drawn face with a moving mouth, and audio with syllables."""

from __future__ import annotations

import numpy as np

from syncdiff_bench.contracts import SAMPLE_RATE, SAMPLES_PER_FRAME, Audio, Clip, Frames, Media
from syncdiff_bench.faces.boxes import BY_CONSTRUCTION


def sample_clip(
    name: str = "check/0", *, frames: int = 8, height: int = 96, width: int = 96, sound: str = "speech"
) -> Clip:
    """A clip of `frames` frames.

    sound: "speech" (a buzz in syllables), "silence" (zeros) or "none" (no audio track at all).
    """
    number = sum(name.encode())
    return Clip(
        id=name,
        dataset="check",
        transcript="bin blue at f two now",
        speaker=name.partition("/")[0],
        boxes=BY_CONSTRUCTION,
        preloaded=Media(_face(frames, height, width, number), _sound(frames, sound)),
    )


def degraded(clip: Clip, grey_levels: int = 24) -> Clip:
    """The same clip, darker, noisy and with its rows shifted: worse by every measure of likeness."""
    noise = np.random.default_rng(0).normal(0, grey_levels, clip.frames.shape)
    worse = np.clip(np.roll(clip.frames, 3, axis=1) * 0.8 + noise, 0, 255).astype(np.uint8)
    return Clip(
        clip.id,
        clip.dataset,
        transcript=clip.transcript,
        speaker=clip.speaker,
        boxes=clip.boxes,
        preloaded=Media(worse, clip.audio),
    )


def read_only(clip: Clip) -> Clip:
    """Writing into its arrays raises ValueError."""
    for array in (clip.frames, clip.audio):
        array.setflags(write=False)
    return clip


def _face(frames: int, height: int, width: int, number: int) -> Frames:
    y, x = np.mgrid[0:height, 0:width]
    y, x = y / height - 0.5, x / width - 0.5
    rng = np.random.default_rng(number)
    background, skin = rng.integers(40, 120, 3), rng.integers(150, 230, 3)
    texture = rng.normal(0, 6, (height, width, 1))
    images = []
    for t in range(frames):
        image = np.broadcast_to(background, (height, width, 3)) + 60 * x[..., None] + texture
        image = np.where(((x / 0.3) ** 2 + (y / 0.4) ** 2 < 1)[..., None], skin + texture, image)
        for eye in (-0.12, 0.12):
            image = np.where((((x - eye) / 0.05) ** 2 + ((y + 0.1) / 0.03) ** 2 < 1)[..., None], 30, image)
        opening = 0.02 + 0.05 * abs(np.sin(t + number))
        image = np.where(((x / 0.12) ** 2 + ((y - 0.2) / opening) ** 2 < 1)[..., None], [120, 30, 40], image)
        images.append(np.clip(image, 0, 255))
    return np.stack(images).astype(np.uint8)


def _sound(frames: int, kind: str) -> Audio:
    samples = 0 if kind == "none" else frames * SAMPLES_PER_FRAME
    time = np.arange(samples) / SAMPLE_RATE
    buzz = np.sum([np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 12)], axis=0)
    loud = 0 if kind == "silence" else 6000 * np.abs(np.sin(2 * np.pi * 4 * time))
    audio: Audio = (buzz * loud).astype(np.int16)
    return audio
