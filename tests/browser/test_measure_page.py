"""The complete way of a user who measures a file in the live app, in Chromium and Firefox."""

import base64
import contextlib
import re
import shutil
from importlib.resources import files

import cv2
import numpy as np
import pytest

from sonjit.media import open_source

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import run
from .firefox import FIREFOX, XVFB, Firefox, virtual_display

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SQUATS = files("sonjit._util") / "assets" / "squats.mp4"


class Way:
    """A user of a browser, who clicks what is visible."""

    def __init__(self, browser, url):
        self.browser = browser
        browser.get(url)
        self.wait("document.documentElement?.dataset.ready === 'true'")

    def ask(self, expression):
        return self.browser.execute_script(f"return {expression}")

    def wait(self, condition, seconds=90):
        shown = "document.body?.innerText.slice(0, 900)"
        return wait_until(
            lambda: self.ask(f"Boolean({condition})"),
            seconds,
            lambda: f"{condition} in vain; the page: {self.ask(shown)}",
        )

    def click(self, selector):
        self.wait(f"document.querySelector('{selector}')?.checkVisibility()")
        self.ask(f"document.querySelector('{selector}').click()")

    def text(self, selector):
        return self.ask(f"document.querySelector('{selector}')?.innerText ?? ''")

    def choose(self, selector, value):
        self.browser.execute_script(
            f"const field = document.querySelector('{selector}'); field.value = '{value}';"
            "for (const kind of ['input', 'change']) field.dispatchEvent(new Event(kind, {bubbles: true})); return 1"
        )

    def upload(self, name, path):
        if isinstance(self.browser, Firefox):
            self.browser.upload(name, path)
        else:
            self.browser.find_element("id", name).send_keys(str(path))

    def time(self):
        return float(self.text("#result-time").split()[0])


@pytest.fixture(scope="module", params=["chromium", pytest.param("firefox", marks=pytest.mark.nightly)])
def place(request, new_server, tmp_path_factory):
    """Return the address of a new server, and Firefox, or None for the Chromium that tests share."""
    if request.param == "chromium":
        window = request.getfixturevalue("window")
        yield new_server().url, None
        window.get("about:blank")
        return
    if FIREFOX is None:
        pytest.skip("Firefox is not installed: apt-get install firefox-esr")
    with virtual_display() if XVFB else contextlib.nullcontext() as display:
        firefox = Firefox(tmp_path_factory.mktemp("firefox"), display)
        yield new_server().url, firefox
        firefox.quit()


@pytest.fixture
def user(request, place):
    """User who never was on the page before."""
    url, firefox = place
    browser = firefox or request.getfixturevalue("browser")
    browser.get(url)
    browser.execute_script("localStorage.clear()")
    browser.get("about:blank")
    return Way(browser, url)


@pytest.fixture(scope="module")
def squats(write_video, tmp_path_factory):
    """Return a function that writes the first frames of the bundled squats, of which the first 40 show one squat."""
    with open_source(SQUATS) as source:
        frames = [frame.rgb for frame in source]
    folder = tmp_path_factory.mktemp("squats")
    return lambda name, count: write_video(folder / name, frames[:count], 15)


