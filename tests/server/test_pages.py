"""Files of the page: addresses of a server, and a folder for any web host, with a module of empty files."""

import json

import pytest
from starlette.testclient import TestClient

from sonjit._util.errors import InputError
from sonjit.server import pages
from sonjit.server.app import create_app
from sonjit.server.pages import BUILT_ENGINE, CLASSIFIER_FILE, DATA_FOLDERS, PAGE, app_files, write_page
from sonjit.server.settings import Settings
from sonjit.weights.catalog import find_record

MODULE = {"sonjit-web.js": "js", "wasm/a.wasm.gz": "gz", "sub/b.js": "js", "notes.txt": "no part of a page"}


@pytest.fixture
def engine(tmp_path):
    """Return a module for pages with empty networks of hands."""
    folder = tmp_path / "engine"
    for name, text in MODULE.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "models").mkdir()
    for name in ("palm-lite", "hand-lite"):
        (folder / "models" / find_record(name).file).write_text(name)
    return folder


def below(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_written_page_has_the_app_its_data_and_the_module(engine, tmp_path):
    folder = tmp_path / "page"
    written = write_page(folder, engine)
    assert sorted(written) == below(folder)
    models = [f"engine/models/{find_record(name).file}" for name in ("hand-lite", "palm-lite")]
    classifier = [CLASSIFIER_FILE] * (CLASSIFIER_FILE in written)  # of this machine
    own = [f"engine/{name}" for name in ("sonjit-web.js", "sub/b.js", "wasm/a.wasm.gz")] + models
    data = [f"{name}/{path.name}" for name, source in DATA_FOLDERS.items() for path in source.glob("*.json")]
    others = ["files.json", "index.html", "kinds.json", "manifest.webmanifest", "sample.mp4", "sw.js"]
    assert sorted(written) == sorted([*app_files(), *own, *classifier, *data, *others])
    assert {"skeletons/hand_mediapipe21.json", "spec/results.json"} <= set(data)
    assert [(folder / name).read_text() for name in own] == ["js", "js", "gz", "hand-lite", "palm-lite"]
    kept = json.loads((folder / "files.json").read_text())["files"]
    late = {name for name in written if name.startswith("avatar/")}
    assert late == {"avatar/sample.vrm", "avatar/scene.js"}
    assert kept == ["./", *sorted(set(written) - {"index.html", "sw.js", "files.json", *own, *classifier, *late})]
    found = json.loads((folder / "kinds.json").read_text())
    assert {name: kind["models"] for name, kind in found["kinds"].items()} == {"hands": ["lite"]}
    assert found["kinds"] == found["in_page"]
    page = (folder / "index.html").read_text("utf-8")
    assert (page.count('<html data-computes="here" '), page.count('data-i18n="foot.here"')) == (1, 1)
    assert 'data-i18n="foot"' not in page


def test_files_of_the_app_are_those_of_the_live_page():
    names = app_files()
    assert names == sorted(names)
    assert {"app.js", "icon.svg", "avatar/scene.js"} < set(names)
    assert not [name for name in names if name.startswith(("annotate/", "api.", "sw.js", "index.html", "frames."))]
    assert set(names) < {path.relative_to(PAGE).as_posix() for path in PAGE.rglob("*")}


def test_a_page_cannot_be_written_over_files_or_without_module_or_networks(engine, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    write_page(full, engine)  # an empty folder
    with pytest.raises(InputError, match="is not empty: choose a new folder"):
        write_page(full, engine)
    with pytest.raises(InputError, match=r"no sonjit-web\.js in .*none: type make web"):
        write_page(tmp_path / "page", tmp_path / "none")
    for path in (engine / "models").iterdir():
        path.unlink()
    with pytest.raises(InputError, match="no networks for pages: type sonjit models pull hands"):
        write_page(tmp_path / "page", engine)
    assert not (tmp_path / "page").exists()


def client_of(engine, **settings):
    return TestClient(create_app(Settings(**settings), engine=engine), "http://127.0.0.1")


def test_a_server_gives_the_files_of_the_page(engine, tmp_path):
    client = client_of(engine)
    specs = {f"spec/{path.name}" for path in DATA_FOLDERS["spec"].glob("*.json")}
    first = [name for name in app_files() if not name.startswith("avatar/")]
    assert client.get("/files.json").json() == {"files": ["./", *first, *sorted(specs)]}
    for name in ("avatar/sample.vrm", "avatar/scene.js"):
        assert client.get(f"/{name}").content == (PAGE / name).read_bytes()
    assert client.get("/docs").content == (PAGE / "api.html").read_bytes()
    assert client.get("/").content == (PAGE / "index.html").read_bytes()
    assert client.get("/sample.mp4").content == (pages.data_files.ASSETS / "demo.mp4").read_bytes()
    module, page = client.get("/engine/sonjit-web.js"), client.get("/sw.js")
    assert (module.text, module.status_code) == ("js", 200)
    policies = [answer.headers["content-security-policy"] for answer in (module, page)]
    assert ["wasm-unsafe-eval" in policy for policy in policies] == [True, False]
    assert client_of(tmp_path / "none").get("/engine/sonjit-web.js").status_code == 404
    for name in ("skeletons/hand_mediapipe21.json", *specs):
        assert client.get(f"/{name}").json()
    for name in ("skeletons/__init__.py", "skeletons/faces.py", "spec/README.md", "skeletons/none.json"):
        assert client.get(f"/{name}").status_code == 404
    known = client.get("/openapi.json").json()["paths"]
    assert not {"/docs", "/files.json", "/manifest.webmanifest", "/sample.mp4"} & known.keys()


def test_only_a_page_that_shows_the_token_gets_it_for_its_start(engine):
    shown = {"authorization": "Bearer a/b"}
    plain = json.loads((PAGE / "manifest.webmanifest").read_text("utf-8"))
    for settings, headers, start in (
        ({}, {}, plain["start_url"]),
        ({}, shown, plain["start_url"]),
        ({"token": "a/b"}, {}, plain["start_url"]),
        ({"token": "a/b"}, shown, "./#token=a%2Fb"),
    ):
        answer = client_of(engine, **settings).get("/manifest.webmanifest", headers=headers)
        assert answer.headers["content-type"] == "application/manifest+json"
        assert answer.json() == plain | {"start_url": start}


def test_the_module_is_that_of_the_checkout_or_of_the_package():
    checkout = PAGE.parents[3] / "web" / "dist"
    has_module = (checkout / "sonjit-web.js").is_file()
    assert (checkout if has_module else pages.data_files.ASSETS / "web") == BUILT_ENGINE
