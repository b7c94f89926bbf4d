"""Render a rigged figure in ten movements from eight sides, with the places of its joints.

The figure is a GLB file whose bones have the names of Mixamo, in a T-pose, e.g. `avatars/brunette-t.glb` of
https://github.com/met4citizen/TalkingHead. It is no part of this project. Each clip has a file of joints next to it:
points (N, 33, 3) in metres in the axes of its camera, NaN where the figure has no such joint.

python benchmarks/figures.py --figure brunette-t.glb --out figures
"""

import argparse
import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sonjit._util.glb import Glb
from sonjit.results.skeletons import load_skeleton

FRAMES, RATE_HZ = 20, 15
VIEWS = (0, 45, 90, 135, 180, 225, 270, 315)  # degrees by which the camera stands to the left of the figure's front
SIZE = 720  # pixels of the clips
FOCAL = 1.5 * SIZE  # pixels
DISTANCE_M, HEIGHT_M, DOWN_DEG = 4.2, 1.3, 3.0  # of the camera
LIGHT = np.array([0.3, 0.7, 0.6]) / np.linalg.norm([0.3, 0.7, 0.6])
SKELETON = load_skeleton("body_blazepose33")
BONES = {"shoulder": "Arm", "elbow": "ForeArm", "wrist": "Hand", "hip": "UpLeg", "knee": "Leg", "ankle": "Foot"}
BONES |= {"foot_index": "Toe_End"}
SIDES = {"Left": 1, "Right": -1}

# Angles in degrees at rest and in the middle of each movement: (both sides) or (left, right).
MOVEMENTS = {
    "squat": {"hip": (0, 100), "knee": (0, 110), "foot": (0, 25), "spine": (0, 25), "lift": (0, 80)},
    "lunge": {"hip": (0, (90, -5)), "knee": (0, (90, 80)), "foot": (0, (0, -10)), "spine": (0, 5)},
    "bow": {"hip": (0, 60), "spine": (0, 30), "lift": (0, 45)},
    "knee_lift": {"hip": (0, (100, 0)), "knee": (0, (100, 0)), "lift": (0, (-20, 30))},
    "kick": {"hip": ((-15, 0), (70, 0)), "knee": ((60, 5), (5, 5)), "lift": (0, (-25, 40))},
    "leg_raise": {"aside": (0, (45, 0)), "spread": (10, 40)},
    "arms_aside": {"spread": (10, 165)},
    "curl": {"elbow": (5, 140)},
    "press": {"spread": (60, 160), "elbow": (130, 10)},
    "stride": {"hip": ((30, -15), (-15, 30)), "knee": ((10, 25), (45, 10)), "lift": ((-25, 25), (25, -25))},
}
STANDING = {"spread": 12.0, "elbow": 10.0}


@dataclass
class Figure:
    """Mesh of a figure at rest, in metres: x to its left, y up, z to its front."""

    vertices: np.ndarray  # (V, 3)
    triangles: np.ndarray  # (T, 3)
    colours: np.ndarray  # (T, 3), 0 to 255
    joints: np.ndarray  # (V, 4), indices of bones
    weights: np.ndarray  # (V, 4)
    bones: list[str]
    parents: list[int]  # of bones; -1 for the first
    places: np.ndarray  # (B, 3), of bones at rest


def image_bytes(path, content, index):
    """Return the encoded bytes (N,) of an image inside a GLB file."""
    data = path.read_bytes()
    view = content["bufferViews"][content["images"][index]["bufferView"]]
    begin = 28 + struct.unpack_from("<I", data, 12)[0] + view.get("byteOffset", 0)  # after both headers and the JSON
    return np.frombuffer(data, np.uint8, view["byteLength"], begin)


