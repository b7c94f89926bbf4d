"""COCO's format: run lengths compared with the reference tools, images from folders and videos, bad files."""

import json
import math
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from faster_coco_eval import mask as official
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sonjit._util.errors import InputError
from sonjit.lab.datasets import VideoFrame, convert_dataset, mask_from_segmentation, open_dataset, rle_from_mask

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(MASKS)
def test_packed_run_lengths_are_the_reference_tools(mask):
    packed = rle_from_mask(mask)
    expected = official.encode(np.asfortranarray(mask.astype(np.uint8)))
    assert packed["counts"].encode() == expected["counts"]
    assert packed["size"] == list(expected["size"])
    assert np.array_equal(mask_from_segmentation(packed, *mask.shape), mask)


@given(MASKS)
def test_plain_run_lengths_survive_a_round_trip(mask):
    flat = mask.T.ravel().astype(int)
    runs, value, count = [], 0, 0
    for pixel in flat:
        if pixel != value:
            runs.append(count)
            value, count = pixel, 0
        count += 1
    runs.append(count)
    assert np.array_equal(mask_from_segmentation({"size": list(mask.shape), "counts": runs}, *mask.shape), mask)


@given(st.integers(0, 20), st.integers(0, 20), st.integers(3, 30), st.integers(3, 30))
def test_a_rectangle_of_integer_pixels_is_exact(left, top, wide, high):
    polygon = [left, top, left + wide, top, left + wide, top + high, left, top + high]
    mask = mask_from_segmentation([polygon], 60, 60)
    expected = np.zeros((60, 60), bool)
    expected[top : top + high, left : left + wide] = True
    assert np.array_equal(mask, expected)


def mask_of_polygon(polygon, height, width):
    """Fill a polygon as `rleFrPoly` of COCO's reference does: edges at five times the size, then columns of pixels."""
    x, y = ([int(5 * value + 0.5) for value in (*values, values[0])] for values in (polygon[::2], polygon[1::2]))
    points = []
    for xs, xe, ys, ye in zip(x, x[1:], y, y[1:], strict=False):
        dx, dy = abs(xe - xs), abs(ye - ys)
        steep, longest = dx < dy, max(dx, dy)
        flip = ys > ye if steep else xs > xe
        if flip:
            xs, xe, ys, ye = xe, xs, ye, ys
        slope = ((xe - xs) if steep else (ye - ys)) / longest
        for step in range(longest + 1):
            t = longest - step if flip else step
            points.append((int(xs + slope * t + 0.5), t + ys) if steep else (t + xs, int(ys + slope * t + 0.5)))
    toggles = np.zeros(height * width + 1, int)
    for (before, above), (u, v) in pairwise(points):
        column = ((u if u < before else u - 1) + 0.5) / 5 - 0.5
        if u != before and column == int(column) and 0 <= column < width:
            row = math.ceil(min(max((min(v, above) + 0.5) / 5 - 0.5, 0), height))
            toggles[int(column) * height + row] += 1
    return (toggles.cumsum()[:-1] % 2 > 0).reshape(width, height).T


COORDINATES = st.floats(-8, 40, width=32)


@given(st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=9), st.integers(1, 32), st.integers(1, 32))
def test_polygons_of_any_shape_equal_the_reference(corners, height, width):
    """Compare concave, tiny, crossing and off-grid polygons, also beyond the image, with the reference's algorithm."""
    scaled = [(int(5 * x + 0.5), int(5 * y + 0.5)) for x, y in corners]
    assume(
        all(a != b for a, b in zip(scaled, scaled[1:] + scaled[:1], strict=True))
    )  # where the reference divides by 0
    polygon = [value for corner in corners for value in corner]
    assert np.array_equal(mask_from_segmentation([polygon], height, width), mask_of_polygon(polygon, height, width))


def image(folder, name, size=(20, 30), shade=100):
    height, width = size
    cv2.imwrite(str(folder / name), np.full((height, width, 3), shade, np.uint8))


