"""Fixtures for browser tests: one Chromium, whose camera plays the bundled clip, servers and web sites."""

import contextlib
import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from fractions import Fraction
from types import SimpleNamespace
from urllib.parse import urlsplit

import av
import cv2
import numpy as np
import pytest

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .web_module import TRACK, WEB, in_python, put_on, put_page_modules_on

LOCAL = "http://127.0.0.1:"
# Chromium logs this when a test opens another page while the last one sends an image.
LEFT_WHILE_SENDING = "Failed to load Blob"
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage", "--lang=en"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream", "--window-size=1280,1000"),
    *("--autoplay-policy=no-user-gesture-required", "--disk-cache-size=1"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # requests to other machines fail
)
os.environ |= {"SE_OFFLINE": "true", "SE_AVOID_STATS": "true"}


class Server:
    """`sonjit serve` in its own process, with its log in a folder."""

    def __init__(self, folder, program=("-m", "sonjit")):
        self._program = program
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = (folder / "server.log").open("a+")
        self._process = None

    def start(self, *options):
        kept = () if "--jobs-folder" in options else ("--temporary",)
        command = [sys.executable, *self._program, "serve", "--port", str(self.port), *kept, *options]
        self._process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        wait_until(self.answers, 40, lambda: f"no server: {self.log()}", every_s=0.04)

    def answers(self):
        if self._process.poll() is not None:
            pytest.fail(f"the server ended: {self.log()}")
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=10):
                return True
        except urllib.error.HTTPError:
            return True  # it requires a token
        except (urllib.error.URLError, ConnectionError):
            return False

    def stop(self, how=signal.SIGINT):
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(20)
            self._process = None

    def log(self):
        self._log.seek(0)
        return self._log.read()

    def close(self):
        self.stop()
        self._log.close()


@pytest.fixture(scope="session")
def new_server(weights, tmp_path_factory):
    """Return a function that starts another server with options."""
    made = []

    def make(*options):
        server = Server(tmp_path_factory.mktemp("server"))
        made.append(server)
        server.start(*options)
        return server

    yield make
    for server in made:
        server.close()


@contextlib.contextmanager
def hosted(headers=()):
    """Serve the files in `.files`, (type, bytes) by path, with additional headers, and count the bytes in `.sent`."""

    class Server(http.server.ThreadingHTTPServer):
        request_queue_size = 64  # browsers open several connections at once, and a refused one may end a worker

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            kind, body = files.get(self.path, ("text/plain", None))
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body or b"")))
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(ConnectionError):  # a closed page stops reading
                self.wfile.write(body or b"")
            site.sent += len(body or b"")

        def log_message(self, *_):
            pass

    files = {"/favicon.ico": ("image/png", b"")}
    with Server(("127.0.0.1", 0), Handler) as listener:
        thread = threading.Thread(target=listener.serve_forever)
        thread.start()
        try:
            site = SimpleNamespace(files=files, sent=0, url=f"http://127.0.0.1:{listener.server_port}")
            yield site
        finally:
            listener.shutdown()
            thread.join()


@pytest.fixture(scope="session")
def site():
    """Site whose origin differs from that of the server."""
    with hosted() as site:
        yield site


@pytest.fixture(scope="session")
def server(new_server, site):
    return new_server("--allow-origin", site.url)


@pytest.fixture(scope="session")
def camera_clip(demo_clip, tmp_path_factory):
    """Return the bundled clip in the format of Chromium's fake camera."""
    path = tmp_path_factory.mktemp("camera") / "clip.mjpeg"
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=30, options={"qscale": "2"})
        stream.width, stream.height, stream.pix_fmt = 640, 480, "yuvj420p"
        stream.time_base = Fraction(1, 30)
        for rgb in demo_clip[1][:120]:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb)))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def chromium(camera_clip, tmp_path_factory):
    """Browser that selenium drives."""
    downloads, profile = tmp_path_factory.mktemp("downloads"), tmp_path_factory.mktemp("profile")
    driver = open_chromium(
        *FLAGS, f"--use-file-for-fake-video-capture={camera_clip}", profile=profile, downloads=downloads
    )
    driver.downloads = downloads
    yield driver
    driver.quit()


