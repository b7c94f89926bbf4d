import pytest

from sonjit.results.skeletons import list_skeletons, load_skeleton, mirrored_order, side_of_name


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (["nose", "left_eye", "right_eye"], [0, 2, 1]),
        (["LeftEye", "RightEye", "eyeLeft", "eyeRight"], [1, 0, 3, 2]),
        (["l_hip", "r_hip", "hip.L", "hip.R", "LKnee", "RKnee", "toeL", "toeR"], [1, 0, 3, 2, 5, 4, 7, 6]),
        (["left_hand_wrist", "right_hand_wrist"], [1, 0]),
        (["bright", "l", "r", "left_only", "leg", "reg", "clip", "crip"], [0, 2, 1, 3, 4, 5, 6, 7]),
        (["L", "M", "R"], [0, 1, 2]),
        (["lh", "rh", "none"], [1, 0, 2]),
        (["왼손", "오른손"], [1, 0]),
        (["gauche", "droite", "main gauche", "main droite"], [1, 0, 3, 2]),
        (["Linke Hand", "Rechte Hand", "左手", "右手"], [1, 0, 3, 2]),
        (["", "", "left", "right"], [0, 1, 3, 2]),
    ],
)
def test_sides_follow_from_names(names, order):
    assert mirrored_order(names) == order


@pytest.mark.parametrize(
    "left", ["left_hand", "LeftHand", "hand.L", "LH", "lhand", "lefthand", "Hand (left)", "왼손", "左手"]
)
def test_the_side_of_a_name_is_read(left):
    right = {"왼손": "오른손", "左手": "右手"}.get(left)
    pairs = (("left", "right"), ("Left", "Right"), ("L", "R"), ("l", "r"))
    right = right or next(left.replace(a, b, 1) for a, b in pairs if a in left)
    assert (side_of_name(left), side_of_name(right)) == ("Left", "Right")
    assert all(side_of_name(name) is None for name in ("hand", "bright", "clip", "left_right", "handle", ""))


def test_the_mirror_of_the_mirror_is_the_skeleton():
    for name in list_skeletons():
        names = load_skeleton(name).keypoints
        order = mirrored_order(names)
        assert [order[index] for index in order] == list(range(len(names))) or len(set(names)) < len(names)
