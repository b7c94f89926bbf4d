"""Inputs as users name them, the outputs of each file, and the log of finished files. No file is decoded."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.detectors.kinds import options_for
from sonjit.media.sources import Reading
from sonjit.media.tables import load_frames
from sonjit.runs import Detect, Inputs, Outputs, Task
from sonjit.runs.inputs import (
    LOG,
    FinishedFiles,
    check_distinct,
    is_many,
    named_outputs,
    output_paths,
    remove_finished,
    shown_paths,
)

TASK = Detect(options_for("hands"))


@pytest.fixture
def folder(tmp_path):
    """Return a folder with two images and a text."""
    for name in ("b10.png", "b9.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def names(found):
    return None if found.files is None else [file.name for file in found.files]


def test_a_folder_is_its_files_and_with_a_rate_one_recording(folder, write_video):
    found = Inputs.find([str(folder)])
    assert (names(found), found.labels) == (["b9.png", "b10.png"], ("b9.png", "b10.png"))
    assert (found.name, found.unit) == (str(folder), "files")
    recording = Inputs.find([str(folder)], Reading(fps=25))
    assert (names(recording), recording.unit) == (None, "frames")
    write_video(folder / "c.mp4", [np.zeros((16, 16, 3), np.uint8)])
    assert names(Inputs.find([str(folder)], Reading(fps=25))) == ["b9.png", "b10.png", "c.mp4"]


def test_several_inputs_are_the_files_of_each_once(folder):
    image, video = str(folder / "b9.png"), str(folder / "c.mp4")
    Path(video).write_bytes(b"")
    found = Inputs.find([image, str(folder), video], Reading(every=2))
    assert names(found) == ["b9.png", "b10.png", "c.mp4"]
    assert found.labels == (image, str(folder / "b10.png"), video)
    assert found.name == f"{image} and 2 more"
    assert found.reading == Reading(every=2)
    one = Inputs.find([image])
    assert (one.files, one.name, one.unit) == (None, image, "frames")
    with one.open_one() as source:
        assert [frame.rgb.shape for frame in source] == [(8, 8, 3)]


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ([], "name an INPUT"),
        (["a.png", "--fas"], "unknown option --fas"),
        (["{folder}/b9.png", "camera:0"], "camera:0 is a stream"),
        (["-", "{folder}/b9.png"], "- is a stream"),
        (["{folder}/b9.png", "{folder}/none.png"], "none.png"),
    ],
)
def test_inputs_that_cannot_be_processed_together_are_refused(folder, named, message):
    with pytest.raises(InputError, match=message):
        Inputs.find([name.format(folder=folder) for name in named])


def test_one_table_has_the_images_of_all_inputs_or_starts_with_the_first_readable_video(folder, write_video):
    stills = Inputs.find([str(folder)])
    with stills.open_all(videos=False) as source:
        assert [frame.rgb.shape for frame in source] == [(8, 8, 3)] * 2
    write_video(folder / "c.mp4", [np.zeros((16, 16, 3), np.uint8)])
    (folder / "a.mp4").write_bytes(b"damaged")
    found = Inputs.find([f"{folder}/*.mp4"])
    with pytest.raises(InputError, match=r"a\.mp4 is a video and cannot share a table"):
        found.open_all(videos=False)
    write_video(folder / "d.mp4", [np.zeros((32, 48, 3), np.uint8)])
    with found.open_all(videos=True) as source:
        assert (source.name, source.geometry, source.offset_s) == (f"{folder}/*.mp4", None, 0.0)
    (folder / "d.mp4").unlink()
    both = Inputs.find([str(folder / "b9.png"), str(write_video(folder / "e.mp4", [np.zeros((32, 48, 3), np.uint8)]))])
    with both.open_all(videos=True) as source:
        assert (source.width, source.height) == (8, 8)
    (folder / "e.mp4").unlink()
    (folder / "c.mp4").unlink()
    with pytest.raises(InputError, match="none of the 1 files can be read"):
        Inputs.find([f"{folder}/*.mp4"]).open_all(videos=True)


@pytest.mark.parametrize(
    ("path", "many"),
    [("out/", True), ("out\\", True), ("out", True), ("t.csv", False), ("{name}.csv", True), ("dotted.folder", True)],
)
def test_an_output_without_an_ending_or_with_a_name_is_many_files(tmp_path, monkeypatch, path, many):
    monkeypatch.chdir(tmp_path)
    Path("dotted.folder").mkdir()
    assert is_many(path) == many


def test_each_file_has_outputs_of_its_format(tmp_path):
    files = [tmp_path / name for name in ("a.JPG", "b.bmp", "c.mov", "d.avi")]
    for file in files[2:]:
        file.write_bytes(b"")
    out = str(tmp_path / "out")
    placed = output_paths(Outputs(f"{tmp_path}/{{name}}.csv", f"{out}/", f"{out}/m/", json=True), files, TASK)
    assert [Path(one.save).name for one in placed] == ["a.csv", "b.csv", "c.csv", "d.csv"]
    assert [Path(one.draw).name for one in placed] == ["a.JPG", "b.png", "c.mov", "d.mp4"]
    assert [Path(one.mask).name for one in placed] == ["a.png", "b.png", "c.webm", "d.webm"]
    assert {(one.figures, one.json) for one in placed} == {(None, True)}
    for given in (Outputs(draw="x.png"), Outputs(mask="x.png"), Outputs(figures="x.png")):
        with pytest.raises(InputError, match="several inputs require a folder"):
            output_paths(given, files, TASK)
    assert output_paths(Outputs(draw="{name}_x.png"), files, TASK)[1].draw == "b_x.png"


def test_files_with_one_name_have_outputs_with_a_folder_a_format_or_a_number():
    files = [
        Path(name) for name in ("/x/a.png", "/y/a.png", "/y/a.jpg", "/y/b.png", "/y/B.jpg", "/y/c.png", "/y/c.png")
    ]
    placed = output_paths(Outputs("out/"), files, TASK)
    assert [Path(one.save).name for one in placed] == [
        "x_a.json", "y_a.png.json", "a.jpg.json", "b.png.json", "B.jpg.json", "c.json", "c_2.json"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "name"), [("in/clip.mp4", "clip"), ("camera:0", "camera_0"), ("rtsp://host/a?b=1", "rtsp_host_a_b_")]
)
def test_the_outputs_of_one_input_have_its_name(source, name):
    given = Outputs("{name}.csv", "{name}/{name}.mp4", None, "fig", json=True)
    assert named_outputs(given, source) == Outputs(f"{name}.csv", f"{name}/{name}.mp4", None, "fig", json=True)


def test_the_outputs_of_a_folder_are_shown_with_their_ending():
    assert shown_paths(Outputs("out", "drawn"), TASK) == [str(Path("out") / "*.json"), "drawn"]
    assert shown_paths(Outputs("{name}.csv"), TASK) == ["{name}.csv"]
    assert shown_paths(Outputs(draw="drawn"), TASK) == ["drawn"]


@pytest.mark.parametrize(
    ("placed", "message"),
    [
        ([Outputs("a.csv", "A.CSV")], "--save and --draw write the same"),
        ([Outputs("a.csv"), Outputs("x/../a.csv")], "--save and --save write the same"),
        ([Outputs("a.csv"), Outputs("x/a.csv", "x/b.png")], None),
        ([Outputs("a.yolo.yaml"), Outputs("b.yolo.yaml")], "labels of another input"),
        ([Outputs("x/a.YOLO.yaml"), Outputs("y/b.yolo.yaml")], None),
        ([Outputs("a.yolo.yaml", "labels")], "--draw write the same labels"),
        ([Outputs("a.bvh"), Outputs("A-2.bvh")], r"a-2\.bvh is also the output of another person of .*a\.bvh"),
        ([Outputs("a.bvh"), Outputs("b-2.bvh")], None),
        ([Outputs("a.glb"), Outputs("a-2.glb")], None),
    ],
)
def test_two_outputs_of_a_run_are_two_files(placed, message):
    if message is None:
        check_distinct(placed, TASK)
        return
    with pytest.raises(InputError, match=message):
        check_distinct(placed, TASK)


def test_models_that_move_are_one_file_for_each_person():
    task = replace(TASK, onto="avatar.glb")
    with pytest.raises(InputError, match=r"a-2\.glb is also the output of another person of .*a\.glb"):
        check_distinct([Outputs("a.glb"), Outputs("a-2.glb")], task)
    assert "avatar.glb" in task.files


def test_a_file_is_finished_until_it_its_outputs_or_the_options_change(folder):
    image, out = folder / "b9.png", folder / "out"
    out.mkdir()
    outputs = Outputs(str(out / "t.csv"))
    (out / "t.csv").write_text("1")

    def state(task=TASK, limit=None):
        """Return the key and whether the file is finished, as of a new run."""
        files = FinishedFiles(task, limit)
        key = files.key(image, outputs)
        return key, files.is_finished(key, outputs)

    first, is_finished = state()
    assert not is_finished
    FinishedFiles(TASK, None).add(first, outputs, [str(out / "t.csv")])
    assert state() == (first, True)
    assert state(Detect(options_for("hands", threads=3))) == (first, True)  # changes no result
    others = [state(Detect(options_for("hands", max_instances=3))), state(limit=5)]
    others.append(state(Detect(options_for("face"))))
    assert len({first, *(key for key, _ in others)}) == 4
    assert not any(finished for _, finished in others)
    with (out / LOG).open("a") as log:
        log.write('{"key": "half')
    assert state() == (first, True)
    (out / "t.csv").write_text("22")
    assert state() == (first, False)
    os.utime(image, (1, 1))
    assert state()[0] != first


def test_of_a_file_that_was_written_twice_only_the_last_run_is_finished(folder):
    outputs, files = Outputs(str(folder / "t.csv")), FinishedFiles(TASK, None)
    (folder / "t.csv").write_text("1")
    for key in ("old", "new"):
        files.add(key, outputs, [str(folder / "t.csv")])
        with (folder / LOG).open("a") as log:
            log.write('{"key": "of a killed run\n')
    again = FinishedFiles(TASK, None)
    assert [again.is_finished(key, outputs) for key in ("old", "new")] == [False, True]


def test_finished_files_are_removed_unless_they_have_changed(folder):
    out = folder / "out"
    (out / "deep").mkdir(parents=True)
    written = [out / name for name in ("a.csv", "b.csv", "deep/c.csv")]
    for file in written:
        file.write_text("1")
    FinishedFiles(TASK, None).add("key", Outputs(str(out / "a.csv")), map(str, written))
    written[1].write_text("changed")
    remove_finished(out)
    assert sorted(path.name for path in out.iterdir()) == ["b.csv", "deep"]
    assert written[2].exists()
    remove_finished(out)
    written[1].unlink()
    written[2].unlink()
    written[2].parent.rmdir()
    remove_finished(out)
    assert not out.exists()


def test_the_first_unknown_option_and_notes_of_all_inputs_are_named(folder):
    with pytest.raises(InputError, match="unknown option --fas"):
        Inputs.find(["--fas", "--slow"])
    (folder / "deep").mkdir()
    (folder / "deep" / "a.png").write_bytes((folder / "b9.png").read_bytes())
    (folder / "other").mkdir()
    for name in ("a.png", "b.txt"):
        (folder / "other" / name).write_bytes(b"")
    each = [Inputs.find([str(folder / name)]) for name in ("deep", "other")]
    both = Inputs.find([str(folder / name) for name in ("deep", "other")])
    assert both.notes == each[0].notes + each[1].notes
    assert len(both.files) == sum(len(one.files) for one in each)
    assert both.labels == tuple(map(str, both.files))
    with both.open_all(videos=True) as source:
        assert (source.name, source.notes[: len(both.notes)]) == (both.name, list(both.notes))


def test_stills_note_what_applies_only_to_videos(folder):
    with Inputs.find([str(folder)], Reading(every=2)).open_all(videos=False) as source:
        assert source.notes[-1] == "start, end and every apply to videos, not to still images"


def test_names_count_on_where_names_are_used():
    files = [Path(name) for name in ("/x/a.png", "/x/a.png", "/x/a.png", "/x/a_2.png")]
    placed = output_paths(Outputs("out/"), files, TASK)
    assert [Path(one.save).name for one in placed] == ["a.json", "a_2.json", "a_3.json", "a_2.png.json"]


@dataclass(frozen=True)
class Settings(Task):
    """Task with a setting of any type, and files."""

    value: object = None
    given: tuple[str, ...] = ()

    @property
    def files(self):
        return self.given

    def count_text(self, count):
        return str(count)

    def open(self, source):
        raise NotImplementedError


def key_of(file, outputs=Outputs("out/t.csv"), limit=None, **settings):  # noqa: B008  # unchanging
    return FinishedFiles(Settings(**settings), limit).key(file, outputs)


def test_keys_differ_by_each_setting_that_changes_results(folder):
    image = folder / "b9.png"
    inner = Settings(value=1)
    values = [None, 1, 2, 1.5, "1", True, [1], [1, 2], (2, 1), {"a": 1}, {"a": 2}, {"b": 1}]
    values += [inner, replace(inner, value=2)]
    values += [Path("a"), Path("b"), {1}, Settings, TASK, replace(TASK, measures=True)]
    keys = [key_of(image, value=value) for value in values]
    assert [key_of(image, value=value) for value in values] == keys
    assert len(set(keys)) == len(values)
    assert key_of(image, value={"threads": 1, "a": 2}) == key_of(image, value={"threads": 2, "a": 2})
    assert key_of(image, value={"a": 1, "b": 2}) == key_of(image, value={"b": 2, "a": 1})


def test_keys_differ_by_files_outputs_and_limits(folder):
    image, weights = folder / "b9.png", folder / "weights"
    weights.mkdir()
    (weights / "a.onnx").write_bytes(b"1")
    keys = [
        key_of(image), key_of(folder / "b10.png"), key_of(image, limit=2), key_of(image, outputs=Outputs("out/u.csv")),
        key_of(image, outputs=Outputs("out/t.csv", "out/d.png")), key_of(image, outputs=Outputs("out/t.csv", "d.png")),
        key_of(image, given=(str(weights),)), key_of(image, given=(str(weights / "a.onnx"),)),
    ]  # fmt: skip
    assert key_of(image, outputs=Outputs("other/t.csv")) == keys[0]  # a folder of results may be moved
    (weights / "a.onnx").write_bytes(b"22")
    keys += [key_of(image, given=(str(weights),)), key_of(image, given=(str(weights / "a.onnx"),))]
    (weights / "b.onnx").write_bytes(b"3")
    (weights / "deep").mkdir()
    keys.append(key_of(image, given=(str(weights),)))
    assert len(set(keys)) == len(keys)


def test_a_file_is_finished_only_with_all_its_outputs(folder):
    outputs = Outputs(str(folder / "t.csv"), str(folder / "drawn" / "d.png"))
    (folder / "drawn").mkdir()
    for path in outputs.paths:
        Path(path).write_text("1")
    files = FinishedFiles(TASK, None)
    files.add("key", outputs, outputs.paths)
    (entry,) = [json.loads(line) for line in (folder / LOG).read_text("utf-8").splitlines()]
    assert (entry["key"], list(entry["files"])) == ("key", ["t.csv", str(Path("drawn") / "d.png")])
    assert [FinishedFiles(TASK, None).is_finished(key, outputs) for key in ("key", "other")] == [True, False]
    (folder / "drawn" / "d.png").unlink()
    assert not FinishedFiles(TASK, None).is_finished("key", outputs)


def test_a_log_is_read_once_and_its_damaged_lines_are_left_out(folder):
    outputs, path = Outputs(str(folder / "t.csv")), folder / LOG
    (folder / "t.csv").write_text("1")
    reader = FinishedFiles(TASK, None)
    assert not reader.is_finished("a", outputs)
    FinishedFiles(TASK, None).add("a", outputs, outputs.paths)
    assert not reader.is_finished("a", outputs)
    lines = path.read_text("utf-8")
    path.write_text(f'[1]\n{{"key": "b"}}\n{{"files": {{}}}}\nnull\n{{"key": "c", "files": 3}}\n\n{lines}', "utf-8")
    assert FinishedFiles(TASK, None).is_finished("a", outputs)


@pytest.mark.parametrize("stem", ["x" * 240, "x" * 250, "안" * 82])
@pytest.mark.parametrize(
    ("output", "count"), [("out/{name}.csv", 3), ("out/{name}.parquet", 3), ("out/{name}.json", 1)]
)
def test_tables_next_to_that_of_the_longest_name_are_written(sonjit, weights, tmp_path, demo_clip, stem, output, count):
    (tmp_path / f"{stem}.mp4").symlink_to(demo_clip[0])
    code, _, err = sonjit(
        *("hands", tmp_path / f"{stem}.mp4", "--measures", "--limit", "2", "--search", "fast", "--save"),
        f"{tmp_path}/{output}",
    )
    assert code == 0, err
    written = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
    assert len(written) == count
    assert all(path.name.startswith(stem[:60]) for path in written)


@pytest.mark.parametrize("stem", ["x" * 246, "x" * 251, "안" * 83, "é" * 125])
@pytest.mark.parametrize(
    ("option", "output"), [("--save", "out/"), ("--save", "out/{name}.csv"), ("--save", "t.csv"), ("--draw", "out/")]
)
def test_inputs_with_the_longest_names_have_their_outputs(sonjit, weights, tmp_path, photo, stem, option, output):
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / f"{stem}.jpg"), photo[::4, ::4, ::-1])
    cv2.imwrite(str(tmp_path / "in" / f"{stem[:-1]}.jpg"), photo[::4, ::4, ::-1])
    code, _, err = sonjit("hands", tmp_path / "in", option, f"{tmp_path}/{output}", "--search", "fast")
    assert code == 0, err
    if output == "t.csv":
        assert len({frame.source for frame in load_frames(tmp_path / "t.csv")[1]}) == 2
    else:
        written = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith(".")]
        assert len(written) == 2
        assert all(path.name.startswith(stem[:60]) for path in written)
