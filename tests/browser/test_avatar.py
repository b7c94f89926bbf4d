"""Avatar of the page: the sample figure and generated models, moved by keypoints, faces and a photograph."""

import json
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

import sonjit
from sonjit._util.glb import GlbBuilder
from sonjit.geometry.cameras import assumed_camera
from sonjit.media import Header, open_writer
from sonjit.media.tables.characters import NAMES
from sonjit.results import Body, Frame
from sonjit.results.skeletons.faces import BLENDSHAPES
from sonjit.weights import add_bundle
from sonjit.weights.catalog import cache_folder, models_folder

from ..support.waiting import wait_until  # noqa: TID252  # one polling helper for all packages
from .conftest import run
from .driver import Page

pytestmark = pytest.mark.browser
PACKAGE = Path(sonjit.__file__).parent
SAMPLE = PACKAGE / "server" / "page" / "avatar" / "sample.vrm"
CASES = {
    case["name"]: case for case in json.loads((PACKAGE / "spec/cases/characters.json").read_text("utf-8"))["cases"]
}
ARKIT = ("jawOpen", "eyeBlink_L", "eyeBlink_R", "mouthSmileLeft", "mouthSmileRight")
AWAY_M = np.array([0, 0, 3.0])
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


def head_model(path, **more):
    """Write a .glb without bones, whose morph targets have names of ARKit, and whose skin is a picture.

    What is given besides goes into the file's document as it is.
    """
    builder = GlbBuilder()
    document = builder.document
    for vertices, faces, colour, targets in parts():
        uv = np.full((len(vertices), 2), 0.5, np.float32)
        builder.add_mesh("part", faces, colour, POSITION=vertices.astype(np.float32), TEXCOORD_0=uv)
        document["meshes"][-1]["primitives"][0]["targets"] = [{"POSITION": sparse(builder, move)} for move in targets]
    primitives = [mesh["primitives"][0] for mesh in document["meshes"]]
    document |= {"meshes": [{"primitives": primitives, "extras": {"targetNames": ARKIT}}], "scene": 0}
    document |= {"nodes": [{"mesh": 0}], "scenes": [{"nodes": [0]}]}
    png = np.frombuffer(cv2.imencode(".png", np.full((8, 8, 3), 255, np.uint8))[1].tobytes(), np.uint8)
    picture = document["accessors"][builder.add(png)]["bufferView"]
    document["accessors"].pop()
    document |= {"images": [{"bufferView": picture, "mimeType": "image/png"}], "textures": [{"source": 0}]}
    document["materials"][0]["pbrMetallicRoughness"]["baseColorTexture"] = {"index": 0}
    document |= more
    path.write_bytes(builder.to_bytes())
    return path


def changed_sample(change):
    """Return the sample figure's file with a changed document."""
    data = SAMPLE.read_bytes()
    (length,) = struct.unpack_from("<I", data, 12)
    document = json.loads(data[20 : 20 + length])
    change(document)
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    head = struct.pack("<3I", 0x46546C67, 2, 20 + len(text) + len(rest)) + struct.pack("<2I", len(text), 0x4E4F534A)
    return head + text + rest


def name_as_artist(document):
    """Give the morph targets names outside of standards."""
    extras = document["meshes"][1]["extras"]
    extras["targetNames"] = [f"Fcl_{number}" for number in range(len(extras["targetNames"]))]


def without_custom(document):
    """Leave only VRM's presets, of which one is all or nothing."""
    expressions = document["extensions"]["VRMC_vrm"]["expressions"]
    del expressions["custom"]
    expressions["preset"]["blinkLeft"]["isBinary"] = True
    name_as_artist(document)


