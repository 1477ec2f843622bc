"""Who speaks: face, voice and framing that one sees at once, and the hidden state that one does not.

Visible: skin, hair, eyes, light, background, head motion. Hidden: the articulation style of a clip (how wide this
speaker opens, how lopsidedly) and slow drift of the lower face (smile, jaw, lip tension). The hidden part is neither
in the audio nor in the upper half of the face, so only past frames reveal it: it is what the previous-frame
condition of SyncDiff (paper, section 3.3) is for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from syncdiff_datasets.pocket.grammar import Split
from syncdiff_datasets.pocket.speech import Voice

Colour = tuple[float, float, float]

_TRAIN_ACCENTS = ("en", "en-us", "en-gb-x-rp", "en-gb-x-gbcwmd", "en-029")
_TRAIN_TIMBRES = ("", "+f1", "+f2", "+f3", "+m1", "+m2", "+m3", "+m4")
_TEST_ACCENTS = ("en", "en-us", "en-gb-scotland")
_TEST_TIMBRES = ("+f4", "+f5", "+m5", "+m7")
_SPEECH_TIMBRES = ("+m6", "+m8", "+Alex", "+Andrea", "+linda", "+steph", "+adam", "+max")
_VOICES = {
    "test": (_TEST_ACCENTS, _TEST_TIMBRES),
    "ablation": (_TEST_ACCENTS, _TEST_TIMBRES),
    "speech": (_TRAIN_ACCENTS, _SPEECH_TIMBRES),
}
_CALM, _USUAL = (122, 139), (130, 166)  # words per minute

_SKINS: tuple[Colour, ...] = (
    (0.96, 0.82, 0.72), (0.91, 0.74, 0.62), (0.84, 0.66, 0.52),
    (0.74, 0.55, 0.42), (0.60, 0.43, 0.32), (0.46, 0.32, 0.24),
)  # fmt: skip
_HAIRS: tuple[Colour, ...] = (
    (0.10, 0.08, 0.07), (0.22, 0.15, 0.10), (0.38, 0.25, 0.15),
    (0.62, 0.46, 0.26), (0.55, 0.53, 0.50), (0.48, 0.22, 0.12),
)  # fmt: skip
_IRISES: tuple[Colour, ...] = ((0.25, 0.16, 0.10), (0.35, 0.25, 0.12), (0.25, 0.38, 0.30), (0.28, 0.40, 0.55))


@dataclass(frozen=True)
class Persona:
    """A speaker. Lengths are fractions of the frame; colours RGB 0..1; light is a direction (right, down)."""

    voice: Voice
    skin: Colour
    hair: Colour
    iris: Colour
    lip: Colour
    backdrop: tuple[Colour, Colour]
    shirt: Colour
    face_width: float
    face_height: float
    jaw: float  # 0 pointed .. 1 square
    eye_distance: float
    eye_size: float
    brow_thickness: float
    nose_length: float
    nose_width: float
    mouth_width: float  # half width at rest
    lip_fullness: float
    hairline: float
    stubble: float
    glasses: bool
    light: tuple[float, float]
    # the hidden articulation style
    gain: float
    asymmetry: float
    smile: float
    tension: float


@dataclass(frozen=True, eq=False)
class Motion:
    """What moves besides speech, one value per frame. x, y, roll, scale, blink, gaze and brow are visible above the
    mask; smile, skew, jaw and tension live in the lower half only. Lengths in fractions of the frame, roll in radians.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    roll: NDArray[np.float64]
    scale: NDArray[np.float64]
    blink: NDArray[np.float64]
    gaze: NDArray[np.float64]
    brow: NDArray[np.float64]
    smile: NDArray[np.float64]
    skew: NDArray[np.float64]
    jaw: NDArray[np.float64]
    tension: NDArray[np.float64]


