"""Augmented labels stay on the pixels that they label, in every recipe that augments, also in mirrors and turns."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.support.coco_files import write_coco

from sonjit._util import data_files
from sonjit.geometry.boxes import RotatedBox, crop, crop_on_grid, letterbox, letterbox_box, points_from_crop
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import ManoParameters, open_dataset
from sonjit_lab.datasets.sample import HAND_SKELETON, Instance, Sample
from sonjit_lab.hand_models.placeholders import placeholder_mano
from sonjit_lab.networks import keypoint_detector as detectors
from sonjit_lab.papers.deformer import recipe as deformer
from sonjit_lab.papers.deformer.network import VARIANTS, VariantHands
from sonjit_lab.papers.handoccnet import recipe as handoccnet
from sonjit_lab.papers.interhand import internet as two_hands
from sonjit_lab.papers.interhand import internet_recipe as internet
from sonjit_lab.papers.interhand import rootnet_recipe as rootnet
from sonjit_lab.papers.mask_rcnn import recipe as mask_rcnn
from sonjit_lab.papers.mediapipe_hands import masks, palms
from sonjit_lab.training import faces_and_bodies
from sonjit_lab.training.augment import Augmentation
from sonjit_lab.training.hands import head_data, keypoint_detector, landmark_data

SIZE, RADIUS = (320, 240), 2.0
CAMERA = CalibratedCamera(np.array([[300.0, 0, 150], [0, 310, 130], [0, 0, 1]]))
CHANGES = {
    "unchanged": Augmentation(),
    "mirrored": Augmentation(mirror=True),
    "half a turn": Augmentation(rotation_rad=math.pi),
    "turned": Augmentation(rotation_rad=math.radians(30)),
    "mirrored and turned": Augmentation(mirror=True, rotation_rad=math.radians(-50)),
    "smaller and shifted": Augmentation(scale=1.3, shift=(0.07, -0.05)),
    "all": Augmentation(mirror=True, scale=0.9, shift=(-0.05, 0.04), rotation_rad=math.radians(20)),
}
JOINTS = [0, 4, 9, 12, 20]
HAND_M = 0.01 * np.array([
    [0, 0], [-2, -1], [-4, -2.5], [-5.5, -4], [-7, -5.5], [-2.5, -9], [-3, -12], [-3.2, -14.5], [-3.4, -17], [0, -9.5],
    [0, -13], [0, -16], [0, -18.5], [2, -9], [2.3, -12.3], [2.5, -15], [2.7, -17.5], [4, -8], [4.8, -10.5],
    [5.3, -12.5], [5.8, -14.5],
])  # fmt: skip
METRES = np.column_stack([HAND_M + np.array([0.01, 0.09]), np.full(21, 0.42)])


def dot(x, y, size=SIZE):
    """Return an image of a soft dot whose pixel (0, 0) has its centre at 0, 0."""
    columns, rows = np.arange(size[0]), np.arange(size[1])[:, None]
    grey = 255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * RADIUS**2))
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, 2)


def centre_of(image):
    """Return the centre of a dot in an image (H, W, 3), or (H, W), in pixels from the centre of the first one."""
    grey = np.asarray(image, np.float64)
    grey = grey if grey.ndim == 2 else grey.mean(2)
    grey = np.where(grey > 0.2 * grey.max(), grey, 0)
    rows, columns = np.mgrid[: grey.shape[0], : grey.shape[1]]
    return np.array([(grey * columns).sum(), (grey * rows).sum()]) / grey.sum()


def hand_sample(joint, side="Right", **more):
    points = CAMERA.project(METRES)
    every = np.ones(21, np.bool_)
    low, high = points.min(0) - 8, points.max(0) + 8
    fields = {"box": (*low, *high), "keypoints_px": points, "valid_px": every, "keypoints_m": METRES, "valid_m": every}
    hand = Instance(kind="hand", side=side, skeleton=HAND_SKELETON, visible=every, **fields | more)
    image = dot(*points[joint])
    return Sample(
        dataset="dots", id="dots", image=image, width=SIZE[0], height=SIZE[1], instances=(hand,), camera=CAMERA
    )


def of_keypoint_detector(sample, joint, change):
    hand = sample.instances[0]
    area = detectors.area_of_box(hand.box)
    example = keypoint_detector.example_from_hand(sample.rgb(), hand, area, 256, change)
    return example.image, example.keypoints[joint] if example.known[joint] else None


def of_landmarks(sample, joint, change):
    crop = landmark_data.augment(landmark_data.LandmarkCrops([sample])[0], change)
    return crop.image(), crop.keypoints[joint]


def of_rootnet(sample, joint, change):
    example = rootnet.example_from_hand(sample, sample.instances[0], 256, change)
    return example.image, example.coord[:2] * 4 if joint == 0 else None


def of_internet(sample, joint, change):
    layout = two_hands.LAYOUTS["interhand"]
    (crop,) = internet.crops_from_sample(sample, layout)
    example = internet.example_from_image(crop.image, layout, change)
    side = two_hands.SIDES[1 - two_hands.SIDES.index("Right")] if change.mirror else "Right"
    order = layout.from_mediapipe21(np.repeat(np.arange(21.0)[:, None], 2, 1))[:, 0]
    row = np.arange(42)[layout.joints(side)][np.flatnonzero(order == joint)[0]]
    return example.image, example.joints[row, :2] * 4 if example.valid[row] else None


def of_palms(sample, joint, change):
    if joint not in (0, 9):
        return None, None
    index = palms.PALM_KEYPOINTS.index("wrist" if joint == 0 else "middle_finger_mcp")
    found = palms.augment(palms.PalmSamples([sample], 192)[0], change)
    return found.image, found.palms[0, index] if len(found.palms) else None


def with_fit(joint, side="Right"):
    mano = placeholder_mano()
    mesh = ManoParameters(np.zeros(48), np.zeros(10), np.array([0.0, 0.05, 0.42]), "camera", flat_mean=True)
    zeros = torch.zeros(1, 58).to(mano.template)
    with torch.no_grad():
        _, joints = mano(zeros[:, :48], zeros[:, 48:], flat_hand_mean=True, tips="handoccnet")
    metres = joints[0].double().numpy() + mesh.trans
    points = CAMERA.project(metres)
    sample = hand_sample(joint, side, keypoints_px=points, keypoints_m=metres, mesh=mesh, box=None)
    return replace(sample, image=dot(*points[joint])), mano


def of_handoccnet(joint, change, side):
    sample, mano = with_fit(joint, side)
    found = handoccnet._example(sample, sample.instances[0], mano, 256, change)
    return found.image, found.joints[joint] * 256


def of_deformer(joint, change):
    sample, mano = with_fit(joint)
    hands = VariantHands(VARIANTS["ho3d"], mano, None)
    window = deformer.window_from_samples([(sample, sample.instances[0])], hands, 256, change)
    x_min, y_min, x_max, y_max = window.boxes[0]
    place = np.array([x_min, y_min]) + window.joints[0, joint] * (x_max - x_min, y_max - y_min)
    return window.images[0].permute(1, 2, 0).numpy(), place


RECIPES = {
    "keypoint-detector": of_keypoint_detector,
    "hand-full": of_landmarks,
    "rootnet": of_rootnet,
    "internet": of_internet,
    "palm": of_palms,
}


def check(image, place, tolerance=0.15):
    """Compare a label with the dot, unless the dot is cut or the recipe has no such label; return 1 or 0."""
    size = np.array(image.shape[1::-1] if image is not None else (0, 0))
    if place is None or not ((np.asarray(place) > 8) & (np.asarray(place) < size - 8)).all():
        return 0
    np.testing.assert_allclose(place, centre_of(image), atol=tolerance)
    return 1


@pytest.mark.nightly_after(8)
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("recipe", RECIPES)
def test_hands_stay_on_their_dots(recipe, change):
    if recipe == "palm":
        change = change if change in ("unchanged", "mirrored", "half a turn") else "mirrored"
    counted = sum(check(*RECIPES[recipe](hand_sample(joint), joint, CHANGES[change])) for joint in JOINTS)
    assert counted


@pytest.mark.parametrize("side", ["Right", "Left"])
@pytest.mark.parametrize("change", [name for name, change in CHANGES.items() if not change.mirror])
def test_hands_with_mano_stay_on_their_dots(change, side):
    assert sum(check(*of_handoccnet(joint, CHANGES[change], side)) for joint in JOINTS)
    if side == "Right":
        assert sum(check(*of_deformer(joint, CHANGES[change])) for joint in JOINTS)


@pytest.mark.parametrize("change", CHANGES)
def test_faces_and_bodies_stay_on_their_dots(change):
    settings = faces_and_bodies.PointSettings(network="pose-lite")
    rng = np.random.default_rng(0)
    points = rng.uniform((100, 60), (220, 180), (17, 2))
    points[[5, 6, 11, 12]] = (130, 90), (190, 90), (140, 150), (180, 150)
    body = Instance(kind="body", skeleton="body_coco17", keypoints_px=points)
    for joint in (5, 12):
        sample = replace(hand_sample(0), instances=(body,), image=dot(*points[joint]))
        (labelled,) = faces_and_bodies.labelled_crops(sample, settings)
        crop = faces_and_bodies.augmented_crop(labelled, CHANGES[change]).crop
        row = {5: 6, 12: 11}[joint] if CHANGES[change].mirror else joint
        assert check(crop.image(), crop.keypoints[row])


@pytest.mark.parametrize("change", CHANGES)
def test_masks_stay_on_their_objects(change):
    disc = np.hypot(*(np.mgrid[:240, :320] - np.array([100, 150])[:, None, None])) < 12
    mask = disc[None].astype(np.uint8)
    example = mask_rcnn.Example(np.repeat(255 * mask[0, ..., None], 3, 2), np.array([1]), mask)
    found = mask_rcnn.augment(example, np.array([0, 1]), CHANGES[change])
    np.testing.assert_allclose(centre_of(255 * found.masks[0]), centre_of(found.rgb - found.rgb.min()), atol=0.3)
    points = CAMERA.project(METRES)
    sample = replace(hand_sample(0), image=dot(*points[9]))
    hand = replace(sample.instances[0], read_mask=lambda: dot(*points[9])[..., 0] > 60)
    image, parts = masks.cut_hand(masks.MaskedHand(replace(sample, instances=(hand,)), 0, ()), 160, CHANGES[change])
    np.testing.assert_allclose(4 * centre_of(parts[0]) + 1.5, centre_of(image), atol=1.5)


@pytest.mark.parametrize("box", [(160, 120, 180, 180, 0.0), (150, 130, 90, 90, 0.6), (170, 110, 320, 320, -2.0)])
@pytest.mark.parametrize("size", [128, 224])
def test_a_detector_places_a_dot_where_its_network_sees_it(box, size):
    """A network that names the pixel of the crop gives the pixel of the image, as labels count it."""
    box = RotatedBox(*box)
    for x, y in ((150, 130), (163.3, 121.6)):
        crops = [np.empty((size, size, 3), np.uint8), crop(dot(x, y), box, size, size)]
        crop_on_grid(dot(x, y), box, crops[0])
        for image in crops:
            fraction = np.array([[*centre_of(image) / size, 0]])
            np.testing.assert_allclose(points_from_crop(fraction, box)[0, :2], (x, y), atol=0.15)


@pytest.mark.parametrize("size", [(320, 240), (240, 320)])
def test_a_detector_of_the_whole_image_places_a_dot_where_its_network_sees_it(size):
    found = centre_of(letterbox(dot(150, 130, size), 192, 192))
    box = letterbox_box(*size, 192, 192)
    place = points_from_crop(np.array([[*found / 192, 0]]), box)[0, :2]
    np.testing.assert_allclose(place, (150, 130), atol=0.1)


def test_pasted_objects_hide_the_keypoints_on_them():
    """A keypoint is hidden if the pixel whose centre is nearest has the object."""
    grey = np.full((200, 200, 3), 128, np.uint8)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points = rng.uniform(40, 160, (21, 2)).astype(np.float32)
        hand = head_data.LabelledHand(points, np.zeros(21, np.int8), right=True)
        scene = head_data.pasted_over(head_data.LabelledImage(grey, (hand,)), np.zeros_like(grey), rng)
        columns, rows = np.rint(points).astype(int).T
        covered = (scene.rgb[rows, columns] != 128).any(1)
        np.testing.assert_array_equal(scene.hands[0].causes > 0, covered)


def test_mirrored_images_of_heads_stay_on_their_dots():
    points = CAMERA.project(METRES).astype(np.float32)
    for joint in JOINTS:
        hand = head_data.LabelledHand(points, np.zeros(21, np.int8), right=True)
        found = head_data.mirrored(head_data.LabelledImage(dot(*points[joint]), (hand,)))
        assert check(found.rgb, found.hands[0].keypoints[joint])


@pytest.mark.parametrize(
    "info", [{"pixel_centre": 0.5}, {"description": "hands rendered by Sonjit"}, {"pixel_centre": 0}, {}]
)
def test_files_that_count_from_the_corner_are_read_from_the_centre(info, tmp_path):
    points = CAMERA.project(METRES)
    offset = 0.5 if info and info.get("pixel_centre") != 0 else 0
    names = load_skeleton(HAND_SKELETON).keypoints
    label = {"keypoints3d": (1000 * METRES).tolist(), "hand_side": "right"}
    file = write_coco(tmp_path, {"a.png": dot(*points[9])}, [(0, points + offset, label)], names)
    data = data_files.read_json(file)
    K = CAMERA.K + offset * np.array([[0, 0, 1], [0, 0, 1], [0, 0, 0]])
    data["images"][0]["camera"] = {"K": K.tolist()}
    data_files.write_json(file, data | {"info": info})
    (sample,) = open_dataset("folder", tmp_path, check="all")
    np.testing.assert_allclose(sample.instances[0].keypoints_px, points, atol=1e-9)
    np.testing.assert_allclose(sample.camera.K, CAMERA.K)
    for change in CHANGES.values():
        assert check(*of_landmarks(sample, 9, change))
        assert check(*of_keypoint_detector(replace_box(sample), 9, change))


def replace_box(sample):
    return replace(sample, instances=tuple(replace(hand, box=hand.bounds()) for hand in sample.instances))
