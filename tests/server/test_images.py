"""`POST /v1/{kind}`: results of `create_detector`, and one line for everything that is not an image."""

import json
from itertools import product
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sonjit
from sonjit.detectors.kinds import KINDS
from sonjit.media.result_exports import Results
from sonjit.server import errors, images
from sonjit.server.options import SessionOptions, known_options, read_options

from .conftest import jpeg_of, png_of, refusal


@pytest.mark.slow
def test_an_endpoint_gives_what_a_detector_gives(all_weights, ask, photo):
    client, data = ask(), jpeg_of(photo)
    for kind in KINDS:
        answer = client.post(f"/v1/{kind}", content=data, params={"max_instances": 2}).json()
        assert (answer["height"], answer["width"]) == photo.shape[:2]
        assert answer["model"] == f"{kind}-{next(iter(KINDS[kind].models))}"
        with sonjit.create_detector(kind, max_instances=2, static_image=True, smoothing=None) as detector:
            expected = [result.to_dict() for result in detector.detect(data)]
        assert answer[KINDS[kind].list_name] == json.loads(json.dumps(expected))
        assert expected or kind != "hands"


@pytest.mark.slow
def test_an_image_as_body_or_form_gives_the_same_result_and_full_adds_fields(weights, ask, photo):
    client, data = ask(), jpeg_of(photo)
    one = client.post("/v1/hands", content=data).json()
    assert client.post("/v1/hands", files={"file": ("a.jpg", data)}).json() == one
    full = client.post("/v1/hands?full=true&model=full", content=data).json()
    assert set(full["hands"][0]) - set(one["hands"][0]) == {"id", "box", "handednessScore", "skeleton"}
    measured = client.post("/v1/hands?measures=true", content=data).json()["hands"][0]
    assert set(measured["gesture"]) == {"name", "score"}
    hand = client.post("/v1/hands?gestures=canned", content=data).json()["hands"][0]
    assert hand == one["hands"][0] | {"gesture": measured["gesture"]}
    assert all(value is None or isinstance(value, float) for value in measured["measures"].values())
    refined = client.post("/v1/hands?keypoints=refined", content=data).json()["hands"][0]
    assert all({"z", "errorPx"} <= set(point) for point in refined["keypoints"])
    far = client.post("/v1/hands?distance=true", content=data).json()["hands"][0]
    assert 0 < far["distanceErrorM"] < far["distanceM"]


def test_requests_can_name_only_gestures_that_sonjit_contains():
    for kind in ("hands", "holistic"):
        option = known_options(kind)["gestures"]
        assert (option.default, option.choices) == ("none", ("none", "canned", "asl"))
        for path in ("/etc/passwd", "../mine.npz", "mine.npz"):
            with pytest.raises(errors.RefusedError, match=r"give one of none, canned, asl"):
                read_options(kind, {"gestures": path})
    given = [{}, {"gestures": "none"}, {"gestures": "asl"}, {"measures": True}, {"measures": True, "gestures": "asl"}]
    sessions = [SessionOptions.from_values("hands", read_options("hands", one), still=False) for one in given]
    assert [session.gestures for session in sessions] == [None, None, "asl", "canned", "asl"]
    assert [session.to_dict()["gestures"] for session in sessions] == ["none", "none", "asl", "none", "asl"]
    assert len({session.key for session in sessions}) == 1  # one detector serves them all


@pytest.mark.parametrize("still", [False, True])
@pytest.mark.parametrize("gestures", ["none", "canned"])
def test_only_streams_with_gestures_have_motions(gestures, still):
    options = SessionOptions.from_values("hands", read_options("hands", {"gestures": gestures}), still=still)
    given = []
    detector = SimpleNamespace(
        kind="hands",
        detect=lambda rgb, **_: Results([], rgb, total=0),
        set_gestures=given.append,
    )
    client = images.ClientDetector(options, detector)
    client.answer(np.zeros((20, 30, 3), np.uint8), None if still else 0.5)
    assert given == [options.gestures]
    assert client.motions == ([] if gestures == "canned" and not still else None)


@pytest.mark.parametrize(
    "query",
    ["model=huge", "max_instances=0", "max_instances=51", "max_instances=2.5", "static_image=often", "smoothing=",
     "min_presence_score=nan", "min_detection_score=-1", "search_interval=0", "colour=red", "kind=face",
     "model=full&model=lite", "measures=2", "full=maybe", "max_instances=" + "9" * 5000, "segmentation=true"],
)  # fmt: skip
@pytest.mark.slow
def test_wrong_options_are_reported_with_the_known_ones(query, weights, ask, photo):
    message = refusal(ask().post(f"/v1/hands?{query}", content=jpeg_of(photo)), 400, "bad_option")
    assert query.partition("=")[0].strip("&") in message
    assert len(message) < 300


def test_every_option_is_described(ask):
    described = ask().get("/openapi.json").json()["paths"]
    for kind, entry in KINDS.items():
        parameters = {
            parameter["name"]: parameter["schema"] for parameter in described[f"/v1/{kind}"]["post"]["parameters"]
        }
        assert set(parameters) == {*known_options(kind), "full"}
        assert parameters["model"]["enum"] == list(entry.models)


