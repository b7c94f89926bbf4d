"""Custom gestures and maps of clients: trained, tested and checked as on the command line, and not stored."""

import base64
import io
import json
import tracemalloc
import zipfile

import numpy as np
import pytest

from sonjit.gestures import LearnedGestures
from sonjit.gestures.classifier import FEATURES
from sonjit.results import Hand
from sonjit.server import errors, gestures

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
    assert (trained["names"], trained["examples"]) == (["claw", "beak"], [12, 12])
    assert LearnedGestures.load(tmp_path / "mine.npz").names == ("claw", "beak")
    tested = client.post("/v1/gestures/test", content=given).json()
    assert tested == {"tables": [{"names": ["claw", "beak"], "counts": [[12, 0, 0], [0, 12, 0]]}]}


def beckoning(seed, times=3):
    """Return stream results of a hand that moves up and down with rests."""
    one = next(hands(seed)) | {"id": 0}
    points = np.array([[each[axis] for axis in "xyz"] for each in one["keypoints"]])
    length = np.ptp(points[:, :2])
    for index in range(20 * times):
        up = length * np.sin(np.pi * min(index % 20, 10) / 5) ** 2
        moved = [each | {"y": each["y"] - up} for each in one["keypoints"]]
        yield {"time": index / 20, "hands": [one | {"keypoints": moved}]}


def test_motions_are_trained_and_tested(client, tmp_path):
    moving = [{"name": "beckon", "frames": list(beckoning(seed))} for seed in (1, 1)]
    given = json.dumps({"recordings": moving + recordings("claw", "claw")["recordings"]})
    trained = client.post("/v1/gestures/train", content=given).json()
    assert (trained["names"], trained["examples"]) == (["claw", "beckon"], [12, 6])
    (tmp_path / "mine.npz").write_bytes(base64.b64decode(trained["file"]))
    assert LearnedGestures.load(tmp_path / "mine.npz").motions.names == ("beckon",)
    tested = client.post("/v1/gestures/test", content=given).json()["tables"]
    assert tested == [{"names": ["claw"], "counts": [[12, 0]]}, {"names": ["beckon"], "counts": [[6, 0]]}]
    long = {"recordings": [{"name": "long", "frames": [{}] * 601}]}
    refused = client.post("/v1/gestures/train", content=json.dumps(long)).json()["error"]
    assert refused["message"] == "long: 601 frames: give at most 600"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("[", "no recordings"),
        ("{}", "no recordings"),
        ('{"recordings": []}', "no gesture to learn"),
        (json.dumps(recordings("claw")).replace('"Left"', '"Up"', 1), "no recordings (ValueError('handedness')"),
        ('{"recordings": [{"name": "a", "hands": []}]}', "a: no hand found"),
        ('{"recordings": [{"name": "", "hands": []}]}', "1 to 40 letters"),
        ('{"recordings": [{"name": "a", "hands": [{"keypoints": [], "keypoints3D": []}]}]}', "no recordings"),
        (json.dumps({"recordings": [{"name": "a", "hands": [0] * 201}]}), "a: 201 hands: give at most 200"),
        (json.dumps({"recordings": [{}] * 65}), "65 recordings: give at most 64"),
        ('{"recordings": [{"name": "a", "frames": []}]}', "a: no hand moves"),
        ('{"recordings": [{"name": "a", "frames": [{"time": 1}]}]}', "no recordings"),
        (f'{{"recordings": [{{"name": "a", "frames": [{{"time": 1{400 * "0"}}}]}}]}}', "no recordings"),
        ('{"recordings": [{"name": "a", "frames": [{"time": 1, "hands": [{"id": 1e999}]}]}]}', "no recordings"),
    ],
)
def test_invalid_recording_is_refused(client, body, message):
    refused = client.post("/v1/gestures/train", content=body)
    assert refused.status_code in (400, 413)
    assert message in refused.json()["error"]["message"]
    only = client.post("/v1/gestures/test", content=json.dumps(recordings("claw")))
    assert "claw has only one recording" in only.json()["error"]["message"]