def small(**changes):
    data = {
        "images": [{"id": 7, "file_name": "a.png", "width": 30, "height": 20}],
        "annotations": [{
            "id": 1, "image_id": 7, "category_id": 2, "bbox": [3, 4, 10, 8], "iscrowd": 0,
            "segmentation": [[3, 4, 13, 4, 13, 12, 3, 12]], "keypoints": [5, 6, 2, 0, 0, 0],
        }],
        "categories": [{"id": 2, "name": "hand", "keypoints": ["wrist", "tip"]}],
    }  # fmt: skip
    return {**data, **changes}


def write(folder, data, name="set.json"):
    (folder / name).write_text(data if isinstance(data, str) else json.dumps(data), "utf-8")
    return folder / name


@pytest.mark.parametrize("where", ["beside", "images", "named"])
def test_a_folder_gives_its_images(tmp_path, where):
    folder = tmp_path / "images" if where != "beside" else tmp_path
    folder.mkdir(exist_ok=True)
    image(folder, "a.png")
    options = {"images": str(folder)} if where == "named" else {}
    data = open_dataset("folder", write(tmp_path, small()).parent, **options)
    (one,) = data
    assert one.rgb().shape == (20, 30, 3)
    (instance,) = one.instances
    assert instance.box == instance.bounds() == (3, 4, 13, 12)
    assert instance.filled_mask(20, 30).sum() == instance.mask().sum() == 80
    np.testing.assert_array_equal(instance.keypoints_px, [[5, 6], [np.nan, np.nan]])
    assert instance.keypoint_names == ("wrist", "tip")
    assert instance.keypoint_indices(["tip"]) == [1]
    assert instance.keypoint_indices(["tip", "thumb"]) is None
    assert data.categories() == {2: "hand"}


def test_without_a_mask_the_box_is_filled(tmp_path):
    data = small()
    del data["annotations"][0]["segmentation"]
    image(tmp_path, "a.png")
    (sample,) = open_dataset("folder", write(tmp_path, data))
    assert sample.instances[0].mask() is None
    assert sample.instances[0].filled_mask(20, 30).sum() == 80


@pytest.mark.files("demo/*coco*.json")
def test_the_demo_clips_annotations(file):
    """Read the frames of a video, and check that every mask reaches the edges of its box."""
    (video,) = file.parent.glob("*.mp4")
    for sample in open_dataset("folder", file, images=str(video))[:25]:
        for instance in sample.instances:
            rows, columns = np.nonzero(instance.mask())
            tight = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert np.abs(np.subtract(tight, instance.box)).max() <= 1
        assert sample.rgb().shape == (sample.height, sample.width, 3)


def test_frames_of_a_video_can_be_read_in_any_order(demo_clip):
    path, frames, _ = demo_clip
    for index in (3, 3, 5, 1, 0):
        np.testing.assert_array_equal(VideoFrame(Path(path), index).rgb(), frames[index])


