"""Meshes over an image: position, depth order, and light from the upper left."""

import numpy as np
import pytest

from sonjit.media.drawing.instances import draw_mesh

WHITE = (255, 255, 255)


def ball(centre, radius, depth=0.0, rings=24):
    """Return a sphere in pixels with outward faces, x right, y down, z away."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, rings, False), indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1)
    index = np.arange(rings * rings).reshape(rings, rings)
    a, b = index[:-1], index[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])
    return points.reshape(-1, 3) * radius + (*centre, depth), faces


@pytest.mark.parametrize("radius", [6, 40, 300])
def test_covers_its_outline_and_no_more(radius):
    size = radius * 3
    canvas = np.zeros((size, size, 3), np.uint8)
    vertices, faces = ball((size / 2, size / 2), radius)
    draw_mesh(canvas, vertices, faces, WHITE, opacity=1)
    y, x = np.mgrid[:size, :size] + 0.5
    far = np.hypot(x - size / 2, y - size / 2)
    margin = 1.5 + radius * 0.02
    assert (canvas[far < radius - margin] > 20).all()
    assert not canvas[far > radius + margin].any()


def test_light_comes_from_the_upper_left():
    canvas = np.zeros((120, 120, 3), np.uint8)
    draw_mesh(canvas, *ball((60, 60), 40), (200, 120, 60))
    assert canvas[40, 40, 0] > canvas[80, 80, 0] + 30
    assert canvas[60, 60, 0] > canvas[60, 60, 1] > canvas[60, 60, 2]


def test_near_parts_hide_far_ones():
    canvas = np.zeros((100, 100, 3), np.uint8)
    near, faces = ball((50, 50), 15, depth=-60)
    far, _ = ball((50, 50), 40, depth=0)
    both = np.concatenate([near, far]), np.concatenate([faces, faces + len(near)])
    lone = canvas.copy()
    draw_mesh(canvas, *both, WHITE)
    draw_mesh(lone, near, faces, WHITE)
    assert np.abs(canvas[45:55, 45:55].astype(int) - lone[45:55, 45:55]).max() <= 3
    swapped = np.concatenate([far, near]), np.concatenate([faces, faces + len(far)])
    other = np.zeros_like(canvas)
    draw_mesh(other, *swapped, WHITE)
    assert np.abs(canvas.astype(int) - other).max() <= 3


def test_opacity_lets_the_image_through():
    dark, light = np.zeros((60, 60, 3), np.uint8), np.full((60, 60, 3), 255, np.uint8)
    for canvas in (dark, light):
        draw_mesh(canvas, *ball((30, 30), 20), WHITE, opacity=0.5)
    apart = light[30, 30].astype(int) - dark[30, 30]
    assert np.allclose(apart, 127, atol=3)


@pytest.mark.parametrize("centre", [(-500, 20), (20, 900), (1, 1), (63, 40)])
def test_leaves_the_image(centre):
    canvas = np.zeros((48, 64, 3), np.uint8)
    draw_mesh(canvas, *ball(centre, 20), WHITE)
    inside = 0 <= centre[0] < 64 and 0 <= centre[1] < 48
    assert canvas.any() == inside
