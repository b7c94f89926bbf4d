"""Held-out samples: no subject, recording or image file on both sides, and a line that says what separates them."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit_lab.datasets import open_dataset
from sonjit_lab.datasets.dataset import Identity
from sonjit_lab.datasets.splits import hold_out, identities, split_report

PEOPLE = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3)), min_size=2, max_size=120)


def folder_identities(people):
    return [
        Identity(f"{index}.png", f"s{subject}", f"take{take}", Path(f"{index}.png"), "folder")
        for index, (subject, take) in enumerate(people)
    ]


def sides(source, chosen):
    held_out = set(chosen.tolist())
    return [item for index, item in enumerate(source) if index not in held_out], [source[i] for i in sorted(held_out)]


@given(PEOPLE.filter(lambda people: len({subject for subject, _ in people}) > 1), st.floats(0.05, 0.6))
def test_no_subject_is_on_both_sides(people, share):
    source = folder_identities(people)
    training, held_out = sides(source, hold_out([source], share)[0])
    assert training
    assert held_out
    assert not {item.subject for item in training} & {item.subject for item in held_out}
    smallest = min(sum(subject == own for own, _ in people) for subject, _ in people)
    assert len(held_out) <= max(share * len(people), smallest)
    report = split_report(training, held_out)
    assert report.separates
    assert report.text.startswith("by subject, ")


@given(PEOPLE.filter(lambda people: len({take for _, take in people}) > 1))
def test_recordings_of_one_subject_are_kept_together(people):
    source = folder_identities([(0, take) for _, take in people])
    training, held_out = sides(source, hold_out([source], 0.3)[0])
    assert training
    assert held_out
    assert not {item.sequence for item in training} & {item.sequence for item in held_out}
    assert split_report(training, held_out).text.endswith(", of 1 subject on both sides")


@given(PEOPLE, PEOPLE, st.floats(0.05, 0.5))
def test_a_subject_of_two_sources_is_on_one_side(first, second, share):
    sources = [folder_identities(first), folder_identities(second)]
    chosen = hold_out(sources, share)
    parts = [sides(source, own) for source, own in zip(sources, chosen, strict=True)]
    training = {item.subject for own, _ in parts for item in own}
    held_out = {item.subject for _, own in parts for item in own}
    several = len({item.subject for source in sources for item in source}) > 1
    if several and not training & held_out:
        assert all(own for own, _ in parts), "each source keeps samples to train on"


def test_images_without_a_stated_person_are_split_in_their_order():
    images = [Identity(f"{index:03d}.png") for index in range(20)]
    (chosen,) = hold_out([images], 0.25)
    assert chosen.tolist() == [15, 16, 17, 18, 19]
    report = split_report(*sides(images, chosen))
    assert not report.separates
    assert "by image, 15 to train on and 5 held out; subjects and recordings are not stated" in report.text


def test_a_file_has_the_person_that_another_source_states():
    known = [Identity(f"{index}.png", f"s{index // 4}", None, Path(f"{index}.png")) for index in range(12)]
    unknown = [Identity(f"{index}.png", None, None, Path(f"{index}.png")) for index in range(12)]
    chosen = hold_out([known, unknown], 0.34)
    assert chosen[0].tolist() == chosen[1].tolist()


def test_identical_files_stay_together(tmp_path):
    for index in range(8):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((9, 9, 3), index % 4, np.uint8))
    images = [Identity(f"{index}.png", image=tmp_path / f"{index}.png") for index in range(8)]
    (chosen,) = hold_out([images], 0.5)
    training, held_out = sides(images, chosen)
    contents = [{item.image.read_bytes() for item in side} for side in (training, held_out)]
    assert not contents[0] & contents[1]


def test_a_training_on_all_images_warns_of_nothing():
    report = split_report([Identity("a.png"), Identity("b.png")], [])
    assert report.separates
    assert report.text == "2 images to train on and none held out"


def test_what_chosen_splits_share_is_counted():
    one = folder_identities([(0, 0), (0, 1), (1, 0)])
    other = folder_identities([(0, 1), (2, 0)])[::-1]
    report = split_report(one, other)
    assert not report.separates
    assert report.text == "the held-out images share 1 subject, 1 recording and 2 images with the training images"


def freihand(root, hands=10, backgrounds=4):
    """Write FreiHAND's official layout: each hand before several backgrounds."""
    (root / "training" / "rgb").mkdir(parents=True)
    rng = np.random.default_rng(0)
    rows = {"K": np.eye(3).tolist(), "scale": 0.03, "xyz": (np.ones((21, 3)) / 2).tolist(), "mano": [[0.0] * 61]}
    for name, row in rows.items():
        (root / f"training_{name}.json").write_text(json.dumps([row] * hands))
    for number in range(hands * backgrounds):
        rgb = rng.integers(0, 255, (224, 224, 3), np.uint8)
        cv2.imwrite(str(root / "training" / "rgb" / f"{number:08d}.jpg"), rgb)
    return root


def test_a_hand_before_other_backgrounds_is_not_held_out(tmp_path):
    images = open_dataset("freihand", freihand(tmp_path), "training", check="none")
    known = identities(images)
    assert [(item.sequence, item.id) for item in known] == [(sample.sequence, sample.id) for sample in images]
    training, held_out = sides(known, hold_out([known], 0.2)[0])
    assert len(held_out) == 8
    assert not {item.sequence for item in training} & {item.sequence for item in held_out}


@pytest.mark.parametrize("names", [("ABF10", "ABF14"), ("MC1", "MC1")])
def test_the_cameras_of_a_recording_of_ho3d_are_one_recording(names, tmp_path):
    lines = [f"{name}/{frame:04d}" for name in dict.fromkeys(names) for frame in range(2)]
    (tmp_path / "train.txt").write_text("\n".join(lines))
    images = open_dataset("ho3d-v3", tmp_path, "train", check="none")
    assert len({item.sequence for item in identities(images)}) == 1


def test_frames_of_other_cameras_on_both_sides_are_told():
    def recording(view, count=4):
        return [Identity(f"{view}/{k}.png", None, f"walk_{view}", None, "d", view, str(k)) for k in range(count)]

    text = "by recording of each camera, and 4 frames of other cameras are on both sides"
    told = split_report(recording("cam0") + recording("cam1"), recording("cam2"))
    assert told.text.startswith(text)
    assert not told.separates
    (held_out,) = hold_out([recording("cam0") + recording("cam1")], 0.3)
    assert len(held_out) == 4
    other = [item._replace(sequence="run_cam2") for item in recording("cam2")]
    assert split_report(recording("cam0"), other).text == "by recording, 1 to train on and 1 held out"
