"""Apps of bundlers compile strictly with the packed packages, find their files, and download little for hands."""

import mimetypes
import shutil
import subprocess
from pathlib import Path

import pytest

from .conftest import hosted, run
from .web_module import TYPES, WEB

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.network]
PROJECTS = Path(__file__).with_name("npm")
MOST_BYTES = 12e6
CALL = """
    while (!globalThis.kit) await new Promise((next) => setTimeout(next, 20));
    const pen = new OffscreenCanvas(640, 480).getContext("2d");
    pen.drawImage(await createImageBitmap(await (await fetch("/photo.png")).blob()), 0, 0, 640, 480);
    return kit[given[0]](pen.getImageData(0, 0, 640, 480));
"""


@pytest.fixture(scope="module")
def packages(module, tmp_path_factory):
    """Return the packages for hands."""
    asked = ["npm", "view", "vite", "version", "--fetch-retries=0", "--fetch-timeout=20000"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("npm has no registry")
    out = tmp_path_factory.mktemp("packages")
    subprocess.run(["node", "pack.js", out, module["sonjit-web.js"].parent, "hands"], cwd=WEB, check=True)
    return list(out.iterdir())


@pytest.mark.parametrize(("name", "output"), [("vite", "dist"), ("webpack", "public"), ("next", "out")])
def test_an_app_finds_hands(browser, site, show, packages, photo, tmp_path, name, output):
    app = shutil.copytree(PROJECTS / name, tmp_path / name)
    shutil.copy(PROJECTS / "hands.ts", app)
    for command in ("npm install --no-audit --no-fund", "npx sonjit-web public/sonjit-web", "npm run build"):
        words = ["nice", "-n", "19", *command.split(), *(packages if "install" in command else [])]
        done = subprocess.run(words, cwd=app, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    with hosted() as own:
        own.files["/photo.png"] = image = site.files[show(photo)]
        for path in filter(Path.is_file, (app / output).rglob("*")):
            kind = TYPES.get(path.suffix) or mimetypes.guess_type(path)[0] or "text/plain"
            own.files[f"/{path.relative_to(app / output).as_posix()}"] = kind, path.read_bytes()
        own.files["/"] = own.files["/index.html"]
        browser.get(own.url)
        hands = run(browser, CALL, "track")
        assert own.sent - len(image[1]) < MOST_BYTES
        assert len(hands) == run(browser, CALL, "detect") > 0
        assert all(gesture and curl > 0 for gesture, curl in hands)
        browser.get("about:blank")