ANNOTATION = small()["annotations"][0]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not valid JSON|cannot be read|JSON"),
        ("[]", "not in COCO's format|is not a|holds"),
        ({"images": []}, "'categories' is missing"),
        (small(images=[]), "not among the images"),
        (small(annotations=[{**ANNOTATION, "image_id": 8}]), "image 8"),
        (small(annotations=[{**ANNOTATION, "category_id": 5}]), "category_id 5"),
        (small(annotations=[{**ANNOTATION, "bbox": [1, 2, 0, 5]}]), "is empty"),
        (small(annotations=[{**ANNOTATION, "bbox": [1, 2]}]), "expected 4"),
        (small(images=small()["images"] * 2), "two images have the id 7"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_a_bad_file_is_one_clear_line(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as caught:
        open_dataset("folder", write(tmp_path, data))
    assert "\n" not in str(caught.value)
    assert "set.json" in str(caught.value) or "a.png" in str(caught.value)


def test_bad_labels_are_reported_on_opening_and_can_be_left_out(tmp_path):
    images = [{"id": number, "file_name": f"{number}.png", "width": 30, "height": 20} for number in (7, 8, 9)]
    labels = [{**ANNOTATION, "id": number, "image_id": number} for number in (7, 8, 9)]
    labels[1]["bbox"], labels[2]["category_id"] = [1, 2, 0, 5], 4
    for one in images:
        image(tmp_path, one["file_name"])
    file = write(tmp_path, small(images=images, annotations=labels))
    with pytest.raises(InputError, match=r"8\.png, annotation 8: bbox .* is empty.*, and 1 more of 3 samples are bad"):
        open_dataset("folder", file)
    left = open_dataset("folder", file, skip_bad=True)
    assert [sample.image_id for sample in left] == [7]
    assert [item.reason.partition(":")[0] for item in left.skipped] == ["8.png, annotation 8", "9.png, annotation 9"]
    assert len(open_dataset("folder", file, check="none")) == 3


def test_converted_sets_keep_the_ids_of_images_and_categories(tmp_path):
    image(tmp_path, "a.png")
    data = open_dataset("folder", write(tmp_path, small()))
    convert_dataset(data, tmp_path / "copy" / "copy.json")
    copy = json.loads((tmp_path / "copy" / "copy.json").read_text())
    assert ([one["id"] for one in copy["images"]], [one["id"] for one in copy["categories"]]) == ([7], [2])
    assert [(one["image_id"], one["category_id"]) for one in copy["annotations"]] == [(7, 2)]
    (sample,) = open_dataset("folder", tmp_path / "copy" / "copy.json")
    assert (sample.image_id, sample.instances[0].category_id) == (7, 2)


def test_file_names_may_begin_with_the_folder_of_the_images(tmp_path):
    (tmp_path / "images").mkdir()
    image(tmp_path / "images", "a.png")
    data = small(images=[small()["images"][0] | {"file_name": "images/a.png"}])
    (sample,) = open_dataset("folder", write(tmp_path, data), images=str(tmp_path / "images"))
    assert sample.rgb().shape == (20, 30, 3)


def test_a_folder_must_hold_one_annotation_file(tmp_path):
    with pytest.raises(InputError, match="contains neither a COCO file"):
        open_dataset("folder", tmp_path)
    write(tmp_path, small()), write(tmp_path, small(), "other.json")
    with pytest.raises(InputError, match="contains 2 annotation files"):
        open_dataset("folder", tmp_path)
    with pytest.raises(InputError, match="no such file"):
        open_dataset("folder", tmp_path / "absent.json")


def test_missing_or_wrong_images_are_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.png is missing"):
        open_dataset("folder", write(tmp_path, small()))
    image(tmp_path, "a.png", size=(21, 30))
    with pytest.raises(InputError, match=r"30 x 21 pixels and .*set\.json has 30 x 20"):
        open_dataset("folder", tmp_path)[0].rgb()


def test_frames_that_a_video_lacks_are_named(tmp_path, demo_clip):
    path, frames, _ = demo_clip
    height, width = frames[0].shape[:2]
    images = [{"id": 5, "file_name": "999999.png", "width": width, "height": height}]
    data = open_dataset("folder", write(tmp_path, small(images=images, annotations=[])), images=str(path))
    with pytest.raises(InputError, match="no frame 999999"):
        data[0].rgb()


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("text", "run lengths or a list of polygons"),
        ({"size": [3, 3], "counts": [9]}, "does not fit"),
        ({"size": [4, 5], "counts": [25]}, "exceed"),
        ({"size": [4, 5], "counts": [-1, 3]}, "damaged"),
        ({"size": [4, 5], "counts": "\x01"}, "damaged"),
        ([[1, 2, 3]], "three corners"),
        ([["a", 2, 3, 4, 5, 6]], "three corners"),
    ],
    ids=str,
)
def test_a_bad_segmentation_is_one_clear_line(segmentation, message):
    with pytest.raises(InputError, match=message):
        mask_from_segmentation(segmentation, 4, 5)
