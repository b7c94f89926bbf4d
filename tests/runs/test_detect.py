"""Detection tasks with detectors of a script: every output of a run is stored, and each hint has its condition."""

import csv
import json
import math
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit._util.extensions import FUNCTIONS
from sonjit.detectors import create
from sonjit.detectors.kinds import options_for
from sonjit.media import DrawingStyle, load_frames, open_source
from sonjit.runs import AngleLimits, Detect, EventLimits, Inputs, Outputs, run_input, run_job
from sonjit.runs.detect import value_text
from sonjit.runs.task import Lift

from ..support.scripted import FPS, Clip, Script, Still, body, face, hand, image, motion  # noqa: TID252
from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

ELBOW = EventLimits("left_elbow_angle_rad", 1.0, 2.0)
COUNTED = AngleLimits("left_elbow_angle_rad", 1.25, 2.25)
ANGLES_DEG = (40, 45, 50, 55, 90, 120, 140, 150, 150, 150, 120, 90)


def hands_at(index):
    """Return two hands, of which one shows a gesture and moves, and is lost at the end."""
    fist = ("Closed_Fist", 0.5 + index / 100) if 4 <= index < 24 else None
    phases = {8: "begin", 9: "progress", 12: "end", 30: "begin"}
    moved = [motion(phases[index], index / FPS, strength=0.5 + index / 100)] if index in phases else []
    return [hand(gesture=fist, seed=1 + index % 3)] * (index < 28) + [hand("Left", id=3, seed=7)], moved


def bodies_at(index):
    return [body(ANGLES_DEG[index % len(ANGLES_DEG)])] if index != 17 else []


@pytest.fixture
def opens(monkeypatch):
    """Return a function that lets tasks open other detectors from now on."""
    chosen = []
    monkeypatch.setattr(create, "detector_from", lambda options: chosen[-1](options))
    return chosen.append


@pytest.fixture
def opened(opens):
    """Let tasks open detectors of a script, and return them by their kind."""
    found = {}

    def open_detector(options):
        find, more = {"hands": (hands_at, 2), "body": (bodies_at, 0)}[options.kind]
        found[options.kind] = Script(options.kind, find, more)
        found[options.kind].options = options
        return found[options.kind]

    opens(open_detector)
    return found


def task(**more):
    hands = Detect(options_for("hands", gestures="canned"))
    return Detect(options_for("body"), count=(COUNTED,), events=(ELBOW,), also=(hands,), **more)


def run(work, source, *outputs, **more):
    with work.open(source.kind) as worker:
        return run_input(worker, source, Outputs(*outputs, **more))


def contents(folder):
    """Return the cells of each table, and the colours of parts of each image."""
    found = {}
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        if file.suffix == ".png":
            pixels = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
            found[file.name] = cv2.resize(pixels, (4, 3), interpolation=cv2.INTER_AREA) // 8
        elif file.suffix == ".csv":
            with file.open(newline="", encoding="utf-8") as lines:
                found[file.name] = [[number(cell) for cell in row] for row in csv.reader(lines)]
    return found


def number(cell):
    """Return the number in a cell of a table, or its text."""
    try:
        return float(cell)
    except ValueError:
        return cell


def stated(summary, folder):
    """Return what a summary states, apart from times."""
    given = {name: getattr(summary, name) for name in ("instances", "lines", "notes", "omitted", "problems", "written")}
    return json.loads(json.dumps(given | {"last": summary.last.index}).replace(str(folder), ""))


def test_the_outputs_of_a_video_are_as_stored(opened, tmp_path, capsys):
    work, count = task(rows="instance", style=DrawingStyle(boxes=True)), 48
    summary = run(work, Clip(count), str(tmp_path / "t.csv"), str(tmp_path / "d.mp4"), json=True)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [record["index"] for record in printed] == [*range(count)]
    events = [[record.get("events"), record.get("motions")] for record in printed]
    found = [stated(summary, tmp_path), contents(tmp_path), events]
    assert (summary.frames, [opened[kind].closes for kind in opened]) == (count, [1, 1])
    assert_as_stored("runs.video", found, relative=1e-3, absolute=2e-3)


def test_the_outputs_of_a_still_are_as_stored(opened, tmp_path):
    plain = run(task(), Still())
    written = run(task(), Still(), str(tmp_path / "t.csv"), str(tmp_path / "d.png"), str(tmp_path / "m.png"))
    found = contents(tmp_path)
    assert [found.pop(name).shape[:2] for name in ("d.png", "m.png")] == [(3, 4)] * 2
    assert_as_stored("runs.still", [stated(plain, tmp_path), stated(written, tmp_path), found])


