import json
import math
import shutil
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError, JobError
from sonjit._util.pools import Progress
from sonjit.detectors.kinds import options_for
from sonjit.engines.precision import int8_path
from sonjit.explanations.task import Explain
from sonjit.media import open_source
from sonjit.media.sources import Reading
from sonjit.runs import Detect, Outputs, inputs, run_input, run_job
from sonjit.runs.task import Lift
from sonjit.weights import find_weight

OPTIONS = {"model": "full", "max_instances": 1}
DETECT = Detect(options_for("hands", **OPTIONS))


@pytest.fixture
def run(weights, demo_clip, tmp_path):
    """Detect hands in the first six frames of the clip."""

    def run(draw=None, name=None, **more):
        with DETECT.open("video") as worker, open_source(demo_clip[0]) as source:
            source.name = name or source.name
            return run_input(worker, source, Outputs(str(tmp_path / "t.jsonl"), draw), limit=6, **more)

    return run


def test_drawings_of_images_with_one_name_in_several_folders_end_once(tmp_path):
    files = [tmp_path / folder / name for folder in "ab" for name in ("1.jpg", "2.png")]
    files += [tmp_path / "3.jpg", tmp_path / "3.png", tmp_path / "4.jpg"]
    drawn = [Path(outputs.draw) for outputs in inputs.output_paths(Outputs(draw=str(tmp_path / "out")), files, DETECT)]
    assert all(path.parent == tmp_path / "out" for path in drawn)
    assert [path.name for path in drawn[-3:]] == ["3.jpg.jpg", "3.png.png", "4.jpg"]
    assert len(set(drawn)) == len(drawn)
    for path, file in zip(drawn[:4], files, strict=False):
        assert path.name.endswith(f"_{file.parent.name}_{file.stem}{file.suffix}")
        assert path.name.count(file.suffix) == 1


def test_drawings_among_the_inputs_are_no_inputs_and_no_input_is_replaced(weights, tmp_path):
    for name in ("a.png", "b.png", "b_d.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((32, 32, 3), np.uint8))
    task, outputs = Detect(options_for("hands", search="fast")), Outputs(draw=f"{tmp_path}/{{name}}_d.png")
    for run, wrote in enumerate(([], ["left out 2 files that this command wrote before"])):
        summary = run_job(task, inputs.Inputs.find([str(tmp_path)]), outputs)
        problem = f"{tmp_path}/b.png: its output {tmp_path}/b_d.png is another input. Choose another name or folder"
        assert (summary.problems, summary.notes, summary.files) == ([problem], wrote, 2 - 2 * run)
    assert {path.name for path in tmp_path.glob("[ab]*")} == {"a.png", "a_d.png", "b.png", "b_d.png", "b_d_d.png"}


def test_no_input_is_replaced_however_its_path_is_written(weights, tmp_path, monkeypatch):
    for name in ("a.png", "a_d.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((32, 32, 3), np.uint8))
    before = (tmp_path / "a_d.png").read_bytes()
    monkeypatch.chdir(tmp_path)
    task = Detect(options_for("hands", search="fast"))
    summary = run_job(task, inputs.Inputs.find(["a.png", "a_d.png"]), Outputs(draw=f"{tmp_path}/{{name}}_d.png"))
    assert summary.problems == [f"a.png: its output {tmp_path}/a_d.png is another input. Choose another name or folder"]
    assert (tmp_path / "a_d.png").read_bytes() == before


@pytest.mark.parametrize("reading", [Reading(every=0), Reading(start_s=2, end_s=1), Reading(fps=0)])
def test_a_wrong_choice_of_frames_is_refused_before_anything_is_written(tmp_path, reading):
    with pytest.raises(InputError, match="give "):
        inputs.Inputs.find(["a.png", "b.png"], reading)


@pytest.fixture
def wide(weights, tmp_path, write_video):
    """Return a function that runs a clip that is too wide for H.264."""
    path = write_video(tmp_path / "wide.mkv", np.zeros((2, 16, 16_500, 3), np.uint8), codec="ffv1", pix_fmt="bgr0")

    def run(*outputs, task=DETECT):
        with task.open("video") as worker, open_source(path) as source:
            return run_input(worker, source, Outputs(*outputs))

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
    for summary in (wide(str(tables[0]), None, drawing), wide(str(tables[1]), drawing, task=explain)):
        (problem,) = summary.problems
        assert problem.startswith(f"{drawing} cannot be drawn: ")
    assert {path.name for path in tmp_path.iterdir()} == {"wide.mkv", "t.jsonl", "u.jsonl"}
    assert [len(path.read_text("utf-8").splitlines()) for path in tables] == [3, 3]


def test_a_finished_file_is_processed_again_after_its_network_was_quantized(weights, tmp_path, monkeypatch):
    paths = [find_weight(name) for name in ("palm-lite", "hand-lite")]
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    (tmp_path / "models").mkdir()
    for path in paths:
        shutil.copy(path, tmp_path / "models")
    (tmp_path / "a.png").write_bytes(b"")

    def key(**changes):
        task = Detect(options_for("hands", model="lite", **changes))
        return inputs.FinishedFiles(task, None).key(tmp_path / "a.png", Outputs("a.json"))

    before, in_f32 = key(), key(precision="f32")
    assert key() == before
    form = int8_path(tmp_path / "models" / paths[1].name)
    form.write_text("int8")
    quantized = key()
    form.write_text("another")
    assert len({before, quantized, key()}) == 3
    assert key(precision="f32") == in_f32


def test_lines_of_json_are_printed_by_one_process(weights, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", ModuleType("ray"))  # the tracker's tests run without it
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((32, 32, 3), np.uint8))
    task, given = Detect(options_for("hands", search="fast")), [str(tmp_path / "a.png")]
    for more in ({"jobs": 2}, {"workers": "ray"}):
        with pytest.raises(InputError, match="--json prints frames in order"):
            run_job(task, inputs.Inputs.find(given), Outputs(json=True), **more)
    run_job(task, inputs.Inputs.find(given), Outputs(json=True))
    assert [json.loads(line)["index"] for line in capsys.readouterr().out.splitlines()] == [0]


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (0, 0, 5, math.inf), (math.nan, 0, 5, 5)])
def test_a_box_to_lift_has_a_finite_size_above_0(box):
    with pytest.raises(InputError, match=r"--lift-box .*: width and height must be above 0"):
        Lift(weights="demo", box=box)
    assert Lift(weights="demo", box=(-3, 0, 5, 5)).box == (-3, 0, 5, 5)
    assert Lift(weights="demo").box is None


