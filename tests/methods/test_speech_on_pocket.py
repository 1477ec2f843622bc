"""The small SyncDiff, Wav2Lip and DiffTalk that ship: on pocket's faces they say what they hear."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip, Frames, Media, Method
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.difftalk.method import DiffTalk, DiffTalkOptions
from syncdiff_methods.syncdiff.method import SyncDiff, SyncDiffOptions
from syncdiff_methods.wav2lip.method import Wav2Lip, Wav2LipOptions


class Case(NamedTuple):
    """A method and what is asked of it, on every so many-th clip (a speaker has two).

    follows: least correlation of its mouths with the true ones; error: largest share of a still face's.
    """

    made: Callable[[], Method]
    every: int
    frames: int
    follows: float
    error: float


DIFFTALK = DiffTalkOptions("pocket", reference="first", blend="off", steps=2)
# With half the steps of their configs: mouths follow the audio all the same.
CASES = {
    "syncdiff": Case(lambda: SyncDiff(SyncDiffOptions("pocket", steps=2)), 6, 30, 0.5, 0.9),
    "wav2lip": Case(lambda: Wav2Lip(Wav2LipOptions(checkpoint="pocket")), 4, 24, 0.4, 1.0),
    "difftalk": Case(lambda: DiffTalk(DIFFTALK), 6, 24, 0.4, 1.0),
}


class Spoken(NamedTuple):
    """What a method made of a few speakers: of the sound of each, and of the sound of the next one."""

    case: Case
    clips: list[Clip]
    own: list[Frames]
    dubbed: list[Frames]


def opening(clip: Clip, sound: Clip, n: int, landmarks: Path) -> Clip:
    """The first n frames of a clip with the sound of another."""
    assert clip.landmarks_path is not None
    file = landmarks / f"{clip.speaker}.npy"
    np.save(file, np.load(clip.landmarks_path)[:n])
    media = Media(clip.frames[:n], sound.audio[: 640 * n])
    made = Clip(f"{clip.id} {sound.id}", clip.dataset, preloaded=media, landmarks_path=file)
    boxes = replace(clip.face_boxes, boxes=clip.face_boxes.boxes[:n])
    made.__dict__["face_boxes"] = boxes  # the cached property, filled by hand
    return made


@pytest.fixture(scope="module", params=list(CASES))
def spoken(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Spoken:
    case, dataset, folder = CASES[request.param], Pocket(), tmp_path_factory.mktemp("landmarks")
    speakers = [dataset.clip(clip_id) for clip_id in dataset.clip_ids("test")[:: case.every]]
    own = [opening(clip, clip, case.frames, folder) for clip in speakers]
    others = speakers[1:] + speakers[:1]
    dubbed = [opening(clip, other, case.frames, folder) for clip, other in zip(speakers, others, strict=True)]
    made = dict(case.made().generate([*own, *dubbed], seed=0))
    assert all(isinstance(frames, np.ndarray) for frames in made.values())
    return Spoken(case, own, [made[clip.id] for clip in own], [made[clip.id] for clip in dubbed])  # type: ignore[misc]


def lower_faces(clip: Clip, frames: Frames) -> list[NDArray[np.float64]]:
    return [
        frame[(y1 + y2) // 2 : y2, x1:x2].astype(float)
        for frame, (x1, y1, x2, y2) in zip(frames, clip.face_boxes.boxes, strict=True)
    ]


def openness(clip: Clip, frames: Frames) -> NDArray[np.float64]:
    """Share of each lower face that is as dark and red as the inside of a mouth, (T,)."""
    return np.array([((f[..., 0] < 90) & (f[..., 1] < 50)).mean() for f in lower_faces(clip, frames)])


def follows(clip: Clip, frames: Frames) -> float:
    """Correlation of generated and true openness; 0 for a mouth that never opens."""
    ours, truth = openness(clip, frames), openness(clip, clip.frames)
    return 0.0 if ours.std() == 0 else float(np.corrcoef(ours, truth)[0, 1])


def test_the_mouth_follows_the_audio(spoken: Spoken) -> None:
    """Mouths open when the real ones do; with the sound of another sentence they open at other times."""
    right = np.mean([follows(clip, frames) for clip, frames in zip(spoken.clips, spoken.own, strict=True)])
    wrong = np.mean([follows(clip, frames) for clip, frames in zip(spoken.clips, spoken.dubbed, strict=True)])
    assert right > spoken.case.follows
    assert wrong < right - 0.3


def test_it_beats_repeating_the_first_frame(spoken: Spoken) -> None:
    def error(clip: Clip, frames: Frames) -> float:
        pairs = zip(lower_faces(clip, frames), lower_faces(clip, clip.frames), strict=True)
        return float(np.mean([np.square(ours - truth).mean() for ours, truth in pairs]))

    ours = np.mean([error(clip, frames) for clip, frames in zip(spoken.clips, spoken.own, strict=True)])
    still = np.mean([error(clip, np.repeat(clip.frames[:1], len(clip.frames), axis=0)) for clip in spoken.clips])
    assert ours < spoken.case.error * still
