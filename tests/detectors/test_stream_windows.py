"""Which windows of a stream are searched, by their thumbnails, by what is tracked there, and by their last search."""

import numpy as np
import pytest

from sonjit.detectors.search.streams import StreamSearch, thumbnail_of
from sonjit.geometry.windows import windows

from .fakes import seen_at
from .test_streams import SIZE, Complete, Scripted, grey


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("first", "last", "is_again"), [(251, 262, True), (263, 337, False), (338, 349, True)])
def test_the_pixels_of_the_thumbnail_under_a_tracked_instance_are_not_compared(axis, first, last, is_again):
    """A box from 270 to 330 px is under the thumbnail's pixels from 21 to 26, each of 12.5 px."""
    changed = grey(100)
    np.moveaxis(changed, axis, 0)[first:last, 280:320] = 200
    searched = Complete().searched_frames([grey(100), *[changed] * 9], [seen_at(300, 300, size=50.0)])
    assert searched == ([1, 3] if is_again else [1])


@pytest.mark.parametrize("place", [(-300, 300), (300, -300), (900, 300), (300, 900), (-31, 300), (300, -31)])
def test_a_tracked_instance_outside_the_image_hides_no_change(place):
    changed = grey(100)
    changed[50:] = 200
    searched = Complete().searched_frames([grey(100), *[changed] * 9], [seen_at(*place, size=50.0)])
    assert searched == [1, 3]


@pytest.mark.parametrize(("tracked", "is_again"), [([True, False], False), ([False, True], False), ([False] * 2, True)])
def test_what_is_tracked_in_one_of_two_frames_is_not_compared(tracked, is_again):
    finder, changed = Complete(), grey(100)
    changed[270:330, 270:330] = 200
    search = StreamSearch(finder)
    for finder.frame, (rgb, shows) in enumerate(
        zip([grey(100), grey(100), changed], [tracked[0], tracked[0], tracked[1]], strict=True), 1
    ):
        search.step(rgb, [seen_at(300, 300, size=50.0)] * shows, [], [], spent=0, room=9)
    assert finder.searched == ([1, 3] if is_again else [1])


def test_windows_that_were_searched_longest_ago_are_searched_first():
    """All windows have changed. New windows come first, and then those of the oldest search."""

    class Parts(Scripted):
        parts = (2,)

    finder = Parts()
    search = StreamSearch(finder)
    for number in range(12):
        search.step(grey(40 * (number % 6)), [], [], [], spent=0, room=9)
    first, second, third, fourth = finder.windows[:4]
    assert len({first, second, third, fourth}) == 4
    assert finder.windows[4:8] == [first, second, third, fourth]
    count = len(finder.windows)
    smaller = np.zeros((SIZE, SIZE // 2, 3), np.uint8)
    search.step(smaller, [], [], [], spent=0, room=9)  # windows of another image are new
    assert search.is_first_pass
    assert finder.windows[count] == windows(SIZE // 2, SIZE, 2)[0]


@pytest.mark.parametrize(
    ("size", "shape"),
    [((600, 400), (32, 48)), ((400, 600), (48, 32)), ((300, 3), (1, 48)), ((48, 48), (48, 48)), ((10, 7), (34, 48))],
)
def test_a_thumbnail_has_the_means_of_pixels(size, shape):
    rgb = np.zeros((*size[::-1], 3), np.uint8)
    rgb[:, : size[0] // 2] = 200, 100, 50
    found = thumbnail_of(rgb)
    assert (found.shape, found.dtype) == ((*shape, 3), np.int16)
    assert found[0, 0].tolist() == [200, 100, 50]
    assert found[-1, -1].tolist() == [0, 0, 0]
    assert found.mean() == pytest.approx(rgb.mean(), abs=1.5)


@pytest.mark.parametrize("place", [(0, 0), (300, 301), (599, 599)])
def test_a_change_of_a_small_part_of_a_large_image_may_be_missed_between_sampled_pixels(place):
    """Of 1,200 px along a side, 384 are sampled."""
    rgb = np.zeros((1200, 1200, 3), np.uint8)
    rgb[::2, ::2] = 255
    sampled = thumbnail_of(rgb)
    steps = np.arange(384) * 1200 // 384
    expected = rgb[steps][:, steps].reshape(48, 8, 48, 8, 3).mean((1, 3))
    assert np.abs(sampled - expected).max() <= 1
