import csv
import json
import math
import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sonjit.errors import InputError, JobError, MissingExtraError
from sonjit.media import TABLE_ENDINGS, Header, load_frames, open_source, open_writer
from sonjit.media.row_tables import COLUMNS
from sonjit.results import Frame, Hand

HEADER = Header("clip, \"한글\" 'x'.mp4", 640, 480, 29.97, "full")
DRAFTS = "*.part*"

floats32 = st.floats(width=32, allow_infinity=False)
keypoints = arrays(np.float32, (21, 3), elements=floats32)
hands = st.builds(
    Hand,
    handedness=st.sampled_from(["Left", "Right"]),
    score=st.floats(0, 1),
    keypoints=keypoints,
    keypoints_3d=keypoints,
    id=st.none() | st.integers(0, 2**40),
)
times = st.none() | st.floats(0, 1e6)
names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)


@st.composite
def videos(draw):
    with_source = draw(st.booleans())
    found = draw(st.lists(st.lists(hands, max_size=2), max_size=4))
    return [Frame(i, draw(times), h, draw(names) if with_source else None) for i, h in enumerate(found)]


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(frames=videos())
def test_every_format_gives_back_the_same_frames(tmp_path, ending, frames):
    path = tmp_path / f"table{ending}"
    with open_writer(path, HEADER) as writer:
        for frame in frames:
            writer.write(frame)
    header, back = load_frames(path)
    assert back == frames
    for frame, again in zip(frames, back, strict=True):
        for a, b in zip(frame.hands, again.hands, strict=True):
            assert a.keypoints.tobytes() == b.keypoints.tobytes() or np.isnan(a.keypoints).any()
    assert header == (Header() if ending == ".csv" else HEADER)


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


def test_json_has_the_pinned_shape(tmp_path, hand):
    with open_writer(tmp_path / "t.json", HEADER) as writer:
        writer.write(Frame(0, 0.0, [hand(id=3)]))
        writer.write(Frame(1, 0.04))
    data = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert list(data) == ["source", "width", "height", "fps", "model", "frames"]
    assert [list(frame) for frame in data["frames"]] == [["index", "time", "hands"]] * 2
    assert data["frames"][0]["hands"][0]["id"] == 3


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


def test_parquet_types_groups_and_metadata(tmp_path, hand, monkeypatch):
    pq = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr("sonjit.media.parquet_tables.ROWS_PER_GROUP", 100)
    with open_writer(tmp_path / "t.parquet", HEADER) as writer:
        for i in range(20):
            writer.write(Frame(i, i / 25, [hand()]))
    with pq.ParquetFile(tmp_path / "t.parquet") as file:
        assert file.num_row_groups == 4
        assert file.schema_arrow.field("x").type == "float"
        assert tuple(file.schema_arrow.names) == COLUMNS


def test_standard_output_is_json_lines(capsys, hand):
    with open_writer("-", HEADER) as writer:
        writer.write(Frame(0, 0.0, [hand()]))
        assert len(capsys.readouterr().out.splitlines()) == 2
        writer.write(Frame(1, 0.04))
    assert json.loads(capsys.readouterr().out) == {"index": 1, "time": 0.04, "hands": []}


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
    for path in (unwritable / f"t{ending}", tmp_path / "none" / f"t{ending}"):
        with pytest.raises(InputError, match="folder"):
            open_writer(path, HEADER)
    (tmp_path / f"folder{ending}").mkdir()
    with pytest.raises(InputError, match="is a folder"):
        open_writer(tmp_path / f"folder{ending}", HEADER)


def test_a_full_disk_is_one_job_error(tmp_path, monkeypatch, hand):
    writer = open_writer(tmp_path / "t.csv", HEADER)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(JobError, match="No space left"):
        writer.close()
    assert list(tmp_path.iterdir()) == []


def test_unknown_endings_name_the_known(tmp_path):
    for call in (lambda p: open_writer(p, HEADER), load_frames):
        with pytest.raises(InputError, match=r"\.jsonl.*\.parquet"):
            call(tmp_path / "t.xlsx")
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


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"sonjit\[tables\]"):
        open_writer(tmp_path / "t.parquet", HEADER)


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_memory_stays_flat(tmp_path, hand, ending):
    frame = Frame(0, 0.0, [hand()])
    with open_writer(tmp_path / f"t{ending}", HEADER) as writer:
        writer.write(frame)
        tracemalloc.start()
        try:
            for _ in range(300):
                writer.write(frame)
            grown = tracemalloc.get_traced_memory()[0]
        finally:
            tracemalloc.stop()
    assert grown < (3_000_000 if ending == ".parquet" else 200_000)


def test_header_of_a_source(clip):
    with open_source(clip("v.mp4")) as source:
        header = Header.from_source(source, "full")
    assert (header.width, header.height, header.fps, header.model) == (64, 48, 25.0, "full")
