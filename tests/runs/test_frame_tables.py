"""Tables of frames with their motions and events, tables of records, and what is joined or converted from parts."""

import csv
import json
import math

import pytest

from sonjit import Event
from sonjit.media import Header, load_frames
from sonjit.results import Frame
from sonjit.runs import convert_events, convert_motions
from sonjit.runs.frame_tables import EVENT_COLUMNS, MOTION_COLUMNS, FrameTable, RecordTable, event_record

from ..support.scripted import body, hand, motion  # noqa: TID252  # one helper for all packages

FIST = Event("Fist", "gesture", "end", 0.125, 0.62517, 1, "Right", 0.75)
BEND = Event("left_elbow_angle_rad", "measure", "end", 0.25, 0.5, 4, None, math.pi / 4)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [list(row.values()) for row in csv.DictReader(file)]


def test_rows_of_motions_and_events_have_their_columns(tmp_path):
    begin = Event("Fist", "gesture", "begin", 0.125, None, 1, "Right", 0.5)
    with FrameTable(str(tmp_path / "t.csv"), Header("a.mp4"), {}, with_motions=True) as table:
        table.write(Frame(3, 0.5, [hand()], motions=[motion("begin", 0.5), motion("end", 0.75)], events=[begin]), None)
        table.write(Frame(4, 0.6, [hand()], source="b.mp4", motions=[motion("begin", 0.6)], events=[FIST, BEND]), None)
    assert table.more_paths == [str(tmp_path / "t.motions.csv"), str(tmp_path / "t.events.csv")]
    step = ["1", "Right", "0.5", "0.25", "-0.125", "1.5"]
    assert rows_of(tmp_path / "t.motions.csv") == [
        ["a.mp4", "3", "0.5", "Swipe_Left", "begin", *step], ["a.mp4", "3", "0.75", "Swipe_Left", "end", *step],
        ["b.mp4", "4", "0.6", "Swipe_Left", "begin", *step],
    ]  # fmt: skip
    assert rows_of(tmp_path / "t.events.csv") == [
        ["b.mp4", "4", "Fist", "gesture", "1", "Right", "0.125", "0.6252", "0.5002", "0.75", "end"],
        ["b.mp4", "4", "left_elbow_angle_rad", "measure", "4", "", "0.25", "0.5", "0.25", "0.7854", "end"],
    ]
    assert event_record(7, None, begin)["duration_s"] == 0
    assert [*event_record(7, None, begin)] == [*EVENT_COLUMNS]


@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("t.csv", {}, []),
        ("t.csv", {"with_events": True}, ["t.events.csv"]),
        ("t.CSV", {"with_motions": True}, ["t.motions.CSV", "t.events.CSV"]),
        ("t.json", {"with_motions": True, "with_events": True}, []),
        ("t.jsonl", {"with_motions": True}, []),
        ("-", {"with_motions": True, "with_events": True}, []),
    ],
)
def test_only_formats_of_rows_have_further_tables(tmp_path, monkeypatch, name, settings, expected):
    monkeypatch.chdir(tmp_path)
    with FrameTable(name, Header(), {}, **settings) as table:
        assert table.more_paths == expected
    assert {path.name for path in tmp_path.iterdir()} == {name, *expected} - {"-"}


@pytest.mark.parametrize(("degrees", "name", "value"), [(True, "left_elbow_angle_deg", 45), (False, None, math.pi / 4)])
def test_angles_of_events_are_in_the_unit_of_the_table(tmp_path, degrees, name, value):
    path = tmp_path / "t.json"
    with FrameTable(str(path), Header(), {}, degrees=degrees) as table:
        table.write(Frame(0, 0.5, events=[BEND, FIST]), None)
    bend, fist = load_frames(path)[1][0].events
    assert (bend.name, bend.value) == (name or BEND.name, pytest.approx(value, abs=1e-4))
    assert (fist.name, fist.value) == ("Fist", 0.75)


def write_part(path, header, frames):
    with FrameTable(str(path), header, {}) as table:
        for frame in frames:
            table.write(frame, None)


def test_parts_are_joined_with_their_sources_notes_and_events(tmp_path):
    still, clip = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    write_part(still, Header("in/a.png", 8, 6, notes=("in/a.png: reduced",)), [Frame(0, None, [hand()])])
    bent = [Frame(k, k / 16, bodies=[body(45)]) for k in range(5, 11)]
    bent[-1].events = [BEND]
    write_part(clip, Header("b.mp4", 16, 12, 30.0, start_s=0.5, notes=("cut", "cut")), bent)
    moves = [Frame(4, 0.25, [hand()], motions=[motion("begin", 0.25)])]
    write_part(tmp_path / "3.jsonl", Header("d.mp4"), moves)
    with FrameTable(str(tmp_path / "m.csv"), Header("in"), {}, with_motions=True) as table:
        table.append_part(tmp_path / "3.jsonl", 0, "d.mp4")
    assert [row[:4] for row in rows_of(tmp_path / "m.motions.csv")] == [["d.mp4", "4", "0.25", "Swipe_Left"]]
    path = tmp_path / "t.json"
    with FrameTable(str(path), Header("in", notes=("first",)), {}) as table:
        table.append_part(still, 7, "a.png")
        table.append_part(clip, 8, "b.mp4")
        table.add_notes(["cut", "last"])
        ended = []
        write_event = table.writer.write_event
        table.writer.write_event = lambda record: ended.append(record) or write_event(record)
        table.append_part(clip, 9, "c.mp4")
    header, frames = load_frames(path)
    assert header.sources == {
        "a.png": {"width": 8, "height": 6},
        "b.mp4": {"width": 16, "height": 12, "fps": 30.0, "start_s": 0.5},
        "c.mp4": {"width": 16, "height": 12, "fps": 30.0, "start_s": 0.5},
    }
    assert header.notes == ["first", "a.png: reduced", "cut", "last"]
    places = [("a.png", 7), *(("b.mp4", k) for k in range(5, 11)), *(("c.mp4", k) for k in range(5, 11))]
    assert [(frame.source, frame.index) for frame in frames] == places
    assert [(one["source"], one["frame"], one["name"], one["phase"]) for one in ended] == [
        ("c.mp4", 10, "left_elbow_angle_rad", "end")
    ]