def as_vrm_0(document):
    """Describe the figure as VRM 0, whose models look along -z."""
    new = document["extensions"].pop("VRMC_vrm")
    bones = new["humanoid"]["humanBones"]
    former = {"ThumbMetacarpal": "ThumbProximal", "ThumbProximal": "ThumbIntermediate"}
    names = {bone: next((bone.replace(a, b) for a, b in former.items() if bone.endswith(a)), bone) for bone in bones}
    groups = {"a": "aa", "joy": "happy", "blink_l": "blinkLeft", "blink_r": "blinkRight"}
    master = [
        {"name": name, "presetName": name, "binds": [
            {"mesh": 1, "index": bind["index"], "weight": 100 * bind["weight"]}
            for bind in new["expressions"]["preset"][preset]["morphTargetBinds"]
        ]}
        for name, preset in groups.items()
    ]  # fmt: skip
    document["extensions"]["VRM"] = {
        "specVersion": "0.0",
        "meta": {"title": "sample"},
        "humanoid": {"humanBones": [{"bone": names[bone], "node": one["node"]} for bone, one in bones.items()]},
        "blendShapeMaster": {"blendShapeGroups": master},
    }
    document["extensionsUsed"] = ["VRM"]
    name_as_artist(document)
    nodes, scene = document["nodes"], document["scenes"][0]
    nodes.append({"name": "Root", "rotation": [0, 1, 0, 0], "children": scene["nodes"]})
    scene["nodes"] = [len(nodes) - 1]


def as_mixamo(document):
    """Remove what describes a humanoid, and name its bones as Mixamo does."""
    for node in document["nodes"]:
        node["name"] = NAMES["mixamo"].get(node["name"], node["name"])
    del document["extensions"], document["extensionsUsed"]


def without_some_bones(document):
    """Remove bones that a humanoid may lack."""
    bones = document["extensions"]["VRMC_vrm"]["humanoid"]["humanBones"]
    for name in ("chest", "upperChest", "neck", "leftShoulder", "rightShoulder", "leftToes", "rightToes"):
        del bones[name]


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
MOUNT = """
    const {mount} = await import("./avatar/scene.js");
    globalThis.mounted = [];
    const states = [];
    for (const [at, file] of given[0].entries()) {
        const box = document.createElement("div");
        box.style.cssText = `position: fixed; inset: 0 auto auto ${64 * at}px; width: 64px; height: 64px`;
        document.body.append(box);
        const avatar = await mount(box, {sample: "./avatar/sample.vrm"});
        if (file) await avatar.load(new File([Uint8Array.from(file)], "own.vrm"));
        mounted.push(avatar);
        states.push(avatar.state());
    }
    return states;
"""
SHOW = """
    const [{body, hidden, left, right}, bones] = given;
    const part = (points) => points && {
        keypoints3D: points.map(([x, y, z]) => ({x, y, z})),
        keypoints: points.map((_, k) => ({x: 0, y: 0, presence: hidden.includes(k) ? 0.1 : 1})),
    };
    const people = [{body: part(body), leftHand: part(left), rightHand: part(right)}];
    const places = () => mounted.map((avatar) => bones.map((bone) => avatar.place(bone)));
    let before = "";
    for (let same = 0; same < 5; ) { // until they have arrived
        for (const avatar of mounted) avatar.show({people});
        await new Promise((next) => requestAnimationFrame(() => setTimeout(next, 30)));
        const now = JSON.stringify(places().flat().map((place) => place?.map((value) => Math.round(1000 * value))));
        same = now === before ? same + 1 : 0;
        before = now;
    }
    return places();
"""
EXPRESS = """
    const [bytes, blendshapes] = given;
    const {figureOf} = await import("/page/avatar/figure.js");
    const figure = await figureOf(Uint8Array.from(bytes).buffer);
    figure.express(blendshapes);
    figure.update(0);
    let moved = null;
    figure.scene.traverse(({morphTargetInfluences}) => (moved ??= morphTargetInfluences));
    return [figure.blendshapes, [...moved]];
"""
DISPOSE = "for (const avatar of globalThis.mounted ?? []) avatar.dispose()"
LOSE_CONTEXT = """
window.lost = document.querySelector("#avatar canvas").getContext("webgl2").getExtension("WEBGL_lose_context");
lost.loseContext();
"""


def drop(page, path):
    """Drop a file onto the page."""
    run(page.browser, DROP, path.name, list(path.read_bytes()))


