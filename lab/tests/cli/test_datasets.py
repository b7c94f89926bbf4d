"""`sonjit datasets`: lists, checks, previews and conversions, and one line for each error."""

import json
from functools import partial

import cv2
import numpy as np
import pytest
from tests.support.coco_files import write_coco

from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import list_datasets, open_dataset

from .conftest import run_command


@pytest.fixture
def photos(tmp_path):
    """Return three images with a COCO file that labels a hand in each of them."""
    points = np.random.default_rng(0).uniform(10, 50, (21, 2)).round(1)
    images = {f"{number}.png": np.zeros((60, 80, 3), np.uint8) for number in range(3)}
    labels = [(number, points, {"bbox": [9, 9, 42, 42]}) for number in range(3)]
    return write_coco(tmp_path / "photos", images, labels, load_skeleton("hand_mediapipe21").keypoints).parent


run = partial(run_command, "datasets")


def test_list_names_every_set_and_what_is_there(capsys, photos):
    status, out, _ = run(capsys, "list", "--json", "--root", photos)
    listed = {entry["name"]: entry for entry in json.loads(out)}
    assert status == 0
    assert sorted(listed) == list_datasets()
    assert {name for name, entry in listed.items() if entry["there"] != "no"} == {"folder"}
    assert listed["folder"]["there"].startswith("3 samples")
    _, out, _ = run(capsys, "list")
    assert all(name in out for name in list_datasets())


def test_check_finds_what_is_wrong(capsys, photos):
    assert run(capsys, "check", "folder", "--root", photos)[::2] == (0, "folder all: 3 samples are good, 0 bad\n")
    (photos / "images" / "1.png").write_bytes(b"no image")
    status, _, err = run(capsys, "check", "folder", "--root", photos)
    assert status == 2
    assert err.count("\n") == 1
    assert "1.png" in err
    status, _, err = run(capsys, "check", "folder", "--root", photos, "--skip-bad")
    assert status == 1
    assert err.splitlines()[1:] == ["folder all: 2 samples are good, 1 bad"]
    assert run(capsys, "check", "folder", "--root", photos, "--no-images")[0] == 0


def test_check_names_intrinsics_that_do_not_fit_the_images(capsys, photos):
    file = photos / "dataset.json"
    labels = json.loads(file.read_text())
    for x, notes in ((40, []), (160, ["sonjit: camera", " (and 2 more samples)"])):
        for image in labels["images"]:
            image["camera"] = {"K": [[90, 0, x], [0, 90, 30], [0, 0, 1]]}
        file.write_text(json.dumps(labels))
        status, _, err = run(capsys, "check", "folder", "--root", photos)
        *lines, last = err.splitlines()
        assert (status, last) == (0, "folder all: 3 samples are good, 0 bad")
        assert len(lines) == bool(notes)
        assert all(note in lines[0] for note in notes)


def test_show_draws_a_sheet(capsys, photos, tmp_path):
    for order in ("spread", "first", "random"):
        out = tmp_path / f"{order}.png"
        status, _, err = run(
            capsys, "show", "folder", "--root", photos, "--out", out, "--samples", 2, "--order", order, "--zoom"
        )
        assert status == 0
        assert err == f"2 of 3 samples of folder all; wrote {out}\n"
        assert cv2.imread(str(out)).max() > 200


@pytest.mark.parametrize("name", ["out.json", "out.parquet"])
def test_convert_writes_what_can_be_read_back(capsys, photos, tmp_path, name):
    out = tmp_path / name
    status, _, err = run(capsys, "convert", "folder", "--out", out, "--root", photos, "--limit", 2)
    assert (status, err) == (0, f"2 samples of folder all; wrote {out}\n")
    assert len(open_dataset("folder", out, check="all")) == 2
    (photos / "images" / "0.png").unlink()
    status, _, err = run(
        capsys, "convert", "folder", "--out", tmp_path / f"good_{name}", "--root", photos, "--skip-bad"
    )
    assert status == 1
    assert "left out: folder images/0.png: the image" in err
    assert err.endswith(f"2 samples of folder all; wrote {tmp_path / f'good_{name}'}\n")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["check", "nonsense", "--root", "."], "Unknown data set 'nonsense'. Choose from 300vw"),
        (["check", "folder", "--root", "absent"], "absent: no such file or folder"),
        (["check", "cub200", "--root", ".", "--split", "x"], "Unknown split 'x'. Choose from train, test, all"),
        (["check", "coco", "--root", ".", "--option", "labels"], "--option labels: give key=value"),
        (["check", "coco", "--root", ".", "--option", "labels=x"], "labels is 'keypoints' or 'instances', not 'x'"),
        (["convert", "folder", "--out", "x.xml", "--root", "PHOTOS"], "Unknown file ending '.xml'"),
        (["show", "folder", "--root", "PHOTOS", "--out", "x.gif"], "a contact sheet is a .png"),
        (["show", "folder", "--root", "PHOTOS", "--samples", "0"], "--samples 0: show at least 1"),
    ],
)
def test_wrong_calls_are_one_line(arguments, message, refusal, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refusal("datasets", *(photos if argument == "PHOTOS" else argument for argument in arguments))


def test_sets_are_listed_by_their_content_and_whatever_their_folder_is_called(capsys, photos, tmp_path):
    rng = np.random.default_rng(0)
    root = tmp_path / "sets" / "downloaded" / "hand_labels" / "manual_train"
    root.mkdir(parents=True)
    cv2.imwrite(str(root / "a.jpg"), rng.integers(0, 255, (60, 80, 3)).astype(np.uint8))
    points = np.c_[rng.uniform(10, 50, (21, 2)), np.ones(21)].tolist()
    (root / "a.json").write_text(json.dumps({"hand_pts": points, "is_left": 1}))
    _, out, _ = run(capsys, "list", "--json", "--root", tmp_path / "sets")
    there = {entry["name"]: entry["there"] for entry in json.loads(out)}
    assert there["panoptic-hand"].startswith("1 samples (train)")
    assert "downloaded" in there["panoptic-hand"]
    assert there["freihand"] == "no"


def test_split_writes_parts_that_can_be_read_back(capsys, photos, tmp_path):
    for number in range(3):  # images that are equal stay in one part
        cv2.imwrite(str(photos / "images" / f"{number}.png"), np.full((60, 80, 3), number, np.uint8))
    status, _, err = run(
        capsys, "split", "folder", "--root", photos, "--out", tmp_path / "parts", "--parts", "train=0.5,test=0.5"
    )
    assert status == 0
    record = json.loads((tmp_path / "parts" / "split.json").read_text())
    for part in ("train", "test"):
        data = json.loads((tmp_path / "parts" / f"{part}.json").read_text())
        assert len(data["images"]) == len(record[part]["samples"]) > 0
        assert f"{part}: {len(data['images'])} samples" in err
    assert not set(record["train"]["samples"]) & set(record["test"]["samples"])
    assert run(capsys, "split", "folder", "--root", photos, "--out", tmp_path / "p", "--parts", "train=most")[0] == 2
