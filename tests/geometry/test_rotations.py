"""Rotations convert between forms without loss, and cameras project and are read from text."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from sonjit import InputError
from sonjit.geometry import rotations
from sonjit.geometry.cameras import Intrinsics, assumed_camera, camera_from_text, translation_to_view

VECTORS = st.lists(st.floats(-6, 6), min_size=3, max_size=3).map(np.array)


def turned(quaternion, vector):
    """Return q v q* in vector form."""
    w, axis = quaternion[0], quaternion[1:]
    twice = 2 * np.cross(axis, vector)
    return vector + w * twice + np.cross(axis, twice)


@given(VECTORS, VECTORS)
def test_quaternion_turns_as_its_matrix(vector, point):
    matrix = rotations.matrix_from_rotation_vector(vector)
    assert np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    quaternion = rotations.quaternion_wxyz_from_matrix(matrix)
    assert np.linalg.norm(quaternion) == pytest.approx(1)
    assert np.allclose(turned(quaternion, point), matrix @ point, atol=1e-9)
    assert np.allclose(rotations.matrix_from_quaternion_wxyz(quaternion), matrix, atol=1e-9)
    assert np.allclose(
        rotations.matrix_from_rotation_vector(rotations.rotation_vector_from_matrix(matrix)), matrix, atol=1e-9
    )


def zxy_matrix(angles):
    z, x, y = (rotations.matrix_from_rotation_vector(angles[:, [k]] * np.eye(3)[[2, 0, 1][k]]) for k in range(3))
    return z @ x @ y


@pytest.mark.parametrize("turns", [(3.0, 0.2, -2.0), (0.3, 3.0, 0.1), (0.0, 2.0, 1.0)])
def test_angles_of_a_motion_have_no_jumps_and_turn_as_its_matrices(turns):
    """Turn about all axes more than once, also through the pose in which z and y share an axis."""
    angles = 2 * np.pi * np.linspace(0, 1, 400)[:, None] * turns
    matrices = zxy_matrix(angles)
    found = rotations.continuous_zxy_angles(matrices)
    np.testing.assert_allclose(zxy_matrix(found), matrices, atol=1e-9)
    np.testing.assert_allclose(found, angles, atol=1e-6)
    assert np.abs(np.diff(rotations.zxy_angles_from_matrix(matrices), axis=0)).max() > 3


@pytest.mark.parametrize("side", [1, -1])
def test_z_stays_where_z_and_y_share_an_axis(side):
    angles = np.array([(0.4, side * 1.4, 0.2), (0.5, side * np.pi / 2, 0.3), (0.5, side * 1.4, 0.3)])
    found = rotations.continuous_zxy_angles(zxy_matrix(angles))
    np.testing.assert_allclose(found[:, 0], [0.4, 0.4, 0.5], atol=1e-6)
    np.testing.assert_allclose(zxy_matrix(found), zxy_matrix(angles), atol=1e-6)


@pytest.mark.parametrize("axis", range(3))
def test_half_turns(axis):
    vector = np.zeros(3)
    vector[axis] = np.pi
    quaternion = rotations.quaternion_wxyz_from_matrix(rotations.matrix_from_rotation_vector(vector))
    assert np.allclose(np.abs(quaternion), np.eye(4)[1 + axis], atol=1e-12)


@given(VECTORS, VECTORS, st.booleans())
def test_alignment_finds_what_was_done(vector, shift, flat):
    points = np.random.default_rng(5).normal(size=(7, 3)) * (1, 1, 0 if flat else 1)
    rotation = rotations.matrix_from_rotation_vector(vector)
    found, translation = rotations.align_rigidly(points, (points @ rotation.T + shift)[None])
    assert np.allclose(found, rotation, atol=1e-7)
    assert np.allclose(translation, shift, atol=1e-7)


def test_alignment_never_mirrors():
    points = np.random.default_rng(5).normal(size=(7, 3))
    found, _ = rotations.align_rigidly(points, points * (-1, 1, 1))
    assert np.linalg.det(found) == pytest.approx(1)


focal = st.floats(200, 3000)
cameras = st.builds(Intrinsics, focal, focal, st.floats(0, 2000), st.floats(0, 2000))
clouds = st.integers(0, 10**6).map(lambda seed: np.random.default_rng(seed).normal(0, 0.06, (21, 3)))
places = st.tuples(st.floats(-0.5, 0.5), st.floats(-0.5, 0.5), st.floats(0.5, 3)).map(np.array)


@given(cameras, clouds, places)
def test_pixels_and_depths_give_the_points_back(camera, points, place):
    points = points + place
    np.testing.assert_allclose(camera.back_project(camera.project(points), points[:, 2]), points, atol=1e-9)


@given(cameras, clouds, places)
def test_known_points_are_put_where_they_are_seen(camera, points, place):
    shift = translation_to_view(points, camera.project(points + place), camera)
    np.testing.assert_allclose(shift, place, atol=1e-4)


def test_points_that_are_seen_mirrored_stand_nowhere():
    camera, points = assumed_camera(640, 480), np.random.default_rng(0).normal(0, 0.06, (21, 3))
    points[:, 2] = 0
    xy = camera.project(points + np.array([0, 0, 1]))
    assert translation_to_view(points, 2 * np.array([320, 240]) - xy, camera) is None
    assert translation_to_view(points, np.full_like(xy, np.nan), camera) is None


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_an_assumed_camera_sees_60_degrees_across_the_longer_side(width, height):
    camera = assumed_camera(width, height)
    edges = camera.back_project(np.array([[0, height / 2], [width, height / 2], [width / 2, 0]]), np.ones(3))
    assert np.degrees(np.arctan(abs(edges).max(0)[:2])).max() == pytest.approx(30)
    assert camera.fx == camera.fy


def test_a_camera_is_read_from_text():
    assert camera_from_text("608, 609,320.5,240") == Intrinsics(608, 609, 320.5, 240)


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "a,b,c,d"])
def test_other_text_is_refused(text):
    with pytest.raises(InputError, match="give fx,fy,cx,cy in pixels"):
        camera_from_text(text)


@pytest.mark.parametrize("text", ["0,600,3,4", "600,-1,3,4", "nan,600,3,4", "600,600,inf,4"])
def test_impossible_cameras_are_refused(text):
    with pytest.raises(InputError, match="focal lengths must be above 0, and all four numbers finite"):
        camera_from_text(text)


SOME = np.random.default_rng(8)


@given(VECTORS, VECTORS, st.floats(0.1, 9))
def test_a_similar_fit_finds_rotation_scale_and_place_from_weighted_points(vector, place, scale):
    points = np.random.default_rng(5).normal(2, 1, (7, 3))
    weights = np.array([1, 2, 3, 1, 2, 0, 0.5])
    turned = scale * rotations.matrix_from_rotation_vector(vector)
    target = points @ turned.T + place
    target[5] = 99  # it has no weight
    fit = rotations.SimilarFit(points, weights)
    assert fit.scale(target - target[0]) == pytest.approx(scale)
    expected = np.block([[turned, np.reshape(place, (3, 1))], [np.zeros((1, 3)), np.ones((1, 1))]])
    np.testing.assert_allclose(fit.matrix(target), expected, atol=1e-6)


def test_a_similar_fit_weighs_misfits_and_never_mirrors():
    points, weights = SOME.normal(size=(9, 3)), SOME.uniform(0.1, 2, 9)
    for target in (points * (-1, 1, 1), points + SOME.normal(0, 0.3, (9, 3))):
        fit = rotations.SimilarFit(points, weights)
        matrix = fit.matrix(target)
        scale = np.cbrt(np.linalg.det(matrix[:3, :3]))
        assert scale == pytest.approx(fit.scale(target - weights @ target / weights.sum()))
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, scale**2 * np.eye(3), atol=1e-9)

        def misfit(matrix, target=target):
            return weights @ np.square(points @ matrix[:3, :3].T + matrix[:3, 3] - target).sum(1)

        for axis in np.eye(3):  # it is the least one of its neighbours
            for step in (-0.01, 0.01):
                turn = np.eye(4)
                turn[:3, :3] = rotations.matrix_from_rotation_vector(step * axis)
                shift, scaled = np.eye(4), np.diag([1 + step, 1 + step, 1 + step, 1])
                shift[:3, 3] = step * axis
                assert all(misfit(matrix) < misfit(matrix @ change) for change in (turn, shift, scaled))


@pytest.mark.parametrize("level", [0.0, 40.0])
def test_the_pose_of_a_face_is_found_from_its_pixels(level):
    """Look at a rigid face through a camera of 63 degrees in height, with z in pixels from any level."""
    points, weights = SOME.normal(0, 5, (468, 3)), np.zeros(468)
    weights[::40] = SOME.uniform(0.5, 2, 12)
    pose = np.eye(4)
    pose[:3, :3] = rotations.matrix_from_rotation_vector(np.array([0.2, -0.4, 0.1]))
    pose[:3, 3] = 4, -3, -60
    seen = points @ pose[:3, :3].T + pose[:3, 3]
    depth = -seen[:, 2:]
    pixel = 2 * np.tan(np.radians(63) / 2) / 480
    pixels = np.hstack([seen[:, :2] / depth * (1, -1) / pixel + (320, 240), (depth / depth.mean() - 1) / pixel + level])
    face = rotations.CanonicalFace(points, weights)
    np.testing.assert_allclose(rotations.face_transform(pixels, face, 640, 480), pose, atol=1e-6)
    iris = np.vstack([pixels, np.full((10, 3), 500)])
    np.testing.assert_allclose(rotations.face_transform(iris, face, 640, 480), pose, atol=1e-6)


def test_normals_are_the_means_of_the_faces_around_by_their_areas():
    vertices = np.array([[0, 0, 0], [3, 0, 0], [0, 1, 0], [0, 0, -2], [9, 9, 9]], np.float32)
    faces = np.array([[0, 1, 2], [0, 2, 3]])  # areas 1.5 and 1, towards z and -x
    unit = np.array([-2, 0, 3]) / np.sqrt(13)
    expected = [unit, [0, 0, 1], unit, [-1, 0, 0], [0, 0, -1]]
    np.testing.assert_allclose(rotations.vertex_normals(vertices, faces), expected, atol=1e-12)
    np.testing.assert_allclose(rotations.vertex_normals(vertices, faces[:, ::-1])[:2], [-unit, [0, 0, -1]], atol=1e-12)


def test_normals_of_any_mesh_are_sums_of_cross_products():
    rng = np.random.default_rng(8)
    vertices, faces = rng.normal(size=(12, 3)), rng.permuted(np.tile(np.arange(12), (20, 1)), axis=1)[:, :3]
    sums = np.zeros((12, 3))
    for a, b, c in faces:
        sums[[a, b, c]] += np.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
    expected = sums / np.linalg.norm(sums, axis=1, keepdims=True)
    np.testing.assert_allclose(rotations.vertex_normals(vertices, faces), expected, atol=1e-9)


def fitted(source, target, weights):
    """Return scale, rotation (3, 3) and translation (3,) of the weighted fit, with the rotation of SciPy."""
    share = weights / weights.sum()
    from_mean, to_mean = share @ source, share @ target
    turn = Rotation.align_vectors(target - to_mean, source - from_mean, share)[0].as_matrix()
    spread = share @ np.square(source - from_mean).sum(1)
    scale = share @ ((source - from_mean) @ turn.T * (target - to_mean)).sum(1) / spread
    return scale, turn, to_mean - scale * turn @ from_mean


def test_a_similar_fit_of_points_that_do_not_fit_is_that_of_scipy():
    for mirrored in (1, -1):
        points, weights = SOME.normal(size=(11, 3)), SOME.uniform(0.1, 2, 11)
        target = points * (mirrored, 1, 1) + SOME.normal(0, 0.4, (11, 3)) + (3, 4, 5)
        scale, turn, shift = fitted(points, target, weights)
        matrix = rotations.SimilarFit(points, weights).matrix(target)
        np.testing.assert_allclose(matrix[:3], np.column_stack([scale * turn, shift]), atol=1e-9)
        np.testing.assert_array_equal(matrix[3], (0, 0, 0, 1))
        assert rotations.SimilarFit(points, weights).scale(target) == pytest.approx(scale)
        rotation, translation = rotations.align_rigidly(np.stack([points, -points]), np.stack([target, target]))
        for one, sign in zip(range(2), (1, -1), strict=True):
            expected = fitted(sign * points, target, np.ones(11))[1]
            np.testing.assert_allclose(rotation[one], expected, atol=1e-9)
            np.testing.assert_allclose(translation[one], target.mean(0) - expected @ (sign * points.mean(0)), atol=1e-9)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (300, 900)])
def test_the_pose_of_a_face_that_does_not_fit_is_found_in_the_steps_of_mediapipe(width, height):
    """Scale on the near plane, scale in space for its depths, and then the fit for the product of both."""
    points, weights = SOME.normal(0, 5, (468, 3)), np.zeros(468)
    weights[::30] = SOME.uniform(0.5, 2, 16)
    used, own = weights > 0, weights[weights > 0]
    seen = points * (3, -3, -3) + SOME.normal(0, 1, (468, 3)) + (width / 3, height / 2, 11)
    high = math.tan(math.radians(31.5))  # half the height of the near plane, at a depth of 1
    plane = (seen * (1, -1, 1) + (-width / 2, height / 2, 0)) * 2 * high / height
    level = plane[:, 2].mean()

    def in_space(scale):
        depth = (plane[used, 2] - level + 1) / scale
        return np.column_stack([plane[used, 0] * depth, plane[used, 1] * depth, -depth])

    flat = fitted(points[used], plane[used] * (1, 1, -1), own)[0]
    scale = flat * fitted(points[used], in_space(flat), own)[0]
    size, turn, shift = fitted(points[used], in_space(scale), own)
    found = rotations.face_transform(seen, rotations.CanonicalFace(points, weights), width, height)
    np.testing.assert_allclose(found[:3], np.column_stack([size * turn, shift]), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_rotations_convert_as_those_of_scipy(shape):
    turns = Rotation.random(math.prod(shape), random_state=3)
    matrices = turns.as_matrix().reshape(*shape, 3, 3)
    vectors = turns.as_rotvec().reshape(*shape, 3)
    np.testing.assert_allclose(rotations.matrix_from_rotation_vector(vectors), matrices, atol=1e-12)
    np.testing.assert_allclose(rotations.rotation_vector_from_matrix(matrices), vectors, atol=1e-9)
    quaternions = rotations.quaternion_wxyz_from_matrix(matrices)
    expected = np.roll(turns.as_quat(), 1, -1).reshape(*shape, 4)
    assert quaternions.shape == expected.shape
    np.testing.assert_allclose(np.abs((quaternions * expected).sum(-1)), 1)
    angles = turns.as_euler("ZXY").reshape(*shape, 3)
    np.testing.assert_allclose(rotations.zxy_angles_from_matrix(matrices), angles, atol=1e-9)
    for quaternion, matrix in zip(quaternions.reshape(-1, 4), matrices.reshape(-1, 3, 3), strict=True):
        np.testing.assert_allclose(rotations.matrix_from_quaternion_wxyz(quaternion), matrix, atol=1e-12)


@pytest.mark.parametrize("axis", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0.6, 0, 0.8), (2 / 3, -1 / 3, 2 / 3)])
@pytest.mark.parametrize("angle", [0.0, 1e-9, 1e-4, 2.0, 3.0, math.pi - 1e-5, math.pi])
def test_small_and_half_turns_convert_without_loss(axis, angle):
    vector = angle * np.array(axis)
    matrix = Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(rotations.matrix_from_rotation_vector(vector), matrix, atol=1e-12)
    found = rotations.rotation_vector_from_matrix(matrix)
    assert min(np.abs(found - vector).max(), np.abs(found + vector).max() + (angle < 3.14159265)) < 1e-7
    assert np.linalg.norm(found) <= math.pi + 1e-9


@pytest.mark.parametrize("x", [math.pi / 2, -math.pi / 2, math.pi / 2 - 2e-7, -math.pi / 2 + 2e-7, math.pi / 2 - 5e-8])
def test_z_has_the_full_angle_where_z_and_y_share_an_axis(x):
    given = np.array([0.4, x, 0.3])
    matrix = Rotation.from_euler("ZXY", given).as_matrix()
    z, found_x, y = rotations.zxy_angles_from_matrix(matrix)
    is_locked = abs(abs(x) - math.pi / 2) < 1e-7
    expected = (0.4 + math.copysign(0.3, x), 0) if is_locked else (0.4, 0.3)
    assert (z, y) == pytest.approx(expected, abs=2e-7 if is_locked else 1e-6)
    assert found_x == pytest.approx(x, abs=1e-7)
    assert rotations.zxy_angles_from_matrix(np.diag([1.0, 1, 1]) * 1.0000001).tolist() == [0, 0, 0]
