"""Everybody whom a drawing hides: faces of all windows and turns, heads of bodies, and people. Hands are no heads."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import pytest

from sonjit import InputError
from sonjit._util import Image
from sonjit._util.data_files import ASSETS
from sonjit.detectors.bystanders import BystanderSearch
from sonjit.media import open_source, rgb_from
from sonjit.media.drawing.covers import inside

NETWORKS = "face-short", "face-full", "face-mesh", "face-attention", "body-full", "body-lite", "person-detector"


def test_the_search_needs_all_its_networks(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"face-short.*\(hiding people needs it: sonjit models pull face body\)"):
        BystanderSearch(tmp_path)


def test_hands_are_no_heads(need: Callable[..., object], demo_clip: tuple[Path, list[Image], object]) -> None:
    """The photograph shows a person, and the clip only hands."""
    need(*NETWORKS)
    search, (_, frames, _) = BystanderSearch(), demo_clip
    assert len(search.find(rgb_from(ASSETS / "photo.jpg")).heads) == 1
    found = [search.find(rgb, thorough=False) for rgb in (*frames[::60], frames[135])]
    assert not [head for each in found for head in each.heads if any(inside(head, hand) > 0.5 for hand in each.hands)]
    assert [each.heads for each in found].count([]) >= 6


@pytest.mark.golden
def test_a_head_that_looks_like_a_hand_stays_a_head(need: Callable[..., object], data: Path) -> None:
    """The network of people and hands takes the head of a bald man in profile for a hand."""
    need(*NETWORKS)
    folder = data / "real" / "video2"
    clip = folder / "clips" / "pushup.mp4"
    if not clip.is_file():
        pytest.skip(f"{clip} is not there")
    labels = next(
        each for each in json.loads((folder / "labels.json").read_text("utf-8"))["clips"] if each["name"] == "pushup"
    )
    labelled = {frame["frame"]: frame["instances"] for frame in labels["key_frames"]}
    with open_source(clip) as source:
        frame = next(frame for frame in source if frame.index == 101)
    ((left, top, right, bottom),) = [item["box"] for item in labelled[101] if item["kind"] == "face"]
    found = BystanderSearch().find(frame.rgb, thorough=False)
    assert found.hands
    x, y = (left + right) / 2, (top + bottom) / 2
    assert any(head[0] < x < head[2] and head[1] < y < head[3] for head in found.heads)


def test_a_followed_head_that_has_drifted_does_not_replace_the_head_of_its_person(need: Callable[..., object]) -> None:
    """The person shows no face."""
    need(*NETWORKS)
    search = BystanderSearch()
    with open_source(ASSETS / "squats.mp4") as source:
        rgb = next(iter(source)).rgb.copy()
    (head,) = search.find(rgb, thorough=False).heads
    left, top, right, bottom = map(int, head)
    rgb[top:bottom, left:right] = cv2.blur(rgb[top:bottom, left:right], (31, 31))
    wide, high = right - left, bottom - top
    drifted = left + 0.4 * wide, top + 0.3 * high, right + 0.4 * wide, bottom + 0.3 * high
    found = search.find(rgb, thorough=False, known=[drifted]).heads
    assert max((inside(head, other) for other in found), default=0) > 0.7, (head, drifted, found)
