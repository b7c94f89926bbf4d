"""The interface of sources: which frames are yielded, what is noted, and how far a thread reads ahead."""

import threading

import numpy as np
import pytest

from sonjit.media.sources.base import ReadAhead, Source, SourceFrame, renamed

PIXEL = np.zeros((1, 1, 3), np.uint8)


def frames_at(*times):
    return [SourceFrame(index, time, PIXEL) for index, time in enumerate(times)]


class Made(Source):
    """A source of given frames."""

    kind = "video"

    def __init__(self, frames, kind="video"):
        super().__init__("made")
        self.made, self.kind = frames, kind

    def _frames(self):
        yield from self.made


TIMES = tuple(index / 4 for index in range(12))


@pytest.mark.parametrize(
    ("selected", "indices", "line"),
    [
        ((), range(12), None), ((0.5,), range(2, 12), "from 0.5 s"), ((0.51,), range(3, 12), "from 0.51 s"),
        ((0.0, 1.0), range(4), "until 1 s"), ((0.0, 1.01), range(5), "until 1.01 s"),
        ((0.5, 2.0), range(2, 8), "from 0.5 s, until 2 s"), ((0.0, None, 2), range(0, 12, 2), "one of 2 frames"),
        ((0.3, None, 5), (5, 10), "from 0.3 s, one of 5 frames"), ((0.0, None, 1), range(12), None),
        ((0.0, 0.0), (), "until 0 s"), ((0.0, None, 1, 12.5), range(12), "at 12.5 frames per second"),
        ((0.5, None, 1, 30), range(2, 12), "at 30 frames per second, from 0.5 s"),
    ],
)  # fmt: skip
def test_only_selected_frames_are_yielded_and_named(selected, indices, line):
    source = Made(frames_at(*TIMES))
    source.select(*selected)
    for _ in range(2):
        with source:
            assert [frame.index for frame in source] == list(indices)
    assert source.remarks() == (() if line is None else (f"made: read {line}",))
    assert source.finished == (len(selected) < 2 or selected[1] is None)
    assert source.starts_late == (len(selected) > 0 and selected[0] > 0)


@pytest.mark.parametrize("kind", ["image", "folder", "camera"])
def test_a_selection_applies_to_videos_and_cameras(kind):
    source = Made(frames_at(1, 1.5, 1.75) if kind == "camera" else frames_at(None, None), kind)
    source.select(1, 2, 3, 25)
    assert [frame.index for frame in source] == ([0] if kind == "camera" else [0, 1])
    assert source.remarks() == (
        ("made: read from 1 s, until 2 s, one of 3 frames",)
        if kind == "camera"
        else ("start, end and every apply to videos, not to still images",)
    )
    plain = Made([], kind)
    plain.select()
    assert (plain.remarks(), plain.starts_late) == ((), False)


def test_a_start_after_the_last_frame_is_a_problem_of_each_iteration():
    source = Made(frames_at(*TIMES))
    source.select(3)
    for _ in range(2):
        assert list(source) == []
        assert source.problems == ["made: no frame from 3 s, the last is at 2.75 s"]
    source.select(0, 0)
    assert list(source) == []
    assert source.problems == []
    source.select(2.75)
    assert [frame.index for frame in source] == [11]
    assert source.problems == []


def test_a_new_source_knows_nothing():
    source = Made([])
    known = [source.width, source.height, source.fps, source.count, source.geometry, source.frame_source(0)]
    assert known == [None] * 6
    assert [source.files, source.problems, source.notes] == [[], [], []]
    assert [source.offset_s, source.reading_s, source.finished, source.starts_late] == [0, 0, False, False]
    assert (source.depth, source.live) == (4, False)
    assert (list(source), source.finished) == ([], True)


def test_closing_a_source_stops_its_threads_and_calls_what_was_kept():
    before = set(threading.enumerate())

    def reading():
        return sum(one.name == "sonjit-read-ahead" and one not in before for one in threading.enumerate())

    source, calls = Made(frames_at(*range(100))), []
    source.keep(lambda: calls.append(1))
    source.keep(lambda: calls.append(2))
    running = [iter(source) for _ in range(3)]
    assert [next(one).index for one in running] == [0] * 3
    assert reading() == 3
    running.pop().close()
    assert reading() == 2
    source.close()
    assert (reading(), calls) == (0, [1, 2])
    assert [list(one) for one in running] == [[], []]


def test_names_of_files_are_replaced_at_the_start_of_lines():
    files, labels = ["a/1.jpg", "a/2.jpg", "a/2.jpg: b"], ["1", "2", "3"]
    lines = [
        "a/1.jpg: deep",
        "a/2.jpg is empty",
        "a/1.jpg: deep",
        "see a/1.jpg",
        "a/1.jpgx is",
        "a/3.jpg: x",
        "a/1.jpg",
    ]
    assert renamed(lines, files, labels) == (
        "1: deep",
        "2 is empty",
        "see a/1.jpg",
        "a/1.jpgx is",
        "a/3.jpg: x",
        "a/1.jpg",
    )
    assert renamed(["a/2.jpg: b: c"], files, labels) == ("2: b: c",)
    assert renamed([], files, labels) == ()


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_a_thread_reads_as_many_items_ahead_as_its_depth(depth):
    made, closed = [], threading.Event()

    def items():
        try:
            for frame in frames_at(*range(20)):
                made.append(frame.index)
                yield frame
        finally:
            closed.set()

    ahead = ReadAhead(items(), depth=depth)
    for taken in range(3):
        for _ in range(2000):
            if len(made) == depth + 1 + taken:
                break
            closed.wait(0.002)
        closed.wait(0.01)
        assert made == list(range(depth + 1 + taken))
        assert next(ahead).index == taken
    ahead.close()
    ahead.close()
    assert closed.is_set()
    with pytest.raises(StopIteration):
        next(ahead)


@pytest.mark.parametrize("depth", [1, 3])
def test_the_newest_items_of_a_camera_are_kept(depth):
    ended = threading.Event()

    def items():
        yield from frames_at(*range(9))
        ended.set()

    ahead = ReadAhead(items(), depth=depth, newest=True)
    assert ended.wait(20)
    assert [frame.index for frame in ahead] == list(range(9 - depth, 9))


def test_an_error_of_reading_is_raised_once_after_the_items_before_it():
    def items():
        yield from frames_at(0, 1)
        raise OSError("gone")

    ahead = ReadAhead(items())
    assert [next(ahead).time for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="gone"):
        next(ahead)
    assert list(ahead) == []
