"""`sonjit-web/tasks-vision` has the results of MediaPipe's package and of Sonjit in Python."""

import zipfile

import cv2
import numpy as np
import pytest

from sonjit.compat import mediapipe as mp
from sonjit.weights import find_weight

from .conftest import opened_for_theirs, run
from .web_module import TASKS_VISION, put_theirs

pytestmark = [pytest.mark.browser, pytest.mark.slow]
NEAR_PX = 0.5
DETECT = """
    const [module, task, options, paths, isVideo, wasm] = given; // the last one is the callback of the driver
    const kit = await import(module);
    const files = await kit.FilesetResolver.forVisionTasks(wasm.call ? module.replace(/[^/]*$/, "wasm") : wasm);
    const made = await kit[task].createFromOptions(files, {runningMode: isVideo ? "VIDEO" : "IMAGE", ...options});
    const results = [];
    for (const [i, path] of paths.entries()) {
        const image = await pixels(path);
        results.push(isVideo ? made.detectForVideo(image, 33 * (i + 1)) : made.detect(image));
    }
    made.close();
    return results;
"""
HANDS = {"baseOptions": {"modelAssetPath": "https://example.org/hand_landmarker.task"}, "numHands": 2}
CONNECTIONS = """
    const {HandLandmarker, PoseLandmarker, FaceLandmarker} = await import(given[0]);
    const named = {};
    for (const task of [HandLandmarker, PoseLandmarker, FaceLandmarker])
        for (const name in task) if (Array.isArray(task[name])) named[name] = task[name];
    return named;
"""
DRAW = """
    const {DrawingUtils, HandLandmarker} = await import(given[0]);
    const pen = new OffscreenCanvas(200, 150).getContext("2d");
    const utilities = new DrawingUtils(pen);
    const at = (k) => ({x: 0.1 + 0.035 * k, y: 0.2 + 0.1 * (k % 5), z: -0.01 * k, visibility: 0});
    const landmarks = Array.from({length: 21}, (_, k) => at(k));
    utilities.drawConnectors(landmarks, HandLandmarker.HAND_CONNECTIONS, {color: "#00FF00", lineWidth: 5});
    utilities.drawLandmarks(landmarks, {
        color: "#FF0000", fillColor: "blue", lineWidth: 2,
        radius: ({from}) => DrawingUtils.lerp(from.z, -0.15, 0.1, 5, 1),
    });
    const box = {originX: 20, originY: 30, width: 60, height: 50, angle: 0};
    utilities.drawBoundingBox(box, {color: "rgba(0, 0, 255, 0.5)"});
    return [...pen.getImageData(0, 0, 200, 150).data];
"""


VERSIONS = dict(zip(["0.10.21", "1.1.0"], TASKS_VISION, strict=True))


@pytest.fixture(params=["0.10.21", pytest.param("1.1.0", marks=pytest.mark.nightly)])
def theirs(web_page, site, request):
    """Return the address of a version of MediaPipe's module, for a new page."""
    package = VERSIONS[request.param]
    opened_for_theirs(web_page, package)
    web_page.expected.append("/v1/log")  # 1.1.0 sends a request to its maker's log server
    return f"{put_theirs(site, package)}/vision_bundle.mjs"


@pytest.fixture
def hand_bundle(site, weights, tmp_path):
    """Return the address of a hand landmarker's bundle with the published networks."""
    path = tmp_path / "hands.task"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.write(weights["palm-full"], "hand_detector.tflite")
        bundle.write(weights["hand-full"], "hand_landmarks_detector.tflite")
    site.files["/hands.task"] = "application/octet-stream", path.read_bytes()
    return "/hands.task"


def in_pixels(landmarks, rgb):
    height, width = rgb.shape[:2]
    return np.array([[(mark["x"] * width, mark["y"] * height) for mark in landmark] for landmark in landmarks])


