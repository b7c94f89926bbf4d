import csv
import json
import math
import os
import re
import subprocess
import sys
import tracemalloc
from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonjit._util.errors import InputError
from sonjit._util.extras import MissingExtraError
from sonjit._util.files import DiskError
from sonjit.media import TABLE_ENDINGS, Header, convert_table, load_frames, open_writer
from sonjit.media.tables import open_row_writer
from sonjit.media.tables.layout import COLUMNS
from sonjit.results import RESULT_TYPES, Body, Face, Frame, Hand, MotionEvent, Person, box_around
from sonjit.runs.frame_tables import FrameTable

HEADER = Header("clip, \"한글\" 'x'.mp4", 640, 480, 29.97, "full")
ROW_ENDINGS = (".csv", ".parquet")
DRAFTS = "*.sonjit-*"
MESHES = (468, 478)

floats32 = st.floats(width=32, allow_infinity=False)
times = st.none() | st.floats(0, 1e6)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)
ids = st.none() | st.integers(0, 2**40)


def points(*shape):
    """Return repeated numbers, because drawing hundreds of numbers would test no more."""
    return arrays(np.float32, 7, elements=floats32).map(lambda values: np.resize(values, shape))


def hands(handedness=("Left", "Right")):
    return st.builds(Hand, st.sampled_from(handedness), st.floats(0, 1), points(21, 3), points(21, 3), ids)


def mesh(score, keypoints, one_id):
    return Face(score, keypoints, box_around(keypoints), one_id)


faces = st.builds(mesh, st.floats(0, 1), st.sampled_from(MESHES).flatmap(lambda count: points(count, 3)), ids)
presences = st.just(np.full(33, np.nan, np.float32))
bodies = st.builds(Body, st.floats(0, 1), points(33, 3), points(33, 3), points(33), presences, ids)
people = st.builds(Person, bodies, st.none() | hands(["Left"]), st.none() | hands(["Right"]), st.none() | faces)
KINDS = {"hands": hands(), "faces": faces, "bodies": bodies, "people": people}


@st.composite
def videos(draw, kind):
    with_source = draw(st.booleans())
    found = draw(st.lists(st.lists(KINDS[kind], max_size=2), max_size=3))
    return [
        Frame(i, draw(times), source=draw(names) if with_source else None, **{kind: list_})
        for i, list_ in enumerate(found)
    ]


def write(path, header, frames):
    with open_writer(path, header) as writer:
        for frame in frames:
            writer.write(frame)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RESULT_TYPES)
