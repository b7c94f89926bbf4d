import json
import threading
import time

import pytest

from sonjit.runs import Task, run_task

OPTIONS = (("model", "full"), ("max_instances", 1))


class StopError(Exception):
    pass


@pytest.fixture
def task(weights, demo_clip, tmp_path):
    path, _, _ = demo_clip
    return lambda **more: Task(str(path), "hands", OPTIONS, save=str(tmp_path / "t.jsonl"), limit=6, **more)


def test_a_table_calls_its_source_by_the_name_given(task, tmp_path):
    run_task(task(name="손.mp4"))
    assert json.loads((tmp_path / "t.jsonl").read_text("utf-8").splitlines()[0])["source"] == "손.mp4"


def test_what_it_came_to_so_far_is_told_after_each_image(task):
    seen = []
    summary = run_task(task(), advance=lambda so_far: seen.append((so_far.frames, so_far.instances)))
    assert [frames for frames, _ in seen] == list(range(1, 7))
    assert seen[-1] == (summary.frames, summary.instances)


def test_an_exception_of_the_caller_ends_it_and_leaves_nothing(task, tmp_path, monkeypatch):
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

    monkeypatch.setattr("sonjit.runs.run.draw_frame", draw)
    with pytest.raises(StopError):
        run_task(task(draw=str(tmp_path / "drawn.mp4")), advance=advance)
    assert drawn == [0]
    assert list(tmp_path.iterdir()) == []
