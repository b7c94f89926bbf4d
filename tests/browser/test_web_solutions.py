"""`sonjit-web/hands`, `face_mesh`, `pose` and `holistic` have the results of MediaPipe's packages."""

import cv2
import numpy as np
import pytest

from sonjit.compat import mediapipe as mp

from .conftest import opened_for_theirs, run
from .web_module import put_theirs

pytestmark = [pytest.mark.browser, pytest.mark.slow]
LOAD = """
    const loadScript = (src) => new Promise((resolve, reject) => {
        document.head.append(Object.assign(document.createElement("script"), {src, onload: resolve, onerror: reject}));
    });
    // MediaPipe compiles its programs at the first image and after changed options, which takes seconds.
    const kept = async (address, name) => {
        const {theirs} = globalThis;
        if (!theirs.solution) {
            await loadScript(address);
            const folder = address.slice(0, address.lastIndexOf("/"));
            theirs.solution = new globalThis[name]({locateFile: (file) => `${folder}/${file}`});
            theirs.from = 0;
        }
        theirs.from += 10000;
        return theirs;
    };
    const opened = async (address, name, options, onResults) => {
        const isTheirs = address.startsWith("/theirs/");
        const {solution, from} = isTheirs
            ? await kept(address, name)
            : {solution: new (await import(address))[name]({locateFile: (file) => file}), from: 1000};
        solution.setOptions(options);
        solution.onResults(() => {});
        await solution.initialize();
        const empty = Object.assign(document.createElement("canvas"), {width: 64, height: 64});
        empty.getContext("2d").fillRect(0, 0, 64, 64);
        for (const before of isTheirs ? [99, 66] : []) await solution.send({image: empty}, from - before);
        solution.onResults(onResults);
        const send = (image, time) => solution.send({image}, from + time);
        return {send, close: () => (isTheirs ? null : solution.close())};
    };
"""
SEND = LOAD + """
    const [module, name, options, path, times] = given;
    let results = null;
    const {send, close} = await opened(module, name, options, (found) => { results = found; });
    const picture = await load(path);
    for (const at of Array.isArray(times) ? times : [0]) await send(picture, at);
    await close();
    const {image, segmentationMask: mask, ...rest} = results;
    const sizes = {size: [image.width, image.height], mask: mask ? [mask.width, mask.height] : null};
    return {...JSON.parse(JSON.stringify(rest)), ...sizes};
"""  # fmt: skip
TIMES = [0, 33]
HANDS = {"selfieMode": True, "maxNumHands": 2, "modelComplexity": 1, "minDetectionConfidence": 0.5}


@pytest.fixture
def portrait(data, read_rgb):
    """Image (H, W, 3) of a person with a visible face and hand."""
    return cv2.resize(read_rgb(data / "real" / "wild" / "mps_business.png"), None, fx=0.5, fy=0.5)


@pytest.fixture
def theirs(web_page, site):
    """Return a function that returns the address of a package of MediaPipe, which tests share in a page of its own."""

    def address(name):
        if web_page.execute_script("return globalThis.theirs?.name") != name:
            opened_for_theirs(web_page, name)
        web_page.expected.append(f"{name}_solution")  # what MediaPipe logs
        return f"{put_theirs(site, '@mediapipe/' + name)}/{name}.js"

    return address


@pytest.fixture
def sent(web_page, show, theirs):
    """Return a function that returns the results of the module and of MediaPipe's package for an image."""

    def sent(name, kind, options, rgb):
        modules = (f"/web/{name}.js", theirs(name))
        return [run(web_page, SEND, module, kind, options, show(rgb), TIMES) for module in modules]

    return sent


def offsets(ours, theirs, size):
    """Return the offsets (K, 2) from MediaPipe's landmarks to Sonjit's, in pixels."""
    points = [np.array([(mark["x"], mark["y"]) for mark in landmarks]) * size for landmarks in (ours, theirs)]
    return points[0] - points[1]


def distance(ours, theirs, size):
    """Return the mean distance in pixels."""
    return np.linalg.norm(offsets(ours, theirs, size), axis=1).mean()


def sides(found):
    return [(one["label"], one["index"]) for one in found["multiHandedness"]]