@pytest.mark.parametrize("background", ["image", "black"])
def test_the_drawings_of_a_video_show_each_frame(opened, tmp_path, background):
    work = task(style=DrawingStyle(background=background))
    run(work, Clip(3), None, str(tmp_path / "d.mp4"))
    with open_source(tmp_path / "d.mp4") as drawn:
        corners = [frame.rgb[-4:, -4:].mean((0, 1)) for frame in drawn]
    below = [image(index)[-4:, -4:].mean((0, 1)) * (background == "image") for index in range(3)]
    np.testing.assert_allclose(corners, below, atol=9)


def test_a_table_of_a_folder_has_the_size_of_each_image(opened, tmp_path):
    for name, size in (("a.png", (6, 8)), ("b.png", (10, 5))):
        cv2.imwrite(str(tmp_path / name), np.zeros((*size, 3), np.uint8))
    with open_source(tmp_path) as folder:
        run(task(), folder, str(tmp_path / "t.json"))
    sources = json.loads((tmp_path / "t.json").read_text("utf-8"))["sources"]
    assert sources == {"a.png": {"width": 8, "height": 6}, "b.png": {"width": 5, "height": 10}}


def test_a_table_of_several_files_has_videos_and_names_what_cannot_be_read(opened, tmp_path, write_video):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((6, 8, 3), np.uint8))
    write_video(tmp_path / "b.mp4", [np.zeros((16, 16, 3), np.uint8)] * 2)
    (tmp_path / "c.png").write_bytes(b"no image")
    summary = run_job(task(), Inputs.find([str(tmp_path)]), Outputs(str(tmp_path / "t.json")))
    header, frames = load_frames(tmp_path / "t.json")
    assert [(frame.source, frame.index) for frame in frames] == [("a.png", 0), ("b.mp4", 0), ("b.mp4", 1)]
    (problem,) = summary.problems
    assert header.notes[-1:] == [problem.replace(f"{tmp_path}/", "")]


@pytest.mark.parametrize(("how", "background"), [("none", "image"), ("none", "black"), ("black", "image")])
def test_drawings_over_the_frames_of_files_differ_only_where_somebody_is_drawn(
    opened, tmp_path, write_video, how, background
):
    work = task(style=DrawingStyle(background=background, anonymise=how))
    with work.open("video") as worker:
        for size in ((64, 96), (80, 112)):
            frames = [np.full((*size, 3), 60 + 30 * k, np.uint8) for k in range(3)]
            path, drawn = write_video(tmp_path / f"{size[0]}.mp4", frames, fps=10), str(tmp_path / "d.mp4")
            with open_source(path) as source:
                summary = run_input(worker, source, Outputs(draw=drawn))
            assert 0 < summary.times["draw"] <= summary.times["write"] <= summary.seconds
            with open_source(drawn) as source:
                shown = [frame.rgb.astype(float) for frame in source]
            for index, rgb in enumerate(shown):
                below = (60 + 30 * index) * (background == "image" and how == "none")
                assert rgb.shape == (*size, 3)
                np.testing.assert_allclose(rgb[-16:, -10:].mean(), below, atol=9)
                assert np.abs(rgb[10:40, 30:60] - below).mean() > 9


def test_motions_and_events_that_end_with_a_recording_are_those_of_its_last_frame(opens, tmp_path):
    tick = motion("end", 0.375, name="tick")
    opens(lambda options: Script(options.kind, hands_at, last=[tick]))
    work, names = Detect(options_for("hands", gestures="canned")), []
    for live in (False, True):
        clip, table = Clip(12), tmp_path / f"{live}.csv"
        clip.live = live
        clip.depth = 12  # a live source leaves out no frame if all of them can wait
        run(work, clip, str(table))
        for part in ("motions", "events"):
            with table.with_suffix(f".{part}.csv").open(encoding="utf-8") as file:
                names.append([row["name"] for row in csv.DictReader(file) if row["frame"] == "11"])
    assert names == [["tick"], ["tick", "Closed_Fist", "Swipe_Left"]] * 2
    run(work, Clip(12), str(tmp_path / "t.jsonl"))
    last = load_frames(tmp_path / "t.jsonl")[1][-1]
    assert ([one.name for one in last.motions], len(last.events)) == (["tick"], 4)


