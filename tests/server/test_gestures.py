"""Custom gestures and maps of clients: trained, tested and checked as the command line does, and nothing is kept."""

import base64
import json

import numpy as np
import pytest

from sonjit.gestures import LearnedGestures
from sonjit.results import Hand

from .conftest import LITE, answer, configure, open_stream


@pytest.fixture
def client(ask):
    return ask()


def hands(seed, count=6):
    rng, noise = np.random.default_rng(seed), np.random.default_rng(9)
    base = rng.normal(size=(2, 21, 3))
    for _ in range(count):
        points = (base + noise.normal(scale=0.01, size=base.shape)).astype(np.float32)
        one = Hand("Left", 1.0, *points).to_dict(full=True)
        yield {name: one[name] for name in ("handedness", "keypoints", "keypoints3D")}


def recordings(*names):
    return {"recordings": [{"name": name, "hands": list(hands(ord(name[0])))} for name in names]}


def test_recordings_are_trained_and_tested(client, tmp_path):
    given = json.dumps(recordings("claw", "beak", "claw", "beak"))
    trained = client.post("/v1/gestures/train", content=given).json()
    (tmp_path / "mine.npz").write_bytes(base64.b64decode(trained["file"]))
    assert trained["names"] == ["claw", "beak"]
    assert LearnedGestures.load(tmp_path / "mine.npz").names == ("claw", "beak")
    tested = client.post("/v1/gestures/test", content=given).json()
    assert tested == {"names": ["claw", "beak"], "counts": [[12, 0, 0], [0, 12, 0]]}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("[", "no recordings"),
        ("{}", "no recordings"),
        ('{"recordings": []}', "no gesture to learn"),
        (json.dumps(recordings("claw")).replace('"Left"', '"Up"', 1), "no recordings (ValueError('handedness')"),
        ('{"recordings": [{"name": "a", "hands": []}]}', "a: no hand to learn from"),
        ('{"recordings": [{"name": "", "hands": []}]}', "1 to 40 characters"),
        ('{"recordings": [{"name": "a", "hands": [{"keypoints": [], "keypoints3D": []}]}]}', "no recordings"),
        (json.dumps({"recordings": [{"name": "a", "hands": [0] * 201}]}), "at most 64 recordings of 200 hands"),
    ],
)
def test_what_is_no_recording_is_refused(client, body, said):
    refused = client.post("/v1/gestures/train", content=body)
    assert refused.status_code in (400, 413)
    assert said in refused.json()["error"]["message"]
    only = client.post("/v1/gestures/test", content=json.dumps(recordings("claw")))
    assert "claw has but one recording" in only.json()["error"]["message"]


def test_maps_are_checked(client):
    known = client.get("/v1/control").json()
    assert {"Swipe_Left", "Clap"} <= {*known["motions"]}
    assert known["measures"][:2] == ["x", "y"]
    assert client.post("/v1/control", content='[[rule]]\non = "Clap"\nkey = "right"').json() == {
        "rules": 1,
        "pause": None,
    }
    refused = client.post("/v1/control", content='[[rule]]\non = "Clap"\nkey = 3').json()
    assert "the map, rule 1: key = 3" in refused["error"]["message"]


def test_a_stream_tells_what_a_map_would_send(weights, listen, frames):
    """Of hands that are tracked, also where a clip begins anew."""
    with open_stream(listen()) as socket:
        rule = '[[rule]]\nmeasure = "x"\nosc = "127.0.0.1:9/x"'
        configure(socket, LITE, control=rule)
        for number, time in enumerate((0.5, 0.1)):
            (command,) = answer(socket, number, frames[0], time=time)["commands"]
            assert (command["osc"], command["measure"]) == ("127.0.0.1:9/x", "x")
            assert 0 < command["value"] < 1
        assert answer(socket, 2, frames[0], time=float("nan"))["commands"] == []
        assert "rule 1: unknown key 'hue'" in configure(socket, LITE, control="[[rule]]\nhue = 1")[-1]["message"]
        configure(socket, LITE)
        assert "commands" not in answer(socket, 3, frames[0], time=0.7)
