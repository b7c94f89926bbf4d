"""Use of the live app."""

import base64

import cv2
import numpy as np
import pytest
from selenium.webdriver import ActionChains

from .conftest import run
from .driver import EMPTY, Page

pytestmark = pytest.mark.browser


def test_the_camera_is_drawn_over_and_cleared_on_stop(page):
    assert page.ink == 0
    page.start()
    page.wait(lambda: page.ink, "a drawing")
    assert page.browser.find_element("css selector", ".mirror-note").is_displayed()
    hands = page.wait(lambda: page.latest.get("hands"), "hands")
    assert "keypoints" in hands[0]
    page.wait(lambda: page["latency"].text.startswith(tuple("123456789")), "a latency")
    page.wait(lambda: page["fps"].text.replace(".", "").isdigit(), "frames a second")
    page.click("tab-json")
    page.wait(lambda: "hands" in page["json"].text, "the answer as JSON")
    page.stop()
    assert page.ink == 0
    assert page.latest == {}


@pytest.mark.nightly
def test_a_double_click_on_start_does_not_stop(page):
    ActionChains(page.browser).double_click(page["start"]).perform()
    page.wait(lambda: page.ink, "a drawing")
    assert page["stop"].is_displayed()
    page.stop()


def test_a_drawing_is_at_the_position_of_the_hand(shown, photo):
    page, (height, width) = shown, photo.shape[:2]
    points = [(p["x"], p["y"]) for hand in page.latest["hands"] for p in hand["keypoints"]]
    assert all(page.painted_at(points, width, height))
    assert page.ink < 0.5


def on_top(page):
    """Return the topmost element in the middle of the image, and the transform of the image."""
    return run(page.browser, """
        const overlay = document.getElementById("overlay");
        overlay.scrollIntoView({block: "center"});
        const {left, top, width, height} = overlay.getBoundingClientRect();
        const [above] = document.elementsFromPoint(left + width / 2, top + height / 2);
        return [above.id, getComputedStyle(document.getElementById("image")).transform];
    """)  # fmt: skip


def test_mirroring_turns_the_view_and_no_label(shown, photo):
    page, (height, width) = shown, photo.shape[:2]
    labels = [hand["handedness"] for hand in page.latest["hands"]]
    points = [(p["x"], p["y"]) for hand in page.latest["hands"] for p in hand["keypoints"]]
    assert on_top(page) == ["overlay", "none"]
    page.click("mirror")
    assert on_top(page) == ["overlay", "matrix(-1, 0, 0, 1, 0, 0)"]
    page.wait(lambda: all(page.painted_at([(width - x, y) for x, y in points], width, height)), "a turned drawing")
    assert [hand["handedness"] for hand in page.latest["hands"]] == labels


def darkness(page, width, height):
    """Return the opacity (H, W) of the overlay, 0 to 1, in the size of the image."""
    rows = run(page.browser, """
        const [width, height] = given;
        const pen = new OffscreenCanvas(width, height).getContext("2d");
        pen.drawImage(document.getElementById("overlay"), 0, 0, width, height);
        return [...pen.getImageData(0, 0, width, height).data.filter((_, i) => i % 4 === 3)];
    """, width, height)  # fmt: skip
    return np.reshape(rows, (height, width)) / 255


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("kind", ["body", "holistic"])
def test_the_background_can_be_removed_and_restored(shown, photo, kind):
    page, (height, width) = shown, photo.shape[:2]
    page.tick("detector-hands", on=False)
    page.tick(f"detector-{kind}")
    page.choose("option-search", "fast")  # only this search mistakes the hands of the clip for a body
    page.tick("option-segmentation")
    list_ = "people" if kind == "holistic" else "bodies"
    one = page.wait(
        lambda: next(
            (body for each in page.latest.get(list_, []) if "segmentation" in (body := each.get("body", each))), 0
        ),
        "a body with its mask",
    )
    png = base64.b64decode(one["segmentation"]["png"])
    mask = cv2.resize(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), (width, height)) / 255
    dark = darkness(page, width, height)
    nobody = dark[mask == 0]
    assert nobody.size
    assert np.mean(nobody > 0.85) > 0.95
    assert np.median(dark[mask > 0.99]) < 0.2
    page.click("mirror")
    page.wait(lambda: np.mean(darkness(page, width, height)[:, ::-1][mask == 0] > 0.85) > 0.95, "a turned overlay")
    page.click("option-segmentation")
    page.wait(lambda: "segmentation" not in page.latest[list_][0].get("body", page.latest[list_][0]), "no mask")
    assert page.ink < 0.5
    assert "segmentation" not in page.download("download-json", ".json").read_text("utf-8")


