"""Avatar of the page: generated models, moved by the face of a photograph."""

import cv2
import numpy as np
import pytest

from sonjit._util.glb import GlbBuilder
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.weights import add_bundle
from sonjit.weights.catalog import cache_folder, models_folder

from .conftest import run
from .driver import Page

pytestmark = pytest.mark.browser
ARKIT = ("jawOpen", "eyeBlink_L", "eyeBlink_R", "mouthSmileLeft", "mouthSmileRight")
FCL = ("Fcl_A", "Fcl_Blink_L", "Fcl_Blink_R", "Fcl_Joy", "Fcl_Joy_R")  # names of artists, outside of standards
PRESETS = {"aa": 0, "blinkLeft": 1, "blinkRight": 2, "happy": 3}
SKIN, WHITE, DARK, CLOTH = (0.75, 0.5, 0.35), (0.9, 0.9, 0.9), (0.03, 0.02, 0.02), (0.1, 0.25, 0.5)


def ellipsoid(centre, radii, rings=18):
    """Return vertices (V, 3) and faces (F, 3) of an ellipsoid."""
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.linspace(0, 2 * np.pi, rings), indexing="ij")
    unit = np.stack([np.sin(polar) * np.sin(around), np.cos(polar), np.sin(polar) * np.cos(around)], -1)
    corner = (np.arange(rings - 1)[:, None] * rings + np.arange(rings - 1)).reshape(-1, 1)
    faces = np.concatenate([corner + np.array(three) for three in ((0, rings, 1), (1, rings, rings + 1))])
    return np.asarray(centre) + unit.reshape(-1, 3) * radii, faces


def parts():
    """Return the parts of an avatar that looks along +z, in metres: vertices, faces, colour, morph target offsets."""
    still = np.zeros(len(ARKIT))[:, None, None]
    head, faces = ellipsoid((0, 1.6, 0), (0.08, 0.11, 0.09))
    jaw = still * head
    jaw[0, :, 1] = -0.035 * np.clip((1.57 - head[:, 1]) / 0.05, 0, 1)
    yield head, faces, SKIN, jaw
    nose, faces = ellipsoid((0, 1.595, 0.09), (0.012, 0.02, 0.02))
    yield nose, faces, SKIN, still * nose
    for side, blink in ((1, 1), (-1, 2)):
        for size, colour in ((1, WHITE), (0.55, DARK)):
            at = np.array([side * 0.032, 1.62, 0.075 + 0.02 * (1 - size)])
            eye, faces = ellipsoid(at, np.array([0.017, 0.013, 0.015]) * size)
            closed = still * eye
            closed[blink, :, 1] = 0.92 * (at - eye)[:, 1]
            yield eye, faces, colour, closed
    at = np.array([0, 1.54, 0.066])
    mouth, faces = ellipsoid(at, (0.03, 0.005, 0.015))
    moves = still * mouth
    moves[0] = (mouth - at) * [0, 4, 0] + [0, -0.012, 0]
    for smile, side in ((3, 1), (4, -1)):
        moves[smile, :, 1] = 0.02 * np.clip(side * mouth[:, 0] / 0.03, 0, 1) ** 2
    yield mouth, faces, DARK, moves
    body, faces = ellipsoid((0, 1.28, 0), (0.2, 0.2, 0.12))
    yield body, faces, CLOTH, still * body


def sparse(builder, rows):
    """Add an accessor that stores only the rows that are not 0."""
    used = np.flatnonzero(rows.any(1))
    if not len(used):
        used = np.array([0])
    accessors = builder.document["accessors"]
    indices, values = builder.add(used.astype(np.uint16)), builder.add(rows[used].astype(np.float32))
    at = {"bufferView": accessors[indices]["bufferView"], "componentType": 5123}
    bulk = {"count": len(used), "indices": at, "values": {"bufferView": accessors[values]["bufferView"]}}
    accessors.append({"componentType": 5126, "count": len(rows), "type": "VEC3", "sparse": bulk})
    return len(accessors) - 1


