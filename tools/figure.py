"""Render the bundled photograph and clip of a person: an own figure of rounded shapes, without foreign images.

    python tools/figure.py photo photo.jpg
    python tools/figure.py clip squats.mp4

The body is a distance field: tapered capsules and ellipsoids, which blend into each other within a part. Rays are
followed through it until they meet the surface (Hart 1996, Sphere tracing). Lengths are metres. x points to the right
of the image, y up and z towards the camera; "first" of two limbs is at the left of the image, the person's right one.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import av
import cv2
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sonjit._util.arrays import BoolArray, FloatArray, Image, IndexArray, RealArray

Vector: TypeAlias = tuple[float, float, float]
COLOURS: Final = {
    "skin": (0.86, 0.62, 0.49),
    "cloth": (0.21, 0.47, 0.50),
    "trousers": (0.21, 0.23, 0.30),
    "shoe": (0.82, 0.80, 0.77),
    "hair": (0.20, 0.125, 0.08),
    "eye": (0.90, 0.88, 0.86),
}
MATERIALS: Final = tuple(COLOURS)
BOUND_M: Final = 0.08  # farther than this from the sphere around a part, the sphere replaces the part
STEPS: Final = 56
REACHED_M: Final = 0.001
LIGHT: Final = np.array([-0.44, 0.68, 0.59], np.float32)  # unit vectors towards the lights
FILL: Final = np.array([0.80, 0.22, 0.56], np.float32)
WALL_Z: Final = -1.2
UPPER_ARM: Final = 0.28
FOREARM: Final = 0.25
THIGH: Final = 0.42
SHIN: Final = 0.41
FINGERS: Final = ((0.030, 0.070), (0.010, 0.079), (-0.010, 0.073), (-0.029, 0.057))
"""Offset of the knuckle towards the thumb, and length, from the index finger to the little one."""
FPS: Final = 15
SQUAT_S: Final = 2.4
SQUATS: Final = 2


class Part:
    """A part of the body of one material. Its shapes are blended within `blend` metres."""

    def __init__(self, material: str, blend: float) -> None:
        self.material, self._blend = MATERIALS.index(material), np.float32(blend)
        self._capsules: list[tuple[RealArray, RealArray, float, float]] = []
        self._ellipsoids: list[tuple[RealArray, RealArray, RealArray]] = []

    def capsule(self, start: FloatArray, end: FloatArray, first: float, last: float | None = None) -> None:
        """Add a capsule from `start` (3,) to `end` (3,) whose radius changes from `first` to `last`."""
        last = first if last is None else last
        self._capsules.append((start.astype(np.float32), end.astype(np.float32), first, last))

    def ellipsoid(self, centre: FloatArray, radii: Vector, axes: FloatArray) -> None:
        """Add an ellipsoid with its axes as the rows of `axes` (3, 3)."""
        self._ellipsoids.append((centre.astype(np.float32), np.array(radii, np.float32), axes.astype(np.float32)))

    def bounds(self) -> tuple[RealArray, float]:
        """Return the centre (3,) and the radius of a sphere around the part."""
        ends: list[tuple[RealArray, float]] = []
        for start, end, first, last in self._capsules:
            ends += [(start, max(first, last)), (end, max(first, last))]
        ends += [(centre, float(radii.max())) for centre, radii, _ in self._ellipsoids]
        centre = np.mean([point for point, _ in ends], 0)
        return centre, max(float(np.linalg.norm(point - centre)) + radius for point, radius in ends)

    def distance(self, points: RealArray) -> RealArray:
        """Return the distances (N,) of points (N, 3) to the surface."""
        total: RealArray | None = None
        for start, end, first, last in self._capsules:
            along, offset = end - start, points - start
            share = (offset @ along / max(float(along @ along), 1e-9)).clip(0, 1)
            found = np.linalg.norm(offset - share[:, None] * along, axis=1) - (first + (last - first) * share)
            total = found if total is None else self._union(total, found)
        for centre, radii, axes in self._ellipsoids:
            local = (points - centre) @ axes.T
            scaled = np.linalg.norm(local / radii, axis=1)
            found = scaled * (scaled - 1) / np.maximum(np.linalg.norm(local / radii**2, axis=1), 1e-6)
            total = found if total is None else self._union(total, found)
        assert total is not None
        return total

    def _union(self, first: RealArray, second: RealArray) -> RealArray:
        """Return the smaller distance, rounded where both are within the blend."""
        near = np.maximum(self._blend - np.abs(first - second), 0) / self._blend
        return np.minimum(first, second) - near * near * (self._blend / 4)


@dataclass(frozen=True)
class Pose:
    """A pose of the figure."""

    pelvis: Vector = (0, 0.95, 0)
    lean_deg: float = 0.0  # of the torso, to the front
    wrists: tuple[Vector, Vector] = ((-0.30, 0.90, 0.04), (0.30, 0.90, 0.04))
    fingers: tuple[Vector, Vector] = ((0.05, -1, 0.15), (-0.05, -1, 0.15))  # directions of the fingers
    palms: tuple[Vector, Vector] = ((1, 0, 0), (-1, 0, 0))  # directions of the palms
    elbows: tuple[Vector, Vector] = ((-0.6, 0, -1), (0.6, 0, -1))  # directions in which the elbows point
    curl: float = 0.3  # radians at each joint of a finger
    yaw_deg: float = 0.0  # turn of the figure around the vertical


@dataclass(frozen=True)
class View:
    """A camera at x = 0 that looks towards the wall."""

    width: int
    height: int
    eye_y: float
    eye_z: float
    centre_y: float  # height at x = z = 0 in the middle of the image
    span: float  # height of what is visible at z = 0

    def rays(self) -> tuple[RealArray, RealArray]:
        """Return the position of the camera (3,) and the unit directions (H * W, 3) of the pixels."""
        x = (np.arange(self.width) + 0.5 - self.width / 2) * (self.span / self.height)
        y = self.centre_y - (np.arange(self.height) + 0.5 - self.height / 2) * (self.span / self.height)
        eye = np.array([0, self.eye_y, self.eye_z], np.float32)
        grid = np.stack([*np.meshgrid(x, y), np.zeros((self.height, self.width))], -1).reshape(-1, 3) - eye
        return eye, (grid / np.linalg.norm(grid, axis=1, keepdims=True)).astype(np.float32)


def unit(vector: Sequence[float] | FloatArray) -> FloatArray:
    """Return a vector (3,) of length 1."""
    values = np.asarray(vector, np.float64)
    return values / np.linalg.norm(values)


def joint_between(start: FloatArray, end: FloatArray, upper: float, lower: float, pole: Vector) -> FloatArray:
    """Return the elbow or knee (3,) of a limb from `start` (3,) to `end` (3,); it points in the direction `pole`."""
    reach = min(float(np.linalg.norm(end - start)), 0.999 * (upper + lower))
    along = unit(end - start)
    side = unit(np.array(pole) - along * float(along @ np.array(pole)))
    cosine = (upper**2 + reach**2 - lower**2) / (2 * upper * reach)
    return start + upper * (cosine * along + np.sqrt(max(1 - cosine**2, 0)) * side)


class Figure:
    """A posed person."""

    def __init__(self, pose: Pose) -> None:
        yaw, lean = np.deg2rad(pose.yaw_deg), np.deg2rad(pose.lean_deg)
        self._turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        self._spine = np.array([[1, 0, 0], [0, np.cos(lean), np.sin(lean)], [0, -np.sin(lean), np.cos(lean)]])
        self._pose, self._pelvis = pose, np.array(pose.pelvis)
        self.parts: list[Part] = []
        self._torso()
        for number, sign in enumerate((-1, 1)):
            self._leg(sign)
            self._arm(number, sign)
        self._head = self._make_head()
        self._bounds = [part.bounds() for part in self.parts]

    def _part(self, material: str, blend: float) -> Part:
        self.parts.append(Part(material, blend))
        return self.parts[-1]

    def _placed(self, point: FloatArray) -> FloatArray:
        """Return a point (3,) of the figure in the world."""
        return self._turn @ point

    def _on_torso(self, x: float, y: float, z: float) -> FloatArray:
        """Return a point (3,) of the figure that is given relative to the pelvis, along the spine."""
        return self._pelvis + np.array([x, y, z]) @ self._spine

    def _torso(self) -> None:
        shirt, axes = self._part("cloth", 0.06), self._spine @ self._turn.T

        def at(x: float, y: float, z: float) -> FloatArray:
            return self._placed(self._on_torso(x, y, z))

        shirt.ellipsoid(at(0, 0.12, 0), (0.148, 0.14, 0.100), axes)
        shirt.ellipsoid(at(0, 0.30, 0.005), (0.165, 0.17, 0.110), axes)
        shirt.capsule(at(-0.135, 0.425, -0.015), at(0.135, 0.425, -0.015), 0.055)
        shirt.capsule(at(0, 0.30, -0.02), at(0, 0.45, -0.02), 0.09, 0.062)
        for number, sign in enumerate((-1, 1)):
            shoulder, elbow, _ = self._arm_joints(number, sign)
            shirt.capsule(self._placed(shoulder), self._placed(shoulder + 0.62 * (elbow - shoulder)), 0.060, 0.050)
        trousers = self._part("trousers", 0.03)
        trousers.ellipsoid(at(0, -0.02, -0.01), (0.156, 0.115, 0.112), axes)
        for sign in (-1, 1):
            hip, knee, ankle = map(self._placed, self._leg_joints(sign))
            trousers.capsule(hip, knee, 0.092, 0.060)
            trousers.capsule(knee, ankle + np.array([0, 0.03, 0]), 0.060, 0.048)

    def _leg_joints(self, sign: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        hip = self._pelvis + np.array([sign * 0.085, -0.05, 0])
        ankle = np.array([sign * 0.13, 0.085, -0.02])
        return hip, joint_between(hip, ankle, THIGH, SHIN, (sign * 0.35, 0, 1)), ankle

    def _leg(self, sign: int) -> None:
        *_, ankle = self._leg_joints(sign)
        shoe = self._part("shoe", 0.02)
        shoe.capsule(
            self._placed(ankle + np.array([0, -0.035, -0.03])),
            self._placed(ankle + np.array([sign * 0.03, -0.05, 0.14])),
            0.042,
            0.034,
        )

    def _arm_joints(self, number: int, sign: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        shoulder = self._on_torso(sign * 0.175, 0.42, -0.015)
        reach = np.array(self._pose.wrists[number]) - shoulder
        wrist = shoulder + reach * min(1, 0.98 * (UPPER_ARM + FOREARM) / np.linalg.norm(reach))
        return shoulder, joint_between(shoulder, wrist, UPPER_ARM, FOREARM, self._pose.elbows[number]), wrist

    def _arm(self, number: int, sign: int) -> None:
        shoulder, elbow, wrist = self._arm_joints(number, sign)
        arm, middle = self._part("skin", 0.030), elbow + 0.4 * (wrist - elbow)
        arm.capsule(self._placed(shoulder), self._placed(elbow), 0.043, 0.033)
        arm.capsule(self._placed(elbow), self._placed(middle), 0.033, 0.034)
        arm.capsule(self._placed(middle), self._placed(wrist), 0.034, 0.024)
        self._hand(number, sign, wrist)

    def _hand(self, number: int, sign: int, wrist: FloatArray) -> None:
        along = unit(self._pose.fingers[number])
        palm = np.array(self._pose.palms[number])
        palm = unit(palm - along * float(along @ palm))
        thumb = sign * np.cross(palm, along)  # towards the thumb
        hand = self._part("skin", 0.012)

        def chain(start: FloatArray, *steps: tuple[FloatArray, float, float]) -> None:
            """Add bones from a point (3,), each by its step (3,) and its radii."""
            for step, first, last in steps:
                hand.capsule(self._placed(start), self._placed(start + step), first, last)
                start = start + step

        for index, (offset, length) in enumerate(FINGERS):
            knuckle = wrist + (0.086 - 0.004 * abs(index - 1)) * along + offset * thumb
            hand.capsule(
                self._placed(wrist + 0.012 * along + 0.45 * offset * thumb), self._placed(knuckle), 0.0150, 0.0110
            )
            direction = unit(along + 3.0 * offset * thumb)
            bends = self._pose.curl * (1 + 0.15 * index) * np.arange(1, 4)
            bones = [1.05 * length * (np.cos(bend) * direction + np.sin(bend) * palm) for bend in bends]
            radii = ((0.0098, 0.0090), (0.0090, 0.0083), (0.0083, 0.0073))
            shares = zip((0.45, 0.30, 0.25), bones, radii, strict=True)
            chain(knuckle, *((share * bone, first, last) for share, bone, (first, last) in shares))
        chain(
            wrist + 0.022 * along + 0.020 * thumb + 0.006 * palm,
            (0.042 * unit(0.75 * along + 0.75 * thumb + 0.35 * palm), 0.0180, 0.0125),
            (0.034 * unit(0.90 * along + 0.55 * thumb + 0.25 * palm), 0.0118, 0.0105),
            (0.026 * unit(along + 0.35 * thumb + 0.15 * palm), 0.0103, 0.0090),
        )

    def _make_head(self) -> FloatArray:
        """Add the head, which looks ahead, and return its centre (3,) before the turn."""
        neck = self._on_torso(0, 0.53, 0)
        centre, axes = neck + np.array([0, 0.105, 0.03]), self._turn.T
        skin, hair, eyes = self._part("skin", 0.022), self._part("hair", 0.022), self._part("eye", 0.001)
        nose = self._part("skin", 0.010)

        def at(x: float, y: float, z: float) -> FloatArray:
            return self._placed(centre + np.array([x, y, z]))

        skin.capsule(self._placed(self._on_torso(0, 0.40, -0.025)), at(0, -0.05, -0.025), 0.060, 0.052)
        skin.ellipsoid(at(0, 0.030, -0.012), (0.073, 0.090, 0.090), axes)  # skull
        skin.ellipsoid(at(0, -0.040, 0.014), (0.057, 0.072, 0.066), axes)  # jaw
        skin.ellipsoid(at(0, -0.097, 0.050), (0.022, 0.014, 0.018), axes)  # chin
        nose.capsule(at(0, 0.016, 0.074), at(0, -0.026, 0.091), 0.006, 0.0095)
        for sign in (-1, 1):
            nose.ellipsoid(at(sign * 0.010, -0.030, 0.082), (0.0075, 0.0065, 0.0085), axes)  # nostril
            skin.ellipsoid(at(sign * 0.073, -0.010, -0.012), (0.008, 0.027, 0.016), axes)  # ear
            skin.ellipsoid(at(sign * 0.034, -0.022, 0.052), (0.024, 0.020, 0.016), axes)  # cheek
            eyes.ellipsoid(at(sign * 0.031, 0.008, 0.0655), (0.0150, 0.0068, 0.0085), axes)
            hair.ellipsoid(at(sign * 0.066, 0.030, -0.012), (0.014, 0.040, 0.032), axes)  # above the ear
        nose.ellipsoid(at(0, -0.0640, 0.0705), (0.021, 0.0060, 0.0085), axes)  # lips
        nose.ellipsoid(at(0, -0.0725, 0.0700), (0.018, 0.0062, 0.0085), axes)
        hair.ellipsoid(at(0, 0.055, -0.026), (0.081, 0.084, 0.092), axes)
        hair.ellipsoid(at(0.018, 0.100, 0.026), (0.056, 0.026, 0.050), axes)  # above the forehead
        hair.ellipsoid(at(-0.030, 0.092, 0.020), (0.042, 0.026, 0.048), axes)
        hair.ellipsoid(at(0, -0.015, -0.058), (0.066, 0.075, 0.055), axes)
        return centre

    def distances(self, points: RealArray) -> RealArray:
        """Return the distances (M, N) of points (N, 3) to the materials, at least the least one exactly if near."""
        found = np.full((len(MATERIALS), len(points)), np.inf, np.float32)
        for part, (centre, radius) in zip(self.parts, self._bounds, strict=True):
            distance = np.linalg.norm(points - centre, axis=1) - np.float32(radius)
            near = distance < BOUND_M
            if near.any():
                distance[near] = part.distance(points[near])
            found[part.material] = np.minimum(found[part.material], distance)
        return found

    def meets_bounds(self, origin: RealArray, rays: RealArray) -> BoolArray:
        """Return which rays (N, 3) from a point (3,) meet the sphere around a part."""
        meets = np.zeros(len(rays), np.bool_)
        for centre, radius in self._bounds:
            offset = centre - origin
            along = rays @ offset
            meets |= float(offset @ offset) - along * along < (radius + 0.01) ** 2
        return meets

    def colours(self, points: RealArray, owner: IndexArray) -> RealArray:
        """Return the colours (N, 3), 0 to 1, of surface points (N, 3) with materials (N,)."""
        colours = np.array(list(COLOURS.values()), np.float32)[owner]
        local = points @ self._turn.astype(np.float32) - self._head.astype(np.float32)
        on_face = (owner == MATERIALS.index("skin")) & (local[:, 2] > 0.02) & (np.linalg.norm(local, axis=1) < 0.15)
        paint_face(colours, local, on_face)
        paint_eyes(colours, local, owner == MATERIALS.index("eye"))
        x, y, z = points.T
        strands = 0.86 + 0.28 * np.sin(260 * np.abs(local[:, 0]) + 90 * local[:, 1] + 4 * np.sin(37 * local[:, 1])) ** 2
        folds = 0.975 + 0.025 * np.sin(40 * y + 7 * np.sin(15 * x) + 5 * np.sin(13 * z))
        for names, pattern in ((("hair",), strands), (("cloth", "trousers"), folds)):
            where = np.isin(owner, [MATERIALS.index(name) for name in names])
            colours[where] *= pattern[where, None]
        return colours


def paint_face(colours: RealArray, local: RealArray, on_face: BoolArray) -> None:
    """Paint brows, lids, lips, nostrils and cheeks into colours (N, 3) of points (N, 3) relative to the head."""
    x, y = np.abs(local[:, 0]), local[:, 1]

    def paint(share: RealArray, colour: Vector, strength: float) -> None:
        part = (np.clip(share, 0, 1) * strength * on_face)[:, None]
        colours[:] = colours * (1 - part) + np.array(colour, np.float32) * part

    def spot(centre: tuple[float, float], radii: tuple[float, float], sharpness: float) -> RealArray:
        return sharpness * (1 - np.hypot((x - centre[0]) / radii[0], (y - centre[1]) / radii[1]))

    paint(spot((0.038, -0.030), (0.034, 0.026), 1.0), (0.86, 0.48, 0.41), 0.30)
    paint(spot((0.031, 0.010), (0.025, 0.017), 1.5), (0.66, 0.43, 0.34), 0.35)
    brow = 2 * (1 - np.abs(y - 0.033 + 16 * (x - 0.033) ** 2) / 0.0038)
    paint(brow * ((x > 0.015) & (x < 0.050)), (0.24, 0.15, 0.10), 0.75)
    lid = 3 * (1 - np.abs(np.hypot((x - 0.031) / 0.0165, (y - 0.008) / 0.0086) - 1) / 0.20)
    paint(lid * (y > 0.009), (0.16, 0.09, 0.065), 0.85)
    mouth = y - 9 * x**2  # its corners are higher than its middle
    paint(2.0 * (1 - np.hypot(x / 0.023, (mouth + 0.0650) / 0.0045)), (0.74, 0.38, 0.34), 0.60)
    paint(2.0 * (1 - np.hypot(x / 0.020, (mouth + 0.0735) / 0.0050)), (0.80, 0.44, 0.39), 0.60)
    paint(4.0 * (1 - np.hypot(x / 0.025, (mouth + 0.0695) / 0.0012)), (0.42, 0.18, 0.16), 0.80)
    paint(spot((0.0085, -0.0385), (0.0042, 0.0026), 3.0), (0.36, 0.19, 0.15), 0.70)


def paint_eyes(colours: RealArray, local: RealArray, is_eye: BoolArray) -> None:
    """Paint iris, pupil and reflection into colours (N, 3) of points (N, 3) relative to the head."""
    x, y = np.abs(local[:, 0]) - 0.031, local[:, 1] - 0.008
    middle = np.hypot(x, y)
    colours[is_eye & (middle < 0.0074)] = (0.22, 0.13, 0.07)
    colours[is_eye & (middle < 0.0034)] = (0.02, 0.02, 0.02)
    colours[is_eye & (np.hypot(np.sign(local[:, 0]) * x + 0.002, y - 0.003) < 0.0014)] = 1.0


def room(origin: RealArray, rays: RealArray) -> tuple[RealArray, RealArray]:
    """Return colours and points (N, 3) of the wall and the floor that rays (N, 3) from a point (3,) meet."""
    to_wall = (WALL_Z - origin[2]) / rays[:, 2]
    to_floor = np.where(rays[:, 1] < -1e-4, -origin[1] / np.minimum(rays[:, 1], -1e-4), np.inf)
    is_floor = to_floor < to_wall
    points = origin + np.where(is_floor, to_floor, to_wall)[:, None] * rays
    x, y, z = points[:, :1], points[:, 1:2], points[:, 2:]
    wall = np.array((0.76, 0.75, 0.72)) * (1.04 - 0.08 * np.hypot(x + 0.5, y - 1.6))
    planks = 0.93 + 0.05 * np.sign(np.sin(30 * x)) * np.sin(2 * z) + 0.03 * np.sin(11 * x)
    floor = np.array((0.60, 0.48, 0.36)) * planks
    colours = np.where(is_floor[:, None], floor, np.where(y < 0.09, 0.88, wall))
    return colours.astype(np.float32), points.astype(np.float32)


def light_at(figure: Figure, points: RealArray, steps: int, softness: float) -> RealArray:
    """Return how much of the light, 0 to 1, reaches points (N, 3) past the figure."""
    light = np.ones(len(points), np.float32)
    travelled = np.full(len(points), 0.02, np.float32)
    alive = np.arange(len(points))
    for _ in range(steps):
        near = figure.distances(points[alive] + travelled[alive, None] * LIGHT).min(0)
        light[alive] = np.minimum(light[alive], softness * near / travelled[alive])
        travelled[alive] += np.maximum(near, 0.025)
        alive = alive[(light[alive] > 0) & (travelled[alive] < 2.5)]
    return light.clip(0, 1)


def shade(figure: Figure, points: RealArray, rays: RealArray) -> RealArray:
    """Return colours (N, 3) of surface points (N, 3) that rays (N, 3) meet: two lights, sky and occlusion."""
    distances = figure.distances(points)
    owner, normal = distances.argmin(0), np.zeros_like(points)
    for offset in 0.0015 * np.array([[1, -1, -1], [-1, -1, 1], [-1, 1, -1], [1, 1, 1]], np.float32):
        normal += offset * figure.distances(points + offset).min(0)[:, None]
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    open_sky = np.ones(len(points), np.float32)
    for reach in (0.02, 0.06):
        open_sky -= 0.3 * (1 - figure.distances(points + reach * normal).min(0) / reach).clip(0, 1)
    lit = light_at(figure, points + 0.01 * normal, 14, 8.0)
    facing = normal @ LIGHT
    is_skin = owner == MATERIALS.index("skin")
    diffuse = np.where(is_skin, 0.5 * facing.clip(0) + 0.5 * ((facing + 0.35) / 1.35).clip(0), facing.clip(0))
    light = 0.62 * diffuse * lit + 0.26 * (normal @ FILL).clip(0) + 0.46 * (0.6 + 0.4 * normal[:, 1]) * open_sky
    half = LIGHT - rays
    half /= np.linalg.norm(half, axis=1, keepdims=True)
    shine = np.array([0.05, 0.01, 0.01, 0.04, 0.10, 0.40], np.float32)[owner]
    gloss = shine * (normal * half).sum(1).clip(0) ** 28 * lit
    colours = figure.colours(points, owner)
    return colours * (light * (0.75 + 0.25 * open_sky))[:, None] + gloss[:, None]


def render(figure: Figure, view: View) -> Image:
    """Return an image (H, W, 3) of the figure in a room."""
    origin, rays = view.rays()
    colours, behind = room(origin, rays)
    near = np.flatnonzero(figure.meets_bounds(origin, rays))
    floor, light = np.flatnonzero((behind[:, 1] < 0.01) & (np.abs(behind[:, 0]) < 1.5)), np.ones(len(rays), np.float32)
    light[floor] = light_at(figure, behind[floor], 28, 6.0)
    soft = cv2.GaussianBlur(light.reshape(view.height, view.width), (0, 0), view.height / 200)
    colours *= 0.5 + 0.5 * soft.reshape(-1, 1)
    travelled = np.full(len(near), view.eye_z - 1.0, np.float32)
    alive, met = np.arange(len(near)), np.zeros(len(near), np.bool_)
    for _ in range(STEPS):
        distance = figure.distances(origin + travelled[alive, None] * rays[near[alive]]).min(0)
        travelled[alive] += 0.92 * distance
        met[alive] = distance < REACHED_M
        alive = alive[(distance >= REACHED_M) & (travelled[alive] < view.eye_z + 1)]
        if not len(alive):
            break
    points = origin + travelled[met, None] * rays[near[met]]
    colours[near[met]] = shade(figure, points, rays[near[met]])
    return (255 * colours.clip(0, 1) ** 0.87).reshape(view.height, view.width, 3).round().astype(np.uint8)


def photo() -> Image:
    """Return the photograph (640, 480, 3): a person who raises the right hand."""
    pose = Pose(
        wrists=((-0.38, 1.45, 0.16), (0.30, 0.92, 0.08)),
        fingers=((-0.05, 1, 0.02), (-0.08, -1, 0.2)),
        palms=((0.1, 0, 1), (-1, 0, 0.3)),
        elbows=((-0.9, -0.8, -0.3), (0.8, 0, -0.8)),
        curl=0.06,
    )
    large = render(Figure(pose), View(960, 1280, 1.35, 3.2, 1.26, 1.34))
    return np.asarray(cv2.resize(large, (480, 640), interpolation=cv2.INTER_AREA), np.uint8)


def squat(depth: float) -> Pose:
    """Return the pose of a squat, from 0 for standing to 1 for the lowest point."""
    low = np.array([0, 0.56, -0.20])
    pelvis = (1 - depth) * np.array([0, 0.958, 0]) + depth * low
    x, y, z = 0.29 - 0.06 * depth, 0.90 - 0.05 * depth, 0.06 + 0.44 * depth
    ahead = (0.0, -(1 - depth), 0.15 + 0.85 * depth)
    return Pose(
        pelvis=(float(pelvis[0]), float(pelvis[1]), float(pelvis[2])),
        lean_deg=38 * depth,
        wrists=((-x, y, z), (x, y, z)),
        fingers=(ahead, ahead),
        palms=((1, -0.2 * depth, 0), (-1, -0.2 * depth, 0)),
        curl=0.18,
        yaw_deg=-55,
    )


@cache
def squat_frame(depth: float) -> Image:
    """Return the frame (480, 360, 3) of a squat. Frames repeat, because standing up mirrors going down."""
    large = render(Figure(squat(depth)), View(540, 720, 1.15, 4.2, 0.92, 2.05))
    return np.asarray(cv2.resize(large, (360, 480), interpolation=cv2.INTER_AREA), np.uint8)


def squats() -> Iterator[Image]:
    """Yield the frames (480, 360, 3) of the clip: a person who squats and stands up again."""
    for index in range(round(SQUATS * SQUAT_S * FPS) + 1):
        phase = index / (SQUAT_S * FPS)
        yield squat_frame(round(float(0.5 - 0.5 * np.cos(2 * np.pi * phase)), 6))


def write_clip(path: Path) -> None:
    """Write the clip as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "24", "preset": "veryslow"})
        stream.width, stream.height, stream.pix_fmt = 360, 480, "yuv420p"
        for rgb in squats():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, "rgb24")))
        container.mux(stream.encode())


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("photo", "clip"))
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    if options.what == "photo":
        cv2.imwrite(str(options.file), photo()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])
    else:
        write_clip(options.file)


if __name__ == "__main__":
    main()
