"""Gestures in the page: live list, custom gestures from the camera, and dry runs of maps."""

import json
import time

import pytest

from sonjit.gestures import LearnedGestures

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def names_of(page):
    """Return the gestures of the hands in the latest frame."""
    return {(hand.get("gesture") or {}).get("name") for hand in page.latest.get("hands", [])}


def change_clock(page, factor):
    """Let the clock of the page, which sets the times of images, run faster or slower."""
    script = "const now = performance.now.bind(performance); performance.now = () => arguments[0] * now();"
    page.browser.execute_script(script, factor)


def test_gestures_are_listed_trained_and_tested(page):
    """The clock of the page is fast, so that a recording lasts less than a second."""
    page.click("task-gestures")
    change_clock(page, 4)
    page.start()
    page.click("tab-gestures")
    page.wait(lambda: "hand #" in page["gestures-now"].text, "hands with their gestures")
    assert not page["trainer-train"].is_enabled()
    assert page["trainer-test-needs"].text == "Test needs two recordings of each gesture."
    for name in ("one", "one", "two", "two"):
        before = len(page["trainer-recordings"].find_elements("tag name", "li"))
        page.choose("trainer-name", name)
        page.click("trainer-record")
        page.wait(
            lambda count=before + 1: len(page["trainer-recordings"].find_elements("tag name", "li")) == count,
            "a recording",
            90,
        )
    assert page["trainer-test-needs"].text == ""
    page.click("trainer-test")
    page.wait(lambda: page["trainer-table"].find_elements("tag name", "td"), "the table")
    cells = [int(one.text) for one in page["trainer-table"].find_elements("tag name", "td")]
    assert len(cells) == 6
    assert sum(cells) >= 20
    file = page.download("trainer-train", ".npz")
    assert LearnedGestures.load(file).names == ("one", "two")
    page.click("tab-map")
    page.choose("map-text", '[[rule]]\non = "one"\nkey = "right"')
    page.click("map-run")
    page.wait(page["trainer-try"].is_selected, "that a dry run recognises what its map names")
    page.click("map-run")
    page.click("tab-trainer")
    for where in ("server", "page"):
        page.choose("here", where)
        page.wait(lambda: names_of(page) & {"one", "two"}, f"custom gestures recognised by the {where}", 60)
    page.label_of("trainer-try").find_element("tag name", "span").click()  # the words of the switch
    assert not page["trainer-try"].is_selected()
    page.wait(lambda: page.latest.get("hands") and not names_of(page) & {"one", "two"}, "shipped gestures alone", 60)
    page.choose("here", "server")
    page["trainer-recordings"].find_element("tag name", "button").click()
    assert page["trainer-words"].text == ""
    assert not page["trainer-test"].is_enabled()


RECORD_TEXTS = """
    const write = CanvasRenderingContext2D.prototype.fillText;
    globalThis.written = new Set();
    CanvasRenderingContext2D.prototype.fillText = function (...given) {
        written.add(given[0]);
        return write.apply(this, given);
    };
"""


@pytest.mark.nightly
def test_the_trainer_names_what_is_missing_and_keeps_its_samples(page, tmp_path):
    def recordings():
        return [one.text for one in page["trainer-recordings"].find_elements("tag name", "li")]

    def refused(words):
        page.click("trainer-record")
        page.wait(lambda: words in page["trainer-words"].text, f"the message {words!r}")

    page.click("task-gestures")
    page.choose("trainer-name", "one")
    refused("Start the camera")
    page.browser.execute_script(RECORD_TEXTS)
    page.click("source-sample")
    drawn = "return [...written].some((text) => text.includes('hand') && text.includes(' · '))"
    page.wait(lambda: page.browser.execute_script(drawn), "a gesture in the picture")
    assert not page.state["style"]["gestures"]
    page.tick("detector-hands", on=False)
    page.tick("detector-face")
    refused("Switch on Hands")
    page.tick("detector-hands")
    page.tick("detector-face", on=False)
    page.wait(lambda: page.latest.get("hands"), "hands")
    page.click("play-pause")
    page.wait(lambda: page.state["paused"], "a pause")
    refused("The video is paused")
    page.click("play-pause")
    page.wait(lambda: not page["trainer-words"].text, "that the message goes")
    change_clock(page, 4)
    page.click("trainer-record")
    page.wait(recordings, "a recording", 90)
    (before,) = recordings()
    assert before.startswith("one: 20 samples")
    page.browser.refresh()
    page.wait_until_ready()
    assert recordings() == [before]
    file = tmp_path / "gestures.npz"
    file.write_bytes(b"PK")
    page.upload("source-file", file)
    page.wait(lambda: "gestures.npz holds trained gestures" in page["message"].text, "what the file is for")
    assert "sonjit hands camera --gestures gestures.npz" in page["message"].text
    assert page["docs"].get_attribute("target") == "_blank"
    page["trainer-recordings"].find_element("tag name", "button").click()
    page.browser.refresh()
    page.wait_until_ready()
    assert recordings() == []


