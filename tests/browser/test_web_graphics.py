"""`web/` on a graphics card, which Chromium's software adapter replaces."""

import pytest

from .conftest import hosted, open_chromium, open_kit, run
from .web_module import distances, put_on

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.nightly]
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-background-networking"),
    *("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-unsafe-swiftshader"),
)
# Runs before the worker's script: it sends warnings to the page, and the page can take away the graphics card.
HEARD = b"""
console.warn = (...words) => new BroadcastChannel("warned").postMessage(words.join(" "));
const made = globalThis.GPUAdapter?.prototype.requestDevice;
if (made) GPUAdapter.prototype.requestDevice = async function (...given) {
    const device = await made.apply(this, given);
    new BroadcastChannel("lose").onmessage = () => device.destroy();
    return device;
};
"""
DETECT = """
    const [path, isLost] = given;
    const warned = [];
    new BroadcastChannel("warned").onmessage = ({data}) => warned.push(data);
    const image = await pixels(path);
    const found = [];
    for (const accelerator of ["wasm", "webgpu"]) {
        const detector = await kit.LocalDetector.create("hands", {model: "lite", search: "fast"}, {accelerator});
        found.push((await detector.detect(image)).hands);
        if (accelerator === "webgpu" && isLost) {
            new BroadcastChannel("lose").postMessage(null);
            found.push((await detector.detect(image)).hands);
        }
        detector.close();
    }
    return [warned.filter((line) => line.includes("networks run on the processor")), ...found];
"""


@pytest.mark.parametrize("has_card", [True, False])
def test_hands_by_the_graphics_card_and_without_it(module, show, site, photo, tmp_path, has_card):
    """Results differ only by rounding. Without a card, or after its loss, the processor takes over."""
    path = show(photo)
    browser = open_chromium(*FLAGS[: None if has_card else 4], profile=tmp_path / "profile", downloads=tmp_path)
    try:
        with hosted() as own:
            put_on(own, module)
            kind, body = own.files["/web/sonjit-web-worker.js"]
            own.files |= {"/web/sonjit-web-worker.js": (kind, HEARD + body), path: site.files[path]}
            page = open_kit(browser, own, {"sonjit-web": "/web/sonjit-web.js"})
            warned, expected, *found = run(page, DETECT, path, has_card)
    finally:
        browser.quit()
    assert expected
    if not has_card:
        assert warned == ["this browser has no WebGPU device: networks run on the processor"]
        assert found == [expected]
        return
    assert len(warned) == 1
    assert "the graphics card was lost" in warned[0]
    by_card, after = found
    assert [hand["handedness"] for hand in by_card] == [hand["handedness"] for hand in expected]
    assert max(distances(by_card, [[[p["x"], p["y"]] for p in one["keypoints"]] for one in expected])) < 0.1
    assert by_card != expected  # its sums round differently
    assert after == expected
