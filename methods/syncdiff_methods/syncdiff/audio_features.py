"""What the audio condition reads of a clip, whichever features its config names."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip
from syncdiff_methods.syncdiff.config import AudioConfig


def clip_features(clip: Clip, config: AudioConfig) -> NDArray[np.float32]:
    """One row per video frame: (T, 104) log-mel rows for AV-HuBERT, (T, 16, 29) score windows for DeepSpeech.

    Raises ClipError where the clip has no sound or no scores.
    """
    n_frames = len(clip.frames)
    if config.features == "deepspeech":
        from syncdiff_methods.syncdiff.deepspeech import clip_windows

        return clip_windows(clip, n_frames, config.logits)
    from syncdiff_bench.networks.avhubert.features import audio_features

    return audio_features(clip.audio, n_frames)
