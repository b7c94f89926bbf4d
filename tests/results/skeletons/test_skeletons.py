import re
from importlib import resources
from pathlib import Path

import pytest

from sonjit import InputError
from sonjit.results.skeletons import load_skeleton

KNOWN = sorted(
    entry.name.removesuffix(".json")
    for entry in resources.files("sonjit.results.skeletons").iterdir()
    if entry.name.endswith(".json") and entry.name.removesuffix(".json")[-1].isdigit()
)


@pytest.fixture(params=KNOWN)
def skeleton(request):
    return load_skeleton(request.param)


def test_names_are_unique_and_have_one_parent_each(skeleton):
    assert len(skeleton.keypoints) == len(skeleton.parents)
    if is_mesh(skeleton):
        return
    assert len(set(skeleton.keypoints)) == len(skeleton.keypoints)
    assert [skeleton.keypoints[skeleton.index(name)] for name in skeleton.keypoints] == list(skeleton.keypoints)


def is_mesh(skeleton):
    """Return whether points are named by contour and therefore share names."""
    return "" in skeleton.keypoints


def test_parents_lead_to_the_one_root(skeleton):
    if not skeleton.bones:  # a rigid face: points without a chain
        assert set(skeleton.parents) == {-1}
        return
    assert skeleton.parents.count(-1) == 1
    for keypoint in range(len(skeleton.keypoints)):
        steps = 0
        while skeleton.parents[keypoint] >= 0:
            keypoint, steps = skeleton.parents[keypoint], steps + 1
            assert steps < len(skeleton.keypoints), "a circle"


def test_connections_and_groups_are_of_its_keypoints(skeleton):
    indices = set(range(len(skeleton.keypoints)))
    pairs = [frozenset(pair) for pair in skeleton.connections]
    assert len(set(pairs)) == len(pairs)
    assert all(len(pair) == 2 and pair <= indices for pair in pairs)
    assert all(set(members) <= indices for members in skeleton.groups.values())
    assert {(skeleton.parents[child], child) for _, child in skeleton.bones} == set(skeleton.bones)
    assert len(skeleton.bones) == (len(skeleton.keypoints) - 1 if skeleton.bones else 0)


def test_a_face_mesh_names_the_points_of_its_contours_and_only_those():
    for skeleton in map(load_skeleton, filter(lambda name: name.startswith("face_mediapipe"), KNOWN)):
        for index, name in enumerate(skeleton.keypoints):
            assert [group for group, members in skeleton.groups.items() if index in members] == ([name] if name else [])
        drawn = {index for pair in skeleton.connections for index in pair}
        assert drawn == {index for index, name in enumerate(skeleton.keypoints) if name}


def test_a_hand_has_tfjs_models_names_and_fingers():
    hand = load_skeleton("hand_mediapipe21")
    long_fingers = ("index_finger", "middle_finger", "ring_finger", "pinky_finger")
    names = ["wrist", *(f"thumb_{joint}" for joint in ("cmc", "mcp", "ip", "tip"))]
    names += [f"{finger}_{joint}" for finger in long_fingers for joint in ("mcp", "pip", "dip", "tip")]
    assert hand.keypoints == tuple(names)
    assert list(hand.groups) == ["thumb", "indexFinger", "middleFinger", "ringFinger", "pinky"]
    for finger, (base, *joints) in hand.groups.items():
        assert hand.parents[base] == 0, finger
        assert [hand.parents[joint] for joint in joints] == [base, *joints[:-1]]
        assert {(base + i, base + i + 1) for i in range(3)} <= set(hand.connections)


def test_it_is_read_once():
    assert load_skeleton("hand_mediapipe21") is load_skeleton("hand_mediapipe21")


@pytest.mark.parametrize("name", ["nope", "", "../hand_mediapipe21", "__init__"])
def test_an_unknown_skeleton_lists_the_known_ones(name):
    with pytest.raises(InputError, match=r"Unknown skeleton .*Choose from .*hand_mediapipe21"):
        load_skeleton(name)


def test_an_unknown_keypoint_lists_the_known_ones(skeleton):
    with pytest.raises(
        InputError, match=f"{skeleton.name} has no keypoint 'elbow'. Choose from {skeleton.keypoints[0]}"
    ):
        skeleton.index("elbow")


def test_the_drawn_hand_has_every_keypoint_by_number_and_name():
    drawn = (Path(__file__).parents[3] / "docs/images/hand_keypoints.svg").read_text("utf-8")
    texts = re.findall(r">([^<>\n]+)</text>", drawn)
    names = load_skeleton("hand_mediapipe21").keypoints
    assert [text for text in texts if not text.isdecimal()] == list(names)
    assert sorted(text for text in texts if text.isdecimal()) == sorted(2 * [str(number) for number in range(21)])
