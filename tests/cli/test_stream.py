"""Live commands: `sonjit stream` and `control`, and cameras that are unplugged."""

import csv
import json
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
from pythonosc.osc_packet import OscPacket

import sonjit as library
from sonjit.media import load_frames
from sonjit.media.tables import endings_of


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
        first, second, *_ = (timed.message.address for timed in OscPacket(receiver.recv(9000)).messages)
        assert first == "/sonjit/frame"
        assert "_hand/1/" in second


@pytest.mark.slow
def test_a_stream_has_a_line_about_hands_beyond_the_maximum(sonjit, media):
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        address = f"osc://127.0.0.1:{receiver.getsockname()[1]}"
        code, _, err = sonjit("stream", media / "clip.mp4", "--to", address, "--max-instances", 1, "--model", "lite")
    assert code == 0
    assert err[1:] == ["1 of at least 2 shown. Use --max-instances."]


@pytest.mark.golden
@pytest.mark.parametrize("kind", ["face", "holistic"])
def test_an_avatar_receives_blendshapes_without_a_task_bundle(sonjit, data, kind):
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
        while not messages or messages[-1].address != "/VMC/Ext/Blend/Apply":  # after a packet or several
            messages += (timed.message for timed in OscPacket(receiver.recv(9000)).messages)
    assert sum(message.address == "/VMC/Ext/Blend/Val" for message in messages) == 22
    assert any("jawOpen" in message.params for message in messages)
    assert any("Head" in message.params for message in messages)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "stream none.mp4 --to tcp://127.0.0.1:1",
            "write osc://127.0.0.1:9000, vmc://127.0.0.1:39539 or ws://127.0.0.1:8000/path",
        ),
        ("stream none.mp4 --to osc://127.0.0.1:1 --limit 0", '"0" for --limit. Must be >= 1'),
        ("stream none.mp4 --to vmc://127.0.0.1:1 --kind hands", "vmc sends faces, bodies or people"),
        ("stream none.mp4 --to vmc://127.0.0.1:1 --kind holistic --gestures canned", "vmc, which sends no gestures"),
        ("control map.toml none.mp4 --dry-run --limit 0", '"0" for --limit. Must be >= 1'),
        ("control wrong.toml none.mp4 --dry-run", "rule 1: unknown key 'speed'"),
        ("control map.toml camera:0 --each-rule --dry-run", "--each-rule reads no input"),
    ],
)
def test_wrong_calls(sonjit, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    Path("map.toml").write_text(MAP)
    Path("wrong.toml").write_text(MAP + "speed = 3\n")
    code, _, (line,) = sonjit(*arguments.split())
    assert (code, message in line) == (2, True)


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
    endings = endings_of(lambda table_format: table_format.rows)
    assert (status, line) == (2, f"sonjit: --rows wide requires --save with a {endings} table")


@pytest.mark.slow
def test_one_table_of_several_files_has_the_motions_and_events_of_each(sonjit, media, out):
    """Check that motions and events that last until the end of a file end there, as in tables of that file."""
    limits = ["--gestures", "canned", "--events", "index_reach:0.1:0", "--model", "lite"]
    assert sonjit("hands", media / "clip.mp4", "--save", out / "one.csv", *limits)[0] == 0
    status, _, lines = sonjit("hands", media / "clip.mp4", media / "photo.png", "--save", out / "all.csv", *limits)
    assert status == 0
    assert lines[-1].endswith(f"wrote {out / 'all.csv'}, {out / 'all.motions.csv'} and {out / 'all.events.csv'}")
    for table in ("motions", "events"):
        with (out / f"one.{table}.csv").open(newline="") as one, (out / f"all.{table}.csv").open(newline="") as joined:
            expected, found = list(csv.DictReader(one)), list(csv.DictReader(joined))
        assert found == [{**row, "source": str(media / "clip.mp4")} for row in expected]
    assert {row["type"] for row in found} >= {"measure"}


@pytest.mark.slow
def test_a_video_without_results_suggests_a_more_thorough_search(sonjit, out, write_video, weights):
    write_video(out / "grey.mp4", [np.full((64, 64, 3), 90, np.uint8)] * 12)
    call = ["hands", out / "grey.mp4", "--model", "lite"]
    assert sonjit(*call)[2][0] == f"sonjit: {out / 'grey.mp4'}: 0 hands found. Try --search thorough."
    assert len(sonjit(*call, "--search", "fast")[2]) == len(sonjit(*call, "--limit", 9)[2]) == 1


MAP = '[[rule]]\nmeasure = "x"\npost = "http://192.0.2.1/hand"\n'  # an address that nobody has


@pytest.mark.slow
def test_a_dry_run_prints_what_would_be_sent(sonjit, media, tmp_path):
    file = tmp_path / "map.toml"
    file.write_text(MAP)
    code, out, err = sonjit("control", file, media / "clip.mp4", "--dry-run", "--limit", 3)
    assert (code, err) == (0, [])
    lines = [json.loads(line) for line in out.splitlines()]
    assert 1 <= len(lines) <= 3
    assert {(line["post"], line["measure"]) for line in lines} == {("http://192.0.2.1/hand", "x")}
    assert all(0 <= line["value"] <= 1 for line in lines)
    file.write_text('pause = "Open_Palm"\n' + MAP)
    clip = Path(library.__file__).parent / "_util" / "assets" / "demo.mp4"
    code, out, err = sonjit("control", file, clip, "--dry-run", "--limit", 12)
    assert (code, err) == (0, ["paused at 0.27 s: Open_Palm"])  # once the hand has been in sight for a quarter second
    assert {json.loads(line)["time"] < 0.27 for line in out.splitlines()} == {True}


def test_each_rule_of_a_map_is_shown_without_an_input(sonjit, tmp_path):
    file = tmp_path / "map.toml"
    file.write_text(MAP + '[[rule]]\non = "Thumb_Up"\nmqtt = "192.0.2.1:1883/lamp"\npayload = { state = "TOGGLE" }\n')
    status, out, err = sonjit("control", file, "--dry-run", "--each-rule")
    assert (status, err) == (0, [])
    shown = [json.loads(line) for line in out.splitlines()]
    assert [line["value"] for line in shown[:2]] == [0, 1]
    assert (shown[2]["name"], shown[2]["mqtt"], shown[2]["payload"]) == (
        "Thumb_Up", "192.0.2.1:1883/lamp", {"state": "TOGGLE"},
    )  # fmt: skip


@pytest.fixture
def _unplugged(monkeypatch):
    """A camera that gives no more images after a few."""

    class Camera:
        left = 5

        def __init__(self, _number):
            pass

        def isOpened(self):  # noqa: N802
            return True

        def get(self, _key):
            return 0

        def read(self):
            self.left -= 1
            return (True, np.full((48, 64, 3), 90, np.uint8)) if self.left >= 0 else (False, None)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)


