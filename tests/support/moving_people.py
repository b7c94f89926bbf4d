"""People who squat and walk, as the keypoints of a side view."""

from dataclasses import replace

import numpy as np

from sonjit import Body, Frame
from sonjit.report.errors import joint_of
from sonjit.results.skeletons import load_skeleton

INDEX = load_skeleton("body_blazepose33").index
RATE_HZ, STRIDE_S, STANCE = 30.0, 1.2, 0.62
SPEED_PX_S, LEG_PX, STEP_PX = 150.0, 300.0, 90.0


def body_with(knee_deg, number=3, visibility=1.0):
    """Return a body in a side view, whose left shin is turned, in pixels of 2 mm."""
    points = np.zeros((33, 3), np.float32)
    for side, z in (("left", 0.0), ("right", 0.2)):
        for name, y in (("ear", -1.7), ("shoulder", -1.4), ("elbow", -1.1), ("wrist", -0.8), ("hip", -0.9)):
            points[INDEX(f"{side}_{name}")] = 0, y, z
        points[INDEX(f"{side}_knee")] = 0, -0.5, z
        bend = np.radians(180 - knee_deg if side == "left" else 0)
        ankle = np.array([-0.4 * np.sin(bend), -0.5 + 0.4 * np.cos(bend), z])
        points[INDEX(f"{side}_ankle")] = ankle
        points[INDEX(f"{side}_heel")] = ankle + np.array([-0.05, 0.06, 0])
        points[INDEX(f"{side}_foot_index")] = ankle + np.array([0.2, 0.06, 0])
    pixels = points * [500, 500, 0] + [400, 900, 0]
    seen = np.full(33, visibility, np.float32)
    return Body(1.0, pixels.astype(np.float32), points, seen, seen, id=number)


def frames_of(knees, rate_hz=30.0):
    """Return frames with knees (N,) in degrees; None is a frame without the person."""
    return [Frame(k, k / rate_hz, bodies=[] if knee is None else [body_with(knee)]) for k, knee in enumerate(knees)]


def squat(low, frames=60):
    return list(170 - (170 - low) * np.sin(np.pi * np.arange(frames) / frames) ** 2)


def knees_of(recording):
    """Return a recording with the angles of its knees only, whose page has few plots."""
    knees = {name: values for name, values in recording.angles.items() if joint_of(name) == "knee"}
    return replace(recording, angles=knees)


def walker(seconds=5.0, *, direction=1, late_s=0.0):
    """Return a person in each frame, whose right foot follows half a stride after the left, and `late_s` seconds."""
    bodies = []
    for time in np.arange(0, seconds, 1 / RATE_HZ):
        points = np.zeros((33, 3), np.float32)
        x = 800 - direction * 400 + direction * SPEED_PX_S * time
        points[:, :2] = x, 200
        for side, delay in (("left", 0.0), ("right", STRIDE_S / 2 + late_s)):
            phase = ((time - delay) / STRIDE_S) % 1
            # The foot goes back evenly during its stance, and forward during its swing.
            share = 1 - 2 * phase / STANCE if phase < STANCE else -1 + 2 * (phase - STANCE) / (1 - STANCE)
            foot = x + direction * STEP_PX * share
            points[INDEX(f"{side}_eye"), :2] = x, 100
            points[INDEX(f"{side}_shoulder"), :2] = x, 200
            points[INDEX(f"{side}_hip"), :2] = x, 400
            points[INDEX(f"{side}_knee"), :2] = (x + foot) / 2, 550
            points[INDEX(f"{side}_ankle"), :2] = foot, 690
            points[INDEX(f"{side}_heel"), :2] = foot - direction * 5, 700
            points[INDEX(f"{side}_foot_index"), :2] = foot + direction * 40, 700
        seen = np.ones(33, np.float32)
        world = (points - points[INDEX("left_hip")]) * np.float32(0.003)
        world[[INDEX(f"right_{name}") for name in ("hip", "shoulder", "knee", "ankle")], 2] = 0.2
        bodies.append(Body(1.0, points, world, seen, seen, id=1))
    return bodies
