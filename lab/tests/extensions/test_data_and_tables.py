"""A data set, a protocol with its metric, and a table format of extensions work in every public interface."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.extensions.test_installed import Place

import sonjit
from sonjit.cli import main
from sonjit_lab.datasets import open_dataset

PLACES = ((20, 30), (40, 25), (60, 50))
PROTOCOL = """
title = "Lamps"
source = "this test"
task = "lamps"
main = "lamp_distance"
unit = "px"
data = [{ set = "lamps" }]
"""


@pytest.fixture
def root(lamps, tmp_path):
    """Return a folder of lamps."""
    (tmp_path / "lamps" / "images").mkdir(parents=True)
    for x, y in PLACES:
        rgb = np.zeros((80, 100, 3), np.uint8)
        rgb[y - 5 : y + 5, x - 5 : x + 5] = 255
        cv2.imwrite(str(tmp_path / "lamps" / "images" / f"{x}_{y}.png"), rgb)
    return tmp_path / "lamps"


@pytest.fixture
def protocol(lamps, lamp_task, tmp_path):
    (tmp_path / "mine.toml").write_text(PROTOCOL, "utf-8")
    return tmp_path / "mine.toml"


def test_a_data_set_is_listed_checked_shown_and_converted(root, tmp_path, capsys):
    assert main(["datasets", "list", "--json", "--root", str(root)]) == 0
    (listed,) = [entry for entry in json.loads(capsys.readouterr().out) if entry["name"] == "lamps"]
    assert listed["there"].startswith("3 samples")
    assert main(["datasets", "check", "lamps", "--root", str(root)]) == 0
    assert main(["datasets", "show", "lamps", "--root", str(root), "--out", str(tmp_path / "sheet.png")]) == 0
    assert cv2.imread(str(tmp_path / "sheet.png")).max() == 255
    assert [sample.instances[0].category for sample in open_dataset("lamps", root)] == ["lamp"] * 3


@pytest.mark.parametrize(("off", "expected"), [(0, 0), (3, 3)])
def test_a_protocol_and_its_metric_are_evaluated(root, protocol, tmp_path, capsys, off, expected):
    boxes = [(x - 5 + off, y - 5, x + 5 + off, y + 5) for x, y in PLACES]
    np.savez(tmp_path / "mine.npz", id=[f"{x}_{y}.png" for x, y in PLACES], box=np.array(boxes, float))
    call = ["eval", "--protocol", protocol, "--root", root, "--predictions", tmp_path / "mine.npz"]
    assert main([*map(str, call), "--out", str(tmp_path / "out")]) == 0
    record = json.loads((tmp_path / "out" / "eval.json").read_text("utf-8"))
    (run,) = record["runs"]
    (metric,) = run["metrics"]
    assert (record["protocol"]["name"], run["main"], metric["value"]) == ("mine", "lamp_distance", expected)
    assert metric["counted"] == 3
    assert "distance of lamps" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_a_table_format_takes_what_is_evaluated(root, protocol, counts, tmp_path):
    np.savez(tmp_path / "mine.npz", id=["20_30.png"])
    call = ["eval", "--protocol", protocol, "--root", root, "--predictions", tmp_path / "mine.npz"]
    assert main([*map(str, call), "--out", str(tmp_path / "out"), "--save", str(tmp_path / "t.count")]) == 0
    count, *columns = (tmp_path / "t.count").read_text("utf-8").split()
    assert (count, columns[:4]) == ("3", ["mode", "place", "dataset", "sample"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            PROTOCOL.replace('"lamps"\nmain', '"lamp"\nmain'),
            "Unknown task 'lamp'. Choose from detection, face_landmarks",
        ),
        (PROTOCOL.replace("unit", "units"), "Unknown key 'units'. Choose from "),
        (PROTOCOL.replace('unit = "px"', ""), "unit is missing"),
        ("title", "is damaged or not TOML"),
        (None, "No such file"),
    ],
)
def test_a_file_that_is_no_protocol_is_one_line(root, protocol, tmp_path, refusal, text, message):
    protocol.unlink() if text is None else protocol.write_text(text, "utf-8")
    np.savez(tmp_path / "mine.npz", id=["20_30.png"])
    call = ["eval", "--protocol", protocol, "--root", root, "--predictions", tmp_path / "mine.npz"]
    assert message in refusal(*call, "--out", tmp_path / "out")


def test_a_table_format_is_written_read_and_converted(root, spots, counts, tmp_path):
    table = tmp_path / "t.count"
    assert main(["spots", str(root / "images"), "--save", str(table)]) == 0
    assert table.read_text("utf-8").splitlines() == ["spots", "0 1", "1 1", "2 1"]
    header, frames = sonjit.media.load_frames(table)
    assert (header.kind, [frame.index for frame in frames]) == ("spots", [0, 1, 2])
    assert main(["spots", str(root / "images"), "--save", str(tmp_path / "t.jsonl")]) == 0
    sonjit.media.convert_table(tmp_path / "t.jsonl", tmp_path / "again.count")
    assert (tmp_path / "again.count").read_text("utf-8") == table.read_text("utf-8")


def test_a_name_can_be_taken_once(lamps, lamp_task, counts):
    from sonjit.media import register_table_format
    from sonjit_lab.datasets import dataset_entry, register
    from sonjit_lab.evaluation import register_evaluator

    with pytest.raises(sonjit.InputError, match="data set 'lamps' is already registered"):
        register(dataset_entry("lamps"))
    with pytest.raises(sonjit.InputError, match="task 'lamps' is already registered"):
        register_evaluator("lamps", lamp_task.LampEvaluator)
    with pytest.raises(sonjit.InputError, match=r"table format '\.count'"):
        register_table_format(".count", counts.CountWriter, counts.load_counts)
    with pytest.raises(sonjit.InputError, match=r"table format 'count': give an ending such as \.txt"):
        register_table_format("count", counts.CountWriter, counts.load_counts)


def test_the_command_lists_installed_data_sets(tmp_path):
    place = Place(tmp_path)
    place.install("sonjit-lamps", "lamps_plugin", Path(__file__).with_name("lamps.py").read_text("utf-8"))
    listed = json.loads(place.sonjit("datasets", "list", "--json").stdout)
    assert "lamps" in [entry["name"] for entry in listed]
