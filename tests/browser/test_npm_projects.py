"""Packed packages are complete and compile in strict pages; apps of bundlers find their files and download little."""

import json
import mimetypes
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from sonjit.server.kinds import kinds_in_pages

from .conftest import hosted, run
from .web_module import TASKS_VISION, TRACK, TYPES, WEB

pytestmark = [pytest.mark.slow, pytest.mark.nightly]
HERE = Path(__file__).parent
MEDIAPIPE, MEDIAPIPE_1 = TASKS_VISION
NEW = {"BrushMode", "Stroke", "InteractiveSegmenterWasmModule"}
"""Names of 1.1.0 that `tasks-vision` lacks, with those of the segmenter of versions before it."""
OURS = "sonjit-web/tasks-vision"
MOST_BYTES = 12e6
CALL = """
    while (!globalThis.kit) await new Promise((next) => setTimeout(next, 20));
    const pen = new OffscreenCanvas(640, 480).getContext("2d");
    pen.drawImage(await createImageBitmap(await (await fetch("/photo.png")).blob()), 0, 0, 640, 480);
    return kit[given[0]](pen.getImageData(0, 0, 640, 480));
"""


@pytest.fixture(scope="module")
def packages(module, tmp_path_factory):
    """Return the packed packages of the module, and of the networks of each kind."""
    out = tmp_path_factory.mktemp("packages")
    subprocess.run(["node", "pack.js", out, module["sonjit-web.js"].parent, *kinds_in_pages()], cwd=WEB, check=True)
    return list(out.iterdir())


def networks_of(packages, kind):
    """Return the files of the networks of a kind by path: those of its package and of the packages that it requires."""
    (package,) = (path for path in packages if f"-models-{kind}-" in path.name)
    with tarfile.open(package) as archive:
        manifest = json.load(archive.extractfile("package/package.json"))
        names = [name for name in archive.getnames() if name.startswith("package/models/")]
        files = {name.removeprefix("package/"): archive.extractfile(name).read() for name in names}
    for name in manifest["dependencies"]:
        files |= networks_of(packages, name.rpartition("-")[2])
    return files


@pytest.mark.browser
@pytest.mark.usefixtures("all_networks")
@pytest.mark.parametrize("kind", kinds_in_pages())
def test_the_package_of_a_kind_has_all_files_of_its_search(web_page, site, module, packages, show, photo, kind):
    files = {name: path.read_bytes() for name, path in module.items() if not name.startswith("models/")}
    for name, content in {**files, **networks_of(packages, kind)}.items():
        site.files[f"/{kind}/{name}"] = TYPES[Path(name).suffix], content
    run(web_page, TRACK, kind, [show(photo)], {"search": "thorough"}, "detect", {"base": f"{site.url}/{kind}/"})


@pytest.fixture(scope="module")
def app(packages, tmp_path_factory):
    """Return the folder of an app of three bundlers."""
    asked = ["npm", "view", "vite", "version", "--fetch-retries=0", "--fetch-timeout=20000"]
    if subprocess.run(asked, capture_output=True, check=False).returncode:
        pytest.skip("npm has no registry")
    app = shutil.copytree(HERE / "npm", tmp_path_factory.mktemp("app"), dirs_exist_ok=True)
    needed = [path for path in packages if "-models-" not in path.name or "-models-hands-" in path.name]
    call(app, "npm install --no-audit --no-fund --prefer-offline", *needed)
    call(app, "npx sonjit-web public/sonjit-web")
    yield app
    shutil.rmtree(app)


def call(app, command, *words):
    done = subprocess.run([*command.split(), *words], cwd=app, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.browser
@pytest.mark.parametrize(("name", "output"), [("vite", "dist"), ("webpack", "webpack"), ("next", "out")])
def test_an_app_finds_hands(browser, site, show, app, photo, name, output):
    call(app, f"npm run {name}")
    with hosted() as own:
        own.files["/photo.png"] = image = site.files[show(photo)]
        for folder in (app / "public", app / output):
            for path in filter(Path.is_file, folder.rglob("*")):
                kind = TYPES.get(path.suffix) or mimetypes.guess_type(path)[0] or "text/plain"
                own.files[f"/{path.relative_to(folder).as_posix()}"] = kind, path.read_bytes()
        own.files["/"] = own.files["/index.html"]
        browser.get(own.url)
        hands = run(browser, CALL, "track")
        assert own.sent - len(image[1]) < MOST_BYTES
        assert len(hands) == run(browser, CALL, "detect") > 0
        assert all(gesture and curl > 0 for gesture, curl in hands)
        browser.get("about:blank")


@pytest.fixture(scope="module")
def page(packages, tmp_path_factory):
    """Return a folder with the declarations of both packages."""
    folder = tmp_path_factory.mktemp("page")
    (ours,) = (path for path in packages if "models" not in path.name)
    with tarfile.open(ours) as archive:
        archive.extractall(folder / "node_modules", filter="data")
    (folder / "node_modules" / "package").rename(folder / "node_modules" / "sonjit-web")
    for name in TASKS_VISION:
        shutil.copytree(WEB / "node_modules" / name, folder / "node_modules" / name)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder


def compiled(page, texts, resolution="bundler"):
    """Return what the compiler prints for the texts of files by name, such as `a.ts`."""
    for name, text in texts.items():
        (page / name).write_text(text)
    module = {"bundler": "esnext"}.get(resolution, resolution)
    options = f"--strict --skipLibCheck false --noEmit --target es2022 --lib es2024,dom,dom.iterable --module {module}"
    tsc = [WEB / "node_modules/.bin/tsc", *options.split(), "--moduleResolution", resolution, *texts]
    return subprocess.run(tsc, cwd=page, capture_output=True, text=True, check=False).stdout


def every_name(page, package):
    """Return a program that compiles if every name of MediaPipe is exported with a type that fits."""
    declared = (page / "node_modules" / package / "vision.d.ts").read_text()
    words = re.findall(r"^export (?:declare (?:(class)|\w+) (\w+)|\{ \w+ as (\w+))", declared, re.MULTILINE)
    names = {name for _, *either in words for name in either if name} - {"DEFAULT_CATEGORY_TO_COLOR_MAP"}
    if package == MEDIAPIPE_1:
        names = {name for name in names - NEW if not name.startswith("InteractiveSegmenter")}
    assert len(names) > 50
    lines = [f'import * as {name} from "{package}";' for name, package in (("ours", OURS), ("theirs", package))]
    lines += [
        f"export const {name} = (one: ours.{name}): theirs.{name} => one;"
        for name in sorted(names)
        if not name.endswith("Callback")
    ]
    # MPImage lacks static members
    classes = [name for kind, name, _ in words if kind and name != "MPImage" and name in names]
    lines += [f"export const Made{name}: Omit<typeof theirs.{name}, 'prototype'> = ours.{name};" for name in classes]
    return "\n".join(lines)


def test_pages_of_other_packages_compile_with_ours(page):
    """Examples, a page of MediaPipe with either package, and every name of it, in one run of the compiler."""
    theirs = (HERE / "mediapipe_page.ts").read_text()
    texts = {"hands.ts": (HERE / "npm/hands.ts").read_text()}
    texts |= {"theirs.ts": theirs, "ours.ts": theirs.replace(MEDIAPIPE, OURS)}
    texts |= {f"names{number}.ts": every_name(page, package) for number, package in enumerate(TASKS_VISION)}
    assert compiled(page, texts) == ""


def test_an_example_compiles_in_modules_of_node(page):
    assert compiled(page, {"hands.ts": (HERE / "npm/hands.ts").read_text()}, "nodenext") == ""
