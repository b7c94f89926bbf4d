"""An actor of known proportions with keypoints projected through the assumed camera, and readers of the files."""

import cv2
import numpy as np

from sonjit.geometry.cameras import assumed_camera
from sonjit.media import Header
from sonjit.results import Body, Frame, Hand, Person

from ...support.gltf import GltfReader  # noqa: TID252  # one helper for all packages

SIZE = (640, 480)
FPS = 30
HEADER = Header("clip.mp4", *SIZE, FPS, "body-full", "bodies")
PEOPLE = Header("clip.mp4", *SIZE, FPS, "holistic-full", "people")
FROM_CAMERA = np.array([1.0, -1.0, -1.0])
UPPER_ARM, LOWER_ARM, UPPER_LEG, LOWER_LEG = 0.28, 0.25, 0.42, 0.40
JOINTS = {
    "leftUpperArm": 11, "rightUpperArm": 12, "leftLowerArm": 13, "rightLowerArm": 14, "leftHand": 15, "rightHand": 16,
    "leftUpperLeg": 23, "rightUpperLeg": 24, "leftLowerLeg": 25, "rightLowerLeg": 26, "leftFoot": 27, "rightFoot": 28,
}  # fmt: skip


def down(pitch, roll=0.0):
    """Return a downward direction, rotated forward by a pitch and outward to +x by a roll, in radians."""
    return np.array([np.sin(roll), -np.cos(roll) * np.cos(pitch), np.cos(roll) * np.sin(pitch)])


def actor(time, x=0.0):
    """Keypoints (33, 3) in metres, x to the actor's left, y up, z to the camera, 3 m away.

    The left leg marches, the right one stands, the right elbow curls and the left arm is straight.
    """
    swing = np.sin(2 * np.pi * time / 2)
    points = np.zeros((33, 3))
    points[[23, 24]] = [[0.11, 0, 0], [-0.11, 0, 0]]
    points[[11, 12]] = [[0.18, 0.5, 0], [-0.18, 0.5, 0]]
    points[[7, 8]] = [[0.075, 0.68, 0.02], [-0.075, 0.68, 0.02]]
    points[:11] += (np.arange(11) != 7)[:, None] * (np.arange(11) != 8)[:, None] * [0, 0.66, 0.12]
    for hip, knee, lift in ((23, 25, 1 + 0.4 * swing), (24, 26, 0.0)):
        points[knee] = points[hip] + UPPER_LEG * down(lift)
        points[knee + 2] = points[knee] + LOWER_LEG * down(-0.5 * lift)
        points[knee + 4] = points[knee + 2] + [0, -0.07, -0.04]
        points[knee + 6] = points[knee + 2] + [0, -0.07, 0.16]
    for shoulder, roll, curl in ((11, 0.7, 0.0), (12, -0.3, 1.2 + 0.5 * swing)):
        elbow, wrist = shoulder + 2, shoulder + 4
        points[elbow] = points[shoulder] + UPPER_ARM * down(0, roll)
        points[wrist] = points[elbow] + LOWER_ARM * down(curl, roll * np.cos(curl))
        along = points[wrist] - points[elbow]
        along /= np.linalg.norm(along)
        thumbs = np.cross(along, [1, 0, 0])
        points[wrist + 2], points[wrist + 4] = (
            points[wrist] + 0.08 * along + sign * 0.03 * thumbs for sign in (-1, 1)
        )  # fmt: skip
        points[wrist + 6] = points[wrist] + 0.03 * along + 0.04 * thumbs
    return points + np.array([x, 0, -3])


def body_of(points, number=1, presence=1.0, noise=0.0):
    """Return the body of keypoints (33, 3)."""
    camera = points * FROM_CAMERA
    origin = camera[[23, 24]].mean(0)
    pixels = assumed_camera(*SIZE).project(camera)
    xyz = np.concatenate([pixels, camera[:, 2:]], 1).astype(np.float32)
    present = np.broadcast_to(np.float32(presence), 33).copy()
    return Body(0.9, xyz, (camera - origin + noise).astype(np.float32), present, present, number)


def hand_of(wrist, curl, side):
    """Return a hand (21 keypoints) that points away from the body, palm down, with fingers curled by radians."""
    sign = 1 if side == "Left" else -1
    points = np.zeros((21, 3))
    for finger, (z, length) in enumerate([(0.03, 0.03), (0.03, 0.09), (0.01, 0.09), (-0.01, 0.085), (-0.03, 0.08)]):
        points[1 + 4 * finger] = [sign * length, -0.01 * (finger == 0), z]
        for bone in range(3):
            angle = curl * (bone + 1)
            step = 0.03 * np.array([sign * np.cos(angle), -np.sin(angle), 0])
            points[2 + 4 * finger + bone] = points[1 + 4 * finger + bone] + step
    camera = (points + wrist) * FROM_CAMERA
    xyz = np.concatenate([assumed_camera(*SIZE).project(camera), camera[:, 2:]], 1).astype(np.float32)
    return Hand(side, 0.9, xyz, ((points - points.mean(0)) * FROM_CAMERA).astype(np.float32), 1), points


