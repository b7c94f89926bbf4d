import csv
import json
import re
from dataclasses import replace

import numpy as np
import openpyxl
import pandas
import polars
import pyarrow.parquet
import pytest

import sonjit
from sonjit import InputError
from sonjit.media import Header, load_frames, open_writer, tables
from sonjit.media.tables import base, columns, open_row_writer
from sonjit.media.tables.layout import RowMaker
from sonjit.results import Frame
from sonjit.results.measures import instance_values

from ..support.stored import assert_as_stored  # noqa: TID252  # one helper for all packages

HEADER = Header("clip.mp4", 640, 480, 30.0, "hands-full", version="1.2", options={"max_instances": 3})


def write(path, frames, header=HEADER, extra=(), extras=None, **options):
    with open_writer(path, header, extra, **options) as writer:
        for index, frame in enumerate(frames):
            writer.write(frame, None if extras is None else extras[index])


def read_csv(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def frames(hand):
    two = [hand(id=1), hand(id=2)]
    two[0].handedness, two[1].handedness = "Left", "Right"
    return [Frame(0, 0.0, two), Frame(1, 0.1), Frame(2, 0.2, [hand(id=2)])]


def test_instance_rows_have_one_row_per_hand_and_frame(tmp_path, frames):
    path = tmp_path / "t.csv"
    write(path, frames, extra=("curl_rad",), extras=[[{"curl_rad": 1.23456789}, {}], [], [{}]], rows="instance")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")  # by which Excel recognises UTF-8
    rows = read_csv(path)
    assert [(row["frame"], row["key"], row["handedness"]) for row in rows[:3]] == [
        ("0", "1", "Left"),
        ("0", "2", "Right"),
        ("1", "", ""),
    ]
    assert rows[0]["curl_rad"] == "1.2346"
    assert "keypoint" not in rows[0]


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
def test_wide_rows_have_a_column_per_keypoint_and_axis(tmp_path, frames, ending):
    path = tmp_path / f"t{ending}"
    write(path, frames, rows="wide")
    table = pandas.read_csv(path) if ending == ".csv" else pandas.read_parquet(path)
    assert len(table) == 4
    first = frames[0].hands[0]
    np.testing.assert_array_equal(np.float32(table.index_finger_tip_x[0]), first["index_finger_tip"][0])
    np.testing.assert_array_equal(np.float32(table.wrist_z_m[0]), first.keypoints_3d[0, 2])


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".json", ".jsonl"])
def test_expected_errors_are_read_back(tmp_path, frames, ending):
    frames[2].hands[0].error_px = np.linspace(0.5, 6, 21, dtype=np.float32)
    write(tmp_path / f"t{ending}", frames, HEADER.__class__(kind="hands", options={"keypoints": "refined"}))
    read = load_frames(tmp_path / f"t{ending}")[1]
    np.testing.assert_array_equal(read[2].hands[0].error_px, frames[2].hands[0].error_px)
    assert read[0].hands[0].error_px is None


def test_a_wide_table_of_faces_takes_its_columns_from_the_first_face(tmp_path, face):
    for count, column in ((478, "point_1_x"), (6, "noseTip_x")):
        frames = [Frame(0, 0.0), Frame(1, 0.1, faces=[face(count)])]
        write(tmp_path / "t.csv", frames, Header(kind="faces"), rows="wide")
        rows = read_csv(tmp_path / "t.csv")
        assert [row["frame"] for row in rows] == ["0", "1"]
        assert rows[1][column]
        assert not rows[0][column]


def test_a_wide_table_of_people_has_columns_for_all_parts(tmp_path, person):
    write(tmp_path / "t.csv", [Frame(0, 0.0, people=[person()])], Header(kind="people"), rows="wide")
    rows = read_csv(tmp_path / "t.csv")
    assert [row["kind"] for row in rows] == ["body", "hand", "hand", "face"]
    assert rows[0]["left_knee_x"]
    assert rows[1]["thumb_tip_x"]
    assert rows[3]["point_1_x"]


def test_excel_workbook_has_three_sheets(tmp_path, frames):
    path = tmp_path / "t.xlsx"
    with open_writer(path, HEADER) as writer:
        for frame in frames:
            frame.source = "=Müller.mp4"
            writer.write(frame)
        writer.sources["=Müller.mp4"] = {"width": 640, "height": 480, "fps": 30.0}
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["frames", "instances", "run"]
    assert book.active.title == "instances"
    assert [row[3].value for row in book["frames"].iter_rows(min_row=2)] == [2, 0, 1]
    assert book["frames"]["A2"].value == "=Müller.mp4"
    assert book["frames"]["A2"].data_type == "s"  # no formula
    assert book["instances"].max_row == 5
    run = {row[0].value: row[1].value for row in book["run"].iter_rows(min_row=2)}
    assert (run["version"], run["max_instances"], run["=Müller.mp4"]) == ("1.2", 3, "source")
    with pytest.raises(InputError, match="cannot be read back"):
        load_frames(path)


