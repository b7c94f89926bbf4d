"""The live app runs detectors on the server or in the page, with the same settings and results."""

import base64

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.server.app import BUILT_ENGINE

from .conftest import Server, run
from .driver import Page
from .web_module import golden_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]
IN_F32 = """
import sys
from sonjit.cli import main
from sonjit.engines import openvino
openvino.resolve_precision = lambda options, path=None: "f32"
main(sys.argv[1:])
"""


@pytest.fixture(scope="module")
def server(weights, tmp_path_factory):
    """Server that computes in f32 as the page does, also on processors with bf16."""
    server = Server(tmp_path_factory.mktemp("server"), ("-c", IN_F32))
    server.start()
    yield server
    server.close()


@pytest.fixture
def page(browser, server):
    if not (BUILT_ENGINE / "sonjit-web.js").is_file():
        pytest.skip("the module for web pages is not built: make web")
    return Page(browser, server.url)


def found_in(page, least):
    page.wait(lambda: len(page.latest.get("hands", [])) >= least and page.ink, f"{least} hands", 60)
    return page.latest["hands"]


def test_the_page_finds_what_the_server_finds(page, photo, tmp_path):
    """The drawings are equal. Features that require a server are hidden while the page runs the detectors."""
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    page.choose("option-search", "fast")
    page.upload("source-file", tmp_path / "photo.png")
    from_server = found_in(page, 1)
    assert from_server[0]["measures"]
    page.choose("here", "page")
    page.wait(lambda: page.latest.get("hands") and "gesture" not in page.latest["hands"][0], "hands of the page", 60)
    assert "Gestures are off" in page["gestures-now"].get_attribute("textContent")
    found = page.latest["hands"]
    assert [hand["handedness"] for hand in found] == [hand["handedness"] for hand in from_server]
    for ours, theirs in zip(found, from_server, strict=True):
        assert ours["measures"].keys() == theirs["measures"].keys()
        first, second = ([[p["x"], p["y"]] for p in hand["keypoints"]] for hand in (ours, theirs))
        np.testing.assert_allclose(first, second, atol=0.5)
    assert run(page.browser, "return crossOriginIsolated")  # its networks run on several threads
    requests = run(page.browser, "return performance.getEntriesByType('resource').map(({name}) => name)")
    assert any(name.endswith("/engine/sonjit-web.js") for name in requests)
    page.choose("here", "server")
    page.wait(lambda: page.latest.get("hands") and "gesture" in page.latest["hands"][0], "hands of the server", 60)
    page.stop()


@pytest.mark.nightly
@pytest.mark.golden
def test_whole_people_are_found_and_drawn(page, data, golden_frames, tmp_path):
    rgb = next(golden_frames(*golden_of(data, "pose.pose_squats.track.lite"))[1])
    cv2.imwrite(str(tmp_path / "person.png"), rgb[..., ::-1])
    page.choose("here", "page")
    page.tick("detector-hands", on=False)
    page.tick("detector-holistic")
    page.choose("model-holistic", "lite")
    page.upload("source-file", tmp_path / "person.png")
    page.wait(lambda: page.latest.get("people") and page.ink, "a whole person", 60)
    (person,) = page.latest["people"]
    parts = {"body": "body_blazepose33", "face": "face_mediapipe468"}
    parts |= dict.fromkeys(("leftHand", "rightHand"), "hand_mediapipe21")
    assert {name: person[name]["skeleton"] for name in parts} == parts
    for name in parts:
        points = [[point["x"], point["y"]] for point in person[name]["keypoints"][:9]]
        assert any(page.painted_at(points, rgb.shape[1], rgb.shape[0])), name
    page.stop()


def smaller(file, folder):
    """Write an image with a long side of 800 pixels, and return its path."""
    image = cv2.imread(str(file))
    scale = 800 / max(image.shape[:2])
    path = folder / f"{file.stem}.png"
    cv2.imwrite(str(path), cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA))
    return path


HIDDEN = """
    const canvas = document.getElementById("image");
    return canvas.toDataURL("image/png").split(",")[1];
"""


@pytest.mark.nightly
@pytest.mark.golden
@pytest.mark.parametrize("here", ["server", "page"])
def test_people_whom_no_detector_of_the_page_reports_are_hidden_too(page, data, tmp_path, here):
    """The detectors find hands only, so that the search for people finds all faces."""
    file = data / "real" / "wild" / "group-5.jpg"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {data}")
    plain = cv2.imread(str(file))
    if here == "page":
        page.choose("here", here)
    page.choose("style-anonymise", "blur")
    page.upload("source-file", file)
    page.wait(lambda: page.latest.get("covered"), "the boxes of all faces", 300)
    shown = cv2.imdecode(np.frombuffer(base64.b64decode(run(page.browser, HIDDEN)), np.uint8), cv2.IMREAD_COLOR)
    page.choose("style-anonymise", "none")
    with sonjit.create_detector("face", max_instances=50, search="thorough", static_image=True) as detector:
        assert len(detector.detect(plain[..., ::-1])) > 4
        assert len(detector.detect(shown[..., ::-1])) == 0
    changed = (np.abs(shown.astype(int) - plain).max(axis=2) > 12).mean()
    assert 0.005 < changed < 0.6  # the rest of the image stays


@pytest.mark.nightly
@pytest.mark.golden
@pytest.mark.files("real/wild/person-lexi.jpg")
@pytest.mark.parametrize("here", ["server", "page"])
def test_an_image_is_black_while_its_people_are_unknown(page, tmp_path, here, file):
    if here == "page":
        page.choose("here", here)
    page.choose("style-anonymise", "persons")
    page.upload("source-file", smaller(file, tmp_path))
    black = run(page.browser, """
        const canvas = document.getElementById("image");
        for (;;) {
            await new Promise(requestAnimationFrame);
            if (globalThis.sonjitPage.state.latest?.covered) return true;
            const {width, height} = canvas;
            const {data} = width ? canvas.getContext("2d").getImageData(0, 0, width, height) : {data: []};
            if (data.some((value, i) => value && i % 4 < 3)) return false;
        }
    """)  # fmt: skip
    assert black
    assert page.latest["covered"]["people"]
    page.choose("style-anonymise", "none")
