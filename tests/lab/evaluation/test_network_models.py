"""Networks in evaluations: their inputs, and outputs in the units of evaluators."""

from dataclasses import replace

import pytest
import torch

from sonjit import InputError
from sonjit.lab.evaluation import network_models
from sonjit.lab.evaluation.coco import InstanceEvaluator
from sonjit.lab.evaluation.predictions import Prediction
from sonjit.lab.evaluation.protocols import load_protocol
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.classifiers import load_classifier
from sonjit.lab.networks.mask_rcnn.mask_rcnn import Category, SavedMaskRCNN


def test_classifiers_give_five_classes_with_boxes(hand_sample):
    classifier = load_classifier("cam-small", "demo", classes=7)
    model = network_models.ClassifierModel(classifier, None, None, torch.device("cpu"))
    sample = hand_sample()
    predictions = model.find(sample, sample.rgb(), "reacquisition")
    assert len({prediction.category_id for prediction in predictions}) == 5
    assert [prediction.score for prediction in predictions] == sorted(
        (prediction.score for prediction in predictions), reverse=True
    )


def test_mask_rcnn_gives_the_data_sets_categories(hand_sample, monkeypatch):
    tiny = create_network("mask-rcnn", "demo", **network_entry("mask-rcnn").tiny).eval()
    saved = SavedMaskRCNN(tiny, tuple(Category(100 + i, str(i)) for i in range(90)), "mask-rcnn", {})
    monkeypatch.setattr("sonjit.lab.networks.mask_rcnn.mask_rcnn.load_mask_rcnn", lambda weights: saved)
    model = network_models.InstancesModel("demo", torch.device("cpu"))
    tiny.min_score = 0.0
    sample = hand_sample()
    predictions = model.find(sample, sample.rgb(), "reacquisition")
    assert predictions
    assert all(prediction.category_id >= 100 and prediction.mask.shape == (200, 200) for prediction in predictions)


def test_categories_with_other_ids_are_refused(hand_sample):
    sample = hand_sample()
    hand = replace(sample.instances[0], category="left_hand", category_id=2)
    sample = replace(sample, instances=(hand,))
    found = Prediction(category_id=1, category="left_hand", score=0.9, box=(1.0, 1.0, 9.0, 9.0))
    evaluator = InstanceEvaluator(load_protocol("coco-instances"))
    with pytest.raises(InputError, match="category left_hand has the id 2 in the data set and 1 in the model"):
        evaluator.evaluate(sample, [found])
    assert evaluator.evaluate(sample, [replace(found, category_id=2), replace(found, category="cup")])
