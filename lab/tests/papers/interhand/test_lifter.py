"""Lifting: correct positions with perfect networks, hands that share a crop, errors and messages."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import sonjit
from sonjit import InputError
from sonjit.engines.quiet_openvino import ov
from sonjit.geometry import boxes, cameras
from sonjit.results import Frame, Hand
from sonjit_lab.lifting import Lift, create_lifter
from sonjit_lab.networks import create_network, export, network_entry, save_checkpoint
from sonjit_lab.papers.interhand.internet import LAYOUTS, SIDES, HeatmapSpace, area_of_box, box_of_joints
from sonjit_lab.papers.interhand.lifter import ExportedInterNet, Lifter, load_internet, load_rootnet, pairs_of_hands

SPACE = HeatmapSpace()
CLIP = json.loads((Path(sonjit.__file__).parent / "_util" / "assets" / "demo.json").read_text("utf-8"))
CAMERA = cameras.Intrinsics(CLIP["fx"], CLIP["fx"], CLIP["cx"], CLIP["cy"])
OTHER = {"Right": "Left", "Left": "Right"}


def true_hands(index):
    """Return the clip's hands as a perfect detector finds them, and their positions in metres."""
    records = CLIP["frames"][index]["hands"]
    places = [np.array(record["xyz_m"]) for record in records]
    hands = [
        Hand(
            record["handedness"],
            0.9,
            np.column_stack([record["xy"], np.zeros(21)]).astype(np.float32),
            (place - place.mean(0)).astype(np.float32),
            id=number,
        )
        for number, (record, place) in enumerate(zip(records, places, strict=True))
    ]
    return hands, places


@pytest.fixture(scope="module")
def two():
    """Return a frame of the clip in which both hands are near each other."""
    frames = (frame["index"] for frame in CLIP["frames"] if len(frame["hands"]) == 2)
    return next(
        found for found in map(true_hands, frames) if len(pairs(found[0])) == 1 and found[0][0].handedness != "Left"
    )


def pairs(hands):
    return pairs_of_hands([hand.keypoints[:, :2] for hand in hands], [hand.handedness for hand in hands])


def own_order(layout, hand):
    """Return a hand (21, D) in the order of a layout, from MediaPipe's order."""
    names = sonjit.results.skeletons.load_skeleton("hand_mediapipe21").keypoints
    palm = (hand[0] + hand[9]) / 2
    return np.stack([hand[names.index(name)] if name in names else palm for name in layout.skeleton.keypoints])


class Perfect(torch.nn.Module):
    """Network that outputs the ground truth in fractional bins, and stores its crops."""

    def __init__(self, layout, hands, places, sides, present=(0.9, 0.9)):
        super().__init__()
        self.layout, self.space = layout, SPACE
        self._truth = [
            (side, hand.keypoints[:, :2], place) for side, hand, place in zip(sides, hands, places, strict=True)
        ]
        self._present = present
        self.crops = None

    def forward(self, images):
        self.crops = images
        (pair,) = pairs_of_hands([xy for _, xy, _ in self._truth], [side for side, _, _ in self._truth])
        self.area = area_of_box(box_of_joints(np.concatenate([self._truth[index][1] for index in pair.values()])))
        into = boxes.inverse_affine(boxes.crop_matrix(self.area, 256, 256))
        joints, roots = np.zeros((42, 3)), {}
        for side, _, place in self._truth:
            own = own_order(self.layout, place)
            roots[side] = own[self.layout.skeleton.parents.index(-1), 2]
            crop_px = CAMERA.project(own) @ into[:, :2].T + into[:, 2]
            depth = SPACE.bins_from_mm((own[:, 2] - roots[side]) * 1000)
            joints[self.layout.joints(side)] = np.column_stack([SPACE.bins_from_px(crop_px), depth])
        apart = (roots["Left"] - roots["Right"]) * 1000 if len(roots) == 2 else 0.0
        return {
            "joint_coord": torch.from_numpy(joints)[None],
            "rel_root_depth": torch.tensor([[SPACE.bins_from_mm(apart)]]),
            "hand_type": torch.tensor([self._present]),
        }