@pytest.mark.parametrize("ending", TABLE_ENDINGS)
@settings(max_examples=7, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_format_gives_back_the_same_frames(tmp_path, ending, kind, data):
    frames = data.draw(videos(kind))
    path, given_header = tmp_path / f"table{ending}", replace(HEADER, kind=kind)
    write(path, given_header, frames)
    header, back = load_frames(path)
    parts = [part for frame in frames for _, part in frame.instances()]
    if ending == ".csv" and all(part.kind == "body" for part in parts):  # then nothing tells people from bodies
        frames = [replace(f, people=[], bodies=f.bodies + [person.body for person in f.people]) for f in frames]
        kind = "bodies" if parts else "hands"
    assert header == (Header(kind=kind) if ending == ".csv" else given_header)
    assert [without_boxes(frame) for frame in back] == [without_boxes(frame) for frame in frames]
    for part, (_, again) in zip(parts, (pair for frame in back for pair in frame.instances()), strict=True):
        assert again.keypoints.dtype == np.float32
        assert part.keypoints.tobytes() == again.keypoints.tobytes() or np.isnan(part.keypoints).any()
        np.testing.assert_array_equal(np.float32(again.box), np.float32(part.box))


def without_boxes(frame):
    """Exclude boxes, because they are compared as float32, and NaN in a tuple differs from itself."""
    frame = deepcopy(frame)
    for _, part in frame.instances():
        if part.kind == "face":
            part.box = None
    return frame


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_a_face_box_stays_where_there_is_room_for_it(tmp_path, face, ending):
    one = face(6)
    write(tmp_path / f"t{ending}", replace(HEADER, kind="faces"), [Frame(0, None, faces=[one])])
    (again,) = load_frames(tmp_path / f"t{ending}")[1][0].faces
    np.testing.assert_array_equal(again.keypoints, one.keypoints)
    assert np.isnan(again.keypoints[:, 2]).all()
    assert np.isnan(again.box).all() if ending in ROW_ENDINGS else again.box == one.box


@pytest.mark.parametrize("ending", ROW_ENDINGS)
def test_people_are_distinguished_from_bodies_and_hands(tmp_path, person, hand, face, body, ending):
    path = tmp_path / f"t{ending}"
    loose_parts = Frame(0, 0.0, [hand(), hand()], faces=[face()], bodies=[body(), body()])
    write(path, HEADER, [loose_parts])
    assert shape(load_frames(path)[1]) == shape([loose_parts])
    both = Frame(1, 0.1, [hand()], faces=[face()], people=[person(face=None), person(), person(left_hand=None)])
    only_body = Frame(2, 0.2, people=[Person(body())])
    write(path, replace(HEADER, kind="people"), [both, only_body])
    assert shape(load_frames(path)[1]) == shape([both, only_body])


def shape(frames):
    return [
        [
            (number, part.kind, part.handedness, part.keypoints.tolist())
            for number, part in frame.instances()
            if not np.isnan(part.keypoints).any()
        ]
        + [len(getattr(frame, kind)) for kind in RESULT_TYPES]
        for frame in frames
    ]


@pytest.mark.parametrize(
    "change", [("kind", "foot"), ("keypoint", "7"), ("instance", "3"), ("handedness", "Right"), ("keypoint", "0")]
)
def test_rows_that_do_not_fit_together(tmp_path, person, change):
    path, (column, value) = tmp_path / "t.csv", change
    write(path, HEADER, [Frame(0, 0.0, people=[person()])])
    lines = path.read_text("utf-8").splitlines()
    at = COLUMNS.index(column)
    for i in range(34, 55) if column == "handedness" else [36]:  # rows of the left hand
        cells = lines[i].split(",")
        cells[at] = value
        lines[i] = ",".join(cells)
    path.write_text("\n".join(lines), "utf-8")
    with pytest.raises(InputError):
        load_frames(path)


EXTRA = {"index_curl_rad": float, "gesture": str, "fingers": float}
MEASURES = [
    {"index_curl_rad": np.float32(0.5), "gesture": 'vic,"tory"', "fingers": 2},
    {"index_curl_rad": math.nan, "gesture": None},
    {},
]


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_a_converted_table_is_the_same_file(tmp_path, hand, face, person, ending):
    frames = [
        Frame(0, None, source="한 장\u2028.png"),
        Frame(1, None, [hand(id=3), hand()], "b.png", [face()]),
        Frame(2, None, source="c.png", people=[person(left_hand=None), person(face=None)]),
    ]
    for path in (tmp_path / "lines.jsonl", tmp_path / f"direct{ending}"):
        with open_writer(path, replace(HEADER, kind="people"), EXTRA) as writer:
            for frame, extras in zip(frames, ([], MEASURES, None), strict=True):
                writer.write(frame, extras)
    convert_table(tmp_path / "lines.jsonl", tmp_path / f"converted{ending}", EXTRA)
    assert (tmp_path / f"converted{ending}").read_bytes() == (tmp_path / f"direct{ending}").read_bytes()


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_extras_that_do_not_fit(tmp_path, hand, ending):
    path, frame = tmp_path / f"t{ending}", Frame(0, 0.0, [hand()])
    with pytest.raises(InputError, match="cannot be called score"):
        open_writer(path, HEADER, ["score"])
    for extras, says in (
        ([], "0 extras for 1 instances"),
        ([{"other": 1.0}], "no column for other"),
        ([{"a": "text"}], r"extra=\{'a': str\}"),
    ):
        with pytest.raises(InputError, match=says), open_writer(path, HEADER, ["a"]) as writer:
            writer.write(frame, extras)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_json_keeps_the_handedness_score_and_has_no_nan(tmp_path, hand, ending):
    one = hand(handedness_score=0.75)
    one.keypoints[3, 2] = np.nan
    one.keypoints_3d[4] = np.inf
    path = tmp_path / f"t{ending}"
    with open_writer(path, HEADER) as writer:
        writer.write(Frame(0, math.nan, [one]))
    text = path.read_text("utf-8")
    assert "NaN" not in text
    assert "Infinity" not in text
    (frame,) = load_frames(path)[1]
    assert frame.hands[0].handedness_score == 0.75
    assert frame.time is None


def test_csv_has_the_pinned_columns(tmp_path, hand):
    with open_writer(tmp_path / "t.csv", HEADER) as writer:
        writer.write(Frame(0, 0.0, [hand(id=3), hand()], "a,b.png"))
        writer.write(Frame(1, None, [], "c.png"))
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    assert tuple(rows[0]) == (*COLUMNS, "source")
    assert len(rows) == 1 + 42 + 1
    assert rows[1][2:6] == ["0", "3", "hand", rows[1][5]]
    assert rows[22][2:4] == ["1", ""]
    assert rows[-1] == ["1", "", *[""] * 14, "c.png"]


def test_parquet_has_the_types_and_the_pinned_columns(tmp_path, hand):
    pq = pytest.importorskip("pyarrow.parquet")
    with open_writer(tmp_path / "t.parquet", HEADER) as writer:
        for i in range(20):
            writer.write(Frame(i, i / 25, [hand()]))
    with pq.ParquetFile(tmp_path / "t.parquet") as file:
        assert file.schema_arrow.field("x").type == "float"
        assert tuple(file.schema_arrow.names) == COLUMNS


def test_standard_output_is_json_lines(capsys, hand):
    with open_writer("-", HEADER) as writer:
        writer.write(Frame(0, 0.0, [hand()]))
        assert len(capsys.readouterr().out.splitlines()) == 1
        writer.write(Frame(1, 0.04))
    assert json.loads(capsys.readouterr().out) == {"index": 1, "time": 0.04, "source": HEADER.source, "hands": []}


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_what_stays_after_interruptions(tmp_path, hand, ending):
    path = tmp_path / f"t{ending}"
    path.write_bytes(b"older")
    with pytest.raises(ZeroDivisionError), open_writer(path, HEADER) as writer:
        writer.write(Frame(1 // 0, None))
    assert path.read_bytes() == b"older"
    with pytest.raises(KeyboardInterrupt), open_writer(path, HEADER) as writer:
        write_and_interrupt(writer, Frame(0, 0.0, [hand()]), path)
    assert len(load_frames(path)[1]) == 1
    writer.close()
    writer.discard()
    assert path.exists()
    assert list(tmp_path.glob(DRAFTS)) == list(tmp_path.glob("." + DRAFTS)) == []


def write_and_interrupt(writer, frame, path):
    writer.write(frame)
    assert path.read_bytes() == b"older"
    raise KeyboardInterrupt


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_places_that_cannot_be_written(tmp_path, unwritable, ending):
    with pytest.raises(InputError, match="folder"):
        open_writer(unwritable / f"t{ending}", HEADER)
    (tmp_path / f"folder{ending}").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        open_writer(tmp_path / f"folder{ending}", HEADER)


def test_unknown_endings_name_the_known(tmp_path):
    for call in (lambda p: open_writer(p, HEADER), load_frames):
        with pytest.raises(InputError, match=r"\.jsonl.*\.parquet"):
            call(tmp_path / "t.ods")
    with pytest.raises(InputError, match="no such file"):
        load_frames(tmp_path / "t.json")


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
@pytest.mark.parametrize("content", [b"", b"{}", b"[1, 2]", b"frame,time\r\n0,0\r\n", bytes(300), b'{"frames": [{}]}'])
def test_damaged_tables_are_input_errors(tmp_path, ending, content):
    path = tmp_path / f"t{ending}"
    path.write_bytes(content)
    if (ending, content) == (".jsonl", b"{}"):
        assert load_frames(path) == (Header(), [])
        return
    if ending == ".jsonl" and content.startswith(b'{"frames"'):
        return
    with pytest.raises(InputError):
        load_frames(path)


def test_a_table_that_ends_in_a_quoted_cell_or_has_a_huge_one_is_an_input_error(tmp_path):
    """Python's reader of CSV has an error of its own for both."""
    open_writer(tmp_path / "t.csv", HEADER).close()
    columns = (tmp_path / "t.csv").read_bytes()
    for rest in (b'0,0,"Left', b"0,0," + b"x" * 200_000):
        (tmp_path / "t.csv").write_bytes(columns + rest)
        with pytest.raises(InputError, match="table that Sonjit wrote, or it is damaged"):
            load_frames(tmp_path / "t.csv")


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"\[tables\]"):
        open_writer(tmp_path / "t.parquet", HEADER)


@pytest.mark.nightly_after(2)
@pytest.mark.slow
@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_memory_stays_flat(tmp_path, hand, ending):
    frame = Frame(0, 0.0, [hand()])
    with open_writer(tmp_path / f"t{ending}", HEADER) as writer:
        writer.write(frame)
        tracemalloc.start()
        try:
            for _ in range(150):
                writer.write(frame)
            grown = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert grown < (3_000_000 if ending == ".parquet" else 200_000)


@pytest.mark.parametrize(
    ("ending", "name"),
    [(".csv", "bad\\xff.jpg"), (".parquet", "bad\\xff.jpg"), (".json", "bad\udcff.jpg"), (".jsonl", "bad\udcff.jpg")],
)
def test_a_file_name_that_is_not_utf8_does_not_lose_the_table(tmp_path, ending, name):
    table = tmp_path / f"table{ending}"
    write(table, Header("photos"), [Frame(0, None, source="good.jpg"), Frame(1, None, source="bad\udcff.jpg")])
    if ending == ".csv":
        pandas = pytest.importorskip("pandas")
        assert list(pandas.read_csv(table)["source"]) == ["good.jpg", name]
    table.read_bytes().decode(errors="strict") if ending != ".parquet" else None
    assert [frame.source for frame in load_frames(table)[1]] == ["good.jpg", name]


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="names are Unicode")
@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_a_table_may_have_a_name_that_is_not_utf8(tmp_path, hand, ending):
    table = tmp_path / f"bad\udcff{ending}"
    write(table, HEADER, [Frame(0, 0.0, [hand()])])
    assert len(load_frames(table)[1]) == 1
    assert list(tmp_path.iterdir()) == [table]


@pytest.mark.parametrize("ending", [".xlsx", ".bvh", ".vrma"])
def test_files_of_frames_are_not_offered_for_other_rows(tmp_path, ending):
    with pytest.raises(InputError, match=r"files contain only frames. Use \.json, ") as error:
        open_row_writer(tmp_path / f"t{ending}", None, {"name": str})
    assert str(error.value).count(ending) == 2


@pytest.mark.parametrize("source", [".json", ".jsonl", ".csv", ".parquet"])
@pytest.mark.parametrize("target", [".json", ".jsonl", ".csv", ".parquet", ".coco.json"])
def test_a_table_of_any_format_is_converted(tmp_path, source, target):
    if ".parquet" in (source, target):
        pytest.importorskip("pyarrow")
    if target == ".coco.json" and source == ".csv":
        pytest.skip("a CSV table has no size of its images")
    points = np.arange(63, dtype=np.float32).reshape(21, 3)
    frames = [Frame(index, index / 30, [Hand("Left", 0.5, points + index, points / 9, 3)]) for index in range(4)]
    columns = {"pinch_m": float, "gesture": str, "unknown": float, "repetitions": int}
    values = {"pinch_m": [None, 1.0, 2.0, 3.0], "gesture": [None, "Fist", None, "Fist"], "unknown": [None] * 4}
    values["repetitions"] = [None, 0, 1, 3]
    table, direct = tmp_path / f"clip{source}", tmp_path / f"direct{target}"
    for path in (table, direct)[: 1 + source.startswith(".json")]:
        with open_writer(path, HEADER, columns) as writer:
            for frame in frames:
                writer.write(frame, [{name: row[frame.index] for name, row in values.items()}])
    convert_table(table, tmp_path / f"new{target}")
    if target == ".coco.json":
        assert len(json.loads((tmp_path / "new.coco.json").read_text())["annotations"]) == 4
        return
    assert load_frames(tmp_path / f"new{target}")[1] == load_frames(table)[1]
    if direct.exists():
        assert (tmp_path / f"new{target}").read_bytes() == direct.read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "none.csv: no such file"),
        ("a.xlsx", b"", "a.xlsx: Excel workbooks cannot be read back"),
        ("a.txt", b"", "Unknown ending '.txt'"),
        ("a.csv", b"x,y\n1,2\n", "a.csv: columns are missing"),
        ("a.jsonl", b'{"source": "x"}\n{"index"', "a.jsonl is not a .jsonl table that Sonjit wrote, or it is damaged"),
        ("a.json", b'{"frames": 3}', "a.json is not a .json table that Sonjit wrote, or it is damaged"),
    ],
)
def test_a_table_that_cannot_be_converted_is_one_line(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=re.escape(message)):
        convert_table(tmp_path / name, tmp_path / "new.csv")
    assert not (tmp_path / "new.csv").exists()


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_a_number_beyond_all_floats_is_damage(tmp_path, ending):
    points, path = np.full((21, 3), 7.25, np.float32), tmp_path / f"a{ending}"
    with open_writer(path, HEADER) as writer:
        writer.write(Frame(0, 0.0, [Hand("Left", 1.0, points, points)]))
    path.write_text(path.read_text().replace("7.25", f"1{400 * '0'}", 1))
    with pytest.raises(InputError, match=r"or it is damaged \(OverflowError"):
        load_frames(path)