def loaded(path):
    """Read a figure from a GLB file without compression."""
    file = Glb(path)
    content = file.document

    def colours(material, uv):
        surface = content["materials"][material].get("pbrMetallicRoughness", {})
        factor = 255 * np.array(surface.get("baseColorFactor", (1, 1, 1, 1))[:3])
        if "baseColorTexture" not in surface:
            return np.tile(factor, (len(uv), 1))
        source = content["textures"][surface["baseColorTexture"]["index"]]["source"]
        encoded = image_bytes(path, content, source)
        texture = cv2.imdecode(encoded, cv2.IMREAD_COLOR)[..., ::-1]
        x, y = (uv * texture.shape[1::-1]).astype(int).T
        return texture[y % texture.shape[0], x % texture.shape[1]] * factor / 255

    names = [node.get("name", "") for node in content["nodes"]]
    bones = [names[index] for index in content["skins"][0]["joints"]]
    inverse = file.array(content["skins"][0]["inverseBindMatrices"])
    above = {names[child]: node.get("name") for node in content["nodes"] for child in node.get("children", ())}
    parents = [bones.index(above[bone]) if above.get(bone) in bones else -1 for bone in bones]
    parts, count = [], 0
    for node in content["nodes"]:
        if "skin" not in node:
            continue
        order = [bones.index(names[index]) for index in content["skins"][node["skin"]]["joints"]]
        for piece in content["meshes"][node["mesh"]]["primitives"]:
            found = {name: file.array(index) for name, index in piece["attributes"].items()}
            triangles = file.array(piece["indices"]).reshape(-1, 3).astype(int)
            weights = found["WEIGHTS_0"].astype(float)
            middle = found["TEXCOORD_0"][triangles].mean(1)
            parts.append(
                (
                    found["POSITION"],
                    triangles + count,
                    colours(piece["material"], middle),
                    np.array(order)[found["JOINTS_0"].astype(int)],
                    weights / weights.sum(1, keepdims=True),
                )
            )
            count += len(weights)
    mesh = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return Figure(*mesh, bones, parents, np.linalg.inv(inverse)[:, :3, 3])


def turn(axis, degrees):
    """Return a rotation (3, 3) about the axis 0, 1 or 2."""
    return cv2.Rodrigues(np.radians(degrees) * np.eye(3)[axis])[0]


def straightened(figure, word):
    """Return the rotations (3, 3) of an upper arm to the side, and of its forearm in the same direction."""
    shoulder, elbow, wrist = (figure.places[figure.bones.index(word + bone)] for bone in ("Arm", "ForeArm", "Hand"))
    outwards = np.array([SIDES[word], 0, 0])
    arm = between(elbow - shoulder, outwards)
    return arm, between(arm @ (wrist - elbow), outwards)


def between(begin, end):
    """Return the rotation (3, 3) from a direction to another."""
    axis, dot = np.cross(begin, end), begin @ end
    length = np.linalg.norm(axis)
    return cv2.Rodrigues(axis / max(length, 1e-12) * np.arctan2(length, dot))[0]


def posed(figure, angles):
    """Return the transforms (B, 4, 4) of bones from rest, for angles in degrees by name and side."""

    def of(name, side=1):
        value = angles.get(name, STANDING.get(name, 0.0))
        return float(np.broadcast_to(value, 2)[0 if side == 1 else 1])

    turns = {bone: turn(0, of("spine") / 3) for bone in ("Spine", "Spine1", "Spine2")}
    for word, side in SIDES.items():
        arm, elbow = straightened(figure, word)
        turns[f"{word}Arm"] = turn(0, -of("lift", side)) @ turn(2, side * (of("spread", side) - 90)) @ arm
        turns[f"{word}ForeArm"] = arm.T @ turn(1, -side * of("elbow", side)) @ elbow @ arm
        turns[f"{word}UpLeg"] = turn(0, -of("hip", side)) @ turn(2, side * of("aside", side))
        turns[f"{word}Leg"] = turn(0, of("knee", side))
        turns[f"{word}Foot"] = turn(0, -of("foot", side))
    hips = figure.bones.index("Hips")
    lean = of("hip") if of("hip") == of("hip", -1) and not of("knee") else 0.0  # a bow turns the pelvis
    turns["Hips"] = turn(0, lean)
    transforms = [np.eye(4)] * len(figure.bones)
    for index in parents_first(figure.parents):
        own = np.eye(4)
        own[:3, :3] = turns.get(figure.bones[index], np.eye(3))
        own[:3, 3] = figure.places[index] - own[:3, :3] @ figure.places[index]
        transforms[index] = transforms[figure.parents[index]] @ own if index != hips else own
    return np.stack(transforms)


def parents_first(parents):
    """Return the indices of bones so that parents precede their children."""
    order = []
    while len(order) < len(parents):
        order += [k for k, parent in enumerate(parents) if k not in order and (parent == -1 or parent in order)]
    return order