def test_hands(portrait, sent):
    ours, expected = sent("hands", "Hands", HANDS, portrait)
    assert ours["size"] == expected["size"] == [portrait.shape[1], portrait.shape[0]]
    assert sides(ours) == sides(expected)
    pairs = list(zip(ours["multiHandLandmarks"], expected["multiHandLandmarks"], strict=True))
    assert pairs
    for one, other in pairs:
        assert distance(one, other, ours["size"]) < 0.8


@pytest.fixture
def large_hand(data, read_rgb):
    """Image (H, W, 3) of a hand whose crop is much larger than the network's input."""
    return cv2.resize(read_rgb(data / "real" / "wild" / "mps_thumb_up.jpg"), (640, 427))


@pytest.mark.nightly
def test_large_hands_have_no_offset(large_hand, sent):
    """The offset depends on the point in a pixel that crops sample."""
    ours, expected = sent("hands", "Hands", HANDS, large_hand)
    assert sides(ours) == sides(expected)
    ((one,), (other,)) = ours["multiHandLandmarks"], expected["multiHandLandmarks"]
    np.testing.assert_allclose(offsets(one, other, ours["size"]).mean(0), 0, atol=0.5)


ORDER = LOAD + """
    const [address, options, paths] = given;
    const orders = [];
    const {send, close} = await opened(address, "Hands", options, ({multiHandLandmarks}) => {
        const centres = multiHandLandmarks.map((marks) => marks.reduce((sum, {x}) => sum + x, 0) / marks.length);
        orders.push(centres.map((x) => (x < 0.5 ? "left" : "right")));
    });
    const pictures = await Promise.all(paths.map(load));
    for (const [i, picture] of pictures.entries()) await send(picture, 33 * i);
    await close();
    return orders;
"""  # fmt: skip


@pytest.mark.nightly
def test_a_hand_that_appears_is_first(web_page, show, data, read_rgb, theirs):
    hand = cv2.resize(
        read_rgb(data / "real" / "wild" / "mps_hand.jpg"), None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA
    )
    gap = np.full((hand.shape[0], 20, 3), 200, np.uint8)
    one, both = (np.hstack([hand, gap, right]) for right in (np.full_like(hand, 200), hand[:, ::-1]))  # mirrored in it
    paths = [show(one), *[show(both)] * 6]
    ours = run(web_page, ORDER, "/web/hands.js", HANDS, paths)
    expected = run(web_page, ORDER, theirs("hands"), HANDS, paths[:3])
    assert ours[-1] == expected[-1] == ["left", "right"]


@pytest.mark.nightly
@pytest.mark.parametrize(("runtime", "least", "most"), [("mediapipe", 0, 0.01), ("tfjs", 0.3, 3)])
def test_runtimes_of_tfjs(web_page, show, large_hand, runtime, least, most):
    """The runtime `mediapipe` has the results of MediaPipe's package."""
    body = """
        const {createDetector, SupportedModels} = await import("/web/sonjit-web.js");
        const detector = await createDetector(SupportedModels.MediaPipeHands, {runtime: given[0]});
        const hands = await detector.estimateHands(await pixels(given[1]), {}, 1000);
        detector.dispose();
        return hands;
    """
    (hand,) = run(web_page, body, runtime, show(large_hand))
    found = run(web_page, SEND, "/web/hands.js", "Hands", {"modelComplexity": 1}, show(large_hand))
    (expected,) = found["multiHandLandmarks"]
    width, height = found["size"]
    ours = [{"x": mark["x"] / width, "y": mark["y"] / height} for mark in hand["keypoints"]]
    assert least <= distance(ours, expected, found["size"]) < most


@pytest.mark.nightly
@pytest.mark.parametrize("is_refined", [False, True])
def test_faces(all_networks, portrait, sent, is_refined):
    options = {"maxNumFaces": 1, "refineLandmarks": is_refined}
    ours, expected = sent("face_mesh", "FaceMesh", options, portrait)
    ((one,), (other,)) = ours["multiFaceLandmarks"], expected["multiFaceLandmarks"]
    assert len(one) == len(other) == (478 if is_refined else 468)
    assert distance(one, other, ours["size"]) < 0.15