def test_a_table_names_the_options_that_differ_from_the_defaults():
    options = options_for("hands", model="lite", max_instances=1, threads=2)
    task = Detect(options, measures=True, roi=(0, 0, 9, 9), also=(Detect(options_for("face", search="fast")),))
    assert task.changed_options == {
        "max_instances": 1,
        "measures": True,
        "roi": [0, 0, 9, 9],
        "face.search": "fast",
    }
    assert Detect(options_for("hands")).changed_options == {}


@pytest.mark.parametrize(
    ("frames", "search", "is_hinted"), [(9, "auto", False), (10, "auto", True), (10, "fast", False)]
)
def test_a_thorough_search_is_suggested_after_ten_frames_without_results(
    weights, tmp_path, write_video, sonjit, frames, search, is_hinted
):
    clip = write_video(tmp_path / "black.mp4", [np.zeros((64, 64, 3), np.uint8)] * frames)
    _, _, lines = sonjit("hands", clip, "--search", search, "--save", tmp_path / "t.csv")
    assert any("Try --search thorough" in line for line in lines) == is_hinted


def test_gestures_of_videos_have_a_table_of_motions_and_those_of_stills_none(weights, tmp_path, write_video, sonjit):
    black = np.zeros((64, 64, 3), np.uint8)
    inputs = write_video(tmp_path / "clip.mp4", [black] * 2), tmp_path / "still.png"
    cv2.imwrite(str(inputs[1]), black)
    for path in inputs:
        assert sonjit("hands", path, "--gestures", "canned", "--save", path.with_suffix(".csv"))[0] == 0
    assert (tmp_path / "clip.motions.csv").is_file()
    assert not (tmp_path / "still.motions.csv").exists()


class Stops(Progress):
    """Ctrl-C at a frame."""

    def __init__(self):
        self.left = 9

    def advance(self, count=1, *, instances=0):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("lost", [None, 3, 6])
def test_ctrl_c_does_not_hide_that_a_frame_was_not_written(weights, demo_clip, tmp_path, lost):
    table = tmp_path / "t.csv"
    with DETECT.open("video") as worker, open_source(demo_clip[0]) as source:
        write = worker.write

        def write_all_but_one(frame, item):
            if frame.index == lost:
                raise JobError("the disk refuses it")
            write(frame, item)

        worker.write = write_all_but_one
        with pytest.raises(KeyboardInterrupt if lost is None else JobError):
            run_input(worker, source, Outputs(str(table)), progress=Stops())
    assert table.exists() == (lost is None)