def labels(result):
    return [best["categoryName"] for best, *_ in result["handedness"]]


def test_hands_are_those_of_python(web_page, show, photo):
    web_page.expected.append("/ignored/wasm/")  # the module looks there for its files
    (found,) = run(web_page, DETECT, "/web/tasks-vision.js", "HandLandmarker", HANDS, [show(photo)], False, "/ignored")
    options = mp.tasks.vision.HandLandmarkerOptions(mp.tasks.BaseOptions(), num_hands=2)
    with mp.tasks.vision.HandLandmarker.create_from_options(options) as task:
        expected = task.detect(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(photo)))
    ours = in_pixels(found["landmarks"], photo)
    python = in_pixels([[vars(mark) for mark in landmark] for landmark in expected.hand_landmarks], photo)
    assert len(python) > 0
    np.testing.assert_allclose(ours, python, atol=NEAR_PX)
    assert labels(found) == [one[0].category_name for one in expected.handedness]
    assert found["handednesses"] == found["handedness"]
    metres = [[(mark["x"], mark["y"], mark["z"]) for mark in one] for one in found["worldLandmarks"]]
    python_metres = [[(mark.x, mark.y, mark.z) for mark in landmark] for landmark in expected.hand_world_landmarks]
    np.testing.assert_allclose(metres, python_metres, atol=0.001)


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("kind", ["module", "classic"])
def test_workers_find_hands(web_page, show, photo, kind):
    body = """
        const code = `onmessage = async ({data: image}) => {
            const {FilesetResolver, HandLandmarker} = await import("${location.origin}/web/tasks-vision.js");
            const files = await FilesetResolver.forVisionTasks("/web", true);
            postMessage((await HandLandmarker.createFromOptions(files, {numHands: 2})).detect(image).landmarks);
        }`;
        const worker = new Worker(URL.createObjectURL(new Blob([code], {type: "text/javascript"})), {type: given[1]});
        worker.postMessage(await createImageBitmap(await pixels(given[0])));
        return new Promise((resolve) => worker.onmessage = ({data}) => resolve(data));
    """
    assert len(run(web_page, body, show(photo), kind)) > 0


def test_a_turned_image_a_mode_and_new_options(web_page, show, photo):
    upright, turned = show(photo), show(np.ascontiguousarray(np.rot90(photo)))
    body = """
        const [upright, turned, options] = given;
        const {HandLandmarker} = await import("/web/tasks-vision.js");
        const task = await HandLandmarker.createFromOptions({}, {runningMode: "IMAGE", ...options});
        const messages = [];
        const refused = (call) => { try { call(); } catch ({message}) { messages.push(message); } };
        refused(() => task.detectForVideo(new ImageData(8, 8), 1));
        const found = [task.detect(await pixels(upright)), task.detect(await pixels(turned), {rotationDegrees: 90})];
        await task.setOptions({runningMode: "VIDEO", baseOptions: {modelAssetBuffer: new Uint8Array(4)}}).catch(String);
        await task.setOptions({baseOptions: {modelAssetPath: "hand_landmarker.task"}, numHands: 1});
        found.push(task.detectForVideo(await pixels(upright), 1));
        task.close();
        refused(() => task.detectForVideo(new ImageData(8, 8), 2));
        return [found.map(({landmarks}) => landmarks), messages];
    """
    (still, side, video), messages = run(web_page, body, upright, turned, HANDS)
    assert messages == [
        "Task is not initialized with video mode. 'runningMode' must be set to 'VIDEO'.",
        "this task is closed. Create a new one.",
    ]
    assert len(still) == len(side) > 0
    assert len(video) == 1
    side, still = (in_pixels(hands, np.ones((1, 1))) for hands in (side, still))
    np.testing.assert_allclose(side[..., ::-1] * (-1, 1) + (1, 0), still, atol=0.02)


