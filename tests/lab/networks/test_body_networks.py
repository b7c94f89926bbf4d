"""Networks of the body: refused inputs, and wider channels."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.lab.networks import create_network
from sonjit.lab.networks.mediapipe_blocks import depth_to_space


def test_unknown_variants_are_refused():
    with pytest.raises(InputError, match=r"Unknown variant 'huge'\. Choose from lite, full, heavy"):
        create_network("pose-full", variant="huge")
    with pytest.raises(InputError, match=r"Unknown trunk 'huge'\. Choose from detector"):
        create_network("pose-detection", trunk="huge")


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3))
def test_depth_to_space_lays_out_groups_of_channels_row_by_row(factor, channels, height, width):
    values = torch.arange(factor * factor * channels * height * width, dtype=torch.float32)
    values = values.reshape(1, factor * factor * channels, height, width)
    spread = depth_to_space(values, factor)
    assert spread.shape == (1, channels, factor * height, factor * width)
    for row in range(factor):
        for column in range(factor):
            start = (row * factor + column) * channels
            assert torch.equal(spread[:, :, row::factor, column::factor], values[:, start : start + channels])
