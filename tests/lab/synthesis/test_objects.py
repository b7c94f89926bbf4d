"""Objects: exact distances, matching meshes, and hands that grasp them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.lab.hand_models.rig import FINGERS, RigPose
from sonjit.lab.synthesis import look_up
from sonjit.lab.synthesis.contacts import DEPTH_M, penetration_depth
from sonjit.lab.synthesis.drawable import Material
from sonjit.lab.synthesis.objects import SCENE_OBJECTS, Solid, drawable_from_solid, occluder, sample_material
from sonjit.lab.synthesis.person import rig_from_shape
from sonjit.lab.synthesis.poses import grasp

PLAIN = Material("plastic", (0.5, 0.5, 0.5))
LENGTHS = st.floats(0.002, 0.1)


def mesh(solid):
    return drawable_from_solid(solid, np.eye(3), np.zeros(3), PLAIN, 200)


class TestSolids:
    @given(LENGTHS, LENGTHS, LENGTHS, st.integers(0, 99))
    def test_distances_are_those_of_a_box(self, x, y, z, seed):
        points = np.random.default_rng(seed).normal(0, 0.1, (30, 3))
        inside = np.clip(points, (-x, -y, -z), (x, y, z))
        outside = np.linalg.norm(points - inside, axis=1)
        found = Solid("box", (x, y, z)).distances(points)
        assert np.allclose(found[outside > 0], outside[outside > 0])
        walls = (np.abs(points) - (x, y, z)).max(1)
        assert np.allclose(found[outside == 0], walls[outside == 0])

    @given(LENGTHS, LENGTHS, st.integers(0, 99))
    def test_distances_change_by_at_most_the_length_of_a_step(self, radius, half, seed):
        rng = np.random.default_rng(seed)
        points, steps = rng.normal(0, 0.1, (2, 30, 3))
        for solid in (Solid("cylinder", (radius, radius, half)), Solid("ball", (radius,) * 3)):
            change = np.abs(solid.distances(points + steps) - solid.distances(points))
            assert (change <= np.linalg.norm(steps, axis=1) + 1e-12).all()

    @pytest.mark.parametrize("name", SCENE_OBJECTS)
    def test_meshes_lie_on_their_solids_and_are_closed(self, name):
        made = mesh(SCENE_OBJECTS[name].solid)
        assert (
            np.abs(SCENE_OBJECTS[name].solid.distances(made.vertices)).max() < 1.5e-3
        )  # round edges stay sharp at the ends
        a, b, c = np.moveaxis(made.vertices[made.faces], 1, 0)
        crosses = np.cross(b - a, c - a)
        assert ((crosses * made.normals[made.faces].mean(1)).sum(1) > -1e-12).all()
        assert np.allclose(crosses.sum(0), 0, atol=1e-9)  # a closed surface has no side more than another
        x, y, z = SCENE_OBJECTS[name].solid.size
        volume = (a * np.cross(b, c)).sum() / 6
        full = {"ball": 4 / 3 * np.pi * x**3, "cylinder": 2 * np.pi * x * y * z, "box": 8 * x * y * z}
        assert 0.93 < volume / full[SCENE_OBJECTS[name].solid.kind] < 1.001

    def test_unknown_things_are_refused(self):
        with pytest.raises(InputError, match="phone"):
            look_up("object", SCENE_OBJECTS, "piano")


class TestOccluders:
    def test_they_have_the_requested_position_and_size(self):
        for seed in range(12):
            rng = np.random.default_rng(seed)
            made = occluder(rng, np.array([0.1, 0.2, 0.5]), 0.12, 203)
            assert made.instance == 203
            reach = np.linalg.norm(made.vertices - [0.1, 0.2, 0.5], axis=1).max()
            assert 0.055 < reach < 0.12
            assert np.allclose(np.linalg.norm(made.normals, axis=1), 1)

    def test_materials_are_colours(self):
        rng = np.random.default_rng(1)
        for item in SCENE_OBJECTS.values():
            made = sample_material(item.surfaces, rng)
            assert made.surface in item.surfaces
            assert all(0 <= value <= 1 for value in (*made.albedo, made.roughness))


@pytest.mark.usefixtures("rigs")
class TestGrasps:
    @pytest.mark.parametrize("name", SCENE_OBJECTS)
    def test_fingers_touch_and_do_not_enter(self, name):
        side = "Right" if len(name) % 2 else "Left"
        item, rng = SCENE_OBJECTS[name], np.random.default_rng(len(name))
        rig = rig_from_shape(side, rng.normal(size=36).clip(-2, 2))
        grasped = grasp(rig, item, rng)
        assert np.allclose(grasped.rotation.T @ grasped.rotation, np.eye(3))
        assert np.isclose(np.linalg.det(grasped.rotation), 1)
        pose = RigPose(np.eye(3)[None], np.zeros((1, 3)), grasped.angles[None])
        (skin,), _ = rig.skin(pose)
        distances = item.solid.distances((skin - grasped.place) @ grasped.rotation)
        assert distances.min() > -0.002
        owners = rig.weights.argmax(1)
        reached = np.array([distances[np.isin(owners, chain)].min() for chain in FINGERS])
        assert (reached < 0.004).sum() >= 2
        assert penetration_depth([(rig, pose)]) <= DEPTH_M

    def test_one_seed_gives_one_grasp(self):
        rig = rig_from_shape("Right", np.zeros(36))
        one, other = (grasp(rig, SCENE_OBJECTS["cup"], np.random.default_rng(3)) for _ in range(2))
        assert np.array_equal(one.angles, other.angles)
        assert np.array_equal(one.place, other.place)
