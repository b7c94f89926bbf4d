"""`sonjit hands`: what it writes, how it goes on after a stop, and one line for whatever goes wrong."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import av
import cv2
import numpy as np
import pytest

from sonjit.cli import main
from sonjit.media import TABLE_ENDINGS, load_frames, open_source
from sonjit.runs import job
from sonjit.runs.resume import LOG
from sonjit.weights import find_weight

FRAMES = 8


def write_clip(path, frames, fps=30):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "g": "15"})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        for rgb in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode(None))
    return path


def write_image(path, rgb):
    cv2.imwrite(str(path), rgb[..., ::-1])
    return path


@pytest.fixture(scope="session")
def media(tmp_path_factory, demo_clip, photo, weights):
    """An image and a clip with hands in them; not to be changed."""
    folder = tmp_path_factory.mktemp("media")
    _, frames, truth = demo_clip
    start = next(i for i, record in enumerate(truth) if len(record["hands"]) == 2)
    write_clip(folder / "clip.mp4", frames[start + 30 : start + 30 + FRAMES])
    write_image(folder / "photo.png", photo)
    return folder


@pytest.fixture
def stills(tmp_path, photo, weights):
    """A folder with three images; the second shows nothing."""
    folder = tmp_path / "stills"
    folder.mkdir()
    for name, rgb in (("f2.png", photo), ("f9.png", np.zeros_like(photo)), ("f10.png", photo[:, ::-1])):
        write_image(folder / name, rgb)
    return folder


@pytest.fixture
def out(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def sonjit(capsys):
    """Run a command in this process: exit status, standard output, lines of standard error."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err.splitlines()

    return run


