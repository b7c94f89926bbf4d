"""Scene → labelled images, one sample for each camera: where keypoints are and what hides them, masks and boxes.

A keypoint lies inside its finger. The ray from the camera's centre to it decides: what it meets first, before the
keypoint, is what is seen in its stead. If that is the same hand where a bone next to the keypoint moves the skin, or
nothing, the keypoint is seen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit.arrays import BoolArray, FloatArray, IndexArray
from sonjit.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit.geometry.boxes import RotatedBox, rotated_box_around, wrap_angle
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.hand_models.rig import FINGERS, JOINTS, KEYPOINTS, PARENTS
from sonjit.results import Box
from sonjit.synthesis.hands.hands import GLOVE, SceneHand, drawables_from_hand, keypoints_from_hand
from sonjit.synthesis.hands.person import SHAPE_NAMES
from sonjit.synthesis.render.drawable import NO_PART, Buffers, Drawable
from sonjit.synthesis.render.effects import Effects, apply_effects
from sonjit.synthesis.render.renderer import Renderer
from sonjit.synthesis.scene.scene import Scene, view_name

_LEAST_DEPTH_M = 1e-4


class Hit(NamedTuple):
    """What a ray met first.

    Attributes:
        instance: of the drawable; 0 for nothing.
        part: of the face's last corner, as the renderer takes it.
        place: along the ray, 0 at the camera's centre, 1 at its end.
    """

    instance: int
    part: int
    place: float


def first_hits(camera: CalibratedCamera, ends: FloatArray, drawables: Sequence[Drawable]) -> list[Hit]:
    """The first surface between a camera's centre and each of some points; source: Möller and Trumbore 1997.

    Args:
        camera: with a place in the world; its lens bends no ray, for all rays go through its centre.
        ends: (K, 3) metres in the camera's frame, before it.
        drawables: in the world.
    """
    hits = [Hit(0, NO_PART, 1.0)] * len(ends)
    rays = ends[:, :2] / ends[:, 2:]  # (K, 2) at depth 1
    for one in drawables:
        vertices = camera.from_world(one.vertices)
        nearest = np.maximum(vertices[:, 2:], _LEAST_DEPTH_M)
        seen = np.where(vertices[:, 2:] > _LEAST_DEPTH_M, vertices[:, :2] / nearest, np.nan)
        low, high = np.nanmin(seen, axis=0, initial=np.inf), np.nanmax(seen, axis=0, initial=-np.inf)
        behind = bool((vertices[:, 2] <= _LEAST_DEPTH_M).any())
        wanted = np.flatnonzero(behind | ((rays >= low) & (rays <= high)).all(axis=1))
        if not len(wanted):
            continue
        corners = np.ascontiguousarray(one.faces.T)
        across, down = (np.ascontiguousarray(each)[corners] for each in seen.T)  # (3, F); NaN behind the camera
        left, right, top, bottom = across.min(0), across.max(0), down.min(0), down.max(0)
        x, y = rays[wanted].T[..., None]
        rows, faces = np.nonzero(~((left > x) | (right < x) | (top > y) | (bottom < y)))
        numbers = wanted[rows]
        places = _places(vertices[one.faces[faces]], ends[numbers])
        for index in np.flatnonzero(places < 1).tolist():
            if places[index] < hits[numbers[index]].place:
                part = NO_PART if one.parts is None else int(one.parts[one.faces[faces[index], 2]])
                hits[numbers[index]] = Hit(one.instance, part, float(places[index]))
    return hits


def _places(corners: FloatArray, ends: FloatArray) -> FloatArray:
    """(P,) where each of P rays to ends (P, 3) meets its triangle (P, 3, 3), as `Hit.place`; infinite where not."""
    first = corners[:, 0]
    edge_1, edge_2 = corners[:, 1] - first, corners[:, 2] - first
    across, turned = np.cross(ends, edge_2), np.cross(-first, edge_1)
    volume = (edge_1 * across).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = -(first * across).sum(1) / volume, (turned * ends).sum(1) / volume
        place = (edge_2 * turned).sum(1) / volume
        return np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (place > 0), place, np.inf)


Cause = Literal["visible", "self", "other_hand", "object", "outside"]

CAUSES: Final[tuple[Cause, ...]] = ("visible", "self", "other_hand", "object", "outside")

"""What is seen where a keypoint is; `outside` is beyond the image's edges."""

_PALM_KEYPOINTS: Final = [0, 5, 9, 13, 17, 1, 2]

"""The palm detector's own: wrist, knuckles from index to little finger, thumb's first two joints."""

