"""Scenes with hands, objects, light, background and cameras, sampled from a seed, and their labelled images.

A scene contains only numbers and names, so that it can be stored as truth and rendered again. An index stands for one
still, or for a sequence with a scene per frame. Every random choice has its own generator, from seed, index and
purpose, so that no choice changes another. A keypoint is inside its finger. It is visible if the ray from the camera's
centre to it hits no surface, or first hits the same hand where a bone next to the keypoint moves the skin. Otherwise
the first surface on the ray occludes it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final, Literal, NamedTuple, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from sonjit._util import BoolArray, FloatArray, IndexArray, InputError
from sonjit.geometry.boxes import RotatedBox, rotated_box_around, wrap_angle
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.results import Box
from sonjit_lab.datasets.coco import box_from_mask
from sonjit_lab.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit_lab.hand_models.rig import FINGERS, JOINTS, KEYPOINTS, PARENTS, Rig, RigPose, Side
from sonjit_lab.synthesis import hand_shapes, look_up
from sonjit_lab.synthesis import hands as people
from sonjit_lab.synthesis.backgrounds import BackgroundFolder, BackgroundKind, Effects, apply_effects, draw_background
from sonjit_lab.synthesis.drawables import NO_PART, Drawable, Light, Lighting
from sonjit_lab.synthesis.factors import DETAILS, FOLDER, Factors, Value
from sonjit_lab.synthesis.motions import HandMotion, NamedMotions, VideoMotion, pose_hands, rotation_from_angles
from sonjit_lab.synthesis.objects import SCENE_OBJECTS, drawable_from_solid, occluder, sample_material
from sonjit_lab.synthesis.renderer import Buffers, Renderer

RigKind = Literal["webcam", "glasses", "dome"]
MAX_VIEWS: Final = 140
_GLASSES_WIDTH_M: Final = 0.13  # distance between the cameras at the temples of a pair of glasses
_GOLDEN_ANGLE: Final = math.pi * (3 - math.sqrt(5))  # spreads the points of a spiral evenly on a sphere
_DOME_HEIGHTS: Final = (0.93, -0.55)  # height of the dome's highest and lowest cameras above its middle, in radii
FIRST_OBJECT: Final = 200  # instance of the first object
_SKIN_MARGIN_M: Final = 0.012  # margin of skin around the keypoints
_MIN_DISTANCE_M: Final = 0.1  # minimum distance of any part of a hand or forearm from the camera
_FOREARM_M: Final = 0.26
_OCCLUDER_M: Final = ((0.05, 0.12), (0.06, 0.15))  # ranges of an occluder's size and distance to a keypoint
_ROUNDS: Final = 3
_MAX_SPREAD: Final = 0.1  # maximum distance of hands from the middle of the image when seen by several cameras
_MAX_DEVIATIONS = 3.0
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


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame.

    Hands have instances 1, 2, … in their order; gloves have 100 + the hand's instance; forearms, sleeves and rings have
    150 + the hand's instance; objects have 200, 201, ….
    """

    hands: tuple[people.SceneHand, ...]  # hands in the world
    objects: tuple[Drawable, ...]  # held objects and occluders as meshes
    lighting: Lighting  # light in the world
    # background (H, W, 3) of each camera, uint8 RGB, stretched over its image
    background: tuple[NDArray[np.uint8], ...]
    cameras: tuple[CalibratedCamera, ...]  # cameras with R and t of the world; their sizes are in `sizes`
    sizes: tuple[tuple[int, int], ...]  # width and height of each camera's image in pixels
    factors: dict[str, float | int | str | bool]  # value of every named factor
    subject: str = ""  # name of its person. Equal numbers of other seeds are other people
    sequence: str = "still"  # name of its recording
    frame: int = 0  # frame number within the recording
    time_s: float = 0.0  # time within the recording, seconds
    seed: int = 0  # seed of the sensor noise of each camera


def light_scene(drawn: Mapping[str, Value], rng: np.random.Generator) -> Lighting:
    """Return lamps above and in front of the hands; the first is the strongest."""
    lights: list[Light] = []
    warm = float(drawn["warmth"])
    for number in range(3):  # as many draws whatever their number
        across, up = rng.uniform(-1.2, 1.2), rng.uniform(0.1, 1.3)
        direction = np.array([np.sin(across) * np.cos(up), -np.sin(up), -np.cos(across) * np.cos(up)])
        strength = float(drawn["light"]) * (1 if number == 0 else rng.uniform(0.15, 0.5))
        tint = warm + rng.normal(0, 0.15)
        colour = strength * np.array([1 + 0.18 * tint, 1, 1 - 0.22 * tint])
        lights.append(Light(tuple(direction.tolist()), tuple(colour.tolist()), number == 0 and bool(drawn["shadows"])))
    ambient = rng.uniform(0.1, 0.35) * np.array([1 + 0.05 * warm, 1, 1 - 0.06 * warm])
    return Lighting(tuple(lights[: int(drawn["lights"])]), tuple(ambient.tolist()))