def names_in(folder):
    """Every file below a folder, hidden ones too, but the log of what is finished."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != LOG)


def test_without_an_output_a_table_is_shown(sonjit, media):
    status, out, (line,) = sonjit("hands", media / "photo.png")
    assert status == 0
    assert ("Left" in out) or ("Right" in out)
    assert line.startswith("1 frame, ")


@pytest.mark.slow
@pytest.mark.parametrize("ending", TABLE_ENDINGS)
@pytest.mark.parametrize("name", ["photo.png", "clip.mp4"])
def test_a_table_of_any_kind(sonjit, media, out, name, ending):
    if ending == ".parquet":
        pytest.importorskip("pyarrow")
    status, shown, (line,) = sonjit("hands", media / name, "--save", out / f"table{ending}")
    assert (status, shown) == (0, "")
    assert line.endswith(f"wrote {out / f'table{ending}'}")
    assert names_in(out) == [f"table{ending}"]
    header, frames = load_frames(out / f"table{ending}")
    is_clip = name == "clip.mp4"
    assert [frame.index for frame in frames] == list(range(FRAMES if is_clip else 1))
    assert all((frame.time is not None) == is_clip for frame in frames)
    assert all(frame.hands for frame in frames)
    assert all((hand.id is not None) == is_clip for frame in frames for hand in frame.hands)
    if ending != ".csv":
        assert (header.source, header.model) == (str(media / name), "hands-full")


@pytest.mark.slow
def test_the_same_hands_stand_in_every_table(sonjit, media, out):
    endings = [".json", ".jsonl", ".csv"]
    for ending in endings:
        assert sonjit("hands", media / "clip.mp4", "--save", out / f"t{ending}", "--precision", "f32")[0] == 0
    tables = [load_frames(out / f"t{ending}")[1] for ending in endings]
    assert tables[0] == tables[1]
    for a, b in zip(tables[0], tables[2], strict=True):
        assert a.time == b.time
        for hand, row in zip(a.hands, b.hands, strict=True):
            np.testing.assert_array_equal(hand.keypoints, row.keypoints)
            assert (hand.id, hand.handedness) == (row.id, row.handedness)


def test_json_is_as_promised(sonjit, media, out):
    sonjit("hands", media / "clip.mp4", "--save", out / "t.json", "--model", "lite")
    data = json.loads((out / "t.json").read_text("utf-8"))
    assert set(data) == {"source", "width", "height", "fps", "model", "frames"}
    assert (data["width"], data["height"], data["fps"], data["model"]) == (640, 480, 30.0, "hands-lite")
    assert set(data["frames"][0]) == {"index", "time", "hands"}


def test_csv_has_a_row_per_keypoint_and_one_for_nothing(sonjit, stills, out):
    assert sonjit("hands", stills, "--save", out / "t.csv")[0] == 0
    with (out / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    by_frame = {frame: [row for row in rows if row["frame"] == frame] for frame in {row["frame"] for row in rows}}
    assert sorted(by_frame) == ["0", "1", "2"]
    assert [len(by_frame[frame]) % 21 for frame in "012"] == [0, 1, 0]
    assert by_frame["1"][0]["handedness"] == by_frame["1"][0]["x"] == ""


@pytest.mark.slow
@pytest.mark.parametrize(("name", "drawn"), [("photo.png", "drawn.png"), ("clip.mp4", "drawn.mp4")])
def test_drawings_differ_from_the_source_where_hands_are(sonjit, media, out, name, drawn):
    status, _, (line,) = sonjit("hands", media / name, "--draw", out / drawn, "--save", out / "t.json")
    assert status == 0
    assert line.endswith(f"wrote {out / 't.json'} and {out / drawn}")
    assert names_in(out) == [drawn, "t.json"]
    with open_source(media / name) as plain, open_source(out / drawn) as made:
        pairs = [(a.rgb.astype(int), b.rgb.astype(int)) for a, b in zip(plain, made, strict=True)]
    assert len(pairs) == (FRAMES if name == "clip.mp4" else 1)
    for (a, b), frame in zip(pairs, load_frames(out / "t.json")[1], strict=True):
        changed = np.abs(a - b).max(axis=-1) > 60
        assert changed.any()
        x, y = frame.hands[0].keypoints[0, :2].astype(int)
        assert changed[y - 4 : y + 5, x - 4 : x + 5].any()


def test_standard_output_carries_json_lines_and_nothing_else(sonjit, media):
    status, out, lines = sonjit("hands", media / "clip.mp4", "--save", "-")
    assert status == 0
    header, *frames = map(json.loads, out.splitlines())
    assert header["width"] == 640
    assert [frame["index"] for frame in frames] == list(range(FRAMES))
    assert len(lines) == 1


def test_standard_output_carries_several_stills_too(sonjit, stills, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = sonjit("hands", stills, "--save", "-")
    assert status == 0
    assert [json.loads(line)["source"] for line in out.splitlines()[1:]] == ["f2.png", "f9.png", "f10.png"]
    assert names_in(tmp_path) == ["stills/f10.png", "stills/f2.png", "stills/f9.png"]


def test_limit_stops_after_so_many_frames(sonjit, media, out):
    assert sonjit("hands", media / "clip.mp4", "--limit", 3, "--save", out / "t.jsonl", "--draw", out / "d.mp4")[0] == 0
    assert len(load_frames(out / "t.jsonl")[1]) == 3
    with open_source(out / "d.mp4") as source:
        assert len(list(source)) == 3


@pytest.mark.slow
def test_mirrored_and_flip_are_passed_on(sonjit, media, out):
    for name, flags in {"plain": [], "mirrored": ["--mirrored"], "flip": ["--flip-horizontal"]}.items():
        assert sonjit("hands", media / "photo.png", "--save", out / f"{name}.json", *flags)[0] == 0
    plain, mirrored, flip = (load_frames(out / f"{name}.json")[1][0].hands[0] for name in ("plain", "mirrored", "flip"))
    assert {plain.handedness, mirrored.handedness} == {"Left", "Right"}
    assert flip.keypoints[0, 0] == pytest.approx(640 - plain.keypoints[0, 0], abs=0.01)


def test_a_folder_becomes_one_table_with_the_file_of_each_image(sonjit, stills, out):
    status, _, (line,) = sonjit("hands", stills, "--save", out / "t.json")
    assert status == 0
    assert line.startswith("3 files, ")
    frames = load_frames(out / "t.json")[1]
    assert [(frame.index, frame.source) for frame in frames] == [(0, "f2.png"), (1, "f9.png"), (2, "f10.png")]
    assert [bool(frame.hands) for frame in frames] == [True, False, True]
    assert names_in(out) == ["t.json"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("save", "names"),
    [
        ("tables/", ["tables/f10.json", "tables/f2.json", "tables/f9.json"]),
        ("t-{name}.csv", ["t-f10.csv", "t-f2.csv", "t-f9.csv"]),
    ],
    ids=["folder", "template"],
)
def test_a_folder_becomes_a_table_per_file(sonjit, stills, out, save, names):
    assert sonjit("hands", stills, "--save", f"{out}/{save}")[0] == 0
    assert names_in(out) == names
    assert all(len(load_frames(out / name)[1]) == 1 for name in names)


@pytest.mark.slow
def test_images_and_videos_of_a_folder_are_drawn_each_in_kind(sonjit, media, out):
    assert sonjit("hands", media, "--draw", out / "drawn")[0] == 0
    assert names_in(out) == ["drawn/clip.mp4", "drawn/photo.png"]


@pytest.mark.slow
def test_two_jobs_give_what_one_gives(sonjit, stills, out):
    for jobs in (1, 2):
        assert sonjit("hands", stills, "--save", out / f"{jobs}.json", "--jobs", jobs)[0] == 0
    assert (out / "1.json").read_text() == (out / "2.json").read_text()
    assert names_in(out) == ["1.json", "2.json"]


@pytest.mark.slow
def test_a_second_run_does_only_what_is_missing(sonjit, stills, out):
    assert sonjit("hands", stills, "--save", f"{out}/tables/")[0] == 0
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (out / "tables").glob("*.json")}
    status, _, (line,) = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert status == 0
    assert line.startswith("0 files, 0 hands, 3 finished before")
    lost = out / "tables" / "f9.json"
    lost.unlink()
    _, _, (line,) = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert line.startswith("1 file, 0 hands, 2 finished before")
    after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in (out / "tables").glob("*.json")}
    assert {path for path in before if before[path] != after[path]} == {lost}
    assert after[lost][0] == before[lost][0]


@pytest.mark.slow
def test_a_file_with_one_of_two_outputs_is_done_again(sonjit, stills, out):
    arguments = ("hands", stills, "--save", f"{out}/tables/", "--draw", f"{out}/drawn/")
    assert sonjit(*arguments)[0] == 0
    whole = names_in(out)
    (out / "drawn" / "f2.png").unlink()
    assert sonjit(*arguments)[2][0].startswith("1 file, ")
    assert names_in(out) == whole


OTHERWISE = {
    "model": lambda folder: ("--model", "lite"),
    "score": lambda folder: ("--min-presence-score", "0.4"),
    "own network": lambda folder: ("--landmark-model", folder / "own.tflite"),
}


@pytest.mark.slow
@pytest.mark.parametrize("how", OTHERWISE)
def test_other_options_make_every_output_anew(sonjit, stills, out, tmp_path, how):
    shutil.copy(find_weight("hand-lite"), tmp_path / "own.tflite")
    assert sonjit("hands", stills, "--save", f"{out}/tables/")[0] == 0
    before = {path.name: path.read_bytes() for path in (out / "tables").glob("*.json")}
    options = OTHERWISE[how](tmp_path)
    assert sonjit("hands", stills, "--save", f"{out}/tables/", *options)[2][0].startswith("3 files, ")
    after = {path.name: path.read_bytes() for path in (out / "tables").glob("*.json")}
    assert before.keys() == after.keys()
    if how != "score":
        assert before["f2.json"] != after["f2.json"]
    assert sonjit("hands", stills, "--save", f"{out}/tables/", *options)[2][0].startswith("0 files, ")
    if how == "own network":  # another network under the old name
        shutil.copy(find_weight("hand-full"), tmp_path / "own.tflite")
        assert sonjit("hands", stills, "--save", f"{out}/tables/", *options)[2][0].startswith("3 files, ")


@pytest.mark.slow
def test_a_changed_input_and_a_changed_output_are_made_anew(sonjit, stills, out, photo):
    arguments = ("hands", stills, "--save", f"{out}/t-{{name}}.csv")
    assert sonjit(*arguments)[0] == 0
    write_image(stills / "f9.png", photo)
    (out / "t-f2.csv").write_text("frame\n")
    assert sonjit(*arguments)[2][0].startswith("2 files, ")
    assert all(load_frames(out / f"t-{name}.csv")[1][0].hands for name in ("f2", "f9"))
    assert sonjit(*arguments)[2][0].startswith("0 files, ")


def test_a_half_written_log_loses_only_its_last_line(sonjit, stills, out):
    assert sonjit("hands", stills, "--save", f"{out}/tables/")[0] == 0
    log = out / "tables" / LOG
    log.write_bytes(log.read_bytes()[:-20])
    assert sonjit("hands", stills, "--save", f"{out}/tables/")[2][0].startswith("1 file, ")


@pytest.mark.slow
@pytest.mark.parametrize("jobs", [1, 2])
def test_several_inputs_are_taken_together_and_each_once(sonjit, media, stills, out, jobs):
    inputs = (media / "clip.mp4", stills, f"{stills}/f1*.png", media / "photo.png", media / "photo.png")
    status, _, (line,) = sonjit("hands", *inputs, "--save", f"{out}/t/", "--limit", 2, "--jobs", jobs)
    assert status == 0
    assert line.startswith("5 files, ")
    assert names_in(out) == [f"t/{name}.json" for name in ("clip", "f10", "f2", "f9", "photo")]
    assert len(load_frames(out / "t" / "clip.json")[1]) == 2
    assert all(len(load_frames(out / "t" / f"{name}.json")[1]) == 1 for name in ("f10", "f2", "f9", "photo"))


def test_several_stills_become_one_table(sonjit, media, stills, out):
    assert sonjit("hands", stills / "f9.png", media / "photo.png", "--save", out / "t.jsonl")[0] == 0
    frames = load_frames(out / "t.jsonl")[1]
    assert [(frame.index, frame.source) for frame in frames] == [
        (0, str(stills / "f9.png")), (1, str(media / "photo.png")),
    ]  # fmt: skip
    assert [bool(frame.hands) for frame in frames] == [False, True]


def test_several_inputs_without_outputs_are_told_one_by_one(sonjit, media, stills):
    status, shown, (line,) = sonjit("hands", stills / "f9.png", media / "photo.png")
    assert status == 0
    assert shown.startswith(f"{media / 'photo.png'}: ")
    assert line.startswith("2 files, ")


@pytest.mark.slow
def test_networks_that_do_not_load_end_a_run_over_many_files_with_one_line(sonjit, stills, out):
    for jobs in (1, 2):
        status, _, lines = sonjit("hands", stills, "--models-dir", out, "--save", f"{out}/t/", "--jobs", jobs)
        assert status == 2
        assert len(lines) == 1
        assert "sonjit models pull" in lines[0]
    assert names_in(out) == []


def test_what_a_killed_run_left_does_no_harm(sonjit, stills, out):
    (out / "tables").mkdir()
    (out / "tables" / ".f2.0badcafe.part.json").write_text('{"source": "half')
    (out / "tables" / "f9.json").write_text(json.dumps({"frames": []}))
    status, _, (line,) = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert status == 0
    assert line.startswith("3 files, ")  # what another program wrote is not ours
    assert load_frames(out / "tables" / "f2.json")[1][0].hands


@pytest.mark.slow
@pytest.mark.parametrize("save", ["t.json", "tables/"])
def test_after_ctrl_c_a_folder_goes_on_where_it_stood(sonjit, stills, out, monkeypatch, save):
    done, run_input = [], job.run_input

    def stop_after_two(session, source, outputs, **options):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(source.name)
        return run_input(session, source, outputs, **options)

    monkeypatch.setattr(job, "run_input", stop_after_two)
    status, _, lines = sonjit("hands", stills, "--save", f"{out}/{save}")
    assert (status, lines) == (130, ["sonjit: stopped; what was finished is kept"])
    if save == "t.json":
        assert [frame.source for frame in load_frames(out / "t.json")[1]] == ["f2.png", "f9.png"]
    monkeypatch.undo()
    status, _, (line,) = sonjit("hands", stills, "--save", f"{out}/{save}")
    assert status == 0
    assert line.startswith("1 file, ")
    assert "2 finished before" in line
    assert len(names_in(out)) == (1 if save == "t.json" else 3)


@pytest.mark.parametrize("save", ["t.json", "tables/"])
def test_images_of_one_name_in_two_folders_do_not_mix(sonjit, photo, weights, tmp_path, out, save):
    for name, rgb in (("a", photo), ("b", np.zeros_like(photo))):
        (tmp_path / "shots" / name).mkdir(parents=True)
        write_image(tmp_path / "shots" / name / "x.png", rgb)
    assert sonjit("hands", f"{tmp_path}/shots/*/x.png", "--save", f"{out}/{save}")[0] == 0
    frames = [frame for name in names_in(out) for frame in load_frames(out / name)[1]]
    assert [bool(frame.hands) for frame in frames] == [True, False]


def test_a_broken_file_is_named_and_the_others_are_finished(sonjit, stills, out):
    (stills / "f3.png").write_bytes(b"this is a text\n")
    status, _, lines = sonjit("hands", stills, "--save", f"{out}/tables/")
    assert status == 1
    assert len(lines) == 2
    assert lines[0].startswith("sonjit: ")
    assert "f3.png" in lines[0]
    assert "1 failed" in lines[1]
    assert names_in(out) == ["tables/f10.json", "tables/f2.json", "tables/f9.json"]


def test_a_broken_file_of_one_table_is_named_and_missing_there(sonjit, stills, out):
    (stills / "f3.png").write_bytes(b"")
    status, _, lines = sonjit("hands", stills, "--save", out / "t.json")
    assert status == 1
    assert "f3.png" in lines[0]
    assert [frame.source for frame in load_frames(out / "t.json")[1]] == ["f2.png", "f9.png", "f10.png"]
    write_image(stills / "f3.png", np.zeros((9, 9, 3), np.uint8))
    assert sonjit("hands", stills, "--save", out / "t.json")[0] == 0
    assert len(load_frames(out / "t.json")[1]) == 4
    assert names_in(out) == ["t.json"]


@pytest.mark.parametrize("size", [(1, 1), (4, 20_000)], ids=["1x1", "20000-wide"])
def test_odd_images_are_fine_and_empty(sonjit, weights, tmp_path, size):
    image = write_image(tmp_path / "odd.png", np.zeros((*size, 3), np.uint8))
    status, _, (line,) = sonjit("hands", image, "--save", tmp_path / "t.json")
    assert status == 0
    assert line.startswith("1 frame, 0 hands")
    assert load_frames(tmp_path / "t.json")[1][0].hands == []


def test_a_cut_video_keeps_what_could_be_decoded(sonjit, media, demo_clip, tmp_path, out):
    whole = tmp_path / "whole.mkv"
    write_clip(whole, demo_clip[1][:60])
    data = whole.read_bytes()
    cut = tmp_path / "cut.mkv"
    cut.write_bytes(data[: len(data) // 2])
    status, _, lines = sonjit("hands", cut, "--save", out / "t.json", "--draw", out / "d.mp4")
    assert status == 1
    assert lines[0].startswith(f"sonjit: {cut}")
    frames = load_frames(out / "t.json")[1]
    assert 0 < len(frames) < 60
    with open_source(out / "d.mp4") as source:
        assert len(list(source)) == len(frames)
    assert names_in(out) == ["d.mp4", "t.json"]


BAD_INPUTS = {
    "nowhere.jpg": None,
    "empty.jpg": b"",
    "text.jpg": b"just some text\n",
    "text.mp4": b"just some text\n",
    "cut.jpg": cv2.imencode(".jpg", np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))[1].tobytes()[
        :900
    ],
    "noise.bin": np.random.default_rng(0).bytes(5000),
}


@pytest.mark.parametrize("name", BAD_INPUTS)
def test_an_input_that_cannot_be_used_is_one_line(sonjit, name, tmp_path, out):
    if BAD_INPUTS[name] is not None:
        (tmp_path / name).write_bytes(BAD_INPUTS[name])
    status, shown, (line,) = sonjit("hands", tmp_path / name, "--save", out / "t.json", "--draw", out / "d.png")
    assert (status, shown) == (2, "")
    assert line.startswith("sonjit: ")
    assert name in line
    assert names_in(out) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["hands", "{out}"], "holds no images"),
        (["hands", "{out}", "--save", "{out}/tables/"], "holds no images or videos"),
        (["hands", "{out}/*.png", "--save", "{out}/tables/"], "no images or videos"),
        (["hands", "camera:99", "--save", "{out}/t.json"], "camera:99 does not open"),
        (["hands", "camera:x"], "a camera has a number"),
        (["hands", "https://example.org/hand.jpg"], "works offline"),
        (["hands", "{photo}", "--save", "{out}/t.xyz"], "unknown ending '.xyz'; known: .json"),
        (["hands", "{photo}", "--save", "{out}/none/t.json"], "does not exist"),
        (["hands", "{photo}", "--save", "{photo}/t.json"], "cannot be|does not exist"),
        (["hands", "{photo}", "--draw", "{photo}"], "is the input itself"),
        (["hands", "{photo}", "--draw", "{out}/d.mp4"], "an image is drawn into"),
        (["hands", "{clip}", "--draw", "{out}/d.png"], "a video is drawn into"),
        (["hands", "{folder}", "--save", "{photo}/tables/"], "cannot be made"),
        (["hands", "{folder}", "--save", "{out}/t.json"], "videos"),
        (["hands", "{photo}", "--model", "huge"], "huge"),
        (["hands", "{photo}", "--max-instances", "0"], "max_instances=0|--max-instances 0"),
        (["hands", "{photo}", "--max-instances", "many"], "many"),
        (["hands", "{photo}", "--search-interval", "0"], "search"),
        (["hands", "{photo}", "--min-presence-score", "2"], "presence"),
        (["hands", "{photo}", "--jobs", "0"], "--jobs 0"),
        (["hands", "{photo}", "--limit", "0"], "--limit 0"),
        (["hands", "{photo}", "--threads", "-1"], "threads=-1"),
        (["hands", "{photo}", "--device", "TOASTER"], "TOASTER"),
        (["hands", "{photo}", "--landmark-model", "{photo}"], "unknown ending"),
        (["hands", "{photo}", "--models-dir", "{out}"], "sonjit models pull"),
        (["hands", "{photo}", "--frobnicate"], "unknown option --frobnicate"),
        (["hands", "{photo}", "nowhere.jpg", "--save", "{out}/tables/"], "nowhere.jpg: no such file"),
        (["hands", "{photo}", "camera:0", "--save", "{out}/tables/"], "camera:0 is a stream"),
        (["hands", "{photo}", "-"], "- is a stream"),
        (["hands", "{folder}", "--draw", "{out}/drawn.png"], "go into a folder"),
        (["hands", "{photo}", "{clip}", "--save", "{out}/t.json"], "clip.mp4"),
        (["hands"], "INPUT"),
        (["paint", "{photo}"], "paint"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_wrong_call_is_one_line(sonjit, media, out, arguments, words):
    places = {"out": out, "photo": media / "photo.png", "clip": media / "clip.mp4", "folder": media}
    status, shown, lines = sonjit(*(argument.format(**places) for argument in arguments))
    assert (status, shown, len(lines)) == (2, "", 1), lines
    assert lines[0].startswith("sonjit: ")
    assert any(word in lines[0] for word in words.split("|")), lines[0]
    assert names_in(out) == []


def test_without_weights_the_line_to_type_is_named(sonjit, photo, tmp_path, out, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "home"))
    image = write_image(tmp_path / "photo.png", photo)
    # A setting of its own, so that no detector of an earlier test stands in.
    status, _, (line,) = sonjit("hands", image, "--save", out / "t.json", "--min-presence-score", "0.123")
    assert status == 2
    assert "sonjit models pull" in line
    assert names_in(out) == []


INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it switched off
from sonjit.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="Windows sends no SIGINT to one process")
def test_ctrl_c_keeps_what_was_finished(media, demo_clip, tmp_path, out):
    frames = [cv2.resize(rgb, (320, 240)) for rgb in demo_clip[1][:40]] * 100
    write_clip(tmp_path / "long.mp4", frames)
    command = [sys.executable, "-c", INTERRUPTIBLE, "hands", tmp_path / "long.mp4"]
    command += ["--save", out / "t.jsonl", "--draw", out / "d.mp4"]
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not any(path.stat().st_size > 20_000 for path in out.glob(".*")):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        errors = process.communicate()[1]
    assert process.returncode == 130
    assert errors == "sonjit: stopped; what was finished is kept\n"
    assert names_in(out) == ["d.mp4", "t.jsonl"]
    kept = load_frames(out / "t.jsonl")[1]
    assert 0 < len(kept) < len(frames)
    with open_source(out / "d.mp4") as source:
        assert len(list(source)) == len(kept)
        assert source.problems == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "status", "start"),
    [(["{photo}", "--save", "-"], 0, "1 frame, "), (["nowhere.jpg"], 2, "sonjit: nowhere.jpg")],
    ids=["found", "wrong"],
)
def test_as_a_program(media, arguments, status, start):
    command = [sys.executable, "-m", "sonjit", "hands", *(a.format(photo=media / "photo.png") for a in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == status
    assert done.stderr.startswith(start)
    assert done.stderr.count("\n") == 1
    assert len(done.stdout.splitlines()) == (2 if status == 0 else 0)


@pytest.mark.slow
@pytest.mark.parametrize("piped", ["photo.png"])
def test_standard_input_is_a_source(media, out, piped):
    command = [sys.executable, "-m", "sonjit", "hands", "-", "--save", str(out / "t.json")]
    done = subprocess.run(command, input=(media / piped).read_bytes(), capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load_frames(out / "t.json")[1][0].hands


def test_outputs_of_an_earlier_run_are_replaced_and_kept_on_failure(sonjit, media, tmp_path, out):
    table = out / "t.json"
    assert sonjit("hands", media / "photo.png", "--save", table)[0] == 0
    kept = table.read_bytes()
    (tmp_path / "broken.png").write_bytes(b"no image")
    assert sonjit("hands", tmp_path / "broken.png", "--save", table)[0] == 2
    assert table.read_bytes() == kept
    shutil.copy(media / "clip.mp4", tmp_path / "again.mp4")
    assert sonjit("hands", tmp_path / "again.mp4", "--save", table)[0] == 0
    assert len(load_frames(table)[1]) == FRAMES