def seen(page):
    """Return the RGB image of the avatar. Chromedriver captures only the visible part of an element."""
    run(page.browser, "document.getElementById('avatar').scrollIntoView({block: 'center', behavior: 'instant'})")
    png = np.frombuffer(page["avatar"].screenshot_as_png, np.uint8)
    return cv2.imdecode(png, cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def is_skin(rgb):
    """Return the pixels with the hue of a head, in any light."""
    wanted = np.array(SKIN) ** (1 / 2.2)
    unit = rgb / np.maximum(np.linalg.norm(rgb, axis=-1, keepdims=True), 1)
    return (unit @ (wanted / np.linalg.norm(wanted)) > 0.99) & (rgb.sum(-1) > 150)


def white(rgb):
    """Return the visible area of the avatar's eyes, relative to its head."""
    is_white = (rgb.min(-1) > 120) & (np.ptp(rgb, axis=-1) < 12)
    return is_white[8:-8, 8:-8].sum() / max(is_skin(rgb).sum(), 1)  # without the round corners of the stage


def test_a_sample_figure_is_shown_at_first_and_the_own_model_closes_its_eyes(browser, face_server, data, tmp_path):
    page = Page(browser, face_server.url)
    loaded = "return performance.getEntriesByType('resource').some(({name}) => name.includes('/avatar/'))"
    assert not browser.execute_script(loaded)  # what shows avatars is loaded late
    page.click("tab-avatar")
    page.wait(lambda: is_skin(seen(page)).sum() > 200, "the sample figure", 60)
    page.tick("detector-hands", on=False)
    drop(page, head_model(tmp_path / "me.glb"))
    page.wait(lambda: page["avatar-state"].text.startswith("me.glb: 0 of 52 joints and 5 of 51"), "what moves it", 60)
    page.wait(lambda: is_skin(seen(page)).sum() > 200 and white(seen(page)) > 0.001, "the avatar", 60)
    rest = seen(page)
    page.upload("source-file", data / "real" / "wild" / "stock-emotions-b-1.jpg")  # eyes closed
    page.wait(lambda: white(seen(page)) < 0.6 * white(rest), "closed eyes", 60)
    run(page.browser, LOSE_CONTEXT)
    is_lost = "return document.querySelector('#avatar canvas').getContext('webgl2').isContextLost()"
    page.wait(lambda: browser.execute_script(is_lost), "a lost context")
    run(page.browser, "lost.restoreContext();")
    page.wait(lambda: not browser.execute_script(is_lost), "a restored context")
    page.click("tab-view3d")
    page.click("tab-avatar")
    page.wait(lambda: is_skin(seen(page)).sum() > 200, "the avatar in a restored context", 60)
    page.stop()


@pytest.fixture
def stage(browser, page_site):
    """Browser with an empty page, which costs less to draw than the live app, next to the modules and the figure."""
    page_site.files["/page/stage"] = ("text/html", b"<!doctype html><title>stage</title>")
    page_site.files["/page/avatar/sample.vrm"] = ("model/gltf-binary", SAMPLE.read_bytes())
    browser.get(f"{page_site.url}/page/stage")
    yield browser
    run(browser, DISPOSE)


MODELS = {"sample": None, "VRM 0": as_vrm_0, "Mixamo": as_mixamo, "few bones": without_some_bones}
WATCHED = ["head", "leftHand", "rightHand", "leftFoot", "rightFoot", "hips", "leftUpperArm", "leftLowerArm",
           "leftMiddleDistal", "rightMiddleDistal"]  # fmt: skip
POSES = ["rest", "arms down", "arms raised", "squat", "fist and open hand"]


@pytest.mark.nightly
def test_bodies_hands_and_fingers_of_models_follow_the_keypoints(stage):
    """Show all models at once, because the browser draws the complete page again for each step of one."""
    files = [change and list(changed_sample(change)) for change in MODELS.values()]
    bones = [state["bones"] for state in run(stage, MOUNT, files)]
    assert dict(zip(MODELS, bones, strict=True)) == {"sample": 52, "VRM 0": 52, "Mixamo": 52, "few bones": 45}
    shown = {pose: run(stage, SHOW, CASES[pose], WATCHED) for pose in POSES}
    for number, name in enumerate(MODELS):
        poses = {pose: dict(zip(WATCHED, map(np.array, models[number]), strict=True)) for pose, models in shown.items()}
        follows_the_keypoints(poses, name)


def follows_the_keypoints(poses, name):
    """Check the places (3,) of a model's bones in metres, by bone, in `POSES`."""
    rest, down, raised, squat = (poses[pose] for pose in ("rest", "arms down", "arms raised", "squat"))
    for side, sign in (("left", 1), ("right", -1)):
        assert sign * rest[f"{side}Hand"][0] > 0.6, name  # a T, with its left to +x
        assert rest[f"{side}Hand"][1] == pytest.approx(1.4, abs=0.06), name
        assert down[f"{side}Hand"][1] < rest[f"{side}Hand"][1] - 0.35, name
        assert raised[f"{side}Hand"][1] > raised["head"][1] + 0.2, name
        assert squat[f"{side}Hand"][2] > 0.3, name  # stretched forwards
        feet = [pose[f"{side}Foot"][1] for pose in (rest, down, raised, squat)]
        assert np.ptp(feet) < 0.02, name  # metres
    assert squat["hips"][1] < rest["hips"][1] - 0.2, name
    lengths = [np.linalg.norm(pose["leftUpperArm"] - pose["leftLowerArm"]) for pose in poses.values()]
    assert np.ptp(lengths) < 1e-3, name
    hands = poses["fist and open hand"]
    fist, open_hand = (
        np.linalg.norm(hands[f"{side}MiddleDistal"] - hands[f"{side}Hand"]) for side in ("left", "right")
    )
    assert fist < 0.8 * open_hand, name


def test_a_file_with_a_motion_plays_it(stage, tmp_path):
    header = Header("clip.mp4", 640, 480, 30, "body-full", "bodies")
    with open_writer(tmp_path / "moved.glb", header, onto=SAMPLE) as writer:
        for index in range(40):
            points = np.array(CASES["arms raised" if index // 5 % 2 else "arms down"]["body"])
            pixels = assumed_camera(640, 480).project(points + AWAY_M)
            sure = np.ones(33, np.float32)
            keypoints = np.concatenate([pixels, points[:, 2:]], 1).astype(np.float32)
            body = Body(0.9, keypoints, points.astype(np.float32), sure, sure, 1)
            writer.write(Frame(index, index / 30, bodies=[body]))
    (state,) = run(stage, MOUNT, [list((tmp_path / "moved.glb").read_bytes())])
    assert state["bones"] == 52
    heights = []

    def has_moved():
        heights.append(run(stage, "return mounted[0].place('leftHand')")[1])
        return np.ptp(heights) > 0.5

    wait_until(has_moved, 60, lambda: f"the hand does not rise: {heights[-9:]}", every_s=0.04)


FACE = {"jawOpen": 0.25, "eyeBlinkLeft": 0.625, "eyeBlinkRight": 0.125, "mouthSmileLeft": 1.0, "mouthSmileRight": 0.5}
MOVED = {
    # jaw, pucker, both sides of smile, frown and blink; the presets only where ARKit's names are missing
    "sample": (lambda document: None, 11, [0.25, 0, 1, 0.5, 0, 0, 0.625, 0.125]),
    "presets": (without_custom, 17, [0.2, 0, 0.75, 0.75, 0, 0, 1, 0.125]),
    "VRM 0": (as_vrm_0, 5, [0.2, 0, 0.75, 0.75, 0, 0, 0.625, 0.125]),
    "Mixamo": (as_mixamo, 11, [0.25, 0, 1, 0.5, 0, 0, 0.625, 0.125]),
}


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("name", MOVED)
def test_blendshapes_move_targets_by_name_or_by_expression(stage, name):
    change, used, wanted = MOVED[name]
    count, moved = run(stage, EXPRESS, list(changed_sample(change)), FACE)
    assert count == used
    assert moved[:8] == pytest.approx(wanted, abs=1e-5)
    names = run(stage, "return (await import('/page/avatar/expressions.js')).BLENDSHAPES")
    assert sorted(names) == sorted(BLENDSHAPES[1:])


REFUSED = [
    ({}, 16, "Export it as one binary glTF 2.0 file"),
    ({"extensionsRequired": ["KHR_draco_mesh_compression"]}, None, "KHR_draco_mesh_compression"),
    ({}, 60_000, "Reason: "),
    ({"meshes": [{"primitives": [{"attributes": {"POSITION": 999}}]}]}, None, "Reason: "),
]


def test_a_file_that_cannot_be_read_is_refused_in_words(page, tmp_path):
    for number, (more, length, expected) in enumerate(REFUSED):
        path = head_model(tmp_path / f"{number}.vrm", **more)
        path.write_bytes(path.read_bytes()[:length])
        drop(page, path)
        page.wait(lambda path=path: page["message"].text.startswith(path.name), "the refusal", 30)
        assert expected in page["message"].text
