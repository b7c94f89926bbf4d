"""`sonjit stream`: results of a clip arrive at a receiver."""

import csv
import socket

import numpy as np
import pytest


@pytest.mark.slow
def test_hands_of_a_clip_arrive(sonjit, media):
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(5)
        address = f"osc://127.0.0.1:{receiver.getsockname()[1]}"
        code, out, err = sonjit("stream", media / "clip.mp4", "--to", address, "--limit", 3, "--model", "lite")
        assert (code, out) == (0, "")
        assert err[0].startswith("3 frames with ")
        assert err[0].endswith(f" hands sent to {address}")
        assert receiver.recv(200).startswith(b"/sonjit/frame\0")
        assert b"_hand/1/" in receiver.recv(200)


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["face", "holistic"])
def test_an_avatar_receives_blendshapes_without_a_task_bundle(sonjit, data, monkeypatch, kind):
    monkeypatch.setattr("sonjit.weights.has_bundle", lambda *_: False)
    photo = data / "real" / "wild" / "stock-emotions-a-3.jpg"
    if not photo.is_file():
        pytest.skip(f"{photo} is not there")
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        address = f"vmc://127.0.0.1:{receiver.getsockname()[1]}"
        status, _, (line,) = sonjit("stream", photo, "--to", address, "--kind", kind)
        assert status == 0, line
        receiver.settimeout(5)
        messages = []
        while not messages or not messages[-1].startswith(b"/VMC/Ext/Blend/Apply"):
            messages.append(receiver.recv(200))
    assert sum(message.startswith(b"/VMC/Ext/Blend/Val") for message in messages) == 22
    assert any(b"jawOpen" in message for message in messages)
    assert any(b"\0Head\0" in message for message in messages)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--to", "tcp://127.0.0.1:1"], "write osc://HOST:PORT"),
        (["--to", "osc://127.0.0.1:1", "--limit", 0], "--limit 0: must be at least 1"),
        (["--to", "vmc://127.0.0.1:1", "--kind", "hands"], "vmc sends faces, bodies or people"),
        (["--to", "vmc://127.0.0.1:1", "--kind", "holistic", "--gestures", "canned"], "vmc, which sends no gestures"),
    ],
)
def test_wrong_calls(sonjit, arguments, message):
    code, _, (line,) = sonjit("stream", "none.mp4", *arguments)
    assert code == 2
    assert message in line


@pytest.mark.slow
def test_tables_with_other_rows_and_events(sonjit, media, out):
    clip, limits = media / "clip.mp4", "index_curl_rad:10:170"
    status, _, (line,) = sonjit(
        "hands", clip, "--save", out / "t.csv", "--rows", "wide", "--events", limits, "--model", "lite"
    )
    assert status == 0
    assert line.endswith(f"wrote {out / 't.csv'} and {out / 't.events.csv'}")
    assert "index_finger_tip_x" in (out / "t.csv").read_text("utf-8-sig").partition("\r\n")[0]
    assert (out / "t.events.csv").read_text("utf-8").startswith("source,frame,name,type,")
    status, _, (line,) = sonjit("hands", clip, "--save", out / "t.json", "--rows", "wide")
    assert (status, line) == (2, "sonjit: --rows wide requires --save with a .csv, .parquet or .xlsx table")


@pytest.mark.slow
def test_one_table_of_several_files_has_the_events_of_each(sonjit, media, out):
    """Check that events that last until the end of a file end there, as in a table of that file."""
    limits = ["--gestures", "canned", "--events", "index_reach:0.1:0", "--model", "lite"]
    assert sonjit("hands", media / "clip.mp4", "--save", out / "one.csv", *limits)[0] == 0
    status, _, lines = sonjit("hands", media / "clip.mp4", media / "photo.png", "--save", out / "all.csv", *limits)
    assert status == 0
    assert lines[-1].endswith(f"wrote {out / 'all.csv'} and {out / 'all.events.csv'}")
    with (out / "one.events.csv").open(newline="") as one, (out / "all.events.csv").open(newline="") as joined:
        expected, found = list(csv.DictReader(one)), list(csv.DictReader(joined))
    assert {row["type"] for row in found} >= {"measure"}
    assert found == [{**row, "source": str(media / "clip.mp4")} for row in expected]


@pytest.mark.slow
def test_a_video_without_results_suggests_a_more_thorough_search(sonjit, out, write_video, weights):
    write_video(out / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 12)
    call = ["hands", out / "grey.mp4", "--model", "lite"]
    assert sonjit(*call)[2][0] == f"sonjit: {out / 'grey.mp4'}: 0 hands found. Try --search thorough."
    assert len(sonjit(*call, "--search", "fast")[2]) == len(sonjit(*call, "--limit", 9)[2]) == 1
