"""A dub as a whole: sound and picture meet, the rest of the picture stays, errors say what to do."""

from __future__ import annotations

import wave
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from syncdiff_bench import dub
from syncdiff_bench.cli import main
from syncdiff_bench.contracts import Clip, Frames, Method
from syncdiff_bench.dubbing.following import follow
from syncdiff_bench.dubbing.making import make_video
from syncdiff_bench.dubbing.material import open_material
from syncdiff_bench.dubbing.pictures import open_pictures
from syncdiff_bench.errors import ClipError, UsageError
from syncdiff_bench.faces.detectors import Faces
from syncdiff_bench.media.watchable import watchable

BOX = "120,60,200,160"


class Passed(Method):
    """The frames as they are."""

    name = "passed"

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        for clip in clips:
            yield clip.id, clip.frames


class Inverted(Passed):
    name = "inverted"

    def generate(
        self, clips: Sequence[Clip], *, seed: int, progress: Callable[[int], None] = lambda _frames: None
    ) -> Iterator[tuple[str, Frames | ClipError]]:
        for clip in clips:
            yield clip.id, 255 - clip.frames


def write_sound(path: Path, samples: NDArray[np.int16], rate: int = 44_100) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return path


def write_face(path: Path, count: int, rate: Fraction | int, picture: Callable[[int], NDArray[np.uint8]]) -> Path:
    height, width = picture(0).shape[:2]
    with watchable(path, width, height, rate) as video:
        for index in range(count):
            video.write(picture(index))
    return path


def waves(index: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[0:240, 0:320].astype(float)
    channels = [128 + 90 * np.sin((x + 2 * index) / 25), 128 + 90 * np.cos(y / 20), 128 + 60 * np.sin((x - y) / 30)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def shown(path: Path) -> list[tuple[float, NDArray[np.uint8]]]:
    with av.open(str(path)) as container:
        return [
            (float(frame.pts * frame.time_base), frame.to_ndarray(format="rgb24"))
            for frame in container.decode(video=0)
        ]


def made(face: Path, sound: Path, out: Path, *methods: Method, **options: Any) -> Path:
    material = open_material(face, sound, options.pop("loop", "pingpong"))
    track = follow(material.pictures, material.used, options.pop("boxes", BOX))
    make_video(material, track, methods or (Passed(),), out, **options)
    return out


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30), Fraction(30000, 1001), Fraction(24)])
def test_flash_and_click_come_together(tmp_path: Path, rate: Fraction) -> None:
    """The face, which goes through a method at 25 fps, flashes with the picture around it and with the clicks."""
    starts = [round(float(at * rate)) for at in (0.5, 1.07, 1.62, 2.2, 2.75, 3.31)]
    samples = np.zeros(44_100 * 4, np.int16)
    for start in starts:
        samples[round(float(start / rate) * 44_100) :][:200] = 30_000
    lit = {start + k for start in starts for k in range(6)}
    face = write_face(
        tmp_path / "face.mp4",
        round(4 * rate),
        rate,
        lambda index: np.full((240, 320, 3), 235 if index in lit else 20, np.uint8),
    )
    out = made(face, write_sound(tmp_path / "a.wav", samples), tmp_path / "out.mp4", area="crop")
    with av.open(str(out)) as container:
        blocks = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]
    loud = np.flatnonzero(np.abs(np.concatenate(blocks)) > 0.3) / 44_100
    clicks = loud[np.flatnonzero(np.diff(np.concatenate([[-1.0], loud])) > 0.1)]
    times, pictures = zip(*shown(out), strict=True)
    for where, late in (((5, 5), 0.001), ((140, 160), 0.5 / 25 + 0.5 / float(rate))):
        bright = np.array([picture[where].mean() > 128 for picture in pictures])
        flashes = np.array(times)[np.flatnonzero(np.diff(bright.astype(int)) == 1) + 1]
        assert len(flashes) == len(clicks) == 6
        apart = flashes - clicks
        assert np.abs(apart).max() < late + 0.004, where
        assert abs(apart.mean()) < 0.012, where


@pytest.mark.parametrize("rate", [25, Fraction(30000, 1001)])
def test_outside_the_face_no_pixel_changes_but_by_the_codec(tmp_path: Path, rate: Fraction | int) -> None:
    face = write_face(tmp_path / "face.mp4", 40, rate, waves)
    sound = write_sound(tmp_path / "a.wav", np.zeros(44_100 * 2, np.int16))
    out = made(face, sound, tmp_path / "out.mp4", Inverted())
    source, result = shown(face), shown(out)
    assert len(result) == round(2 * rate)
    mouth = np.zeros((240, 320), bool)
    mouth[95:185, 105:215] = True
    for index, (_, picture) in enumerate(result):
        before = source[index if index < 40 else 78 - index][1].astype(int)
        apart = np.abs(picture - before).mean(axis=2)
        assert apart[~mouth].mean() < 2.5 and apart[~mouth].max() < 40, index
        assert apart[125:150, 145:175].mean() > 30, index


def test_several_methods_stand_side_by_side(tmp_path: Path) -> None:
    face = write_face(tmp_path / "face.mp4", 20, 30, waves)
    sound = write_sound(tmp_path / "a.wav", np.zeros(20_000, np.int16))
    out = made(face, sound, tmp_path / "out.mp4", Passed(), Inverted(), compare=True)
    picture, source = shown(out)[3][1], shown(face)[3][1]
    assert picture.shape == (240, 960, 3)
    for column, differs in ((0, False), (1, False), (2, True)):
        apart = np.abs(picture[:, 320 * column : 320 * (column + 1)].astype(int) - source)
        assert (apart[125:150, 145:175].mean() > 30) == differs
        assert apart[:15, :10].mean() > 10, "its name on a shade"
        assert apart[200:].mean() < 2


