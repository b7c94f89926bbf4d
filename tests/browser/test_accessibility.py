"""No page breaks a rule of axe-core, in light and dark colours, on phones and computers."""

from importlib.resources import files

import pytest
from studio.tests.projects import make_project

from sonjit.media import open_source

from .conftest import opened, run
from .driver import clear_storage
from .test_annotation_page import AnnotationPage, AnnotationServer
from .web_module import WEB

pytestmark = [pytest.mark.browser, pytest.mark.slow]

AXE = WEB / "node_modules" / "axe-core" / "axe.min.js"
SQUATS = files("sonjit._util") / "assets" / "squats.mp4"
SIZES = {390: 844, 1280: 900}  # width and height of phones and computers, in CSS pixels
OPEN_ALL = "for (const fold of document.querySelectorAll('details')) fold.open = true"
AUDIT = """
    for (let i = 0; i < 2; i++) await new Promise((next) => requestAnimationFrame(next)); // the new size and colours
    const {passes, violations} = await axe.run(document, {resultTypes: ["violations"]});
    const broken = violations.flatMap(({id, nodes}) =>
        nodes.map(({target, html}) => `${id}: ${target.join(" ")}: ${html.slice(0, 160)}`));
    return [passes.length, broken];
"""


@pytest.fixture
def audit(browser):
    """Return a function that checks the displayed page in all sizes and colours. Show pages without motion."""
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: it needs npm; type: make check-page")
    still = {"name": "prefers-reduced-motion", "value": "reduce"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [still]})

    def audit(name):
        browser.execute_script(OPEN_ALL)
        if not browser.execute_script("return Boolean(globalThis.axe)"):
            browser.execute_script(AXE.read_text("utf-8"))
        all_broken = []
        for width, height in SIZES.items():
            screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
            for scheme in ("light", "dark"):
                colours = {"name": "prefers-color-scheme", "value": scheme}
                browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [still, colours]})
                passed, broken = run(browser, AUDIT)
                assert passed > 10, f"{name} is empty"
                all_broken += [f"{name}, {width} px, {scheme}: {one}" for one in broken]
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        assert not all_broken, "\n".join(all_broken)

    yield audit
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


@pytest.mark.nightly
def test_the_live_app(audit, page):
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands") and page.ink, "drawn hands")
    page.click("play-pause")
    page.click("tab-plot")
    audit("Watch")
    page.click("task-gestures")
    audit("Gestures")
    page.click("tab-map")
    page.wait(lambda: page["panel-map"].text, "the control map")
    audit("control map")
    page.click("task-avatar")
    page.wait(lambda: page.browser.find_elements("css selector", "#avatar canvas"), "the figure")
    audit("Avatar")


@pytest.mark.nightly
def test_a_measured_video(audit, page, write_video, tmp_path, need):
    need("body-full", "pose-detector")
    with open_source(SQUATS) as source:
        start = [frame.rgb for frame in source][:12]
    page.click("task-measure")
    page.upload("measure-file", write_video(tmp_path / "squat.mp4", start, 15))
    page.wait(lambda: page.browser.find_elements("id", "measure-name"), "the chosen file")
    audit("Measure")
    page.choose("language", "ko")
    page.wait(lambda: page.browser.execute_script("return document.documentElement.lang") == "ko", "Korean")
    audit("Measure in Korean")
    page.choose("language", "en")
    page.click("job-start")
    page.wait(lambda: page.browser.find_elements("css selector", ".chart canvas"), "the chart", 180)
    page.click("result-more")
    page.click("result-avatar")
    page.wait(lambda: page.browser.find_elements("id", "result-figure-state"), "the figure")
    audit("a result")


def test_the_page_of_the_endpoints(audit, browser, server):
    clear_storage(browser, server.url)
    browser.get(f"{server.url}/docs")
    opened(browser)
    audit("/docs")


@pytest.mark.nightly
def test_the_annotation_page(audit, browser, tmp_path):
    make_project(tmp_path, cameras=4, frames=2, lens=False)[0].close()
    server = AnnotationServer(tmp_path)
    server.start(tmp_path / "project")
    try:
        page = AnnotationPage(browser, server)
        audit("the name of the annotator")
        page.enter("Ada")
        audit("the annotation page")
        browser.get("about:blank")  # stops the periodic requests of the page
    finally:
        server.close()
