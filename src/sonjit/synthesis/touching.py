"""Where skins pass into each other: each vertex inside a mesh, the nearest point of that mesh and how deep it is.

Meshes are those before they were divided, with vertices some 4 mm apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, NamedTuple

import numpy as np

from sonjit.hand_models.rig import FINGERS, Rig, RigPose
from sonjit.synthesis.hand_mesh import coarse_faces

if TYPE_CHECKING:
    from numpy.typing import NDArray


_REACH_M: Final = 0.02  # nothing is deeper inside a finger or a palm
_FREE_FROM: Final = 0.5  # of a finger's first bone: the skin before it belongs to the web between the fingers
PALM: Final = 5
"""Owner of the skin that no finger has; fingers are 0 (thumb) to 4."""


class Skin(NamedTuple):
    """A hand's skin in one pose.

    Attributes:
        points: (V, 3) metres.
        normals: (V, 3) unit.
    """

    points: NDArray[np.float64]
    normals: NDArray[np.float64]


class Contacts(NamedTuple):
    """C vertices of one skin inside another.

    Attributes:
        inside: (C,) their indices.
        against: (C,) indices of the nearest vertices of the other.
        depths: (C,) metres along that one's normal.
    """

    inside: NDArray[np.intp]
    against: NDArray[np.intp]
    depths: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Regions:
    """Who owns the skin of a hand.

    Attributes:
        joints: (V,) joint that moves a vertex most.
        owners: (V,) finger, or `PALM`.
        free: (V,) skin of a finger beyond the web.
    """

    joints: NDArray[np.intp]
    owners: NDArray[np.intp]
    free: NDArray[np.bool_]


def coarse_rig(rig: Rig) -> Rig:
    """A divided rig with the vertices that it had before."""
    faces = coarse_faces(rig)
    count = int(faces.max()) + 1
    return replace(
        rig, vertices=rig.vertices[:count], normals=rig.normals[:count], faces=faces, weights=rig.weights[:count]
    )


def skin_of(rig: Rig, pose: RigPose) -> Skin:
    """Of a pose of one frame."""
    (points,), (normals,) = rig.skin(pose)
    return Skin(points, normals)


def regions_of(rig: Rig) -> Regions:
    """Of any rig, from its weights."""
    joints = rig.weights.argmax(1)
    owners, free = np.full(len(joints), PALM), np.zeros(len(joints), np.bool_)
    for finger, chain in enumerate(FINGERS):
        first = chain[1] if finger == 0 else chain[0]  # the thumb's metacarpal lies in the palm
        own = np.isin(joints, chain)
        owners[own] = finger
        bone = rig.joints[first + 1] - rig.joints[first]
        ahead = (rig.vertices - rig.joints[first]) @ bone / (bone @ bone)
        free |= own & (joints >= first) & ((joints > first) | (ahead > _FREE_FROM))
    return Regions(joints, owners, free)


def contacts_between(one: Skin, other: Skin) -> Contacts:
    """Vertices of one skin inside the other."""
    low, high = other.points.min(0), other.points.max(0)
    near = np.flatnonzero(((one.points > low) & (one.points < high)).all(1))
    return _inside(one, other, near, np.arange(len(other.points)), facing=False)


def contacts_within(skin: Skin, regions: Regions) -> Contacts:
    """Free skin of each finger inside the other fingers or the palm."""
    found = [
        _inside(
            skin,
            skin,
            np.flatnonzero(regions.free & (regions.owners == finger)),
            np.flatnonzero(regions.owners != finger),
        )
        for finger in range(len(FINGERS))
    ]
    return Contacts(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _inside(
    one: Skin, other: Skin, which: NDArray[np.intp], against: NDArray[np.intp], *, facing: bool = True
) -> Contacts:
    """Of some vertices those inside the nearest vertices' surface; where asked, only those that face it."""
    points, target = one.points[which], other.points[against]
    which, against = which[_reached(points, target)], against[_reached(target, points)]
    if not len(which) or not len(against):
        return Contacts(which[:0], which[:0], np.zeros(0))
    points, target = one.points[which], other.points[against]
    centre = target.mean(0)  # short numbers, so that single precision is enough
    a, b = (points - centre).astype(np.float32), (target - centre).astype(np.float32)
    nearest = against[((b * b).sum(1) - 2 * a @ b.T).argmin(1)]
    offset = other.points[nearest] - points
    depths = (offset * other.normals[nearest]).sum(1)
    keep = (depths > 0) & ((offset**2).sum(1) < _REACH_M**2)
    if facing:
        keep &= (one.normals[which] * other.normals[nearest]).sum(1) < 0
    return Contacts(which[keep], nearest[keep], depths[keep])


def _reached(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(N,) which points (N, 3) lie in the box about others (M, 3), with room for what counts as near."""
    if not len(others):
        return np.zeros(len(points), np.bool_)
    low, high = others.min(0) - _REACH_M, others.max(0) + _REACH_M
    return np.asarray(((points > low) & (points < high)).all(1), np.bool_)
