"""Faces, bodies and people on the command line; measures, gestures, counts and masks of every kind."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

import sonjit as sonjit_package
from sonjit._util.errors import InputError
from sonjit.detectors.options import FaceOptions
from sonjit.media import Header, load_frames, open_source, open_writer
from sonjit.results import Body, Face, Frame
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.runs.annotations import AngleLimits, annotate, count_columns, table_columns
from sonjit.runs.events.repetition import RepetitionCounts

LISTS = {"face": "faces", "body": "bodies", "holistic": "people"}


@pytest.fixture(scope="module")
def image(data):
    """Return the image of the first golden with a person. Tests of detectors cover the other goldens."""
    for file in sorted(data.glob("goldens/mediapipe/pose.*.static.full.json")):
        golden = json.loads(file.read_text("utf-8"))
        if golden["frames"][0]["instances"] and (data / golden["source"]).is_file():
            return data / golden["source"]
    pytest.skip("no golden with a person")
    return None


def test_only_hands_have_columns_of_gestures_and_only_on_request():
    assert table_columns("hands-full", measures=False) == {}
    assert "gesture" in table_columns("hands-full", measures=False, gestures=True)
    assert "gesture" in table_columns("holistic-full", measures=True)
    assert "gesture" not in table_columns("body-full", measures=True)


@pytest.mark.golden
@pytest.mark.parametrize("kind", LISTS)
def test_every_kind_is_saved_and_drawn(sonjit, image, kind, tmp_path, weights):
    table, drawn = tmp_path / "t.json", tmp_path / "d.png"
    assert sonjit(kind, image, "--save", table, "--draw", drawn, "--measures")[0] == 0
    (record,) = json.loads(table.read_text("utf-8"))["frames"]
    assert LISTS[kind] in record
    (frame,) = load_frames(table)[1]
    assert len(getattr(frame, LISTS[kind])) == len(record[LISTS[kind]])
    assert cv2.imread(str(drawn)).shape == cv2.imread(str(image)).shape


@pytest.mark.golden
def test_people_are_cut_out(sonjit, image, tmp_path, weights):
    cut = tmp_path / "cut.png"
    assert sonjit("body", image, "--mask", cut)[0] == 0
    alpha = cv2.imread(str(cut), cv2.IMREAD_UNCHANGED)[..., 3]
    assert alpha.shape == cv2.imread(str(image)).shape[:2]
    assert 0 < (alpha > 127).mean() < 1


@pytest.mark.slow
def test_distances_of_hands_are_columns_and_follow_the_camera(sonjit, photo, weights, tmp_path):
    image, distances = tmp_path / "p.png", []
    cv2.imwrite(str(image), photo[..., ::-1])
    height, width = photo.shape[:2]
    for focal in (600, 1200):
        table = tmp_path / f"{focal}.csv"
        camera = f"{focal},{focal},{width / 2},{height / 2}"
        assert sonjit("hands", image, "--distance", "--camera", camera, "--search", "fast", "--save", table)[0] == 0
        with table.open(encoding="utf-8", newline="") as file:
            row = next(csv.DictReader(file))
        distances.append(float(row["distance_m"]))
        assert 0 < float(row["distance_error_m"]) < 0.3 * distances[-1]
    assert distances[1] == pytest.approx(2 * distances[0], rel=0.1)


@pytest.mark.parametrize("text", ["elbow", "left_thigh_m", "left_knee_angle_rad:9", "left_knee_angle_rad:9:x"])
def test_invalid_counters_are_refused(text):
    with pytest.raises(InputError, match=text) as caught:
        AngleLimits.from_text(text, "body")
    assert "\n" not in str(caught.value)


def test_a_wrong_count_is_refused_before_any_work(sonjit, tmp_path):
    status, _, (line,) = sonjit("body", tmp_path / "none.mp4", "--count", "left_knee_angle_rad:150:110")
    assert (status, line.startswith("sonjit: --count")) == (2, True)


def bent(angle_rad):
    """Return a body whose left knee has an angle."""
    points = np.tile(np.float32([0, 0, 0]), (33, 1))
    hip, knee, ankle = 23, 25, 27
    points[hip], points[ankle] = (0, -1, 0), (np.sin(angle_rad), -np.cos(angle_rad), 0)
    points[knee] = 0
    seen = np.ones(33, np.float32)
    return Body(1.0, points, points, seen, seen, id=7)


def test_repetitions_are_counted_per_person():
    angles = np.radians(130 + 45 * np.cos(np.linspace(0, 3 * 2 * np.pi, 180)))
    limits = AngleLimits.from_text("left_knee", "body")
    columns = table_columns("body-full", measures=False, counts=count_columns([limits]))
    counts = RepetitionCounts(limits)
    frames = [Frame(index, index / 30, bodies=[bent(angle)]) for index, angle in enumerate(angles)]
    annotations, events = [], []
    for frame in frames:
        events += counts.update(frame)
        frame.measures = [counts.counts(frame.bodies[0])]
        annotations.append(annotate(frame, columns))
    assert [(event.name, event.type, event.phase, event.id) for event in events] == 3 * [
        ("left_knee_angle_rad", "repetition", "end", 7)
    ]
    assert [event.end - event.begin for event in events] == pytest.approx(
        3 * [events[0].end - events[0].begin], abs=0.1
    )
    assert all(event.value == pytest.approx(math.radians(85), abs=0.02) for event in events)
    assert annotations[0].extras == [{"repetitions": 0}]
    assert annotations[-1].extras == [{"repetitions": 3}]
    assert isinstance(annotations[-1].extras[0]["repetitions"], int)
    assert annotations[-1].notes == ["3 repetitions"]
    assert counts.summary() == ["3 repetitions of left_knee_angle_rad by body #7"]


@pytest.mark.parametrize(("bent_frames", "count"), [(1, 0), (2, 1)])
def test_an_outlier_after_frames_without_the_person_is_no_repetition(bent_frames, count):
    counts = RepetitionCounts(AngleLimits.from_text("left_knee", "body"))
    angles = [3.0] * 30 + [None] * 15 + [1.0] * bent_frames + [3.0] * 30
    frames = [Frame(i, i / 30, bodies=[bent(angle)] if angle else []) for i, angle in enumerate(angles)]
    assert len([event for frame in frames for event in counts.update(frame)]) == count


def test_without_repetitions_the_range_of_the_angle_is_named():
    counts = RepetitionCounts(AngleLimits.from_text("left_knee_angle_deg:60:120", "body"))
    assert counts.summary() == ["0 repetitions of left_knee_angle_rad"]
    for index, degrees in enumerate((150, 130, 170)):
        assert counts.update(Frame(index, index / 30, bodies=[bent(math.radians(degrees))])) == []
    (line,) = counts.summary()
    assert line == "0 repetitions of left_knee_angle_rad. It was 130 to 170 degrees, the limits are 60 and 120"


def test_angles_have_short_names_and_several_are_counted():
    limits = [AngleLimits.from_text(text, "body") for text in ("left_knee", "right_knee_angle_deg:60:120")]
    for text, near in {"torso": "torso_side_lean", "left_elbo_angle_rad": "left_elbow"}.items():
        with pytest.raises(InputError, match=near):
            AngleLimits.from_text(text, "body")
    counts = RepetitionCounts(*limits)
    angles = np.radians(130 + 45 * np.cos(np.linspace(0, 2 * 2 * np.pi, 120)))
    events = [
        event for i, angle in enumerate(angles) for event in counts.update(Frame(i, i / 30, bodies=[bent(angle)]))
    ]
    assert [event.name for event in events] == 2 * ["left_knee_angle_rad"]
    last = Frame(0, 0.0, bodies=[bent(1.0)])
    last.measures = [counts.counts(last.bodies[0])]
    made = annotate(last, dict.fromkeys(count_columns(limits), int))
    counted = [{"repetitions_left_knee_angle": 2, "repetitions_right_knee_angle": 0}]
    assert made == (counted, ["2 repetitions left knee, 0 repetitions right knee"])
    with pytest.raises(InputError, match="each angle once"):
        RepetitionCounts(limits[0], limits[0])


@pytest.mark.golden
def test_repetitions_become_a_table(sonjit, data, tmp_path):
    file = data / "real/tfjs-models/pose-detection/test_data/pose_squats.mp4"
    if not file.is_file():
        pytest.skip(f"{file} is not there")
    status, _, lines = sonjit("body", file, "--count", "left_knee_angle_rad", "--save", tmp_path / "squats.csv")
    assert status == 0, lines
    assert f"sonjit: {file}: 2 repetitions of left_knee_angle_rad by body #1." in lines
    rows = list(csv.DictReader((tmp_path / "squats.events.csv").read_text("utf-8-sig").splitlines()))
    assert [(row["name"], row["type"]) for row in rows] == 2 * [("left_knee_angle_rad", "repetition")]
    for row in rows:
        assert 0 <= float(row["begin"]) < float(row["end"])
        assert float(row["duration_s"]) == pytest.approx(float(row["end"]) - float(row["begin"]), abs=1e-3)
        assert float(row["value"]) < math.radians(110)


def test_expressions_and_the_pose_of_faces_are_columns(tmp_path):
    columns = table_columns("face-attention", measures=False, options=FaceOptions(blendshapes=True, transform=True))
    assert list(columns) == [*BLENDSHAPES, *(f"transform_{row}{column}" for row in range(4) for column in range(4))]
    points = np.random.default_rng(0).uniform(0, 1, (478, 3)).astype(np.float32)
    face = Face(0.5, points, (0.0, 0.0, 1.0, 1.0))
    face.blendshapes = {name: number / 64 for number, name in enumerate(BLENDSHAPES)}
    face.transform = np.arange(16, dtype=np.float32).reshape(4, 4)
    frame = Frame(0, 0.0, faces=[face])
    with open_writer(tmp_path / "face.csv", Header(kind="faces"), columns) as writer:
        writer.write(frame, annotate(frame, columns).extras)
    with (tmp_path / "face.csv").open(newline="") as file:
        row = next(csv.DictReader(file))
    assert (float(row["jawOpen"]), float(row["transform_23"])) == (BLENDSHAPES.index("jawOpen") / 64, 11.0)


def test_one_run_writes_tables_and_characters_of_several_formats(sonjit, weights, tmp_path, monkeypatch):
    """Each file is what a run with this file alone writes."""
    monkeypatch.chdir(tmp_path)
    clip = Path(sonjit_package.__file__).parent / "_util" / "assets" / "squats.mp4"
    names = ["a.csv", "a.jsonl", "a.bvh", "a.glb"]
    common = ["body", str(clip), "--limit", "4", "--search", "fast", "--model", "lite"]
    code, _, (*_, last) = sonjit(*common, *(word for name in names for word in ("--save", name)))
    assert code == 0
    assert all(name in last for name in names)
    for name in names[::2]:
        assert sonjit(*common, "--save", f"one-{name}")[0] == 0
        assert (tmp_path / f"one-{name}").read_bytes() == (tmp_path / name).read_bytes()
    assert sonjit(*common, "--save", "a.csv", "--save", "a.csv")[0] == 2
    code, _, (line,) = sonjit(
        "hands", str(clip), str(clip.with_name("photo.jpg")), "--save", "a.csv", "--save", "b.json"
    )
    assert code == 2
    assert "several --save for several inputs: give names with {name}" in line


def test_an_id_to_keep_that_nobody_has_is_named(sonjit, weights, tmp_path):
    clip = Path(sonjit_package.__file__).parent / "_util" / "assets" / "squats.mp4"
    words = ("--anonymise", "blur", "--draw", tmp_path / "a.mp4", "--end", "0.3", "--search", "fast")
    status, _, lines = sonjit("body", clip, *words, "--keep", 9)
    assert status == 0
    assert "squats.mp4: --keep 9: no person has this id" in " ".join(str(lines).split())
    assert not (tmp_path / "a.kept.png").exists()
    lines = " ".join(sonjit("body", clip, *words, "--keep", 1)[2])
    assert "no person has this id" not in lines
    assert f"the head in {tmp_path / 'a.kept.png'}, from frame 0, stays visible" in lines
    height, width = cv2.imread(str(tmp_path / "a.kept.png")).shape[:2]
    assert 20 < height < 240
    assert 20 < width < 240


def test_an_id_to_keep_belongs_to_one_video(sonjit, weights, tmp_path):
    clip = Path(sonjit_package.__file__).parent / "_util" / "assets" / "squats.mp4"
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(clip.read_bytes())
    for inputs in ([tmp_path / "a.mp4", tmp_path / "b.mp4"], [tmp_path], [tmp_path, "--jobs", 2]):
        status, _, lines = sonjit("face", *inputs, "--anonymise", "blur", "--keep", 1, "--draw", tmp_path / "out")
        assert status == 2
        assert "--keep 1: requires one video" in " ".join(lines)
        assert not (tmp_path / "out").exists()


def test_pictures_are_those_of_results_that_are_not_flipped(sonjit, weights, tmp_path):
    clip = Path(sonjit_package.__file__).parent / "_util" / "assets" / "squats.mp4"
    words = ("body", clip, "--limit", 3, "--search", "fast", "--max-instances", 1)
    for name, options in (("plain", ()), ("flipped", ("--flip-horizontal",))):
        made = [tmp_path / f"{name}.{ending}" for ending in ("mp4", "webm", "jsonl", "coco.json", "bvh")]
        outputs = ("--draw", made[0], "--mask", made[1], "--save", made[2], "--save", made[3], "--save", made[4])
        assert sonjit(*words, *options, *outputs)[0] == 0
    for ending in ("mp4", "webm"):
        with open_source(tmp_path / f"plain.{ending}") as plain, open_source(tmp_path / f"flipped.{ending}") as flipped:
            for before, after in zip(plain, flipped, strict=True):
                assert abs(before.rgb.astype(int) - after.rgb).max() <= 2
    labels = [json.loads((tmp_path / f"{name}.coco.json").read_text())["annotations"] for name in ("plain", "flipped")]
    for before, after in zip(*labels, strict=True):
        assert before["keypoints"] == pytest.approx(after["keypoints"], abs=0.02)
    bones = [(tmp_path / f"{name}.bvh").read_text().splitlines()[-1].split() for name in ("plain", "flipped")]
    assert [*map(float, bones[0])] == pytest.approx([*map(float, bones[1])], abs=0.05)


@pytest.mark.slow
def test_a_report_also_writes_the_video_with_its_angles(sonjit, weights, tmp_path):
    pytest.importorskip("matplotlib")
    clip = Path(sonjit_package.__file__).parent / "_util" / "assets" / "squats.mp4"
    out = tmp_path / "drawn.mp4"
    status, _, lines = sonjit("report", clip, "--end", "0.5", "--save", tmp_path / "r.html", "--draw", out)
    assert status == 0, lines
    with open_source(clip) as source, open_source(out) as drawn:
        pairs = list(zip(source, drawn, strict=False))
    assert len(pairs) == 8
    assert all((abs(before.rgb.astype(int) - after.rgb).max(-1) > 60).sum() > 500 for before, after in pairs)


INTERRUPTIBLE = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it switched off
from sonjit.__main__ import run
run()
"""


