"""Annotation page: marks by mouse and keyboard, several annotators at once, and stored marks."""

import json
import re
import subprocess
import sys
from importlib.resources import files

import numpy as np
import pytest
from studio.tests.projects import make_project

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import Server, run
from .driver import LANGUAGES, POLL_S, assert_same_texts, clear_storage, unnamed_controls
from .web_module import WEB

pytestmark = pytest.mark.browser

PAGE = files("sonjit.server") / "page"
FOLDER = PAGE / "annotate"


class AnnotationServer(Server):
    """`sonjit annotate open` in its own process."""

    def start(self, project):
        command = [sys.executable, "-m", "sonjit", "annotate", "open", str(project), "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        wait_until(self.answers, 40, lambda: f"no server: {self.log()}", POLL_S)


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """Server of a project, the true joints (F, 42, 3) of its frames, and its rig."""
    folder = tmp_path_factory.mktemp("annotation")
    project, truth = make_project(folder, cameras=7, frames=3, lens=False)
    (folder / "views" / "cam1" / "image20.png").unlink()
    project.close()
    server = AnnotationServer(folder)
    server.start(folder / "project")
    server.truth, server.rig, server.folder = truth, project.rig, folder
    yield server
    server.close()


@pytest.fixture
def page(browser, studio, request):
    clear_storage(browser, studio.url)
    page = AnnotationPage(browser, studio)
    page.enter(request.node.name[5:45])  # each test has its own annotator
    yield page
    while len(browser.window_handles) > 1:
        browser.switch_to.window(browser.window_handles[-1])
        browser.close()
    browser.switch_to.window(browser.window_handles[0])
    browser.get("about:blank")  # stops the periodic requests of the page


class AnnotationPage:
    """Page in a tab of a browser."""

    def __init__(self, browser, studio):
        self.browser = browser
        self.studio = studio
        self.load()

    def load(self):
        self.browser.get(f"{self.studio.url}/annotate/")
        self.wait(lambda: self.run("return document.documentElement?.dataset.ready") == "true", "the page")

    def __getitem__(self, name):
        return self.browser.find_element("id", name)

    def run(self, script, *given):
        return self.browser.execute_script(script, *given)

    @property
    def state(self):
        return self.run("return JSON.parse(JSON.stringify(sonjitAnnotation.state))")

    @property
    def marks(self):
        return {(mark["view"], mark["joint"]): mark for mark in self.state["marks"]}

    @property
    def warnings(self):
        """Warnings except those about marks of several annotators, which other tests leave."""
        lines = self["warnings"].text.splitlines()
        return [line for line in lines if "px apart" not in line and line != "No warnings."]

    def wait(self, condition, what, seconds=60):
        return wait_until(condition, seconds, lambda: f"waited in vain for {what}; {self.messages()}", POLL_S)

    def messages(self):
        return self.run("return ['message', 'notice', 'saved'].map((id) => document.getElementById(id)?.innerText)")

    def enter(self, name):
        self["annotator"].clear()
        self["annotator"].send_keys(name)
        self["begin"].click()
        self.wait(lambda: self.state["turnMs"] >= 0 and self.state["annotator"] == name, "the first frame")

    def saved(self):
        self.wait(
            lambda: self.run(
                "const {unsent, seen, frame} = sonjitAnnotation.state; return !unsent && seen.frame === frame"
            ),
            "all saved",
        )

    def pixels(self, view, joint):
        number = self.state["frame"] // 10
        return self.studio.rig[view].project(self.studio.truth[number][joint])

    def pointer_at(self, tile, x, y):
        """Return an action chain that has moved the mouse to a position in a tile's image."""
        from selenium.webdriver import ActionChains

        spot = self.run(
            """
            const [k, ...spot] = arguments;
            const tile = sonjitAnnotation.wall.tiles[k];
            const {left, top} = tile.overlay.getBoundingClientRect();
            const [u, v] = tile.put(...spot);
            return [left + u, top + v];
            """,
            tile,
            float(x),
            float(y),
        )
        chain = ActionChains(self.browser, duration=20)
        chain.w3c_actions.pointer_action.move_to_location(*map(round, spot))
        return chain

    def click(self, tile, x, y):
        self.pointer_at(tile, x, y).click().perform()
        self.saved()

    def mark(self, tile, joint):
        """Click at a joint. Return the distance of the mark from the joint, in pixels of the image."""
        view = self.state["shown"][tile]
        place = self.pixels(view, joint)
        self.click(tile, *place)
        mark = self.marks[view, joint]
        return np.hypot(mark["x"] - place[0], mark["y"] - place[1])

    def press(self, *keys):
        from selenium.webdriver import ActionChains

        ActionChains(self.browser, duration=20).send_keys(*keys).perform()
        self.saved()

    def painted(self, tile, place):
        """Check whether the overlay of a tile is painted at a position of its image."""
        return run(self.browser, """
            const [number, x, y] = given;
            const tile = sonjitAnnotation.wall.tiles[number];
            const [u, v] = tile.put(x, y).map((value) => value * devicePixelRatio);
            await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
            const {data} = tile.overlay.getContext("2d").getImageData(u - 4, v - 4, 9, 9);
            return data.some((value, i) => i % 4 === 3 && value > 0);
        """, tile, *map(float, place))  # fmt: skip


def joint_in_all(page, joint):
    """Return the displayed views in which a joint is far from the edges of the image."""
    shown = page.state["shown"]
    return [
        k
        for k, name in enumerate(shown)
        if np.all((page.pixels(name, joint) > 40) & (page.pixels(name, joint) < (600, 440)))
    ]


def test_two_marks_by_mouse_are_seen_in_six_views_undone_and_kept(page):
    assert len(page.state["shown"]) == 6
    inside = joint_in_all(page, 0)
    assert len(inside) >= 4
    first, second, *_ = inside
    assert page.mark(first, 0) < 2
    lines = page.state["seen"]["lines"]
    assert lines
    assert page.state["seen"]["points_m"][0] is None
    assert page.mark(second, 0) < 2
    state = page.state
    assert np.linalg.norm(np.array(state["seen"]["points_m"][0]) - page.studio.truth[0][0]) < 0.02
    for tile in inside:
        assert page.painted(tile, state["seen"]["projected"][state["shown"][tile]][0])
    assert page["joint-status"].text.startswith("Triangulated from 2 marks")

    page["undo"].click()
    page.saved()
    assert len(page.marks) == 1
    assert page.state["seen"]["points_m"][0] is None
    page["redo"].click()
    page.saved()
    assert len(page.marks) == 2
    assert page.warnings == []
    view = state["shown"][second]
    place = page.pixels(view, 0)
    page.click(second, place[0] + 40, place[1] + 40)
    page.wait(lambda: "the marks disagree on the position" in page["warnings"].text, "the residual in words")
    assert f"px off in {view}" in page["warnings"].text
    page.press("z")
    page.wait(lambda: page.warnings == [], "what was undone")

    page.wait(lambda: page.state["progress"]["frames"].get("0"), "progress")
    kept, name = page.marks, page.state["annotator"]
    page.load()
    page.enter(name)
    page.saved()
    assert {place: (mark["x"], mark["y"]) for place, mark in page.marks.items()} == {
        place: (mark["x"], mark["y"]) for place, mark in kept.items()
    }
    assert page.state["seen"]["points_m"][0] is not None


def test_a_mark_is_dragged_and_the_image_moves_and_zooms(page):
    tile = joint_in_all(page, 0)[0]
    view = page.state["shown"][tile]
    page.mark(tile, 0)
    before = page.marks[view, 0]
    page.pointer_at(tile, before["x"], before["y"]).click_and_hold().move_by_offset(24, 12).move_by_offset(
        6, 3
    ).release().perform()
    page.saved()
    after = page.marks[view, 0]
    step = page.run("const t = sonjitAnnotation.wall.tiles[arguments[0]]; return t.put(1, 0)[0] - t.put(0, 0)[0]", tile)
    assert after["x"] - before["x"] == pytest.approx(30 / step, abs=2 / step)
    assert after["y"] - before["y"] == pytest.approx(15 / step, abs=2 / step)
    corner = page.run("return sonjitAnnotation.wall.tiles[arguments[0]].put(0, 0)", tile)
    page.pointer_at(tile, 600, 30).click_and_hold().move_by_offset(-30, 20).release().perform()
    moved = page.run("return sonjitAnnotation.wall.tiles[arguments[0]].put(0, 0)", tile)
    assert moved == pytest.approx([corner[0] - 30, corner[1] + 20], abs=1)
    assert page.marks[view, 0] == after, "moving the image marks nothing"
    page.press("+", "+")
    larger = page.run(
        "const t = sonjitAnnotation.wall.tiles[arguments[0]]; return t.put(1, 0)[0] - t.put(0, 0)[0]", tile
    )
    assert larger == pytest.approx(step * 1.25**2, rel=1e-3)
    page.press("0")
    assert page.run("return sonjitAnnotation.wall.tiles[arguments[0]].put(0, 0)", tile) == pytest.approx(corner, abs=1)


def test_the_keyboard_alone_is_enough(page):
    page.press("2")
    view = page.state["shown"][1]
    page.press("n", "n", "h")
    assert page.state["joint"] == 23
    page.press("\ue014", "\ue014", "\ue015", "\ue007")
    first = page.marks[view, 23]
    page.press("\ue014", "\ue007")
    assert page.marks[view, 23]["x"] - first["x"] == pytest.approx(1, abs=0.01)
    for key, state in (("o", "occluded"), ("u", "uncertain"), ("s", "seen")):
        page.press(key)
        assert page.marks[view, 23]["state"] == state
    page.press("x")
    assert page.marks[view, 23]["state"] == "absent"
    assert page.marks[view, 23]["x"] is None
    page.press("z")
    assert page.marks[view, 23]["state"] == "seen"
    page.press("\ue017")
    assert page.marks == {}
    page.press("d")
    page.wait(lambda: page.state["frame"] == 10, "the next frame")
    page.press("a")
    page.wait(lambda: page.state["frame"] == 0, "the frame before")
    page.press("?")
    assert page["help"].is_displayed()
    assert "the centre of rotation of a joint inside the finger" in page["help"].text
    guide = page["help"].find_element("css selector", "svg.guide")
    assert guide.rect["height"] > 60
    assert guide.get_attribute("aria-label").startswith("Two fingers from the side")
    assert len(page["keys"].find_elements("css selector", "kbd")) > 30
    page["help-close"].click()


@pytest.mark.nightly
def test_two_annotators_at_once_do_not_overwrite_each_other(page):
    browser, tile = page.browser, joint_in_all(page, 0)[0]
    view = page.state["shown"][tile]
    page.mark(tile, 0)
    mine = page.marks[view, 0]
    home = browser.current_window_handle
    browser.switch_to.new_window("tab")
    other = AnnotationPage(browser, page.studio)
    other.enter("Ben of " + page.studio.folder.name)
    assert other.marks == {}
    assert [
        mark["annotator"] for mark in other.state["seen"]["others"] if mark["joint"] == 0 and mark["x"] == mine["x"]
    ]
    other.click(tile, mine["x"] + 60, mine["y"])
    browser.switch_to.window(home)
    page.wait(
        lambda: any(mark["annotator"].startswith("Ben of") for mark in page.state["seen"]["others"]), "news of Ben"
    )
    assert page.marks[view, 0] == mine
    assert any(conflict["joint"] == 0 and conflict["view"] == view for conflict in page.state["seen"]["conflicts"])
    page.wait(lambda: "px apart" in page["warnings"].text, "the conflict in words")
    page.run("document.getElementById('agreement-card').open = true")
    page.wait(lambda: page["agreement"].find_elements("css selector", "tbody tr"), "the agreement")


def test_what_could_not_be_sent_is_sent_later(page):
    tile, other, *_ = joint_in_all(page, 0)
    page.mark(other, 0)
    saved = page.marks[page.state["shown"][other], 0]
    page.run("globalThis.realFetch = fetch; globalThis.fetch = () => Promise.reject(new TypeError('cut'))")
    view, place = page.state["shown"][tile], page.pixels(page.state["shown"][tile], 0)
    page.pointer_at(tile, *place).click().perform()
    page.wait(lambda: page["saved"].get_attribute("data-state") == "error", "the warning")
    assert (view, 0) in page.marks
    page.pointer_at(other, saved["x"] + 60, saved["y"]).click().perform()
    page.wait(lambda: page.marks[saved["view"], 0]["x"] > saved["x"] + 50, "the mark that moved")
    name = page.state["annotator"]
    page.load()  # the page was closed before the server came back
    page.enter(name)
    page.saved()
    assert (view, 0) in page.marks
    assert page.marks[saved["view"], 0]["x"] > saved["x"] + 50
    assert page["saved"].get_attribute("data-state") == "running"


@pytest.mark.nightly
def test_annotators_who_share_a_tab_have_separate_marks(page):
    tile, other, *_ = joint_in_all(page, 0)
    view, name = page.state["shown"][tile], page.state["annotator"]
    page.mark(tile, 0)
    mine = page.marks[view, 0]
    page.run("""
        const fetch = globalThis.realFetch = globalThis.fetch;
        globalThis.fetch = (url, request) =>
            request?.method === "POST" ? Promise.reject(new TypeError("cut")) : fetch(url, request);
    """)
    page.pointer_at(other, *page.pixels(page.state["shown"][other], 0)).click().perform()
    page.wait(lambda: page.state["offline"], "the failed request")

    page["who"].click()
    page.enter("Second " + name)
    page.run("globalThis.fetch = realFetch")
    page.saved()
    assert page.marks == {}
    page.press("z")
    assert page.marks == {}, "edits of others are not undone"
    page.click(tile, mine["x"] + 60, mine["y"])
    assert page.marks[view, 0]["x"] > mine["x"] + 50
    assert len(page.marks) == 1

    page["who"].click()
    page.enter(name)
    page.saved()
    assert len(page.marks) == 2
    assert page.marks[view, 0] == mine


def test_a_frame_with_one_complete_hand_needs_no_attention(page):
    marks = [
        {"id": f"one hand {frame} {view} {joint}", "frame": frame, "view": view, "joint": joint, "x": 9, "y": 9}
        for frame, joints in ((20, range(21)), (10, [21]))
        for view in ("cam0", "cam2")
        for joint in joints
    ]
    sent = {"annotator": "One hand", "marks": marks}
    run(page.browser, "await fetch('/v1/annotate/marks', {method: 'POST', body: JSON.stringify(given[0])})", sent)
    page.press("d")
    page.wait(lambda: page.state["frame"] == 10, "the next frame")
    page.press("g")
    page.wait(lambda: page.state["frame"] != 10, "a frame that needs attention")
    assert page.state["frame"] == 0
    assert float(page["progress"].get_attribute("value")) == pytest.approx(1 / 3)


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("language", LANGUAGES)
def test_every_control_has_a_name(page, language):
    page.run("const l = document.getElementById('language'); l.value = arguments[0]; l.onchange()", language)
    page.wait(lambda: page.run("return document.documentElement.lang") == language, language)
    count, unnamed = unnamed_controls(page.browser)
    assert count > 70
    assert unnamed == []
    ids = page.run("return [...document.querySelectorAll('[id]')].map(({id}) => id)")
    assert len(ids) == len(set(ids))
    bare = page.run("""return [...document.querySelectorAll('[data-i18n]')]
        .filter((node) => node.textContent === node.dataset.i18n).map((node) => node.dataset.i18n)""")
    assert bare == []


def test_both_languages_have_all_texts_that_the_page_uses():
    english = assert_same_texts(FOLDER / "i18n")
    known = english.keys() | json.loads((PAGE / "i18n" / "en.json").read_text("utf-8")).keys()
    asked = set(re.findall(r'data-i18n(?:-label)?="([^"]+)"', (FOLDER / "index.html").read_text("utf-8")))
    for module in (WEB / "src" / "page" / "annotate").glob("*.ts"):
        code = module.read_text("utf-8")
        asked |= set(re.findall(r'\btext\(\s*"([^"]+)"', code))
        asked |= {f"notice.{key}" for key in re.findall(r'\bnotify\(\s*"([^"]+)"', code)}
        asked |= {f"key.{key}" for key in re.findall(r'\bkey\(\s*"[^"]+",\s*"([^"]+)"', code)}
    assert asked - known == set()