def test_faces_bodies_people_and_gestures(web_page, all_networks, show, photo):
    body = """
        const kit = await import("/web/tasks-vision.js");
        const image = await pixels(given[0]);
        const made = async (task, options) => (await kit[task].createFromOptions({}, options));
        const boxes = (await made("FaceDetector", {})).detect(image);
        const faces = (await made("FaceLandmarker", {numFaces: 2})).detect(image);
        const people = (await made("HolisticLandmarker", {})).detect(image);
        let called = null;
        const bodies = await made("PoseLandmarker", {outputSegmentationMasks: true});
        const poses = bodies.detect(image, (result) => (called = result));
        const gestures = (await made("GestureRecognizer", {numHands: 2})).recognize(image);
        return {
            detections: boxes.detections.length, faces: faces.faceLandmarks.length, poses: poses.landmarks.length,
            people: people.poseLandmarks.length, isCalled: called === poses,
            masks: (poses.segmentationMasks ?? []).map(({width, height}) => [width, height]),
            gestures: gestures.gestures.map(([best]) => [best.index, best.categoryName]),
            hands: gestures.landmarks.length,
        };
    """
    found = run(web_page, body, show(photo))
    assert found["hands"] == len(found["gestures"]) > 0
    assert {index for index, _ in found["gestures"]} == {-1}
    assert found["isCalled"]
    assert found["masks"] == [[photo.shape[1], photo.shape[0]]] * found["poses"]


@pytest.mark.nightly
def test_poses_are_cropped_anew_while_there_is_room(web_page, all_networks, show, data, read_rgb):
    """While fewer poses are tracked than wanted, MediaPipe searches every frame and crops what the search finds."""
    photo = cv2.resize(read_rgb(data / "real" / "wild" / "mps_pose.jpg"), (640, 427))
    given = (web_page, DETECT, "/web/tasks-vision.js", "PoseLandmarker")
    frames = [show(photo)] * 3
    first, *rest = (in_pixels(one["landmarks"], photo) for one in run(*given, {"numPoses": 3}, frames, True))
    assert len(first) == 1
    for later in rest:
        np.testing.assert_allclose(later, first, atol=0.01)
    _, tracked, _ = (in_pixels(one["landmarks"], photo) for one in run(*given, {"numPoses": 1}, frames, True))
    assert np.abs(tracked - first).max() > 0.1


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("is_video", [False, True])
def test_hands_are_those_of_mediapipe(web_page, theirs, hand_bundle, show, photo, demo_clip, is_video):
    frames = demo_clip[1][:4] if is_video else [photo]
    paths = [show(frame) for frame in frames]
    ours = run(web_page, DETECT, "/web/tasks-vision.js", "HandLandmarker", HANDS, paths, is_video)
    options = HANDS | {"baseOptions": {"modelAssetPath": hand_bundle, "delegate": "CPU"}}
    web_page.expected.append("vision_wasm")  # MediaPipe logs notes as errors
    others = run(web_page, DETECT, theirs, "HandLandmarker", options, paths, is_video)
    for one, other in zip(ours, others, strict=True):
        assert one.keys() == other.keys()
        assert len(one["landmarks"]) == len(other["landmarks"]) > 0
        distances = np.linalg.norm(in_pixels(one["landmarks"], photo) - in_pixels(other["landmarks"], photo), axis=2)
        assert distances.mean() < NEAR_PX
        assert labels(one) == labels(other)


@pytest.mark.nightly
def test_the_gpu_delegate_samples_as_mediapipe(web_page, theirs, hand_bundle, data, show, read_rgb):
    """The crop is much larger than the network's input, so results depend on the point in a pixel that it samples."""
    photo = cv2.resize(read_rgb(data / "real" / "wild" / "mps_thumb_up.jpg"), (640, 427))
    paths = [show(photo)] * 2
    web_page.expected.append("vision_wasm")
    given = {"baseOptions": {"modelAssetPath": hand_bundle, "delegate": "GPU"}}
    kits = ("/web/tasks-vision.js", theirs)
    pairs = zip(*(run(web_page, DETECT, kit, "HandLandmarker", given, paths, True) for kit in kits), strict=True)
    offsets = [in_pixels(one["landmarks"], photo) - in_pixels(other["landmarks"], photo) for one, other in pairs]
    np.testing.assert_allclose(np.mean(offsets, axis=(0, 1, 2)), 0, atol=0.5)