def test_a_summary_has_the_values_and_times_of_what_is_written(opened, tmp_path):
    for degrees, unit in ((True, "deg"), (False, "rad")):
        work = task(measures=True, degrees=degrees)
        summary = run(work, Clip(1), str(tmp_path / "t.json"), str(tmp_path / "d.mp4"))
        assert summary.times["draw"] > 0
        assert [f"left_elbow_angle_{unit}" in values for values in summary.measured] == [False, False, True]


def test_results_that_are_not_written_are_lines(opens, capsys):
    opens(lambda options: Script(options.kind, bodies_at))
    plain, line = Detect(options_for("body")), "body 0.62 #4 at 30, 10, 60, 40"
    assert (run(plain, Still()).lines, run(plain, Still(), json=True).lines) == ([line], [])
    assert run(replace(plain, degrees=True), Still()).lines == [line]
    assert run(replace(plain, count=(COUNTED,)), Still()).lines == [f"{line}; repetitions 0"]
    opens(lambda options: Script(options.kind, lambda _: [body(id=None)]))
    assert run(plain, Still()).lines == [line.replace(" #4", "")]


def test_a_worker_of_several_inputs_starts_each_anew(opened, tmp_path):
    with task().open("video") as worker:
        first, second = (run_input(worker, Clip(14)) for _ in range(2))
    assert (first.instances, first.notes, first.last.index) == (second.instances, second.notes, second.last.index)
    assert [opened[kind].resets for kind in opened] == [2, 2]


@pytest.mark.parametrize(
    ("frames", "changes", "is_hinted"),
    [
        (9, {}, False), (10, {}, True), (11, {}, True), (10, {"search": "fast"}, False),
        (10, {"search": "thorough"}, False), (10, {"model": "box"}, False),
    ],
)  # fmt: skip
def test_a_thorough_search_is_suggested_where_it_may_find_more(opens, frames, changes, is_hinted):
    opens(lambda options: Script(options.kind, lambda _: []))
    for find, hinted in ((lambda _: [], is_hinted), (lambda _: [face()], False)):
        opens(lambda options, find=find: Script(options.kind, find))
        summary = run(Detect(options_for("face", **changes)), Clip(frames))
        assert summary.notes == ["clip.mp4: 0 faces found. Try --search thorough."] * hinted


@pytest.mark.parametrize("source", [Clip(12), Still()])
def test_repetitions_are_stated_of_videos_with_instances(opens, source):
    for find in (bodies_at, lambda _: []):
        opens(lambda options, find=find: Script(options.kind, find))
        summary = run(Detect(options_for("body", search="fast"), count=(COUNTED,)), source)
        is_stated = source.kind == "video" and bool(summary.instances)
        assert len(summary.notes) == is_stated


def test_options_of_detectors_depend_on_the_input(opened):
    for kind, is_still in (("image", True), ("folder", True), ("video", False), ("camera", False)):
        with task(measures=True).open(kind):
            assert [opened[name].options.static_image for name in opened] == [is_still] * 2
    assert opened["hands"].options.gestures == "canned"
    with Detect(options_for("hands"), measures=True).open("video"):
        assert opened["hands"].options.gestures == "canned"
    with Detect(options_for("hands")).open("video"):
        assert opened["hands"].options.gestures is None


def test_a_detector_that_does_not_load_closes_those_before(opens):
    first = Script("body", bodies_at)

    def open_detector(options):
        if options.kind == "hands":
            raise InputError("no network")
        return first

    opens(open_detector)
    with pytest.raises(InputError, match="no network"):
        task().open("video")
    assert first.closes == 1


def test_a_lifting_network_changes_each_frame(opened, monkeypatch):
    lifted, lift = [], Lift(weights="demo")
    network = SimpleNamespace(lift_frame=lambda rgb, frame: lifted.append((rgb[0, 0, 2].item(), frame.index)))
    monkeypatch.setitem(FUNCTIONS, "create_lifter", lambda given: network if given is lift else None)
    run(replace(task(), lift=lift), Clip(3))
    assert lifted == [(0, 0), (1, 1), (2, 2)]


