"""`sonjit-web/hands`, `face_mesh`, `pose` and `holistic` have the results of Python's `mp.solutions`."""

import cv2
import numpy as np
import pytest

from sonjit.compat import mediapipe as mp

from .conftest import run
from .web_module import WEB

pytestmark = [pytest.mark.browser, pytest.mark.slow]
SEND = """
    const [module, name, options, path, lists] = given;
    const {[name]: Solution} = await import(module);
    const solution = new Solution({locateFile: (file) => `https://example.org/${file}`});
    solution.setOptions({minDetectionConfidence: 0.5, minTrackingConfidence: 0.5, ...options});
    let results = null;
    solution.onResults((found) => { results = found; });
    await solution.initialize();
    await solution.send({image: await load(path)});
    await solution.close();
    const {image, segmentationMask: mask, ...rest} = results;
    return {...rest, size: [image.width, image.height], mask: mask ? [mask.width, mask.height] : null};
"""


LOAD = """
    const loadScript = (src) => new Promise((resolve, reject) => {
        document.head.append(Object.assign(document.createElement("script"), {src, onload: resolve, onerror: reject}));
    });
"""


@pytest.fixture
def portrait(data):
    """A person who shows the face and a hand, (H, W, 3)."""
    path = data / "real" / "wild" / "mps_business.png"
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return np.ascontiguousarray(cv2.resize(cv2.imread(str(path)), None, fx=0.5, fy=0.5)[..., ::-1])


def distance(landmarks, message, rgb):
    """Return the mean distance in pixels."""
    size = rgb.shape[1], rgb.shape[0]
    ours = np.array([(mark["x"], mark["y"]) for mark in landmarks]) * size
    python = np.array([(mark.x, mark.y) for mark in message.landmark]) * size
    return np.linalg.norm(ours - python, axis=1).mean()


@pytest.mark.parametrize("is_selfie", [False, True])
def test_hands(web_page, show, portrait, is_selfie):
    found = run(web_page, SEND, "/web/hands.js", "Hands", {"selfieMode": is_selfie, "maxNumHands": 2}, show(portrait))
    seen = np.ascontiguousarray(portrait[:, ::-1]) if is_selfie else portrait
    with mp.solutions.hands.Hands(static_image_mode=True, precision="f32") as hands:
        expected = hands.process(seen)
    assert found["size"] == [portrait.shape[1], portrait.shape[0]]
    assert len(found["multiHandLandmarks"]) == len(expected.multi_hand_landmarks) > 0
    for ours, python in zip(found["multiHandLandmarks"], expected.multi_hand_landmarks, strict=True):
        assert distance(ours, python, seen) < 0.5
    sides = [one.classification[0] for one in expected.multi_handedness]
    assert [one["label"] for one in found["multiHandedness"]] == [one.label for one in sides]
    assert [one["index"] for one in found["multiHandedness"]] == [one.index for one in sides]


@pytest.mark.parametrize("is_refined", [False, True])
def test_faces(web_page, all_networks, show, portrait, is_refined):
    options = {"maxNumFaces": 1, "refineLandmarks": is_refined}
    found = run(web_page, SEND, "/web/face_mesh.js", "FaceMesh", options, show(portrait))
    with mp.solutions.face_mesh.FaceMesh(static_image_mode=True, refine_landmarks=is_refined, precision="f32") as faces:
        expected = faces.process(portrait)
    ((ours,), (python,)) = found["multiFaceLandmarks"], expected.multi_face_landmarks
    assert len(ours) == (478 if is_refined else 468)
    assert distance(ours, python, portrait) < 0.5


def test_bodies(web_page, all_networks, show, portrait):
    options = {"modelComplexity": 1, "enableSegmentation": True}
    found = run(web_page, SEND, "/web/pose.js", "Pose", options, show(portrait))
    with mp.solutions.pose.Pose(static_image_mode=True, precision="f32") as poses:
        expected = poses.process(portrait)
    assert distance(found["poseLandmarks"], expected.pose_landmarks, portrait) < 1
    assert {"x", "y", "z", "visibility"} == found["poseLandmarks"][0].keys()
    assert len(found["poseWorldLandmarks"]) == 33
    assert found["mask"] is not None