def test_a_video_is_measured_looked_at_compared_and_removed(user, squats, tmp_path, need):
    need("body-full", "pose-detector")
    user.click("#task-measure")
    shutil.copy(SQUATS, tmp_path / "squats.mp4")
    short = squats("squats.mp4", 12)  # of the same name
    for path in (short, tmp_path / "squats.mp4"):
        user.upload("measure-file", path)
        user.wait("document.getElementById('measure-name')?.innerText === 'squats.mp4'")
        user.click("#job-start")
        user.wait("document.querySelector('.chart canvas')", 180)
        if path == short:
            user.click(".back")
    address = user.ask("location.href")
    headline = user.text(".headline")
    assert re.fullmatch(r"2 squats, deepest knee \d+° \(± \d+°, (left|right) \d+°\) at \d\.\d s", headline), headline
    error = re.search(r"± \d+°", headline)[0]
    assert "No difference between left and right knee was found" in user.text(".result-head")
    assert error in user.text(".moments li:nth-child(2)")
    length = r"\d+\.\d s, (\d+) frames, Person in \1"
    assert re.fullmatch(length, user.text(".result-head [role=status]"))
    assert user.text(".graph-head .hint") == "180° = straight"
    assert set(user.ask("[...document.querySelectorAll('.first-files a')].map(({innerText}) => innerText)")) == {
        "Excel",
        "Report to print",
    }
    assert user.ask("document.querySelector('.chart').dataset.points") == str(2 * 73)

    user.choose("#language", "ko")
    user.wait("document.querySelector('.result-values th').innerText.startsWith('몸 #')")
    user.choose("#language", "en")
    user.wait("document.querySelector('.result-values th').innerText.startsWith('Body #')")

    user.click(".moments li:nth-child(2) button")  # the second squat is the deepest
    user.wait("document.getElementById('result-angles').dataset.index > 0")
    deepest = user.time()
    assert f"at {deepest:.1f} s" in user.text(".headline")
    drawn = """
        const canvas = document.getElementById("result-angles");
        const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        return data.some((value, k) => k % 4 === 3 && value);
    """
    assert run(user.browser, drawn), "no angle is drawn in the picture"
    video = "document.querySelector('.result-picture video')"
    user.wait(f"{video}.readyState > 1 && Math.abs({video}.currentTime - {deepest}) < 0.1")

    user.ask("(document.querySelector('.chart').scrollIntoView({block: 'center'}), 1)")
    press = """
        const over = document.querySelector(".u-over");
        const {left, top, width, height} = over.getBoundingClientRect();
        const at = {clientX: left + width / 2, clientY: top + height / 2, pointerId: 1, buttons: 1, bubbles: true};
        over.setPointerCapture = () => {};
        over.dispatchEvent(new PointerEvent("pointerdown", at));
    """
    run(user.browser, press)
    assert abs(user.time() - 2.4) < 0.1  # the middle of 4.8 s
    user.wait(f"Math.abs({video}.currentTime - {user.time()}) < 0.1")
    table = "document.querySelector('.result-values thead').innerText"
    user.wait(f"{table}.includes('{user.time():.2f} s')")

    user.choose("#result-measure", "elbow_angle_rad")
    user.wait("document.querySelector('.chart').ariaLabel.startsWith('Elbow angle')")
    user.click("#result-more")
    user.wait("document.querySelectorAll('.chart').length === 2")
    other = user.ask("[...document.querySelectorAll('#result-with option')].at(-1).value")
    user.choose("#result-with", other)
    user.wait("document.querySelectorAll('.graph .dashed').length === 4")
    names = "new Set([...document.querySelectorAll('.graph .legend')].map(({innerText}) => innerText.split('): ')[0]))"
    assert user.ask(f"{names}.size") > 1, "both recordings have one name"

    groups = user.ask("[...document.querySelectorAll('#downloads section')].map(({innerText}) => innerText)")
    assert [("Excel" in group, ".pdf" in group, ".glb" in group) for group in groups] == [
        (True, False, False),
        (False, True, False),
        (False, False, True),
    ]
    links = "[...document.querySelectorAll('#downloads a')].map(({href}) => href)"
    for link in user.ask(links):
        if link.endswith((".xlsx", "instances.csv", ".bvh", ".mot", ".trc", ".html")):
            status = run(user.browser, "const answer = await fetch(given[0]); return answer.status", link)
            assert status == 200, link

    print_link = "[...document.querySelectorAll('.first-files a')].at(-1)"
    click = "new MouseEvent('click', {bubbles: true, cancelable: true})"
    user.ask("(document.addEventListener('click', (event) => event.preventDefault(), {once: true}), 1)")  # no dialog
    user.ask(f"{print_link}.dispatchEvent({click})")
    user.wait(f"{print_link}.innerText === 'Making: Report to print…' && {print_link}.ariaDisabled === 'true'")
    assert user.ask(f"{print_link}.dispatchEvent({click})") is False, "a second click makes a second file"
    user.wait(f"{print_link}.innerText === 'Report to print'")

    user.browser.get("about:blank")
    user.browser.get(address)
    user.wait("document.querySelector('.chart canvas')")
    assert "73 frames" in user.text(".result-head [role=status]")
    user.click(".result-head .quiet-button")
    user.click("#jobs [data-state=removed] button")  # undo
    user.wait("!document.querySelector('#jobs [data-state=removed]')")
    user.click("#jobs .job:first-child .quiet-button")
    user.wait("document.querySelectorAll('#jobs .job').length === 1")
    assert "12 frames" in user.text("#jobs")

    removed = "const [{id}] = await (await fetch('v1/jobs')).json(); await fetch(`v1/jobs/${id}`, {method: 'DELETE'})"
    gone = run(user.browser, f"{removed}; return id")  # as in another tab
    if not isinstance(user.browser, Firefox):
        user.browser.expected.append(gone)
    user.click("#jobs a")
    user.wait("document.getElementById('result-title')?.innerText === 'This result is not on this server.'")
    assert not user.ask("document.getElementById('message').checkVisibility()")
    user.click(".back")
    user.wait("document.getElementById('results-title') && !document.querySelector('#jobs .job')")


@pytest.mark.nightly
def test_a_result_without_a_body_says_so_and_offers_hands(user, write_video, tmp_path, need):
    need("body-full", "pose-detector", "hand-full")
    user.click("#task-measure")
    user.upload("measure-file", write_video(tmp_path / "wall.mp4", [np.full((240, 320, 3), 128, np.uint8)] * 6, 15))
    user.click("#job-start")
    user.wait("document.getElementById('result-none')?.innerText === 'No body was found.'")
    unused = ".first-files, .result-curves, .result-values, .result-files"
    assert user.ask(f"document.querySelectorAll('{unused}').length") == 0
    assert user.text("#result-other") == "Measure hands instead"
    user.click("#result-other")
    user.wait("document.getElementById('result-none')?.innerText === 'No hand was found.'")
    address = user.ask("location.href")
    user.browser.get("about:blank")
    user.browser.get(address)  # without the file
    user.wait("document.getElementById('result-other')?.innerText.startsWith('Choose')")
    user.click("#result-other")
    user.wait("document.getElementById('measure-file')")