def test_a_task_names_its_model_files_options_and_counts(tmp_path):
    networks = {"models_dir": tmp_path, "detector_model": tmp_path / "p.onnx", "landmark_model": tmp_path / "l.onnx"}
    own = tmp_path / "own.json"
    hands = Detect(options_for("hands", gestures=str(own), **networks), lift=Lift(weights="w.pt", root_weights="r.pt"))
    assert hands.files == ("w.pt", "r.pt", *map(str, networks.values()), str(own))
    plain = [Detect(options_for("hands", gestures=name, precision="f32")) for name in ("canned", None)]
    assert [one.files for one in plain] == [(), ()]
    both = replace(task(), also=(hands,))
    assert (both.files, both.model) == (hands.files[2:], "body-full+hands-full+internet")
    assert (hands.model, [one.kind for one in both.all]) == ("hands-full+internet", ["body", "hands"])
    texts = [each.count_text(count) for each in (hands, Detect(options_for("body")), both) for count in (1, 2)]
    assert texts == ["1 hand", "2 hands", "1 body", "2 bodies", "1 instance", "2 instances"]


def test_the_columns_of_a_task_are_those_of_all_its_detectors():
    both = task()
    assert both.columns == {"repetitions": int, "gesture": str, "gesture_score": float}
    measured = task(measures=True).columns
    assert (measured["left_elbow_angle_rad"], measured["repetitions"], measured["gesture"]) == (float, int, str)
    assert [both.has_gestures, both.has_events, both.limits] == [True, True, [ELBOW]]
    plain = Detect(options_for("body"))
    assert [plain.has_gestures, plain.has_events, plain.limits, plain.columns] == [False, False, [], {}]
    assert [replace(plain, count=(COUNTED,)).has_events, replace(plain, events=(ELBOW,)).has_events] == [True, True]
    assert [replace(plain, also=(each,)).has_events for each in (plain, both)] == [False, True]


def test_a_table_names_counted_angles_limits_and_the_region():
    other = AngleLimits("right_elbow_angle_rad")
    work = Detect(options_for("body"), count=(COUNTED, other), events=(ELBOW,), lift=Lift(weights="demo"))
    counted = [f"left_elbow_angle_rad:{math.degrees(1.25):g}:{math.degrees(2.25):g}", "right_elbow_angle_rad:110:150"]
    lifting = {"lift": "internet", "lift_weights": "demo"}
    assert work.changed_options == {"count": counted, "events": [ELBOW.text]} | lifting
    assert Detect(options_for("body"), count=(other,)).changed_options == {"count": counted[1]}
    given = options_for("hands", landmark_model=Path("l.onnx"), max_instances=9, threads=2)
    assert Detect(given).changed_options == {"landmark_model": "l.onnx", "max_instances": 9}


@pytest.mark.parametrize("roi", [(0, 0, 0, 5), (-1, 0, 5, 5)])
def test_a_region_outside_images_is_refused_before_a_network_is_loaded(roi):
    with pytest.raises(InputError):
        Detect(options_for("hands"), roi=roi)


def test_a_task_is_sent_to_processes_without_values_it_has_computed():
    work = task()
    assert work.columns
    again = pickle.loads(pickle.dumps(work))
    assert again == work
    assert not {"columns", "model", "changed_options"} & again.__dict__.keys()


@pytest.mark.parametrize(("kind", "moves"), [("folder", False), ("image", True), ("video", True)])
def test_a_table_of_several_files_has_motions_and_events_unless_all_are_stills(tmp_path, kind, moves):
    source = Clip(1)
    source.kind = kind
    hands = Detect(options_for("hands", gestures="canned"))
    both, events = ["t.motions.csv", "t.events.csv"], ["t.events.csv"]
    plain = Detect(options_for("hands"))
    for work, expected in ((hands, both * moves), (task(), both if moves else events), (plain, [])):
        with work.open_table(str(tmp_path / "t.csv"), source) as table:
            assert table.more_paths == [str(tmp_path / name) for name in expected]
    with pytest.raises(InputError, match=r"Characters require one input. For several inputs use --save .*name"):
        hands.open_table(str(tmp_path / "t.bvh"), source)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_a_recording_for_rerun_has_the_frames_of_one_video(tmp_path, kind):
    """The first of several inputs is a video, or a photograph before a video."""
    source = Clip(1)
    source.kind = kind
    message = r"^\S*t\.rrd: Recordings for Rerun require one input\. For several inputs use --save \S*{name}\.rrd$"
    with pytest.raises(InputError, match=message):
        task().open_table(str(tmp_path / "t.rrd"), source)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (2, "2"), ("fist", "fist"), (None, "unknown"), (math.nan, "unknown"), (0.0, "0.000")],
)
def test_values_are_written_in_three_digits(value, text):
    assert value_text(value) == text