def test_face_boxes_are_those_of_mediapipe(web_page, theirs, site, data, show, read_rgb):
    image = show(read_rgb(data / "real" / "wild" / "mps_business.png"))
    network = find_weight("face-short")
    site.files["/short.tflite"] = "application/octet-stream", network.read_bytes()
    published = {"baseOptions": {"modelAssetPath": "blaze_face_short_range.tflite"}}
    (ours,) = run(web_page, DETECT, "/web/tasks-vision.js", "FaceDetector", published, [image], False)
    given = {"baseOptions": {"modelAssetPath": "/short.tflite", "delegate": "CPU"}}
    web_page.expected.append("vision_wasm")
    (other,) = run(web_page, DETECT, theirs, "FaceDetector", given, [image], False)
    boxes, their_boxes = ([detection["boundingBox"] for detection in result["detections"]] for result in (ours, other))
    assert len(boxes) == len(their_boxes) > 0
    for box, their_box in zip(boxes, their_boxes, strict=True):
        assert box == pytest.approx(their_box, abs=1)


def test_connections_and_drawings_are_those_of_mediapipe(web_page, theirs):
    assert run(web_page, CONNECTIONS, "/web/tasks-vision.js") == run(web_page, CONNECTIONS, theirs)
    ours, other = (np.array(run(web_page, DRAW, module)) for module in ("/web/tasks-vision.js", theirs))
    assert other.any()
    np.testing.assert_array_equal(ours, other)


DRAW_MASKS = """
    const {DrawingUtils, MPMask} = await import(given[0]);
    const [width, height, isTheirs] = [80, 60, given[1]];
    const graphics = new OffscreenCanvas(width, height).getContext("webgl2");
    const maskOf = (data) => isTheirs
        ? new MPMask([data], false, false, graphics.canvas, undefined, width, height)
        : new MPMask(data, width, height);
    const categories = Uint8Array.from({length: width * height}, (_, k) => k % width < 30 ? 0 : k < 1600 ? 1 : 255);
    const shares = Float32Array.from({length: width * height}, (_, k) => (k % width) / width);
    const photo = new ImageData(Uint8ClampedArray.from(
        {length: 4 * width * height}, (_, k) => k % 4 === 3 ? 255 : (k * 7 + (k >> 8)) % 256,
    ), width, height);
    const drawn = (draw) => {
        const pen = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
        pen.fillStyle = "rgb(40, 90, 200)";
        pen.fillRect(0, 0, width, height);
        const utilities = new DrawingUtils(pen, graphics);
        draw(utilities);
        utilities.close();
        return [...pen.getImageData(0, 0, width, height).data];
    };
    const colors = [[200, 10, 20, 255], [30, 60, 50, 128]];
    return [
        drawn((to) => to.drawCategoryMask(maskOf(categories), colors)),
        drawn((to) => to.drawCategoryMask(maskOf(categories), new Map([[0, colors[1]], [255, colors[0]]]), photo)),
        drawn((to) => to.drawConfidenceMask(maskOf(shares), photo, [20, 200, 30, 255])),
        drawn((to) => to.drawConfidenceMask(maskOf(shares), [250, 0, 0, 255], photo)),
        drawn((to) => to.drawConfidenceMask(maskOf(shares), [0, 0, 0, 255], [0, 90, 60, 128])),
    ];
"""


