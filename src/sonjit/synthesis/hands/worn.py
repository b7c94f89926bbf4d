"""What hands wear: gloves, rings and sleeves, by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sonjit.errors import InputError
from sonjit.hand_models.rig import FINGERS
from sonjit.synthesis.render.drawable import Drawable, Material

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from sonjit.hand_models.rig import Rig, RigPose
    from sonjit.synthesis.render.drawable import Surface

_Colour = tuple[float, float, float]


class Glove(NamedTuple):
    """How a glove is made: its cloth, colours that it comes in (linear RGB), metres off the skin, open tips."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    thick_m: float
    fingerless: bool = False


class Sleeve(NamedTuple):
    """How a sleeve is made: its cloth, its colours, and metres behind the wrist, off the skin and of its folds."""

    surface: Surface
    roughness: float
    colours: tuple[_Colour, ...]
    start_m: float
    width_m: float
    folds_m: float


GLOVES: Final = {
    "latex": Glove("rubber", 0.45, ((0.62, 0.68, 0.66), (0.12, 0.3, 0.62), (0.02, 0.02, 0.025)), 0.0005),
    "knit": Glove("cloth", 0.95, ((0.32, 0.04, 0.05), (0.05, 0.06, 0.1), (0.4, 0.38, 0.34), (0.05, 0.16, 0.1)), 0.0016),
    "leather": Glove("rubber", 0.55, ((0.05, 0.025, 0.012), (0.014, 0.012, 0.012), (0.22, 0.09, 0.03)), 0.0013),
    "work": Glove("rubber", 0.7, ((0.62, 0.3, 0.02), (0.02, 0.25, 0.1), (0.55, 0.55, 0.5)), 0.002),
    "fingerless": Glove("cloth", 0.9, ((0.02, 0.02, 0.022), (0.2, 0.05, 0.03), (0.12, 0.12, 0.14)), 0.0013, True),
}
SLEEVES: Final = {
    "shirt": Sleeve("cloth", 0.85, ((0.7, 0.72, 0.75), (0.12, 0.22, 0.45), (0.45, 0.2, 0.22)), 0.006, 0.005, 0.002),
    "knit": Sleeve("cloth", 0.97, ((0.1, 0.17, 0.33), (0.3, 0.28, 0.24), (0.22, 0.03, 0.05)), 0.002, 0.006, 0.003),
    "jacket": Sleeve("cloth", 0.8, ((0.03, 0.03, 0.035), (0.08, 0.1, 0.06), (0.16, 0.1, 0.05)), 0.016, 0.011, 0.004),
    "rain": Sleeve("rubber", 0.4, ((0.7, 0.5, 0.03), (0.03, 0.1, 0.28), (0.4, 0.05, 0.04)), 0.012, 0.012, 0.005),
    "rolled": Sleeve("cloth", 0.88, ((0.6, 0.6, 0.58), (0.09, 0.13, 0.2), (0.3, 0.1, 0.06)), 0.1, 0.009, 0.003),
}
_METALS: Final = ((0.83, 0.6, 0.25), (0.62, 0.62, 0.64), (0.7, 0.42, 0.32))
_RING_M: Final = 0.0011  # half its thickness
_RING_AT: Final = 0.5  # of the finger's first free bone


def glove_named(name: str) -> Glove:
    """Raises InputError where there is none of that name."""
    if name not in GLOVES:
        raise InputError(f"no such glove {name!r}: known are {', '.join(GLOVES)}")
    return GLOVES[name]


def sleeve_named(name: str) -> Sleeve:
    """Raises InputError where there is none of that name."""
    if name not in SLEEVES:
        raise InputError(f"no such sleeve {name!r}: known are {', '.join(SLEEVES)}")
    return SLEEVES[name]


def cloth_material(kind: Glove | Sleeve, seed: float) -> Material:
    """Its surface in one of its colours."""
    rng = np.random.default_rng(abs(int(seed * 1000)) + 2)
    colour = np.array(kind.colours[rng.integers(len(kind.colours))]) * rng.uniform(0.8, 1.2, 3)
    red, green, blue = colour.clip(0, 0.9).tolist()
    return Material(kind.surface, (red, green, blue), kind.roughness, int(rng.integers(3)), seed)


def glove_faces(rig: Rig, faces: NDArray[np.int64], fingerless: bool) -> NDArray[np.int64]:
    """The faces of the skin that a glove covers: all, or those before the middle of each finger's first free bone."""
    if not fingerless:
        return faces
    bare = np.zeros(len(rig.vertices), np.bool_)
    for chain in FINGERS:
        first = chain[1] if chain[0] == 1 else chain[0]
        bone = rig.joints[first + 1] - rig.joints[first]
        ahead = (rig.vertices - rig.joints[first]) @ bone / (bone @ bone)
        bare |= (rig.weights[:, first : chain[3] + 1].sum(1) > 0.5) & (ahead > 0.75)
    bare = np.append(bare, np.zeros(faces.max() + 1 - len(bare), np.bool_))  # what the cut at the wrist added
    return faces[~bare[faces].any(1)]


def ring_drawable(rig: Rig, pose: RigPose, finger: int, seed: float, instance: int) -> Drawable:
    """A ring on a finger, 0 the thumb to 4.

    Raises:
        InputError: there is no such finger.
    """
    if not 0 <= finger < len(FINGERS):
        raise InputError(f"a ring on finger {finger}: fingers are 0 (thumb) to {len(FINGERS) - 1}")
    chain = FINGERS[finger]
    joint = chain[1] if finger == 0 else chain[0]
    share = _RING_AT if finger == 0 else 0.72
    bone = float(np.linalg.norm(rig.joints[joint + 1] - rig.joints[joint]))
    local = (rig.vertices - rig.joints[joint]) @ rig.frames[joint]
    near = (rig.weights[:, joint : joint + 2].sum(1) > 0.6) & (np.abs(local[:, 2] + share * bone) < 0.003)
    middle = (local[near].min(0) + local[near].max(0)) / 2
    radii = (np.ptp(local[near, :2], axis=0) / 2) + 0.4 * _RING_M
    around, across = np.meshgrid(
        np.linspace(0, 2 * np.pi, 28, False), np.linspace(0, 2 * np.pi, 8, False), indexing="ij"
    )
    wide = 1.6 + np.random.default_rng(abs(int(seed * 1000)) + finger).uniform(0, 1.2)
    out = np.stack([np.cos(around), np.sin(around)], -1)
    points = np.empty((28, 8, 3))
    points[..., :2] = middle[:2] + out * (radii + _RING_M * np.cos(across)[..., None])
    points[..., 2] = -share * bone + wide * _RING_M * np.sin(across)
    normals = np.concatenate([out * np.cos(across)[..., None], np.sin(across)[..., None]], -1)
    frames, places = rig.place(pose)
    turn = frames[0, joint]
    red, green, blue = _METALS[int(seed * 7 + finger) % len(_METALS)]
    return Drawable(
        points.reshape(-1, 3) @ turn.T + places[0, joint],
        normals.reshape(-1, 3) @ turn.T,
        _torus_faces(28, 8),
        Material("metal", (red, green, blue), 0.3, seed=seed),
        instance,
        rest=points.reshape(-1, 3),
    )


def _torus_faces(around: int, across: int) -> NDArray[np.int64]:
    a = np.arange(around * across).reshape(around, across)
    b, c = np.roll(a, -1, 0), np.roll(a, -1, 1)
    d = np.roll(b, -1, 1)
    return np.stack([a, b, d, a, d, c], -1).reshape(-1, 3)
