"""Tasks, workers and outputs without media: what is abstract, what is dropped, and what is assumed."""

from types import SimpleNamespace

import pytest

from sonjit import InputError
from sonjit.geometry.cameras import Intrinsics
from sonjit.runs import Outputs, Summary, Task, Worker
from sonjit.runs.task import Lift

METHODS = {Task: ("count_text", "open"), Worker: ("start", "count")}


def subclass(base, without=None):
    return type("Own", (base,), {name: lambda *_: None for name in METHODS[base] if name != without})


@pytest.mark.parametrize(("base", "name"), [(base, name) for base in METHODS for name in METHODS[base]])
def test_tasks_and_workers_define_each_method(base, name):
    subclass(base)()
    with pytest.raises(TypeError, match=name):
        subclass(base, name)()


def test_a_task_needs_no_files_threads_or_common_table():
    task = subclass(Task)()
    assert (task.files, task.for_threads(), task.open_table("t.csv", None)) == ((), (task, 1), None)
    assert (task.save_ending, task.figures_ending, task.joins_videos) == (".json", "", False)


def test_outputs_are_named_by_their_options():
    outputs = Outputs("s", "d", "m", "f", json=True)
    assert outputs.named_paths == {"--save": "s", "--draw": "d", "--mask": "m", "--figure": "f"}
    assert outputs.paths == ["s", "d", "m", "f"]
    assert (Outputs(draw="d").paths, Outputs().paths, Outputs().json) == (["d"], [], False)


def test_a_summary_is_empty_at_first():
    summary = Summary()
    assert (summary.frames, summary.instances, summary.skipped, summary.seconds, summary.times["draw"]) == (0,) * 5
    assert [summary.files, summary.last, summary.hidden, summary.omitted, summary.measured] == [None] * 5
    assert [summary.lines, summary.notes, summary.written, summary.problems] == [[]] * 4


@pytest.mark.parametrize(
    ("outputs", "is_optional"),
    [
        (Outputs(draw="d.mp4"), False),
        (Outputs("t.csv", "d.mp4"), True),
        (Outputs(draw="d.mp4", json=True), True),
        (Outputs(draw="d.mp4", mask="m.webm"), True),
    ],
)
def test_a_drawing_that_fails_is_dropped_only_in_addition_to_other_outputs(outputs, is_optional):
    worker, drawing = subclass(Worker)(), SimpleNamespace()
    optional = worker.as_optional(drawing, "d.mp4", outputs)
    assert (optional is not drawing) == is_optional
    if not is_optional:
        return
    summary = Summary(written=outputs.paths)
    worker.report_dropped(summary)
    assert (summary.problems, summary.written) == ([], outputs.paths)
    optional.problem = "d.mp4 cannot be drawn"
    worker.report_dropped(summary)
    assert summary.problems == ["d.mp4 cannot be drawn"]
    assert summary.written == [path for path in outputs.paths if path != "d.mp4"]
    worker.reset()
    other = Summary(written=outputs.paths)
    worker.report_dropped(other)
    assert (other.problems, other.written) == ([], outputs.paths)


def test_a_worker_forgets_the_times_of_the_input_before():
    worker = subclass(Worker)()
    worker.times["read"] += 2
    assert dict(worker.times) == {"read": 2}
    worker.reset()
    assert not worker.times


CAMERA = "camera assumed"
BONE, HANDS, BODIES = "distance from the size of a usual hand", "distance from the hands' size", "distance by RootNet's"


@pytest.mark.parametrize(
    ("settings", "beginnings"),
    [
        ({}, [CAMERA, HANDS]),
        ({"box": (0, 0, 5, 5)}, [CAMERA, BONE]),
        ({"root_weights": "r", "camera": Intrinsics(500, 500, 3, 2)}, [BODIES]),
        ({"root_weights": "r", "box": (0, 0, 5, 5)}, [CAMERA, BODIES]),
    ],
)
def test_a_lift_names_what_it_assumes(settings, beginnings):
    notes = Lift(weights="demo", **settings).notes
    assert len(notes) == len(beginnings)
    assert all(note.startswith(beginning) for note, beginning in zip(notes, beginnings, strict=True))


def test_a_lift_names_the_settings_that_change_results_as_the_command_line_does():
    lift = Lift(
        weights="w.pt",
        root_weights="r.pt",
        layout="stb",
        root_input_scale=255,
        camera=Intrinsics(500, 501.5, 3, 2),
        device="gpu",
        box=(1, 2, 3, 4.5),
    )
    assert lift.changed_options == {
        "lift": "internet",
        "lift_weights": "w.pt",
        "lift_layout": "stb",
        "root_weights": "r.pt",
        "root_input_scale": 255,
        "lift_box": [1, 2, 3, 4.5],
        "lift_device": "gpu",
        "camera": "500,501.5,3,2",
    }


def test_a_lift_without_its_weights_is_refused():
    with pytest.raises(InputError, match="--lift internet needs its weights"):
        Lift()
    with pytest.raises(InputError, match="--root-input-scale requires --root-weights"):
        Lift(weights="demo", root_input_scale=255)
    lift = Lift(weights="demo", root_weights="r", root_input_scale=255)
    assert (lift.network, lift.mirrored, lift.device, lift.box) == ("internet", False, "cpu", None)
    assert Lift(weights="demo", box=(-1, -2, 0.5, 0.5)).box == (-1, -2, 0.5, 0.5)
    with pytest.raises(InputError, match=r"--lift-box 1\.5,2,0,4: width and height must be above 0"):
        Lift(weights="demo", box=(1.5, 2, 0, 4))
