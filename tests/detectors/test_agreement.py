"""The rule for low precisions, on photographs."""

import numpy as np
import pytest

from sonjit import InputError
from sonjit.detectors.quantization import measure_agreement, record_crops
from sonjit.engines.openvino import has_bf16

RULE = {
    # network: whether bf16 keeps the rule, and the largest mean shift in px of 224 that `auto` may have
    "hand-full": (False, 0.2),
    "hand-lite": (False, 0.2),
    "body-full": (False, 0.0),
    "body-lite": (False, 0.0),
    "face-mesh": (True, 0.05),
}


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("name", RULE)
def test_auto_runs_a_network_in_bf16_only_if_it_keeps_the_rule(data, name):
    if not has_bf16():
        pytest.skip("this CPU has no bf16")
    folder = data / "real" / "wild"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there")
    even, odd = record_crops(name, folder, search="fast")
    bf16_keeps, most_px = RULE[name]
    auto = measure_agreement(name, [*even, *odd])
    assert auto.keeps_rule
    assert auto.shift_px <= most_px
    assert measure_agreement(name, [*even, *odd], "bf16").keeps_rule == bf16_keeps


def test_crops_that_show_nothing_are_refused(weights):
    with pytest.raises(InputError, match="hand-lite: the crops show nothing that the network is for"):
        measure_agreement("hand-lite", [np.zeros((1, 224, 224, 3), np.uint8)], "f32")