def misfits(value, schema, models, at=""):
    """Return the paths at which a JSON value differs from its schema or has unknown members."""
    schema = models[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "anyOf" in schema:
        return [] if value is None else misfits(value, schema["anyOf"][0], models, at)
    known = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    if not isinstance(value, known[schema["type"]]):
        return [f"{at}: {value!r:.40} is not {schema['type']}"]
    if isinstance(value, list):
        return [line for one in value for line in misfits(one, schema["items"], models, f"{at}[]")]
    if not isinstance(value, dict) or "properties" not in schema:
        return []
    lines = [f"{at}.{name} is missing" for name in schema.get("required", ()) if name not in value]
    for name, one in value.items():
        part = schema["properties"].get(name)
        lines += [f"{at}.{name} is not described"] if part is None else misfits(one, part, models, f"{at}.{name}")
    return lines


@pytest.mark.slow
def test_answers_match_their_schemas(ask, photo, all_weights):
    client = ask()
    described = client.get("/openapi.json").json()
    models, paths = described["components"]["schemas"], described["paths"]
    for kind, query in product(KINDS, ("", "full=true&measures=true")):
        own = paths[f"/v1/{kind}"]["post"]["responses"]
        schemas = {status: own[status]["content"]["application/json"]["schema"] for status in ("200", "4XX")}
        extra = "&min_detection_score=0.05&search=fast" if kind != "hands" else ""
        answer = client.post(f"/v1/{kind}?{query}{extra}", content=jpeg_of(photo)).json()
        assert misfits(answer, schemas["200"], models) == []
        if kind in ("hands", "body"):
            assert answer[KINDS[kind].list_name]
        assert misfits(client.post(f"/v1/{kind}", content=b"x").json(), schemas["4XX"], models) == []


def test_an_image_of_too_many_pixels_is_refused(weights, ask):
    bomb = png_of(60_000, 60_000)
    assert len(bomb) < 100
    message = refusal(ask().post("/v1/hands", content=bomb), 413, "too_many_pixels")
    assert "60000 x 60000" in message


def test_invalid_image_is_reported(weights, ask):
    client = ask()
    long = jpeg_of(np.zeros((1, 40_000, 3), np.uint8))
    for data in (b"", b"text of no image", bytes(5000), b"\xff\xd8\xff", png_of(10, 10), b"GIF89a" + bytes(40), long):
        refusal(client.post("/v1/hands", content=data), 422, "bad_image")


def test_forms_without_a_file_or_broken_are_reported(weights, ask):
    client = ask()
    form = {"content-type": "multipart/form-data; boundary=x"}
    empty = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n--x--\r\n'
    refusal(client.post("/v1/hands", content=empty, headers=form), 422, "bad_image")
    refusal(client.post("/v1/hands", content=b"nothing", headers=form), 422, "bad_image")
    refusal(client.post("/v1/hands", content=b"", headers={"content-type": "multipart/form-data"}), 422, "bad_image")


@given(st.data())
@pytest.mark.slow
def test_damaged_images_are_images_or_refused(decoders, data):
    image = np.random.default_rng(3).integers(0, 255, (24, 40, 3), np.uint8)
    ending = data.draw(st.sampled_from([".jpg", ".png", ".webp", ".bmp"]))
    bytes_ = bytearray(cv2.imencode(ending, image)[1].tobytes())
    for place in data.draw(st.lists(st.integers(0, len(bytes_) - 1), max_size=4)):
        bytes_[place] ^= data.draw(st.integers(1, 255))
    del bytes_[data.draw(st.integers(0, len(bytes_))) :]
    try:
        rgb = images.decode_upload(bytes(bytes_), 10_000, decoders)
    except errors.RefusedError as error:
        rgb, code = np.zeros((1, 1, 3)), error.code
    else:
        code = "bad_image"
    assert code in ("bad_image", "too_many_pixels")
    assert rgb.shape[0] * rgb.shape[1] <= 10_000


def test_missing_weights_are_reported_with_the_command(ask, photo, monkeypatch, tmp_path):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    client = ask()
    message = refusal(client.post("/v1/hands", content=jpeg_of(photo)), 503, "missing_weights")
    assert "sonjit models pull hands" in message
    health = client.get("/healthz").json()
    assert sorted(health["missing"]) == sorted(f"{kind}-{model}" for kind in KINDS for model in KINDS[kind].models)


def test_bodies_of_all_clients_together_are_bounded(ask):
    client = ask(max_clients=2, max_body_mb=0.001)
    service = client.app.state.service
    service.body_bytes = 2000 - 600  # of other requests
    refusal(client.post("/v1/hands", content=bytes(601)), 503, "busy")
    refusal(client.post("/v1/hands", content=iter([bytes(400), bytes(400)])), 503, "busy")
    assert service.body_bytes == 1400
    refusal(client.post("/v1/hands", content=bytes(600)), 422, "bad_image")
    assert service.body_bytes == 1400


def test_bodies_beyond_the_limit_are_refused(weights, ask, photo):
    client = ask(max_body_mb=0.001)
    refusal(client.post("/v1/hands", content=jpeg_of(photo)), 413, "too_large")
    refusal(client.post("/v1/hands", content=iter([bytes(600), bytes(600)])), 413, "too_large")
    refusal(client.post("/v1/hands", files={"file": bytes(2000)}), 413, "too_large")
    assert client.app.state.service.body_bytes == 0
