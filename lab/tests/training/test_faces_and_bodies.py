"""Recipes of faces and bodies: labels of other sets are derived from the network's points, and are learned."""

import numpy as np
import pytest
import torch
from tests.support.coco_files import write_coco

from sonjit import InputError
from sonjit.cli import main
from sonjit.detectors import create_detector
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.datasets import Instance, Sample, face_labels
from sonjit_lab.networks import Network, create_network
from sonjit_lab.training import augment, faces_and_bodies
from sonjit_lab.training.recipes import TrainingRequest, run_recipe

BODY = load_skeleton("body_blazepose33").keypoints


class Fixed(Network):
    """Network with the same points in every crop."""

    def __init__(self, points, per_point):
        super().__init__()
        rows = np.zeros((468 if per_point == 3 else 39, per_point), np.float32)
        rows[: len(points), :2] = points
        self.keypoints = torch.nn.Parameter(torch.from_numpy(rows).flatten())

    def forward(self, images):
        return {"keypoints": self.keypoints.expand(len(images), -1)}


def sample_of(kind, skeleton, points, size=400):
    image = np.full((size, size, 3), 90, np.uint8)
    one = Instance(kind=kind, skeleton=skeleton, keypoints_px=points)
    return Sample(dataset="made", id="1", image=image, width=size, height=size, instances=(one,))


def face_mesh(seed=0):
    """Return points with ears, eyes and chin at typical positions."""
    mesh = np.random.default_rng(seed).uniform(150, 250, (468, 2))
    mesh[[33, 133, 362, 263]] = [(160, 180), (185, 180), (215, 180), (240, 180)]
    mesh[152] = 200, 290
    return mesh


@pytest.mark.parametrize("skeleton", ["face_300w68", "face_wflw98", "face_mediapipe468"])
def test_a_mesh_that_lies_on_the_labels_has_no_error(skeleton):
    mesh, settings = face_mesh(), faces_and_bodies.PointSettings()
    labels = mesh if "468" in skeleton else face_labels.face_points(mesh, skeleton)
    (one,) = faces_and_bodies.labelled_crops(sample_of("face", skeleton, labels), settings)
    scale = one.length / np.linalg.norm(mesh[263] - mesh[33])
    turned = (mesh - labels[0]) * scale + one.crop.keypoints[0]  # the eyes are level: the crop is not turned
    network = Fixed(turned, 3)
    assert faces_and_bodies.point_error(network, [one]) == pytest.approx(0, abs=1e-3)
    losses = faces_and_bodies.point_losses(Fixed(turned, 3), 0.1)(
        Fixed(turned + 5, 3), faces_and_bodies.point_batch([one])
    )
    assert losses["points"].item() == pytest.approx(np.sqrt(50) / one.length, rel=1e-3)
    assert losses["kept"].item() > 0


def test_bodies_learn_what_they_share_with_the_labels():
    names = load_skeleton("body_coco23").keypoints
    points = np.random.default_rng(1).uniform(100, 300, (33, 2))
    labels = np.array([points[BODY.index(name)] if name in BODY else (0, 0) for name in names], float)
    sample = sample_of("body", "body_coco23", np.where([[name in BODY] for name in names], labels, np.nan))
    (one,) = faces_and_bodies.labelled_crops(sample, faces_and_bodies.PointSettings(network="pose-lite"))
    network = Fixed(np.zeros((33, 2)), 5)
    with torch.no_grad():
        rows = network.keypoints.view(39, 5)
        for name, place in zip(names, one.crop.keypoints, strict=True):
            if name in BODY:
                rows[BODY.index(name), :2] = torch.from_numpy(place)
    assert faces_and_bodies.point_error(network, [one]) == pytest.approx(0, abs=1e-3)
    mirrored = faces_and_bodies.augmented_crop(one, augment.Augmentation(mirror=True, scale=1.25))
    left, right = names.index("left_hip"), names.index("right_hip")
    middle = (one.crop.size - 1) / 2
    expected = middle - (one.crop.keypoints[left, 0] - middle) / 1.25
    assert mirrored.crop.keypoints[right, 0] == pytest.approx(expected, abs=0.5)
    assert mirrored.length == pytest.approx(one.length / 1.25)


def write_faces(folder, labelled=range(5)):
    """Write five images, of which some have labelled faces with 68 points, in COCO's format; return the folder."""
    random, names = np.random.default_rng(3), load_skeleton("face_300w68").keypoints
    points = face_labels.face_points(face_mesh(), "face_300w68")
    images = {f"{number}.png": random.integers(0, 255, (400, 400, 3), np.uint8) for number in range(5)}
    labels = [(number, points, {"bbox": [100, 100, 200, 200]}) for number in labelled]
    write_coco(folder, images, labels, names, category="face")
    return folder


@pytest.mark.nightly
@pytest.mark.slow
def test_a_published_network_learns_other_labels(weights, tmp_path, capsys):
    write_faces(tmp_path)
    command = ["train", "face-mesh", "--smoke", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--steps", "6"]
    sets = ("learning_rate=0.002", "augmentation=none", "batch=2", "workers=0", "loss=wing")
    command += [f"--set={value}" for value in sets]
    assert main([*command, "--export", "onnx"]) == 0
    results = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert float(results["error"]) < 0.8 * float(results["error_before"])
    assert create_network("face-mesh", tmp_path / "run/weights.safetensors")
    with create_detector(
        "face", model="mesh", static_image=True, landmark_model=tmp_path / "run/face-mesh.onnx"
    ) as own:
        assert own.detect(np.zeros((64, 64, 3), np.uint8)) == []


@pytest.mark.slow
def test_a_backbone_learns_the_labelled_points(tmp_path):
    write_faces(tmp_path, labelled=range(1, 5))
    command = ["train", "face-mesh", "--smoke", "--data", str(tmp_path), "--out", str(tmp_path / "run"), "--steps", "2"]
    sets = ("backbone=mobilenet_v2", "augmentation=none", "batch=2", "workers=0")
    assert main([*command, *(f"--set={value}" for value in sets)]) == 0
    network = create_network("timm-landmarks", tmp_path / "run/weights.safetensors").eval()
    assert network(torch.zeros(1, 3, 192, 192))["keypoints"].shape == (1, 3 * 68)


def test_data_are_needed_and_of_the_kind(tmp_path):
    with pytest.raises(InputError, match="face-mesh requires --data; it trains on any set of faces"):
        run_recipe(TrainingRequest("face-mesh", tmp_path))
    with pytest.raises(InputError, match=r"augmentation.mirror=0.5 does not apply to faces"):
        faces_and_bodies.PointSettings(augmentation=augment.AugmentationSettings(mirror=0.5))
    with pytest.raises(InputError, match=r"Unknown loss 'kl'. Choose from l1, l2, smooth-l1, wing, distance"):
        faces_and_bodies.PointSettings(loss="kl")
