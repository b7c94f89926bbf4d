import json
import threading
import time

import av
import numpy as np
import pytest

from sonjit.errors import JobError
from sonjit.explain.run import Explain
from sonjit.media import open_source
from sonjit.runs import Detect, Outputs, run_input

OPTIONS = {"model": "full", "max_instances": 1}
DETECT = Detect("hands", OPTIONS)


class StopError(Exception):
    pass


@pytest.fixture
def run(weights, demo_clip, tmp_path):
    """Find hands in the first six frames of the clip."""

    def run(draw=None, name=None, **more):
        with DETECT.load() as session, open_source(demo_clip[0]) as source:
            source.name = name or source.name
            return run_input(session, source, Outputs(str(tmp_path / "t.jsonl"), draw), limit=6, **more)

    return run


def test_a_table_calls_its_source_by_the_name_given(run, tmp_path):
    run(name="손.mp4")
    assert json.loads((tmp_path / "t.jsonl").read_text("utf-8").splitlines()[0])["source"] == "손.mp4"


def test_the_number_of_frames_is_told_once_and_what_it_came_to_after_each(run):
    expected, seen = [], []
    summary = run(opened=expected.append, advance=lambda so_far: seen.append((so_far.frames, so_far.instances)))
    assert expected == [6]
    assert [frames for frames, _ in seen] == list(range(1, 7))
    assert seen[-1] == (summary.frames, summary.instances)


def test_an_exception_of_the_caller_ends_it_and_leaves_nothing(run, tmp_path, monkeypatch):
    drawn, raised = [], threading.Event()

    def draw(rgb, frame, **_):
        drawn.append(frame.index)
        raised.wait(10)
        time.sleep(0.1)  # long enough for the exception to reach the thread that draws
        return rgb

    def advance(so_far):
        if so_far.frames == 3:
            raised.set()
            raise StopError

    monkeypatch.setattr("sonjit.runs.detect.draw_frame", draw)
    with pytest.raises(StopError):
        run(draw=str(tmp_path / "drawn.mp4"), advance=advance)
    assert drawn == [0]
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def wide(weights, tmp_path):
    """`wide(outputs)`: a clip that is wider than H.264 can be, after another run's options."""
    path = tmp_path / "wide.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=30)
        stream.width, stream.height, stream.pix_fmt = 16_500, 16, "bgr0"
        for _ in range(2):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((16, 16_500, 3), np.uint8))))
        container.mux(stream.encode(None))

    def run(*outputs, processor=DETECT):
        with processor.load() as session, open_source(path) as source:
            return run_input(session, source, Outputs(*outputs))

    return run


def test_a_drawing_that_cannot_be_encoded_leaves_the_table(wide, tmp_path):
    table, drawing = tmp_path / "t.jsonl", tmp_path / "d.mp4"
    summary = wide(str(table), str(drawing))
    (problem,) = summary.problems
    assert problem.startswith(f"{drawing} cannot be drawn: ")
    assert summary.written == [str(table)]
    assert len(table.read_text("utf-8").splitlines()) == 3
    assert {path.name for path in tmp_path.iterdir()} == {"wide.mkv", "t.jsonl"}
    with pytest.raises(JobError, match="cannot be drawn"):
        wide(None, str(drawing))
    assert not drawing.exists()


def test_masks_and_saliency_that_cannot_be_encoded_leave_the_table(wide, tmp_path):
    tables, drawing = [tmp_path / "t.jsonl", tmp_path / "u.jsonl"], str(tmp_path / "d.mp4")
    explain = Explain(model="lite")
    for summary in (wide(str(tables[0]), None, drawing), wide(str(tables[1]), drawing, processor=explain)):
        (problem,) = summary.problems
        assert problem.startswith(f"{drawing} cannot be drawn: ")
    assert {path.name for path in tmp_path.iterdir()} == {"wide.mkv", "t.jsonl", "u.jsonl"}
    assert [len(path.read_text("utf-8").splitlines()) for path in tables] == [3, 3]