def open_chromium(*flags, profile, downloads):
    """Start a browser with flags and folders for its profile and downloads."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install selenium")
    if not (BROWSER and DRIVER):
        pytest.skip("chromium or chromedriver is not installed")
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*flags, f"--user-data-dir={profile}"):
        options.add_argument(flag)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_script_timeout(120)
    return driver


@pytest.fixture(scope="module")
def window(chromium):
    """Browser that leaves the last page of a file, because a page that still runs takes time from other tests."""
    yield chromium
    chromium.get("about:blank")


@pytest.fixture
def browser(window):
    """Browser whose tests fail on any error in the console and on any request to another machine.

    A test lists the errors that it causes on purpose: `browser.expected.append("part of the message")`.
    """
    window.expected = [LEFT_WHILE_SENDING]
    window.get_log("browser")
    yield window
    errors = [entry["message"] for entry in window.get_log("browser") if entry["level"] == "SEVERE"]
    assert [text for text in errors if not any(part in text for part in window.expected)] == []
    loaded = window.execute_script("return performance.getEntriesByType('resource').map(({name}) => name)")
    foreign = [url for url in loaded if urlsplit(url).scheme not in ("blob", "data") and LOCAL not in url]
    assert [url for url in foreign if not any(part in url for part in window.expected)] == []


@pytest.fixture
def page(browser, server):
    """Page of the live app."""
    from .driver import Page  # imported late, because it imports this module

    page = Page(browser, server.url)
    yield page
    if page["stop"].is_enabled():
        page.stop()


@pytest.fixture(scope="session")
def images(photo, tmp_path_factory):
    """Folder with an image of hands, an empty image, and the image of hands in half its size."""
    folder = tmp_path_factory.mktemp("images")
    for name, rgb in {"1": photo, "2": np.full_like(photo, 90), "3": photo[::2, ::2]}.items():
        cv2.imwrite(str(folder / f"{name}.png"), rgb[..., ::-1])
    return folder


@pytest.fixture
def shown(page, images):
    """Page that has drawn the hands of the first image."""
    page.upload("source-file", images / "1.png")
    page.wait(lambda: page.latest.get("hands") and page.ink, "drawn hands")
    return page


KIT_PAGE = """<!doctype html><title>page</title>
<script type="importmap">{"imports": %s}</script>
<script type="module">
  %s
  globalThis.kit = kit0;
  globalThis.load = async (path) => {
    const image = new Image();
    image.src = path;
    await image.decode();
    return image;
  };
  globalThis.pixels = async (path) => {
    const image = await load(path);
    const pen = new OffscreenCanvas(image.width, image.height).getContext("2d");
    pen.drawImage(image, 0, 0);
    return pen.getImageData(0, 0, image.width, image.height);
  };
  const kept = new Map();
  globalThis.shared = async (kind, options) => {  // tests share the detectors of a model
    const key = `${kind} ${options.model ?? "usual"}`;
    const detector = kept.get(key) ?? (await kit.LocalDetector.create(kind, options));
    detector.reset();
    detector.configure(options);
    kept.delete(key);
    kept.set(key, detector);
    const [[oldest, unused]] = kept;
    if (kept.size > 3) kept.delete(oldest) && unused.close();
    return detector;
  };
  globalThis.once = async (model, config, image, options) => {
    const detector = await kit.createDetector(model, config);
    try {
      return await (detector.estimateHands ?? detector.estimateFaces ?? detector.estimatePoses)(image, options);
    } finally {
      detector.dispose();
    }
  };
  document.documentElement.dataset.ready = "true";
