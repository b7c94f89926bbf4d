"""`sonjit hands --lift`: from an image to hands in camera space, and one line for each error."""

import json

import cv2
import numpy as np
import pytest

from sonjit.media import load_frames


@pytest.mark.slow
def test_hands_of_an_image_are_in_the_space_of_the_camera(sonjit, photo, weights, tmp_path):
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    plain, lifted = tmp_path / "plain.json", tmp_path / "lifted.json"
    assert sonjit("hands", tmp_path / "photo.png", "--save", plain)[0] == 0
    status, _, lines = sonjit(
        "hands", tmp_path / "photo.png", "--save", lifted, "--draw", tmp_path / "d.png", "--measures",
        "--lift", "internet", "--lift-weights", "demo",
    )  # fmt: skip
    assert status == 0
    assert any("camera assumed" in line for line in lines)
    assert json.loads(lifted.read_text("utf-8"))["model"] == "hands-full+internet"
    before, after = (load_frames(path)[1][0].hands for path in (plain, lifted))
    assert [hand.handedness for hand in after] == [hand.handedness for hand in before]
    assert before
    for one, other in zip(before, after, strict=True):
        assert (one.keypoints == other.keypoints).all()
        assert other.keypoints_3d.shape == (21, 3)
        assert (other.keypoints_3d[:, 2] > 0.1).all()  # from the lens, not from the hand


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lift", "internet"], "--lift internet needs its weights, --lift-weights FILE: the released snapshot_20"),
        (["--lift", "internet", "--lift-weights", "no.pth"], "no.pth: no such checkpoint"),
        (["--lift", "internet", "--lift-weights", "demo", "--camera", "1,2"], "camera '1,2': give fx,fy,cx,cy"),
        (["--lift", "internet", "--lift-weights", "demo", "--camera", "nan,1,2,3"], "all four numbers finite"),
        (["--lift", "internet", "--lift-weights", "demo", "--flip-horizontal"], "cannot be combined with --lift"),
        (["--camera", "600,600,320,240"], "--camera requires --distance or --lift internet"),
    ],
    ids=["no weights", "no such file", "half a camera", "no camera", "flipped", "no lift"],
)
def test_impossible_requests_are_refused_in_one_line(sonjit, tmp_path, options, message):
    cv2.imwrite(str(tmp_path / "photo.png"), np.zeros((8, 8, 3), np.uint8))
    status, _, lines = sonjit("hands", tmp_path / "photo.png", *options)
    assert status == 2
    assert len(lines) == 1
    assert message in lines[0]
