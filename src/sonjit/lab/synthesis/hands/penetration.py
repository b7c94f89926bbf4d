"""Detect penetration of meshes.

Penetration is described by the vertices inside another skin, the nearest point of that skin, and the depth. The meshes
are those before subdivision, with vertices about 4 mm apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Final, NamedTuple

import numpy as np

from sonjit._util.arrays import BoolArray, Float32Array, FloatArray, IndexArray, RealArray
from sonjit.lab.hand_models.rig import FINGERS, Rig
from sonjit.lab.synthesis.hands.mesh import coarse_faces

_SEARCH_MARGIN_M: Final = 0.02  # nothing is deeper inside a finger or a palm
_FREE_SKIN_START: Final = 0.5  # of a finger's first bone: the skin before it belongs to the web between the fingers
_BLOCK: Final = 1 << 16  # distances at once, so that they stay near the processor
PALM: Final = 5
"""Owner of skin that belongs to no finger; fingers are 0 (thumb) to 4."""


@dataclass(frozen=True, eq=False)
class Skin:
    """Skin of a hand in one pose.

    Attributes:
        points: Vertices (V, 3) in metres.
        normals: Unit normals (V, 3).
    """

    points: FloatArray
    normals: FloatArray

    @cached_property
    def axes(self) -> FloatArray:
        """Return the coordinates (3, V) of the vertices by axis."""
        return np.ascontiguousarray(self.points.T)


class Contacts(NamedTuple):
    """C vertices of one skin inside another.

    Attributes:
        inside: Indices (C,) of the vertices inside.
        against: Indices (C,) of the nearest vertices of the other skin.
        depths: Depths (C,) in metres along the normals of those.
    """

    inside: IndexArray
    against: IndexArray
    depths: FloatArray


@dataclass(frozen=True, eq=False)
class Regions:
    """Owners of a hand's skin.

    Attributes:
        joints: Joint (V,) that moves each vertex most.
        owners: Finger (V,) of each vertex, or `PALM`.
        free: Mask (V,) of the skin of fingers beyond the web.
    """

    joints: IndexArray
    owners: IndexArray
    free: BoolArray

    @cached_property
    def fingers(self) -> tuple[tuple[IndexArray, BoolArray], ...]:
        """Return the indices of the free skin and a mask (V,) of all skin, by finger."""
        own = [self.owners == finger for finger in range(len(FINGERS))]
        return tuple((np.flatnonzero(self.free & each), each) for each in own)


@lru_cache(maxsize=8)
def coarse_rig(rig: Rig) -> Rig:
    """Return a subdivided rig with the vertices that it had before."""
    faces = coarse_faces(rig)
    count = int(faces.max()) + 1
    return replace(
        rig, vertices=rig.vertices[:count], normals=rig.normals[:count], faces=faces, weights=rig.weights[:count]
    )


def skin_around(rig: Rig, frames: FloatArray, joints: FloatArray) -> Skin:
    """Return the skin around joints from `Rig.place`, in one frame."""
    (points,), (normals,) = rig.skin_around(frames, joints)
    return Skin(points, normals)


@lru_cache(maxsize=8)
def regions_of(rig: Rig) -> Regions:
    """Return the regions of any rig, from its weights."""
    joints = rig.weights.argmax(1)
    owners, free = np.full(len(joints), PALM), np.zeros(len(joints), np.bool_)
    for finger, chain in enumerate(FINGERS):
        first = chain[1] if finger == 0 else chain[0]  # the thumb's metacarpal is in the palm
        own = np.isin(joints, chain)
        owners[own] = finger
        bone = rig.joints[first + 1] - rig.joints[first]
        ahead = (rig.vertices - rig.joints[first]) @ bone / (bone @ bone)
        free |= own & (joints >= first) & ((joints > first) | (ahead > _FREE_SKIN_START))
    return Regions(joints, owners, free)


def contacts_between(skin: Skin, other: Skin) -> Contacts:
    """Return the vertices of one skin inside the other."""
    which = np.flatnonzero(_near_box(skin.axes, other.axes, 0))
    if not len(which):
        return Contacts(which, which, np.zeros(0))
    points = skin.axes[:, which]
    against = np.flatnonzero(_near_box(other.axes, points, _SEARCH_MARGIN_M))
    if not len(against):
        return Contacts(which[:0], which[:0], np.zeros(0))
    others = other.axes[:, against]
    centre = others.mean(1, keepdims=True)
    others = (others - centre).astype(np.float32)
    nearest = _nearest((points - centre).astype(np.float32), others, _squares(others))
    return _inside(skin, other, which, against[nearest])


def contacts_within(skin: Skin, regions: Regions) -> Contacts:
    """Return the free skin of each finger inside the other fingers or the palm."""
    points = (skin.axes - skin.axes.mean(1, keepdims=True)).astype(np.float32)
    squares = _squares(points)
    free_skin: list[IndexArray] = []
    near_skin: list[IndexArray] = []
    for free, own in regions.fingers:
        finger = points[:, free]
        others = np.flatnonzero(_near_box(points, finger, _SEARCH_MARGIN_M) & ~own)
        if len(others):
            free_skin.append(free)
            near_skin.append(others[_nearest(finger, points[:, others], squares[others])])
    if not free_skin:
        return Contacts(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0))
    which, nearest = np.concatenate(free_skin), np.concatenate(near_skin)
    facing = (skin.normals[which] * skin.normals[nearest]).sum(1) < 0
    return _inside(skin, skin, which[facing], nearest[facing])


def _inside(skin: Skin, other: Skin, which: IndexArray, nearest: IndexArray) -> Contacts:
    """Return those of the given vertices that lie inside the surface at their nearest vertices."""
    offset = other.points[nearest] - skin.points[which]
    depths = (offset * other.normals[nearest]).sum(1)
    keep = (depths > 0) & ((offset**2).sum(1) < _SEARCH_MARGIN_M**2)
    return Contacts(which[keep], nearest[keep], depths[keep])


def _squares(points: Float32Array) -> Float32Array:
    x, y, z = points
    return x * x + y * y + z * z


def _nearest(points: Float32Array, others: Float32Array, squares: Float32Array) -> IndexArray:
    """Return the indices (N,) of the points in `others` (3, M), with squares (M,), that are nearest to each of points
    (3, N).

    Both are relative to a near point, so that single precision suffices.
    """
    rows = max(_BLOCK // len(squares), 1)
    found: list[IndexArray] = []
    for first in range(0, points.shape[1], rows):
        apart = (2 * points[:, first : first + rows]).T @ others
        found.append(np.subtract(squares, apart, out=apart).argmin(1))
    return np.concatenate(found)


def _near_box(points: RealArray, others: RealArray, room: float) -> BoolArray:
    """Return a mask (N,) of points (3, N) in the box around others (3, M) or within `room` of it."""
    low, high = others.min(1, keepdims=True) - room, others.max(1, keepdims=True) + room
    return np.asarray(((points > low) & (points < high)).all(0), np.bool_)
