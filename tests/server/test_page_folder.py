"""Pages that run networks locally: available kinds by network, and delivery of the module by a server."""

import gzip
import json
import mimetypes
import shutil
import zipfile
from functools import partial

import pytest
from starlette.testclient import TestClient

from sonjit._util.errors import InputError
from sonjit.detectors.kinds import KINDS
from sonjit.server import app, pages
from sonjit.server.kinds import missing_for_stills
from sonjit.weights import find_weight

FACE_MEMBERS = ("face_detector", "face_landmarks_detector")
MODELS = {"hands": ["lite"], "face": ["mesh", "box", "box-full"], "body": ["lite"], "holistic": ["lite"]}

NETWORKS = "face-short face-full face-mesh palm-lite hand-lite pose-detector person-detector body-lite hand-recrop"


@pytest.fixture(autouse=True)
def quickly_packed(monkeypatch):
    """Pack networks with the lowest compression."""
    monkeypatch.setattr(gzip, "compress", partial(gzip.compress, compresslevel=1))


@pytest.fixture
def engine(tmp_path, need):
    """Return a browser module with some networks."""
    models = tmp_path / "engine" / "models"
    models.mkdir(parents=True)
    (models.parent / "sonjit-web.js").write_text("export {};")
    for path in need(*NETWORKS.split()).values():
        shutil.copy(path, models)
    return models.parent


def kinds_of(folder, engine, **more):
    """Write a page, and return its kinds."""
    pages.write_page(folder, engine, **more)
    return json.loads((folder / "kinds.json").read_text("utf-8"))["kinds"]


def test_a_page_offers_what_its_networks_can_find(engine, tmp_path):
    kinds = kinds_of(tmp_path / "page", engine)
    assert {name: kind["models"] for name, kind in kinds.items()} == MODELS
    assert not any({"blendshapes", "transform", "measures"} & kind["options"].keys() for kind in kinds.values())
    assert not any("thorough" in kind["options"]["search"]["enum"] for kind in kinds.values())
    assert missing_for_stills(KINDS["face"], engine) == ["proposals.tflite"]
    further = ["hand_heads.npz", "hand_refinement.npz", "proposals.tflite"]
    assert missing_for_stills(KINDS["hands"], engine) == ["pose_landmark_full.tflite", *further]
    shutil.copy(find_weight("body-full"), engine / "models")
    for name in further:
        (engine / "models" / name).touch()
    kinds = kinds_of(tmp_path / "thorough", engine)
    offered = [name for name, kind in kinds.items() if "thorough" in kind["options"]["search"]["enum"]]
    assert offered == ["hands", "face", "body"]  # the palm detector for people is missing
    (engine / "models" / find_weight("face-full").name).unlink()  # only images of hands are searched without it
    kinds = kinds_of(tmp_path / "other", engine)
    assert {name: kind["models"] for name, kind in kinds.items()} == MODELS | {
        "face": ["mesh", "box"],
        "body": ["full", "lite"],
    }
    assert [name for name, kind in kinds.items() if "thorough" in kind["options"]["search"]["enum"]] == ["hands"]
    shutil.rmtree(engine / "models")  # the module of an installed package gets the networks of this machine
    assert kinds_of(tmp_path / "installed", engine).keys() == MODELS.keys()
    packed = (tmp_path / "installed" / "engine" / "models" / find_weight("hand-lite").name).read_bytes()
    assert gzip.decompress(packed) == find_weight("hand-lite").read_bytes()


def test_a_bundle_of_faces_brings_blendshapes_and_poses(engine, tmp_path):
    bundles = [tmp_path / "hands.task", tmp_path / "faces.task"]
    for path, members in zip(bundles, (("hand_detector", "hand_landmarks_detector"), FACE_MEMBERS), strict=True):
        with zipfile.ZipFile(path, "w") as file:
            for name in members:
                file.writestr(f"{name}.tflite", b"")
    with pytest.raises(InputError, match=r"a hand_landmarker bundle; pages take MediaPipe's face_landmarker\.task"):
        pages.write_page(tmp_path / "page", engine, bundle=bundles[0])
    kinds = kinds_of(tmp_path / "page", engine, bundle=bundles[1])
    offered = {name: {"blendshapes", "transform"} & kind["options"].keys() for name, kind in kinds.items()}
    assert offered == {"hands": set(), "face": {"blendshapes", "transform"}, "body": set(), "holistic": set()}
    there = tmp_path / "page" / "engine" / "models" / "face_landmarker.task"
    assert there.read_bytes() == bundles[1].read_bytes()
    shutil.copy(there, engine / "models")
    assert kinds_of(tmp_path / "other", engine) == kinds


def test_a_server_gives_its_page_the_module(engine, tmp_path):
    """Check that WebAssembly is allowed only in the worker of the module."""
    with TestClient(app.create_app(engine=engine), "http://127.0.0.1") as client:
        in_page = client.get("/v1/kinds").json()["in_page"]
        module, page = client.get("/engine/sonjit-web.js"), client.get("/")
    assert {name: kind["models"] for name, kind in in_page.items()} == MODELS
    assert module.headers["content-type"].startswith("text/javascript")
    policies = [answer.headers["content-security-policy"] for answer in (module, page)]
    assert ["wasm-unsafe-eval" in policy for policy in policies] == [True, False]
    assert {answer.headers["cross-origin-embedder-policy"] for answer in (module, page)} == {"require-corp"}
    with TestClient(app.create_app(engine=tmp_path / "none"), "http://127.0.0.1") as client:
        assert client.get("/v1/kinds").json()["in_page"] == {}


def test_downloads_have_the_media_types_of_their_formats():
    guessed = [mimetypes.guess_type(f"result{ending}")[0] for ending in (".js", ".jsonl", ".parquet")]
    assert guessed == ["text/javascript", "application/x-ndjson", "application/vnd.apache.parquet"]
