"""What the page does with gestures: a live list, custom ones from the camera, maps that are tried without sending."""

import pytest

from sonjit.gestures import LearnedGestures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_gestures_are_listed_trained_and_tested(page):
    page.start()
    page.click("tab-gestures")
    page.wait(lambda: "hand #" in page["gestures-now"].text, "hands with their gestures")
    assert not page["trainer-train"].is_enabled()
    for name in ("one", "one", "two", "two"):
        before = len(page["trainer-recordings"].find_elements("tag name", "li"))
        page.choose("trainer-name", name)
        page.click("trainer-record")
        page.wait(
            lambda count=before + 1: len(page["trainer-recordings"].find_elements("tag name", "li")) == count,
            "a recording",
            90,
        )
    page.click("trainer-test")
    page.wait(lambda: page["trainer-table"].find_elements("tag name", "td"), "the table")
    cells = [int(one.text) for one in page["trainer-table"].find_elements("tag name", "td")]
    assert len(cells) == 6
    assert sum(cells) >= 20
    file = page.download("trainer-train", ".npz")
    assert LearnedGestures.load(file).names == ("one", "two")
    page["trainer-recordings"].find_element("tag name", "button").click()
    assert not page["trainer-test"].is_enabled()


def test_a_map_is_checked_tried_and_downloaded(page):
    page.click("tab-map")
    page.choose("map-text", "")
    page.click("map-check")
    page.wait(lambda: "no rule" in page["map-words"].text, "what is wrong")
    page.browser.expected.append("/v1/control")  # a refusal
    page.choose("map-on", 'measure = "x"')
    page.choose("map-action", "osc")
    page["map-target"].send_keys("127.0.0.1:9/hand")
    page.click("map-add")
    page.wait(lambda: page["map-words"].get_attribute("data-state") == "right", "a rule that is right")
    page.click("map-run")
    page.start()
    page.wait(lambda: '"measure":"x"' in page["map-commands"].text, "commands of the dry run")
    page.click("map-run")
    page.wait(lambda: page["map-commands"].text == "", "no commands")
    assert 'osc = "127.0.0.1:9/hand"' in page.download("map-download", ".toml").read_text("utf-8")