def test_a_workbook_is_as_stored(tmp_path, frames, person):
    path, options = tmp_path / "t.xlsx", {"search": "fast", "none": None, "list": [1, 2]}
    header = replace(HEADER, kind="people", options=options, start_s=0.25)
    types = {"curl_rad": float, "fingers": int, "gesture": str}
    with open_writer(path, header, types, rows="keypoint") as writer:
        one = person(left_hand=None, face=None)
        values = {"curl_rad": 1.5, "fingers": 3, "gesture": "=Fist"}
        writer.write(Frame(0, 0.5, people=[one], source="a.mp4"), [values, {}])
        writer.write(Frame(2, None))
        writer.write_event({"name": "Fist", "begin": 0.25, "end": None})
        writer.write_event({"name": "Palm", "begin": 0.5, "end": 1.0})
        writer.sources["a.mp4"] = {"width": 640, "fps": 30.0}
        writer.remarks = ["one line"]
    book = openpyxl.load_workbook(path)
    cells = {sheet.title: [[cell.value for cell in row] for row in sheet] for sheet in book}
    bold = {sheet.title: [row[0].font.bold for row in sheet] for sheet in book}
    frozen = {sheet.title: sheet.freeze_panes for sheet in book}
    assert_as_stored("workbook", [cells, bold, frozen, book.properties.created.isoformat()])


@pytest.mark.parametrize("rows", ["instance", "keypoint"])
def test_rows_beyond_the_limit_of_excel_continue_in_further_sheets(tmp_path, frames, monkeypatch, rows):
    many = [replace(frame, index=index * len(frames) + frame.index) for index in range(4) for frame in frames]
    complete, path = tmp_path / "complete.xlsx", tmp_path / "t.xlsx"
    for limit, file in ((columns.MAX_ROWS, complete), (8, path)):
        monkeypatch.setattr(columns, "MAX_ROWS", limit)
        with open_writer(file, HEADER, rows=rows) as writer:
            for frame in many:
                writer.write(frame)
            for index in range(20):
                writer.write_event({"name": "Fist", "begin": index})
    whole, parts = openpyxl.load_workbook(complete), openpyxl.load_workbook(path)
    for name in ("frames", "instances", "events"):
        first, *expected = whole[name].iter_rows(values_only=True)
        sheets = [sheet for sheet in parts if sheet.title.split()[0] == name]
        assert len(sheets) > 1
        assert all(sheet.max_row <= 8 for sheet in sheets)
        got = []
        for sheet in sheets:
            heading, *more = sheet.iter_rows(values_only=True)
            assert heading == first
            got += more
        assert got == expected
    counts = {sheet.title.split()[0]: 0 for sheet in parts}
    for sheet in parts:
        counts[sheet.title.split()[0]] += 1
    assert f"{path}: instances continue in {counts['instances']} sheets of 8 rows" in writer.notes


def test_rows_apply_only_to_tables_of_rows(tmp_path):
    endings = tables.endings_of(lambda table_format: table_format.rows)
    with pytest.raises(InputError, match=f"rows='wide' applies only to {re.escape(endings)}"):
        open_writer(tmp_path / "t.json", HEADER, rows="wide")


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".parquet"])
def test_headers_hold_version_options_and_the_size_of_each_source(tmp_path, frames, ending):
    path = tmp_path / f"t{ending}"
    sizes = {"a.jpg": {"width": 640, "height": 480}, "b.mp4": {"width": 720, "height": 1280, "fps": 25.0}}
    with open_writer(path, HEADER) as writer:
        for frame in frames:
            writer.write(frame)
        writer.sources.update(sizes)
    header, back = load_frames(path)
    assert (header.version, header.options, header.sources) == ("1.2", {"max_instances": 3}, sizes)
    assert len(back) == 3
    assert list(tmp_path.iterdir()) == [path]
    if ending == ".json":
        assert json.loads(path.read_text("utf-8"))["sources"] == sizes
    if ending == ".parquet":
        metadata = pyarrow.parquet.ParquetFile(path).metadata.metadata
        assert json.loads(metadata[b"sonjit.sources"]) == sizes


def test_data_frames_have_nullable_integers_and_categories(frames):
    table = sonjit.to_dataframe(frames)
    assert [str(table[name].dtype) for name in ("id", "instance", "keypoint")] == ["Int64"] * 3
    assert [str(table[name].dtype) for name in ("kind", "handedness", "name")] == ["category"] * 3
    one = table[table.instance.fillna(0) == 0]
    pivot = one.pivot(index="frame", columns="name", values="x")
    assert pivot.shape == (3, 21)
    assert not pivot.columns.isna().any()
    assert pivot.loc[1].isna().all()


