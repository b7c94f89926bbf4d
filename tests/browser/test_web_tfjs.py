"""`web/` in pages and packages for tfjs-models, and in the game of the tutorial."""

from pathlib import Path

import numpy as np
import pytest

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import hosted, open_kit, run
from .web_module import distances, in_python, put_on

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_a_page_of_tfjs(web_page, show, photo):
    """The documented call works. `flipHorizontal` and `staticImageMode` apply to all images, which are stills."""
    config = {"runtime": "tfjs", "modelType": "full", "maxHands": 2, "flipHorizontal": True, "staticImageMode": True}
    found = run(web_page, "return once(kit.SupportedModels.MediaPipeHands, given[1], await pixels(given[0]))",
                show(photo), config)  # fmt: skip
    (hands,) = in_python("hands", [np.ascontiguousarray(photo[:, ::-1])], {"mirrored": True}, "detect")
    expected = [hand.to_dict() for hand in hands]
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        assert ours["handedness"] == theirs["handedness"]
        assert distances([ours], [[[p["x"], p["y"]] for p in theirs["keypoints"]]])[0] < 0.1


SCRIPT_PAGE = """<!doctype html><title>script</title><link rel="icon" href="data:,">
<script src="/web/sonjit-web.global.js"></script>
<script>
(async () => {
  const image = Object.assign(new Image(), {src: "/photo.png"});
  await image.decode();
  const detector = await handPoseDetection.createDetector(handPoseDetection.SupportedModels.MediaPipeHands, {
    runtime: "tfjs", maxHands: 1, scoreThreshold: 0.5,
  });
  const [hand] = await detector.estimateHands(image, {enableSmoothing: true});
  detector.dispose();
  const {left} = poseDetection.util.getKeypointIndexBySide("BlazePose");
  const kits = [faceLandmarksDetection, faceDetection].map(({createDetector}) => typeof createDetector);
  globalThis.found = {hand, left: left.length, kits, leaks: "sonjitExports" in globalThis};
})().catch((error) => { globalThis.found = {error: String(error)}; });
</script>"""


@pytest.mark.nightly
def test_a_page_of_tfjs_that_loads_scripts(browser, site, module, show, photo):
    """The script defines the globals of tfjs-models' packages, which also ignore options of other models."""
    put_on(site, module)
    site.files |= {"/page": ("text/html", SCRIPT_PAGE.encode()), "/photo.png": site.files[show(photo)]}
    browser.expected += ["scoreThreshold", "enableSmoothing"]
    browser.get(f"{site.url}/page")
    found = run(browser, "while (!globalThis.found) await new Promise((next) => setTimeout(next, 50)); return found")
    assert "error" not in found, found
    assert len(found["hand"]["keypoints"]) == 21
    assert found["left"] == 16
    assert found["kits"] == ["function", "function"]
    assert not found["leaks"]


@pytest.mark.nightly
def test_the_module_and_its_files_come_from_another_site(browser, site, module, show, photo):
    """A page has its own copy of the module, or imports it from a CDN that allows all origins, on threads."""
    isolated = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp")]
    for_all = [("Access-Control-Allow-Origin", "*"), ("Cross-Origin-Resource-Policy", "cross-origin")]
    with hosted(isolated) as own, hosted([*isolated, *for_all]) as cdn:
        put_on(cdn, module)
        own.files |= {"/app.js": cdn.files["/web/sonjit-web.js"], "/photo.png": site.files[show(photo)]}
        base, model = f"{cdn.url}/web/", "MediaPipeHands"
        page = open_kit(browser, own, {"copy": "/app.js"})
        copied, direct, threads = run(page, """
            const [path, base, model] = given;
            const image = await pixels(path);
            const copied = await once(model, {base}, image, {staticImageMode: true});
            const direct = await (await import(`${base}sonjit-web.js`)).createDetector(model);
            const found = await direct.estimateHands(image, {staticImageMode: true});
            direct.dispose();
            return [copied, found, crossOriginIsolated];
        """, "photo.png", base, model)  # fmt: skip
    assert threads
    assert copied == direct != []


PROJECT = Path(__file__).parents[2]


@pytest.mark.nightly
def test_apples_are_caught_with_the_index_finger(browser, site, module):
    put_on(site, module)
    site.files["/web/catch.html"] = ("text/html", (PROJECT / "examples" / "catch.html").read_bytes())
    browser.get(f"{site.url}/web/catch.html")
    state = "return document.getElementById('state').textContent"
    wait_until(lambda: browser.execute_script("return game.tips.length > 0"), 30, lambda: browser.execute_script(state))
    drop = """
        game.apples.push(...game.tips.map(({x, y}) => ({x, y: y - 3})));
        return game.score > 0;
    """
    wait_until(lambda: browser.execute_script(drop), 10, lambda: browser.execute_script(state))
    assert " caught, " in browser.execute_script(state)
    browser.get("about:blank")