@pytest.mark.slow
@pytest.mark.usefixtures("_unplugged", "weights")
def test_an_unplugged_camera_leaves_its_table(sonjit, out):
    status, _, lines = sonjit("hands", "camera:0", "--save", out / "t.jsonl", "--draw", out / "d.mp4")
    assert status == 1
    assert any("camera:0 ended after" in line for line in lines)
    assert load_frames(out / "t.jsonl")[1]
    assert (out / "d.mp4").stat().st_size > 0


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.usefixtures("_unplugged", "weights")
@pytest.mark.parametrize(
    "command",
    ["motions camera:0", f"motions camera:0 --limit {10**20}", "stream camera:0 --to osc://127.0.0.1:9 --model lite"],
)
def test_an_unplugged_camera_ends_live_commands_in_one_line(sonjit, command):
    status, _, lines = sonjit(*command.split())
    assert status == 1
    assert len(lines) == 2
    assert lines[0].startswith("sonjit: camera:0 ended after")


@pytest.mark.slow
@pytest.mark.usefixtures("weights")
def test_a_cut_video_is_one_line_of_motions(sonjit, media, tmp_path):
    whole = (media / "clip.mp4").read_bytes()
    (cut := tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    status, _, lines = sonjit("motions", cut)
    assert status != 0
    assert all(line.startswith("sonjit: ") or "motions in" in line for line in lines)


DRAG = slice(90, 165)
"""Frames of the bundled clip in which a hand drags."""


@pytest.mark.slow
def test_hands_of_a_clip_are_those_of_track(sonjit, media, out):
    assert sonjit("hands", media / "clip.mp4", "--model", "lite", "--save", out / "t.json")[0] == 0
    tracked = list(library.track(media / "clip.mp4", "hands", model="lite"))
    saved = load_frames(out / "t.json")[1]
    assert any(frame.hands for frame in tracked)
    for frame, row in zip(tracked, saved, strict=True):
        assert [hand.to_dict(full=True) for hand in frame.hands] == [hand.to_dict(full=True) for hand in row.hands]


@pytest.mark.slow
def test_motions_of_a_clip_are_those_of_hands(sonjit, weights, demo_clip, write_video, tmp_path, out):
    clip = write_video(tmp_path / "drag.mp4", demo_clip[1][DRAG])
    assert sonjit("hands", clip, "--gestures", "canned", "--save", out / "hands.csv")[0] == 0
    assert sonjit("motions", clip, "--save", out / "motions.csv")[0] == 0
    rows = (out / "motions.csv").read_text("utf-8").splitlines()
    expected = (out / "hands.motions.csv").read_text("utf-8").splitlines()
    assert len(rows) > 1
    assert rows == [line for line in expected if ",progress," not in line]