def test_maps_are_checked(client):
    known = client.get("/v1/control").json()
    assert {"Swipe_Left", "Clap"} <= {*known["motions"]}
    assert known["measures"][:2] == ["x", "y"]
    assert client.post("/v1/control", content='[[rule]]\non = "Clap"\nkey = "right"').json() == {
        "rules": 1,
        "pause": None,
    }
    custom = 'pause = "tick"\n[[rule]]\non = "my claw"\nkey = "right"'
    checked = client.post("/v1/control", params={"gesture": ["my claw", "tick"]}, content=custom)
    assert checked.json() == {"rules": 1, "pause": "tick"}
    unknown = client.post("/v1/control", params={"gesture": "my claw"}, content=custom).json()
    assert "pause = 'tick'" in unknown["error"]["message"]
    assert client.post("/v1/control", params={"gesture": "a" * 41}, content=custom).status_code == 400
    refused = client.post("/v1/control", content='[[rule]]\non = "Clap"\nkey = 3').json()
    assert "the map, rule 1: key = 3" in refused["error"]["message"]
    huge = f'[[rule]]\nmeasure = "x"\nto = [0, 1{400 * "0"}]\nosc = "127.0.0.1:9/x"'
    refused = client.post("/v1/control", content=huge).json()
    assert refused["error"]["message"] == "the map, rule 1: to: give 2 numbers, as in [0, 1]"


def test_a_stream_reports_the_commands_of_a_map(weights, listen, frames):
    """Check tracked hands, also after a clip restarts."""
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


def file_of(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return base64.b64encode(file.getvalue()).decode()


def test_a_stream_uses_only_its_own_gestures(weights, listen, frames):
    """Check that gestures of a client file may occur in a map, and do not affect the next stream of the detector."""
    server = listen()
    with open_stream(server) as socket:
        configure(socket, LITE)
        seen = answer(socket, 0, frames[0])["hands"][0]
        learned = LearnedGestures.learn(
            gestures.read_recordings(json.dumps({"recordings": [{"name": "claw", "hands": [seen] * 3}]}))
        )
        file, rule = base64.b64encode(learned.to_bytes()).decode(), '[[rule]]\non = "claw"\nosc = "127.0.0.1:9/x"'
        configure(socket, LITE, gestures_file=file, control=rule)
        got = [answer(socket, number, frames[0], time=number / 10) for number in range(1, 9)]
        assert got[-1]["hands"][0]["gesture"]["name"] == "claw"
        assert [command["name"] for answered in got for command in answered["commands"]][:1] == ["claw"]
    with open_stream(server) as socket:
        assert len(configure(socket, LITE)) == 1  # the same detector
        assert "gesture" not in answer(socket, 0, frames[0])["hands"][0]
        configure(socket, LITE, measures=True)
        named = [answer(socket, number, frames[0], time=number / 10)["hands"][0]["gesture"] for number in range(1, 9)]
        assert "claw" not in [one and one["name"] for one in named]


STEPS = {"motion_lengths": np.full(300, 60), "motion_of": np.zeros(300, int), "motion_reaches": np.ones(1)}


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (3, "in base64"),
        ("é", "contains no gestures"),
        ("aGFuZHM=", "damaged or no .npz file"),
        ("aGFu ZHM=", "contains no gestures"),
        ("a" * 1_333_338, "more than 1000000 bytes"),
        ("a" * 1_333_332, "damaged or no .npz file"),
        (file_of(means=np.zeros((2_000, 1_000))), "has 16000"),
        (file_of(names=np.array([{}], object)), "damaged or no .npz file"),
        (file_of(names=np.array(["a"]), means=np.array([["b"] * 9]), reaches=np.ones(1)), "for another version"),
        (
            file_of(motion_names=["a"], motion_steps=np.zeros((18_000, 24), np.float16), **STEPS),
            "300 motions of up to 60",
        ),
    ],
)
def test_a_file_of_gestures_is_bounded_and_read_without_pickles(file, message):
    with pytest.raises(errors.RefusedError) as caught:
        gestures.read_gestures(file)
    assert message in str(caught.value)


