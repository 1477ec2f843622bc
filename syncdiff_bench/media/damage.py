"""What is wrong with a file that can still be decoded: counted, because a few bad frames are a wrong number."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from syncdiff_bench.caveats import Caveat
from syncdiff_bench.media.declared import bytes_short, seconds_short
from syncdiff_bench.media.packets import Track
from syncdiff_bench.media.pictures import Decoded
from syncdiff_bench.media.sound import Sound

SOUND_SLACK = 0.05  # seconds: less than a packet of any codec's


def damage(
    container: Any, path: Path, video: Track, sounds: Sequence[Track], pictures: Decoded, sound: Sound, rate: Fraction
) -> tuple[Caveat, ...]:
    """A caveat `damaged` with the counts; nothing for a whole file."""
    found = list(_findings(container, path, video, sounds, pictures, sound, rate))
    if not found:
        return ()
    return (Caveat("damaged", "the file is damaged, used as far as it goes (accept_damaged)", "; ".join(found)),)


def _findings(
    container: Any, path: Path, video: Track, sounds: Sequence[Track], pictures: Decoded, sound: Sound, rate: Fraction
) -> Iterator[str]:
    there = len(pictures.frames)
    # A stream without durations may end a picture earlier than declared; rounded clocks take a part of one more.
    missing = math.floor(seconds_short(container, video, sounds) * float(rate) + 0.1)
    if pictures.damaged:
        yield f"{pictures.damaged} of {max(there, video.count)} pictures are damaged"
    if missing > 0:
        yield f"{missing} of {there + missing} pictures are missing"
    for track in sounds:
        if sound.damaged:
            yield f"{sound.damaged} of {track.count} packets of sound are damaged"
        if (short := seconds_short(container, track, [video])) > SOUND_SLACK:
            yield f"{short:.2f} s of sound are missing"
    if video.broken:
        yield f"reading stops ({video.broken})"
    if early := bytes_short(path):
        yield f"the file ends {early:,} bytes early"