def test_motions_and_events_are_found_again_in_a_table(tmp_path):
    frames = [
        Frame(
            k, k / 16, [hand(gesture=("Fist", 0.5 + k / 100) if 6 <= k < 16 else None)], motions=[motion("begin", 0.5)]
        )
        for k in range(30)
    ]
    frames += [Frame(30, 1.9, [hand()], source="b.mp4", motions=[motion("end", 1.9, strength=0.75)])]
    frames += [Frame(k, k / 16, [hand(gesture=("Victory", 0.5))]) for k in range(31, 36)]
    write_part(tmp_path / "t.jsonl", Header("a.mp4"), frames)
    convert_motions(tmp_path / "t.jsonl", tmp_path / "m.csv")
    convert_events(tmp_path / "t.jsonl", tmp_path / "e.csv")
    motions, events = rows_of(tmp_path / "m.csv"), rows_of(tmp_path / "e.csv")
    assert [row[:2] for row in motions] == [["a.mp4", str(k)] for k in range(30)] + [["b.mp4", "30"]]
    assert motions[-1] == ["b.mp4", "30", "1.9", "Swipe_Left", "end", "1", "Right", "0.75", "0.25", "-0.125", "1.5"]
    assert len(MOTION_COLUMNS) == len(motions[0])
    kept = [(row[0], row[1], row[2], row[6], row[7], row[9], row[10]) for row in events if row[10] != "cancel"]
    assert kept == [
        ("a.mp4", "19", "Fist", "0.375", "0.9375", "0.65", "end"),
        ("b.mp4", "30", "Swipe_Left", "0.5", "1.9", "0.75", "end"),
        ("a.mp4", "35", "Victory", "1.9375", "2.1875", "0.5", "end"),
    ]
    write_part(tmp_path / "empty.jsonl", Header(), [])
    convert_events(tmp_path / "empty.jsonl", tmp_path / "none.csv")
    assert rows_of(tmp_path / "none.csv") == []


RECORD = {"name": "a", "value": math.nan, "list": [1, 2], "object": {"k": 0.5}, "other": 3}
TYPES = {"name": str, "value": float, "list": str, "object": str, "missing": int}


@pytest.mark.parametrize(("header", "count"), [(None, 0), ({"about": 1}, 1)])
def test_records_are_written_completely_or_as_rows_and_joined_after_the_header(tmp_path, header, count):
    part, whole = tmp_path / "p.jsonl", tmp_path / "w.csv"
    for path in (part, whole):
        with RecordTable(str(path), header, TYPES) as table:
            table.write(RECORD)
            table.write(RECORD | {"name": "b", "value": 0.5})
            assert list(table.more_paths) == []
            table.add_notes(["a note"])
    lines = [json.loads(line) for line in part.read_text("utf-8").splitlines()]
    assert lines[:count] == [header] * count
    assert lines[count:] == [RECORD | {"value": None}, RECORD | {"name": "b", "value": 0.5}]
    rows = [["a", "", "[1,2]", '{"k":0.5}', ""], ["b", "0.5", "[1,2]", '{"k":0.5}', ""]]
    assert rows_of(whole) == rows
    numbered = tmp_path / "n.csv"
    columns = {"name": str, "index": int, "source": str}
    rename = (lambda row, index, source: {**row, "index": index, "source": source}) if count else None
    more = (lambda record: [record] * 2, *filter(None, [rename]))
    with RecordTable(str(numbered), header, columns, *more) as table:
        table.append_part(part, 4, "s.png")
    place = ["4", "s.png"] if count else ["", ""]
    assert rows_of(numbered) == [[name, *place] for name in "aabb"]


def test_a_table_whose_run_fails_is_discarded(tmp_path):
    for open_table in (
        lambda: RecordTable(str(tmp_path / "r.csv"), None, TYPES),
        lambda: FrameTable(str(tmp_path / "t.csv"), Header(), {}, with_motions=True),
    ):
        with pytest.raises(OSError, match="broken"), open_table():
            raise OSError("broken")
    assert list(tmp_path.iterdir()) == []
