import pytest

from sonjit.results.skeletons import list_skeletons, load_skeleton, mirrored_order


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["nose", "left_eye", "right_eye"], [0, 2, 1]),
        (["LeftEye", "RightEye", "eyeLeft", "eyeRight"], [1, 0, 3, 2]),
        (["l_hip", "r_hip", "hip.L", "hip.R", "LKnee", "RKnee", "toeL", "toeR"], [1, 0, 3, 2, 5, 4, 7, 6]),
        (["left_hand_wrist", "right_hand_wrist"], [1, 0]),
        (["bright", "l", "r", "left_only", "leg", "reg", "clip", "crip"], [0, 1, 2, 3, 4, 5, 6, 7]),
        (["", "", "left", "right"], [0, 1, 3, 2]),
    ],
)
def test_sides_follow_from_names(names, order):
    assert mirrored_order(names) == order


def test_the_mirror_of_the_mirror_is_the_skeleton():
    for name in list_skeletons():
        names = load_skeleton(name).keypoints
        order = mirrored_order(names)
        assert [order[index] for index in order] == list(range(len(names))) or len(set(names)) < len(names)