_NEIGHBOURS: Final = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1)])


def _seen_parts() -> BoolArray:
    """(21, 256) whether skin of a part shows a keypoint: that of its own bone, of the one before, of the palm."""
    palm = [0, *(joint for joint, parent in enumerate(PARENTS) if parent == 0)]
    seen = np.zeros((21, 256), np.bool_)
    for keypoint, joint in enumerate(KEYPOINTS):
        seen[keypoint, [joint, max(PARENTS[joint], 0)]] = True
        if joint == 0 or joint in [finger[0] for finger in FINGERS]:
            seen[keypoint, palm] = True
    return seen


_SEEN: Final = _seen_parts()

assert len(JOINTS) <= NO_PART


@dataclass(frozen=True, eq=False)
class HandLabel:
    """One hand in one image.

    Attributes:
        keypoints_px: (21, 2) wherever they fall; NaN behind the camera.
        keypoints_m: (21, 3) in the camera's frame.
        causes: (21,) see `CAUSES`.
        mask: (H, W) its skin and gloves, where they are seen.
        box: x_min, y_min, x_max, y_max around the mask; None where nothing of it is seen.
        palm_box: about the palm, its y axis along the way from the middle finger's knuckle to the wrist.
    """

    keypoints_px: FloatArray
    keypoints_m: FloatArray
    causes: tuple[Cause, ...]
    mask: BoolArray
    box: Box | None
    palm_box: RotatedBox


def label_hands(
    keypoints: Sequence[FloatArray], drawables: Sequence[Drawable], camera: CalibratedCamera, buffers: Buffers
) -> list[HandLabel]:
    """All hands of a scene before one camera.

    Args:
        keypoints: (21, 3) metres in the world, of each hand; the first hand has instance 1.
        drawables: all that was drawn.
        camera: that sees them.
        buffers: what it saw.
    """
    owners = np.zeros(256, np.uint8)
    owners[1 : len(keypoints) + 1] = owners[GLOVE + 1 : GLOVE + len(keypoints) + 1] = range(1, len(keypoints) + 1)
    shown = owners[buffers.instances]
    labels: list[HandLabel] = []
    for instance, points in enumerate(keypoints, 1):
        placed = camera.from_world(points)
        seen = camera.project(placed)
        mask = shown == instance
        labels.append(
            HandLabel(
                seen,
                placed,
                _causes(instance, placed, seen, drawables, camera, buffers, owners),
                mask,
                box_from_mask(mask),
                palm_box(seen),
            )
        )
    return labels


def box_from_mask(mask: BoolArray) -> Box | None:
    """x_min, y_min, x_max, y_max around all pixels of a mask (H, W); None where it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def palm_box(keypoints_px: FloatArray) -> RotatedBox:
    """The least box around the palm's seven keypoints that is upright along the hand, of keypoints (21, 2)."""
    (x0, y0), (x1, y1) = keypoints_px[0], keypoints_px[9]
    rotation = wrap_angle(float(np.pi / 2 - np.arctan2(y0 - y1, x1 - x0)))
    return rotated_box_around(keypoints_px[_PALM_KEYPOINTS], rotation)


def _causes(
    instance: int,
    placed: FloatArray,
    seen: FloatArray,
    drawables: Sequence[Drawable],
    camera: CalibratedCamera,
    buffers: Buffers,
    owners: NDArray[np.uint8],
) -> tuple[Cause, ...]:
    """The pixels around a keypoint decide where they agree; else the ray itself is followed through the meshes."""
    height, width = buffers.depth.shape
    within = (seen >= 0).all(axis=1) & (seen < (width, height)).all(axis=1)  # NaN is not
    causes = np.full(21, CAUSES.index("outside"))
    places = np.floor(seen[within]).astype(np.intp)[:, None] + _NEIGHBOURS  # (N, 9, 2) columns and rows
    columns, rows = places[..., 0].clip(0, width - 1), places[..., 1].clip(0, height - 1)
    depth, which, parts = buffers.depth[rows, columns], buffers.instances[rows, columns], buffers.parts[rows, columns]
    numbers = np.flatnonzero(within)
    before = (which > 0) & (depth < placed[within, 2:])
    found = _cause(instance, numbers[:, None], np.where(before, which, 0), parts, owners)  # (N, 9)
    causes[numbers] = found[:, 4]
    unsure = numbers[(found != found[:, :1]).any(axis=1)]
    for number, hit in zip(unsure, first_hits(camera, placed[unsure], drawables), strict=True):
        causes[number] = _cause(instance, number, hit.instance, hit.part, owners)
    return tuple(CAUSES[cause] for cause in causes)


