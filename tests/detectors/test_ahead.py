"""Searches that run on other threads: ahead of a still, and beside a live stream."""

import threading
import time
from itertools import islice

import pytest

import sonjit
from sonjit.detectors.create import detector_for_input
from sonjit.media import rgb_from


@pytest.mark.slow
@pytest.mark.golden
def test_helpers_do_not_change_results(data):
    photographs = sorted((data / "real" / "wild3").rglob("*.jpg"))[:60:24]
    if not photographs:
        pytest.skip(f"{data / 'real' / 'wild3'} is not there")
    with sonjit.create_detector("hands", static_image=True, threads=2) as several:
        together = [several.detect(path) for path in photographs]
    with sonjit.create_detector("hands", static_image=True, threads=1) as one:
        assert [one.detect(path) for path in photographs] == together
    assert any(together)


def threads_named(prefix):
    return {thread for thread in threading.enumerate() if thread.name.startswith(prefix)}


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "options", "prefix"),
    [("hands", {"static_image": True}, "sonjit-ahead"), ("holistic", {}, "sonjit-face")],
)
@pytest.mark.files("real/wild/stock-group-1.jpg")
def test_a_closed_detector_has_no_threads(kind, options, prefix, file):
    others = threads_named(prefix)
    detector = sonjit.create_detector(kind, **options)
    assert detector.detect(file)
    own = threads_named(prefix) - others
    detector.close()
    assert not any(thread.is_alive() for thread in own)


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.files("real/wild/stock-group-1.jpg")
@pytest.mark.parametrize("kind", ["face", "body", "hands"])
def test_a_live_stream_finds_more_than_the_fast_search_and_ends_its_thread(kind, file):
    rgb = rgb_from(file)
    with sonjit.create_detector(kind, search="fast", max_instances=20) as fast:
        published = len(fast.detect(rgb))
    others = threads_named("sonjit-key-frames")
    live = detector_for_input(kind, {"max_instances": 20}, "camera", is_live=True)
    counts = [len(live.detect(rgb))]
    own = threads_named("sonjit-key-frames") - others
    while counts[-1] <= published and len(counts) < 200:  # a busy machine searches later
        time.sleep(0.2)  # not sooner: each image takes the search's time
        counts.append(len(live.detect(rgb)))
    assert counts[0] <= published < counts[-1]
    live.reset()
    assert len(live.detect(rgb)) <= published  # a new stream, whose search has begun
    live.close()
    assert own
    assert not any(thread.is_alive() for thread in own)


@pytest.mark.slow
def test_live_boxes_of_faces_are_searched_in_each_frame_as_published(weights, photo):
    with detector_for_input("face", {"model": "box"}, "camera", is_live=True) as live:
        assert "windows" not in live.graph.nodes
        found = [live.detect(photo) for _ in range(3)]
    with sonjit.create_detector("face", model="box", search="fast") as fast:
        assert found == [fast.detect(photo) for _ in range(3)]


@pytest.mark.slow
@pytest.mark.golden
def test_a_second_thread_does_not_change_a_recording(data):
    clip = data / "real" / "video2" / "clips" / "trio.mp4"
    if not clip.exists():
        pytest.skip(f"{clip} is not there")
    others = threads_named("sonjit-ahead")
    found = []
    for threads in (1, 2):
        with detector_for_input("hands", {"threads": threads}, "video") as detector, sonjit.open_source(clip) as source:
            frames = ((frame.rgb, frame.time) for frame in islice(source, 40))
            found.append(list(detector.detect_frames(frames)))
    assert found[0] == found[1]
    assert any(found[0])
    assert threads_named("sonjit-ahead") == others
