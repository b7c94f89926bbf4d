"""Masks of bodies and saliency maps of hands, through a stream."""

import base64
import itertools

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import sonjit
from sonjit.explanations.hand_saliency import hand_map, load_hand_explainer
from sonjit.geometry.boxes import RotatedBox
from sonjit.server.images import mask_to_dict
from sonjit.server.options import TARGETS
from sonjit.weights import verify_weights

from .conftest import LITE, answer, configure, open_stream


def mask_from(segmentation):
    png = np.frombuffer(base64.b64decode(segmentation["png"]), np.uint8)
    grey = cv2.imdecode(png, cv2.IMREAD_UNCHANGED)
    assert grey.shape == (segmentation["height"], segmentation["width"])
    return grey / 255


@given(npst.arrays(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 20)), elements=st.floats(0, 1, width=32)))
def test_a_mask_reads_as_it_was(mask):
    np.testing.assert_allclose(mask_from(mask_to_dict(mask)), mask, atol=0.51 / 255)


@pytest.mark.parametrize("shape", [(900, 1500), (3, 5000), (600, 512)])
def test_a_large_mask_is_made_smaller(shape):
    mask = np.linspace(0, 1, shape[1], dtype=np.float32) * np.ones(shape, np.float32)
    shown = mask_from(mask_to_dict(mask))
    assert max(shown.shape) == 512
    np.testing.assert_allclose(shown[0], np.interp(np.linspace(0, 1, shown.shape[1]), [0, 1], [0, 1]), atol=0.01)


@pytest.mark.slow
def test_bodies_have_masks_if_requested(all_weights, listen, frames, demo_clip):
    body = {"kind": "body", "model": "lite", "search": "fast", "segmentation": True, "smooth_segmentation": False}
    with open_stream(listen()) as socket:
        ready = configure(socket, body)[-1]
        assert (ready["detectors"][0]["segmentation"], ready["detectors"][0]["smooth_segmentation"]) == (True, False)
        assert "explain" not in ready["detectors"][0]
        bodies = answer(socket, 1, frames[0])["bodies"]
        assert configure(socket, ready["detectors"][0]) == [ready]
    height, width = demo_clip[1][0].shape[:2]
    assert bodies
    for one in bodies:
        shown = one["segmentation"]
        assert shown["width"] / shown["height"] == pytest.approx(width / height, abs=0.02)
    options = {"model": "lite", "search": "fast", "segmentation": True, "smoothing": "published"}
    with sonjit.create_detector("body", **options) as detector:
        found = detector.detect(frames[0], time=0)
    assert [body["segmentation"] for body in bodies] == [mask_to_dict(one.mask) for one in found]


@pytest.mark.slow
def test_saliency_maps_are_the_networks(weights, listen, photo):
    png = cv2.imencode(".png", photo[..., ::-1])[1].tobytes()
    with sonjit.create_detector("hands", model="lite", static_image=True) as detector:
        found = detector.detect(photo)
    server = listen()
    for target, flip in itertools.product(("handedness", "index_finger_tip.x"), (False, True)):
        spec = LITE | {"explain": target, "static_image": True, "smoothing": "none", "flip_horizontal": flip}
        with open_stream(server) as socket:
            configure(socket, spec, measures=True)
            hands = answer(socket, 1, png)["hands"]
            (ready,) = configure(socket, spec | {"explain": "none"})  # the detector itself stays
            assert ready["detectors"][0]["explain"] == "none"
            assert all("map" not in hand for hand in answer(socket, 2, png)["hands"])
        assert hands
        for hand, one in zip(hands, found, strict=True):
            shown, truth = hand["map"], hand_map(photo, one, target, model="lite")
            assert (shown["of"], shown["unit"], shown["size"]) == (target, truth.unit, list(truth.values.shape))
            values = np.array(shown["values"]).reshape(shown["size"])
            assert values.mean() + shown["bias"] == pytest.approx(shown["value"], abs=1e-2)
            np.testing.assert_allclose(values[:, ::-1] if flip else values, truth.values, atol=0.05)
            box = RotatedBox(**shown["box"])
            if flip:
                box = box._replace(cx=photo.shape[1] - box.cx, rotation=-box.rotation)
            np.testing.assert_allclose(box, truth.box, atol=0.1)
            assert "gesture" in hand


def test_every_target_of_the_network_can_be_requested(weights):
    assert set(TARGETS) == set(load_hand_explainer("lite").targets)


@pytest.mark.slow
def test_a_photograph_has_classes_with_maps(ask, frames, demo_clip):
    if verify_weights(["efficientnet_lite0"]):
        pytest.skip("weights are missing; type: sonjit models pull classifiers")
    client = ask()
    found = client.post("/v1/classes", content=frames[0]).json()
    height, width = demo_clip[1][0].shape[:2]
    assert (found["width"], found["height"], len(found["classes"])) == (width, height, 5)
    (best, *_) = found["classes"]
    assert best["size"] == [7, 7]
    assert len(best["values"]) == 49
    (expected,) = sonjit.explain(cv2.imdecode(np.frombuffer(frames[0], np.uint8), cv2.IMREAD_COLOR_RGB))
    assert (best["name"], best["label"]) == (expected.name, expected.label)
    assert len(client.post("/v1/classes?top=2", content=frames[0]).json()["classes"]) == 2
    assert client.post("/v1/classes?top=0", content=frames[0]).status_code in (400, 422)
    assert client.post("/v1/classes", content=b"no image").json()["error"]["code"] == "bad_image"