def _cause(
    instance: int,
    keypoint: IndexArray | int,
    met: NDArray[np.integer] | int,
    part: NDArray[np.integer] | int,
    owners: NDArray[np.uint8],
) -> IndexArray:
    """Indices of `CAUSES` from what the ray met first, instance 0 for nothing; arrays of one shape."""
    owner = owners[met]
    own = np.where(_SEEN[keypoint, part], CAUSES.index("visible"), CAUSES.index("self"))
    others = np.where(owner > 0, CAUSES.index("other_hand"), CAUSES.index("object"))
    found = np.where(owner == instance, own, others)
    return np.where(np.asarray(met) == 0, CAUSES.index("visible"), found)


DATASET: Final = "synth"

_EFFECTS: Final = {
    "motion_px": "motion_blur",
    "backdrop_px": "backdrop_blur",
    "defocus_px": "defocus",
    "vignette": "vignette",
    "exposure": "exposure",
    "warmth": "white_balance",
    "low_light": "low_light",
    "noise": "noise",
    "infrared": "infrared",
    "compression": "compression",
}

"""Fields of `Effects` and their factors."""


def render_samples(renderer: Renderer, scene: Scene) -> Iterator[tuple[Sample, Buffers]]:
    """What each camera of a scene sees: its sample, the image in it as an array, and the buffers.

    A sample's `tags` are the scene's factors; an instance's `extra` holds `causes`, `palm_box` (cx, cy, width, height,
    rotation in radians), `keypoints_world_m`, `shape`, `pose` and `instance`.
    """
    drawables = [
        *(one for number, hand in enumerate(scene.hands, 1) for one in drawables_from_hand(hand, number)),
        *scene.objects,
    ]
    keypoints = [keypoints_from_hand(hand) for hand in scene.hands]
    about = [
        _about(hand, points, number)
        for number, (hand, points) in enumerate(zip(scene.hands, keypoints, strict=True), 1)
    ]
    effects = _effects(scene)
    subject = f"person{scene.factors['person']}"
    views = zip(scene.cameras, scene.sizes, scene.background, strict=True)
    for view, (camera, size, background) in enumerate(views):
        buffers = renderer.render(drawables, camera, size, scene.lighting, background)
        rgb = apply_effects(buffers.rgb, buffers, effects, np.random.default_rng((scene.seed, view)))
        labels = label_hands(keypoints, drawables, camera, buffers)
        hands = zip(scene.hands, labels, about, strict=True)
        sample = Sample(
            dataset=DATASET,
            id="",
            image=rgb,
            width=size[0],
            height=size[1],
            instances=tuple(_instance(*hand) for hand in hands),
            camera=camera,
            subject=subject,
            sequence=scene.sequence,
            frame=scene.frame,
            view=view_name(view),
            tags=scene.factors,
        )
        yield sample, buffers


def _effects(scene: Scene) -> Effects:
    """A scene's effects; a missing factor is off. The direction of motion follows from the seed."""
    values = {name: float(scene.factors.get(factor, 0)) for name, factor in _EFFECTS.items()}
    return Effects(**values, motion_deg=float(scene.seed % 360))


def _about(hand: SceneHand, points: FloatArray, number: int) -> dict[str, object]:
    """What is the same for all cameras."""
    pose = hand.pose
    return {
        "instance": number,
        "group": {"skin_tone": hand.look.tone},
        "keypoints_world_m": points.round(6),
        "shape": dict(zip(SHAPE_NAMES, hand.shape.round(4).tolist(), strict=True)),
        "pose": {
            "rotation": pose.rotation[0].round(6),
            "translation_m": pose.translation[0].round(6),
            "angles_rad": pose.angles[0].round(5),
        },
    }


def _instance(hand: SceneHand, label: HandLabel, about: dict[str, object]) -> Instance:
    causes = np.array(label.causes)
    return Instance(
        kind="hand",
        side=hand.side,
        skeleton=HAND_SKELETON,
        keypoints_px=label.keypoints_px.round(3),
        valid_px=causes != "outside",
        visible=causes == "visible",
        keypoints_m=label.keypoints_m.round(6),
        valid_m=np.ones(21, np.bool_),
        box=label.box,
        area_px2=float(np.count_nonzero(label.mask)),
        category=f"{hand.side.lower()}_hand",
        category_id=1 if hand.side == "Left" else 2,
        extra=about | {"causes": list(label.causes), "palm_box": [round(value, 3) for value in label.palm_box]},
        read_mask=partial(np.asarray, label.mask),
    )
