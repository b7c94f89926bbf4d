"""Small sets in the official layouts, with hands posed by MANO's formulas in NumPy. Images are noise."""

import json
import pickle

import cv2
import numpy as np
import yaml
from lab.tests.mano_fields import file_fields

from sonjit_lab.hand_models.placeholders import placeholder_mano

PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
TIPS = (745, 317, 444, 556, 673)
TO_MEDIAPIPE = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)
FLIP = np.array([1.0, -1.0, -1.0])
K = np.array([[600.0, 0, 320], [0, 600, 240], [0, 0, 1]])


def made_mano(seed, side):
    """Return the fields of a MANO file: the hand of tubes with random blends, components and mean pose."""
    rng = np.random.default_rng(seed)
    fields = {name: np.asarray(value, np.float64) for name, value in file_fields(placeholder_mano(side)).items()}
    return fields | {
        "weights": 0.8 * fields["weights"] + 0.2 / 16,
        "v_template": fields["v_template"] + rng.normal(0, 0.002, (778, 3)),
        "shapedirs": rng.normal(0, 0.001, (778, 3, 10)),
        "posedirs": rng.normal(0, 0.0003, (778, 3, 135)),
        "hands_components": np.linalg.qr(rng.normal(size=(45, 45)))[0],
        "hands_mean": rng.normal(0, 0.15, 45),
        "f": rng.integers(0, 778, (1538, 3)),
    }


def posed(fields, pose, betas, trans, *, flat, pca=False):
    """Return vertices and joints in MANO's order with tips, by linear blend skinning in NumPy."""
    fingers = pose[3:] @ fields["hands_components"] if pca else pose[3:]
    angles = np.concatenate([pose[:3], fingers + (0 if flat else fields["hands_mean"])]).reshape(16, 3)
    turns = np.stack([cv2.Rodrigues(angle)[0] for angle in angles])
    shaped = fields["v_template"] + fields["shapedirs"] @ betas
    rest = fields["J_regressor"] @ shaped
    bent = shaped + fields["posedirs"] @ (turns[1:] - np.eye(3)).ravel()
    rotations, places = [turns[0]], [rest[0]]
    for joint in range(1, 16):
        up = PARENTS[joint]
        rotations.append(rotations[up] @ turns[joint])
        places.append(places[up] + rotations[up] @ (rest[joint] - rest[up]))
    each = np.stack([(bent - rest[j]) @ rotations[j].T + places[j] for j in range(16)], 1)
    vertices = (fields["weights"][..., None] * each).sum(1)
    return vertices + trans, np.concatenate([places, vertices[list(TIPS)]]) + trans


def picture(path, size, seed):
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(0, 256, (12, 16, 3)).astype(np.uint8)
    cv2.imwrite(str(path), cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC))


def write_mano(root):
    """Write MANO_RIGHT.pkl and MANO_LEFT.pkl in the official form, and return their fields by side."""
    fields = {side: made_mano(seed, side) for seed, side in enumerate(("right", "left"))}
    for side, own in fields.items():
        (root / f"MANO_{side.upper()}.pkl").write_bytes(pickle.dumps(own, protocol=2))
    return fields


def hand_pose(rng):
    return np.concatenate([rng.normal(0, 0.3, 3), rng.normal(0, 0.2, 45)])


FOCAL, MIDDLE = np.array([150.0, 155.0]), np.array([47.0, 33.0])
WIDTH, HEIGHT = 96, 72


