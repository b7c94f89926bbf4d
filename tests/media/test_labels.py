"""Labels of detections, read by the programs and rules of their formats."""

import json
from types import SimpleNamespace
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from faster_coco_eval import COCO

from sonjit import Body, Face, Hand, InputError, JobError
from sonjit.media import Header, load_frames, open_writer
from sonjit.media.sources.images import encode_image
from sonjit.media.tables import labels
from sonjit.results import Frame
from sonjit_lab.datasets import open_dataset

RNG = np.random.default_rng(1)
POINTS = RNG.uniform(20, 200, (478, 3)).astype(np.float32)
POINTS[3, :2] = -40, 700  # outside the image
SEEN = np.linspace(0, 1, 33, dtype=np.float32)
FOUND = {
    "hands": lambda: Hand("Left", 0.9, POINTS[:21], POINTS[:21], id=4, handedness_score=0.97),
    "faces": lambda: Face(0.8, POINTS, (-5, 10, 200, 210)),
    "bodies": lambda: Body(0.7, POINTS[:33], POINTS[:33], SEEN, SEEN),
}


def written(path, kind, time=None, source=None, first=0):
    frames = [Frame(first + index, time, source=source if time else f"{index}.jpg") for index in range(2)]
    frames[1].add([FOUND[kind]()])
    with open_writer(path, Header("clip.mp4", 320, 240, 30.0 if time else None, "net", kind)) as writer:
        for frame in frames:
            writer.write(frame)
    return path


@pytest.mark.parametrize("kind", FOUND)
def test_coco_programs_and_data_sets_read_the_labels(tmp_path, kind):
    path = written(tmp_path / "x.coco.json", kind, 0.5)
    coco = COCO(str(path))
    (annotation,) = coco.loadAnns(coco.getAnnIds(imgIds=[2]))
    assert coco.loadImgs([2])[0]["file_name"] == "frame_000001.PNG"
    points = np.reshape(annotation["keypoints"], (-1, 3))
    assert len(points) == len(coco.loadCats([1])[0]["keypoints"]) == len(FOUND[kind]().keypoints)
    assert points[3].tolist() == [0, 0, 0]
    assert annotation["num_keypoints"] == (points[:, 2] > 0).sum()
    assert set(points[:, 2]) == ({0, 1, 2} if kind == "bodies" else {0, 2})
    x, y, width, height = annotation["bbox"]
    assert 0 <= x < x + width <= 320
    assert 0 <= y < y + height <= 240
    for image in coco.loadImgs([1, 2]):
        (tmp_path / image["file_name"]).write_bytes(encode_image(np.zeros((240, 320, 3), np.uint8), ".png"))
    (read,) = open_dataset("folder", tmp_path, annotations=path.name)[1].instances
    assert (read.kind, read.skeleton) == (FOUND[kind]().kind, FOUND[kind]().skeleton.name)
    np.testing.assert_allclose(read.keypoints_px[4:], POINTS[4 : len(points), :2], atol=0.01)


def test_yolo_names_the_sides_that_mirrored_images_exchange(tmp_path):
    text = written(tmp_path / "x.yolo.yaml", "bodies").read_text()
    (line,) = (line for line in text.splitlines() if line.startswith("flip_idx: "))
    order = json.loads(line.removeprefix("flip_idx: "))
    names = FOUND["bodies"]().names
    assert order[0] == 0
    for name, other in (("left_eye", "right_eye"), ("right_ankle", "left_ankle"), ("mouth_left", "mouth_right")):
        assert order[names.index(name)] == names.index(other)
    for kind in ("hands", "faces"):  # labels of hands have a side, and points of a mesh have no unique names
        assert "flip_idx" not in written(tmp_path / f"{kind}.yolo.yaml", kind).read_text()


