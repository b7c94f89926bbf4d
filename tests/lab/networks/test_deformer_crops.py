"""Crops and boxes of Deformer compared with the reference."""

import numpy as np
import pytest

from sonjit import InputError
from sonjit.geometry.boxes import crop_matrix, inverse_affine
from sonjit.lab.networks.deformer import Corners, box_around, crop_square, joints_in_box


@pytest.mark.golden
def test_crops_are_the_references(data):
    path = data / "goldens/networks/protocols_mesh.npz"
    if not path.is_file():
        pytest.skip(f"no {path}")
    with np.load(path) as golden:
        hand, thing = box_around(golden["def.joints"]), box_around(golden["def.obj"])
        np.testing.assert_allclose(hand, golden["def.hand_bbox"], atol=1e-3)
        np.testing.assert_allclose(thing, golden["def.obj_bbox"], atol=1e-3)
        for rotation, name in ((0.0, "norot"), (0.7, "rot0.7")):
            square = crop_square(hand, 640, 480, thing, -rotation)
            assert (square.cx, square.cy) == tuple(golden["def.center"])
            np.testing.assert_allclose([square.width, square.height], golden["def.scale"], rtol=1e-6)
            matrix = inverse_affine(crop_matrix(square, 512, 512))
            np.testing.assert_allclose(matrix, golden[f"def.affine_{name}"][:2], atol=1e-3)
        box = box_around(golden["def.joints_t"])
        np.testing.assert_allclose(box, golden["def.bbox_hand"], atol=1e-3)
        np.testing.assert_allclose(joints_in_box(golden["def.joints_t"], box), golden["def.joints_norm"], atol=1e-5)


def test_crops_stay_in_the_image_or_are_refused():
    hand = Corners(-20, 30, 100, 90)
    square = crop_square(hand, 640, 480)
    assert square == (50, 60, 100, 100, 0)
    assert hand.clip(80, 480) == (0, 30, 80, 90)
    with pytest.raises(InputError, match=r"the box \(700, 10, 800, 60\) is outside the image of 640 x 480"):
        crop_square(Corners(700, 10, 800, 60), 640, 480)
    points = np.array([[0, 30], [50, 60], [-21, 60], [101, 60]])
    assert joints_in_box(points, hand).tolist() == [
        [pytest.approx(1 / 6), 0],
        [pytest.approx(7 / 12), 0.5],
        *[[-1, -1]] * 2,
    ]