def avatar(path, names=ARKIT, vrm=None, **more):
    """Write a .glb. An avatar of VRM 0 or 1 also has a skin with hips and head, and VRM's names of both.

    What is given besides goes into the file's document as it is.
    """
    builder = GlbBuilder()
    document = builder.document
    for vertices, faces, colour, targets in parts():
        is_head = (vertices[:, 1] > 1.48)[:, None]
        joints = np.where(is_head, [1, 0, 0, 0], [0, 0, 0, 0]).astype(np.uint8)
        skin = {"JOINTS_0": joints, "WEIGHTS_0": np.float32([1, 0, 0, 0]) + np.zeros_like(joints, np.float32)}
        turned = vertices * ([-1, 1, -1] if vrm == 0 else 1)
        builder.add_mesh("part", faces, colour, POSITION=turned.astype(np.float32), **(skin if vrm is not None else {}))
        moves = [target * ([-1, 1, -1] if vrm == 0 else 1) for target in targets]
        document["meshes"][-1]["primitives"][0]["targets"] = [{"POSITION": sparse(builder, move)} for move in moves]
    primitives = [mesh["primitives"][0] for mesh in document["meshes"]]
    document |= {"meshes": [{"primitives": primitives, "extras": {"targetNames": names}}], "scene": 0}
    if vrm is None:
        document |= {"nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    else:
        neck = 1.5
        hips, head = {"name": "pelvis", "children": [1]}, {"name": "J_Bip_C_Head", "translation": [0, neck, 0]}
        inverses = np.stack([np.eye(4), np.eye(4)]).astype(np.float32)
        inverses[1, 1, 3] = -neck
        skin = {"joints": [0, 1], "inverseBindMatrices": builder.add(inverses)}
        document |= {"nodes": [hips, head, {"mesh": 0, "skin": 0}], "scenes": [{"nodes": [0, 2]}], "skins": [skin]}
        document["extensions"] = vrm_0() if vrm == 0 else vrm_1()
    document |= more
    path.write_bytes(builder.to_bytes())
    return path


def vrm_0():
    former = {0: "a", 1: "blink_l", 2: "blink_r", 3: "joy"}
    groups = [
        {"name": name, "presetName": name, "binds": [{"mesh": 0, "index": k, "weight": 100}]}
        for k, name in former.items()
    ]
    bones = {"humanBones": [{"bone": "head", "node": 1}]}
    return {"VRM": {"humanoid": bones, "blendShapeMaster": {"blendShapeGroups": groups}}}


def vrm_1():
    preset = {name: {"morphTargetBinds": [{"node": 2, "index": k, "weight": 1}]} for name, k in PRESETS.items()}
    preset["blinkLeft"]["isBinary"] = True
    return {"VRMC_vrm": {"humanoid": {"humanBones": {"head": {"node": 1}}}, "expressions": {"preset": preset}}}


@pytest.fixture(scope="session")
def face_server(new_server, data, tmp_path_factory):
    """Server whose cache contains a face landmarker's bundle."""
    bundle = data / "real" / "tasks" / "face_landmarker.task"
    if not bundle.is_file():
        pytest.skip(f"{bundle} is not there")
    home, cache = tmp_path_factory.mktemp("home"), cache_folder()
    (home / "models").mkdir()
    for path in models_folder().iterdir():
        (home / "models" / path.name).symlink_to(path)
    for name in ("bundles", "compiled"):  # reuse the files of other tests
        (cache / name).mkdir(exist_ok=True)
        (home / name).symlink_to(cache / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SONJIT_HOME", str(home))
        add_bundle(bundle)
        return new_server()


DROP = """
    const [name, bytes] = given;
    const dataTransfer = new DataTransfer();
    dataTransfer.items.add(new File([Uint8Array.from(bytes)], name));
    document.dispatchEvent(new DragEvent("drop", {dataTransfer, cancelable: true}));
"""
WEIGHTS = """
    const [bytes, blendshapes] = given;
    const {driversOf, readModel, targetWeights} = await import("/page/gltf.js");
    const model = await readModel(new File([Uint8Array.from(bytes)], "a.vrm"));
    const weights = targetWeights(model, driversOf(model), blendshapes);
    return [...weights].map(([node, values]) => [node, ...values]);
"""
LOSE_CONTEXT = """
window.lost = document.getElementById("avatar").getContext("webgl2").getExtension("WEBGL_lose_context");
lost.loseContext();
"""


def drop(page, path):
    """Drop a file onto the page."""
    run(page.browser, DROP, path.name, list(path.read_bytes()))


def seen(page):
    """Return the RGB image of the avatar's canvas. Chromedriver captures only the visible part of an element."""
    run(page.browser, "document.getElementById('avatar').scrollIntoView({block: 'center', behavior: 'instant'})")
    png = np.frombuffer(page["avatar"].screenshot_as_png, np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def is_skin(rgb):
    """Return the pixels with the hue of the head, in any light."""
    wanted = np.array(SKIN) ** (1 / 2.2)
    unit = rgb / np.maximum(np.linalg.norm(rgb, axis=-1, keepdims=True), 1)
    return (unit @ (wanted / np.linalg.norm(wanted)) > 0.995) & (rgb.sum(-1) > 150)


def white(rgb):
    """Return the visible area of the avatar's eyes, relative to its head."""
    is_white = (rgb.min(-1) > 120) & (np.ptp(rgb, axis=-1) < 12)
    return is_white[8:-8, 8:-8].sum() / max(is_skin(rgb).sum(), 1)  # without the round corners of the stage


def middle(rgb):
    """Return the distance of the head to the right of the stage's middle, in widths."""
    columns = np.nonzero(is_skin(rgb))[1]
    return columns.mean() / rgb.shape[1] - 0.5 if len(columns) else 0.0


def is_closed_and_left(rgb, rest):
    return white(rgb) < 0.6 * white(rest) and middle(rgb) < middle(rest) - 0.02


def test_an_avatar_closes_its_eyes_where_the_face_does(browser, face_server, data, tmp_path):
    page = Page(browser, face_server.url)
    page.tick("detector-hands", on=False)
    drop(page, avatar(tmp_path / "me.glb"))
    page.wait(lambda: page["avatar-state"].text.startswith("me.glb: 5 of 51"), "what moves it")
    page.wait(lambda: is_skin(seen(page)).sum() > 200, "the avatar", 60)
    rest = seen(page)
    page.upload("source-file", data / "real" / "wild" / "stock-emotions-b-1.jpg")  # eyes closed, left of the middle
    page.wait(lambda: page.latest.get("faces"), "a face", 60)
    face = page.latest["faces"][0]
    assert min(face["blendshapes"]["eyeBlinkLeft"], face["blendshapes"]["eyeBlinkRight"]) > 0.7
    page.wait(lambda: is_closed_and_left(seen(page), rest), "closed eyes left of the middle", 60)
    page.tick("mirror")
    page.wait(lambda: middle(seen(page)) > middle(rest) + 0.02, "a mirrored avatar", 60)
    run(page.browser, LOSE_CONTEXT)
    page.wait(lambda: not is_skin(seen(page)).any(), "a lost context", 60)
    run(page.browser, "lost.restoreContext();")
    page.wait(lambda: middle(seen(page)) > middle(rest) + 0.02, "the avatar in a restored context", 60)
    page.stop()


FACE = {"jawOpen": 0.25, "eyeBlinkLeft": 0.625, "eyeBlinkRight": 0.125, "mouthSmileLeft": 1.0, "mouthSmileRight": 0.5}
MOVED = [
    (ARKIT, None, [0, 0.25, 0.625, 0.125, 1, 0.5]),
    (ARKIT, 1, [2, 0.25, 0.625, 0.125, 1, 0.5]),  # not the preset besides, for it would move the same twice
    (FCL, 1, [2, 0.25, 1, 0.125, 0.75, 0]),  # its blinkLeft is all or nothing
    (FCL, 0, [2, 0.25, 0.625, 0.125, 0.75, 0]),
    (FCL, None, [0, 0, 0, 0, 0, 0]),
]


def test_blendshapes_move_targets_by_name_or_by_expression(browser, page_site, tmp_path):
    page_site.files["/blank"] = ("text/html", b"<!doctype html><title>blank</title>")
    browser.get(f"{page_site.url}/blank")
    for names, vrm, wanted in MOVED:
        model = avatar(tmp_path / "model", names, vrm).read_bytes()
        assert run(browser, WEIGHTS, list(model), FACE) == [wanted]
    names = run(browser, "return (await import('/page/gltf.js')).BLENDSHAPES")
    assert sorted(names) == sorted(BLENDSHAPES[1:])


REFUSED = [
    ({}, 16, "Export it as one binary glTF 2.0 file"),
    ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, None, "KHR_draco_mesh_compression"),
    ({}, 60_000, "Reason: "),
    ({"nodes": [{"mesh": 0, "children": [0]}]}, None, "its nodes form a circle"),
    ({"meshes": [{"primitives": [{"attributes": {"POSITION": 999}}]}]}, None, "Reason: "),
]


def test_a_file_that_cannot_be_read_is_refused_in_words(page, tmp_path):
    for number, (more, length, expected) in enumerate(REFUSED):
        path = avatar(tmp_path / f"{number}.vrm", **more)
        path.write_bytes(path.read_bytes()[:length])
        drop(page, path)
        page.wait(lambda path=path: page["message"].text.startswith(path.name), "the refusal")
        assert expected in page["message"].text
