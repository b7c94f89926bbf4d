"""Accessibility of the page: two languages, use by keyboard only, a name for every control."""

import json
import re
from importlib.resources import files

import pytest

from .conftest import run
from .driver import CONTROLS, LANGUAGES, Page, assert_same_texts, unnamed_controls

pytestmark = pytest.mark.browser

TEXTS = files("sonjit.server") / "page" / "i18n"
HANGUL = re.compile("[가-힣]")


@pytest.fixture
def page(browser, server):
    return Page(browser, server.url)


def press(page, *keys):
    from selenium.webdriver import ActionChains

    ActionChains(page.browser).send_keys(*keys).perform()


def test_both_languages_have_the_same_texts():
    english = assert_same_texts(TEXTS)
    assert [key for key, text in english.items() if HANGUL.search(text) and not key.startswith("language")] == []


def test_every_text_that_the_page_uses_exists(page):
    for language in reversed(LANGUAGES):
        page.choose("language", language)
        page.wait(
            lambda language=language: page.browser.execute_script("return document.documentElement.lang") == language,
            language,
        )
        bare = run(page.browser, """
            const nodes = [...document.querySelectorAll("[data-i18n]")];
            return nodes.filter((node) => node.textContent === node.dataset.i18n || !node.textContent.trim())
                .map((node) => node.dataset.i18n);
        """)  # fmt: skip
        texts = json.loads((TEXTS / f"{language}.json").read_text("utf-8"))
        assert [key for key in bare if texts.get(key) != key] == []


def test_korean_is_spoken_and_remembered(page):
    page.choose("language", "ko")
    page.wait(lambda: HANGUL.search(page["start"].text), "a Korean button")
    assert HANGUL.search(page["status"].text)
    page.browser.refresh()
    page.wait_until_ready()
    page.wait(lambda: HANGUL.search(page["start"].text), "Korean after a reload")
    page.choose("language", "en")
    page.wait(lambda: not HANGUL.search(page["start"].text), "English again")


def test_every_control_has_a_name(page):
    for language in LANGUAGES:
        page.choose("language", language)
        count, unnamed = unnamed_controls(page.browser)
        assert count > 20
        assert unnamed == []


LOW_CONTRAST = """
    const bright = (channel) => (channel <= 0.04045 ? channel / 12.92 : ((channel + 0.055) / 1.055) ** 2.4);
    const luminance = ([r, g, b]) => 0.2126 * bright(r / 255) + 0.7152 * bright(g / 255) + 0.0722 * bright(b / 255);
    const pen = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
    const rgba = (css) => {
        pen.clearRect(0, 0, 1, 1);
        pen.fillStyle = css;
        pen.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = pen.getImageData(0, 0, 1, 1).data;
        return [r, g, b, a / 255];
    };
    const over = (front, back) => [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3]));
    const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const low = [];
    let seen = 0;
    while (texts.nextNode()) {
        const words = texts.currentNode.textContent.trim();
        const element = texts.currentNode.parentElement;
        const {width, height} = element.getBoundingClientRect();
        const shown = element.checkVisibility({checkVisibilityCSS: true}) && Math.min(width, height) > 2;
        if (!words || !shown || element.closest(":disabled, option, optgroup")) continue;
        const layers = [];
        for (let one = element; one; one = one.parentElement) layers.unshift(getComputedStyle(one).backgroundColor);
        const back = layers.reduce((below, layer) => over(rgba(layer), below), [255, 255, 255]);
        const {color, fontSize, fontWeight} = getComputedStyle(element);
        const [one, other] = [luminance(over(rgba(color), back)), luminance(back)];
        const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
        const isLarge = parseFloat(fontSize) >= 24 || (parseFloat(fontSize) >= 18.66 && Number(fontWeight) >= 700);
        seen += 1;
        if (ratio < (isLarge ? 3 : 4.5)) low.push(`${words.slice(0, 40)}: ${ratio.toFixed(2)}`);
    }
    return [seen, low, document.documentElement.scrollWidth - innerWidth];
"""


@pytest.fixture
def screen(page):
    """Function that sets the size of the screen, and light or dark colours."""
    browser = page.browser

    def screen(width, height, scheme):
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        features = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}  # no colours in between
        features = [{"name": name, "value": value} for name, value in features.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    yield screen
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})


def test_words_stand_out_and_nothing_leaves_the_screen(page, screen):
    try:
        page.click("source-sample")
        page.wait(lambda: page.latest.get("hands") and "°" in page["live-table"].text, "hands")
        page.browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
        for size in ((1280, 1000), (390, 844)):
            for scheme in ("light", "dark"):
                screen(*size, scheme)
                seen, low, beyond = run(page.browser, LOW_CONTRAST)
                assert seen > 100
                assert low == [], (size, scheme)
                assert beyond <= 0, (size, scheme)
    finally:
        page.stop()


def test_tab_reaches_every_control(page):
    page.click("source-sample")
    page.wait(lambda: page["transport"].is_displayed(), "the timeline")
    page.click("play-pause")
    page.browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    wanted = page.browser.execute_script(
        """const all = [...document.querySelectorAll(arguments[0])];
        const shown = all.filter((one) => one.checkVisibility() && one.tabIndex >= 0 && !one.disabled);
        shown.forEach((one, k) => (one.dataset.stop = k));
        document.activeElement.blur();
        globalThis.reached = new Set();
        document.addEventListener("focusin", ({target}) => reached.add(target.dataset.stop));
        return shown.map((one) => one.dataset.stop);""",
        CONTROLS,
    )
    assert len(wanted) > 40
    press(page, *["\ue004"] * (len(wanted) + 5))
    missed = set(wanted) - set(page.browser.execute_script("return [...reached]"))
    names = "return arguments[0].map((k) => document.querySelector(`[data-stop='${k}']`).outerHTML.slice(0, 80))"
    assert page.browser.execute_script(names, sorted(missed)) == []
    page.stop()
