import json

import numpy as np
import pytest

from sonjit.detectors.kinds.hands import PALM_GRID
from sonjit.detectors.ssd import AnchorGrid

# The two settings of MediaPipe's own tests of its anchor generator.
PUBLISHED = [
    AnchorGrid(256, (8, 16, 32, 32, 32), min_scale=0.1171875, max_scale=0.75),
    AnchorGrid(
        300,
        (16, 32, 64, 128, 256, 512),
        aspect_ratios=(1.0, 2.0, 0.5, 3.0, 0.3333),
        min_scale=0.2,
        max_scale=0.95,
        fixed_size=False,
        reduce_lowest_layer=True,
    ),
]


@pytest.mark.golden
@pytest.mark.files("real/tfjs-models/shared/test_data/anchor_golden_file_*.json")
def test_anchors_match_mediapipes(file):
    expected = np.array(json.loads(file.read_text("utf-8")))
    fitting = [anchors for anchors in (grid.anchors() for grid in PUBLISHED) if len(anchors) == len(expected)]
    if not fitting:
        pytest.skip(f"no known setting gives {len(expected)} anchors")
    np.testing.assert_allclose(fitting[0], expected, atol=2e-5)


def test_anchor_sizes_are_one_if_fixed_and_else_have_the_requested_aspect():
    assert (PALM_GRID.anchors()[:, 2:] == 1).all()
    free = AnchorGrid(64, (32,), aspect_ratios=(1.0, 4.0), interpolated_aspect_ratio=0.0, fixed_size=False).anchors()
    np.testing.assert_allclose(free[:, 2] / free[:, 3], [1, 4] * 4, rtol=1e-5)


def test_rows_come_before_columns_and_layers_of_one_stride_share_a_grid():
    anchors = AnchorGrid(32, (16, 16), interpolated_aspect_ratio=0.0).anchors()
    np.testing.assert_allclose(anchors[::2, :2], [[0.25, 0.25], [0.75, 0.25], [0.25, 0.75], [0.75, 0.75]])
    np.testing.assert_array_equal(anchors[::2], anchors[1::2])