def repeated(clip, path, times):
    """Write the encoded frames of a clip several times."""
    with av.open(str(clip)) as short, av.open(str(path), "w") as long:
        stream = long.add_stream_from_template(short.streams.video[0])
        packets = [packet for packet in short.demux(video=0) if packet.dts is not None]
        data = [(bytes(each), each.pts, each.dts, each.is_keyframe, each.time_base) for each in packets]
        period = len(packets) * packets[0].duration
        for number in range(times):
            for content, pts, dts, is_keyframe, time_base in data:
                packet = av.Packet(content)
                packet.time_base, packet.is_keyframe, packet.stream = time_base, is_keyframe, stream
                packet.pts, packet.dts = pts + number * period, dts + number * period
                long.mux(packet)
    return path


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_a_report_that_is_stopped_in_its_second_video_has_the_first_one(need, tmp_path):
    need("body-lite", "face-short", "person-detector")
    pytest.importorskip("matplotlib")
    clip = Path(sonjit_package.__file__).parent / "_util" / "assets" / "squats.mp4"
    long, page = repeated(clip, tmp_path / "long.mp4", 60), tmp_path / "r.html"
    command = [sys.executable, "-u", "-c", INTERRUPTIBLE, "report", clip, long, "--model", "lite", "--save", page]
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        out, errors = process.communicate()
    assert (first, process.returncode) == ("squats.mp4: 73 frames, person #1\n", 130)
    last = errors.splitlines()[-1]
    assert last.startswith(f"sonjit: stopped; {page} has 73 frames of squats.mp4, ")
    assert last.endswith(" of long.mp4")
    assert "Traceback" not in out + errors
    assert "</html>" in page.read_text("utf-8")
    assert {path.name for path in tmp_path.iterdir()} == {"long.mp4", page.name}
