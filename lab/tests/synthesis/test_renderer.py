"""The renderer: labels at their exact positions, and smooth, lit and deterministic images."""

import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit._util.errors import InputError, JobError
from sonjit._util.extras import MissingExtraError
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_lab.hand_models.rig import RigPose
from sonjit_lab.synthesis import renderer as opengl
from sonjit_lab.synthesis.drawables import NO_PART, Drawable, Light, Lighting, Material
from sonjit_lab.synthesis.hand_appearance import HandAppearance
from sonjit_lab.synthesis.hands import SceneHand, drawables_from_hand, keypoints_from_hand
from sonjit_lab.synthesis.renderer import Renderer

SIZE = (64, 48)
LIGHTING = Lighting((Light((-0.5, -0.6, -0.62), (1.2, 1.1, 1.0), shadows=True),), (0.3, 0.3, 0.3))
BACKGROUND = np.full((48, 64, 3), (40, 90, 140), np.uint8)


@pytest.fixture(scope="module")
def drawn(renderer):
    """Return a function that draws a small image and returns its buffers."""

    def draw(drawables, camera, size=SIZE, lighting=LIGHTING, background=BACKGROUND):
        return renderer.render(drawables, camera, size, lighting, background)

    return draw


def camera(fx=70.0, fy=80.0, cx=33.3, cy=22.2, turn=(0, 0, 0), t=(0, 0, 0), distortion=None):
    K = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return CalibratedCamera(K, matrix_from_rotation_vector(np.array(turn, float)), np.array(t, float), distortion)


def flat(corners, instance=1, surface="cloth", part=None, **more):
    """Return a fan of triangles over corners (N, 3), visible from both sides."""
    corners = np.array(corners, float)
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    faces = np.array([[0, k, k + 1] for k in range(1, len(corners) - 1)])
    parts = None if part is None else np.full(len(corners), part, np.uint8)
    material = Material(surface, (0.5, 0.4, 0.3), **more)
    image = {"uv": np.clip(corners[:, :2] + 0.5, 0, 1)} if surface == "image" else {}
    normals = np.tile(normal / np.linalg.norm(normal), (len(corners), 1))
    return Drawable(corners, normals, faces, material, instance, parts=parts, **image)


def ball(middle, radius, instance=1, surface="plastic", rings=24, **more):
    """Return a closed sphere with counterclockwise faces seen from outside."""
    theta, phi = np.meshgrid(np.linspace(0, np.pi, rings), np.arange(2 * rings) * np.pi / rings, indexing="ij")
    normals = np.stack([np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)], -1).reshape(-1, 3)
    row, column = np.meshgrid(np.arange(rings - 1), np.arange(2 * rings), indexing="ij")
    a, b = row * 2 * rings + column, row * 2 * rings + (column + 1) % (2 * rings)
    faces = np.concatenate([np.stack([a, a + 2 * rings, b], -1), np.stack([b, a + 2 * rings, b + 2 * rings], -1)])
    material = Material(surface, (0.5, 0.4, 0.3), **more)
    return Drawable(np.array(middle) + radius * normals, normals, faces.reshape(-1, 3), material, instance)


def centres(size=SIZE):
    """Return pixel centres (H, W, 2)."""
    return np.stack(np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5), -1)


def cross(a, b):
    return a[0] * b[1] - a[1] * b[0]


def edge_distances(points, corners):
    """Return signed distances (..., 3) of pixels to the edges of a triangle, positive inside."""
    turns = np.roll(corners, -1, 0) - corners
    across = np.stack([-turns[:, 1], turns[:, 0]], -1) / np.linalg.norm(turns, axis=1)[:, None]
    signed = np.einsum("...ec,ec->...e", points[..., None, :] - corners, across)
    return signed * np.sign(cross(turns[0], turns[1]))


unit = st.floats(-1, 1, width=32)
cameras = st.builds(
    lambda f, c, turn, t: camera(70 + 20 * f[0], 80 + 30 * f[1], 32 + 20 * c[0], 24 + 20 * c[1], turn, t),
    st.tuples(unit, unit),
    st.tuples(unit, unit),
    st.tuples(unit, unit, unit).map(lambda each: np.array(each) * 0.2),
    st.tuples(unit, unit, unit).map(lambda each: np.array(each) * 0.05),
)
triangles = st.tuples(*[st.tuples(unit, unit, unit)] * 3).map(
    lambda rows: np.array(rows) * [0.3, 0.25, 0.15] + [0, 0, 0.6]
)