def test_people(web_page, all_networks, show, portrait):
    found = run(web_page, SEND, "/web/holistic.js", "Holistic", {}, show(portrait))
    with mp.solutions.holistic.Holistic(static_image_mode=True, precision="f32") as people:
        expected = people.process(portrait)
    assert distance(found["poseLandmarks"], expected.pose_landmarks, portrait) < 1
    assert len(found["faceLandmarks"]) == 468
    assert len(found["poseWorldLandmarks"]) == 33
    assert found["za"] == found["poseWorldLandmarks"]
    for name, python in (
        ("leftHandLandmarks", expected.left_hand_landmarks),
        ("rightHandLandmarks", expected.right_hand_landmarks),
    ):
        assert (name in found) == (python is not None)


def test_nothing_in_an_image(web_page, all_networks, show):
    black = show(np.zeros((90, 120, 3), np.uint8))
    assert run(web_page, SEND, "/web/hands.js", "Hands", {}, black)["multiHandLandmarks"] == []
    assert "poseLandmarks" not in run(web_page, SEND, "/web/pose.js", "Pose", {}, black)


def test_a_script_defines_globals(web_page, show, portrait):
    """Pages that load `<script src>` have the names as globals, and the results of the module."""
    body = (
        LOAD
        + """
        const [script, path] = given;
        await loadScript(script);
        const hands = new Hands({locateFile: (file) => file});
        let count = null;
        hands.onResults(({multiHandLandmarks}) => { count = multiHandLandmarks.length; });
        await hands.send({image: await load(path)});
        await hands.close();
        return [count, HAND_CONNECTIONS.length, "sonjitSolution" in globalThis];
    """
    )
    count, connections, leaks = run(web_page, body, "/web/hands.global.js", show(portrait))
    expected = run(web_page, SEND, "/web/hands.js", "Hands", {}, show(portrait))
    assert count == len(expected["multiHandLandmarks"]) > 0
    assert connections == 21
    assert not leaks


@pytest.mark.parametrize("name", ["hands", "face_mesh", "pose"])
def test_constants_are_those_of_the_package(web_page, site, name):
    package = WEB / "node_modules" / "@mediapipe" / name / f"{name}.js"
    if not package.is_file():
        pytest.skip(f"@mediapipe/{name} is not installed: npm has no network, or type: make web")
    site.files[f"/theirs/{name}.js"] = "text/javascript", package.read_bytes()
    body = (
        LOAD
        + """
        const [theirs, ours] = given;
        await loadScript(theirs);
        const constants = (names) => Object.fromEntries(
            Object.entries(names)
                .filter(([name, value]) => /^[A-Z_]+$/.test(name) && /object|string/.test(typeof value)),
        );
        const expected = constants(globalThis);
        const found = constants(await import(ours));
        const sorted = (value) => (Array.isArray(value) ? [...value].sort() : value);
        for (const all of [expected, found]) for (const key of Object.keys(all)) all[key] = sorted(all[key]);
        return [expected, found];
    """
    )
    expected, found = run(web_page, body, f"/theirs/{name}.js", f"/web/{name}.js")
    assert "VERSION" in expected
    assert found == expected


@pytest.mark.parametrize("layout", ["COLUMN_MAJOR", "ROW_MAJOR"])
def test_a_matrix_has_the_rows_of_the_package(web_page, site, layout):
    package = WEB / "node_modules" / "@mediapipe" / "face_mesh" / "face_mesh.js"
    if not package.is_file():
        pytest.skip("@mediapipe/face_mesh is not installed: npm has no network, or type: make web")
    site.files["/theirs/face_mesh.js"] = "text/javascript", package.read_bytes()
    body = (
        LOAD
        + """
        await loadScript("/theirs/face_mesh.js");
        const ours = await import("/web/face_mesh.js");
        return [globalThis, ours].map(({matrixDataToMatrix, FACE_GEOMETRY}) => matrixDataToMatrix({
            getPackedDataList: () => [1, 2, 3, 4, 5, 6],
            getRows: () => 2, getCols: () => 3, getLayout: () => FACE_GEOMETRY.Layout[given[0]],
        }));
    """
    )
    expected, found = run(web_page, body, layout)
    assert found == expected
    assert np.shape(found) == (2, 3)