@pytest.mark.nightly
def test_drawings_of_masks_are_those_of_mediapipe(web_page, theirs):
    web_page.expected.append("MPMask instances")
    other = np.array(run(web_page, DRAW_MASKS, theirs, True))
    ours = np.array(run(web_page, DRAW_MASKS, "/web/tasks-vision.js", False))
    assert other.std(axis=1).min() > 10
    np.testing.assert_allclose(ours, other, atol=2)


SEGMENT = """
    const [options, path, turned] = given;
    const {ImageSegmenter} = await import("/web/tasks-vision.js");
    const task = await ImageSegmenter.createFromOptions({}, {outputCategoryMask: true, ...options});
    const plain = task.segment(await pixels(path));
    const answers = [];
    task.segment(await pixels(turned), {rotationDegrees: 90}, (result) => answers.push(result));
    return [plain, ...answers].map(({confidenceMasks: [mask], categoryMask}) => ({
        size: [mask.height, mask.width],
        shares: [...mask.getAsUint8Array()],
        categories: [...categoryMask.getAsUint8Array()],
        types: [mask.hasFloat32Array(), categoryMask.hasUint8Array()],
    }));
"""


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("name", ["selfie_segmenter.tflite", "selfie_segmenter_landscape.tflite"])
def test_masks_of_selfies_are_those_of_python(web_page, show, photo, name):
    for weight in ("selfie", "selfie-landscape"):
        find_weight(weight)
    turned = np.ascontiguousarray(np.rot90(photo))
    options = {"baseOptions": {"modelAssetPath": f"https://example.org/{name}"}}
    found = run(web_page, SEGMENT, options, show(photo), show(turned))
    base = mp.tasks.BaseOptions(name)
    python_options = mp.tasks.vision.ImageSegmenterOptions(base, output_category_mask=True)
    with mp.tasks.vision.ImageSegmenter.create_from_options(python_options) as task:
        expected = task.segment(mp.Image(mp.ImageFormat.SRGB, np.ascontiguousarray(photo)))
    shares = expected.confidence_masks[0].numpy_view()
    categories = expected.category_mask.numpy_view()
    assert 0 < np.mean(categories == 0) < 1
    for result, turns in zip(found, (0, 1), strict=True):
        assert result["types"] == [True, True]
        mask = np.rot90(np.reshape(result["shares"], result["size"]), -turns) / 255
        np.testing.assert_allclose(mask, shares, atol=0.02)
        ours = np.rot90(np.reshape(result["categories"], result["size"]), -turns)
        assert set(np.unique(ours)) <= {0, 255}
        assert np.mean(ours == categories) > 0.999


def test_tasks_not_covered_give_the_reason(web_page):
    body = """
        const kit = await import("/web/tasks-vision.js");
        const files = await kit.FilesetResolver.forVisionTasks();
        const refused = async (task) => kit[task].createFromOptions(files, {});
        return Promise.all(given[0].map((task) => refused(task).catch(({message}) => message)));
    """
    tasks = ("ObjectDetector", "ImageClassifier", "ImageEmbedder", "InteractiveSegmenter")
    for task, message in zip(tasks, run(web_page, body, tasks), strict=True):
        assert f"does not cover {task}, because" in message


def test_an_image_without_its_pixels_is_refused(web_page):
    body = """
        const {HandLandmarker} = await import("/web/tasks-vision.js");
        const {LocalDetector} = await import("/web/sonjit-web.js");
        const moved = () => {
            const image = new ImageData(64, 48);
            structuredClone(image.data.buffer, {transfer: [image.data.buffer]});
            return image;
        };
        const task = await HandLandmarker.createFromOptions({}, {});
        const detector = await LocalDetector.create("hands");
        const said = async (call) => call().then(() => "found", ({message}) => message);
        return Promise.all([
            said(async () => task.detect(moved())),
            said(() => detector.detect(moved())),
            said(() => detector.track(moved())),
        ]);
    """
    assert all("were transferred elsewhere" in message for message in run(web_page, body))
