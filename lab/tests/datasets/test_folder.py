"""User images: every field of the COCO file, keypoint orders, tables, folders by class, bad files."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit import Hand
from sonjit._util.errors import InputError
from sonjit.media import Header, open_writer
from sonjit.results import Frame
from sonjit_lab.datasets import convert_dataset, open_dataset, split_dataset
from sonjit_lab.datasets.dataset import size_of_image


def test_all_fields_arrive(own):
    dataset = open_dataset("folder", own(), check="all")
    empty, first = dataset[0], dataset[1]
    assert empty.instances == ()
    (hand,) = first.instances
    assert (hand.kind, hand.side, hand.skeleton, hand.category) == ("hand", "Left", "hand_mediapipe21", "hand")
    assert hand.valid_px.tolist() == [k != 4 for k in range(21)]
    assert hand.visible.tolist() == [k not in (3, 4) for k in range(21)]
    assert np.isnan(hand.keypoints_px[4]).all()
    seen = hand.valid_px
    np.testing.assert_allclose(first.camera.project(hand.keypoints_m)[seen], hand.keypoints_px[seen], atol=1e-9)
    assert hand.extra["group"] == {"region": "Oceania", "skin_tone": 3}
    assert (first.subject, first.sequence, first.frame) == ("s0", "walk", 1)
    assert first.camera.t.tolist() == [0.1, 0, 0.2]
    assert hand.mask().sum() == 40 * 30
    assert first.rgb().shape == (80, 120, 3)


def test_order_and_spelling_of_names_do_not_matter(own):
    order = np.random.default_rng(1).permutation(21)
    counted = ["wrist"] + [
        f"{finger}{level}"
        for finger in ("thumb", "forefinger", "middle_finger", "ring", "pinky")
        for level in range(1, 5)
    ]

    def change(labels):
        labels["categories"][0]["keypoints"] = [counted[k] for k in order]
        for annotation in labels["annotations"]:
            annotation["keypoints"] = np.reshape(annotation["keypoints"], (21, 3))[order].ravel().tolist()
            annotation["keypoints3d"] = np.array(annotation["keypoints3d"])[order].tolist()

    plain = [sample.instances for sample in open_dataset("folder", own())]
    mixed = [sample.instances for sample in open_dataset("folder", own(change))]
    for (one,), (other,) in zip(plain[1:], mixed[1:], strict=True):
        assert np.array_equal(one.keypoints_px, other.keypoints_px, equal_nan=True)
        assert np.array_equal(one.keypoints_m, other.keypoints_m)


KINDS = {"hand": "Human hand,right_hand,lefthand,LEFT-HANDS,hand2", "face": "Human face", "body": "persons",
         "object": "handbag,second-handle,surface,personal computer,bodysuit"}  # fmt: skip


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind in KINDS for name in KINDS[kind].split(",")])
def test_kinds_follow_whole_words_of_names(own, kind, name):
    annotation = {"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 30, 40]}
    root = own(lambda labels: labels.update(categories=[{"id": 7, "name": name}], annotations=[annotation]))
    assert [one.kind for one in open_dataset("folder", root)[0].instances] == [kind]


def put(**fields):
    return lambda labels: labels["annotations"][0].update(fields)


def put_in_image(**fields):
    return lambda labels: labels["images"][1].update(fields)


def put_in_camera(**fields):
    return lambda labels: labels["images"][1].update(camera=labels["images"][1]["camera"] | fields)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (put(keypoints=[1, 2, 2]), "annotation 1: keypoints has 3 numbers; expected 63"),
        (put(bbox=[3, 4, 0, 5]), "p1.png, annotation 1: bbox .* is empty"),
        (put(segmentation=[[1, 2, 3, 4, 5, 6, 7]]), "p1.png, annotation 1: a polygon is a list"),
        (put(segmentation={"size": [9, 9], "counts": [81]}), "p1.png, annotation 1: a mask of size"),
        (put(area="large"), "p1.png: area_px2 of instance 0 has a value that is not a finite number"),
        (put(hand_side="both"), "p1.png, annotation 1: hand_side is 'both'"),
        (put(image_id=99), "annotations of the image 99"),
        (put_in_camera(R=[[1]]), "p1.png: camera: R must be 3 x 3 finite numbers"),
        (put_in_camera(R=[[-1, 0, 0], [0, 1, 0], [0, 0, 1]]), "p1.png: camera: R mirrors the"),
        (put_in_camera(K=[[200, 0, 0], [0, 200, 0], [60, 40, 1]]), "0 0 1 as its last row"),
        (put(keypoints3d=[[5 * k, 0, 500] for k in range(21)]), "projected 3D keypoints lie"),
        (lambda labels: labels.update(frames=[{}]), "dataset.json is not a .json table that Sonjit wrote"),
        (lambda labels: labels.pop("images"), "dataset.json: the field 'images' is missing"),
    ],
)
@pytest.mark.slow
def test_bad_labels_are_named(change, message, own):
    with pytest.raises(InputError, match=message) as caught:
        open_dataset("folder", own(change), check="all")
    assert "\n" not in str(caught.value)


def corners(label):
    x, y, width, height = label["bbox"]
    label["bbox"] = [x, y, x + width, y + height]


def keypoints(change):
    """Return a change of all annotations: `change(points)` edits x, y, flag (21, 3) of each."""

    def edit(label):
        points = np.reshape(np.array(label["keypoints"], float), (21, 3))
        change(points)
        label["keypoints"] = points.ravel().tolist()

    return edit


def of_space(change):
    """Return a change of all annotations: `change` converts their 3D keypoints (21, 3) in millimetres."""
    return lambda label: label.update(keypoints3d=np.array(change(np.array(label["keypoints3d"]))).tolist())


def at(place, *rows):
    """Return a change that puts rows of points at a place."""

    def change(points):
        points[list(rows), : len(place)] = place
        return points

    return change


def scaled(points):
    points[:, :2] /= 120, 80


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (corners, "bbox is x, y, width, height and not two corners"),
        (lambda label: label.update(bbox=[300, 10, 20, 20]), "19 of 19 keypoints lie outside of the own box"),
        (lambda label: label.update(bbox=[0.2, 0.3, 0.4, 0.4]), "must be in pixels, not fractions"),
        (keypoints(scaled), "its keypoints lie within the first pixel"),
        (keypoints(at((0, 0, 2), 5)), r"1 of 20 labelled keypoints are at \(0, 0\): mark unknown ones"),
        (keypoints(at((-1, -1, 2), 5, 6, 7)), r"3 of 20 labelled keypoints are at \(-1, -1\)"),
        (keypoints(at((9, 9, 0.87), 5)), "keypoints has the flag 0.87; must be 0 if unlabelled"),
        (of_space(at((0, 0, 0), 5)), r"a 3D keypoint is at \(0, 0, 0\), the position of the camera"),
        (of_space(at((1, 1, 1), 5, 6)), r"2 of 21 3D keypoints are at \(0.001, 0.001, 0.001\) m: mark unknown"),
        (of_space(lambda points: points / 1000), r"span 0.0001\d* m: the unit"),
        (lambda label: label.update(area=-3), "its area is -3"),
        (lambda label: label.update(id=1), "two annotations have the id 1"),
    ],
)
@pytest.mark.parametrize("with_cameras", [True, False])
def test_labels_that_would_give_wrong_numbers_are_refused_when_a_folder_is_opened(own, change, message, with_cameras):
    def edit(labels):
        for label in labels["annotations"]:
            change(label)
        if not with_cameras:
            for image in labels["images"]:
                del image["camera"]

    if not with_cameras and "position of the camera" in message:
        assert len(open_dataset("folder", own(edit)))  # positions relative to that keypoint
        return
    with pytest.raises(InputError, match=message):
        open_dataset("folder", own(edit))


def test_every_sample_of_a_folder_is_checked_when_it_is_opened(own):
    root = own(lambda labels: of_space(lambda points: points / 1000)(labels["annotations"][3]))
    with pytest.raises(InputError, match=r"p4\.png, .*: its keypoints span"):
        open_dataset("folder", root)


def test_an_image_that_is_there_twice_is_refused(own):
    with pytest.raises(InputError, match=r"the images 2 and 3 are both p1\.png; use one id for both"):
        open_dataset("folder", own(lambda labels: labels["images"][2].update(file_name="p1.png")))


def test_flags_without_2_do_not_state_what_is_hidden(own):
    def change(labels):
        for label in labels["annotations"]:
            keypoints(lambda points: np.minimum(points[:, 2], 1, out=points[:, 2]))(label)

    hand = open_dataset("folder", own(change))[1].instances[0]
    assert hand.visible is None
    assert hand.valid_px.tolist() == [k != 4 for k in range(21)]


def test_numbers_of_subjects_and_recordings_are_names(own, tmp_path):
    """Write the people as 0 and 1: both parts of a split and a table keep them apart."""

    def change(labels):
        for number, image in enumerate(labels["images"]):
            image |= {"subject": number % 2, "sequence": number, "view": 0, "frame": f"{number:03}"}

    dataset = open_dataset("folder", own(change))
    assert [(item.subject, item.sequence, item.view, item.frame) for item in dataset][:2] == [
        ("0", "0", "0", 0),
        ("1", "1", "0", 1),
    ]
    parts = split_dataset(dataset, {"train": 0.5, "test": 0.5}, same_images=False)
    assert sorted(part.groups for part in parts.values()) == [("0",), ("1",)]
    convert_dataset(dataset, tmp_path / "table.parquet")
    assert [item.subject for item in open_dataset("folder", tmp_path / "table.parquet")] == list("010101")


@pytest.mark.parametrize(
    ("field", "value"), [("subject", ["a"]), ("subject", 2.5), ("view", True), ("frame", -1), ("frame", "last")]
)
def test_wrong_names_and_numbers_of_images_are_named(own, field, value):
    with pytest.raises(InputError, match=rf"{field} is .*; must be a"):
        open_dataset("folder", own(put_in_image(**{field: value})))


def test_bad_samples_can_be_left_out(own):
    root = own(put(bbox=[3, 4, 0, 5]))
    (root / "images" / "p3.png").unlink()
    dataset = open_dataset("folder", root, skip_bad=True)
    assert [sample.id for sample in dataset] == [f"images/p{k}.png" for k in (0, 2, 4, 5)]
    assert ["bbox" in one.reason or "p3.png is missing" in one.reason for one in dataset.skipped] == [True, True]


def test_image_of_another_size_is_an_error(own):
    root = own(lambda labels: [image.update(width=119) for image in labels["images"]])
    with pytest.raises(InputError, match=r"120 x 80 pixels and .*dataset.json has 119 x 80"):
        open_dataset("folder", root)[0].rgb()


def test_tables_that_sonjit_wrote(tmp_path):
    points = np.random.default_rng(0).uniform(5, 60, (21, 3)).astype(np.float32)
    hand = Hand("Left", 0.9, points, points)
    for name in ("photos/a.png", "photos/b.png", "1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((64, 80, 3), np.uint8))
    frames = [Frame(0, None, [hand], source="a.png"), Frame(1, None, [], source="b.png")]
    for ending in (".json", ".jsonl", ".csv", ".parquet"):
        table = tmp_path / f"t{ending}"
        with open_writer(table, Header("photos", 80, 64)) as writer:
            for frame in frames:
                writer.write(frame)
        dataset = open_dataset("folder", table, images=str(tmp_path / "photos"), check="all")
        assert [(item.width, item.height, len(item.instances)) for item in dataset] == [(80, 64, 1), (80, 64, 0)]
        (found,) = dataset[0].instances
        assert (found.side, found.skeleton) == ("Left", "hand_mediapipe21")
        np.testing.assert_array_equal(found.keypoints_px.astype(np.float32), points[:, :2])
    with open_writer(tmp_path / "two.json", Header("photos", 80, 64)) as writer:
        for folder in ("a", "b"):
            writer.write(Frame(0, None, [], source=f"{folder}/1.png"))
    with pytest.raises(InputError, match=r"a/1\.png is missing"):
        open_dataset("folder", tmp_path / "two.json")[0]


def test_a_table_of_a_video_is_refused_with_an_instruction(tmp_path):
    points = np.ones((21, 3), np.float32)
    with open_writer(tmp_path / "v.json", Header("v.mp4", 80, 64, 30.0)) as writer:
        for index in range(2):
            writer.write(Frame(index, index / 30, [Hand("Left", 0.9, points, points)]))
    with pytest.raises(InputError, match="describes a video: write its frames into a folder"):
        open_dataset("folder", tmp_path / "v.json")


def test_folders_by_class(tmp_path):
    for name in ("wave/2.png", "wave/10.png", "fist/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 9, 3), np.uint8))
    dataset = open_dataset("folder", tmp_path)
    assert [(sample.id, sample.instances[0].category_id) for sample in dataset] == [
        ("fist/1.png", 0),
        ("wave/2.png", 1),
        ("wave/10.png", 1),
    ]
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(InputError, match=r"contains 2 annotation files; choose one, e\.g\. annotations=a\.json"):
        open_dataset("folder", tmp_path)


def test_an_empty_folder_is_refused_with_an_instruction(tmp_path):
    with pytest.raises(InputError, match="contains neither a COCO file or table nor folders of images by class"):
        open_dataset("folder", tmp_path)
    with pytest.raises(InputError, match="no such file or folder"):
        open_dataset("folder", tmp_path / "absent")
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "coco.json").write_text("{}")
    with pytest.raises(InputError, match=r"contains data sets and no labels of its own; .* such as .*inner"):
        open_dataset("folder", tmp_path)


@pytest.mark.parametrize("ending", ["jpg", "png", "webp", "tiff"])
def test_sizes_of_turned_photographs(tmp_path, ending):
    pil, path = pytest.importorskip("PIL.Image"), tmp_path / f"turned.{ending}"
    exif = pil.Exif()
    exif[0x112] = 6
    pil.new("RGB", (60, 40)).save(path, exif=exif)
    assert size_of_image(path) == (60, 40)
    assert size_of_image(path, upright=True) == (40, 60)


HAND = {"box": [10, 20, 40, 60], "side": "Left", "clear": True, "hidden": 0.25, "view": "back", "note": "rings"}
PERSON = {"box": [5, 5, 90, 75], "face": [50, 10, 70, 30], "clear": True, "face_clear": False, "note": ""}


@pytest.fixture
def photographs(tmp_path):
    """Return a function that writes two images of 100 x 80 with the given labels."""
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.full((80, 100, 3), 90, np.uint8))

    def write(**labels):
        for name, content in labels.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(content))
        return tmp_path

    return write


def photograph(**labels):
    return {"width": 100, "height": 80} | labels


def test_an_image_has_hands_people_and_faces(photographs):
    root = photographs(
        hands={"_rules": {}, "a.png": photograph(hands=[HAND], crowd=[[60, 0, 90, 20]])},
        people={"a.png": photograph(people=[PERSON]), "b.png": photograph(people=[])},
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


def test_halves_to_choose_on_and_to_report(photographs):
    split = {"choose": ["b.png"], "report": ["a.png"]}
    root = photographs(hands={"_split": split} | dict.fromkeys(["a.png", "b.png"], photograph(hands=[])))
    assert {half: [item.id for item in open_dataset("photographs", root, half)] for half in split} == split
    root = photographs(hands={"_split": {"choose": ["c.png", "b.png"]}, "b.png": photograph(hands=[])})
    with pytest.raises(InputError, match=r"the split choose lists c\.png, which has no labels"):
        open_dataset("photographs", root, "choose")
    both = {"choose": ["a.png"], "report": ["a.png", "b.png"]}
    root = photographs(hands={"_split": both} | dict.fromkeys(["a.png", "b.png"], photograph(hands=[])))
    with pytest.raises(InputError, match=r"_split lists a\.png in choose and in report"):
        open_dataset("photographs", root, "choose")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box": [40, 20, 10, 60]}, "is empty"),
        ({"box": [40, 20, 10]}, "sample 0"),
        ({"box": [40, 20, 10, 10**400]}, "sample 0"),
        ({"side": "left"}, "is 'left'"),
        ({"box": [90, 20, 180, 60]}, "its box reaches 80.0 px beyond the image"),
    ],
)
def test_bad_labels_of_photographs_are_named(photographs, change, message):
    root = photographs(hands={"a.png": photograph(hands=[HAND | change])})
    with pytest.raises(InputError, match=message):
        open_dataset("photographs", root)


def _labelled(folder, file, name):
    """Write an image of 8 x 8 pixels at images/..., and a COCO file that names it."""
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    label = {"id": 0, "image_id": 0, "category_id": 0, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}
    image = {"id": 0, "file_name": name, "width": 8, "height": 8}
    categories = [{"id": 0, "name": "hand"}]
    (folder / file).write_text(json.dumps({"images": [image], "annotations": [label], "categories": categories}))


@pytest.mark.parametrize(
    ("file", "name", "place"),
    [
        ("result.json", "images\\a.png", "images/a.png"),
        ("result.json", "day\\1\\a.png", "images/day/1/a.png"),
        ("annotations/person_keypoints_default.json", "a.png", "images/default/a.png"),
        ("annotations/instances_train.json", "a.png", "images/train/a.png"),
        ("annotations/instances_default.json", "b\\a.png", "images/default/b/a.png"),
    ],
)
def test_exports_of_label_tools_are_read_as_they_are(tmp_path, file, name, place):
    (tmp_path / place).parent.mkdir(parents=True)
    cv2.imwrite(str(tmp_path / place), np.zeros((8, 8, 3), np.uint8))
    _labelled(tmp_path, file, name)
    assert open_dataset("folder", tmp_path)[0].rgb().shape == (8, 8, 3)


def test_options_are_relative_to_the_root_or_else_to_the_current_folder(tmp_path, monkeypatch):
    root = tmp_path / "set"
    for folder in (root / "photos", tmp_path / "others"):
        folder.mkdir(parents=True)
        cv2.imwrite(str(folder / "a.png"), np.full((8, 8, 3), len(folder.name), np.uint8))
    _labelled(root, "labels/one.json", "a.png")
    _labelled(root, "labels/two.json", "a.png")
    monkeypatch.chdir(tmp_path)
    for images, annotations, value in (
        ("photos", "labels/one.json", 6), ("others", "labels/two.json", 6), ("set/photos", "set/labels/one.json", 6),
    ):  # fmt: skip
        sample = open_dataset("folder", root, images=images, annotations=annotations)[0]
        assert sample.rgb().max() == value
        assert Path(sample.image).resolve().parent == tmp_path.resolve() / (
            "others" if images == "others" else "set/photos"
        )