def frames_of(times, **more):
    return [Frame(index, float(time), bodies=[body_of(actor(time), **more)]) for index, time in enumerate(times)]


def people_of(times, curl):
    """Return frames of people with a left hand, and its keypoints relative to the wrist."""
    frames, hands = [], []
    for index, time in enumerate(times):
        points = actor(time)
        hand, truth = hand_of(points[15], curl, "Left")
        frames.append(Frame(index, float(time), people=[Person(body_of(points), left_hand=hand)]))
        hands.append(truth)
    return frames, np.array(hands)


class Bvh:
    """A BVH file: names, parents, offsets, frame time, and the positions of joints."""

    def __init__(self, path):
        lines = iter(path.read_text("utf-8").split("\n"))
        assert next(lines) == "HIERARCHY"
        self.parents, self.offsets, self.ends, stack, channels = {}, {}, {}, [], []
        for line in lines:
            word, *rest = line.split()
            if word in ("ROOT", "JOINT"):
                self.parents[rest[0]] = stack[-1] if stack else None
                name = rest[0]
            elif word == "End":
                name = None
            elif word == "{":
                stack.append(name)
            elif word == "OFFSET":
                target = self.ends if stack[-1] is None else self.offsets
                target[stack[-2] if stack[-1] is None else stack[-1]] = np.array(rest, float)
            elif word == "CHANNELS":
                assert int(rest[0]) == len(rest) - 1
                channels += [(stack[-1], channel) for channel in rest[1:]]
            elif word == "}":
                stack.pop()
            else:
                assert word == "MOTION"
                break
        assert not stack
        self.count = int(next(lines).removeprefix("Frames:"))
        self.frame_time = float(next(lines).removeprefix("Frame Time:"))
        self.rows = np.array([[float(value) for value in line.split()] for line in lines if line])
        assert self.rows.shape == (self.count, len(channels))
        self.channels = channels

    def positions(self, row):
        """Positions of the joints in metres, in one frame."""
        return self.pose(row)[0]

    def turns(self, row):
        """Rotations of the joints in space, in one frame."""
        return self.pose(row)[1]

    def pose(self, row):
        """Positions and rotations of the joints in one frame."""
        places, turns, values = {}, {}, self.rows[row]
        own = {name: [] for name in self.parents}
        for (bone, channel), value in zip(self.channels, values, strict=True):
            own[bone].append((channel, value))
        for name, parent in self.parents.items():
            local, offset = np.eye(3), self.offsets[name]
            for channel, value in own[name]:
                axis = "XYZ".index(channel[0])
                if channel.endswith("position"):
                    offset = offset + value * np.eye(3)[axis]
                else:
                    local = local @ cv2.Rodrigues(np.deg2rad(value) * np.eye(3)[axis])[0]
            above = turns[parent] if parent else np.eye(3)
            places[name] = above @ offset + (places[parent] if parent else 0)
            turns[name] = above @ local
        return places, turns


class Gltf(GltfReader):
    """A GLB file with animated nodes."""

    def __init__(self, path):
        super().__init__(path.read_bytes())
        self.nodes, self.animation = self.g["nodes"], self.g["animations"][0]

    @property
    def times(self):
        (number,) = {sampler["input"] for sampler in self.animation["samplers"]}
        return self.get(number)

    def bends(self, bone):
        """Angles (F,) of a bone against its parent in degrees, from the only character."""
        target = {"node": [node["name"] for node in self.nodes].index(bone), "path": "rotation"}
        (sampler,) = (channel["sampler"] for channel in self.animation["channels"] if channel["target"] == target)
        values = self.get(self.animation["samplers"][sampler]["output"])
        return np.rad2deg(2 * np.arccos(abs(values[:, 3]).clip(0, 1)))

    def positions(self, row, root=0):
        """Positions of the nodes below a root by name, in one frame; None for the rest pose."""
        worlds, below = self.worlds(None if row is None else self.times[row]), [root]
        for number in below:
            assert not {"scale", "rotation", "matrix"} & set(self.nodes[number])
            below += self.nodes[number].get("children", [])
        return {self.nodes[number]["name"]: worlds[number][:3, 3] for number in below}
