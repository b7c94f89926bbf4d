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