@given(camera=cameras, corners=triangles)
@settings(max_examples=40)
def test_triangle_lands_on_its_pixels(drawn, camera, corners):
    seen = camera.from_world(corners)
    pixels = camera.project(seen)
    sides = np.linalg.norm(np.roll(pixels, -1, 0) - pixels, axis=1)
    area = abs(cross(pixels[1] - pixels[0], pixels[2] - pixels[0])) / 2
    if area < 10 or area < sides.max() or seen[:, 2].min() < 0.1:
        return  # too thin to decide
    got = drawn([flat(corners, instance=7, part=3)], camera)
    inside = edge_distances(centres(), pixels).min(-1)
    clear = abs(inside) > 0.02
    assert (got.instances[clear] == np.where(inside > 0, 7, 0)[clear]).all()
    there = got.instances == 7
    assert (got.parts == np.where(there, 3, NO_PART)).all()
    assert ((got.depth > 0) == there).all()
    # depth and normal: where each pixel's ray meets the triangle's plane
    normal = np.cross(seen[1] - seen[0], seen[2] - seen[0])
    normal /= np.linalg.norm(normal)
    rays = np.concatenate([(centres() - camera.K[:2, 2]) / camera.K[[0, 1], [0, 1]], np.ones((*SIZE[::-1], 1))], -1)
    depth = (seen[0] @ normal) / (rays @ normal)
    steep = abs(rays @ normal) > 0.05
    assert (abs(got.depth - depth) <= 1e-4 * depth)[there & steep].all()
    facing = normal * -np.sign(seen[0] @ normal)
    assert abs(got.normals[there] - facing).max(initial=0) < 1e-4


def test_nearest_wins_whatever_the_order_and_names_are_not_mixed(drawn):
    rng = np.random.default_rng(3)
    balls = [ball((*rng.uniform(-0.2, 0.2, 2), rng.uniform(0.5, 0.8)), 0.06, name) for name in (1, 2, 101, 200, 250)]
    got, again = drawn(balls, camera()), drawn(balls[::-1], camera())
    assert set(np.unique(got.instances)) <= {0, 1, 2, 101, 200, 250}
    for name in ("instances", "depth", "rgb", "cover"):
        assert (getattr(got, name) == getattr(again, name)).all()
    single = [drawn([each], camera()) for each in balls]
    nearest = np.min([np.where(each.depth > 0, each.depth, np.inf) for each in single], axis=0)
    assert abs(got.depth - np.where(np.isfinite(nearest), nearest, 0)).max() < 1e-5


def test_lens_bends_the_image_as_the_camera_does(drawn):
    lens = np.array([-0.3, 0.12, 0.002, -0.003, -0.02])
    at = camera(60, 62, 30, 25, distortion=lens)
    places = np.array([[x, y, 0.6] for x in (-0.25, -0.1, 0.12, 0.26) for y in (-0.2, 0.05, 0.15)])
    dots = [ball(place, 0.02, number + 1, rings=10) for number, place in enumerate(places)]
    got = drawn(dots, at)
    for number, pixel in enumerate(at.project(places)):
        rows, columns = np.nonzero(got.instances == number + 1)
        assert np.array([columns.mean(), rows.mean()]) + 0.5 == pytest.approx(pixel, abs=0.5)


def test_what_a_lens_cannot_see_does_not_fold_in(drawn):
    at = camera(20, 20, 32, 24, distortion=np.array([-0.4, 0, 0, 0, 0]))
    assert not drawn([ball((3, 0, 0.6), 0.3)], at).instances.any()


def test_objects_outside_the_view_of_the_camera_are_not_drawn(drawn):
    got = drawn([ball((0, 0, -0.6), 0.1), ball((5, 0, 0.6), 0.1, 2)], camera())
    assert not got.instances.any()
    assert (got.rgb == BACKGROUND).all()
    assert (drawn([], camera()).rgb == BACKGROUND).all()


def test_shadows_fall_away_from_the_light(drawn):
    floor = flat([[-0.4, -0.3, 0.8], [0.4, -0.3, 0.8], [0.4, 0.3, 0.8], [-0.4, 0.3, 0.8]], 2)
    item = ball((-0.08, -0.06, 0.7), 0.04)
    dark = replace(LIGHTING, lights=(replace(LIGHTING.lights[0], shadows=False),))
    lit, shaded = (drawn([floor, item], camera(), lighting=each).rgb.astype(int).sum(-1) for each in (dark, LIGHTING))
    rows, columns = np.nonzero((lit - shaded) > 30)
    middle = camera().project(np.array([-0.08, -0.06, 0.7]))
    assert len(rows) > 20
    assert columns.mean() > middle[0]
    assert rows.mean() > middle[1]
    with Renderer(shadows=False) as without:
        plain = without.render([floor, item], camera(), SIZE, LIGHTING, BACKGROUND)
    assert abs(plain.rgb.astype(int).sum(-1) - lit).max() <= 3