def test_a_saliency_map_is_shown_as_heat_with_its_output(shown, photo):
    page, (height, width) = shown, photo.shape[:2]
    before = page.ink
    page.choose("option-explain", "index_finger_tip.x")
    maps = page.wait(lambda: [hand["map"] for hand in page.latest.get("hands", ()) if "map" in hand], "maps")
    assert {one["of"] for one in maps} == {"index_finger_tip.x"}
    page.wait(lambda: page.ink > before, "heat")
    assert page["legend"].is_displayed()
    dark = darkness(page, width, height)
    for box in (one["box"] for one in maps):
        corners = cv2.boxPoints(((box["cx"], box["cy"]), (box["width"], box["height"]), np.degrees(box["rotation"])))
        inner = corners * 0.9 + corners.mean(axis=0) * 0.1
        inside = cv2.fillConvexPoly(np.zeros((height, width), np.uint8), np.round(inner).astype(np.int32), 1) > 0
        assert dark[inside].min() > 0.1
    page.click("mirror")
    page.wait(lambda: (darkness(page, width, height)[:, ::-1][inside] > 0.1).all(), "turned heat")
    page.choose("option-explain", "none")
    page.wait(lambda: all("map" not in hand for hand in page.latest["hands"]), "no map")
    assert not page["legend"].is_displayed()
    assert page.ink == pytest.approx(before, rel=0.1)


def test_the_drawing_is_styled_and_a_link_holds_it(shown):
    page, before = shown, shown.ink
    page.tick("style-boxes")
    with_boxes = page.ink
    assert with_boxes > before
    page.tick("style-points", on=False)
    page.tick("style-labels", on=False)
    assert page.ink < with_boxes
    page.tick("style-drawing", on=False)
    assert page.ink == 0
    page.tick("style-drawing")
    assert page.ink > 0
    page.choose("style-thickness", "3")
    page.choose("style-palette", "single")
    page.choose("style-colour", "#ff0000")
    red, green = run(page.browser, """
        const canvas = document.getElementById("overlay");
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const solid = [...data.keys()].filter((i) => i % 4 === 0 && data[i + 3] > 250 && data[i] > 100);
        return [solid.length, solid.filter((i) => data[i + 1] > data[i]).length];
    """)  # fmt: skip
    assert (red > 1000, green) == (True, 0)
    seen = "return image.getContext('2d').getImageData(0, 0, 99, 99).data.some((value, i) => value && i % 4 < 3)"
    assert run(page.browser, seen)
    page.choose("style-anonymise", "blur")  # black until the people are known
    assert not run(page.browser, seen)
    page.choose("model-hands", "lite")
    page.click("share")
    link = page.browser.current_url
    assert "style.colour=%23ff0000" in link
    page.browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": link.split("/#")[0], "storageTypes": "all"})
    page.browser.get("about:blank")
    page.browser.get(link)
    page.wait_until_ready()
    state, styled = page.state, {"colour": "#ff0000", "thickness": 3, "boxes": True, "anonymise": "blur"}
    switched = {
        "points": False,
        "labels": False,
        "gestures": False,
        "drawing": True,
        "errors": False,
        "background": "image",
    }
    assert (styled | switched).items() <= state["style"].items()
    assert state["detectors"]["hands"]["model"] == "lite"
    assert not state["started"]


@pytest.mark.nightly
def test_images_are_scaled_before_they_are_sent(shown, images):
    own = shown.latest["width"]
    shown.choose("longest", "320")
    shown.upload("source-file", images / "1.png")
    shown.wait(lambda: shown.latest.get("width") == 320 and shown.latest["hands"], "hands in a small image")
    assert own > 320
    assert max(point["x"] for hand in shown.latest["hands"] for point in hand["keypoints"]) < 320
    shown.click("share")
    assert "longest=320" in shown.browser.current_url
    shown.choose("longest", "0")


