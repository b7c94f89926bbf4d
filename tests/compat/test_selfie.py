"""`SelfieSegmentation`, and the operator of its network that Sonjit implements."""

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.compat import mediapipe as mp
from sonjit.detectors.selfie import SelfieSegmenter, load_selfie_segmenter

SelfieSegmentation = mp.solutions.selfie_segmentation.SelfieSegmentation


class FakeEngine:
    """Network of 4 x 6 pixels whose last operator has given inputs."""

    def __init__(self, features, kernel, bias):
        self.input = np.zeros((1, 4, 6, 3), np.uint8)
        self.outputs = [features, kernel, bias]

    def run(self):
        return self.outputs


def test_the_last_operator_is_a_transposed_convolution():
    random = np.random.default_rng(0)
    features = random.normal(size=(1, 2, 3, 5)).astype(np.float32)
    kernel = random.normal(size=(1, 2, 2, 5)).astype(np.float32)
    bias = np.array([0.5], np.float32)
    mask = SelfieSegmenter(FakeEngine(features, kernel, bias)).mask(np.zeros((4, 6, 3), np.uint8))
    expected = np.empty((4, 6))
    for y, x, i, j in np.ndindex(2, 3, 2, 2):
        expected[2 * y + i, 2 * x + j] = (features[0, y, x] * kernel[0, i, j]).sum() + 0.5
    np.testing.assert_allclose(mask, 1 / (1 + np.exp(-expected)), atol=1e-6)


def test_the_complete_image_is_stretched_to_the_network():
    engine = FakeEngine(np.zeros((1, 2, 3, 1), np.float32), np.zeros((1, 2, 2, 1), np.float32), np.zeros(1, np.float32))
    image = np.zeros((40, 30, 3), np.uint8)
    image[20:, 15:] = 255
    mask = SelfieSegmenter(engine).mask(image)
    assert mask.shape == (40, 30)
    assert (engine.input[0, 2:, 3:] == 255).all()
    assert not engine.input[0, :2].any()
    assert not engine.input[0, :, :3].any()


def test_options_out_of_range_are_named():
    with pytest.raises(ValueError, match=r"model_selection=2: give 0 \(general\) or 1 \(landscape\)"):
        SelfieSegmentation(model_selection=2)


def test_files_that_are_no_such_network_are_named(tmp_path):
    (tmp_path / "selfie_segmentation.tflite").write_bytes(bytes(249505))
    with pytest.raises(InputError, match=r"selfie_segmentation.tflite: no TFLite file.*sonjit models pull selfie"):
        load_selfie_segmenter(models_dir=tmp_path)
    with pytest.raises(InputError, match=r"Unknown selfie model 'portrait'. Choose from general, landscape"):
        load_selfie_segmenter("portrait")


@pytest.mark.golden
@pytest.mark.files("goldens/mediapipe/pose.*static.full.json")
@pytest.mark.parametrize("model", [0, 1])
def test_masks_agree_with_those_of_the_pose(file, golden, need, model):
    need("selfie", "selfie-landscape")
    truth, rgb = golden
    with SelfieSegmentation(model_selection=model) as selfie:
        mask = selfie.process(rgb).segmentation_mask
    assert (mask.dtype, mask.shape) == (np.float32, rgb.shape[:2])
    assert mask.min() >= 0
    assert mask.max() <= 1
    if "mask_png" in truth["frames"][0]:
        body = cv2.imread(str(file.parent / truth["frames"][0]["mask_png"]), cv2.IMREAD_GRAYSCALE) > 127
        assert ((mask > 0.5) & body).sum() / ((mask > 0.5) | body).sum() > 0.8
    with pytest.raises(ValueError, match="closed"):
        selfie.process(rgb)