IMAGE = np.random.default_rng(0).integers(0, 256, (CLIP["height"], CLIP["width"], 3), np.uint8)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("mirrored", [False, True], ids=["", "mirrored"])
@pytest.mark.parametrize("present", [(0.9, 0.9), (0.9, 0.1)], ids=["both", "apart"])
def test_perfect_networks_put_hands_where_they_are(two, layout, mirrored, present):
    hands, places = two
    if mirrored:  # the person's other hands look like these
        hands = [replace(hand, handedness=OTHER[hand.handedness]) for hand in hands]
    sides = [OTHER[hand.handedness] if mirrored else hand.handedness for hand in hands]
    network = Perfect(LAYOUTS[layout], hands, places, sides, present)
    lifted = Lifter(network, camera=CAMERA, mirrored=mirrored).lift(IMAGE, hands)
    assert len(lifted) == len(hands)
    for hand, before, place in zip(lifted, hands, places, strict=True):
        assert hand == replace(before, keypoints_3d=hand.keypoints_3d)
        assert hand.keypoints_3d.dtype == np.float32
        wrist = 2 if layout == "stb" else 1  # derived from two joints, each seen along its own ray
        np.testing.assert_allclose(hand.keypoints_3d[1:], place[1:], atol=2e-3)
        np.testing.assert_allclose(hand.keypoints_3d[0], place[0], atol=2e-3 * wrist)


def test_rootnet_gives_the_distance_if_it_is_used(two):
    hands, places = ([two[0][0]], [two[1][0]])

    class Root(torch.nn.Module):
        side = 256

        def normalise_crops(self, images):
            return images

        def forward(self, images, k_value):
            assert images.shape == (1, 3, 256, 256)
            return {"coord": torch.tensor([[0.0, 0.0, 2.0]]) * k_value}

    network = Perfect(LAYOUTS["interhand"], hands, places, ["Right"])
    (hand,) = Lifter(network, Root(), camera=CAMERA).lift(IMAGE, hands)
    area = area_of_box(box_of_joints(hands[0].keypoints[:, :2]))
    assert hand.keypoints_3d[0, 2] == pytest.approx(2 * 0.3 * CAMERA.fx / area.width, rel=1e-5)
    np.testing.assert_allclose(CAMERA.project(hand.keypoints_3d), hands[0].keypoints[:, :2], atol=0.1)


def test_an_unknown_distance_is_nan_and_no_detection_gives_no_hands(two):
    hands, places = ([two[0][0]], [two[1][0]])
    inside_out = [replace(hands[0], keypoints_3d=-hands[0].keypoints_3d)]
    network = Perfect(LAYOUTS["interhand"], hands, places, ["Right"])
    (hand,) = Lifter(network, camera=CAMERA).lift(IMAGE, inside_out)
    assert np.isnan(hand.keypoints_3d).all()
    assert Lifter(network).lift(IMAGE, []) == []


def test_hands_far_apart_are_seen_each_in_its_own_crop():
    corners = np.array([[0.0, 0.0], [100.0, 100.0]])
    near, far = pairs_of_hands([corners, corners + 90], SIDES), pairs_of_hands([corners, corners + 400], SIDES)
    assert near == [{"Right": 0, "Left": 1}]
    assert far == [{"Right": 0}, {"Left": 1}]
    both = pairs_of_hands([corners, corners + 150, corners + 100], ["Right", "Left", "Left"])
    assert both == [{"Right": 0, "Left": 2}, {"Left": 1}]


TINY = {name: network_entry(name).tiny for name in ("internet", "rootnet")}


@pytest.mark.parametrize(
    ("name", "option", "values"), [("internet", "layout", ("stb", "rhd")), ("rootnet", "input_scale", (1.0, 255.0))]
)
def test_a_checkpoint_contains_its_options_or_is_refused(name, option, values, tmp_path):
    load = {"internet": load_internet, "rootnet": load_rootnet}[name]
    own, foreign = tmp_path / "own.safetensors", tmp_path / "foreign.pth"
    made = create_network(name, "demo", **TINY[name], **{option: values[0]})
    save_checkpoint(made, own)
    loaded = load(str(own))  # of its own size too
    assert loaded.options == made.options
    assert loaded.options[option] == values[0]
    assert loaded.side == made.side
    assert load(str(own), values[0]).options == made.options
    with pytest.raises(InputError, match=rf"own\.safetensors was written with {option}={values[0]!r}, not"):
        load(str(own), values[1])
    torch.save({f"module.{key}": value for key, value in made.state_dict().items()}, foreign)
    with pytest.raises(InputError, match=rf"foreign\.pth does not define its {option.replace('_', ' ')}; set "):
        load(str(foreign))
    network = create_network(name, foreign, **TINY[name], **{option: values[1]})
    assert network.options[option] == values[1]


