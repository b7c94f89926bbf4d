"""Results for COCO's server."""

import json

import numpy as np

from sonjit_lab.datasets import Sample, mask_from_segmentation
from sonjit_lab.evaluation.prediction_files import encode_submission
from sonjit_lab.evaluation.predictions import Prediction
from sonjit_lab.evaluation.protocols import load_protocol


def test_results_name_their_image_category_box_and_mask():
    mask = np.zeros((8, 10), bool)
    mask[2:5, 3:9] = True
    sample = Sample(
        dataset="coco", id="7.jpg", image=np.zeros((8, 10, 3), np.uint8), width=10, height=8, instances=(), image_id=7
    )
    found = [Prediction(category_id=18, score=0.75, box=(3, 2, 9, 5), mask=mask), Prediction(category_id=1, score=0.5)]
    first, second = json.loads(f"[{encode_submission(load_protocol('coco-instances'), sample, found)}]")
    assert (first["image_id"], first["category_id"], first["score"]) == (7, 18, 0.75)
    assert first["bbox"] == [3, 2, 6, 3]
    assert (mask_from_segmentation(first["segmentation"], 8, 10) == mask).all()
    assert second == {"image_id": 7, "category_id": 1, "score": 0.5}
