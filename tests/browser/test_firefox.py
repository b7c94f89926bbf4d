"""The module in Firefox, which has another engine for scripts, WebAssembly, canvas and workers."""

import cv2
import pytest

from ..support.bundled_goldens import read_golden  # noqa: TID252  # tests of detectors also read them
from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import hosted, open_kit, run
from .driver import EMPTY
from .firefox import FIREFOX, Firefox
from .test_static_page import host  # noqa: F401  # a fixture
from .web_module import TRACK, offsets, put_on

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.nightly]


@pytest.fixture(scope="module")
def firefox(tmp_path_factory):
    if FIREFOX is None:
        pytest.skip("Firefox is not installed: apt-get install firefox-esr")
    firefox = Firefox(tmp_path_factory.mktemp("firefox"))
    yield firefox
    firefox.quit()


@pytest.mark.parametrize("isolated", [False, True])
def test_hands_of_stills_are_as_mediapipe_finds_them(firefox, module, show, site, demo_clip, isolated):
    """Firefox uses one thread in both cases, because threads of a worker may never start there."""
    frames = read_golden("demo.hands.full.stills")["frames"][::12]
    paths = [show(demo_clip[1][frame["frame"]]) for frame in frames]
    headers = [("Cross-Origin-Opener-Policy", "same-origin"), ("Cross-Origin-Embedder-Policy", "require-corp")]
    with hosted(headers if isolated else ()) as own:
        put_on(own, module)
        own.files |= {path: site.files[path] for path in paths}
        page = open_kit(firefox, own, {"sonjit-web": "/web/sonjit-web.js"})
        assert run(page, "return crossOriginIsolated") == isolated
        found = run(page, TRACK, "hands", paths, {"search": "fast", "mirrored": True}, "detect")
        page.get("about:blank")
    far = offsets(found, frames)
    assert max(far) < 1
    assert sum(far) / len(far) < 0.3


def test_the_written_page_finds_hands(firefox, host, photo, tmp_path):  # noqa: F811
    cv2.imwrite(str(tmp_path / "photo.png"), photo[..., ::-1])
    firefox.get(host.url)
    ready = "return document.documentElement?.dataset.ready === 'true'"
    wait_until(lambda: firefox.execute_script(ready), 30, lambda: "the page was not ready")
    firefox.upload("source-file", tmp_path / "photo.png")
    message = "return document.getElementById('message').innerText"
    found = "return (sonjitPage.state.latest?.hands ?? []).map(({handedness}) => handedness)"
    hands = wait_until(
        lambda: firefox.execute_script(found), 60, lambda: f"no hands; the page says {firefox.execute_script(message)}"
    )
    assert set(hands) <= {"Left", "Right"}
    assert run(firefox, EMPTY, "overlay") > 0
    firefox.get("about:blank")
