"""COCO's format: run lengths compared with the reference tools, images from folders and videos, bad files."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from sonjit._util.errors import InputError
from sonjit_lab.datasets import VideoFrame, convert_dataset, mask_from_segmentation, open_dataset, rle_from_mask

MASKS = arrays.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))


@given(MASKS)
def test_run_lengths_survive_a_round_trip(mask):
    flat = mask.T.ravel().astype(int)
    counts = np.diff([0, *np.flatnonzero(np.diff([0, *flat])), len(flat)]).tolist()  # the first runs are background
    for segmentation in (rle_from_mask(mask), {"size": list(mask.shape), "counts": counts}):
        assert np.array_equal(mask_from_segmentation(segmentation, *mask.shape), mask)


def test_polygons_have_the_areas_of_the_reference():
    shapes = {2000: [0, 0, 60, 0, 60, 20, 20, 20, 20, 60, 0, 60], 435: [9.5, 9.5, 39.5, 9.5, 39.5, 39.5]}
    for area, corners in shapes.items():
        assert mask_from_segmentation([corners], 64, 64).sum() == area


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


def test_frames_of_a_video_can_be_read_in_any_order(demo_clip):
    path, frames, _ = demo_clip
    for index in (3, 3, 5, 1, 0):
        np.testing.assert_array_equal(VideoFrame(Path(path), index).rgb(), frames[index])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("{", "not valid JSON|cannot be read|JSON"),
        ("[]", "not in COCO's format|is not a|holds"),
        ({"images": []}, "'categories' is missing"),
        (small(images=[]), "not among the images"),
        (small(categories=2 * small()["categories"]), "two categories have one id"),
    ],
)
def test_a_bad_file_is_one_clear_line(tmp_path, data, message):
    with pytest.raises(InputError, match=message) as caught:
        open_dataset("folder", write(tmp_path, data))
    assert "\n" not in str(caught.value)
    assert "set.json" in str(caught.value) or "a.png" in str(caught.value)


def test_converted_sets_keep_the_ids_of_images_and_categories(tmp_path):
    image(tmp_path, "a.png")
    data = open_dataset("folder", write(tmp_path, small()))
    convert_dataset(data, tmp_path / "copy" / "copy.json")
    copy = json.loads((tmp_path / "copy" / "copy.json").read_text())
    assert ([one["id"] for one in copy["images"]], [one["id"] for one in copy["categories"]]) == ([7], [2])
    assert [(one["image_id"], one["category_id"]) for one in copy["annotations"]] == [(7, 2)]
    (sample,) = open_dataset("folder", tmp_path / "copy" / "copy.json")
    assert (sample.image_id, sample.instances[0].category_id) == (7, 2)


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ("text", "run lengths or a list of polygons"),
        ({"size": [4, 5], "counts": [25]}, "exceed"),
        ({"size": [4, 5], "counts": [-1, 3]}, "damaged"),
        ([[1, 2, 3]], "three corners"),
        ([[10**400, 0, 1, 0, 1, 1]], "three corners"),
    ],
)
def test_a_bad_segmentation_is_one_clear_line(segmentation, message):
    with pytest.raises(InputError, match=message):
        mask_from_segmentation(segmentation, 4, 5)


def test_frames_of_a_video_are_those_of_the_file_and_not_of_the_ids(demo_clip, tmp_path):
    path, frames, _ = demo_clip
    height, width = frames[0].shape[:2]
    place = {"width": width, "height": height}
    images = [
        {"id": 1, "file_name": "frame_000003.PNG"} | place,  # as CVAT writes it: ids count from 1
        {"id": 2, "file_name": "000001.png"} | place,
        {"id": 3, "file_name": "000004.png", "frame": 2} | place,
    ]
    file = write(tmp_path, small(images=images, annotations=[]))
    samples = open_dataset("folder", file, images=path)
    assert [sample.image_id for sample in samples] == [1, 2, 3]
    for sample, index in zip(samples, (3, 1, 2), strict=True):
        np.testing.assert_array_equal(sample.rgb(), frames[index])
    file = write(tmp_path, small(images=[images[0] | {"file_name": "clip_3.png"}], annotations=[]))
    with pytest.raises(InputError, match=r"clip_3\.png is no frame of .*: add the field frame"):
        open_dataset("folder", file, images=path)
    file = write(tmp_path, small(images=[images[1] | {"file_name": "999999.png"}], annotations=[]))
    with pytest.raises(InputError, match="no frame 999999"):
        open_dataset("folder", file, images=str(path))[0].rgb()