@pytest.mark.parametrize("kind", FOUND)
def test_yolo_lines_are_normalised(tmp_path, kind):
    text = written(tmp_path / "x.yolo.yaml", kind).read_text()
    count = len(FOUND[kind]().keypoints)
    assert f"kpt_shape: [{count}, 3]" in text
    assert (tmp_path / "labels/0.txt").read_text() == ""
    number, *values = map(float, (tmp_path / "labels/1.txt").read_text().split())
    assert (number, len(values)) == (0, 4 + 3 * count)
    assert set(values[6::3]) <= {0, 1, 2}
    assert all(0 <= value <= 1 for value in np.delete(values, np.s_[6::3]))


def test_annotators_read_the_labels(tmp_path):
    root = ET.parse(written(tmp_path / "x.cvat.xml", "hands", 0.5, "a/clip.mp4")).getroot()
    skeleton = root.find("image[@name='a/clip/frame_000001.PNG']/skeleton[@label='left_hand']")
    assert [point.get("outside") for point in skeleton] == ["1" if k == 3 else "0" for k in range(21)]
    assert [image.get("id") for image in root.iter("image")] == ["0", "1"]
    later = written(tmp_path / "y.cvat.xml", "hands", 0.5, first=40)
    assert [image.get("id") for image in ET.parse(later).getroot().iter("image")] == ["40", "41"]
    bad = ET.parse(written(tmp_path / "z.cvat.xml", "hands", 0.5, "bad\udcff\1.mp4")).getroot()
    assert next(bad.iter("image")).get("name") == r"bad\xff\x01/frame_000000.PNG"
    _, task = json.loads(written(tmp_path / "x.labelstudio.json", "hands").read_text())
    box, *points = task["predictions"][0]["result"]
    interface = ET.parse(tmp_path / "x.labelstudio.xml").getroot()
    names = {tag.get("name"): {label.get("value") for label in tag} for tag in interface if len(tag)}
    assert set(box["value"]["rectanglelabels"]) == names["label"] == {"left_hand"}
    assert {point["value"]["keypointlabels"][0] for point in points} < names["keypoint"]
    assert all(0 <= point["value"][axis] <= 100 and point["parentID"] == box["id"] for point in points for axis in "xy")
    with pytest.raises(InputError, match="cannot be read back"):
        load_frames(tmp_path / "x.cvat.xml")
    with pytest.raises(InputError, match="YOLO has one number of keypoints"):
        open_writer(tmp_path / "p.yolo.yaml", Header("a", 9, 9, None, "net", "people"))


def test_names_that_differ_in_their_ending_are_different_images(tmp_path):
    with open_writer(tmp_path / "x.coco.json", Header("v", 9, 9, 30.0, "net", "hands")) as writer:
        for name in ("a/clip.mp4", "a/clip.mov"):
            writer.write(Frame(0, 0.5, source=name))
    names = [image["file_name"] for image in json.loads((tmp_path / "x.coco.json").read_text())["images"]]
    assert names == ["a/clip.mp4/frame_000000.PNG", "a/clip.mov/frame_000000.PNG"]
    writer = open_writer(tmp_path / "x.yolo.yaml", Header("v", 9, 9, None, "net", "hands"))
    for name in ("1.jpg", "1.png"):
        writer.write(Frame(0, None, source=name))
    with pytest.raises(InputError, match=r"one label file, 1\.txt, for 1\.png"):
        writer.close()


@pytest.mark.parametrize("names", [("wrist", "tip"), ("tip", "tip"), ("tip", ""), ("", "")])
def test_keypoints_have_their_names_only_if_all_have_one_of_their_own(names):
    skeleton, points = SimpleNamespace(keypoints=names), np.zeros((2, 2))
    label = labels._Label("hand", "hand", None, skeleton, 0.9, 1, (0, 0, 1, 1), points, np.zeros(2, int))
    assert label.point_names == (["wrist", "tip"] if names == ("wrist", "tip") else ["0", "1"])


