"""Streams of pages: answers, refusals, dropped frames, and a server that stops and restarts."""

import signal

import cv2
import pytest

from .conftest import run

pytestmark = pytest.mark.browser
START = """
    const {Connection} = await import("/page/connection.js");
    globalThis.connection?.close();
    globalThis.seen = [];
    globalThis.connection = new Connection({url: given[0], detectors: [{kind: "hands"}], token: given[1]});
    for (const name of ["state", "error"]) {
      connection.addEventListener(name, ({detail}) => seen.push(detail.state ?? detail.code));
    }
"""
SHOT = """
    const file = await (await fetch("/photo.png")).blob();
"""


@pytest.fixture
def page(browser, page_site, photo):
    site = page_site
    site.files["/blank"] = ("text/html", b"<!doctype html><title>blank</title>")
    site.files["/photo.png"] = ("image/png", cv2.imencode(".png", photo[..., ::-1])[1].tobytes())
    browser.get(f"{site.url}/blank")
    yield browser
    run(browser, "globalThis.connection?.close()")


@pytest.fixture(scope="module")
def mortal(new_server, site):
    """Server with a token, which tests stop."""
    return new_server("--allow-origin", site.url, "--token", "open-sesame")


def test_images_are_answered_in_order(page, server, photo):
    first, second, waiting = run(page, f"""{START} {SHOT}
        await connection.open();
        const first = await connection.send({{blob: file, time: 0}});
        connection.reset();
        return [first, await connection.send({{blob: file, time: 1}}), connection.inFlight];
    """, server.url)  # fmt: skip
    assert waiting == 0
    assert (second["width"], second["height"]) == photo.shape[1::-1]
    assert second["hands"]
    points = [[hand["keypoints"] for hand in answer["hands"]] for answer in (first, second)]
    assert points[0] == points[1]
    assert [first["frame"], first["time"], second["frame"], second["time"]] == [0, 0, 1, 1]


def test_a_refused_configuration_changes_nothing(page, server):
    message, answer, after = run(page, f"""{START} {SHOT}
        await connection.open();
        const best = [{{kind: "hands", model: "best"}}];
        const message = await connection.configure({{detectors: best}}).catch((error) => error.message);
        const answer = await connection.send({{blob: file, time: 0}});
        await connection.configure({{detectors: [{{kind: "face"}}]}});
        return [message, answer, await connection.send({{blob: file, time: 1}})];
    """, server.url)  # fmt: skip
    assert "lite" in message
    assert answer["hands"]
    assert "hands" not in after
    assert isinstance(after["faces"], list)


def test_what_is_no_image_is_refused_and_the_stream_goes_on(page, server):
    code, answer, seen = run(page, f"""{START} {SHOT}
        await connection.open();
        const code = await connection.send({{blob: new Blob(["x"]), time: 0}}).catch((error) => error.code);
        return [code, await connection.send({{blob: file, time: 1}}), seen];
    """, server.url)  # fmt: skip
    assert code == "bad_image"
    assert answer["hands"]
    assert seen[0] == "connecting"
    assert seen[-2:] == ["ready", "bad_image"]


def test_every_frame_is_answered_or_reported_as_dropped(page, server):
    outcomes = run(page, f"""{START} {SHOT}
        await connection.open();
        const frames = Array.from({{length: 40}}, (_, i) => connection.send({{blob: file, time: i / 30}}));
        return Promise.all(frames.map((frame) => frame.then((answer) => answer.frame, (error) => error.code)));
    """, server.url)  # fmt: skip
    answered = [outcome for outcome in outcomes if outcome != "dropped"]
    assert answered == [number for number, outcome in enumerate(outcomes) if outcome != "dropped"]
    assert 0 < len(answered) < len(outcomes)
    assert outcomes[-1] == 39  # the newest frame is never dropped


def test_the_page_reconnects_to_a_server_that_restarts(page, mortal):
    page.expected += ["ERR_CONNECTION_REFUSED", "WebSocket connection"]
    run(page, f"{START} {SHOT} await connection.open(); globalThis.file = file;", mortal.url, "open-sesame")
    mortal.stop(signal.SIGKILL)
    lost = run(page, """
        while (connection.state !== "waiting") await new Promise((next) => setTimeout(next, 20));
        return connection.send({blob: file, time: 0}).catch((error) => error.code);
    """)  # fmt: skip
    mortal.start("--allow-origin", page.current_url.removesuffix("/blank"), "--token", "open-sesame")
    answer, seen = run(page, "await connection.open(); return [await connection.send({blob: file, time: 1}), seen]")
    assert lost == "gone"
    assert answer["hands"]
    assert "waiting" in seen
    assert seen[-1] == "ready"


@pytest.mark.nightly
def test_a_stream_that_was_silent_connects_again_when_it_sends(page, new_server, site):
    hasty = new_server("--allow-origin", site.url, "--idle-minutes", "0.1")
    first, second, seen = run(page, f"""{START} {SHOT}
        await connection.open();
        const first = await connection.send({{blob: file, time: 0}});
        while (connection.state !== "idle") await new Promise((next) => setTimeout(next, 20));
        await new Promise((next) => setTimeout(next, 800)); // it would have tried by now
        const rested = seen.length;
        return [first, await connection.send({{blob: file, time: 1}}), seen.slice(rested - 1)];
    """, hasty.url)  # fmt: skip
    assert first["hands"]
    assert second["hands"]
    assert (seen[0], seen[1], seen[-1]) == ("idle", "connecting", "ready")


def test_a_wrong_token_is_not_tried_again(page, mortal):
    page.expected += ["401", "403", "WebSocket connection"]
    code, state = run(page, f"{START} return [await connection.open().catch((e) => e.code), connection.state]",
                      mortal.url, "wrong")  # fmt: skip
    assert code in ("no_token", "closed")
    assert state == "closed"


def test_after_close_nothing_is_sent(page, server):
    codes = run(page, f"""{START} {SHOT}
        await connection.open();
        const late = connection.send({{blob: file, time: 0}}).catch((error) => error.code);
        connection.close();
        return [await late, await connection.send({{blob: file, time: 1}}).catch((error) => error.code), seen.at(-1)];
    """, server.url)  # fmt: skip
    assert codes == ["closed", "closed", "closed"]
