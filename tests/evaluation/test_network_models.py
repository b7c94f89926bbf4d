"""Networks under evaluation: what they are shown, and that their answers come in the evaluates' terms."""

import numpy as np
import torch

from sonjit.evaluation import network_models
from sonjit.meshes.mano_networks import HandOccHands
from sonjit.networks import create_network, network_entry
from sonjit.networks.cam import load_classifier
from sonjit.networks.hands3d.handoccnet import SIZES
from sonjit.networks.mask_rcnn.mask_rcnn import Category, SavedMaskRCNN


def test_handoccnet_gives_joints_and_vertices_of_each_hand(hand_sample, monkeypatch):
    tiny = create_network("handoccnet", "demo", **network_entry("handoccnet").tiny)

    def hands(self, camera):
        from sonjit.meshes.hand_mesh import Sight

        return HandOccHands(tiny, lambda width, height: Sight(camera, False), side=SIZES["tiny"].image)

    monkeypatch.setattr(network_models.HandOccNetModel, "__init__", lambda self: None)
    monkeypatch.setattr(network_models.HandOccNetModel, "_hands", hands)
    sample = hand_sample(0, ("Right", "Left"))
    predictions = network_models.HandOccNetModel().find(sample, sample.rgb(), "ground-truth boxes")
    assert [(one.instance, one.side) for one in predictions] == [(0, "Right"), (1, "Left")]
    for one in predictions:
        assert one.keypoints_m.shape == (21, 3)
        assert one.vertices_m.shape == (778, 3)
        assert np.isfinite(one.vertices_m).all()


def test_classifiers_give_five_classes_with_boxes(hand_sample):
    classifier = load_classifier("cam-small", "demo", classes=7)
    model = network_models.ClassifierModel(classifier, None, None, torch.device("cpu"))
    sample = hand_sample()
    predictions = model.find(sample, sample.rgb(), "reacquisition")
    assert len({one.category_id for one in predictions}) == 5
    assert [one.score for one in predictions] == sorted((one.score for one in predictions), reverse=True)


def test_mask_rcnn_gives_the_data_sets_categories(hand_sample, monkeypatch):
    tiny = create_network("mask-rcnn", "demo", **network_entry("mask-rcnn").tiny).eval()
    saved = SavedMaskRCNN(tiny, tuple(Category(100 + i, str(i)) for i in range(90)), "mask-rcnn", {})
    monkeypatch.setattr("sonjit.networks.mask_rcnn.mask_rcnn.load_mask_rcnn", lambda weights: saved)
    model = network_models.InstancesModel("demo", torch.device("cpu"))
    tiny.min_score = 0.0
    sample = hand_sample()
    predictions = model.find(sample, sample.rgb(), "reacquisition")
    assert predictions
    assert all(one.category_id >= 100 and one.mask.shape == (200, 200) for one in predictions)
