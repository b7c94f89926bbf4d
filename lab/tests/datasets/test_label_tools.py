"""Labels of labelme, CVAT and YOLO pose are read as they were drawn; other tools are named, and hide no labels."""

import gzip
import json
import struct
import zlib

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.cli import main
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import open_dataset, reading
from sonjit_lab.datasets.sample import HAND_SKELETON

NAMES = load_skeleton(HAND_SKELETON).keypoints
SIZE = WIDTH, HEIGHT = 200, 150
POINTS = np.random.default_rng(0).uniform(20, 130, (2, 21, 2)).round(2)
HIDDEN, MISSING = 3, 7


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        cv2.imwrite(str(tmp_path / "images" / f"{name}.jpg"), np.full((HEIGHT, WIDTH, 3), 99, np.uint8))
    return tmp_path


def check(dataset, *, sides=(None, None), hidden=True, missing=True):
    sample = next(sample for sample in dataset if sample.id.endswith("a.jpg"))
    assert (sample.width, sample.height) == SIZE
    assert sample.rgb().shape == (HEIGHT, WIDTH, 3)
    hands = [instance for instance in sample.instances if instance.kind == "hand"]
    assert len(hands) == 2
    for hand, points, side in zip(hands, POINTS, sides, strict=True):
        assert hand.skeleton == HAND_SKELETON
        known = np.arange(21) != MISSING if missing else np.ones(21, np.bool_)
        assert hand.valid_px.tolist() == known.tolist()
        np.testing.assert_allclose(hand.keypoints_px[known], points[known], atol=1e-3)
        assert hand.visible[HIDDEN] == (not hidden)
        assert hand.side == side
    return hands


def point(name, place, group, *, hidden=False):
    return {
        "label": name,
        "points": [list(place)],
        "group_id": group,
        "shape_type": "point",
        "flags": {"occluded": hidden},
    }


def write_labelme(path, shapes, image="a.jpg"):
    content = {"version": "5.4.1", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None}
    path.write_text(json.dumps(content | {"imageHeight": HEIGHT, "imageWidth": WIDTH}))


@pytest.mark.parametrize("place", ["images", "labels", "."])
def test_labelme_is_read(place, folder):
    order = np.random.default_rng(1).permutation(21)
    shapes = []
    for group, (points, side) in enumerate(zip(POINTS, ("left", "right"), strict=True), 1):
        shapes += [point(NAMES[k], points[k], group, hidden=bool(k == HIDDEN)) for k in order if k != MISSING]
        box = {"label": f"{side}_hand", "points": [[10, 10], [150, 140]], "group_id": group, "shape_type": "rectangle"}
        shapes.append(box | {"flags": {}})
    (folder / place).mkdir(exist_ok=True)
    image = {"images": "a.jpg", "labels": "..\\images\\a.jpg", ".": "images/a.jpg"}[place]
    write_labelme(folder / place / "a.json", shapes, image)
    hands = check(open_dataset("folder", folder, check="all"), sides=("Left", "Right"))
    assert hands[0].box == (10, 10, 150, 140)


def test_points_of_labelme_without_a_group_are_one_hand(folder):
    write_labelme(
        folder / "images" / "a.json", [point(name, p, None) for name, p in zip(NAMES, POINTS[0], strict=True)]
    )
    sample, background = open_dataset("folder", folder)
    (hand,) = sample.instances
    assert (hand.kind, hand.skeleton) == ("hand", HAND_SKELETON)
    assert (background.id, background.instances) == ("images/b.jpg", ())
    np.testing.assert_allclose(hand.keypoints_px, POINTS[0])


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (point("wrist", (1, 2), 1), "two points of an instance are named wrist"),
        ({"label": "x", "points": [[1, 2], [3, 4]], "shape_type": "circle"}, "the shape x is a circle"),
        ({"points": [[1, 2]], "shape_type": "point"}, "the field 'label' is missing"),
    ],
)
def test_wrong_shapes_of_labelme_are_named(shape, message, folder):
    write_labelme(folder / "images" / "a.json", [point("wrist", (1, 2), 1), shape])
    with pytest.raises(InputError, match=message):
        open_dataset("folder", folder)


def skeleton(points, names, order, **more):
    own = " ".join(f'{key}="{value}"' for key, value in more.items())
    rows = "".join(
        f'<points label="{names[k]}" occluded="{int(k == HIDDEN)}" outside="{int(k == MISSING)}" '
        f'points="{points[k][0]},{points[k][1]}"></points>'
        for k in order
    )
    side = '<attribute name="side">left</attribute>'
    return f'<skeleton label="hand" source="manual" z_order="0" {own}>{rows}{side}</skeleton>'


