"""Hands, bodies and faces with known angles."""

from types import SimpleNamespace

import numpy as np
import pytest

from sonjit import Body, Hand

AT = np.array([[-0.03, -0.04, 0.0], [0.025, -0.085, 0], [0.0, -0.09, 0], [-0.02, -0.085, 0], [-0.035, -0.075, 0]])
"""MCP of the fingers (the first row is not used) of a right hand, palm to the camera, wrist at 0, metres."""
BONES_M = (0.04, 0.025, 0.02)
PALM = np.array([0.0, 0.0, -1.0])


def turn(vector, axis, angle):
    """Rotate a vector around a unit axis (Rodrigues)."""
    cos, sin = np.cos(angle), np.sin(angle)
    return vector * cos + np.cross(axis, vector) * sin + axis * (axis @ vector) * (1 - cos)


def chain(start, direction, bends, bones, towards):
    """Return the points of a chain that starts at `start`. Each bend rotates the direction towards `towards`."""
    axis = np.cross(direction, towards)
    axis /= np.linalg.norm(axis)
    points = [start]
    for bend, bone in zip(bends, bones, strict=True):
        direction = turn(direction, axis, bend)
        points.append(points[-1] + bone * direction)
    return points


def build_hand(bends, thumb_direction=(0.9, -0.4, 0.0)):
    """Return a right hand (21, 3) with the palm to the camera, fingers up, and bends (5, 3) in radians, thumb first."""
    bends = np.asarray(bends, float)
    points = [np.zeros(3)]
    thumb = np.array(thumb_direction) / np.linalg.norm(thumb_direction)
    sides = [thumb, *(at / np.linalg.norm(at) for at in AT[1:])]
    starts = [0.045 * thumb, *AT[1:]]
    for start, side, bend in zip(starts, sides, bends, strict=True):
        towards = PALM if side is not thumb else np.array([-1.0, 0.0, -0.3])
        points += chain(start, side, bend, BONES_M, towards)
    return np.array(points)


OUT, IN = (0.05, 0.05, 0.05), (1.3, 1.5, 1.0)
THUMB_OUT, THUMB_IN = (0.05, 0.05, 0.05), (0.6, 0.9, 0.8)


def hand_with(out, handedness="Right", turned_rad=0.0, id=None):
    """Return a hand with the fingers of `out` (five of "0" and "1", thumb first) stretched, rotated in the image."""
    bends = [THUMB_OUT if out[0] == "1" else THUMB_IN, *(OUT if one == "1" else IN for one in out[1:])]
    world = build_hand(bends)
    cos, sin = np.cos(turned_rad), np.sin(turned_rad)
    world = world @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]).T
    if handedness == "Left":
        world = world * [-1, 1, 1]
    pixels = world * 1000 + [320, 300, 0]
    return Hand(handedness, 1.0, pixels.astype(np.float32), world.astype(np.float32), id=id)


@pytest.fixture
def body():
    """Return a body that stands upright with hanging arms, faces the camera, and has only visible keypoints."""
    points = np.zeros((33, 3), np.float32)
    for side, x in ((0, 0.2), (1, -0.2)):
        for index, y in ((11, -0.5), (13, -0.2), (15, 0.05), (23, 0.0), (25, 0.45), (27, 0.9)):
            points[index + side] = (x, y, 0)
        points[29 + side], points[31 + side] = (x, 0.9, 0.05), (x, 0.9, -0.15)
    ones = np.ones(33, np.float32)
    return Body(1.0, points * 400 + 500, points, ones, ones)


@pytest.fixture(scope="session")
def made():
    """Return functions that build hands, with bends and positions."""
    return SimpleNamespace(build_hand=build_hand, hand_with=hand_with, OUT=OUT, IN=IN, AT=AT)
