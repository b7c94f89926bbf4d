"""Points in space that are drawn as dots: cameras, the project's networks and triangulation use the same pixels."""

import numpy as np
import pytest
import torch

from sonjit_lab.networks.export import export_network
from sonjit_lab.networks.registry import InputSpec, Network
from sonjit_studio.detection import load_hand_network, load_keypoint_detector
from sonjit_studio.triangulation import triangulate

from .projects import hands
from .rigs import random_rig

RADIUS_PX = 3.0
SIDE = 224


def dot(camera, point_px):
    """Return an image of a soft dot at a position that counts from the corner of the first pixel."""
    rows, columns = np.mgrid[: camera.height, : camera.width] + 0.5
    square = (columns - point_px[0]) ** 2 + (rows - point_px[1]) ** 2
    grey = 255 * np.exp(-square / (2 * RADIUS_PX**2))
    return np.repeat(grey.round().astype(np.uint8)[..., None], 3, 2)


def place_of(grey):
    """Return the centre (B, 2) of a dot in crops (B, S, S), as labels of crops count: from the first pixel's centre."""
    grey = (grey - 0.1).relu()
    along = torch.arange(SIDE, dtype=torch.float32)
    total = grey.sum((1, 2)).clamp(min=1e-6)
    return torch.stack([grey.sum(1) @ along, grey.sum(2) @ along], 1) / total[:, None]


class DotNetwork(Network):
    """Network with a parameter, as exports need one."""

    def __init__(self):
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(1))


class DotLandmarks(DotNetwork):
    """Landmark network all of whose keypoints are at the dot."""

    def forward(self, images):
        place = place_of(images.mean(1) * self.gain)
        zeros = torch.zeros_like(place[:, :1])
        keypoints = torch.cat([place, zeros], 1).repeat(1, 21)
        return {
            "keypoints": keypoints,
            "presence": zeros + 1,
            "handedness": zeros + 0.5,
            "keypoints_3d": torch.zeros_like(keypoints),
        }


class DotHeatmaps(DotNetwork):
    """Keypoint detector all of whose heatmaps have their maximum at the dot."""

    def forward(self, images):
        maps = torch.nn.functional.avg_pool2d(images.mean(1, keepdim=True) * self.gain, 4)
        heatmaps = (maps + 1e-3).log().repeat(1, 21, 1, 1)
        return {"heatmaps": heatmaps, "visible_logits": heatmaps.amax((2, 3))}


NETWORKS = {
    "hand-full": (DotLandmarks, load_hand_network),
    "keypoint-detector": (DotHeatmaps, lambda file: load_keypoint_detector(str(file))),
}


@pytest.fixture(scope="module")
def infer(request, weights, tmp_path_factory):
    del weights
    network, load = NETWORKS[request.param]
    file = tmp_path_factory.mktemp("run") / f"{request.param}.xml"
    export_network(network(), [InputSpec("images", (3, SIDE, SIDE))], file)
    return load(file)


@pytest.mark.nightly_after(3)
@pytest.mark.parametrize("infer", NETWORKS, indirect=True)
@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("joint", [0, 9, 17])
def test_networks_of_the_project_find_dots_where_cameras_project_them(infer, side, joint):
    rig, points = random_rig(6, 2), hands(1, 4)[0].reshape(2, 21, 3)[side]
    found = []
    for camera in rig:
        expected = camera.project(points)
        keypoints, _ = infer(dot(camera, expected[joint]), expected, side)
        found.append(keypoints[joint])
    gaps = np.array(found) - rig.project(points[joint])
    assert np.abs(gaps.mean(0)).max() < 0.15  # half a pixel off would show
    assert np.abs(gaps).max() < 0.35
    place = triangulate(rig, np.array(found)[:, None]).points_m[0]
    assert np.linalg.norm(place - points[joint]) < 4e-4