def draw_persona(split: Split, rng: np.random.Generator) -> Persona:
    """A random speaker; those of test and ablation share no voice with the others, nor do those of speech."""
    skin = _tinted(_SKINS[rng.integers(len(_SKINS))], 0.03, rng)
    redness = rng.uniform(0.04, 0.2)
    lip = (min(1.0, skin[0] * 0.86 + redness * 0.25), skin[1] * (0.72 - redness), skin[2] * (0.76 - redness))
    angle = rng.uniform(-np.pi, np.pi)
    strength = rng.uniform(0.03, 0.2)
    return Persona(
        voice=_draw_voice(split, rng),
        skin=skin,
        hair=_tinted(_HAIRS[rng.integers(len(_HAIRS))], 0.03, rng),
        iris=_IRISES[rng.integers(len(_IRISES))],
        lip=lip,
        backdrop=(_backdrop(rng), _backdrop(rng)),
        shirt=_backdrop(rng),
        face_width=rng.uniform(0.255, 0.295),
        face_height=rng.uniform(0.355, 0.40),
        jaw=rng.uniform(0.0, 1.0),
        eye_distance=rng.uniform(0.105, 0.125),
        eye_size=rng.uniform(0.040, 0.050),
        brow_thickness=rng.uniform(0.008, 0.018),
        nose_length=rng.uniform(0.12, 0.15),
        nose_width=rng.uniform(0.035, 0.055),
        mouth_width=rng.uniform(0.118, 0.142),
        lip_fullness=rng.uniform(0.75, 1.25),
        hairline=rng.uniform(0.18, 0.26),
        stubble=float(rng.uniform(0.1, 0.5)) if rng.random() < 0.3 else 0.0,
        glasses=bool(rng.random() < 0.15),
        light=(strength * float(np.cos(angle)), strength * float(np.sin(angle))),
        gain=rng.uniform(0.62, 1.18),
        asymmetry=rng.normal(0, 0.22),
        smile=rng.normal(0.15, 0.35),
        tension=rng.normal(0, 0.3),
    )


def draw_motion(persona: Persona, n_frames: int, rng: np.random.Generator) -> Motion:
    """Head motion, blinks and the slow drift of the lower face, all Ornstein-Uhlenbeck processes at 25 fps."""

    def drift(
        spread: float, seconds: float, start: Literal["centre", "stationary"] = "stationary"
    ) -> NDArray[np.float64]:
        keep = np.exp(-1 / (25 * seconds))
        noise = rng.normal(0, spread * np.sqrt(1 - keep**2), n_frames)
        value = rng.normal(0, spread) if start == "stationary" else 0.0
        path = np.empty(n_frames)
        for t in range(n_frames):
            value = keep * value + noise[t]
            path[t] = value
        kernel = np.array([1.0, 3.0, 4.0, 3.0, 1.0])
        return np.convolve(np.pad(path, 2, mode="edge"), kernel / kernel.sum(), mode="valid")

    return Motion(
        x=drift(0.016, 1.2),
        y=drift(0.012, 1.2),
        roll=drift(0.035, 1.5),
        scale=1 + drift(0.02, 2.0),
        blink=_blinks(n_frames, rng),
        gaze=drift(0.25, 0.6),
        brow=drift(0.5, 0.5),
        smile=persona.smile + drift(0.5, 0.8),
        skew=persona.asymmetry + drift(0.2, 0.9),
        jaw=drift(0.008, 0.7),
        tension=persona.tension + drift(0.35, 0.7),
    )


def _draw_voice(split: Split, rng: np.random.Generator) -> Voice:
    accents, timbres = _VOICES.get(split, (_TRAIN_ACCENTS, _TRAIN_TIMBRES))
    timbre = timbres[rng.integers(len(timbres))]
    return Voice(
        name=accents[rng.integers(len(accents))] + timbre,
        rate=int(rng.integers(*(_CALM if split == "ablation" else _USUAL))),
        pitch=int(rng.integers(35, 66)),
        pitch_range=int(rng.integers(30, 71)),
    )


def _tinted(base: Colour, spread: float, rng: np.random.Generator) -> Colour:
    """A colour near `base`: mostly lighter or darker, a little warmer or cooler."""
    lightness, warmth = rng.normal(0, spread), rng.normal(0, spread / 3)
    r, g, b = (float(np.clip(c + lightness + w, 0.02, 0.98)) for c, w in zip(base, (warmth, 0.0, -warmth), strict=True))
    return r, g, b


def _backdrop(rng: np.random.Generator) -> Colour:
    grey = rng.uniform(0.15, 0.85)
    r, g, b = (float(np.clip(grey + rng.normal(0, 0.06), 0, 1)) for _ in range(3))
    return r, g, b


def _blinks(n_frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    lids = np.zeros(n_frames)
    t = int(rng.integers(0, 60))
    while t < n_frames:
        for offset, value in enumerate((0.5, 1.0, 0.9, 0.4)):
            if t + offset < n_frames:
                lids[t + offset] = value
        t += int(rng.integers(35, 90))
    return lids