def test_an_input_scale_requires_rootnet():
    with pytest.raises(InputError, match="--root-input-scale requires --root-weights"):
        Lift(weights="demo", root_input_scale=255.0)


def test_hands_in_a_given_box_need_no_detector(two):
    hands, places = two
    sides = [hand.handedness for hand in hands]
    network = Perfect(LAYOUTS["interhand"], hands, places, sides)
    pixels = np.concatenate([hand.keypoints[:, :2] for hand in hands])
    around = box_of_joints(pixels)  # what the perfect network takes for its crop
    box = (around.cx - around.width / 2, around.cy - around.height / 2, around.width, around.height)
    for mirrored in (False, True):
        frame = Frame(0, None, [])
        Lifter(network, camera=CAMERA, mirrored=mirrored, box=box).lift_frame(IMAGE, frame)
        assert {hand.handedness for hand in frame.hands} == {"Right", "Left"}
        for found in frame.hands:
            before = sides.index(found.handedness if not mirrored else OTHER[found.handedness])
            assert found.score == pytest.approx(0.9)
            np.testing.assert_allclose(found.keypoints[:, :2], hands[before].keypoints[:, :2], atol=0.1)
            np.testing.assert_allclose(CAMERA.project(found.keypoints_3d), found.keypoints[:, :2], atol=0.1)
    right = next(hand for hand in frame.hands if hand.handedness == "Left")  # the image is mirrored
    assert np.linalg.norm(right.keypoints_3d[9] - right.keypoints_3d[0]) == pytest.approx(0.09, rel=1e-3)
    perfect = Perfect(LAYOUTS["interhand"], hands, places, sides, present=(0.2, 0.9))
    (left,) = Lifter(perfect, camera=CAMERA, box=box).find(IMAGE, box)
    assert left.handedness == "Left"
    for bad in ((0, 0, 10, 0), (0, 0, float("nan"), 5)):
        with pytest.raises(InputError, match=r"--lift-box .*: width and height must be above 0"):
            Lift(weights="demo", box=bad)


@pytest.mark.parametrize(("ending", "dynamic"), [(".xml", False), (".onnx", True)])
def test_an_exported_file_gives_the_networks_numbers(tmp_path, ending, dynamic):
    network = create_network("internet", "demo", layout="rhd", **network_entry("internet").tiny).eval()
    path = tmp_path / f"internet{ending}"
    export.export_network(network, network_entry("internet").tiny_inputs, path, dynamic_batch=dynamic)
    crops = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    exported = ExportedInterNet(path).eval()
    with torch.inference_mode():
        expected, given = network(crops), exported(crops)
    assert given.keys() == {"joint_coord", "rel_root_depth", "hand_type"}
    for name, value in given.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-3)
    assert exported.layout is LAYOUTS["rhd"]
    assert exported.space == network.space
    create_lifter(Lift(weights=str(path)))
    with pytest.raises(InputError, match="was written with layout='rhd', not 'stb'"):
        create_lifter(Lift(weights=str(path), layout="stb"))
    if ending == ".xml":  # as if another program had written it
        path.write_text(path.read_text("utf-8").replace("sonjit", "other"), "utf-8")
        with pytest.raises(InputError, match=r"internet.xml does not define its layout; set .* interhand, stb or rhd"):
            create_lifter(Lift(weights=str(path)))
        assert ExportedInterNet(path, "stb").layout is LAYOUTS["stb"]


def test_other_files_are_refused_in_one_line(tmp_path):
    ops = ov.opset13
    image = ops.parameter([1, 3, 256, 256], np.float32)
    ov.save_model(ov.Model([ops.relu(image)], [image]), tmp_path / "relu.xml")
    (tmp_path / "junk.xml").write_bytes(b"<net")
    (tmp_path / "junk.onnx").write_bytes(b"\0" * 40)
    cases = {
        "relu.xml": "not an InterNet",
        "junk.xml": "not a model",
        "junk.onnx": "o",
        "absent.xml": "no such model file",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            create_lifter(Lift(weights=str(tmp_path / name)))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
