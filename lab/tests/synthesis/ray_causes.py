"""Occlusion causes from ray tracing with trimesh over all meshes, without rendering."""

import numpy as np
import trimesh

from sonjit_lab.hand_models.rig import KEYPOINTS, PARENTS
from sonjit_lab.synthesis.hands import drawables_from_hand, keypoints_from_hand

PALM = {0, *(joint for joint, parent in enumerate(PARENTS) if parent == 0)}
PALM_KEYPOINTS = {0, 1, 6, 11, 16, 21}  # by their joints: the wrist, and where fingers begin


def scene_drawables(scene):
    """Return all drawables of a scene."""
    worn = [one for number, hand in enumerate(scene.hands, 1) for one in drawables_from_hand(hand, number)]
    return [*worn, *scene.objects]


def ray_causes(scene, drawables, camera):
    """Return the cause of each keypoint of each hand in order, including those outside the image.

    Planes of all faces are cut by each ray, then barycentric coordinates tell which faces are met.
    """
    start = -camera.R.T @ camera.t
    for number, hand in enumerate(scene.hands, 1):
        for keypoint, end in enumerate(keypoints_from_hand(hand)):
            yield _cause(number, keypoint, _first_met(drawables, start, end))


def _first_met(drawables, start, end):
    place, met = 1.0, None
    for drawable in drawables:
        corners = drawable.vertices[drawable.faces]
        normals, valid = trimesh.triangles.normals(corners)
        faces = np.flatnonzero(valid)
        across = normals @ (end - start)
        along = np.einsum("fc,fc->f", normals, corners[valid, 0] - start) / np.where(across == 0, np.nan, across)
        near = (along > 0) & (along < place)
        points = start + along[near, None] * (end - start)
        shares = trimesh.triangles.points_to_barycentric(corners[faces[near]], points)
        inside = (shares >= 0).all(axis=1)
        if inside.any():
            first = np.flatnonzero(inside)[along[near][inside].argmin()]
            place = along[near][first]
            face = drawable.faces[faces[near][first]]
            met = drawable.instance, None if drawable.parts is None else drawable.parts[face[shares[first].argmax()]]
    return met


def _cause(hand, keypoint, met):
    if met is None:
        return "visible"
    instance, part = met
    owner = instance - 100 if 100 < instance < 150 else instance  # a glove is the hand's skin
    if owner == hand:
        joint = KEYPOINTS[keypoint]
        near = {joint, max(PARENTS[joint], 0)} | (PALM if joint in PALM_KEYPOINTS else set())
        return "visible" if part in near else "self"
    return "other_hand" if owner < 100 else "object"