def test_frames_are_scaled_kept_for_a_while_and_null_where_there_are_none(page):
    found = run(page.browser, """
        const {Frames} = await import("/frames.js");
        const canvas = new OffscreenCanvas(640, 480);
        const pen = canvas.getContext("2d");
        pen.fillStyle = "#f00";
        pen.fillRect(0, 0, 640, 480);
        const sizes = [];
        for (const how of [{}, {longest: 320}, {width: 64}, {height: 48}, {width: 10, height: 20}, {longest: 9000}]) {
            const {width, height} = await new Frames(canvas, {...how, format: "imagedata"}).take();
            sizes.push([width, height]);
        }
        const kept = new Frames(canvas, {format: "imagedata", keep_ms: 150});
        const first = await kept.take();
        pen.clearRect(0, 0, 640, 480);
        const again = await kept.take();
        await new Promise((next) => setTimeout(next, 200));
        const later = await kept.take();
        const files = ["jpeg", "png"].map((format) => new Frames(canvas, {format}).take());
        const types = (await Promise.all(files)).map(({type}) => type);
        const none = await Promise.all([document.createElement("video"), new Image(), new OffscreenCanvas(0, 0)]
            .map((source) => new Frames(source, {longest: 320}).take()));
        const refused = [{longest: -1}, {format: "bmp"}, {size: 2}, {keep_ms: NaN}].map((how) => {
            try { new Frames(canvas, how); return null; } catch (error) { return error.message; }
        });
        return [sizes, again === first, first.data[0], later.data[0], types, none, refused];
    """)  # fmt: skip
    sizes, is_kept, before, after, types, none, refused = found
    assert sizes == [[640, 480], [320, 240], [64, 48], [64, 48], [10, 20], [640, 480]]
    assert (is_kept, before, after) == (True, 255, 0)
    assert types == ["image/jpeg", "image/png"]
    assert none == [None, None, None]
    parts = ("longest -1", "known: canvas", "known: width", "keep_ms NaN")
    assert all(part in said for part, said in zip(parts, refused, strict=True))


def test_a_stream_shows_that_the_maximum_limits_it(page):
    page.choose("max-hands", "1")
    page.click("source-sample")
    page.wait(page["transport"].is_displayed, "the timeline")
    page.choose("position", "3.4")  # both hands are visible
    page.wait(lambda: page["status"].text == "1 of at least 2 shown", "the number of hands")
    page.choose("max-hands", "2")
    page.wait(lambda: page["status"].text == "Running", "both hands")


def test_where_nothing_is_found_the_last_drawing_goes(shown, images):
    shown.wait(lambda: shown.ink, "a drawing")
    shown.upload("source-file", images / "2.png")
    shown.wait(lambda: shown.latest.get("hands") == [], "an answer without hands")
    assert shown.ink == 0
    assert shown.status == "running"


@pytest.mark.nightly
def test_detectors_change_while_it_runs_and_all_are_cleared(page):
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands")
    for kind in ("face", "body"):
        page.tick(f"detector-{kind}")
    page.wait(lambda: {"hands", "faces", "bodies"} <= page.latest.keys(), "three kinds at once")
    page.tick("detector-hands", on=False)
    page.wait(lambda: page.latest and "hands" not in page.latest, "an answer without hands")
    page.tick("detector-hands")
    page.choose("model-hands", "lite")
    page.choose("max-hands", "1")
    page.wait(lambda: len(page.latest.get("hands", ())) == 1, "one hand")
    page.wait(lambda: page.ink, "a drawing")
    page.stop()
    assert page.ink == 0


def test_measures_are_in_a_table_and_a_plot_and_two_models_are_compared(page):
    page.choose("compare", "hands:lite")
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.wait(lambda: "Index finger curl" in page["live-table"].text, "a table")
    certainty = next(line for line in page["live-table"].text.splitlines() if line.startswith("Certainty"))
    assert 0 < float(certainty.split()[-1]) <= 1
    page.wait(lambda: page.state["latestRival"], "an answer of the other model")
    page.wait(lambda: "Lite" in page["rival-pane-name"].text and "Full" in page["pane-name"].text, "their names")
    assert run(page.browser, EMPTY, "rival-image") == 1
    page.click("tab-plot")
    page.choose("plot-measure", "index_curl_rad")
    page.wait(lambda: int(page["plot"].get_attribute("data-points") or 0) > 5, "a plot")
    assert "hand #" in page["plot-legend"].text
    page.tick("count")
    page.wait(lambda: "hand #" in page["counts"].text, "a count")
    page.choose("compare", "")
    page.wait(lambda: not page["rival-stage"].is_displayed(), "one image again")