def plain_hands():
    """Return two hands in an image of 200 x 100 px, of which the first is inside except for a point."""
    points = np.full((21, 3), (20.004, 30, 0), np.float32)
    points[1], points[2], points[3] = (-10, 50, 0), (60.126, 80, 0), (30, 20, 0)
    outside = points + np.float32([220, 0, 0])
    return [Hand("Right", 0.91234, points, points, id=4), Hand("Left", 0.9, outside, points, id=5)]


def write_plain(path, *, sizes=None, width=200, height=100):
    writer = open_writer(path, Header("folder", width, height, None, "hands-full", "hands"))
    writer.sources = sizes or {}
    first, outside = plain_hands()
    with writer:
        writer.write(Frame(0, None, [first, outside], source="a.jpg"))
        writer.write(Frame(1, None, [first], source="b.jpg"))
    return writer


def test_coco_has_the_box_and_keypoints_inside_the_image(tmp_path):
    write_plain(tmp_path / "x.coco.json", sizes={"b.jpg": {"width": 50, "height": 60}})
    text = (tmp_path / "x.coco.json").read_text()
    data = json.loads(text)
    assert text.startswith('{"info": {"')  # with spaces
    first, second = data["annotations"]
    assert (first["id"], first["image_id"], second["id"], second["image_id"]) == (1, 1, 2, 2)
    assert first["bbox"] == [0.0, 20.0, 60.13, 60.0]
    assert first["area"] == pytest.approx(60.13 * 60, abs=1e-6)
    assert first["keypoints"][:12] == [20.0, 30.0, 2, 0.0, 0.0, 0, 60.13, 80.0, 2, 30.0, 20.0, 2]
    assert (first["num_keypoints"], first["score"], first["track_id"], first["hand_side"]) == (20, 0.9123, 4, "right")
    assert second["bbox"] == [0.0, 20.0, 50.0, 40.0]  # of an image with a size of its own
    assert second["num_keypoints"] == 19
    assert [(one["file_name"], one["width"], one["height"]) for one in data["images"]] == [
        ("a.jpg", 200, 100),
        ("b.jpg", 50, 60),
    ]
    assert not any("frame" in one for one in data["images"])


def test_yolo_has_the_centre_and_size_in_fractions_of_the_image(tmp_path):
    writer = write_plain(tmp_path / "x.yolo.yaml")
    number, *values = (tmp_path / "labels" / "a.txt").read_text().split()
    assert number == "0"
    assert values[:4] == ["0.150325", "0.500000", "0.300650", "0.600000"]
    assert values[4:13] == ["0.100000", "0.300000", "2", "0.000000", "0.000000", "0", "0.300650", "0.800000", "2"]
    assert list(writer.more_paths) == []
    lines = (tmp_path / "x.yolo.yaml").read_text().splitlines()
    assert lines == ["train: images", "val: images", "kpt_shape: [21, 3]", "names:", "  0: right_hand"]


def test_annotators_have_pixels_or_per_cent_of_the_image(tmp_path):
    write_plain(tmp_path / "x.cvat.xml")
    image = next(ET.parse(tmp_path / "x.cvat.xml").getroot().iter("image"))
    assert {name: image.get(name) for name in ("name", "width", "height")} == {
        "name": "a.jpg", "width": "200", "height": "100"
    }  # fmt: skip
    assert [image.find("box").get(name) for name in ("xtl", "ytl", "xbr", "ybr")] == ["0.00", "20.00", "60.13", "80.00"]
    points = [(point.get("points"), point.get("outside"), point.get("occluded")) for point in image.find("skeleton")]
    assert points[:3] == [("20.00,30.00", "0", "0"), ("0.00,0.00", "1", "0"), ("60.13,80.00", "0", "0")]
    writer = write_plain(tmp_path / "x.labelstudio.json")
    assert list(writer.more_paths) == [str(tmp_path / "x.labelstudio.xml")]
    (prediction,) = json.loads((tmp_path / "x.labelstudio.json").read_text())[0]["predictions"]
    box, wrist, *others = prediction["result"]
    assert box["value"] == {
        "x": 0.0, "y": 20.0, "width": 30.065, "height": 60.0, "rotation": 0, "rectanglelabels": ["right_hand"]
    }  # fmt: skip
    assert (wrist["value"]["x"], wrist["value"]["y"], len(others)) == (10.0, 30.0, 19)
    assert (prediction["score"], prediction["model_version"]) == (0.9123, "hands-full")