@pytest.mark.slow
def test_same_call_same_bytes_in_threads_and_processes(drawn):
    first = _digest()
    assert first == _digest()
    with ThreadPoolExecutor(2) as pool:
        assert {pool.submit(_digest).result() for _ in range(2)} == {first}
        assert {each.result() for each in [pool.submit(_digest) for _ in range(4)]} == {first}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert pool.submit(_digest).result() == first


def _digest():
    with Renderer() as made:
        got = made.render([ball((0, 0, 0.6), 0.15, surface="skin")], camera(), SIZE, LIGHTING, BACKGROUND)
    return b"".join(getattr(got, name).tobytes() for name in ("rgb", "depth", "normals", "instances", "parts"))


@pytest.mark.nightly
@pytest.mark.slow
def test_hands_of_all_tones_are_found(drawn, hands, rigs):
    upright = np.array([[-1.0, 0, 0], [0, 0, 1], [0, 1, 0]]) @ rigs["Right"].frames[0].T  # palm to the camera
    pose = RigPose(upright[None], np.array([[0.02, 0.09, 0.4]]), np.zeros((1, 5, 3, 3)))
    grey = np.full((240, 320, 3), 105, np.uint8)
    for tone in range(1, 11):
        hand = SceneHand("Right", np.zeros(36), pose, HandAppearance(tone, amounts={"creases": 0.5, "nails": 0.8}))
        got = drawn(drawables_from_hand(hand, 1), camera(300, 300, 160, 120), (320, 240), background=grey)
        (found,) = hands(static_image=True).detect(got.rgb)
        assert found.handedness == "Right"
        truth = camera(300, 300, 160, 120).project(keypoints_from_hand(hand))
        assert np.linalg.norm(found.keypoints[:, :2] - truth, axis=1).mean() < 9


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"size": (0, 4)}, "0 x 4"),
        ({"lighting": Lighting(LIGHTING.lights * 5, (0, 0, 0))}, "5 lights"),
        ({"drawables": [replace(ball((0, 0, 1), 0.1), faces=np.array([[0, 1, 99999]]))]}, "99999"),
        ({"drawables": [replace(ball((0, 0, 1), 0.1), instance=0)]}, "instance 0"),
        ({"drawables": [replace(ball((0, 0, 1), 0.1), material=Material("image", (1, 1, 1)))]}, "Material.image"),
    ],
)
def test_errors_of_drawing_are_reported(drawn, change, says):
    arguments = {"drawables": [], "camera": camera()} | change
    with pytest.raises(InputError, match=says):
        drawn(**arguments)
    assert drawn([ball((0, 0, 0.6), 0.1)], camera()).instances.any()


def test_missing_opengl_is_reported_with_the_package(monkeypatch):
    monkeypatch.setattr(opengl, "_EGL", "libnone.so.1")
    with pytest.raises(JobError, match="apt-get install libegl1 libgl1-mesa-dri"):
        Renderer()
    monkeypatch.setitem(sys.modules, "moderngl", None)
    with pytest.raises(MissingExtraError, match=r"lab\[synth\]"):
        Renderer()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs the names of a process's threads")
def test_mesa_draws_in_the_calling_thread(renderer):
    """Avoid threads of llvmpipe, which may signal a fence that the caller has freed and crash the process."""
    script = """
from pathlib import Path
from sonjit_lab.synthesis.renderer import Renderer
with Renderer():
    print([name for task in Path("/proc/self/task").iterdir() if "llvmpipe" in (name := (task / "comm").read_text())])
"""
    environment = {name: value for name, value in os.environ.items() if name != "LP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == "[]\n"


@pytest.mark.slow
def test_an_optimizer_may_be_made_after_a_image(renderer):
    """Check that Mesa and Triton, which the first optimizer loads, work with their own LLVM each."""
    pytest.importorskip("torch", reason="torch is not installed")
    script = """
from sonjit_lab.synthesis.renderer import open_context
context = open_context()
program = context.program(
    "#version 330\\nvoid main() { gl_Position = vec4(0.0); }",
    "#version 330\\nout vec4 c;\\nvoid main() { c = vec4(1.0); }",
)
target = context.simple_framebuffer((4, 4))
target.use()
context.vertex_array(program, []).render(vertices=3)
target.read()
import torch
torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