def camera_rig(
    rig: RigKind, views: int, size: tuple[int, int], view_deg: float, middle: FloatArray
) -> tuple[CalibratedCamera, ...]:
    """Return cameras towards `middle` (3,) in metres, the first at the world's origin: a webcam, glasses, or a dome."""
    check_rig(rig, views)
    focal = max(size) / 2 / math.tan(math.radians(view_deg) / 2)
    matrix = np.array([[focal, 0, size[0] / 2], [0, focal, size[1] / 2], [0, 0, 1]])
    if rig == "glasses":
        places = np.array([[0.0, 0, 0], [_GLASSES_WIDTH_M, 0, 0]])
        return tuple(CalibratedCamera(matrix, np.eye(3), -place) for place in places)
    radius = float(np.linalg.norm(middle))
    cameras = [CalibratedCamera(matrix, np.eye(3), np.zeros(3))]
    high, low = _DOME_HEIGHTS
    for number in range(1, views):
        up = high + (low - high) * (number - 0.5) / (views - 1)
        across, turn = math.sqrt(1 - up * up), number * _GOLDEN_ANGLE
        place = middle + radius * np.array([across * math.sin(turn), -up, -across * math.cos(turn)])
        rotation = _upright_rotation(middle - place)
        cameras.append(CalibratedCamera(matrix, rotation, -rotation @ place))
    return tuple(cameras)


def check_rig(rig: RigKind, views: int) -> None:
    """Refuse a number of views that the rig does not have."""
    minimum, maximum = {"webcam": (1, 1), "glasses": (2, 2), "dome": (1, MAX_VIEWS)}[rig]
    if not minimum <= views <= maximum:
        allowed = f"{minimum} to {maximum}" if minimum < maximum else f"exactly {minimum}"
        raise InputError(f"--rig {rig} with --views {views}: requires {allowed} views")


def view_name(number: int) -> str:
    """Return the name of a camera in files, such as `400000`: digits only, as in InterHand2.6M."""
    return f"{400000 + number}"


def _upright_rotation(towards: FloatArray) -> FloatArray:
    """Return the rotation (3, 3) from world to camera for an upright camera with its axis along a vector."""
    forward = towards / np.linalg.norm(towards)
    right = np.cross(np.array([0.0, 1, 0]), forward)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def place_hands(
    rigs: Sequence[Rig],
    poses: Sequence[RigPose],
    matrix: FloatArray,
    size: tuple[int, int],
    drawn: Mapping[str, Value],
    rng: np.random.Generator,
    spread: float,
) -> list[RigPose]:
    """Move hands so that their keypoints fall into the image of the first camera; touching hands stay in contact.

    The camera's matrix (3, 3) and the image's size are in pixels. `drawn`: the factors `distance`, `hands` and `cut`;
    `spread`: 0 places them in the middle of the image, 1 anywhere.
    """
    hands = list(zip(rigs, poses, strict=True))
    points = [rig.keypoints(pose).reshape(-1, 3) for rig, pose in hands]
    depths = [hand_points[:, 2].min() for hand_points in points]
    nearest = [
        float(min(hand_depth, _elbow(*hand)[:, 2].min())) for hand_depth, hand in zip(depths, hands, strict=True)
    ]
    distance = float(drawn["distance"])
    if drawn["hands"] == "interacting":
        points, nearest = [np.concatenate(points)] * 2, [min(nearest)] * 2
    placed: list[RigPose] = []
    position = rng.uniform(-1, 1, 2) * spread
    depth = distance
    for number, (pose, hand_points, near) in enumerate(zip(poses, points, nearest, strict=True)):
        if drawn["hands"] == "2":
            position = rng.uniform(-1, 1, 2) * spread
            position[0] = (0.6 + 0.4 * abs(position[0])) * (1 if number else -1)
            depth = distance * (1 + (0.08 * rng.normal() if number else 0))
        depth_or_more = max(depth, _MIN_DISTANCE_M + (hand_points[:, 2].min() + hand_points[:, 2].max()) / 2 - near)
        move = _move_into_view(hand_points, depth_or_more, matrix, size, position, float(drawn["cut"]))
        placed.append(replace(pose, translation=pose.translation + move))
    return placed


