"""The hand of the catalogue in MANO's form, for tests without a licence: vertices, joints and open wrist."""

import numpy as np

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_lab.hand_models.mano_files import JOINTS, LAYOUTS, PARENTS, SHAPES, TO_MEDIAPIPE21, VERTICES
from sonjit_lab.hand_models.rig import FINGERS, KEYPOINTS
from sonjit_lab.synthesis.hand_meshes import coarse_faces

_EDGE = 16  # vertices around MANO's wrist
_TURN = matrix_from_rotation_vector(np.array([0.4, 1.1, -0.7]))  # MANO's axes are not the rig's


def mano_twin(mesh):
    """Return MANO's fields for a result of `load_hand_mesh`, with other axes and origin."""
    faces = coarse_faces(mesh)
    behind = (mesh.vertices - mesh.joints[0]) @ mesh.frames[0][:, 2]
    faces = _thinned(mesh.vertices, faces[(behind[faces] < 0.008).all(1)])
    kept = np.unique(faces)
    points, weights = mesh.vertices[kept], mesh.weights[kept]
    order = np.arange(VERTICES)
    layout = LAYOUTS["handoccnet"]
    for chain, place in zip(FINGERS, layout.right if mesh.side == "Right" else layout.left, strict=True):
        local = (points - mesh.joints[chain[2]]) @ mesh.frames[chain[2]]
        tip = np.argmin(local[:, 2] + 1e3 * (weights[:, list(chain[2:])].sum(1) < 0.5))
        here = int(np.flatnonzero(order == tip)[0])
        order[[here, place]] = order[[place, here]]
    points, weights = points[order], weights[order]
    where = np.argsort(order)
    mano = np.argsort(TO_MEDIAPIPE21)[:JOINTS]  # of each of its joints among MediaPipe's keypoints
    shares = weights[:, np.array(KEYPOINTS)[mano]]
    for chain in FINGERS:
        shares[:, TO_MEDIAPIPE21[KEYPOINTS.index(chain[2])]] += weights[:, chain[3]]
    shares[:, 0] += 1 - shares.sum(1)
    joints = mesh.joints[np.array(KEYPOINTS)[mano]]
    points, joints = points @ _TURN.T + 0.05, joints @ _TURN.T + 0.05
    regressor = np.zeros(SHAPES["J_regressor"])
    for row, joint in zip(regressor, joints, strict=True):
        near = np.argsort(np.linalg.norm(points - joint, axis=1))[:30]
        system = np.vstack([points[near].T, np.ones(len(near))])
        row[near] = np.linalg.lstsq(system, np.append(joint, 1), rcond=None)[0]
    mean = np.zeros((15, 3))
    mean[:12] = -0.5 * _TURN @ mesh.frames[7][:, 0]  # fingers half closed
    return {
        "v_template": points,
        "shapedirs": np.zeros(SHAPES["shapedirs"]),
        "posedirs": np.zeros(SHAPES["posedirs"]),
        "J_regressor": regressor,
        "weights": shares,
        "hands_components": np.eye(45),
        "hands_mean": mean.reshape(-1),
        "f": where[np.searchsorted(kept, faces)],
        "kintree_table": np.array([PARENTS, range(JOINTS)]),
    }


def _thinned(points, faces):
    """Return the faces after the shortest edges are collapsed, until there are as many as in MANO."""
    faces = {tuple(face) for face in faces.tolist()}
    while len({v for face in faces for v in face}) > VERTICES:
        edges, around, of = {}, {}, {}
        for face in faces:
            for a, b in zip(face, (*face[1:], face[0]), strict=True):
                edges[frozenset((a, b))] = edges.get(frozenset((a, b)), 0) + 1
                around.setdefault(a, set()).add(b)
                around.setdefault(b, set()).add(a)
                of.setdefault(a, set()).add(face)
        rim = {v for edge, count in edges.items() if count == 1 for v in edge}
        left, touched, rim_left = len(around) - VERTICES, set(), len(rim) - _EDGE
        by_length = sorted(edges, key=lambda edge: np.linalg.norm(np.subtract(*points[list(edge)])))
        on_rim = [edge for edge in by_length if edges[edge] == 1][:rim_left]
        for edge in on_rim or by_length:
            stays, goes = sorted(edge, key=lambda v: v not in rim)
            inner = edges[edge] == 2
            if left == 0 or (on_rim == [] and goes in rim) or around[stays] & touched or around[goes] & touched:
                continue
            if len(around[stays] & around[goes]) != (2 if inner else 1):
                continue  # else faces would fold upon each other
            touched |= around[stays] | around[goes]
            left -= 1
            for face in of[goes]:
                faces.discard(face)
                moved = tuple(stays if v == goes else v for v in face)
                if len(set(moved)) == 3:
                    faces.add(moved)
    return np.array(sorted(faces))
