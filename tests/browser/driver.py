"""Drive the page in a browser."""

import contextlib
import json
import re
from importlib.resources import files

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import run

LANGUAGES = json.loads((files("sonjit.server") / "page" / "i18n" / "languages.json").read_text("utf-8"))
POLL_S = 0.04  # of a page, whose answers cost more than those of threads
CONTROLS = "a[href], button, input, select, summary, [tabindex='0'], video[controls]"
EMPTY = """
    const canvas = document.getElementById(given[0]);
    if (!canvas.width || !canvas.height) return 0;
    const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    let ink = 0;
    for (let i = 3; i < data.length; i += 4) ink += data[i] > 0;
    return ink / (canvas.width * canvas.height);
"""
NEAR = """
    const [points, width, height] = given;
    const canvas = document.getElementById("overlay");
    const pen = canvas.getContext("2d");
    const scale = canvas.width / width;
    return points.map(([x, y]) => {
        const {data} = pen.getImageData(x * scale - 3, y * scale - 3, 7, 7);
        return data.some((value, i) => i % 4 === 3 && value > 0);
    });
"""


def assert_same_texts(folder):
    """Check that all languages have the same texts with the same holes, and return the English ones."""
    read = {name: json.loads((folder / f"{name}.json").read_text("utf-8")) for name in LANGUAGES}
    holes = {
        name: {key: set(re.findall(r"\{\w+\}", text)) for key, text in texts.items()} for name, texts in read.items()
    }
    assert [name for name in read if holes[name] != holes["en"]] == []
    return read["en"]


def unnamed_controls(browser):
    """Open all sections. Return the number of displayed controls, and the text of those without a name."""
    browser.execute_script("for (const fold of document.querySelectorAll('details')) fold.open = true")
    from selenium.common.exceptions import StaleElementReferenceException

    try:
        controls = [one for one in browser.find_elements("css selector", CONTROLS) if one.is_displayed()]
        unnamed = [one.get_attribute("outerHTML")[:120] for one in controls if not one.accessible_name.strip()]
    except StaleElementReferenceException:  # the page has drawn a list anew, as after another language
        return unnamed_controls(browser)
    return len(controls), unnamed


def clear_storage(browser, url):
    """Clear what pages of an address stored, such as the language that another test chose."""
    browser.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": url.split("?")[0], "storageTypes": "all"})


class Page:
    """Page of a server's address, with a token if it requires one, in a driver of selenium."""

    def __init__(self, browser, url):
        self.browser = browser
        clear_storage(browser, url)
        browser.get(url)
        self.wait_until_ready()

    def __getitem__(self, name):
        return self.browser.find_element("id", name)

    @property
    def state(self):
        return self.browser.execute_script("return globalThis.sonjitPage.state")

    @property
    def latest(self):
        return self.browser.execute_script("return globalThis.sonjitPage.state.latest") or {}

    @property
    def status(self):
        return self["status"].get_attribute("data-state")

    @property
    def ink(self):
        """Return the share of the overlay that is painted."""
        return run(self.browser, EMPTY, "overlay")

    def painted_at(self, points, width, height):
        """Check for each point (x, y) of an image of this size whether something is painted there."""
        return run(self.browser, NEAR, [[float(x), float(y)] for x, y in points], width, height)

    def wait(self, condition, what, seconds=60):
        def message():
            texts = self.browser.execute_script(
                "return ['message', 'status'].map((id) => document.getElementById(id)?.innerText)"
            )
            return f"waited in vain for {what}; the page shows {texts}"

        return wait_until(condition, seconds, message, POLL_S)

    def wait_until_ready(self):
        ready = "return document.documentElement?.dataset.ready"
        self.wait(lambda: self.browser.execute_script(ready) == "true", "the page")

    def wait_for(self, *states):
        self.wait(lambda: self.status in states, f"the status {states}")

    def click(self, name):
        """Click a control. Open the collapsible sections around it first."""
        element = self[name]
        folds = "for (let one = arguments[0]; (one = one?.closest('details')); one = one.parentElement) one.open = true"
        self.browser.execute_script(folds, element)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        (element if element.is_displayed() and element.size["width"] > 2 else self.label_of(name)).click()

    def label_of(self, name):
        """Return the label of a switch, which may be visible in place of the switch."""
        return self.browser.execute_script("return document.getElementById(arguments[0]).labels[0]", name)

    def tick(self, name, on=True):
        if self[name].is_selected() != on:
            self.click(name)

    def choose(self, name, value):
        self.browser.execute_script(
            """const field = document.getElementById(arguments[0]);
            field.value = arguments[1];
            for (const kind of ["input", "change"]) field.dispatchEvent(new Event(kind, {bubbles: true}));""",
            *(name, value),
        )

    def upload(self, name, *paths):
        self[name].send_keys("\n".join(map(str, paths)))

    def start(self):
        self.click("start")
        self.wait_for("running")

    def stop(self):
        self.click("stop")
        self.wait_for("stopped")

    def download(self, control, ending):
        """Click a control, given by its id or element, and read the downloaded file."""
        before = set(self.browser.downloads.iterdir())
        self.click(control) if isinstance(control, str) else control.click()

        def arrived():
            new = [path for path in set(self.browser.downloads.iterdir()) - before if path.name.endswith(ending)]
            with contextlib.suppress(FileNotFoundError):
                return [path for path in new if path.stat().st_size]
            return None

        return self.wait(arrived, f"a file {ending}")[0]