</script>"""


def open_kit(browser, site, imports):
    """Open a page that was written for tfjs-models, with modules imported by name from these addresses."""
    lines = "\n".join(f'import * as kit{i} from "{name}";' for i, name in enumerate(imports))
    site.files["/"] = ("text/html", (KIT_PAGE % (json.dumps(imports), lines)).encode())
    browser.get(site.url)
    return opened(browser)


def opened_for_theirs(browser, name):
    """Open the page again for a package of MediaPipe, because a page can load only one, and return the browser."""
    browser.refresh()
    opened(browser).execute_script("globalThis.theirs = {name: arguments[0]}", name)
    return browser


def opened(browser):
    """Wait until the page has loaded its modules, and return the browser."""
    run(browser, "while (!document.documentElement?.dataset.ready) await new Promise((next) => setTimeout(next, 20))")
    return browser


@pytest.fixture
def page_site(site):
    """Site with the modules of the page, as `/page/NAME.js`."""
    put_page_modules_on(site)
    return site


@pytest.fixture(scope="session")
def module(weights, tmp_path_factory):
    """Return the files of the built module by path. Use web/dist if nothing has changed since its build."""
    if not shutil.which("node") or not (WEB / "node_modules").is_dir():
        pytest.skip("what builds web/ is not installed: it needs npm; type: make web")
    networks, out = weights["hand-full"].parent, WEB / "dist"
    assets = WEB.parent / "src/sonjit/_util/assets"
    sources = [networks, *networks.rglob("*"), *(WEB / "src").rglob("*"), *WEB.glob("*.js*"), *assets.glob("*.*")]
    built = min((path.stat().st_mtime for path in out.rglob("*") if path.is_file()), default=0)
    if any(path.stat().st_mtime > built for path in sources):
        out = tmp_path_factory.mktemp("web")
        subprocess.run(["node", "build.js", networks, out], cwd=WEB, check=True)
    return {path.relative_to(out).as_posix(): path for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def web_page(browser, site, module, request):
    """Page that has loaded the module, with what earlier tests left in it, but no package of MediaPipe by mistake."""
    put_on(site, module)
    imports = {"sonjit-web": "/web/sonjit-web.js"}
    state = "return [document.querySelector('script[type=importmap]')?.textContent, Boolean(globalThis.theirs)]"
    written, has_theirs = browser.execute_script(state)
    is_open = browser.current_url == f"{site.url}/" and written == json.dumps({"imports": imports})
    if not is_open or (has_theirs and "theirs" not in request.fixturenames):
        open_kit(browser, site, imports)
    return browser


@pytest.fixture(scope="session")
def all_networks(module):
    """Skip the test if networks of faces, bodies or people are missing."""
    for weight in json.loads((WEB / "src" / "data.json").read_text("utf-8"))["weights"].values():
        if f"models/{weight['file']}" not in module:
            pytest.skip(f"{weight['file']} is not there; type: sonjit models pull face body holistic")


@pytest.fixture
def show(site):
    """Return a function that adds an image to the site and returns its path."""

    def show(rgb):
        path = f"/{len(site.files)}.png"
        site.files[path] = ("image/png", cv2.imencode(".png", rgb[..., ::-1])[1].tobytes())
        return path

    return show


@pytest.fixture
def both(web_page, all_networks, show):
    """Return a function that returns what the module and Python find in frames."""

    def both(kind, frames, options, call="track"):
        paths = [show(rgb) for rgb in frames]
        return run(web_page, TRACK, kind, paths, options, call), in_python(kind, frames, options, call)

    return both


def run(browser, body, *arguments):
    """Return the result of an async function with this body in the page. Its errors become RuntimeError."""
    script = """
        const done = arguments[arguments.length - 1];
        (async (...given) => { %s })(...arguments)
            .then((value) => done({value}), (error) => done({error: `${error.message ?? error}`}));
    """
    answer = browser.execute_async_script(script % body, *arguments)
    if "error" in answer:
        raise RuntimeError(answer["error"])
    return answer.get("value")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
