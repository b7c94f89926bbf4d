"""Blendshapes from a mesh change with the expression and not with the pose."""

import numpy as np
import pytest

import sonjit
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.results import Face, Hand
from sonjit.results.measures import TRANSFORM_COLUMNS, instance_values
from sonjit.results.measures.faces import STABLE_POINTS, blendshapes_from_mesh, head_rotation
from sonjit.results.skeletons.faces import BLENDSHAPES

OTHERS = {  # relaxed positions of the points that expressions move
    473: (0.345, 0.02, 0), 468: (-0.345, 0.02, 0), 285: (0.13, -0.13, -0.1), 55: (-0.13, -0.13, -0.1),
    300: (0.4, -0.13, 0), 70: (-0.4, -0.13, 0), 291: (0.28, 0.67, -0.17), 61: (-0.28, 0.67, -0.17),
    308: (0.26, 0.67, -0.17), 78: (-0.26, 0.67, -0.17), 0: (0, 0.63, -0.4), 17: (0, 0.75, -0.35),
    13: (0, 0.68, -0.4), 14: (0, 0.69, -0.4), 311: (0.1, 0.74, -0.4), 81: (-0.1, 0.74, -0.4),
    402: (0.1, 0.75, -0.4), 178: (-0.1, 0.75, -0.4),
}  # fmt: skip
LIDS = {(387, 373): 0.27, (386, 374): 0.34, (385, 380): 0.42, (160, 144): -0.27, (159, 145): -0.34, (158, 153): -0.42}


def mesh(eye_px=0.09, **moved):
    points = np.zeros((478, 3))
    for index, place in {**STABLE_POINTS, **OTHERS}.items():
        points[index] = place
    for (upper, lower), x in LIDS.items():
        points[[upper, lower]] = (x, 0.02 - eye_px / 2, 0), (x, 0.02 + eye_px / 2, 0)
    for name, step in moved.items():
        for index in name.split("_")[1:]:
            points[int(index)] += step
    return points * 200 + (640, 360, 0)


def changed(points):
    relaxed = blendshapes_from_mesh(mesh())
    return {name for name, value in blendshapes_from_mesh(points).items() if value > relaxed[name] + 0.3}


@pytest.mark.parametrize("turn", [(0, 0, 0), (0.5, 0, 0), (0, -1.2, 0), (0.3, 0.4, 2.8)])
def test_a_mesh_and_its_mirror_image_have_the_rotation_of_the_face(turn):
    rotation = matrix_from_rotation_vector(np.array(turn, float))
    turned = (mesh() - (640, 360, 0)) @ rotation.T
    meshes = np.stack([turned, turned + np.array([9, 5, 3]), turned * (-1, 1, 1), turned / 1e6])
    np.testing.assert_allclose(head_rotation(meshes), [rotation] * 4, atol=1e-9)
    assert head_rotation(meshes[:0]).shape == (0, 3, 3)


def test_a_relaxed_face_has_no_expression():
    values = blendshapes_from_mesh(mesh())
    assert set(values) < set(BLENDSHAPES)
    assert max(values.values()) < 0.5
    assert set(blendshapes_from_mesh(mesh()[:468])) == {name for name in values if "Look" not in name}


@pytest.mark.parametrize(
    ("points", "names"),
    [
        (mesh(eye_px=0.01), {"eyeBlinkLeft", "eyeBlinkRight"}),
        (mesh(at_291=(0.1, -0.05, 0.1)), {"mouthSmileLeft"}),
        (mesh(at_61=(-0.1, -0.05, 0.1)), {"mouthSmileRight"}),
        (mesh(at_14_17=(0, 0.35, 0), at_291_61=(0, 0.18, 0)), {"jawOpen"}),
        (mesh(at_402=(0, 0.2, 0)), {"mouthLowerDownLeft"}),
        (mesh(at_81=(0, -0.12, 0)), {"mouthUpperUpRight", "mouthLowerDownRight"}),
        (mesh(at_308=(-0.11, 0, 0), at_78=(0.11, 0, 0)), {"mouthPucker"}),
        (mesh(at_285_55=(0, -0.08, 0)), {"browInnerUp"}),
        (mesh(at_70=(0, -0.08, 0)), {"browOuterUpRight"}),
        (mesh(at_468_473=(0.06, 0, 0)), {"eyeLookOutLeft", "eyeLookInRight"}),
        (mesh(at_468_473=(0, 0.05, 0)), {"eyeLookDownLeft", "eyeLookDownRight"}),
    ],
)
def test_an_expression_changes_its_blendshapes(points, names):
    assert changed(points) == names
    turned = (points - (640, 360, 0)) @ matrix_from_rotation_vector(np.array([0.2, 0.4, -0.3])).T * 0.5
    expected = blendshapes_from_mesh(points)
    assert blendshapes_from_mesh(turned) == pytest.approx(expected, abs=0.02)


def test_points_of_a_box_are_refused():
    with pytest.raises(sonjit.InputError, match="a face mesh is"):
        blendshapes_from_mesh(np.zeros((6, 3)))


def test_only_faces_have_blendshapes_and_transforms():
    face = Face(0.9, np.zeros((478, 3), np.float32), (0, 0, 1, 1), blendshapes={"jawOpen": 0.25}, transform=np.eye(4))
    values = instance_values(face)
    assert values["jawOpen"] == 0.25
    assert sum(values[name] for name in TRANSFORM_COLUMNS) == 4
    points = np.random.default_rng(0).normal(size=(21, 3)).astype(np.float32)
    assert not {"jawOpen", *TRANSFORM_COLUMNS} & set(instance_values(Hand("Left", 0.9, points, points)))
