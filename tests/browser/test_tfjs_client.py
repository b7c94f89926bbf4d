"""A page for tfjs-models on another origin, with its import changed, gets the results of Sonjit's detectors."""

import numpy as np
import pytest

import sonjit
from sonjit.results.skeletons import load_skeleton

from .conftest import free_port, open_kit, run

pytestmark = pytest.mark.browser

HANDS, FACES, BOXES, POSES = "MediaPipeHands", "MediaPipeFaceMesh", "MediaPipeFaceDetector", "BlazePose"
KITS = ("hand-pose-detection", "face-landmarks-detection", "face-detection", "pose-detection")


@pytest.fixture
def page(browser, server, site):
    return open_kit(browser, site, {f"@tensorflow-models/{name}": f"{server.url}/sonjit-client.js" for name in KITS})


def found_by(kind, rgb, *, search="fast", **options):
    with sonjit.create_detector(kind, static_image=True, search=search, **options) as detector:
        return [instance.to_dict() for instance in detector.detect(np.ascontiguousarray(rgb))]


def assert_same(found, expected, tolerance=0.05):
    """Compare members, names and labels exactly, pixels with a tolerance, metres and scores to 0.05."""
    assert type(found) is type(expected) or {type(found), type(expected)} <= {int, float}
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value, 0.05 if name in ("keypoints3D", "score") else tolerance)
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert_same(one, other, tolerance)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=tolerance)
    else:
        assert found == expected


@pytest.mark.nightly_after(1)
@pytest.mark.parametrize("flip", [False, True])
def test_a_image_with_hands(page, show, photo, flip):
    found = run(page, "return once(given[0], {runtime: 'tfjs'}, await load(given[1]), {flipHorizontal: given[2]})",
                HANDS, show(photo), flip)  # fmt: skip
    expected = found_by("hands", photo[:, ::-1] if flip else photo, mirrored=True)
    assert expected
    assert_same(found, expected)


MODELS = [
    (HANDS, {"modelType": "lite", "maxHands": 4}, "hands", {"model": "lite", "max_instances": 4, "mirrored": True}),
    (FACES, {}, "face", {"model": "mesh", "max_instances": 1}),
    (FACES, {"refineLandmarks": True, "maxFaces": 3}, "face", {"max_instances": 3}),
    (BOXES, {}, "face", {"model": "box"}),
    (BOXES, {"modelType": "full"}, "face", {"model": "box-full"}),
    (POSES, {"modelType": "lite", "enableSmoothing": False}, "body", {"model": "lite", "max_instances": 1}),
]


@pytest.mark.nightly_after(1)
@pytest.mark.golden
@pytest.mark.files("real/tfjs-models/*-*/test_data/*.jpg")
def test_a_photograph(page, show, file, read_rgb):
    rgb = read_rgb(file)
    path = show(rgb)
    for model, config, kind, options in MODELS:
        found = run(page, "return once(given[0], given[1], await pixels(given[2]), {staticImageMode: true})",
                    model, config, path)  # fmt: skip
        assert_same(found, found_by(kind, rgb, search="auto", **options))


def test_frames_of_a_stream_are_tracked(page, show, demo_clip):
    frames = demo_clip[1][60:120:6]
    found = run(page, """
        const detector = await kit.createDetector(kit.SupportedModels.MediaPipeHands, {maxHands: 2});
        const images = await Promise.all(given[0].map(pixels));
        const all = await Promise.all(images.map((image, i) => detector.estimateHands(image, null, i * 200)));
        detector.dispose();
        return all;
    """, [show(rgb) for rgb in frames])  # fmt: skip
    with sonjit.create_detector("hands", search="fast", smoothing="published", mirrored=True) as detector:
        expected = [[hand.to_dict() for hand in detector.detect(rgb, time=i / 5)] for i, rgb in enumerate(frames)]
    assert any(expected)
    assert_same(found, expected, tolerance=4)  # frames are sent as JPEG


