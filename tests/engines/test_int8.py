"""Networks quantized to int8."""

import importlib.util
import sys

import numpy as np
import pytest

from sonjit import MissingExtraError, create_detector


@pytest.mark.slow
def test_without_nncf_the_line_to_type_is_said(weights, monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))  # no compiled network is kept there
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'sonjit\[int8\]'"):
        create_detector("hands", precision="int8", models_dir=weights["hand-full"].parent)


@pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="NNCF is not installed: the extra [int8]")
@pytest.mark.filterwarnings("ignore")  # NNCF's own
def test_hands_in_int8_are_near_those_in_f32(weights, photo):
    with (
        create_detector("hands", precision="f32", static_image=True) as exact,
        create_detector("hands", precision="int8", static_image=True) as quantized,
    ):
        pairs = list(zip(quantized.detect(photo), exact.detect(photo), strict=True))
    assert pairs
    for mine, theirs in pairs:
        assert mine.handedness == theirs.handedness
        assert np.linalg.norm(mine.keypoints[:, :2] - theirs.keypoints[:, :2], axis=1).mean() < 5