KILLED = """
import os, sys
import numpy as np
from sonjit.media import Header, open_writer
from sonjit.media.tables import base, open_row_writer
from sonjit.results import Frame, Hand
writers = [open_writer(path, Header("clip.mp4", 640, 480, 30.0, "full")) for path in sys.argv[1:]]
for index in range(40):
    hands = [Hand("Left", 0.5, np.full((21, 3), index, np.float32), np.full((21, 3), k, np.float32)) for k in range(2)]
    for writer in writers:
        writer.write(Frame(index, index / 30, hands=hands))
for writer in writers:
    writer._file.flush()
    with writer._draft.path.open("ab") as file:
        file.write(b'40,1.333,0,,hand,Le')
os._exit(9)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="drafts have no locks there")
def test_the_frames_of_a_killed_run_stay_under_a_visible_name(tmp_path, caplog):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "k.csv.unfinished").write_text("of an earlier kill")
    (tmp_path / ".work").mkdir()
    paths = [tmp_path / name for name in ("a/k.csv", "a/k.jsonl", "a/k.json", "a/k l.csv", ".work/k.csv")]
    assert subprocess.run([sys.executable, "-c", KILLED, *paths], check=False).returncode == 9
    for folder in ("a", ".work"):
        with open_writer(tmp_path / folder / "next.csv", HEADER):
            pass
    kept = ["k l.csv.unfinished", "k.csv.unfinished", "k.csv_2.unfinished", "k.json.unfinished", "k.jsonl.unfinished"]
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [*kept, "next.csv"]
    assert [path.name for path in (tmp_path / ".work").iterdir()] == ["next.csv"]
    for name in (kept[0], *kept[3:]):
        assert f"was not finished by an earlier run. Its frames until then are in {tmp_path}/a/{name}" in caplog.text
        frames = load_frames(tmp_path / "a" / name)[1]
        assert [frame.index for frame in frames] == list(range(39 if ".json." in name else len(frames)))
        assert len(frames) in (39, 40)
        assert all(len(frame.hands) == 2 for frame in frames)
        np.testing.assert_array_equal(frames[38].hands[1].keypoints, np.full((21, 3), 38))


def numbered(index):
    return Hand("Left", 0.5, np.full((21, 3), index, np.float32), np.full((21, 3), index, np.float32))


def save(path, count, source="clip.mp4"):
    """Write a table of some frames, with the notes and sizes that a run knows at its end."""
    with open_writer(path, Header(source, 640, 480, 30.0, "full")) as writer:
        writer.remarks = ["a note"]
        writer.sources["clip.mp4"] = {"width": 640, "height": 480}
        for index in range(count):
            writer.write(Frame(index, index / 30, hands=[numbered(index)]))


@pytest.mark.parametrize("name", ["{}{}.unfinished", "{}.unfinished{}"])
@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl"])
def test_an_unfinished_table_is_removed_when_its_frames_are_in_the_finished_one(tmp_path, caplog, ending, name):
    """The second name is that of earlier versions."""
    unfinished = tmp_path / name.format("t", ending)
    save(tmp_path / f"other{ending}", 9)
    (tmp_path / f"other{ending}").rename(unfinished)
    other = tmp_path / f"s{ending}"
    save(other, 20)
    assert unfinished.exists()  # that of another table
    save(tmp_path / f"t{ending}", 20)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([other.name, f"t{ending}"])
    assert caplog.text == ""


@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl"])
def test_an_unfinished_table_of_other_frames_is_kept_and_reported(tmp_path, caplog, ending):
    unfinished = tmp_path / f"t{ending}.unfinished"
    save(tmp_path / f"other{ending}", 30)
    (tmp_path / f"other{ending}").rename(unfinished)
    before = unfinished.read_bytes()
    save(tmp_path / f"t{ending}", 20)  # fewer frames, as with --limit
    assert unfinished.read_bytes() == before
    assert f"{unfinished} has frames that {tmp_path / f't{ending}'} does not contain. It is kept." in caplog.text
    assert len(load_frames(unfinished)[1]) == 30


@pytest.mark.parametrize("ending", [".json", ".jsonl"])
def test_an_unfinished_table_of_another_recording_is_kept(tmp_path, ending):
    save(tmp_path / f"other{ending}", 9, "other.mp4")
    (tmp_path / f"other{ending}").rename(tmp_path / f"t{ending}.unfinished")
    save(tmp_path / f"t{ending}", 20)
    assert len(load_frames(tmp_path / f"t{ending}.unfinished")[1]) == 9


def fill(path, count):
    """Write a table of frames with two hands each, but for the first, and a motion."""
    with FrameTable(str(path), Header("clip.mp4", 640, 480, 30.0, "full"), {}, with_motions=True) as table:
        for index in range(count):
            points = np.random.default_rng(index).uniform(0, 400, (21, 3)).astype(np.float32)
            hands = [Hand("Left", 0.5, points, points) for _ in range(2)] if index else []
            motion = MotionEvent("Swipe_Left", "end", 1, "Right", index / 30, 0.5, (0.0, 0.0), 1.0)
            table.write(Frame(index, index / 30, hands=hands, motions=[motion]), None)


@pytest.mark.parametrize(
    ("name", "limit", "kept"),
    [
        ("t.csv", 100_000, ["t.csv.unfinished", "t.motions.csv.unfinished"]),
        ("t.json", 100_000, ["t.json.unfinished"]),
        ("t.json", 1 << 16, ["t.json.unfinished"]),  # a multiple of a block
        ("t.jsonl", 100_000, ["t.jsonl.unfinished"]),
        ("t.parquet", 20_000, []),  # less than a row group
        ("t.xlsx", 20_000, []),
        ("t.coco.json", 100_000, []),
        ("t.yolo.yaml", 500, []),  # the first image has no hands, and so an empty file
        ("t.cvat.xml", 100_000, []),
        ("t.labelstudio.json", 100_000, []),
    ],
)
def test_a_full_disk_keeps_the_complete_frames_until_a_run_completes_them(tmp_path, full_disk, name, limit, kept):
    with pytest.raises(DiskError, match="File too large") as error, full_disk(limit):
        fill(tmp_path / name, 300)
    assert len(str(error.value).splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == kept
    assert all(str(tmp_path / path) in str(error.value) for path in kept)
    for path in kept[:1]:
        frames = load_frames(tmp_path / path)[1]
        assert [frame.index for frame in frames] == list(range(len(frames)))
        assert len(frames) > 10
        assert all(len(frame.hands) == (2 if frame.index else 0) for frame in frames)
        points = np.random.default_rng(len(frames) - 1).uniform(0, 400, (21, 3)).astype(np.float32)
        np.testing.assert_array_equal(frames[-1].hands[1].keypoints, points)
    for path in kept[1:]:
        lines = (tmp_path / path).read_text().splitlines()
        assert all(line.count(",") == lines[0].count(",") for line in lines)
    if not kept or limit == 1 << 16:
        return
    fill(tmp_path / name, 300)
    tables = {name} | ({"t.motions.csv", "t.events.csv"} if name == "t.csv" else set())
    assert {path.name for path in tmp_path.iterdir()} == tables
    assert len(load_frames(tmp_path / name)[1]) == 300


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system reserves no room on a disk")
def test_a_full_disk_keeps_the_row_groups_of_parquet_until_a_run_completes_them(tmp_path, full_disk):
    table, kept = tmp_path / "t.parquet", tmp_path / "t.parquet.unfinished"
    with pytest.raises(DiskError, match=f"File too large; the frames until then are in {kept}"), full_disk(1 << 20):
        fill(table, 3000)
    frames = load_frames(kept)[1]
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert 700 < len(frames) < 3000
    points = np.random.default_rng(len(frames) - 1).uniform(0, 400, (21, 3)).astype(np.float32)
    np.testing.assert_array_equal(frames[-1].hands[1].keypoints, points)
    assert kept.stat().st_size <= 1 << 20
    (tmp_path / "other.parquet").write_bytes(kept.read_bytes())
    fill(table, len(frames) + 9)
    assert len(load_frames(table)[1]) == len(frames) + 9
    assert not kept.exists()
    (tmp_path / "other.parquet").rename(kept)
    fill(table, 300)  # another table, which does not have its frames
    assert len(load_frames(kept)[1]) == len(frames)


def test_a_table_that_just_fits_is_complete(tmp_path, full_disk):
    frames = [numbered(index) for index in range(900)]  # less than a row group

    def write(path):
        with open_writer(path, HEADER) as writer:
            for index, hand in enumerate(frames):
                writer.write(Frame(index, index / 30, hands=[hand]))
        return path.stat().st_size

    size = write(tmp_path / "a.parquet")
    with full_disk(size):
        assert write(tmp_path / "b.parquet") == size


def test_a_full_disk_names_what_has_no_readable_part(tmp_path, full_disk):
    writer = open_writer(tmp_path / "t.xlsx", HEADER)
    with (
        pytest.raises(DiskError, match=r"nothing is left of .*t\.xlsx, which is readable only if it is"),
        full_disk(),
        writer,
    ):
        writer.write(Frame(0, 0.0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rows", ["keypoint", "instance", "wide"])
def test_polars_reads_numbers_of_a_table_whose_first_rows_are_empty(tmp_path, rows):
    """As docs/tables.md says: Polars chooses types from the first 100 rows unless it reads all."""
    polars = pytest.importorskip("polars")
    path = tmp_path / "late.csv"
    with open_writer(path, HEADER, {"gesture": str, "thumb_curl_rad": float}, rows=rows) as writer:
        for index in range(200):
            hands = [numbered(index)] if index > 150 else []
            writer.write(
                Frame(index, index / 30, hands=hands), [{"gesture": "Fist", "thumb_curl_rad": 0.5}] * len(hands)
            )
    table = polars.read_csv(path, infer_schema_length=None)
    x = {"keypoint": "x", "wide": "wrist_x", "instance": "score"}[rows]
    for name in ("frame", "time", "score", "thumb_curl_rad", x):
        assert table.schema[name].is_numeric(), name
    assert table["frame"].max() == 199