@pytest.mark.parametrize("flip", [True])
def test_a_pose_with_its_mask(page, show, photo, flip):
    shape = {"segmentation": True, "smoothing": None}
    pixels = np.ascontiguousarray(photo[:, ::-1] if flip else photo)
    with sonjit.create_detector("body", static_image=True, search="fast", **shape) as detector:
        (expected,) = detector.detect(pixels)
    found = run(page, """
        const config = {enableSegmentation: true, smoothSegmentation: false};
        const [pose] = await once("BlazePose", config, await load(given[0]), {flipHorizontal: given[1]});
        const {segmentation: {mask, maskValueToLabel}} = pose;
        const {width, height, data} = await mask.toImageData();
        const canvas = await mask.toCanvasImageSource();
        const lone = await mask.toTensor().catch((error) => error.message);
        globalThis.tf = {browser: {fromPixels: (image, channels) => [image.width, image.height, channels]}};
        const tensor = await mask.toTensor();
        delete globalThis.tf;
        return {
            names: Object.keys(pose), width, height, tensor, lone, label: maskValueToLabel(data[0]),
            canvas: [canvas.width, canvas.height], type: mask.getUnderlyingType(),
            refused: (() => { try { return maskValueToLabel(256); } catch ({message}) { return message; } })(),
            sums: [0, 1, 2, 3].map((c) => data.reduce((sum, value, i) => sum + (i % 4 === c ? value : 0), 0)),
            row: [...data.slice(width * (height >> 1) * 4, width * ((height >> 1) + 1) * 4)],
        };
    """, show(photo), flip)  # fmt: skip
    height, width = expected.mask.shape
    assert found["names"] == ["score", "keypoints", "keypoints3D", "segmentation"]
    assert (found["width"], found["height"], found["canvas"]) == (width, height, [width, height])
    assert (found["tensor"], found["type"], found["label"]) == ([width, height, 4], "imagedata", "person")
    assert "no global tf" in found["lone"]
    assert "0 to 255" in found["refused"]
    red, green, blue, alpha = found["sums"]
    assert (green, blue) == (0, 0)
    assert red == alpha == pytest.approx(255 * expected.mask.sum(), rel=0.02)
    row = np.reshape(found["row"], (width, 4))
    assert np.mean(abs(row[:, 3] / 255 - expected.mask[height // 2])) < 0.02


def test_a_video(page, site, demo_clip):
    site.files["/clip.mp4"] = ("video/mp4", demo_clip[0].read_bytes())
    hands = run(page, """
        const video = Object.assign(document.createElement("video"), {muted: true});
        const detector = await kit.createDetector("MediaPipeHands");
        const early = await detector.estimateHands(video).catch((error) => error.message);
        const clip = await (await fetch("/clip.mp4")).blob();
        await new Promise((next) => Object.assign(video, {src: URL.createObjectURL(clip), onloadeddata: next}));
        video.currentTime = 6;
        await new Promise((next) => { video.onseeked = next; });
        let hands = [];
        for (let tries = 0; hands.length < 2 && tries < 50; tries++) { // a busy browser shows the frame after "seeked"
            if (tries > 0) await new Promise((next) => setTimeout(next, 100));
            hands = await detector.estimateHands(video);
        }
        detector.reset();
        const none = await detector.estimateHands(null);
        detector.dispose();
        return {early, hands, none};
    """)  # fmt: skip
    truth = demo_clip[2][180]["hands"]
    assert "loadeddata" in hands["early"]
    assert hands["none"] == []
    wrists = sorted((hand["keypoints"][0]["x"], hand["keypoints"][0]["y"]) for hand in hands["hands"])
    np.testing.assert_allclose(wrists, sorted(hand["xy"][0] for hand in truth), atol=40)


REFUSED = [
    ("kit.createDetector('MoveNet')", "known: MediaPipeHands, MediaPipeFaceMesh, MediaPipeFaceDetector, BlazePose"),
    ("kit.createDetector('MediaPipeHands', {maxHands: 51})", "1 to 50"),
    ("kit.createDetector('MediaPipeHands', {modelType: 'heavy'})", "known: lite, full"),
    ("kit.createDetector('MediaPipeHands', {detectorModelUrl: '/m.json'})", "detectorModelUrl: the server runs"),
    ("kit.createDetector('MediaPipeFaceMesh', {refineLandmarks: 1})", "known: true, false"),
    ("kit.createDetector('BlazePose', {enableSegmentation: 1})", "known: true, false"),
    ("once('BlazePose', {}, document.createElement('canvas'), {maxPoses: 0})", "1 to 50"),
    ("once('MediaPipeHands', {}, {dataSync: () => []})", "a tensor cannot be sent"),
    ("once('MediaPipeHands', {}, 'photo.png')", "a String is not an image; known: HTMLImageElement"),
    ("once('MediaPipeHands', {}, new Image())", "the image is empty"),
    ("once('MediaPipeHands', {}, new Blob(['x']))", "image"),
]


def test_what_is_unknown_is_refused_with_what_is_known(page):
    page.expected.append("/v1/hands")  # the browser reports the refused Blob itself
    for call, says in REFUSED:
        with pytest.raises(RuntimeError, match=says.replace("(", r"\(")):
            run(page, f"await {call}")


def test_no_server(page):
    page.expected.append("ERR_CONNECTION_REFUSED")
    with pytest.raises(RuntimeError, match=r"start it with sonjit serve --allow-origin http://127"):
        run(page, "await kit.createDetector('MediaPipeHands', {server: given[0]})", f"http://127.0.0.1:{free_port()}")


def test_helpers_agree_with_the_skeletons(page):
    contours, pairs = run(page, """
        const {getAdjacentPairs, getKeypointIndexByContour} = kit.util;
        return [getKeypointIndexByContour("MediaPipeFaceMesh"), Object.values(kit.SupportedModels)
            .filter((model) => model !== "MediaPipeFaceDetector").map(getAdjacentPairs)];
    """)  # fmt: skip
    face = load_skeleton("face_mediapipe478")
    assert {name: sorted(set(indices)) for name, indices in contours.items()} == {
        name: sorted(set(indices)) for name, indices in face.groups.items()
    }
    hands, mesh, body = ({tuple(pair) for pair in some} for some in pairs)
    assert hands == set(load_skeleton("hand_mediapipe21").connections)
    assert body == set(load_skeleton("body_blazepose33").connections)
    assert {point for pair in mesh for point in pair} == set(range(468))
