"""The folder that `sonjit page` writes, on any web host: the page detects hands itself."""

import http.server
import threading
from functools import partial

import cv2
import numpy as np
import pytest

import sonjit
from sonjit import SonjitError
from sonjit.cli import main
from sonjit.server.pages import BUILT_ENGINE

from .conftest import run
from .driver import Page

pytestmark = [pytest.mark.browser, pytest.mark.slow]

NEEDS = "the module for web pages is not built: make web"


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def host(tmp_path):
    """Host of a written page at `host.url`, until `host.stop()`."""
    if not (BUILT_ENGINE / "sonjit-web.js").is_file():
        pytest.skip(NEEDS)
    assert main(["page", str(tmp_path / "app")]) == 0
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path))
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()

    def stop():
        if thread.is_alive():
            listener.shutdown()
            thread.join()
            listener.server_close()

    listener.url, listener.stop = f"http://127.0.0.1:{listener.server_port}/app/", stop
    yield listener
    stop()


def test_hands_are_found_in_the_page_also_without_the_network(browser, host, demo_clip):
    browser.expected += ["ERR_CONNECTION_REFUSED", "ERR_FAILED"]
    page = Page(browser, host.url)
    page.wait(lambda: browser.execute_script("return crossOriginIsolated"), "threads, which the service worker allows")
    page.wait_until_ready()
    assert not any(page[name].is_displayed() for name in ("docs", "phone", "tasks"))
    assert "browser" in browser.find_element("css selector", ".foot").text
    page.click("source-sample")
    page.wait(lambda: len(page.latest.get("hands", [])) == 2 and page.ink, "two hands", 60)
    assert page.latest["hands"][0]["measures"]["index_curl_rad"] > 0
    page.stop()
    missing = run(browser, """
        await navigator.serviceWorker.ready;
        const kept = await caches.open("sonjit-page");
        const {files} = await (await fetch("files.json")).json();
        const there = await Promise.all(files.map((path) => kept.match(path)));
        return files.filter((_, k) => !there[k]);
    """)  # fmt: skip
    assert missing == []
    host.stop()
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
    try:
        browser.get(host.url)
        page.wait_until_ready()
        page.click("source-camera")
        page.wait(lambda: page.latest.get("hands") and page.ink, "hands before the camera, offline", 60)
        hand = page.latest["hands"][0]
        assert {"keypoints", "keypoints3D", "handedness", "id", "skeleton"} <= hand.keys()
        assert run(browser, "return document.documentElement.scrollWidth - innerWidth") <= 0
        page.stop()
    finally:
        browser.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": False})
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.nightly
def test_the_page_reports_what_it_cannot_do(browser, host):
    browser.expected += ["404"]
    (host.RequestHandlerClass.keywords["directory"] / "app/engine/models/hand_landmark_lite.tflite").unlink()
    page = Page(browser, host.url)
    page.wait(lambda: browser.execute_script("return crossOriginIsolated"), "the second load of the page")
    page.wait_until_ready()
    page.choose("model-hands", "lite")
    page.click("source-sample")
    page.wait_for("error")
    assert "hand_landmark_lite.tflite" in page["message"].text
    page.stop()
    page.choose("model-hands", "full")
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands by the other model", 60)
    page.stop()


@pytest.fixture(scope="module")
def cobweb(tmp_path_factory):
    """Image of a spider web, which the network classifies with certainty."""
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    image = np.full((480, 480, 3), 40, np.uint8)
    for radius in range(20, 400, 20):
        ring = np.round(240 + radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(np.int32)
        cv2.polylines(image, [ring], True, (255, 255, 255), 2)
    for x, y in np.round(240 + 400 * np.stack([np.cos(angles), np.sin(angles)], axis=1)).astype(int).tolist():
        cv2.line(image, (240, 240), (x, y), (255, 255, 255), 2)
    path = tmp_path_factory.mktemp("cobweb") / "cobweb.png"
    cv2.imwrite(str(path), image)
    return path


@pytest.mark.nightly
def test_a_photograph_is_classified_in_the_page(browser, host, images, cobweb):
    try:
        best = sonjit.explain(cobweb, top=2)
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull classifiers")
    page = Page(browser, host.url)
    page.wait_until_ready()
    page.upload("source-file", images / "1.png")
    page.wait(lambda: page["classify"].is_displayed(), "the button")
    page.click("classify")
    page.wait(lambda: "Nothing was recognised with certainty" in page["class-unsure"].text, "why no class is shown", 60)
    assert "50 %" in page["class-unsure"].text
    assert not page["class-map"].is_displayed()
    page.upload("source-file", cobweb)
    page.wait(lambda: not page["class-unsure"].is_displayed(), "the other image")
    page.click("classify")
    page.wait(lambda: page["class-map"].is_displayed(), "the map of the best class", 60)
    (first,) = [button.text for button in page["class-list"].find_elements("tag name", "button")]
    assert first.rpartition(" ")[0] == best[0].name == "spider web"
    assert int(first.rpartition(" ")[2].strip("%")) == pytest.approx(100 * best[0].probability, abs=5)
    ends = [np.unravel_index(k, best[0].values.shape) for k in (best[0].values.argmax(), best[0].values.argmin())]
    opacity = run(browser, """
        const canvas = document.getElementById("class-map");
        const pen = canvas.getContext("2d");
        const at = (side, cell) => Math.floor((side * (cell + 0.5)) / 7);
        return given[0].map(([y, x]) => pen.getImageData(at(canvas.width, x), at(canvas.height, y), 1, 1).data[3]);
    """, [[int(y), int(x)] for y, x in ends])  # fmt: skip
    assert opacity[0] > 2 * opacity[1]
