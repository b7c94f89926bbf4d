"""Sets of 2D labels in their official layouts: expected samples, real samples, and damaged sets."""

import json
import shutil

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.media.sources.images import encode_image, load_image
from sonjit_lab.datasets import dataset_entry, list_datasets, open_dataset, sheets

TOLERANCE = 1e-4


def every_sample(name, root, **options):
    """Return the samples of every existing split by ID."""
    found = {}
    for split in dataset_entry(name).splits:
        try:
            found |= {sample.id: sample for sample in open_dataset(name, root, split, check="all", **options)}
        except InputError:
            continue
    return found


def of_image(samples, place):
    """Return the only sample whose ID ends with a path."""
    (sample,) = [sample for key, sample in samples.items() if key.endswith(place)]
    return sample


def corner_and_size(box):
    x_min, y_min, x_max, y_max = box
    return [x_min, y_min, x_max - x_min, y_max - y_min]


@pytest.mark.golden
@pytest.mark.files("fixtures/cub200*/expected.json")
def test_birds(file, tmp_path):
    samples = every_sample("cub200", file.parent)
    for record in json.loads(file.read_text("utf-8"))["records"]:
        sample = of_image(samples, record["image"])
        (bird,) = sample.instances
        assert (sample.width, sample.height) == (record["width"], record["height"]) == sample.rgb().shape[1::-1]
        assert (bird.category_id, sample.tags["split"] == "train") == (record["cls"], record["train"])
        np.testing.assert_allclose(corner_and_size(bird.box), record["bbox_xywh"], atol=TOLERANCE)
    lines = [f"{image} {part} {image}.5 {part} 1\n" for image in range(1, 7) for part in range(1, 16)]
    shutil.copytree(file.parent, tmp_path / "cub")
    for order in (1, -1):
        (tmp_path / "cub/CUB_200_2011/parts").mkdir(exist_ok=True)
        (tmp_path / "cub/CUB_200_2011/parts/part_locs.txt").write_text("".join(lines[::order]))
        shown = [
            bird.keypoints_px
            for sample in open_dataset("cub200", tmp_path / "cub", check="none")
            for bird in sample.instances
        ]
        assert all(points[:, 1].tolist() == [*range(1, 16)] for points in shown)
    train, test = (open_dataset("cub200", file.parent, split) for split in ("train", "test"))
    assert len(train) + len(test) == len(open_dataset("cub200", file.parent, "all")) == len(samples)


@pytest.mark.golden
@pytest.mark.files("fixtures/ilsvrc_loc*/expected.json")
def test_localized_objects_from_table_and_from_xml(file, tmp_path):
    shutil.copytree(file.parent, tmp_path / "xml")
    (tmp_path / "xml" / "LOC_val_solution.csv").unlink()
    for root in (file.parent, tmp_path / "xml"):
        samples = every_sample("ilsvrc-loc", root)
        for record in json.loads(file.read_text("utf-8"))["records"]:
            sample = of_image(samples, record["image"])
            assert (sample.width, sample.height) == (record["width"], record["height"]) == sample.rgb().shape[1::-1]
            assert {(instance.category_id, instance.extra["wnid"]) for instance in sample.instances} == {
                (record["cls"], record["wnid"])
            }
            np.testing.assert_allclose(
                [instance.box for instance in sample.instances], record["boxes_xyxy"], atol=TOLERANCE
            )


@pytest.mark.golden
@pytest.mark.files("fixtures/hagrid*/expected.json")
def test_gestures(file):
    samples = every_sample("hagrid", file.parent)
    records = json.loads(file.read_text("utf-8"))["records"]
    assert len(records) == len(samples)
    for record in records:
        sample = of_image(samples, record["image"])
        assert (sample.width, sample.height) == (record["width"], record["height"]) == sample.rgb().shape[1::-1]
        assert [instance.category for instance in sample.instances] == record["labels"]
        assert (sample.subject, sample.tags["leading_hand"]) == (record["user_id"], record["leading_hand"])
        boxes = [corner_and_size(instance.box) for instance in sample.instances]
        np.testing.assert_allclose(boxes, record["boxes_px_xywh"], atol=TOLERANCE)
        assert {instance.side for instance in sample.instances} == {None}


@pytest.mark.golden
@pytest.mark.files("fixtures/face_raw*/expected.json")
def test_faces(file):
    expected = json.loads(file.read_text("utf-8"))
    for options, key in (({}, "w300_points_zero_based"), ({"origin": 0}, "w300_points_as_written")):
        (sample,) = every_sample("300w", file.parent, **options).values()
        np.testing.assert_allclose(sample.instances[0].keypoints_px, expected[key], atol=TOLERANCE)
    (sample,) = every_sample("wflw", file.parent).values()
    (face,) = sample.instances
    np.testing.assert_allclose(face.keypoints_px, expected["wflw_points"], atol=TOLERANCE)
    assert list(face.box) == expected["wflw_rect_xyxy"]
    assert face.extra == expected["wflw_attributes"]


