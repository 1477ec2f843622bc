"""Draw one frame of a talking face with soft-edged implicit shapes: no rasteriser, the same bytes everywhere.

Coordinates: `u` right, `v` down, in frame widths, origin at the centre of the face, after undoing head motion. A mask
is (H, W) float32 0..1, one pixel soft at its edge; `paint` blends a colour through it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from syncdiff_datasets.pocket.persona import Colour, Motion, Persona

SIZE = 160
ZOOM = 1.24  # tight framing, as LRS face tracks have it
CENTRE = (0.5, 0.41)
JAW_LINE = 0.11  # v from which the face follows the jaw: all of it lies in the lower half of the face box
EYE_LINE = -0.075  # v of the eyes
JAW_DROP = 0.045  # how far the chin of a wide-open mouth drops
Plane = NDArray[np.floating]  # computed in float32; a float64 scalar may widen it

_INSIDE_MOUTH: Colour = (0.20, 0.06, 0.06)
_TEETH: Colour = (0.93, 0.91, 0.86)
_TONGUE: Colour = (0.78, 0.36, 0.36)


@dataclass(frozen=True)
class Mouth:
    """One row of the articulation, style applied. See `articulation.Viseme` for the ranges."""

    opening: float
    width: float
    rounding: float
    teeth: float
    tongue: float
    tuck: float
    smile: float
    skew: float
    jaw: float
    tension: float


@dataclass(frozen=True, eq=False)
class Canvas:
    """image: (h, w, 3) float32 0..1; u, v: (h, w) float32 head coordinates of its pixels."""

    image: NDArray[np.float32]
    u: Plane
    v: Plane

    @classmethod
    def blank(cls, motion: Motion, t: int) -> Canvas:
        y, x = np.mgrid[0:SIZE, 0:SIZE].astype(np.float32)
        dx = (x + 0.5) / SIZE - np.float32(CENTRE[0] + motion.x[t])
        dy = (y + 0.5) / SIZE - np.float32(CENTRE[1] + motion.y[t])
        cos, sin = np.float32(np.cos(motion.roll[t])), np.float32(np.sin(motion.roll[t]))
        scale = np.float32(ZOOM * motion.scale[t])
        return cls(
            np.zeros((SIZE, SIZE, 3), np.float32),
            (cos * dx + sin * dy) / scale,
            (cos * dy - sin * dx) / scale,
        )

    def window(self, u0: float, v0: float, u1: float, v1: float) -> Canvas:
        """The smallest view of this canvas that holds the given head rectangle; painting it paints this canvas."""
        inside = (self.u >= u0) & (self.u <= u1) & (self.v >= v0) & (self.v <= v1)
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        if not len(rows):
            return Canvas(self.image[:0], self.u[:0], self.v[:0])
        view = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        return Canvas(self.image[view], self.u[view], self.v[view])

    def paint(self, mask: Plane, colour: Colour, opacity: float = 1.0) -> None:
        alpha = (mask * np.float32(opacity))[..., None]
        self.image[:] += alpha * (np.asarray(colour, np.float32) - self.image)

    def shade(self, mask: Plane, factor: float) -> None:
        """Multiply towards `factor` where the mask is 1."""
        self.image[:] *= (1 + mask * np.float32(factor - 1))[..., None]

    def ellipse(self, u0: float, v0: float, a: float, b: float, soft: float = 1.0) -> Plane:
        """Filled ellipse of half-axes a, b; `soft` is the width of its edge in pixels."""
        radius = np.sqrt(((self.u - u0) / a) ** 2 + ((self.v - v0) / b) ** 2)
        return _edge((1 - radius) * min(a, b), soft)

    def band(self, top: Plane, bottom: Plane, soft: float = 1.0) -> Plane:
        """Where `top` <= v <= `bottom`."""
        inside: Plane = _edge(self.v - top, soft) * _edge(bottom - self.v, soft)
        return inside


def _edge(distance: Plane, soft: float) -> Plane:
    """Smooth step of a signed distance (frame widths, positive inside) over `soft` pixels."""
    s = np.clip(distance * np.float32(SIZE / soft) + np.float32(0.5), 0, 1)
    smooth: Plane = (s * s * (3 - 2 * s)).astype(np.float32)
    return smooth


def _darker(colour: Colour, factor: float) -> Colour:
    r, g, b = colour
    return factor * r, factor * g, factor * b


def draw_frame(persona: Persona, motion: Motion, mouth: Mouth, t: int) -> NDArray[np.uint8]:
    """(160, 160, 3) uint8 RGB."""
    canvas = Canvas.blank(motion, t)
    _draw_backdrop(canvas, persona)
    _draw_head(canvas, persona, mouth)
    for side in (-1, 1):
        _draw_eye(canvas.window(side * 0.115 - 0.115, -0.19, side * 0.115 + 0.115, 0.0), persona, motion, t, side)
    _draw_nose(canvas.window(-0.1, -0.1, 0.1, 0.12), persona)
    _draw_mouth(canvas.window(-0.21, 0.08, 0.21, 0.33), persona, mouth)
    lit = 1 + persona.light[0] * canvas.u * 2.2 + persona.light[1] * canvas.v * 2.2
    return np.rint(np.clip(canvas.image * lit[..., None], 0, 1) * 255).astype(np.uint8)


def face_box(persona: Persona, motion: Motion, t: int) -> tuple[int, int, int, int]:
    """x1 y1 x2 y2 of the drawn face as a detector frames it, brow to chin, clipped to the frame.

    The box does not follow the jaw but holds the chin of a wide-open mouth: neither its edge nor what shows below it
    gives the opening away.
    """
    scale = ZOOM * motion.scale[t]
    cx, cy = CENTRE[0] + motion.x[t], CENTRE[1] + motion.y[t]
    half_width, top = 1.1 * persona.face_width, 0.76 * persona.face_height
    bottom = 1.02 * persona.face_height + 1.45 * JAW_DROP
    corners = (cx - half_width * scale, cy - top * scale, cx + half_width * scale, cy + bottom * scale)
    x1, y1, x2, y2 = (int(np.clip(round(SIZE * c), 0, SIZE)) for c in corners)
    return x1, y1, x2, y2


def _draw_backdrop(canvas: Canvas, persona: Persona) -> None:
    first, second = (np.array(c, np.float32) for c in persona.backdrop)
    ramp = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE
    blend = (0.5 * ramp[:, None] + 0.5 * ramp[None, :])[..., None]
    canvas.image[:] = first * (1 - blend) + second * blend
    canvas.paint(canvas.ellipse(0, 0.66, 0.52, 0.26), persona.shirt)
    canvas.paint(canvas.ellipse(0, 0.40, 0.13, 0.22), _darker(persona.skin, 0.84))


def _draw_head(canvas: Canvas, persona: Persona, mouth: Mouth) -> None:
    a, b = persona.face_width, persona.face_height
    skull = canvas.ellipse(0, -0.06, a * 1.16, b * 1.02, 2)
    canvas.paint(skull, persona.hair)
    for side in (-1, 1):
        canvas.paint(canvas.ellipse(side * a * 0.99, -0.01, 0.03, 0.06), _darker(persona.skin, 0.9))
    # The jaw drops and swings with the mouth: from the mouth down the outline is stretched and shifted.
    drop = JAW_DROP * mouth.opening
    below = np.clip(canvas.v - JAW_LINE, 0, None)
    u = canvas.u - np.float32(mouth.jaw / (b - JAW_LINE)) * below
    v = canvas.v - np.float32(drop / (b - JAW_LINE + drop)) * below
    corner = np.float32(0.35 * persona.jaw) * np.abs(u / a) * np.clip(v / b, 0, 1)
    radius = np.sqrt((u / a) ** 2 + (v / b) ** 2) - corner * 0.5
    face = _edge((1 - radius) * a, 1.5)
    canvas.paint(face, persona.skin)
    canvas.shade(np.clip(radius - 0.72, 0, 0.3) * 2 * face, 0.72)
    if persona.stubble:
        beard = _edge((v - 0.10), 14) * _edge((1 - radius) * a, 4)
        canvas.paint(beard, persona.hair, 0.45 * persona.stubble)
    fringe = _edge(-persona.hairline - canvas.v + 0.25 * canvas.u**2, 3)
    canvas.paint(fringe * skull, persona.hair)
    chin = canvas.ellipse(mouth.jaw, 0.295 + drop, 0.05, 0.016, 6)
    canvas.shade(chin, 0.93)


def _draw_eye(canvas: Canvas, persona: Persona, motion: Motion, t: int, side: int) -> None:
    size, lid = persona.eye_size, float(motion.blink[t])
    u0, v0 = side * persona.eye_distance, EYE_LINE
    canvas.shade(canvas.ellipse(u0, v0, size * 1.35, size * 0.95, 5), 0.88)
    opening = eye_opening(persona, lid)
    white = canvas.ellipse(u0, v0, size, opening)
    canvas.paint(white, (0.95, 0.95, 0.94))
    gaze = u0 + float(motion.gaze[t]) * size * 0.35
    canvas.paint(canvas.ellipse(gaze, v0, size * 0.46, size * 0.46) * white, persona.iris)
    canvas.paint(canvas.ellipse(gaze, v0, size * 0.22, size * 0.22) * white, (0.05, 0.05, 0.05))
    lash = canvas.ellipse(u0, v0, size * 1.06, opening + 0.009) * (1 - white) * _edge(v0 - canvas.v + 0.003, 2)
    canvas.paint(lash, (0.12, 0.09, 0.08), 0.85)
    brow = brow_height(motion, t, canvas.u - u0)
    across = _edge(size * 1.35 - np.abs(canvas.u - u0), 3)
    thickness = persona.brow_thickness / 2
    canvas.paint(canvas.band(brow - thickness, brow + thickness, 2) * across, persona.hair, 0.9)
    if persona.glasses:
        ring = canvas.ellipse(u0, v0, size * 1.6, size * 1.3) - canvas.ellipse(u0, v0, size * 1.45, size * 1.15)
        canvas.paint(np.clip(ring, 0, 1), (0.08, 0.08, 0.1))


def _draw_nose(canvas: Canvas, persona: Persona) -> None:
    tip = nose_tip(persona)
    shadow_side = 1 if persona.light[0] < 0 else -1
    canvas.shade(canvas.ellipse(shadow_side * persona.nose_width * 0.55, tip - 0.05, 0.012, 0.06, 5), 0.88)
    canvas.shade(canvas.ellipse(0, tip + 0.012, persona.nose_width, 0.012, 4), 0.85)
    for side in (-1, 1):
        canvas.shade(canvas.ellipse(side * persona.nose_width * 0.5, tip + 0.006, 0.009, 0.006, 2), 0.5)


def eye_opening(persona: Persona, lid: float) -> float:
    """Half the height of an eye whose lid is `lid` (0 open .. 1 shut) down."""
    return persona.eye_size * 0.52 * (1 - lid) + 0.001


def nose_tip(persona: Persona) -> float:
    """v of the tip of the nose."""
    return -0.07 + persona.nose_length


@dataclass(frozen=True, eq=False)
class Lips:
    """Where the lips run, at given u: heights v of the outer edge, the opening and the line between the lips.

    half: half the width of the mouth. offset: u from its middle.
    """

    half: float
    offset: Plane
    upper: Plane
    top: Plane
    line: Plane
    bottom: Plane
    lower: Plane
    height: float


def lips(persona: Persona, mouth: Mouth, u: Plane) -> Lips:
    """The lips of a mouth at horizontal positions `u` of the head."""
    half = persona.mouth_width * (1 + 0.20 * mouth.width - 0.16 * mouth.rounding + 0.06 * mouth.smile)
    centre_u, centre_v = mouth_centre(mouth), 0.165 + 0.012 * mouth.opening
    offset = u - np.float32(centre_u)
    s = offset / np.float32(half)
    arch = np.sqrt(np.clip(1 - s * s, 0, 1))
    lopsided = 1 + np.clip(mouth.skew, -0.8, 0.8) * s
    line = centre_v - 0.022 * mouth.smile * (s * s - 0.35) + 0.010 * mouth.skew * s

    height = 0.098 * mouth.opening * (1 + 0.1 * mouth.rounding)
    top = line - 0.30 * height * arch * lopsided
    bottom = line + 0.70 * height * arch * lopsided - 0.012 * mouth.tuck * arch
    press = 1 - 0.35 * np.clip(mouth.tension, -1, 1) - 0.25 * mouth.tuck
    full = persona.lip_fullness * press * (1 + 0.35 * mouth.rounding)
    cupid = 0.006 * np.exp(-((offset / 0.02) ** 2))
    upper = top - (0.022 * arch**0.8) * full + cupid
    lower = bottom + (0.030 * arch**0.9) * full * (1 - 0.45 * mouth.tuck)
    return Lips(half, offset, upper, top, line, bottom, lower, height)


def mouth_centre(mouth: Mouth) -> float:
    """u of the middle of the mouth, which swings with the jaw."""
    return 1.1 * mouth.jaw


def brow_height(motion: Motion, t: int, offset: Plane) -> Plane:
    """v of the middle of a brow, `offset` from the middle of the eye below it."""
    height: Plane = -0.135 - 0.012 * float(motion.brow[t]) + 1.6 * offset**2
    return height


def _draw_mouth(canvas: Canvas, persona: Persona, mouth: Mouth) -> None:
    drawn = lips(persona, mouth, canvas.u)
    half, line, upper, lower = drawn.half, drawn.line, drawn.upper, drawn.lower
    across = _edge((1 - np.abs(drawn.offset / np.float32(half))) * half, 1.2)

    canvas.shade(canvas.band(lower, lower + 0.02, 6) * across, 0.90)
    canvas.paint(canvas.band(upper, lower) * across, persona.lip)
    canvas.shade(canvas.band(upper, drawn.top) * across, 0.88)
    inside = canvas.band(drawn.top, drawn.bottom) * across * np.float32(np.clip(mouth.opening * 14, 0, 1))
    canvas.paint(inside, _INSIDE_MOUTH)
    _draw_tongue_and_teeth(canvas, mouth, inside, drawn)
    seam = canvas.band(line - 0.004, line + 0.004, 1.5) * across * np.float32(np.clip(1 - mouth.opening * 14, 0, 1))
    canvas.paint(seam, _darker(persona.lip, 0.45), 0.9)


def _draw_tongue_and_teeth(canvas: Canvas, mouth: Mouth, inside: Plane, drawn: Lips) -> None:
    half, top, bottom, height = drawn.half, drawn.top, drawn.bottom, drawn.height
    row = _edge(half * 0.78 - np.abs(drawn.offset), 4)
    low = canvas.ellipse(mouth_centre(mouth), 0.165 + 0.75 * height, half * 0.62, 0.25 * height + 0.006, 2)
    canvas.paint(low * inside, _TONGUE, 0.55 * float(np.clip(1 - mouth.tongue, 0, 1)))
    teeth = canvas.band(top - 0.01, top + 0.020 * mouth.teeth + 0.014 * mouth.tuck, 1.5) * row * inside
    canvas.paint(teeth, _TEETH, float(np.clip(mouth.teeth * 1.6, 0, 1)))
    lower_teeth = canvas.band(bottom - 0.010 * mouth.teeth, bottom + 0.01, 1.5) * row * inside
    canvas.paint(lower_teeth, _darker(_TEETH, 0.86), float(np.clip(mouth.teeth - 0.55, 0, 1)))
    # The tip of the tongue: behind the teeth for l and t, between them for th.
    tip_v = 0.165 + height * (0.45 - 0.45 * mouth.tongue)
    tip = canvas.ellipse(mouth_centre(mouth), tip_v, half * 0.42, 0.018, 1.5)
    canvas.paint(tip * inside, _TONGUE, float(np.clip(mouth.tongue * 1.3 - 0.25, 0, 1)))