def place_motion(
    motion: HandMotion, matrix: FloatArray, size: tuple[int, int], drawn: Mapping[str, Value]
) -> HandMotion:
    """Rotate a motion by the factors and move it in front of the first camera, completely in view.

    The camera's matrix (3, 3) and the image's size are in pixels.
    """
    turn = rotation_from_angles(*(float(drawn[f"{name}_deg"]) for name in ("yaw", "pitch", "roll")))
    poses = [
        replace(hand.pose, rotation=turn @ hand.pose.rotation, translation=hand.pose.translation @ turn.T)
        for hand in motion.hands
    ]
    pairs = list(zip(motion.hands, poses, strict=True))
    points = np.concatenate([hand.rig.keypoints(pose).reshape(-1, 3) for hand, pose in pairs])
    nearest = min(points[:, 2].min(), *(_elbow(hand.rig, pose)[:, 2].min() for hand, pose in pairs))
    middle = (points[:, 2].min() + points[:, 2].max()) / 2
    depth = max(float(drawn["distance"]), _MIN_DISTANCE_M + middle - nearest)
    move = _move_into_view(points, depth, matrix, size, np.zeros(2), float(drawn["cut"]))
    moved = [replace(hand, pose=replace(pose, translation=pose.translation + move)) for hand, pose in pairs]
    return replace(motion, hands=tuple(moved))


def occluders(
    rigs: Sequence[Rig], poses: Sequence[RigPose], count: int, first: int, rng: np.random.Generator
) -> list[Drawable]:
    """Return objects between the first camera and some keypoints of hands of one frame."""
    if not rigs:
        return []
    points = np.concatenate([rig.keypoints(pose)[0] for rig, pose in zip(rigs, poses, strict=True)])
    drawables: list[Drawable] = []
    for number in range(count):
        generator = np.random.default_rng(rng.integers(1 << 62))
        behind = points[generator.integers(len(points))]
        size, before = (float(generator.uniform(*limits)) for limits in _OCCLUDER_M)
        ray = behind / np.linalg.norm(behind)
        drawables.append(occluder(generator, behind - ray * min(before, behind[2] / 2), size, first + number))
    return drawables


def _elbow(rig: Rig, pose: RigPose) -> FloatArray:
    """Return the end (N, 3) of a straight forearm."""
    return pose.translation + _FOREARM_M * (pose.rotation @ rig.frames[0][:, 2])


def _move_into_view(
    points: FloatArray, depth: float, matrix: FloatArray, size: tuple[int, int], position: FloatArray, crop_share: float
) -> FloatArray:
    """Return the translation (3,) that moves points (N, 3) in front of the camera to a position in its image.

    `position`: (2,), -1 to 1 between the edges at which they are still in view; `crop_share`: share that may leave it.
    """
    move = np.array([0, 0, depth]) - (points.min(0) + points.max(0)) / 2
    image_size = np.array(size, np.float64)
    for _ in range(_ROUNDS):
        placed = points + move
        projected = placed[:, :2] / placed[:, 2:] * matrix[[0, 1], [0, 1]] + matrix[:2, 2]
        margin = _SKIN_MARGIN_M * matrix[0, 0] / placed[:, 2:]
        low, high = (projected - margin).min(0), (projected + margin).max(0)
        range_px = np.maximum(image_size / 2 - (high - low) / 2 * (1 - 2 * crop_share), 0)
        move[:2] += (image_size / 2 + position * range_px - (low + high) / 2) * depth / matrix[0, 0]
    return move