def test_the_page_stays_where_the_user_goes_while_a_file_is_sent(user, squats):
    user.click("#task-measure")
    user.upload("measure-file", squats("squats.mp4", 10))
    user.wait("document.getElementById('job-start')")
    user.ask("['job-start', 'task-watch', 'task-measure'].forEach((id) => document.getElementById(id).click())")
    user.wait("document.querySelector('#jobs .job[data-state=done]')")
    assert user.ask("location.hash") == "#page=measure"
    user.click("#jobs .job-title a")
    user.wait("location.hash.includes('result=')")


@pytest.mark.nightly
def test_a_folder_shows_the_picture_of_each_image(user, images):
    user.click("#task-measure")
    if isinstance(user.browser, Firefox):
        pytest.skip("folders cannot be chosen through WebDriver BiDi")
    user.upload("measure-folder", images)
    user.click("#measure-body")
    user.click("#measure-hands")
    user.click("#job-start")
    user.wait("document.querySelector('.result-picture img')?.naturalWidth > 0")
    assert user.text("#result-time") == "1 / 3"
    first = user.ask("document.querySelector('.result-picture img').naturalWidth")
    user.choose("#result-position", "2")
    user.wait(f"document.querySelector('.result-picture img').naturalWidth === {first // 2}")
    assert user.text("#result-time") == "3 / 3"


MODEL = files("sonjit.server") / "page" / "avatar" / "sample.vrm"
BRIGHT = 300  # sum of the channels of skin and shirt; the background has less than 120


def figure_rows(browser):
    """Return the share of bright pixels at the place of the figure, and the row of the highest, 0 to 1."""
    run(browser, "document.getElementById('result-figure').scrollIntoView({block: 'center', behavior: 'instant'})")
    corners = run(
        browser,
        """const {left, top, right, bottom} = document.getElementById("result-figure").getBoundingClientRect();
        return [left, top, right, bottom].map((value) => Math.round(value * devicePixelRatio));""",
    )
    png = np.frombuffer(base64.b64decode(browser.get_screenshot_as_base64()), np.uint8)
    left, top, right, bottom = corners
    inside = cv2.imdecode(png, cv2.IMREAD_COLOR)[top + 8 : bottom - 8, left + 8 : right - 8].astype(int)
    rows = np.flatnonzero((inside.sum(-1) > BRIGHT).any(1))
    return (inside.sum(-1) > BRIGHT).mean(), (rows.min() if len(rows) else 0) / len(inside)


@pytest.mark.nightly
def test_the_own_avatar_moves_with_the_person_of_a_measured_file(user, squats, tmp_path, need):
    """Its head sinks in the squat, and rises again where the position goes back to the start."""
    need("body-full", "pose-detector", "hand-full")
    if isinstance(user.browser, Firefox) and XVFB is None:
        pytest.skip("Firefox has no WebGL without a display: apt-get install xvfb")
    user.click("#task-measure")
    user.upload("measure-file", squats("squats.mp4", 40))
    user.click("#measure-body")
    user.click("#measure-holistic")
    user.click("#job-start")
    user.click("#result-avatar")
    user.wait("document.getElementById('result-figure-state')")
    shutil.copy(MODEL, tmp_path / "me.vrm")
    user.upload("result-model", tmp_path / "me.vrm")
    user.wait("document.getElementById('result-figure-state').innerText.startsWith('me.vrm: 52 of 52')")

    def head():
        """Return the height of the figure's head in the picture when it has come to rest, from the top."""
        seen = [figure_rows(user.browser)]
        wait_until(
            lambda: seen.append(figure_rows(user.browser)) or (seen[-1][0] > 0.02 and seen[-1] == seen[-2]),
            60,
            lambda: f"the figure does not come to rest: {seen[-3:]}",
            every_s=0.5,
        )
        return seen[-1][1]

    standing = head()
    user.click(".moments button")  # the deepest moment
    user.wait("document.getElementById('result-angles').dataset.index > 0")
    deep = head()
    assert deep > standing + 0.06
    user.choose("#result-position", "0")
    user.wait("document.getElementById('result-angles').dataset.index === '0'")
    assert abs(head() - standing) < 0.02

    user.click("#task-avatar")
    user.wait("document.getElementById('avatar-state').innerText.startsWith('me.vrm')")
    user.click("#avatar-sample")  # the way back to the sample figure
    user.wait("document.getElementById('avatar-state').innerText.startsWith('This figure')")
    assert not user.ask("document.getElementById('avatar-sample').checkVisibility()")
    user.click("#avatar-measure")
    user.wait("document.getElementById('result-wanted').innerText.startsWith('Choose a result')")
    user.ask("[...document.querySelectorAll('#jobs a')].find(({innerText}) => innerText === 'squats.mp4').click()")
    user.wait("document.querySelector('#result-figure canvas')")

    user.click("#task-avatar")
    user.click("#source-sample")  # a person, not only hands
    user.wait("globalThis.sonjitPage.state.latest?.people?.length")