@pytest.mark.nightly
def test_a_recording_that_is_paused_or_sees_no_hand_says_why_it_ends(page):
    page.click("task-gestures")
    page.choose("trainer-name", "one")
    page.click("source-sample")
    page.wait(lambda: page.latest.get("hands"), "hands")
    # at once, because a recording is over after some seconds
    page.browser.execute_script(
        "for (const id of ['trainer-record', 'play-pause']) document.getElementById(id).click();"
    )
    page.wait(lambda: "The video is paused" in page["trainer-words"].text, "why it ends")
    assert not page.browser.find_elements("id", "trainer-progress")
    page.click("play-pause")
    page.wait(lambda: not page["trainer-words"].text, "that the message goes")
    for name in ("min_detection_score", "min_presence_score"):
        page.choose(f"option-{name}", "1")
    page.wait(lambda: not page.latest.get("hands"), "no hands")
    page.click("trainer-record")
    page.wait(lambda: "seen in only 0 samples; 5 are needed" in page["trainer-words"].text, "why it ends", 30)


@pytest.mark.nightly
def test_gestures_of_a_clip_are_listed_by_time(page):
    page.choose("option-gestures", "canned")
    page.click("tab-gestures")
    page.click("source-sample")
    listed = page["gestures-events"]
    page.wait(lambda: listed.text.count(" s · ") > 4, "gestures")
    times = [float(line.split(" s · ")[0].split()[-1]) for line in listed.text.splitlines() if " s · " in line]
    assert times == sorted(times, reverse=True)


@pytest.mark.nightly
@pytest.mark.parametrize("here", ["server", "page"])
def test_a_gesture_that_is_shown_at_the_end_has_an_end_in_the_tables(page, here):
    page.choose("option-gestures", "canned")
    page.choose("here", here)
    page.click("source-sample")

    def lasting():
        """Return whether a gesture has begun and not ended in the frames so far."""
        frames = json.loads(page.download("download-json", ".json").read_text("utf-8"))["frames"]
        phases = [event["phase"] for frame in frames for event in frame.get("events", [])]
        return phases.count("begin") > phases.count("end")

    page.wait(lambda: page.state["frames"] > 10, "frames")
    page.wait(lasting, "a gesture that lasts")
    page.stop()
    page.wait(lambda: not lasting(), "its end")
    page.choose("here", "server")


@pytest.mark.nightly
def test_motions_are_recorded_tested_trained_and_recognised(page):
    """The camera repeats a clip in which a hand sways. A map may then name the recorded motions.

    The clock of the page is slow. On a loaded machine, images would otherwise be too far apart for the path of a hand.
    """
    speed = 0.4
    clip_s = 4.5
    change_clock(page, speed)
    page.browser.expected.append("/v1/gestures/train")  # a recording without a moving hand is refused
    page.click("task-gestures")
    page.start()
    page.click("tab-gestures")
    page.tick("trainer-moving")
    page.choose("trainer-name", "sway")
    page.wait(lambda: page.latest.get("hands"), "hands")
    end = time.monotonic() + 60
    while (count := len(page["trainer-recordings"].find_elements("tag name", "li"))) < 2:
        assert time.monotonic() < end, page["message"].text
        if page["message"].is_displayed():
            page["message"].find_element("css selector", ".close").click()  # else the wait below ends at once
        page.click("trainer-record")
        begin_s = page.latest["time"]
        page.wait(lambda begin_s=begin_s: page.latest["time"] > begin_s + speed * clip_s, "the clip once")
        page.click("trainer-record")
        page.wait(
            lambda count=count: (
                page["message"].text or len(page["trainer-recordings"].find_elements("tag name", "li")) > count
            ),
            "a recording, or why there is none",
        )
    page.click("trainer-test")
    page.wait(lambda: page["trainer-table"].find_elements("tag name", "td"), "the table")
    assert sum(int(one.text) for one in page["trainer-table"].find_elements("tag name", "td")) >= 2
    assert LearnedGestures.load(page.download("trainer-train", ".npz")).motions.names == ("sway",)
    page.click("trainer-try")
    page.wait(lambda: "sway" in page["gestures-events"].text, "the motion in the camera")
    page.click("tab-map")
    page.choose("map-text", '[[rule]]\non = "sway"\nkey = "right"')
    page.click("map-check")
    page.wait(lambda: page["map-words"].get_attribute("data-state") == "right", "a rule of a custom motion")
    assert 'on = "sway"' in [one.get_attribute("value") for one in page["map-on"].find_elements("tag name", "option")]


def test_a_map_is_checked_tried_and_downloaded(page):
    page.click("task-gestures")
    page.click("tab-map")
    page.choose("map-text", "")
    page.click("map-check")
    page.wait(lambda: "no rule" in page["map-words"].text, "what is wrong")
    page.browser.expected.append("/v1/control")  # a refusal
    page.click("map-add")
    page.wait(lambda: "127.0.0.1:9000" in page["map-words"].text, "what is missing")
    assert page["map-text"].get_attribute("value") == "", "a rule without a target was added"
    page.choose("language", "ko")
    page.choose("map-text", '[[rule]]\non = "Victory"\nosc = "space"')
    page.click("map-check")
    page.wait(lambda: page["map-words"].text.startswith("1번 규칙의 OSC 대상"), "what is wrong in Korean")
    page.choose("language", "en")
    page.choose("map-text", "")
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