@dataclass(frozen=True)
class SceneSampler:
    """Sampler of scenes."""

    factors: Factors  # factors and their distributions
    seed: int  # seed of all random choices
    rig: RigKind  # kind of camera rig
    views: int  # number of cameras
    size: tuple[int, int]  # width and height of each image
    images: BackgroundFolder | None = None  # images to cut backgrounds from; None for procedural ones
    motions: NamedMotions | VideoMotion | None = None  # motions of sequences; None for stills
    files: people.HandFiles | None = None  # files of the user's own hands; None for the catalog's rig

    def make(self, index: int) -> Iterator[Scene]:
        """Yield the scenes of an index."""
        drawn = dict(self.factors.draw(self.seed, index))
        if self.images is not None:
            drawn["background"] = FOLDER
        if self.motions is None:
            yield self._still(drawn, index)
        else:
            yield from self._sequence(self.motions, drawn, index)

    def _still(self, drawn: dict[str, Value], index: int) -> Scene:
        empty = self._empty_scene(drawn, index)
        shape = person_shape(drawn, self._rng("shape", int(drawn["person"])))
        rigs = [people.rig_from_shape(side, shape, self.files) for side in sides_of(drawn)]
        poses, grasped = pose_hands(rigs, drawn, self._rng("pose", index))
        spread = 1.0 if self.rig == "webcam" else _MAX_SPREAD
        poses = place_hands(rigs, poses, empty.cameras[0].K, self.size, drawn, self._rng("place", index), spread)
        hands = [self._hand(rig, shape, pose, drawn, index) for rig, pose in zip(rigs, poses, strict=True)]
        objects: list[Drawable] = []
        if grasped is not None:
            item, turn = look_up("object", SCENE_OBJECTS, str(drawn["held"])), poses[0].rotation[0]
            place = poses[0].translation[0] + turn @ grasped.place
            material = sample_material(item.surfaces, self._rng("held", index))
            objects.append(drawable_from_solid(item.solid, turn @ grasped.rotation, place, material, FIRST_OBJECT))
        first, rng = FIRST_OBJECT + len(objects), self._rng("occluders", index)
        objects += occluders(rigs, poses, int(drawn["occluders"]), first, rng)
        return replace(empty, hands=tuple(hands), objects=tuple(objects))

    def _sequence(self, motions: NamedMotions | VideoMotion, drawn: dict[str, Value], index: int) -> Iterator[Scene]:
        shape = person_shape(drawn, self._rng("shape", int(drawn["person"])))
        motion = motions.make(shape, self._rng("motion", index))
        if motion.camera is not None:
            scale = max(self.size) / (2 * max(motion.camera.cx, motion.camera.cy))
            drawn["view_deg"] = round(math.degrees(2 * math.atan(max(self.size) / 2 / (motion.camera.fx * scale))), 4)
        else:
            motion = place_motion(motion, self._empty_scene(drawn, index).cameras[0].K, self.size, drawn)
        empty = self._empty_scene(drawn, index)
        number = f"{index:04d}_{motion.name}"
        for frame, time in enumerate(motion.times.tolist()):
            hands = [
                self._hand(hand.rig, hand.shape, hand.pose[hand.rows[frame]], drawn, index)
                for hand in motion.hands
                if frame in hand.rows
            ]
            seed = empty.seed + frame + 1
            yield replace(empty, hands=tuple(hands), sequence=number, frame=frame, time_s=time, seed=seed)

    def _empty_scene(self, drawn: dict[str, Value], index: int) -> Scene:
        """Return a scene with light, background and cameras only."""
        middle = np.array([0.0, 0, float(drawn["distance"])])
        cameras = camera_rig(self.rig, self.views, self.size, float(drawn["view_deg"]), middle)
        kind = cast("BackgroundKind", drawn["background"])
        rngs = [self._rng("background", index, view) for view in range(self.views)]
        backgrounds = [
            draw_background(kind, self.size, rng) if self.images is None else self.images.draw(self.size, rng)
            for rng in rngs
        ]
        return Scene(
            hands=(),
            objects=(),
            lighting=light_scene(drawn, self._rng("lights", index)),
            background=tuple(backgrounds),
            cameras=cameras,
            sizes=(self.size,) * self.views,
            factors=drawn,
            subject=f"person{drawn['person']}-seed{self.seed}",
            seed=int(self._rng("sensor", index).integers(1 << 32)),
        )

    def _hand(
        self, rig: Rig, shape: FloatArray, pose: RigPose, drawn: dict[str, Value], index: int
    ) -> people.SceneHand:
        person = int(drawn["person"])
        appearance = draw_appearance(drawn, self._rng("skin", person), self._rng("worn", index))
        bend = math.radians(float(drawn["bend_deg"])), 0.0
        return people.SceneHand(rig.side, shape, pose, appearance, person, bend, self.files)

    def _rng(self, purpose: str, *place: int) -> np.random.Generator:
        """Return the generator of one purpose at one index."""
        return np.random.default_rng((self.seed, 2, crc32(purpose.encode()), *place))


def person_shape(drawn: Mapping[str, Value], rng: np.random.Generator) -> FloatArray:
    """Return the shape (36,) of both hands of a person."""
    return rng.normal(size=len(hand_shapes.SHAPE_NAMES)).clip(-_MAX_DEVIATIONS, _MAX_DEVIATIONS) * float(
        drawn["shape_sd"]
    )


def draw_appearance(
    drawn: Mapping[str, Value], rng: np.random.Generator, worn: np.random.Generator
) -> people.HandAppearance:
    """Draw the appearance of a person's hands in one scene, with a generator of the person and one of the scene."""
    glove, garment = (None if drawn[name] == "none" else str(drawn[name]) for name in ("glove", "sleeve"))
    return people.HandAppearance(
        tone=int(drawn["tone"]),
        texture=int(drawn["texture"]),
        amounts={name: float(drawn[name]) for name in DETAILS},
        glove=glove,
        rings=tuple(sorted(worn.permutation(5)[: int(drawn["rings"])].tolist())),
        sleeve=garment,
        seed=float(rng.uniform(0, 100)),
    )