def test_data_frames_of_instances(frames, hand):
    table = sonjit.to_dataframe(frames, rows="instance", measures=True)
    assert len(table) == 4
    values = instance_values(frames[0].hands[0])
    assert table.palm_width_m[0] == pytest.approx(values["palm_width_m"], rel=1e-4)
    stills = [Frame(0, None, [hand(), hand()], source="a.jpg"), Frame(1, None, [hand()], source="b.jpg")]
    table = sonjit.to_dataframe(stills, rows="instance")
    assert table.groupby(["source", "key"]).size().to_dict() == {("a.jpg", 0): 1, ("a.jpg", 1): 1, ("b.jpg", 0): 1}
    wide = sonjit.to_dataframe(frames, "polars", rows="wide")
    assert wide.schema["id"] == polars.Int64
    assert "wrist_x" in wide.columns
    with pytest.raises(InputError, match="Unknown rows 'tall'"):
        sonjit.to_dataframe(frames, rows="tall")


FORMULAS = ["=cmd|' /C calc'!A0.png", "+1.png", "-2.png", "@sum.png", "\t=1.png", "'quoted.png", "'=x.png", "plain.png"]


def test_names_that_are_formulas_are_text_in_csv_and_are_read_back(tmp_path, frames):
    named = [replace(frames[0], index=index, source=name) for index, name in enumerate(FORMULAS)]
    with open_writer(tmp_path / "t.csv", HEADER, {"gesture": str}) as writer:
        for frame in named:
            writer.write(frame, [{"gesture": "=Fist"} for _ in frame.instances()])
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert not any(value.startswith(("=", "+", "@", "\t")) for row in rows for value in row.values())
    assert {row["source"] for row in rows if row["frame"] == "2"} == {"'-2.png"}
    assert [frame.source for frame in load_frames(tmp_path / "t.csv")[1]] == FORMULAS
    with open_row_writer(tmp_path / "events.csv", None, {"name": str, "value": float}) as events:
        events.write([{"name": "=1+1", "value": -1.5}])
    assert (tmp_path / "events.csv").read_text() == "name,value\n'=1+1,-1.5\n"


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".xlsx"])
@pytest.mark.parametrize("rows", ["keypoint", "instance"])
def test_errors_of_keypoints_have_a_column_also_if_the_first_frame_has_no_hand(tmp_path, frames, ending, rows):
    hand = next(hand for frame in frames for hand in frame.hands)
    known = replace(hand, error_px=np.full(21, 2.5, np.float32))
    many = [Frame(0, 0.0), Frame(1, 0.1), Frame(2, 0.2, [known])]
    tables = []
    for header in (Header("a.mp4"), replace(HEADER, options={"keypoints": "refined"})):
        path = tmp_path / f"{len(tables)}{ending}"
        with open_writer(path, header, rows=rows) as writer:
            for frame in many:
                writer.write(frame)
        read = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet}.get(ending)
        tables.append(pandas.read_excel(path, sheet_name="instances") if read is None else read(path))
    pandas.testing.assert_frame_equal(*tables)
    assert [name for name in tables[0] if name.startswith("error_px")] or rows == "instance"


@pytest.mark.parametrize(
    ("name", "text"),
    [("a\udc80\udcffb", "a\\x80\\xffb"), ("\ud800", "\\ud800"), ("\udc7f\udd00", "\\udc7f\\udd00"), ("é", "é")],
)
def test_bytes_of_names_that_are_not_utf_8_are_escaped(name, text):
    assert name.encode("utf-8", base._ESCAPED).decode() == text


def test_parquet_is_as_stored(tmp_path, frames, person):
    path = tmp_path / "t.parquet"
    with open_writer(path, replace(HEADER, kind="people"), {"fingers": int, "gesture": str}, rows="instance") as writer:
        writer.write(
            Frame(0, 0.5, people=[person(face=None)], source="a.mp4"), [{"fingers": 3, "gesture": "Fist"}, {}, {}]
        )
        writer.write(Frame(2, None, source="b.mp4"))
        writer.sources["a.mp4"] = {"width": 640}
        writer.remarks = ["one line"]
    with pyarrow.parquet.ParquetFile(path) as file:
        fields = [(field.name, str(field.type), field.nullable) for field in file.schema_arrow]
        metadata = {key.decode(): value.decode() for key, value in file.metadata.metadata.items() if b"sonjit" in key}
        values = file.read().to_pydict()
    assert_as_stored("parquet", [fields, metadata, values])


