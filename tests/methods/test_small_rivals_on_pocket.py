"""The small Wav2Lip and DiffTalk that ship: on pocket's faces they say what they hear."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from syncdiff_bench.contracts import Clip, Frames, Media, Method
from syncdiff_datasets.pocket.dataset import Pocket
from syncdiff_methods.difftalk.method import DiffTalk, DiffTalkOptions
from syncdiff_methods.wav2lip.method import Wav2Lip, Wav2LipOptions

FRAMES = 30

MADE: dict[str, Callable[[], Method]] = {
    "wav2lip": lambda: Wav2Lip(Wav2LipOptions(checkpoint="pocket")),
    "difftalk": lambda: DiffTalk(DiffTalkOptions(model="pocket", reference="first", blend="off")),
}


@pytest.fixture(scope="module")
def landmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("landmarks")


@pytest.fixture(scope="module")
def opening(landmarks: Path) -> Callable[[Clip, Clip], Clip]:
    """(clip, sound): the first frames of a clip with the sound of another."""

    def begin(clip: Clip, sound: Clip) -> Clip:
        assert clip.landmarks_path is not None
        file = landmarks / f"{clip.speaker}.npy"
        np.save(file, np.load(clip.landmarks_path)[:FRAMES])
        media = Media(clip.frames[:FRAMES], sound.audio[: 640 * FRAMES])
        made = Clip(clip.id, clip.dataset, preloaded=media, landmarks_path=file)
        made.__dict__["face_boxes"] = type(clip.face_boxes)(clip.face_boxes.boxes[:FRAMES], "file")
        return made

    return begin


@pytest.fixture(scope="module")
def speakers() -> list[Clip]:
    dataset = Pocket()
    return [dataset.clip(clip_id) for clip_id in dataset.clip_ids("test")[::4]]


@pytest.fixture(scope="module", params=list(MADE))
def method(request: pytest.FixtureRequest) -> Method:
    return MADE[request.param]()


@pytest.fixture(scope="module")
def spoken(method: Method, speakers: list[Clip], opening: Callable[[Clip, Clip], Clip]) -> dict[str, Frames]:
    return dict(method.generate([opening(clip, clip) for clip in speakers], seed=0))  # type: ignore[arg-type]


def lower_faces(clip: Clip, frames: Frames) -> list[NDArray[np.float64]]:
    return [
        frame[(y1 + y2) // 2 : y2, x1:x2].astype(float)
        for frame, (x1, y1, x2, y2) in zip(frames, clip.face_boxes.boxes, strict=False)
    ]


def openness(clip: Clip, frames: Frames) -> NDArray[np.float64]:
    """Share of each lower face that is as dark and red as the inside of a mouth, (T,)."""
    return np.array([((f[..., 0] < 90) & (f[..., 1] < 50)).mean() for f in lower_faces(clip, frames)])


def follows(clip: Clip, frames: Frames) -> float:
    """Correlation of generated and true openness; 0 for a mouth that never opens."""
    ours, truth = openness(clip, frames), openness(clip, clip.frames[:FRAMES])
    return 0.0 if ours.std() == 0 else float(np.corrcoef(ours, truth)[0, 1])


def test_the_mouth_follows_the_audio(
    method: Method, speakers: list[Clip], spoken: dict[str, Frames], opening: Callable[[Clip, Clip], Clip]
) -> None:
    dubbed = [opening(clip, other) for clip, other in zip(speakers, [*speakers[1:], speakers[0]], strict=True)]
    strange = dict(method.generate(dubbed, seed=0))
    right = np.mean([follows(clip, spoken[clip.id]) for clip in speakers])
    wrong = np.mean([follows(clip, strange[clip.id]) for clip in speakers])  # type: ignore[arg-type]
    assert right > 0.4
    assert wrong < right - 0.3


def test_it_beats_repeating_the_first_frame(speakers: list[Clip], spoken: dict[str, Frames]) -> None:
    def error(clip: Clip, frames: Frames) -> float:
        pairs = zip(lower_faces(clip, frames), lower_faces(clip, clip.frames[:FRAMES]), strict=True)
        return float(np.mean([np.square(ours - truth).mean() for ours, truth in pairs]))

    ours = np.mean([error(clip, spoken[clip.id]) for clip in speakers])
    floor = np.mean([error(clip, np.repeat(clip.frames[:1], FRAMES, axis=0)) for clip in speakers])
    assert ours < floor
