"""Trees of small clips in the layouts of LRS2, LRS3 and nobody in particular."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from syncdiff_bench.contracts import Media
from syncdiff_bench.media.writing import write_video

WriteClip = Callable[..., Path]


@pytest.fixture
def write_clip() -> WriteClip:
    """`write_clip(path, n_frames=5, side=160, sound=True, text=...)`: a clip, with `text` its words too."""

    def write(path: Path, *, n_frames: int = 5, side: int = 160, sound: bool = True, text: str | None = None) -> Path:
        frames = np.full((n_frames, side, side, 3), 90, np.uint8)
        audio = np.arange(640 * n_frames if sound else 0, dtype=np.int16)
        write_video(path, Media(frames, audio))
        if text is not None:
            path.with_suffix(".txt").write_text(text)
        return path

    return write


@pytest.fixture
def lrs2_home(tmp_path: Path, write_clip: WriteClip) -> Path:
    """`mvlrs_v1` with two test clips, a pretrain clip of the same id as a test clip, and their lists."""
    home = tmp_path / "data" / "mvlrs_v1"
    write_clip(home / "main" / "6330311066473698535" / "00011.mp4", text="Text:  HELLO WORLD\nConf:  4\n")
    write_clip(home / "main" / "6331559613336179781" / "00001.mp4", text="Text:  IT'S  LATE\nConf:  5\n")
    table = "\nWORD START END ASDSCORE\nGOOD 0.1 0.2 5.1\nMORNING 0.2 0.6 4.0\n"
    write_clip(home / "pretrain" / "6330311066473698535" / "00011.mp4", text=table)
    (home / "test.txt").write_text("6330311066473698535/00011 NF\n\n6331559613336179781/00001 MV\n")
    (home / "pretrain.txt").write_text("6330311066473698535/00011\n")
    return home


@pytest.fixture
def lrs3_home(tmp_path: Path, write_clip: WriteClip) -> Path:
    """Three test clips of two talks, and a trainval clip without the third section in its transcript."""
    home = tmp_path / "data" / "lrs3"
    text = "Text:  {words}\nConf:  3\nRef:  {talk}\n\nFRAME X Y W H\n000116 0.455 0.21 0.1 0.2\n"
    for talk, clip, words in [
        ("QoT0S2vu9m4", "00002", "PAID BY THE HOUR"),
        ("0Fi83BHQsMA", "00006", "THE NET OUTCOME"),
        ("0Fi83BHQsMA", "00002", "WE REALLY DON'T"),
    ]:
        path = home / "test" / talk / f"{clip}.mp4"
        write_clip(path, side=224, n_frames=3, text=text.format(words=words, talk=talk))
    write_clip(home / "trainval" / "00j9bKdiOjk" / "50001.mp4", side=224, n_frames=3, text="Text:  SO\n")
    return home