def test_the_hands_in_space_turn_with_the_arrow_keys(page, images):
    def look():
        return page.browser.execute_script("return document.getElementById('view3d').toDataURL()")

    empty = look()
    page.upload("source-file", images / "1.png")
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.browser.execute_script("arguments[0].scrollIntoView()", page["view3d"])  # it is drawn only while visible
    page.wait(lambda: look() != empty, "hands in space")
    before = page.wait(lambda: (one := look()) == look() and one, "hands at rest")
    page["view3d"].send_keys("\ue014")
    page.wait(lambda: look() != before, "turned hands")


def test_the_address_for_a_phone_is_shown_and_the_page_opens_as_an_app_without_its_server(page, browser, new_server):
    page.click("phone")
    page.wait(lambda: "--host 0.0.0.0" in page["phone-dialog"].text, "the note on --host")
    browser.find_element("css selector", "#phone-dialog .close").click()
    server = new_server("--host", "0.0.0.0", "--token", "secret")
    browser.expected += ["ERR_CONNECTION_REFUSED", "ERR_FAILED", "WebSocket connection"]
    other = Page(browser, f"{server.url}/#token=secret")
    other.click("phone")
    other.wait(other["phone-dialog"].is_displayed, "the dialog")
    code = browser.find_element("css selector", "#phone-addresses img")
    address = browser.find_element("css selector", "#phone-addresses a").text
    assert address.endswith(f":{server.port}/#token=secret")
    assert "--tls" in other["phone-words"].text
    other.wait(lambda: code.get_property("complete"), "the code")
    seen = cv2.imdecode(np.frombuffer(code.screenshot_as_png, np.uint8), cv2.IMREAD_COLOR)
    sizes = [cv2.resize(seen, None, fx=scale, fy=scale) for scale in (1, 1.5, 2, 3)]  # OpenCV misses some codes
    assert address in [cv2.QRCodeDetector().detectAndDecode(image)[0] for image in sizes]
    missing, manifest, secrets = run(browser, """
        await navigator.serviceWorker.ready;
        const kept = await caches.open("sonjit-page");
        const list = (await (await fetch("files.json")).json()).files;
        const missing = [];
        for (const path of list) if (!await kept.match(path)) missing.push(path);
        const address = document.querySelector("link[rel=manifest]").href;
        const secrets = (await kept.keys()).filter(({url}) => url.includes("secret"));
        return [missing, await (await fetch(address)).json(), secrets];
    """)  # fmt: skip
    assert missing == secrets == []
    assert manifest["start_url"] == "./#token=secret"
    assert manifest["display"] == "standalone"
    server.stop()
    browser.get(f"{server.url}/#token=secret")
    other.wait_until_ready()
    assert other["message"].get_attribute("data-code") == "gone"
    assert other["start"].is_displayed()


def test_the_page_of_the_endpoints_documents_and_draws_their_answers(page, server, images):
    page.browser.get(f"{server.url}/docs")
    page.wait_until_ready()
    page["image"].send_keys(str(images / "1.png"))
    page.browser.find_element("css selector", "#try button").click()
    page.wait(lambda: "handedness" in page["answer"].text and page["drawn"].is_displayed(), "an answer and its drawing")
    shapes = page.browser.execute_script(
        "return [...document.querySelectorAll('#endpoints pre')].map(({textContent}) => textContent)"
    )
    assert any('"handedness": "Left" | "Right"' in shape for shape in shapes)
    assert any('"downloads"' in shape for shape in shapes)
    page.browser.get(server.url)
    page.wait_until_ready()


@pytest.mark.nightly
def test_a_phone_shows_the_names_of_all_pages_and_the_avatar_does_not_move_when_it_starts(page):
    size = {"width": 375, "height": 812, "deviceScaleFactor": 1, "mobile": False}
    page.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    space = "return document.getElementById('menu').getBoundingClientRect().left - {}.getBoundingClientRect().right"
    try:
        for language in ("ko", "en"):
            page.choose("language", language)
            page.wait(lambda of=language: run(page.browser, "return document.documentElement.lang") == of, language)
            room = page.browser.execute_script(space.format("document.getElementById('task-avatar')"))
            assert room >= 0, language
    finally:
        page.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    page.click("task-avatar")
    before = page["stage"].size["height"]
    page.click("source-sample")
    page.wait(lambda: page["video"].get_attribute("videoWidth") not in (None, "0"), "the sample")
    page.wait(lambda: "/" in page["stage"].get_attribute("style"), "the shape of the sample")
    assert page["stage"].size["height"] == before
