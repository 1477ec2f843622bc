"""The 68 landmarks of a drawn face (iBUG's numbers: 0..16 jaw, 17..26 brows, 27..35 nose, 36..47 eyes, 48..67 mouth).

They follow what `drawing` draws, in pixels of the frame, the centre of the first pixel at 0. Points 0..3 and 13..16 of
the jaw, which DiffTalk is shown, lie above the line from which the face follows the jaw, as nose and eyes do: they tell
nothing of the mouth.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from syncdiff_datasets.pocket.drawing import (
    CENTRE,
    EYE_LINE,
    JAW_DROP,
    JAW_LINE,
    SIZE,
    ZOOM,
    Mouth,
    brow_height,
    eye_opening,
    lips,
    mouth_centre,
    nose_tip,
)
from syncdiff_datasets.pocket.persona import Motion, Persona

Points = NDArray[np.float64]

POINTS = 68
_EAR, _CHEEK = -0.19, 0.25  # sines of the directions of jaw points 0 and 3 from the centre of the face


def landmarks(persona: Persona, motion: Motion, mouth: Mouth, t: int) -> Points:
    """(68, 2) x and y in pixels."""
    left, right = (_eye(persona, motion, t, side) for side in (-1, 1))
    brows = [_brow(persona, motion, t, side) for side in (-1, 1)]
    parts = (_jaw(persona, mouth), *brows, _nose(persona), left, right, _lips(persona, mouth))
    return _in_frame(np.concatenate(parts), motion, t)


def _in_frame(head: Points, motion: Motion, t: int) -> Points:
    """Head coordinates (u, v) to pixels: the way back of `Canvas.blank`."""
    cos, sin, scale = np.cos(motion.roll[t]), np.sin(motion.roll[t]), ZOOM * motion.scale[t]
    turned = scale * head @ np.array([[cos, sin], [-sin, cos]])
    pixels: Points = SIZE * (turned + np.add(CENTRE, (motion.x[t], motion.y[t]))) - 0.5
    return pixels


def _jaw(persona: Persona, mouth: Mouth) -> Points:
    """From ear to ear along the outline that `_draw_head` paints, through the chin."""
    a, b = persona.face_width, persona.face_height
    side = np.concatenate(
        [np.linspace(np.arcsin(_EAR), np.arcsin(_CHEEK), 4), np.linspace(np.arcsin(_CHEEK), np.pi / 2, 6)[1:]]
    )
    angles = np.concatenate([np.pi - side, side[-2::-1]])
    radius = np.ones_like(angles)
    for _ in range(20):  # where the square corners of the jaw push the outline to
        radius = 1 + 0.175 * persona.jaw * radius * np.abs(np.cos(angles)) * np.clip(radius * np.sin(angles), 0, 1)
    u, v = a * radius * np.cos(angles), b * radius * np.sin(angles)
    drop = JAW_DROP * mouth.opening
    share = drop / (b - JAW_LINE + drop)
    v = np.where(v > JAW_LINE, (v - share * JAW_LINE) / (1 - share), v)
    u = u + mouth.jaw / (b - JAW_LINE) * np.clip(v - JAW_LINE, 0, None)
    return np.stack([u, v], axis=1)


def _brow(persona: Persona, motion: Motion, t: int, side: int) -> Points:
    offset = np.linspace(-1.35, 1.35, 5) * persona.eye_size
    return np.stack([side * persona.eye_distance + offset, brow_height(motion, t, offset)], axis=1)


def _nose(persona: Persona) -> Points:
    """Four points down its bridge to the tip, five along its base."""
    tip = nose_tip(persona)
    bridge = np.stack([np.zeros(4), np.linspace(EYE_LINE, tip, 4)], axis=1)
    base = np.stack([np.linspace(-1, 1, 5) * persona.nose_width, np.full(5, tip + 0.012)], axis=1)
    return np.concatenate([bridge, base])


def _eye(persona: Persona, motion: Motion, t: int, side: int) -> Points:
    """Left corner, upper lid from left to right, right corner, lower lid from right to left."""
    across = np.array([-1, -0.5, 0.5, 1, 0.5, -0.5])
    up = np.array([0, -1, -1, 0, 1, 1]) * np.sqrt(1 - across**2)
    size, opening = persona.eye_size, eye_opening(persona, float(motion.blink[t]))
    return np.stack([side * persona.eye_distance + size * across, EYE_LINE + opening * up], axis=1)


def _lips(persona: Persona, mouth: Mouth) -> Points:
    """Outer edge: left corner, upper lip in seven steps, lower lip back; then the opening in the same way, of five."""
    half = lips(persona, mouth, np.zeros(1)).half
    centre = mouth_centre(mouth)

    def edge(across: Points, name: str) -> Points:
        u = centre + half * across
        return np.stack([u, getattr(lips(persona, mouth, u), name)], axis=1)

    outer, inner = np.linspace(-1, 1, 7), np.linspace(-0.8, 0.8, 5)
    return np.concatenate(
        [edge(outer, "upper"), edge(outer[-2:0:-1], "lower"), edge(inner, "top"), edge(inner[-2:0:-1], "bottom")]
    )
