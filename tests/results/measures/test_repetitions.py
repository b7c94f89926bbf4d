import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util.errors import InputError
from sonjit.results.measures import RepetitionCounter, count_repetitions, find_repetitions, joint_angles_rad
from sonjit.results.measures.joints import joint_triples
from sonjit.results.skeletons import list_skeletons, load_skeleton

SQUATS = "real/tfjs-models/pose-detection/test_data"
SQUATS_DONE = 2
"""The clip shows two squats from standing to standing; it ends inside a third."""


def squats(count, fps=30, period_s=2.0, noise_rad=0.0, seed=0):
    """Return knee angles and times of `count` squats from 170 to 70 degrees, with a second of standing around them."""
    times = np.arange(0, count * period_s + 2, 1 / fps)
    phase = np.clip(times - 1, 0, count * period_s) / period_s
    angles = np.radians(120 + 50 * np.cos(2 * math.pi * phase))
    return angles + np.random.default_rng(seed).normal(0, noise_rad, len(times)), times


@given(
    st.integers(0, 12), st.sampled_from([5, 10, 25, 30, 60]), st.floats(1.2, 5), st.floats(0, 0.12), st.integers(0, 99)
)
def test_squats_are_counted_through_noise(count, fps, period_s, noise_rad, seed):
    angles, times = squats(count, fps, period_s, noise_rad, seed)
    assert count_repetitions(angles, times) == count


def test_repetitions_have_times_and_depths():
    angles, times = squats(4, period_s=2.0)
    found = find_repetitions(angles, times)
    assert [round(repetition.begin_s) for repetition in found] == [1, 3, 5, 7]
    for repetition in found:
        inside = (times >= repetition.begin_s) & (times <= repetition.end_s)
        assert repetition.lowest_rad == angles[inside].min()
        assert repetition.duration_s == pytest.approx(repetition.end_s - repetition.begin_s)
        assert angles[times == repetition.begin_s] >= math.radians(150)
        assert angles[times == repetition.end_s] >= math.radians(150)


@given(st.integers(0, 99), st.floats(0, 0.4))
def test_unknown_angles_neither_count_nor_break(seed, part):
    angles, times = squats(6)
    angles[np.random.default_rng(seed).random(len(angles)) < part] = np.nan
    assert count_repetitions(angles, times) == 6


def test_a_long_gap_drops_the_repetition_under_way():
    angles, times = squats(3)
    angles[(times > 1.95) & (times < 3.05)] = np.nan  # from the lowest point to standing
    assert count_repetitions(angles, times) == 2
    assert count_repetitions(angles, times, max_gap_s=2.0) == 3


def test_half_repetitions_and_trembling_count_nothing():
    times = np.arange(0, 10, 1 / 30)
    trembling = np.radians(np.where(np.arange(len(times)) % 2, 149, 151))
    assert count_repetitions(trembling, times) == 0
    assert count_repetitions(np.linspace(3, 1, 300), times) == 0
    assert count_repetitions(np.linspace(1, 3, 300), times) == 0, "what began bent is no whole repetition"
    shallow = np.radians(150 + 30 * np.cos(times * 3))
    assert count_repetitions(shallow, times) == 0


def test_wrong_calls_are_refused():
    with pytest.raises(InputError, match="below"):
        RepetitionCounter(2.0, 1.0)
    with pytest.raises(InputError, match="negative"):
        RepetitionCounter(1.0, 2.0, max_gap_s=-1)
    with pytest.raises(InputError, match="must both be"):
        count_repetitions([1.0, 2.0], [0.0])
    with pytest.raises(InputError, match="backwards"):
        count_repetitions([1.0, 2.0], [1.0, 0.0])


@pytest.mark.golden
def test_squats_of_a_reference_recording(data):
    file = data / SQUATS / "pose_squats_3d.full.json"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    points = np.array(json.loads(file.read_text("utf-8")))  # (65, 33, 3), 5 frames a second
    knees = joint_angles_rad(points, [(23, 25, 27), (24, 26, 28)]).mean(axis=-1)
    assert count_repetitions(knees, np.arange(len(knees)) / 5) == SQUATS_DONE


@pytest.mark.parametrize(("options", "count"), [({}, 0), ({"min_duration_s": 0.1}, 1)])
def test_a_repetition_shorter_than_the_minimum_does_not_count(options, count):
    angles = np.full(300, 3.0)
    angles[100:104] = 1.0
    assert count_repetitions(angles, np.arange(300) / 30, **options) == count


def test_single_wild_frames_do_not_count():
    angles = np.full(300, 3.0)
    angles[50::40] = 1.0
    assert count_repetitions(angles, np.arange(300) / 30) == 0


@pytest.mark.parametrize("name", list_skeletons())
def test_every_joint_between_two_bones_has_an_angle(name):
    skeleton = load_skeleton(name)
    triples = joint_triples(skeleton)
    assert [child for _, _, child in triples] == [
        child for child, joint in enumerate(skeleton.parents) if joint >= 0 and skeleton.parents[joint] >= 0
    ]
    for parent, joint, child in triples:
        assert skeleton.parents[child] == joint
        assert skeleton.parents[joint] == parent