@pytest.mark.golden
@pytest.mark.files("fixtures/plain_folder*/expected.json")
def test_own_folder(file):
    expected = json.loads(file.read_text("utf-8"))
    dataset = open_dataset("folder", file.parent, check="all")
    assert len(dataset) == expected["n_images"]
    hands = [instance for sample in dataset for instance in sample.instances]
    assert len(hands) == expected["n_hands"]
    assert [sample.id.rpartition("/")[2] for sample in dataset if not sample.instances] == expected["negatives"]
    for group, count in expected["groups"].items():
        assert len({hand.extra["group"][group] for hand in hands}) == count
    labels = json.loads(next(file.parent.glob("labels/*.json")).read_text("utf-8"))
    for hand, label in zip(hands, labels["annotations"], strict=True):
        np.testing.assert_allclose(hand.keypoints_px, np.reshape(label["keypoints"], (-1, 3))[:, :2], atol=TOLERANCE)
        np.testing.assert_allclose(hand.keypoints_m * 1e3, label["keypoints3d"], atol=TOLERANCE)
        assert hand.side.lower() == label["hand_side"]


@pytest.mark.golden
@pytest.mark.parametrize("name", list_datasets())
def test_every_real_sample_loads_and_draws(name, data):
    """Use the folder with the name of the set, or that of the set whose images it shares."""
    spelled = {"".join(filter(str.isalnum, folder.name)): folder for folder in (data / "real" / "datasets").glob("*")}
    plain = "".join(filter(str.isalnum, name))
    root = next((folder for key, folder in spelled.items() if plain.startswith(key)), None)
    if root is None:
        pytest.skip(f"no real samples of {name} in {data}")
    samples = every_sample(name, root)
    assert samples
    for sample in samples.values():
        assert sample.instances
        plain_image = load_image(sample.image, upright=False)
        assert plain_image.shape == (sample.height, sample.width, 3)
        assert (sheets.draw_sample(sample, max(sample.width, sample.height)) != plain_image).any()
        for instance in sample.instances:
            if instance.keypoints_px is not None:
                inside = (instance.keypoints_px >= 0) & (instance.keypoints_px <= (sample.width, sample.height))
                assert inside[instance.valid_px].all()
                assert np.isnan(instance.keypoints_px[~instance.valid_px]).all()


PARSED = '{"images": [{"id": 1}, {"id": 2}], "annotations": [{"image_id": 3}]}'
PIXELS = '{"a": {"bboxes": [[30, 20, 40, 30]], "labels": ["fist"]}}'
CUB = {"images.txt": "1 a/b.jpg\n", "train_test_split.txt": "1 1\n", "bounding_boxes.txt": "1 1 1 9 9\n",
       "image_class_labels.txt": "1 1\n1 2\n", "images/x": ""}  # fmt: skip
HAND = '{"hand_pts": [[1, 2, 1]]}'
SOLUTION = {
    "LOC_synset_mapping.txt": "n1 a\n",
    "ILSVRC/Data/CLS-LOC/val/x": "",
    "LOC_val_solution.csv": "I,P\nx,n1 4\n",
}
PTS = "version: 1\nn_points: 68\n{\n" + "5.5 6.5\n" * 68 + "}\n"
WFLW_LIST = "WFLW_annotations/list_98pt_rect_attr_train_test/list_98pt_rect_attr_train.txt"


def test_the_innermost_folder_decides_the_split(tmp_path):
    for place in ("ibug/300W/afw/a", "ibug/300W/ibug/b"):
        (tmp_path / place).parent.mkdir(parents=True)
        (tmp_path / f"{place}.pts").write_text(PTS, "utf-8")
        (tmp_path / f"{place}.png").write_bytes(encode_image(np.zeros((99, 99, 3), np.uint8), ".png"))
    for split, name in (("train", "afw/a.png"), ("challenging", "ibug/b.png"), ("full", "ibug/b.png")):
        assert [sample.id for sample in open_dataset("300w", tmp_path / "ibug/300W", split)] == [name]


@pytest.mark.parametrize(
    ("name", "files", "message"),
    [
        ("300w", {"afw/a.pts": PTS}, r"a\.png is missing"),
        ("300w", {"afw/a.pts": PTS[:-9], "afw/a.png": None}, r"a\.pts: has 6\d points; expected 68"),
        ("300w", {"afw/a.pts": PTS.replace("6.5", "nan"), "afw/a.png": None}, "keypoints of instance 0 has a value"),
        ("freihand", {"annotations/freihand_train.json": PARSED}, "annotations of the image 3, which"),
        ("wflw", {WFLW_LIST: "1 2 3 x.jpg\n"}, r"train\.txt, line 1: 4 fields"),
        ("hagrid", {"ann_train_val/fist.json": '{"a": {"bboxes": []}}', "train_val/fist/a.jpg": None}, "'labels'"),
        (
            "hagrid",
            {"ann_train_val/fist.json": PIXELS, "train_val/fist/a.jpg": None},
            "the bbox .* reaches beyond",
        ),
        ("cub200", CUB, r"image_class_labels\.txt has two lines of 1"),
        ("cub200", {}, r"images\.txt is missing in .*; get it from https"),
        ("coco", {"annotations/person_keypoints_val2017.json": "{}"}, r"val2017\.json: the field 'categories' is miss"),
        (
            "panoptic-hand",
            {"hand_labels/manual_train/a.json": HAND, "hand_labels/manual_train/a.jpg": None},
            "hand_pts has 3 numbers; expected 63",
        ),
        ("ilsvrc-loc", SOLUTION, r"solution\.csv: x has 2 values"),
    ],
)
def test_what_is_missing_or_damaged_is_named(name, files, message, tmp_path, photo):
    import cv2

    for place, content in files.items():
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            cv2.imwrite(str(path), photo)
        else:
            path.write_text(content, "utf-8")
    with pytest.raises(InputError, match=message) as caught:
        list(open_dataset(name, tmp_path))
    assert "\n" not in str(caught.value)
