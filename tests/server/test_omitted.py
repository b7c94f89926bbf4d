"""Where `max_instances` omits instances, answers for images and jobs have the number of all."""

import re

import pytest
from tests.support.groups import group_photograph

from .conftest import FRAMES, end_of, jpeg_of

pytestmark = [pytest.mark.golden, pytest.mark.slow]
KINDS = {"hands": "lite", "face": "attention", "body": "lite", "holistic": "lite"}


@pytest.fixture(scope="module")
def group(data):
    rgb = group_photograph(data)
    if rgb is None:
        pytest.skip("no photograph of a group")
    return rgb


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_to_an_image_has_the_number_of_hidden_instances(ask, all_weights, group, kind):
    client, photo = ask(), jpeg_of(group)
    everyone = client.post(f"/v1/{kind}?model={KINDS[kind]}", content=photo).json()
    one = client.post(f"/v1/{kind}?model={KINDS[kind]}&max_instances=1", content=photo).json()
    (name,) = everyone.keys() - {"width", "height", "model"}
    assert len(one[name]) == 1
    assert one["hidden"] == len(everyone[name]) - 1 > 0


def test_a_job_has_one_line(ask, all_weights, group, write_video, tmp_path):
    """Check one kind for stills and one for streams. `runs/test_omitted.py` has the numbers of all kinds."""
    client, clip = ask(), tmp_path / "clip.mp4"
    height, width = (side // 2 * 2 for side in group.shape[:2])
    write_video(clip, [group[:height, :width]] * FRAMES)
    for kind, name, content in (("hands", "a.jpg", jpeg_of(group)), ("face", "a.mp4", clip.read_bytes())):
        address = f"/v1/jobs?kind={kind}&model={KINDS[kind]}&max_instances=1&name={name}"
        (problem,) = end_of(client, client.post(address, content=content))["problems"]
        assert re.fullmatch(rf"{re.escape(name)}: 1 of at least \d+ shown\. Use max_instances\.", problem)
