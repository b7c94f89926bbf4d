"""Skin: its colour by tone and undertone, and where on a hand nails, creases, palm and back are."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np

from sonjit.errors import InputError
from sonjit.hand_models.rig import FINGERS
from sonjit.synthesis.hands.mesh import load_hand_mesh
from sonjit.synthesis.render.drawable import Material

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig, Side
    from sonjit.synthesis.hands.mesh import HandFiles
    from sonjit.synthesis.hands.skins import HandLook

MONK_TONES: Final = (
    "#f6ede4",
    "#f3e7db",
    "#f7ead0",
    "#eadaba",
    "#d7bd96",
    "#a07e56",
    "#825c43",
    "#604134",
    "#3a312a",
    "#292420",
)
"""The ten tones of the Monk scale as published (Monk 2019, skintone.google), sRGB, lightest first."""
TEXTURES: Final = (
    ("fine", 0.52, {}),
    ("dry", 0.72, {"pores": 0.3, "creases": 0.3}),
    ("oily", 0.38, {"pores": 0.15}),
    ("aged", 0.6, {"creases": 0.5, "veins": 0.45, "freckles": 0.2}),
    ("outdoor", 0.58, {"pores": 0.25, "freckles": 0.35}),
    ("smooth", 0.48, {"pores": -0.3, "creases": -0.3}),
)
"""Variants of the skin: name, roughness, and what they add to the strength of details."""

_LIGHTEST: Final = 0.72  # of white: lamps are bright, and an image keeps no skin that is white paper
_UNDERTONE: Final = np.array([0.05, 0.015, 0.06])  # how far red, green and blue go from cool to warm
_NAIL_FROM: Final = 0.42  # of the way from a finger's last joint to its end
_NAIL_WIDTH: Final = 0.8  # of the finger's half width
_CREASE_M: Final = 0.0014


@dataclass(frozen=True)
class HandLook:
    """How a hand's surface looks.

    Attributes:
        tone: 1 (lightest) to 10 (darkest) on the Monk scale.
        texture: variant of the skin, 0 to 4 or more.
        amounts: strength of details by name, as `drawable.Material.amounts`.
        glove: name of a glove, or None.
        rings: fingers (0 thumb to 4 little) that wear one.
        sleeve: name of a sleeve, or None for a bare forearm.
        seed: of every pattern.
    """

    tone: int = 4
    texture: int = 0
    amounts: dict[str, float] = field(default_factory=dict[str, float])
    glove: str | None = None
    rings: tuple[int, ...] = ()
    sleeve: str | None = None
    seed: float = 0.0


def albedo_from_tone(tone: int, undertone: float = 0.0) -> tuple[float, float, float]:
    """Linear RGB of a skin.

    Args:
        tone: 1 to 10 on the Monk scale.
        undertone: -1 cool to 1 warm.

    Raises:
        InputError: there is no such tone.
    """
    if not 1 <= tone <= len(MONK_TONES):
        raise InputError(f"skin tone {tone}: the Monk scale has 1 to {len(MONK_TONES)}")
    code = MONK_TONES[tone - 1]
    srgb = np.array([int(code[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    linear = linear * _LIGHTEST * (1 + undertone * _UNDERTONE * [1, 0.3, -1])
    red, green, blue = linear.tolist()
    return red, green, blue


def skin_material(look: HandLook) -> Material:
    """The skin of a hand.

    Raises:
        InputError: there is no such tone or texture.
    """
    if not 0 <= look.texture < len(TEXTURES):
        raise InputError(f"skin texture {look.texture}: there are 0 to {len(TEXTURES) - 1}")
    _, roughness, more = TEXTURES[look.texture]
    undertone = float(np.random.default_rng(abs(int(look.seed * 1000))).uniform(-1, 1))
    amounts = {name: min(max(look.amounts.get(name, 0.0) + more.get(name, 0.0), 0), 1) for name in look.amounts | more}
    return Material("skin", albedo_from_tone(look.tone, undertone), roughness, look.texture, look.seed, amounts)


@lru_cache(maxsize=4)
def skin_marks(side: Side, files: HandFiles | None = None) -> NDArray[np.float32]:
    """(V, 4) how much of each vertex is nail, crease, palm side and back, as `Drawable.marks` holds it.

    Raises:
        InputError: the hand's files cannot be used.
    """
    rig = load_hand_mesh(side, files)
    back = np.zeros(len(rig.vertices))
    for joint in range(25):
        back += rig.weights[:, joint] * (rig.normals @ rig.frames[joint][:, 1])
    marks = [_nails(rig), _creases(rig, back), _ramp(-back, -0.15, 0.55), _ramp(back, -0.15, 0.55)]
    return np.stack(marks, 1).astype(np.float32)


def _nails(rig: Rig) -> NDArray[np.float64]:
    """Patches on the back of each finger's last bone."""
    nails = np.zeros(len(rig.vertices))
    for chain in FINGERS:
        joint = chain[2]
        own = rig.weights[:, list(chain[2:])].sum(1) > 0.5
        local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
        ahead = -local[:, 2] / (-local[own, 2]).max()
        half = np.abs(local[own & (ahead > 0.3) & (ahead < 0.8), 0]).max()
        aside = np.abs(local[:, 0]) / (half * _NAIL_WIDTH)
        up = rig.normals @ rig.frames[joint][:, 1]
        patch = (
            _ramp(ahead, _NAIL_FROM - 0.06, _NAIL_FROM + 0.06) * _ramp(1.25 - aside, 0.1, 0.4) * _ramp(up, 0.05, 0.4)
        )
        nails = np.maximum(nails, patch * own)
    return nails


def _creases(rig: Rig, back: NDArray[np.float64]) -> NDArray[np.float64]:
    """Lines across each finger at its joints, deep on the palm side and faint on the back."""
    creases = np.zeros(len(rig.vertices))
    for chain in FINGERS:
        for step, joint in enumerate(chain[:3]):
            bone = float(np.linalg.norm(rig.joints[chain[step + 1]] - rig.joints[joint]))
            local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
            if step == 0:
                if chain[0] == 1:
                    continue
                local[:, 2] += 0.45 * bone  # a finger leaves the palm well beyond its first joint
            near = rig.weights[:, [joint, max(joint - 1, 0)]].sum(1) * (np.hypot(local[:, 0], local[:, 1]) < 0.016)
            line = np.exp(-((local[:, 2] / _CREASE_M) ** 2) / 2) * near
            creases = np.maximum(creases, line * np.where(back < 0.2, 1.0, 0.5 if step else 0.0))
    return creases


def _ramp(values: NDArray[np.float64], start: float, end: float) -> NDArray[np.float64]:
    """0 before the start, 1 beyond the end."""
    t = np.clip((values - start) / (end - start), 0, 1)
    return t * t * (3 - 2 * t)