def sides_of(drawn: Mapping[str, Value]) -> tuple[Side, ...]:
    """Return the sides of the hands of a still, the first one first."""
    sides: tuple[Side, Side] = ("Left", "Right") if drawn["side"] == "left" else ("Right", "Left")
    return sides[: {"0": 0, "1": 1}.get(str(drawn["hands"]), 2)]


class Hit(NamedTuple):
    """First surface on a ray."""

    instance: int  # instance of the drawable; 0 for nothing
    part: int  # part of the face's last corner, as the renderer uses it
    place: float  # position along the ray: 0 at the camera's centre, 1 at its end


def first_hits(camera: CalibratedCamera, ends: FloatArray, drawables: Sequence[Drawable]) -> list[Hit]:
    """Return the first surface before points (K, 3) in the camera's frame in metres (Möller and Trumbore 1997)."""
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
        across, down = (np.ascontiguousarray(axis)[corners] for axis in projected.T)  # (3, F); NaN behind the camera
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
    """Return the labels of all hands (21, 3), metres in the world, for one camera; the first hand has instance 1."""
    owners = np.zeros(256, np.uint8)
    owners[1 : len(keypoints) + 1] = owners[people.GLOVE + 1 : people.GLOVE + len(keypoints) + 1] = range(
        1, len(keypoints) + 1
    )
    shown = owners[buffers.instances]
    labels: list[HandLabel] = []
    for instance, points in enumerate(keypoints, 1):
        placed = camera.from_world(points)
        projected, mask = camera.project(placed), shown == instance
        causes = _causes(instance, placed, projected, drawables, camera, buffers, owners)
        labels.append(HandLabel(projected, placed, causes, mask, box_from_mask(mask), palm_box(projected)))
    return labels


def palm_box(keypoints_px: FloatArray) -> RotatedBox:
    """Return the smallest box around the palm's seven of the keypoints (21, 2) in pixels, upright along the hand."""
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
    pixel_causes = _cause(instance, numbers[:, None], np.where(before, which, 0), parts, owners)  # (N, 9)
    causes[numbers] = pixel_causes[:, 4]
    unsure = numbers[(pixel_causes != pixel_causes[:, :1]).any(axis=1)]
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
    same_hand = np.where(_visible_parts()[keypoint, part], CAUSES.index("visible"), CAUSES.index("self"))
    others = np.where(owner > 0, CAUSES.index("other_hand"), CAUSES.index("object"))
    causes = np.where(owner == instance, same_hand, others)
    return np.where(np.asarray(met) == 0, CAUSES.index("visible"), causes)


def render_samples(renderer: Renderer, scene: Scene) -> Iterator[tuple[Sample, Buffers]]:
    """Render the image of each camera. Yield its sample, with the image as an array, and the buffers.

    A sample's `tags` are the scene's factors. An instance's `extra` contains `causes`, `palm_box` (cx, cy, width,
    height, rotation in radians), `keypoints_world_m`, `shape`, `pose` and `instance`.
    """
    drawables = [
        *(item for number, hand in enumerate(scene.hands, 1) for item in people.drawables_from_hand(hand, number)),
        *scene.objects,
    ]
    keypoints = [people.keypoints_from_hand(hand) for hand in scene.hands]
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
            dataset=DATASET,
            id="",
            image=rgb,
            width=size[0],
            height=size[1],
            instances=tuple(_instance(*hand) for hand in hands),
            camera=camera,
            subject=scene.subject,
            sequence=scene.sequence,
            frame=scene.frame,
            view=view_name(view),
            tags=scene.factors,
        )
        yield sample, buffers


def _common_fields(hand: people.SceneHand, points: FloatArray, number: int) -> dict[str, object]:
    """Return the values that are the same for all cameras."""
    pose = hand.pose
    return {
        "instance": number,
        "group": {"skin_tone": hand.appearance.tone},
        "keypoints_world_m": points.round(6),
        "shape": dict(zip(hand_shapes.SHAPE_NAMES, hand.shape.round(4).tolist(), strict=True)),
        "pose": {
            "rotation": pose.rotation[0].round(6),
            "translation_m": pose.translation[0].round(6),
            "angles_rad": pose.angles[0].round(5),
        },
    }


def _instance(hand: people.SceneHand, label: HandLabel, about: dict[str, object]) -> Instance:
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