def test_headers_leave_out_what_is_unknown_and_ignore_other_keys():
    full = Header(
        *("a.mp4", 640, 480, 30.0, "net", "faces", "1.0"),
        {"search": "fast"},
        {"a": {"width": 2}},
        0.5,
        {"crop": [1]},
        ("x",),
    )
    for header in (full, Header(), Header(kind="bodies", start_s=0.0)):
        assert Header.from_dict(header.to_dict() | {"more": 1}) == header or header.start_s == 0
    with pytest.raises(InputError):
        Header(kind="paws")


@pytest.mark.parametrize("ending", [".json", ".jsonl", ".csv", ".parquet", ".xlsx"])
def test_angles_are_in_degrees_on_request_and_in_workbooks(tmp_path, frames, ending):
    for degrees in (None, True, False):
        path = tmp_path / f"t{ending}"
        with open_writer(path, HEADER, {"curl_rad": float}, degrees=degrees, rows=None) as writer:
            writer.write(Frame(0, 0.0, frames[0].hands[:1]), [{"curl_rad": np.pi / 4}])
        if ending == ".xlsx":
            book = openpyxl.load_workbook(path)
            names, *values = zip(*book["instances"].iter_rows(values_only=True), strict=True)
            table = {column[0]: column[1] for column in (names, *values)}
            options = {row[0].value: row[1].value for row in book["run"].iter_rows(min_row=2)}
        elif ending in (".csv", ".parquet"):
            table = {".csv": pandas.read_csv, ".parquet": pandas.read_parquet}[ending](path).iloc[0].to_dict()
            options = load_frames(path)[0].options
        else:
            lines = path.read_text().splitlines()
            record = json.loads(path.read_text())["frames"][0] if ending == ".json" else json.loads(lines[1])
            table, options = record["hands"][0]["measures"], load_frames(path)[0].options
        in_degrees = degrees or (degrees is None and ending == ".xlsx")
        name, expected = ("curl_deg", 45) if in_degrees else ("curl_rad", np.pi / 4)
        assert table[name] == pytest.approx(expected, rel=1e-4)
        assert ending == ".csv" or options.get("angles") == ("degrees" if in_degrees else None)
        assert ending == ".csv" or options["max_instances"] == 3


@pytest.mark.parametrize(
    ("kind", "rows", "more", "waits"),
    [
        ("hands", "keypoint", {}, True),
        ("people", "keypoint", {}, True),
        ("hands", "keypoint", {"version": "1.0"}, False),
        ("hands", "keypoint", {"options": {"keypoints": "refined"}}, False),
        ("hands", "keypoint", {"options": {"distance": True}}, False),
        ("hands", "keypoint", {"options": {"keypoints": "plain", "distance": False}}, True),
        ("bodies", "keypoint", {}, False),
        ("faces", "keypoint", {}, False),
        ("faces", "wide", {}, True),
        ("faces", "wide", {"version": "1.0"}, True),
        ("bodies", "wide", {}, False),
    ],
)
def test_rows_wait_only_for_a_hand_or_face_that_shows_the_columns(kind, rows, more, waits, hand, face):
    begun = []
    maker = RowMaker(Header(kind=kind, **more), {}, rows, begun.append)
    assert len(maker(Frame(0, 0.0), None)) == (not waits)
    assert len(begun) == (not waits)
    shown = {"hands": [hand()], "faces": [face(6)]}.get(kind)
    found = maker(Frame(1, 0.1, **({kind: shown} if shown else {})), None)
    assert (len({row[0] for row in found}) == 2) == (waits and bool(shown))
    assert len(begun) == (not waits or bool(shown))
    assert len(maker.finish()) == (2 if waits and not shown else 0)
    assert len(begun) == 1


@pytest.mark.parametrize("name", ["t.csv", "t.json"])
def test_bones_and_rows_apply_only_to_some_formats(tmp_path, name):
    with pytest.raises(InputError, match=r"bones='vrm' applies only to \.bvh, \.glb or \.vrma"):
        open_writer(tmp_path / name, HEADER, bones="vrm")
    if name != "t.csv":
        with pytest.raises(InputError, match=r"rows='wide' applies only to"):
            open_writer(tmp_path / name, HEADER, rows="wide")
    assert not list(tmp_path.iterdir())


def test_a_table_of_one_video_has_one_source(tmp_path, frames):
    path = tmp_path / "t.json"
    for sources in ((), ("a.mp4", "a.mp4"), ("b.mp4", "a.mp4", "b.mp4")):
        write(path, [replace(frames[0], index=index, source=name) for index, name in enumerate(sources)])
        if len(set(sources)) < 2:
            assert len(tables.load_video_table(path)[1]) == len(sources)
            continue
        with pytest.raises(InputError, match=r"describes 2 files, such as a\.mp4: save a table of one video"):
            tables.load_video_table(path)