def layers(**changed):
    """Return the arrays of a file with a classifier of small integers, which has one pose of one shape."""
    sizes, arrays = (FEATURES, 1, 1, 1), {"shape": np.zeros(1, np.uint8)}
    for item in range(3):
        arrays |= {f"weights_{item}": np.zeros(sizes[item : item + 2], np.uint8), f"bias_{item}": np.zeros(1, np.uint8)}
    return arrays | {"vocabulary": np.array('{"shapes": ["None"], "directions": {}}')} | changed


def file_of_empty_names(count):
    """Return a file of names of no characters, which have no bytes."""
    file, head = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<U0", "fortran_order": False, "shape": (count,)})
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("names.npy", head.getvalue())
        archive.writestr("means.npy", head.getvalue())
    return base64.b64encode(file.getvalue()).decode()


HUGE = 2**63 - 1
LARGE_FILES = {
    "shapes": file_of(
        **layers(
            vocabulary=np.array(json.dumps({"shapes": ["a"] * 2_000, "directions": {}})),
            shape=np.zeros(4_000, np.uint8),
            weights_2=np.zeros((1, 4_000), np.uint8),
            bias_2=np.zeros(4_000, np.uint8),
        )
    ),
    "biases": file_of(
        **layers(
            bias_0=np.zeros((4_000, 1), np.uint8),
            weights_1=np.zeros((1, 1_500), np.uint8),
            bias_1=np.zeros(1_500, np.uint8),
            weights_2=np.zeros((1_500, 1), np.uint8),
        )
    ),
    "names": file_of_empty_names(3_000_000),
    "motions": file_of(  # the sum of the lengths overflows back to the number of steps, again and again
        motion_names=["a"],
        motion_steps=np.zeros((1_000, 24), np.float16),
        motion_lengths=np.array([1_000, *(HUGE, HUGE, 2) * 600]),
        motion_of=np.zeros(1_801, int),
        motion_reaches=np.ones(1),
    ),
}


@pytest.mark.parametrize("name", LARGE_FILES)
def test_a_small_file_of_gestures_takes_no_more_memory_than_its_arrays(name):
    gestures.read_gestures(file_of(**layers()))
    tracemalloc.start()
    try:
        with pytest.raises(errors.RefusedError, match="gestures_file"):
            gestures.read_gestures(LARGE_FILES[name])
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [20, 21, 22])
@pytest.mark.parametrize("value", [0.5, 1e39, float("nan")])
def test_a_recorded_hand_has_21_finite_keypoints_of_each_kind(count, value):
    one = next(hands(1))
    for name in ("keypoints", "keypoints3D"):
        points = [*one[name], one[name][0]][:count]
        points[3] = points[3] | {"y": value}
        body = json.dumps({"recordings": [{"name": "claw", "hands": [one | {name: points}]}]})
        if (count, value) == (21, 0.5):
            assert len(gestures.read_recordings(body)) == 1
        else:
            with pytest.raises(errors.RefusedError, match=r"no recordings .*keypoints"):
                gestures.read_recordings(body)


@pytest.mark.parametrize("body", ["", "[]", "{}", '{"recordings": 3}', '{"recordings": [3]}', "[" * 100_000])
def test_another_text_is_no_recording(body):
    with pytest.raises(errors.RefusedError, match="no recordings") as caught:
        gestures.read_recordings(body)
    assert caught.value.code == "bad_option"


def test_a_map_may_name_two_hundred_gestures(client):
    names, rule = [f"g{number}" for number in range(199)], '[[rule]]\non = "g7"\nkey = "right"'
    for last, status in ((["fine", ""], 200), (["", "fine"], 400)):
        assert client.post("/v1/control", params={"gesture": names + last}, content=rule).status_code == status
    answer = client.post("/v1/control", content=b"\xff")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_option")