@pytest.mark.nightly
def test_bodies(all_networks, portrait, sent):
    options = {"modelComplexity": 1, "enableSegmentation": True}
    ours, expected = sent("pose", "Pose", options, portrait)
    one, other = ours["poseLandmarks"], expected["poseLandmarks"]
    visible = [k for k, mark in enumerate(other) if mark["visibility"] > 0.9]
    assert len(visible) > 10
    assert distance([one[k] for k in visible], [other[k] for k in visible], ours["size"]) < 3
    assert one[0].keys() == other[0].keys()
    assert len(ours["poseWorldLandmarks"]) == 33
    assert ours["mask"] == expected["mask"]


@pytest.mark.parametrize(("complexity", "is_refined"), [(0, True)])
def test_people(web_page, all_networks, show, portrait, complexity, is_refined):
    """The parts are those of the single packages."""

    def found(name, kind, **options):
        return run(web_page, SEND, f"/web/{name}.js", kind, options, show(portrait), [*TIMES, 66, 99])

    person = found("holistic", "Holistic", modelComplexity=complexity, refineFaceLandmarks=is_refined)
    size = person["size"]
    body = found("pose", "Pose", modelComplexity=complexity)
    assert distance(person["poseLandmarks"], body["poseLandmarks"], size) < 0.01
    (face,) = found("face_mesh", "FaceMesh", refineLandmarks=is_refined)["multiFaceLandmarks"]
    assert len(person["faceLandmarks"]) == len(face) == (478 if is_refined else 468)
    assert distance(person["faceLandmarks"], face, size) < 0.15
    assert len(person["poseWorldLandmarks"]) == 33
    assert person["za"] == person["poseWorldLandmarks"]
    with mp.solutions.holistic.Holistic(static_image_mode=True, model_complexity=complexity) as people:
        expected = people.process(portrait)
    assert ("leftHandLandmarks" in person) == (expected.left_hand_landmarks is not None)
    assert ("rightHandLandmarks" in person) == (expected.right_hand_landmarks is not None)


@pytest.mark.nightly
def test_nothing_in_an_image(web_page, all_networks, show):
    black = show(np.zeros((90, 120, 3), np.uint8))
    assert run(web_page, SEND, "/web/hands.js", "Hands", {}, black)["multiHandLandmarks"] == []
    assert "poseLandmarks" not in run(web_page, SEND, "/web/pose.js", "Pose", {}, black)


def test_a_script_defines_globals(web_page, show, portrait):
    """Pages with `<script src>` have the names as globals, and the results of the module."""
    body = LOAD + """
        const [script, path] = given;
        await loadScript(script);
        const hands = new Hands({locateFile: (file) => file});
        let count = null;
        hands.onResults(({multiHandLandmarks}) => { count = multiHandLandmarks.length; });
        await hands.send({image: await load(path)});
        await hands.close();
        return [count, HAND_CONNECTIONS.length, "sonjitSolution" in globalThis];
    """  # fmt: skip
    count, connections, leaks = run(web_page, body, "/web/hands.global.js", show(portrait))
    expected = run(web_page, SEND, "/web/hands.js", "Hands", {}, show(portrait))
    assert count == len(expected["multiHandLandmarks"]) > 0
    assert connections == 21
    assert not leaks


@pytest.mark.parametrize(("name", "solution"), [("hands", "Hands"), ("face_mesh", "FaceMesh"), ("pose", "Pose")])
def test_constants_are_those_of_the_package(web_page, theirs, name, solution):
    body = LOAD + """
        const [theirs, ours, solution] = given;
        await kept(theirs, solution);
        const constants = (names) => Object.fromEntries(
            Object.entries(names)
                .filter(([name, value]) => /^[A-Z_]+$/.test(name) && /object|string/.test(typeof value)),
        );
        const expected = constants(globalThis);
        const found = constants(await import(ours));
        const sorted = (value) => (Array.isArray(value) ? [...value].sort() : value);
        for (const all of [expected, found]) for (const key of Object.keys(all)) all[key] = sorted(all[key]);
        return [expected, found];
    """  # fmt: skip
    expected, found = run(web_page, body, theirs(name), f"/web/{name}.js", solution)
    assert "VERSION" in expected
    assert found == expected