def write_interhand(root, split="test", seed=3):
    """Write single and interacting hands at several distances. Some joints, and one root, have no labels.

    Return path, kind of hands, joints in the camera's frame, their validity, annotation and boxes of each image.
    """
    rng = np.random.default_rng(seed)
    kinds = ["right", "left", "interacting", "interacting", "interacting", "right", "left", "interacting"]
    centre, turn = np.array([30.0, -20, 10]), cv2.Rodrigues(np.array([0.1, -0.2, 0.05]))[0]
    images, annotations, joints, records = [], [], {}, []
    (root / f"images/{split}/Capture0/ROM01/cam7").mkdir(parents=True)
    (root / f"annotations/{split}").mkdir(parents=True)
    for number, kind in enumerate(kinds):
        camera = rng.normal((0, 0, 550), 40, (42, 3))
        camera[21:] += [0, 0, 40]
        camera[:21, 0] -= 90 if number == 3 else 20  # one pair is far apart: one box still
        valid = rng.random(42) > (0.15 if number > 2 else -1)
        valid[[20, 41]] = True
        valid[21:] &= kind != "right"
        valid[:21] &= kind != "left"
        if number == 4:
            valid[41] = False  # nothing of this hand counts
        world = camera @ turn + centre  # x_camera = turn (x - centre)
        pixels = camera[:, :2] / camera[:, 2:] * FOCAL + MIDDLE
        known = {"right": slice(0, 21), "left": slice(21, 42), "interacting": slice(0, 42)}[kind]
        name = f"Capture0/ROM01/cam7/image{number}.jpg"
        cv2.imwrite(str(root / f"images/{split}" / name), rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
        images.append({
            "id": 10 + number, "file_name": name, "width": WIDTH, "height": HEIGHT, "capture": 0, "subject": 0,
            "seq_name": "ROM01", "camera": "7", "frame_idx": number,
        })  # fmt: skip
        annotations.append({
            "id": 100 + number, "image_id": 10 + number, "bbox": around(pixels[known]),
            "joint_valid": valid[:, None].astype(int).tolist(), "hand_type": kind, "hand_type_valid": int(number != 6),
        })  # fmt: skip
        joints[str(number)] = {
            "world_coord": np.where(valid[:, None], world, 1).tolist(),
            "joint_valid": valid[:, None].astype(int).tolist(), "hand_type": kind, "hand_type_valid": True,
        }  # fmt: skip
        roots_known = np.repeat(valid[[20, 41]], 21)
        own = [around(pixels[part][valid[part]]) for part in (slice(0, 21), slice(21, 42)) if valid[part].any()]
        records.append((root / f"images/{split}" / name, kind, camera, valid & roots_known, annotations[-1], own))
    stem = root / f"annotations/{split}/InterHand2.6M_{split}_"
    (root / f"{stem}data.json").write_text(json.dumps({"images": images, "annotations": annotations}))
    (root / f"{stem}joint_3d.json").write_text(json.dumps({"0": joints}))
    cameras = {"campos": centre, "camrot": turn, "focal": FOCAL, "princpt": MIDDLE}
    named = {"0": {key: {"7": value.tolist()} for key, value in cameras.items()}}
    (root / f"{stem}camera.json").write_text(json.dumps(named))
    return records


def around(points):
    low, high = points.min(0), points.max(0)
    size = 1.2 * (high - low)
    return [*((low + high) / 2 - size / 2), *size]


def write_ho3d(root, fields, split="evaluation"):
    """Write a split of HO-3D, with recordings of five frames and of two. Return the true joints and vertices.

    Those of the evaluation are in the files that its owners published later, and those of the training in each frame.
    """
    rng = np.random.default_rng(3 if split == "evaluation" else 4)
    recordings = {"evaluation": (("AP10", 5), ("AP14", 2)), "train": (("BB10", 5), ("SM2", 2))}[split]
    names = [f"{recording}/{frame:04}" for recording, count in recordings for frame in range(count)]
    xyz, verts = [], []
    for seed, name in enumerate(names):
        sequence, frame = name.split("/")
        place = np.array([0.02 * seed - 0.05, 0.03, -0.6])
        pose, betas = hand_pose(rng), rng.normal(0, 1, 10)
        vertices, joints = posed(fields, pose, betas, place, flat=True)
        xyz.append(joints.tolist())
        verts.append(vertices.tolist())
        pixels = (joints * FLIP) @ K.T
        pixels = pixels[:, :2] / pixels[:, 2:]
        box = [*pixels.min(0).tolist(), *pixels.max(0).tolist()]
        corners = place + np.array([[x, y, z] for x in (-0.03, 0.06) for y in (0, 0.1) for z in (-0.02, 0.02)])
        meta = {
            "camMat": K,
            "objRot": np.zeros((3, 1)), "objTrans": place, "objName": "021_bleach_cleanser", "objCorners3D": corners,
        }  # fmt: skip
        if split == "evaluation":
            meta |= {"handJoints3D": joints[0], "handBoundingBox": box}
        else:
            meta |= {"handJoints3D": joints, "handPose": pose, "handBeta": betas, "handTrans": place}
        file = root / f"{split}/{sequence}/meta/{frame}.pkl"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(pickle.dumps(meta, protocol=2))
        picture(root / f"{split}/{sequence}/rgb/{frame}.png", (640, 480), seed)
    (root / f"{split}.txt").write_text("\n".join(names) + "\n")
    if split == "evaluation":
        (root / "evaluation_xyz.json").write_text(json.dumps(xyz))
        (root / "evaluation_verts.json").write_text(json.dumps(verts))
    return np.array(xyz), np.array(verts)


def write_freihand(root, fields, split="evaluation"):
    """Write four hands of FreiHAND, those of the training with four backgrounds. Return true joints and vertices."""
    rng = np.random.default_rng(5 if split == "evaluation" else 6)
    camera = np.array([[480.0, 0, 112], [0, 480, 112], [0, 0, 1]])
    xyz, verts, mano = [], [], []
    for number in range(4):
        pose, betas = hand_pose(rng), rng.normal(0, 1, 10)
        vertices, joints = posed(fields, pose, betas, np.array([0, 0.03, 0.7]), flat=False)
        xyz.append(joints[list(TO_MEDIAPIPE)])
        verts.append(vertices)
        mano.append([[*pose, *betas, 0.0, 0.0, 1.0]])
        for image in range(number, 16 if split == "training" else 4, 4):
            picture(root / f"{split}/rgb/{image:08}.jpg", (224, 224), image)
    tables = {"K": [camera.tolist()] * 4, "scale": [0.03] * 4, "xyz": np.array(xyz).tolist(),
              "verts": np.array(verts).tolist(), "mano": mano}  # fmt: skip
    for name, table in tables.items():
        (root / f"{split}_{name}.json").write_text(json.dumps(table))
    return np.array(xyz), np.array(verts)


def write_dexycb(root, fields, *, training=False):
    """Write a hundred recordings of DexYCB's third subject, of which the twenty of the test split s0 have images.

    `training`: the eighty of the training split have images too. Return joints, vertices, share of hidden keypoints and
    side of each frame of the test split, or None without a hand.
    """
    rng = np.random.default_rng(7)
    (root / "calibration/intrinsics").mkdir(parents=True)
    intrinsics = {"color": {"fx": 600.0, "fy": 600.0, "ppx": 320.0, "ppy": 240.0}}
    (root / "calibration/intrinsics/840412060917_640x480.yml").write_text(yaml.safe_dump(intrinsics))
    betas = rng.normal(0, 1, 10)
    for side in fields:
        folder = root / f"calibration/mano_c_{side}"
        folder.mkdir()
        (folder / "mano.yml").write_text(yaml.safe_dump({"betas": betas.tolist()}))
    truth = []
    for number in range(100):
        folder = root / f"20200813-subject-03/20200813_{number:06}"
        side = ("right", "left")[number // 5 % 2]
        frames = 5 if number == 4 else 1
        meta = {"serials": ["840412060917"], "num_frames": frames, "ycb_ids": [3, 11], "ycb_grasp_ind": 1,
                "mano_sides": [side], "mano_calib": [f"c_{side}"]}  # fmt: skip
        folder.mkdir(parents=True)
        (folder / "meta.yml").write_text(yaml.safe_dump(meta))
        is_test = number % 5 == 4
        if not (is_test or training):
            continue
        for frame in range(frames):
            pose, place = hand_pose(rng), np.array([0.01 * frame, 0.02, 0.7])
            vertices, joints = posed(fields[side], pose, betas, place, flat=False, pca=True)
            joints = joints[list(TO_MEDIAPIPE)]
            pixels = joints @ K.T
            pixels = pixels[:, :2] / pixels[:, 2:]
            seg = np.zeros((480, 640), np.uint8)
            low, high = pixels.min(0), pixels.max(0)
            cut = round(low[1] + (high[1] - low[1]) * rng.uniform(0, 1))
            seg[cut:480, round(low[0]) - 20 : round(high[0]) + 20] = 11  # the object hides what is below
            seg[300:, :40] = 3
            absent = number == 99
            labels = folder / f"840412060917/labels_{frame:06}.npz"
            picture(labels.with_name(f"color_{frame:06}.jpg"), (640, 480), 10 * number + frame)
            arrays = {
                "pose_y": np.zeros((2, 3, 4)), "joint_2d": np.where(absent, -1, pixels[None]),
                "pose_m": np.where(absent, 0, np.concatenate([pose, place])[None]),
                "joint_3d": np.where(absent, -1, joints[None]),
            }  # fmt: skip
            np.savez_compressed(labels, **arrays, **({"seg": seg} if is_test else {}))
            nearest = np.floor(pixels + 0.5).astype(int)
            hidden = np.mean(seg[nearest[:, 1], nearest[:, 0]] == 11)
            if is_test:
                truth.append(None if absent else (joints, vertices, hidden, side))
    return truth
