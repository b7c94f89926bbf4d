"""`examples/catch.html`, the game of the tutorial for game developers, with the bundled clip as the camera."""

from pathlib import Path

import pytest

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .web_module import put_on

pytestmark = [pytest.mark.browser, pytest.mark.slow]

PROJECT = Path(__file__).parents[2]


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