@pytest.mark.parametrize(("width", "height"), [(None, 100), (200, None)])
def test_labels_need_the_size_of_their_image(tmp_path, width, height):
    with pytest.raises(JobError, match=r"the size of a\.jpg is unknown"):
        write_plain(tmp_path / "x.coco.json", width=width, height=height)
    sizes = {name: {"width": 9, "height": 9} for name in ("a.jpg", "b.jpg")}
    write_plain(tmp_path / "y.coco.json", width=width, height=height, sizes=sizes)


def corner_hand(x_min, y_min, x_max, y_max, **more):
    """Return a hand with a box and its keypoints on the way from one corner to the other."""
    share = np.linspace(0, 1, 21)[:, None]
    points = (np.array([[x_min, y_min, 0]]) * (1 - share) + np.array([[x_max, y_max, 0]]) * share).astype(np.float32)
    return Hand("Left", 0.5, points, points, **more)


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((20, 30, 80, 70), [20, 30, 60, 40]),
        ((-20, -30, 80, 70), [0, 0, 80, 70]),
        ((120, 30, 280, 170), [120, 30, 80, 70]),
        ((200, 30, 280, 70), None),
        ((-50, 30, 0, 70), None),
        ((20, 100, 80, 170), None),
        ((20, -70, 80, 0), None),
        ((20, -70, 20, 50), None),
        ((199, 99, 280, 170), [199, 99, 1, 1]),
        ((-50, -50, 1, 1), [0, 0, 1, 1]),
        ((220, 130, 280, 170), None),
    ],
)
def test_instances_are_cut_at_the_image_and_left_out_outside(tmp_path, box, expected):
    path = tmp_path / "x.coco.json"
    with open_writer(path, Header("folder", 200, 100, None, "hands-full", "hands")) as writer:
        writer.write(Frame(0, None, [corner_hand(*box), corner_hand(10, 20, 40, 90, id=1)], source="a.jpg"))
    annotations = json.loads(path.read_text())["annotations"]
    assert [one["bbox"] for one in annotations] == [expected, [10, 20, 30, 70]][expected is None :]
    assert [one["area"] for one in annotations] == [
        width * height for *_, width, height in (one["bbox"] for one in annotations)
    ]


def test_the_format_follows_from_the_last_endings_of_a_name(tmp_path):
    for name, is_coco in (("clip.v2.coco.json", True), ("clip.COCO.Json", True), ("coco.json", False)):
        path = tmp_path / name
        with open_writer(path, Header("v", 9, 9, 30.0, "net", "hands")) as writer:
            writer.write(Frame(0, 0.5))
        assert ("images" in json.loads(path.read_text())) == is_coco


def test_a_category_has_the_lines_of_a_known_skeleton_or_the_names_of_its_own():
    unknown = {"id": 3, "name": "paw"}
    assert labels.category_record(3, "paw", None, []) == unknown
    assert labels.category_record(3, "paw", "no such", ["a", "b"]) == unknown | {"keypoints": ["a", "b"]}
    known = labels.category_record(2, "hand", "hand_mediapipe21", ["a"])
    skeleton = FOUND["hands"]().skeleton
    assert (known["id"], known["name"], known["keypoints"]) == (2, "hand", list(skeleton.keypoints))
    assert known["skeleton"] == [[a + 1, b + 1] for a, b in skeleton.connections]