def placed(figure, transforms):
    """Return vertices (V, 3) and points (33, 3) of keypoints, with the lowest vertex on the floor."""
    homogeneous = np.pad(figure.vertices, ((0, 0), (0, 1)), constant_values=1)
    vertices = np.zeros_like(figure.vertices, float)
    for k in range(4):
        moved = np.einsum("vij,vj->vi", transforms[figure.joints[:, k]][:, :3], homogeneous)
        vertices += figure.weights[:, k : k + 1] * moved
    points = np.full((33, 3), np.nan)
    for word in SIDES:
        for joint, ending in BONES.items():
            bone = figure.bones.index(f"{word}{ending}")
            place = transforms[bone][:3, :3] @ figure.places[bone] + transforms[bone][:3, 3]
            points[SKELETON.index(f"{word.lower()}_{joint}")] = place
        foot = figure.bones.index(f"{word}Foot")
        points[SKELETON.index(f"{word.lower()}_heel")] = (transforms[foot] @ [*heel_of(figure, foot), 1])[:3]
    floor = np.array([0, vertices[:, 1].min(), 0])
    return vertices - floor, points - floor


def heel_of(figure, foot):
    """Return the place (3,) of a heel at rest, the rear end of the vertices at the height of the toes or below."""
    strongest = np.take_along_axis(figure.joints, figure.weights.argmax(1)[:, None], 1)[:, 0]
    vertices = figure.vertices[strongest == foot]
    toe = figure.places[figure.bones.index(figure.bones[foot].replace("Foot", "Toe_End"))]
    low = vertices[vertices[:, 1] <= max(toe[1], np.percentile(vertices[:, 1], 30))]
    return low[low[:, 2].argmin()]


def camera_axes(points, view_deg):
    """Return points (N, 3) in the axes of a camera: x to the right, y down, z ahead."""
    place = turn(1, view_deg) @ np.array([0, HEIGHT_M, DISTANCE_M])
    down = turn(0, DOWN_DEG)
    return (points - place) @ turn(1, view_deg) @ np.diag([1, -1, -1]) @ down.T


def drawn(figure, vertices, view_deg):
    """Return an image (SIZE, SIZE, 3) of a figure before a wall."""
    scale = 2  # of the pixels that are averaged
    image = np.full((SIZE * scale, SIZE * scale, 3), (196, 190, 180), np.uint8)
    image[int(0.72 * SIZE * scale) :] = (134, 118, 104)
    seen = camera_axes(vertices, view_deg)
    corners = seen[figure.triangles]
    pixels = np.round((seen[:, :2] / seen[:, 2:] * FOCAL + SIZE / 2) * scale).astype(np.int32)[figure.triangles]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    front = np.flatnonzero((normals * corners.mean(1)).sum(1) < 0)
    light = LIGHT @ turn(1, view_deg) @ np.diag([1, -1, -1])
    shade = 0.55 + 0.45 * np.clip(normals @ light, 0, 1)
    colours = np.clip(figure.colours * shade[:, None], 0, 255)
    order = front[np.argsort(-corners[front].mean(1)[:, 2])]
    for triangle, colour in zip(pixels[order], colours[order].tolist(), strict=True):
        cv2.fillConvexPoly(image, triangle, colour)
    return cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_AREA)


def written(figure, movement, view_deg, folder):
    """Write the clip and the joints of a movement from a side."""
    points = []
    with av.open(str(folder / f"{movement}_{view_deg:03}.mp4"), "w") as container:
        stream = container.add_stream("libx264", Fraction(RATE_HZ), options={"crf": "16", "preset": "fast"})
        stream.width, stream.height, stream.pix_fmt = SIZE, SIZE, "yuv420p"
        for index in range(FRAMES):
            share = np.sin(np.pi * index / (FRAMES - 1)) ** 2
            angles = {
                name: np.add(np.multiply(1 - share, begin), np.multiply(share, end))
                for name, (begin, end) in MOVEMENTS[movement].items()
            }
            vertices, joints = placed(figure, posed(figure, angles))
            points.append(camera_axes(joints, view_deg))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(drawn(figure, vertices, view_deg), "rgb24")))
        container.mux(stream.encode())
    np.savez(folder / f"{movement}_{view_deg:03}.npz", points_m=points)


def render(path, folder):
    """Write the clips and joints that a folder lacks, of the figure of a GLB file."""
    folder.mkdir(parents=True, exist_ok=True)
    figure = loaded(path)
    for movement in MOVEMENTS:
        for view_deg in VIEWS:
            if not (folder / f"{movement}_{view_deg:03}.npz").exists():
                written(figure, movement, view_deg, folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--figure", type=Path, required=True, help="GLB file of a figure in a T-pose")
    parser.add_argument("--out", type=Path, required=True, help="folder for clips and joints")
    options = parser.parse_args()
    render(options.figure, options.out)


if __name__ == "__main__":
    main()
