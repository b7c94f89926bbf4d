"""Render labelled images of a scene, one sample per camera: keypoints and their occluders, masks and boxes.

A keypoint is inside its finger. It is visible if the ray from the camera's centre to it hits no surface, or first hits
the same hand where a bone next to the keypoint moves the skin. Otherwise the first surface on the ray occludes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from sonjit._util.arrays import BoolArray, FloatArray, IndexArray
from sonjit.geometry.boxes import RotatedBox, rotated_box_around, wrap_angle
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.lab.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit.lab.hand_models.rig import FINGERS, JOINTS, KEYPOINTS, PARENTS
from sonjit.lab.synthesis.backgrounds import Effects, apply_effects
from sonjit.lab.synthesis.drawable import NO_PART, Buffers, Drawable
from sonjit.lab.synthesis.hands import GLOVE, SceneHand, drawables_from_hand, keypoints_from_hand
from sonjit.lab.synthesis.person import SHAPE_NAMES
from sonjit.lab.synthesis.renderer import Renderer
from sonjit.lab.synthesis.scenes import Scene, view_name
from sonjit.results import Box

_MIN_DEPTH_M = 1e-4

Cause = Literal["visible", "self", "other_hand", "object", "outside"]
CAUSES: Final[tuple[Cause, ...]] = ("visible", "self", "other_hand", "object", "outside")
"""Causes of occlusion, by the first surface on the ray to the keypoint; `outside` is beyond the image's edges."""
_PALM_KEYPOINTS: Final = [0, 5, 9, 13, 17, 1, 2]
"""Keypoints of the palm detector: wrist, knuckles from index to little finger, thumb's first two joints."""
_NEIGHBOURS: Final = np.array([(-1, -1), (-1, 0), (-1, 1), (0, -1), (0, 0), (0, 1), (1, -1), (1, 0), (1, 1)])
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


class Hit(NamedTuple):
    """First surface on a ray."""

    instance: int  # instance of the drawable; 0 for nothing
    part: int  # part of the face's last corner, as the renderer uses it
    place: float  # position along the ray: 0 at the camera's centre, 1 at its end


def first_hits(camera: CalibratedCamera, ends: FloatArray, drawables: Sequence[Drawable]) -> list[Hit]:
    """Return the first surface between a camera's centre and each of some points. Source: Möller and Trumbore 1997.

    `ends`: points (K, 3) in metres in the camera's frame, in front of it.
    """
    hits = [Hit(0, NO_PART, 1.0)] * len(ends)
    rays = ends[:, :2] / ends[:, 2:]  # (K, 2) at depth 1
    for drawable in drawables:
        vertices = camera.from_world(drawable.vertices)
        nearest = np.maximum(vertices[:, 2:], _MIN_DEPTH_M)
        projected = np.where(vertices[:, 2:] > _MIN_DEPTH_M, vertices[:, :2] / nearest, np.nan)
        low, high = np.nanmin(projected, axis=0, initial=np.inf), np.nanmax(projected, axis=0, initial=-np.inf)
        behind = bool((vertices[:, 2] <= _MIN_DEPTH_M).any())
        candidates = np.flatnonzero(behind | ((rays >= low) & (rays <= high)).all(axis=1))
        if not len(candidates):
            continue
        corners = np.ascontiguousarray(drawable.faces.T)
        across, down = (np.ascontiguousarray(each)[corners] for each in projected.T)  # (3, F); NaN behind the camera
        left, right, top, bottom = across.min(0), across.max(0), down.min(0), down.max(0)
        x, y = rays[candidates].T[..., None]
        rows, faces = np.nonzero(~((left > x) | (right < x) | (top > y) | (bottom < y)))
        numbers = candidates[rows]
        places = _ray_positions(vertices[drawable.faces[faces]], ends[numbers])
        for index in np.flatnonzero(places < 1).tolist():
            if places[index] < hits[numbers[index]].place:
                part = NO_PART if drawable.parts is None else int(drawable.parts[drawable.faces[faces[index], 2]])
                hits[numbers[index]] = Hit(drawable.instance, part, float(places[index]))
    return hits


def _ray_positions(corners: FloatArray, ends: FloatArray) -> FloatArray:
    """Return the position (P,) where P rays to ends (P, 3) meet triangles (P, 3, 3), see `Hit.place`, or inf."""
    first = corners[:, 0]
    edge_1, edge_2 = corners[:, 1] - first, corners[:, 2] - first
    across, turned = np.cross(ends, edge_2), np.cross(-first, edge_1)
    volume = (edge_1 * across).sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        u, v = -(first * across).sum(1) / volume, (turned * ends).sum(1) / volume
        place = (edge_2 * turned).sum(1) / volume
        return np.where((u >= 0) & (v >= 0) & (u + v <= 1) & (place > 0), place, np.inf)


@cache
def _visible_parts() -> BoolArray:
    """Return a mask (21, 256): whether skin of a part shows a keypoint (of its own or the previous bone, or palm)."""
    palm = [0, *(joint for joint, parent in enumerate(PARENTS) if parent == 0)]
    may_cover = np.zeros((21, 256), np.bool_)
    for keypoint, joint in enumerate(KEYPOINTS):
        may_cover[keypoint, [joint, max(PARENTS[joint], 0)]] = True
        if joint == 0 or joint in [finger[0] for finger in FINGERS]:
            may_cover[keypoint, palm] = True
    return may_cover


assert len(JOINTS) <= NO_PART


