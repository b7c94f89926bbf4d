"""Photographs with manual labels, over drawn images."""

import json

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.datasets import open_dataset

HAND = {"box": [10, 20, 40, 60], "side": "Left", "clear": True, "hidden": 0.25, "view": "back", "note": "rings"}
PERSON = {"box": [5, 5, 90, 75], "face": [50, 10, 70, 30], "clear": True, "face_clear": False, "note": ""}


@pytest.fixture
def folder(tmp_path):
    """Return a function that writes two images of 100 x 80 with the given labels."""
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((80, 100, 3), 90, np.uint8))

    def write(**labels):
        for name, content in labels.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return write


def image(**labels):
    return {"width": 100, "height": 80} | labels


def test_an_image_has_hands_people_and_faces(folder):
    root = folder(
        hands={"_rules": {}, "a.png": image(hands=[HAND], crowd=[[60, 0, 90, 20]])},
        people={"a.png": image(people=[PERSON]), "b.png": image(people=[])},
    )
    first, second = open_dataset("photographs", root, check="all")
    assert first.rgb().shape == (80, 100, 3)
    assert [instance.kind for instance in first.instances] == ["hand", "hand", "body", "face"]
    hand, crowd, body, face = first.instances
    assert (hand.side, hand.box) == ("Left", (10, 20, 40, 60))
    assert hand.extra == {"clear": True, "hidden": 0.25, "view": "back", "note": "rings"}
    assert [one.crowd for one in (hand, crowd)] == [False, True]
    assert [one.extra["clear"] for one in (body, face)] == [True, False]
    assert face.box == (50, 10, 70, 30)
    assert first.tags["labelled"] == ["hand", "body", "face"]
    assert second.tags["labelled"] == ["body", "face"]


def test_only_a_box_must_be_there(folder):
    (sample,) = open_dataset("photographs", folder(hands={"a.png": image(hands=[{"box": [1, 2, 3, 4]}])}))
    (hand,) = sample.instances
    assert hand.side is None
    assert hand.extra == {"clear": True}


def test_halves_to_choose_on_and_to_report(folder):
    hands = {"_split": {"choose": ["b.png"], "report": ["a.png"]}} | dict.fromkeys(["a.png", "b.png"], image(hands=[]))
    root = folder(hands=hands)
    names = {
        split: [sample.id for sample in open_dataset("photographs", root, split)] for split in ("choose", "report")
    }
    assert names == {"choose": ["b.png"], "report": ["a.png"]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": [40, 20, 10, 60]}, "is empty"),
        ({"box": [40, 20, 10]}, "sample 0"),
        ({"side": "left"}, "side is 'left'"),
    ],
)
def test_bad_labels_are_named(folder, change, message):
    root = folder(hands={"a.png": image(hands=[HAND | change])})
    with pytest.raises(InputError, match=message):
        open_dataset("photographs", root)


def test_sizes_must_agree(folder):
    root = folder(hands={"a.png": image(hands=[])}, people={"a.png": image(people=[], width=90)})
    with pytest.raises(InputError, match="two sizes"):
        open_dataset("photographs", root)


def test_a_folder_without_labels_names_the_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"hands\.json is missing"):
        open_dataset("photographs", tmp_path)