def test_cvat_for_images_is_read(folder):
    order = np.random.default_rng(2).permutation(21)
    hands = "".join(skeleton(points, NAMES, order) for points in POINTS)
    box = '<box label="cup" occluded="0" xtl="1" ytl="2" xbr="30" ybr="40"></box>'
    image = (
        f'<image id="0" name="a.jpg" width="{WIDTH}" height="{HEIGHT}">{hands}{box}<tag label="indoor"></tag></image>'
    )
    (folder / "annotations.xml").write_text(f"<annotations><version>1.1</version>{image}</annotations>")
    dataset = open_dataset("folder", folder, check="all")
    check(dataset, sides=("Left", "Left"))
    assert dataset[0].instances[-1].box == (1, 2, 30, 40)
    assert dataset[0].instances[-1].category == "cup"


def test_numbered_points_of_cvat_need_a_stated_order(folder):
    numbers = [str(number) for number in range(1, 22)]
    inverse = np.argsort(reading.MANO)
    hands = "".join(skeleton(points[inverse], numbers, range(21)) for points in POINTS)
    labels = "".join(f"<label><name>{name}</name><parent>hand</parent></label>" for name in numbers)
    meta = f"<meta><task><labels>{labels}</labels></task></meta>"
    image = f'<image id="0" name="a.jpg" width="{WIDTH}" height="{HEIGHT}">{hands}</image>'
    (folder / "annotations").mkdir()
    (folder / "annotations" / "task.xml").write_text(f"<annotations>{meta}{image}</annotations>")
    (hand, _) = open_dataset("folder", folder, order="mano")[0].instances
    known = hand.valid_px
    np.testing.assert_allclose(hand.keypoints_px[known], POINTS[0][known])
    assert open_dataset("folder", folder)[0].instances[0].skeleton is None


def test_cvat_for_video_is_read(folder):
    frames = "".join(skeleton(POINTS[0] + k, NAMES, range(21), frame=k, outside=int(k == 2)) for k in range(3))
    size = f"<original_size><width>{WIDTH}</width><height>{HEIGHT}</height></original_size>"
    track = f'<track id="0" label="hand">{frames}</track>'
    (folder / "annotations.xml").write_text(f"<annotations><meta><task>{size}</task></meta>{track}</annotations>")
    dataset = open_dataset("folder", folder, check="none")
    assert [(sample.frame, len(sample.instances)) for sample in dataset] == [(0, 1), (1, 1), (2, 0)]
    np.testing.assert_allclose(dataset[1].instances[0].keypoints_px[0], POINTS[0][0] + 1)


def yolo_line(points, dimension=3):
    flags = np.where(np.arange(21) == MISSING, 0, np.where(np.arange(21) == HIDDEN, 1, 2))
    placed = np.where(flags[:, None] > 0, points / SIZE, 0)
    values = np.column_stack([placed, flags])[:, :dimension]
    return "0 0.5 0.5 0.6 0.7 " + " ".join(f"{value:.6f}" for value in values.ravel())


@pytest.mark.parametrize("names", ["names:\n  0: hand\n", "names: [hand]\n"])
@pytest.mark.parametrize("part", ["", "train"])
def test_yolo_pose_is_read(names, part, folder):
    (folder / "labels" / part).mkdir(parents=True)
    if part:
        (folder / "images" / part).mkdir()
        for name in ("a.jpg", "b.jpg"):
            (folder / "images" / name).rename(folder / "images" / part / name)
    (folder / "labels" / part / "a.txt").write_text("\n".join(map(yolo_line, POINTS)))
    (folder / "labels" / part / "b.txt").write_text("")
    (folder / "data.yaml").write_text("path: .\ntrain: images\nval: images\nkpt_shape: [21, 3]\n" + names)
    dataset = open_dataset("folder", folder, order="mediapipe", check="all")
    assert len(dataset) == 2
    (hand, _) = check(dataset)
    np.testing.assert_allclose(hand.box, (40, 22.5, 160, 127.5))
    assert open_dataset("folder", folder)[0].instances[0].skeleton is None


def test_boxes_of_yolo_in_pixels_are_refused(folder):
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("0 100 75 120 105")
    (folder / "data.yaml").write_text("names: [hand]\n")
    with pytest.raises(InputError, match=r"a\.txt: the box .* has numbers outside of 0 to 1"):
        open_dataset("folder", folder)


