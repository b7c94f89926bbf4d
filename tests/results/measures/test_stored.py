"""Measures of fixed hands, bodies and faces are those stored, so that no table changes without notice."""

from dataclasses import replace

import numpy as np
import pytest

from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit.results import Face, Hand, Person, box_around
from sonjit.results.measures import bodies, faces, hands, instance_values, joints

from ...support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages
from .test_expressions import mesh

POSES = 5


@pytest.fixture
def shapes(made, body):
    """Return points (POSES, K, 3) of each kind, each turned and in another pose."""
    rng = np.random.default_rng(3)
    turns = np.array([matrix_from_rotation_vector(vector) for vector in rng.uniform(-0.6, 0.6, (POSES, 3))])
    opened = [
        mesh(gap, at_14_17=(0, down, 0), at_291=(down / 2, -down / 3, down / 3), at_468_473=(down / 5, -gap / 2, 0),
             at_402_178=(0, gap, 0), at_81_311=(0, -down / 5, 0), at_285_70=(0, -gap / 3, 0), at_308=(-down / 2, 0, 0))
        for gap, down in rng.uniform(0.02, 0.2, (POSES, 2))
    ]  # fmt: skip
    points = {
        hands: [made.build_hand(bends) for bends in rng.uniform(0, 1.2, (POSES, 5, 3))],
        faces: opened,
        bodies: body.keypoints_3d + rng.normal(0, 0.12, (POSES, 33, 3)),
    }
    return {module: np.array(some) @ turns.transpose(0, 2, 1) for module, some in points.items()}


def test_each_column_of_people_is_as_stored(shapes, body):
    rows = []
    for k, (person, left, right, face) in enumerate(
        zip(shapes[bodies], shapes[hands], shapes[hands][::-1], shapes[faces], strict=True)
    ):
        seen = body.visibility.copy()
        seen[11 + k] = 0.2
        found = replace(body, keypoints_3d=person, keypoints=person * 400 + 500, visibility=seen)
        parts = [Hand(side, 1.0, points * 1000 + 300, points, distance_m=0.5 * k, distance_error_m=0.1)
                 for side, points in (("Left", left * [-1, 1, 1]), ("Right", right))]  # fmt: skip
        shown = Face(0.9, face, box_around(face), transform=np.eye(4) * k)
        people = Person(found, *parts, shown)
        rows += [instance_values(part, people if part is found else None) for part in people.parts]
        rows += [hands.fingers_up(hand) for hand in parts]
        rows += [{"facing": hands.palm_facing(hand.keypoints_3d, hand.side)} for hand in parts]
    assert_as_stored("measures.columns", rows)


def test_repetitions_of_a_wandering_angle_are_as_stored():
    rng = np.random.default_rng(5)
    times = np.arange(600) / 30
    depth = np.repeat(rng.uniform(0.2, 1.4, 20), 30)
    angles = np.pi - depth * (1 - np.cos(2 * np.pi * times)) + rng.normal(0, 0.03, 600)
    angles[rng.random(600) < 0.05] = np.nan
    assert_as_stored("measures.repetitions", joints.find_repetitions(angles, times))