@dataclass(frozen=True, eq=False)
class HandLabel:
    """Labels of one hand in one image."""

    keypoints_px: FloatArray  # keypoints (21, 2), also outside the image; NaN behind the camera
    keypoints_m: FloatArray  # keypoints (21, 3) in the camera's frame
    causes: tuple[Cause, ...]  # causes (21,), see `CAUSES`
    mask: BoolArray  # mask (H, W) of its visible skin and gloves
    box: Box | None  # box around the mask as x_min, y_min, x_max, y_max; None if nothing is visible
    palm_box: RotatedBox  # box around the palm; its y axis points from the middle finger's knuckle to the wrist


def label_hands(
    keypoints: Sequence[FloatArray], drawables: Sequence[Drawable], camera: CalibratedCamera, buffers: Buffers
) -> list[HandLabel]:
    """Return the labels of all hands of a scene for one camera.

    `keypoints`: keypoints (21, 3) of each hand in metres in the world; the first hand has instance 1.
    """
    owners = np.zeros(256, np.uint8)
    owners[1 : len(keypoints) + 1] = owners[GLOVE + 1 : GLOVE + len(keypoints) + 1] = range(1, len(keypoints) + 1)
    shown = owners[buffers.instances]
    labels: list[HandLabel] = []
    for instance, points in enumerate(keypoints, 1):
        placed = camera.from_world(points)
        projected, mask = camera.project(placed), shown == instance
        causes = _causes(instance, placed, projected, drawables, camera, buffers, owners)
        labels.append(HandLabel(projected, placed, causes, mask, box_from_mask(mask), palm_box(projected)))
    return labels


def box_from_mask(mask: BoolArray) -> Box | None:
    """Return the box x_min, y_min, x_max, y_max around all pixels of a mask (H, W); None if it is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)


def palm_box(keypoints_px: FloatArray) -> RotatedBox:
    """Return the smallest box around the palm's seven of the keypoints (21, 2), upright along the hand."""
    (x0, y0), (x1, y1) = keypoints_px[0], keypoints_px[9]
    rotation = wrap_angle(float(np.pi / 2 - np.arctan2(y0 - y1, x1 - x0)))
    return rotated_box_around(keypoints_px[_PALM_KEYPOINTS], rotation)


def _causes(
    instance: int,
    placed: FloatArray,
    projected: FloatArray,
    drawables: Sequence[Drawable],
    camera: CalibratedCamera,
    buffers: Buffers,
    owners: NDArray[np.uint8],
) -> tuple[Cause, ...]:
    """Return the causes from the pixels around each keypoint where they agree, or else from the ray."""
    height, width = buffers.depth.shape
    within = (projected >= 0).all(axis=1) & (projected < (width, height)).all(axis=1)  # NaN is not
    causes = np.full(21, CAUSES.index("outside"))
    places = np.floor(projected[within]).astype(np.intp)[:, None] + _NEIGHBOURS  # (N, 9, 2) columns and rows
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
    """Return indices of `CAUSES` from the first surface on each ray, instance 0 for none; arrays of one shape."""
    owner = owners[met]
    own = np.where(_visible_parts()[keypoint, part], CAUSES.index("visible"), CAUSES.index("self"))
    others = np.where(owner > 0, CAUSES.index("other_hand"), CAUSES.index("object"))
    found = np.where(owner == instance, own, others)
    return np.where(np.asarray(met) == 0, CAUSES.index("visible"), found)


def render_samples(renderer: Renderer, scene: Scene) -> Iterator[tuple[Sample, Buffers]]:
    """Render the image of each camera. Yield its sample, with the image as an array, and the buffers.

    A sample's `tags` are the scene's factors. An instance's `extra` contains `causes`, `palm_box` (cx, cy, width,
    height, rotation in radians), `keypoints_world_m`, `shape`, `pose` and `instance`.
    """
    drawables = [
        *(item for number, hand in enumerate(scene.hands, 1) for item in drawables_from_hand(hand, number)),
        *scene.objects,
    ]
    keypoints = [keypoints_from_hand(hand) for hand in scene.hands]
    about = [
        _common_fields(hand, points, number)
        for number, (hand, points) in enumerate(zip(scene.hands, keypoints, strict=True), 1)
    ]
    strengths = {name: float(scene.factors.get(factor, 0)) for name, factor in _EFFECTS.items()}
    effects = Effects(**strengths, motion_deg=float(scene.seed % 360))
    views = zip(scene.cameras, scene.sizes, scene.background, strict=True)
    for view, (camera, size, background) in enumerate(views):
        buffers = renderer.render(drawables, camera, size, scene.lighting, background)
        rgb = apply_effects(buffers.rgb, buffers, effects, np.random.default_rng((scene.seed, view)))
        hands = zip(scene.hands, label_hands(keypoints, drawables, camera, buffers), about, strict=True)
        sample = Sample(
            dataset=DATASET, id="", image=rgb, width=size[0], height=size[1],
            instances=tuple(_instance(*hand) for hand in hands), camera=camera,
            subject=f"person{scene.factors['person']}", sequence=scene.sequence, frame=scene.frame,
            view=view_name(view), tags=scene.factors,
        )  # fmt: skip
        yield sample, buffers


def _common_fields(hand: SceneHand, points: FloatArray, number: int) -> dict[str, object]:
    """Return the values that are the same for all cameras."""
    pose = hand.pose
    return {
        "instance": number,
        "group": {"skin_tone": hand.appearance.tone},
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