def test_yolo_pose_without_visibility_and_with_names_is_read(folder):
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text("\n".join(yolo_line(points, 2) for points in POINTS))
    named = "".join(f"\n    - {name}" for name in NAMES)
    (folder / "data.yaml").write_text(f"kpt_shape: [21, 2]\nnames: [hand]\nkpt_names:\n  0:{named}\n")
    check(open_dataset("folder", folder, check="all"), hidden=False)


@pytest.mark.parametrize(
    ("text", "message"),
    [("0 0.5 0.5 0.6 0.7 0.1", "a line has 6 numbers; expected 68"), ("3 0.5 0.5 0.6 0.7", "the class 3 is not among")],
)
def test_wrong_lines_of_yolo_are_named(text, message, folder):
    (folder / "labels").mkdir()
    (folder / "labels" / "a.txt").write_text(text)
    (folder / "data.yaml").write_text("kpt_shape: [21, 3]\nnames: [hand]\n")
    with pytest.raises(InputError, match=message):
        open_dataset("folder", folder)


VIA_CSV = "filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes\n"
OTHERS = {
    "via.json": ('{"a.jpg1": {"filename": "a.jpg", "regions": [], "file_attributes": {}}}', "VGG Image Annotator"),
    "via.csv": (VIA_CSV, "VGG Image Annotator"),
    "export.json": ('[{"annotations": [{"result": [{"original_width": 9}]}]}]', "the field 'data' is missing"),
    "images/a.json": ('{"objects": [{"classTitle": "hand"}], "size": {}}', "Supervisely"),
    "images/a_keypoints.json": ('{"version": 1.3, "people": [{"hand_left_keypoints_2d": []}]}', "OpenPose"),
    "images/a.xml": ("<annotation><object><name>hand</name></object></annotation>", "Pascal VOC"),
    "labels/a.txt": ("0 0.5 0.5 0.1 0.1\n", "YOLO"),
    "images/a.txt": ("0 0.5 0.5 0.1 0.1\n", "YOLO"),
    "CollectedData.csv": ("scorer,me,me\nbodyparts,wrist,wrist\n", "DeepLabCut"),
    "images/a.mat": ("MATLAB", "seems to contain labels"),
    "labels/a.json": ('{"points": [[1, 2]]}', "field 'categories' is missing|not in COCO"),
    "annotations.zip": ("PK", "is packed: unpack it"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_labels_of_other_tools_are_named_and_never_hidden(name, folder):
    content, words = OTHERS[name]
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(content)
    with pytest.raises(InputError, match=words):
        open_dataset("folder", folder)


def test_packed_labels_are_named(folder):
    (folder / "dataset.json.gz").write_bytes(gzip.compress(b"{}"))
    with pytest.raises(InputError, match="is packed: unpack it"):
        open_dataset("folder", folder)


def test_a_coco_file_next_to_the_images_is_read(folder):
    label = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}
    image = {"id": 0, "file_name": "a.jpg", "width": WIDTH, "height": HEIGHT}
    data = {"images": [image], "annotations": [label], "categories": [{"id": 1, "name": "hand"}]}
    (folder / "images" / "_annotations.coco.json").write_text(json.dumps(data))
    (sample,) = open_dataset("folder", folder, check="all")
    assert sample.instances[0].box == (1, 2, 4, 6)


def test_images_that_a_decoder_repairs_are_named(folder, capfd):
    rng = np.random.default_rng(0)
    whole = cv2.imencode(".jpg", rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    (folder / "images" / "a.jpg").write_bytes(whole)
    (folder / "images" / "b.jpg").write_bytes(whole[: len(whole) // 2] + b"\xff\xd9")
    images = [
        {"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(("a.jpg", "b.jpg"))
    ]
    (folder / "dataset.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    assert main(["datasets", "check", "folder", "--root", str(folder)]) == 0
    lines = [line for line in capfd.readouterr().err.splitlines() if "the decoder repairs it" in line]
    assert len(lines) == 1
    assert "b.jpg" in lines[0]


def test_folders_of_images_are_classes_if_no_labels_lie_there(folder):
    (folder / "README.txt").write_text("photographs")
    (folder / "images" / "notes.txt").write_text("of a walk")
    assert [sample.instances[0].category for sample in open_dataset("folder", folder)] == ["images", "images"]


def write_yolo_splits(folder, parts, lists=False):
    """Write a labelled image and a background of each part."""
    for part in parts:
        for name, line in ((f"{part}1", yolo_line(POINTS[0])), (f"{part}2", None)):
            for kind in ("images", "labels"):
                (folder / kind / part).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / "images" / part / f"{name}.JPG"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
            if line:
                (folder / "labels" / part / f"{name}.txt").write_text(line)
        if lists:
            names = "".join(f"./images/{part}/{part}{number}.JPG\n" for number in (1, 2))
            (folder / f"{part}.txt").write_text(names)


@pytest.mark.parametrize("form", ["folders", "lists", "list of folders", "roboflow", "absolute"])
def test_splits_of_yolo_are_not_mixed(form, folder):
    parts = ("train", "val", "test")
    write_yolo_splits(folder, parts, lists=form == "lists")
    places = {part: f"images/{part}" for part in parts}
    if form == "lists":
        places = {part: f"{part}.txt" for part in parts}
    if form == "roboflow":
        for part in parts:
            (folder / part).mkdir()
            for kind in ("images", "labels"):
                (folder / kind / part).rename(folder / part / kind)
        places = {part: f"../{part}/images" for part in parts}
    if form == "absolute":
        places = {part: str(folder / place) for part, place in places.items()}
    listed = f"[{places['train']}, {places['val']}]" if form == "list of folders" else places["train"]
    text = f"path: /elsewhere\ntrain: {listed}\nval: {places['val']}\ntest: {places['test']}\n"
    (folder / "data.yaml").write_text(text + "kpt_shape: [21, 3]\nnames: [hand]\n")
    with pytest.raises(InputError, match="has the splits train, val, test: choose one, such as split=train"):
        open_dataset("folder", folder, order="mediapipe")
    for part in parts:
        samples = open_dataset("folder", folder, part, order="mediapipe", check="all")
        count = 4 if (form, part) == ("list of folders", "train") else 2
        assert len(samples) == count
        assert sum(len(sample.instances) for sample in samples) == count // 2
    with pytest.raises(InputError, match="Unknown split"):
        open_dataset("folder", folder, "minival")


def test_a_split_that_labels_do_not_state_is_refused(folder):
    write_labelme(folder / "images" / "a.json", [point(name, p, 1) for name, p in zip(NAMES, POINTS[0], strict=True)])
    with pytest.raises(InputError, match="has no split val; omit it"):
        open_dataset("folder", folder, "val")


def cvat_images(*images):
    rows = "".join(
        f'<image id="{i}" name="{name}.jpg" width="{WIDTH}" height="{HEIGHT}"{more}>{shapes}</image>'
        for i, (name, more, shapes) in enumerate(images)
    )
    return f"<annotations><version>1.1</version>{rows}</annotations>"


def test_subsets_of_cvat_are_splits(folder):
    text = cvat_images(
        ("a", ' subset="Train"', skeleton(POINTS[0], NAMES, range(21))), ("b", ' subset="Validation"', "")
    )
    (folder / "annotations.xml").write_text(text)
    with pytest.raises(InputError, match="the splits train, val"):
        open_dataset("folder", folder)
    assert [sample.id for sample in open_dataset("folder", folder, "val")] == ["images/b.jpg"]


def test_shapes_of_one_cvat_group_are_one_instance(folder):
    box = '<box label="{}" occluded="0" xtl="15" ytl="15" xbr="140" ybr="140" group_id="{}"/>'
    polygon = '<polygon label="hand" points="20,20;130,20;130,130" group_id="{}"/>'
    one = skeleton(POINTS[0], NAMES, range(21), group_id=1)
    cases = {
        one + box.format("anything", 1) + polygon.format(1): 1,
        skeleton(POINTS[0], NAMES, range(21)) + box.format("hand", 0): 1,  # the box with the skeleton's label
        one + skeleton(POINTS[1], NAMES, range(21), group_id=1): 2,  # both hands of a person
        one + box.format("cup", 0): 2,
        box.format("hand", 3) + box.format("hand", 4): 2,
        box.format("hand", 3) + polygon.format(3): 1,
        "".join(
            f'<points label="{name}" occluded="0" points="{x},{y}" group_id="7"/>'
            for name, (x, y) in zip(NAMES, POINTS[0].tolist(), strict=True)
        ): 1,
    }
    for shapes, count in cases.items():
        (folder / "annotations.xml").write_text(cvat_images(("a", "", shapes)))
        instances = open_dataset("folder", folder, check="none")[0].instances
        assert len(instances) == count, shapes
        if "skeleton" in shapes and count == 1:
            assert instances[0].box == (15, 15, 140, 140)
        if "skeleton" not in shapes and "box" in shapes:
            assert instances[0].keypoints_px is None


@pytest.mark.parametrize(
    ("degrees", "box"), [(90, (90, 20, 110, 120)), (180, (50, 60, 150, 80)), (270, (90, 20, 110, 120))]
)
def test_turned_boxes_of_cvat_are_read(degrees, box, folder):
    shape = f'<box label="hand" xtl="50" ytl="60" xbr="150" ybr="80" rotation="{degrees}"/>'
    (folder / "annotations.xml").write_text(cvat_images(("a", "", shape)))
    np.testing.assert_allclose(open_dataset("folder", folder, check="none")[0].instances[0].box, box)


def test_pngs_whose_data_end_early_and_files_that_end_in_zeros_are_named(folder, capsys):
    rng = np.random.default_rng(0)
    whole = cv2.imencode(".png", rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    webp = cv2.imencode(".webp", rng.integers(0, 255, (HEIGHT, WIDTH, 3), np.uint8))[1].tobytes()
    head, data = whole[:33], zlib.decompress(png_data(whole))
    chunks = [(b"IDAT", zlib.compress(data[: len(data) // 3])), (b"IEND", b"")]
    packed = b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    files = {
        "a.png": whole,
        "b.png": head + packed,
        "c.webp": webp[: len(webp) // 2] + bytes(len(webp) - len(webp) // 2),
    }
    for name, content in files.items():
        (folder / "images" / name).write_bytes(content)
    images = [{"id": i, "file_name": name, "width": WIDTH, "height": HEIGHT} for i, name in enumerate(files)]
    (folder / "dataset.json").write_text(json.dumps({"images": images, "annotations": [], "categories": []}))
    main(["datasets", "check", "folder", "--root", str(folder), "--skip-bad"])
    text = capsys.readouterr().err
    assert "b.png: the decoder repairs it (67% of its pixels are missing)" in text
    assert "c.webp" in text
    assert "a.png" not in text
    assert "3 without objects" in text or "2 without objects" in text


def png_data(whole):
    at, data = 8, b""
    while at < len(whole):
        length = int.from_bytes(whole[at : at + 4], "big")
        data += whole[at + 8 : at + 8 + length] if whole[at + 4 : at + 8] == b"IDAT" else b""
        at += 12 + length
    return data


def yolo_folder(folder, text, name="a"):
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "labels" / f"{name}.txt").write_bytes(text)
    (folder / "data.yaml").write_text("train: images\nnames: [hand]\n")
    return open_dataset("folder", folder, check="none")[0].instances


def test_outlines_of_yolo_are_masks_and_repeated_lines_one_instance(folder):
    (hand,) = yolo_folder(folder, b"0 0.1 0.2 0.5 0.2 0.5 0.6\n")
    np.testing.assert_allclose(hand.box, (20, 30, 100, 90))
    assert hand.mask().sum() == pytest.approx(80 * 60 / 2, rel=0.05)
    (hand,) = yolo_folder(folder, b"\xef\xbb\xbf0 0.5 0.5 0.4 0.4\r\n0 0.5 0.5 0.4 0.4\r\n")
    np.testing.assert_allclose(hand.box, (60, 45, 140, 105))


def test_points_in_the_only_rectangle_of_a_labelme_file_are_its_keypoints(folder):
    box = {"label": "left hand", "points": [[140, 140], [10, 10]], "shape_type": "rectangle"}
    write_labelme(
        folder / "images" / "a.json", [point("wrist", (30, 40), None), point("thumb_tip", (60, 70), None), box]
    )
    (hand,) = open_dataset("folder", folder, check="none")[0].instances
    assert (hand.side, hand.box, int(hand.valid_px.sum())) == ("Left", (10, 10, 140, 140), 2)


def test_images_that_label_studio_turned_are_refused(folder):
    region = {"id": "x", "type": "rectanglelabels", "image_rotation": 90, "original_width": 9, "value": {}}
    task = {"data": {"image": "a.jpg"}, "annotations": [{"result": [region]}]}
    (folder / "export.json").write_text(json.dumps([task]))
    with pytest.raises(InputError, match="turned by 90 degrees"):
        open_dataset("folder", folder)