def test_pictures_without_a_face_stay_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From 1 to 3 s there is none, and for a moment at 0.4 s, which is bridged; a smaller face stands beside."""

    class Detector:
        most_pixels, surest, identity = 10**6, False, "s3fd-fake"

        def __init__(self) -> None:
            self.at = -1

        def detect(self, frames: Frames) -> list[Faces]:
            return [self.faces() for _ in frames]

        def faces(self) -> Faces:
            self.at += 1
            if 25 <= self.at < 75 or self.at == 10:
                return np.zeros((0, 5), np.float32)
            rows = [[10, 10, 60, 60, 0.99], [120, 60, 200, 160, 0.8]]
            return np.array(rows[self.at % 2 :] + rows[: self.at % 2], np.float32)

    monkeypatch.setattr("syncdiff_bench.dubbing.following.choose_detector", lambda _name, _device: (Detector(), []))
    face = write_face(tmp_path / "face.mp4", 100, 25, waves)
    sound = write_sound(tmp_path / "a.wav", np.zeros(44_100 * 4, np.int16))
    track = follow(open_pictures(face), 100)
    assert np.flatnonzero(~track.seen).tolist() == list(range(25, 75))
    assert np.abs(track.boxes - [120, 60, 200, 160]).max() < 1
    assert any("no face 0:01.0 to 0:03.0" in note for note in track.notes)
    assert any("several faces (2 at" in note for note in track.notes)
    out = made(face, sound, tmp_path / "out.mp4", Inverted(), boxes="auto")
    apart = [
        np.abs(a[1].astype(int) - b[1])[125:150, 145:175].mean() for a, b in zip(shown(out), shown(face), strict=True)
    ]
    assert min(apart[10], apart[20], apart[80]) > 30 and max(apart[26:74]) < 3


def test_from_the_command_line(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    y, x = np.mgrid[0:161, 0:200].astype(float)
    Image.fromarray(np.stack([x, y, x + y], axis=-1).astype(np.uint8)).save("face.png")
    write_sound(Path("a.wav"), (8000 * np.sin(np.arange(16_000) / 20)).astype(np.int16), 16_000)
    command = ["dub", "face.png", "a.wav", "--box", "50,20,150,150", "--set", "checkpoint=pocket"]
    assert main([*command, "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert "200x161, photo" in told and "face at 50 20 150 150" in told and not Path("face-a.mp4").exists()
    assert main([*command, "-o", "out.mp4", "--compare"]) == 0
    told = capsys.readouterr()
    assert "wrote out.mp4: 400x162, 0:01.0" in told.out and "odd side" in told.err
    pictures = [picture for _, picture in shown(Path("out.mp4"))]
    assert len(pictures) == 25
    assert np.abs(pictures[5][90:140, 260:340].astype(int) - pictures[5][90:140, 60:140]).mean() > 2
    with av.open("out.mp4") as container:
        assert container.streams.audio[0].rate == 16_000


def test_which_weights_is_never_guessed_from_the_face(work_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(waves(0)).save("face.png")
    write_sound(Path("a.wav"), np.ones(9_000, np.int16))
    assert main(["dub", "face.png", "a.wav", "--box", BOX]) == 2
    assert "weights wav2lip missing; only you can get it" in capsys.readouterr().err
    assert main(["dub", "face.png", "a.wav", "--box", BOX, "--method", "syncdiff"]) == 2
    error = capsys.readouterr().err
    assert "syncdiff has no model for filmed faces: training/paper/model is missing" in error
    assert len(error.splitlines()) == 1


def test_errors_name_the_file_and_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    face = write_face(tmp_path / "face.mp4", 50, 25, waves)
    sound = write_sound(tmp_path / "a.wav", np.ones(44_100, np.int16))
    pocket = {"checkpoint": "pocket"}
    with pytest.raises(ClipError, match=r"face\.mp4: has no sound"):
        dub(face, face, "out.mp4", options=pocket)
    with pytest.raises(ClipError, match=r"face\.mp4.*finds no face \(0:00 to 0:01\.0\); give it with --box"):
        dub(face, sound, "out.mp4", options=pocket, boxes="dlib-hog")
    with pytest.raises(UsageError, match="is what is read"):
        dub(face, sound, face, options=pocket, boxes=BOX)
    with pytest.raises(UsageError, match=r"ends in \.mp4"):
        dub(face, sound, "out.avi", options=pocket, boxes=BOX)
    with pytest.raises(UsageError, match="there is no nobody; give auto"):
        dub(face, sound, "out.mp4", options=pocket, boxes="nobody")
    np.save("rows.npy", np.zeros((7, 4)))
    with pytest.raises(ClipError, match="7 boxes for 50 pictures"):
        dub(face, sound, "out.mp4", options=pocket, boxes="rows.npy")
    with pytest.raises(UsageError, match="give x1,y1,x2,y2"):
        dub(face, sound, "out.mp4", options=pocket, boxes="9,9,x,8")
    with pytest.raises(ClipError, match="holds no pixel"):
        dub(face, sound, "out.mp4", options=pocket, boxes="900,900,950,950")
    assert not Path("out.mp4").exists()
