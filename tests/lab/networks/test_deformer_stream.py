"""Deformer on videos: the results of windows, with one pass per frame and bounded memory."""

import pytest
import torch

from sonjit import InputError
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.deformer import DeformerStream

ENTRY = network_entry("deformer")
FRAMES = ENTRY.tiny_inputs[0].shape[0]


def twin(variant="ho3d"):
    return create_network("deformer", "demo", **{**ENTRY.tiny, "variant": variant}).eval()


def video(count):
    """Return images (N, 3, 64, 64) and boxes (N, 4) within them."""
    generator = torch.Generator().manual_seed(0)
    low, size = torch.rand(2, count, 2, generator=generator)
    low, size = 24 * low, 16 + 24 * size
    return torch.rand(count, 3, 64, 64, generator=generator), torch.cat([low, low + size], 1)


MISSING = 4
WINDOWS = {  # of frames 0 to 12 without one, two from each other
    0: {"ho3d": [0, 0, 0, 2, 2], "dexycb": [0, 0, 0, 2, 2]},
    1: {"ho3d": [1, 1, 1, 3, 5], "dexycb": [1, 1, 1, 3, 5]},
    2: {"ho3d": [0, 0, 2, 2, 6], "dexycb": [0, 0, 2, 2, 2]},
    6: {"ho3d": [2, 6, 6, 8, 10], "dexycb": [6, 6, 6, 8, 10]},
    9: {"ho3d": [5, 7, 9, 11, 11], "dexycb": [5, 7, 9, 11, 11]},
    12: {"ho3d": [8, 10, 12, 12, 12], "dexycb": [8, 10, 12, 12, 12]},
}


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("variant", ["ho3d", "dexycb"])
def test_a_stream_gives_what_windows_give(variant, left):
    network = twin(variant=variant)
    images, boxes = video(13)
    roots = torch.randn(13, 3)
    stream = DeformerStream(network, gap=2, left=left)
    for _ in range(2):  # a second video begins anew
        answers = []
        for index in range(13):
            if index != MISSING:
                due = stream.push(index, images[index], boxes[index], roots[index])
                assert all(answer.frame <= index - 4 for answer in due)
                answers += due
        answers += stream.finish()
        assert [answer.frame for answer in answers] == [index for index in range(13) if index != MISSING]
    given = {answer.frame: answer.outputs for answer in answers}
    side = torch.full((1, FRAMES), float(left))
    for index, window in WINDOWS.items():
        at = window[variant]
        with torch.inference_mode():
            expected = network(images[at][None], boxes[at][None], side, roots[at][None])
        for key, value in given[index].items():
            torch.testing.assert_close(value, expected[key], rtol=0, atol=1e-4)


def test_a_stream_looks_once_at_a_frame_and_forgets_it():
    network = twin()
    looked = []
    network.base_net.register_forward_hook(lambda *call: looked.append(len(call[1][0])))
    stream = DeformerStream(network, gap=3)
    images, boxes = video(4)
    for index in range(40):
        stream.push(index, images[index % 4], boxes[index % 4])
        assert len(stream._seen) <= 2 * 2 * 3 + 1
    assert len(stream.finish()) == 2 * 3
    assert looked == [1] * 40
    assert stream.finish() == []


def test_a_stream_wants_frames_in_order():
    stream = DeformerStream(twin())
    images, boxes = video(1)
    stream.push(7, images[0], boxes[0])
    with pytest.raises(InputError, match="frame 7 came after frame 7; push frames in order"):
        stream.push(7, images[0], boxes[0])
    with pytest.raises(InputError, match="gap=0: must be at least 1"):
        DeformerStream(twin(), gap=0)
