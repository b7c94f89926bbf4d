"""A registered kind of an extension works in every public interface."""

import json
import shutil
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from starlette.testclient import TestClient

import sonjit
from sonjit import load_extension
from sonjit.media import TABLE_ENDINGS, draw_frame, load_frames
from sonjit.results import Frame
from sonjit.server import app, settings

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages


def image(x=30, y=20, side=10):
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[y : y + side, x : x + side] = 255
    return rgb


def test_it_is_made_and_detects_and_tracks(spots):
    with sonjit.create_detector("spots", max_instances=1, smoothing=None) as detector:
        (first,) = detector.detect(image(30))
        (second,) = detector.detect(image(33))
    assert (first.id, second.id) == (1, 1)
    assert first.box == (30, 20, 40, 30)
    assert second.to_dict() == {
        "score": 1.0,
        "keypoints": [
            {"x": 38.0, "y": 20.0, "z": 0.0, "name": "top"},
            {"x": 43.0, "y": 25.0, "z": 0.0, "name": "right"},
            {"x": 38.0, "y": 30.0, "z": 0.0, "name": "bottom"},
            {"x": 33.0, "y": 25.0, "z": 0.0, "name": "left"},
        ],
    }


def test_its_own_options_are_checked_like_all(spots):
    with sonjit.create_detector("spots", threshold=100) as detector:
        assert len(detector.detect(image() // 2)) == 1
    with pytest.raises(sonjit.InputError, match="threshold=256: give a whole number from 0 to 255"):
        sonjit.create_detector("spots", threshold=256)
    with pytest.raises(sonjit.InputError, match="threshold=1: hands has no option threshold"):
        sonjit.create_detector("hands", threshold=1)


def test_it_is_drawn(spots):
    with sonjit.create_detector("spots", static_image=True) as detector:
        frame = Frame.from_results(0, None, detector.detect(image()))
    assert (draw_frame(image(), frame)[20:30, 30:40] == (255, 0, 0)).all()


def test_a_name_can_be_taken_once(spots):
    with pytest.raises(sonjit.InputError, match="kind 'spots' is already registered"):
        sonjit.detectors.kinds.register_kind(spots.SPOTS)


@pytest.mark.parametrize("ending", TABLE_ENDINGS)
def test_the_command_line_writes_its_tables(spots, tmp_path, ending):
    from sonjit.cli import main

    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), image(30 + number))
    table = tmp_path / f"table{ending}"
    assert (
        main(["spots", str(tmp_path / "*.png"), "--save", str(table), "--measures", "--draw", f"{tmp_path}/drawn/"])
        == 0
    )
    frames = load_frames(table)[1]
    assert [frame.results("spots")[0].box[0] for frame in frames] == [30, 31, 32]
    drawn = cv2.imread(str(tmp_path / "drawn" / "0.png"))
    assert (drawn[22:28, 32:38] == (0, 0, 255)).all()


CORNERS = [(35.0, 20.0), (40.0, 25.0), (35.0, 30.0), (30.0, 25.0)]


def png(x=30, brightness=255):
    rgb = np.zeros((60, 80, 3), np.uint8)
    rgb[20:30, x : x + 10] = brightness
    return cv2.imencode(".png", rgb)[1].tobytes()


@pytest.fixture
def client(spots):
    with TestClient(app.create_app(settings.Settings(workers=1)), "http://127.0.0.1") as client:
        yield client


def test_it_is_listed_with_its_options_and_skeleton(client):
    answer = client.get("/v1/kinds").json()
    kind, result = answer["kinds"]["spots"], answer["results"]["spot"]
    assert (kind["list"], kind["models"], kind["missing"], kind["max_instances"]) == ("spots", ["plain"], {}, 1)
    assert kind["options"]["threshold"] == {
        "type": "integer",
        "description": "Minimum brightness, 0 to 255.",
        "default": 200,
        "minimum": 0,
        "maximum": 255,
    }
    assert "threshold" not in answer["kinds"]["hands"]["options"]
    assert result["skeletons"]["spot_corners4"]["connections"] == [[0, 1], [1, 2], [2, 3], [3, 0]]
    assert result["fields"][1] == {"key": "keypoints", "type": "points", "columns": ["x", "y", "z"], "scores": {}}


def test_one_image(client):
    answer = client.post("/v1/spots?full=true&threshold=100", content=png(brightness=120)).json()
    (spot,) = answer["spots"]
    assert [(point["x"], point["y"]) for point in spot["keypoints"]] == CORNERS
    assert (spot["skeleton"], spot["box"]["width"]) == ("spot_corners4", 10)
    assert client.post("/v1/spots", content=png(brightness=120)).json()["spots"] == []
    refused = client.post("/v1/spots?mirrored=true", content=png())
    assert (refused.status_code, "mirrored" in refused.json()["error"]["message"]) == (400, True)


def test_a_stream(client):
    with client.websocket_connect("/v1/stream", headers={"host": "127.0.0.1"}) as socket:
        socket.send_text(json.dumps({"type": "configure", "detectors": [{"kind": "spots"}], "measures": True}))
        while (ready := socket.receive_json())["type"] == "loading":
            pass
        assert ready["detectors"][0]["threshold"] == 200
        for number in range(3):
            socket.send_bytes(struct.pack("<4sIdB3x2H", b"SNJ1", number, number / 30, 0, 0, 0) + png(30 + number))
            (spot,) = socket.receive_json()["spots"]
            assert (spot["id"], spot["measures"]) == (1, {"spot_width_px": pytest.approx(10)})


def test_a_job(client, tmp_path, monkeypatch):
    shutil.copy(Path(__file__).with_name("spots.py"), tmp_path / "sonjit_test_spots.py")  # for the process of the job
    monkeypatch.syspath_prepend(tmp_path)
    load_extension("sonjit_test_spots")
    job = client.post("/v1/jobs?kind=spots&measures=true", content=png()).json()
    address = f"/v1/jobs/{job['id']}"
    wait_until(lambda: client.get(address).json()["state"] not in ("waiting", "running"))
    job = client.get(address).json()
    assert (job["state"], job["instances"]) == ("done", 1), job["message"]
    (frame,) = client.get(job["downloads"]["json"]).json()["frames"]
    assert frame["spots"][0]["keypoints"][1]["name"] == "right"
    assert "spot_width_px" in client.get(job["downloads"]["csv"]).text
    drawn = cv2.imdecode(np.frombuffer(client.get(job["downloads"]["drawn"]).content, np.uint8), cv2.IMREAD_COLOR)
    assert drawn[25, 35, 2] > 200 > 60 > drawn[25, 35, 0]
