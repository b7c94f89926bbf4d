"""Error messages of the page, and how it recovers."""

import signal

import pytest

from .conftest import run
from .driver import Page

pytestmark = pytest.mark.browser
IN_VIEW = """
    const {top, bottom} = document.getElementById("message").getBoundingClientRect();
    return top >= 0 && bottom <= innerHeight;
"""


def test_the_page_reports_a_hidden_tab_and_a_rotated_or_removed_camera_and_continues(page):
    browser, message = page.browser, page["message"]
    page.start()
    page.wait(lambda: page.latest.get("hands") and page.ink, "a drawing")
    (tab,) = browser.window_handles
    browser.switch_to.new_window("tab")
    browser.close()
    browser.switch_to.window(tab)
    page.wait(lambda: message.get_attribute("data-code") == "hidden", "word of the hidden tab")
    assert "camera" not in message.text  # a video or the sample is paused too
    browser.execute_script("scrollTo(0, document.body.scrollHeight)")
    assert run(browser, IN_VIEW), "a message is out of sight"
    before = page.latest["frame"]
    page.wait(lambda: page.latest.get("frame", 0) > before, "the next image")
    run(browser, """
        const [track] = document.getElementById("video").srcObject.getVideoTracks();
        await track.applyConstraints({width: 320, height: 240});
    """)  # fmt: skip
    page.wait(lambda: message.get_attribute("data-code") == "resized", "word of the other size")
    assert "320 × 240" in message.text
    page.wait(lambda: page.latest.get("width") == 320 and page.latest["hands"] and page.ink, "hands in smaller images")
    before = page.latest["frame"]
    browser.execute_script("document.getElementById('video').pause()")  # phones do so when they freeze a hidden tab
    browser.execute_script("document.dispatchEvent(new Event('resume'))")
    page.wait(lambda: page.latest.get("frame", 0) > before + 3, "images after a freeze")
    run(browser, """
        const [track] = document.getElementById("video").srcObject.getVideoTracks();
        track.stop();
        track.dispatchEvent(new Event("ended"));
        await new Promise((resolve) => setTimeout(resolve, 500)); // for images that are under way
    """)  # fmt: skip
    assert message.get_attribute("data-code") == "camera_gone"
    assert page.status == "error"


def test_the_page_reports_a_camera_that_fails(page):
    for name in ("NotAllowedError", "NotFoundError", "NotReadableError", "SecurityError", "TypeError"):
        refuse = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('no', arguments[0]); }"
        page.browser.execute_script(refuse, name)
        page.click("start")
        page.wait(lambda: page.status == "error" and len(page["message"].text) > 40, f"word of {name}")
        assert page["message"].is_displayed()
        assert page["start"].is_enabled()


def test_a_page_without_https_explains_how_a_phone_sends_an_image(page):
    page.browser.execute_script("Object.defineProperty(navigator, 'mediaDevices', {value: undefined})")
    page.click("source-camera")
    page.wait_for("error")
    assert page["message"].get_attribute("data-code") == "insecure"
    assert all(words in page["message"].text for words in ("secure context", "On a phone", "--tls"))


def test_the_page_reports_files_that_it_cannot_show_at_once(page, images, tmp_path):
    cut = (images / "1.png").read_bytes()[:20_000]  # browsers display the upper part
    files = {"notes.txt": b"text", "broken.png": b"text", "broken.mp4": b"text", "cut.png": cut}
    codes = {"notes.txt": "no_media", "broken.mp4": "no_video"}
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        page.upload("source-file", path)
        page.wait(lambda name=name: name in page["message"].text, f"a message about {name}")
        assert page["message"].get_attribute("data-code") == codes.get(name, "damaged")
        assert page.status == ("idle" if name == "notes.txt" else "error")


@pytest.mark.nightly
def test_the_page_reports_a_stopped_server_and_reconnects(browser, new_server):
    token = ("--token", "open-sesame")
    server = new_server(*token)
    browser.expected += ["ERR_CONNECTION_REFUSED", "WebSocket connection", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE"]
    page = Page(browser, f"{server.url}/#token=open-sesame")
    page.start()
    page.wait(lambda: page.ink, "a drawing")
    server.stop(signal.SIGKILL)
    page.wait(lambda: page["message"].is_displayed() and page.ink == 0, "a message and nothing drawn")
    server.start(*token)
    page.wait(lambda: page.status == "running" and page.ink, "a drawing after the restart", 25)
    assert not page["message"].is_displayed()
    page.stop()
