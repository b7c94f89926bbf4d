"""`web/` runs the networks in the page with the results of Python. Frames of the clip are sent as pixels."""

import base64
import gzip
import json
from itertools import chain, islice

import cv2
import numpy as np
import pytest

from ..support.bundled_goldens import frames_of, read_golden  # noqa: TID252  # tests of detectors also read them
from .conftest import run
from .web_module import PARTS, PROJECT, TRACK, distances, golden_of, in_python, offsets

pytestmark = pytest.mark.browser


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "options"), [("demo.hands.full.stills", {"mirrored": True}), ("photo.body.full.stills", {})]
)
def test_stills_are_as_mediapipe_finds_them(web_page, all_networks, show, demo_clip, name, options):
    golden = read_golden(name)
    kind, frames, images = golden["kind"], golden["frames"][::3], frames_of(golden, demo_clip)
    shown = [show(images[frame["frame"]]) for frame in frames]
    found = run(web_page, TRACK, kind, shown, {"search": "fast", **options}, "detect")
    assert np.mean(offsets(found, frames)) < 0.3


@pytest.mark.slow
def test_a_clip_tracked_freely_is_as_mediapipe_tracks_it(web_page, show, demo_clip):
    frames = read_golden("demo.hands.full.tracked")["frames"][:16]
    options = {"search": "fast", "search_interval": 1, "mirrored": True, "smoothing": "published"}
    found = run(web_page, TRACK, "hands", [show(demo_clip[1][frame["frame"]]) for frame in frames], options, "track")
    assert np.mean(offsets(found, frames)) < 1


@pytest.mark.nightly
@pytest.mark.slow
def test_a_stream_is_as_python_tracks_it(web_page, all_networks, show, demo_clip):
    """Compare ids, sides, smoothing and metres. By default, streams of pages are searched as MediaPipe does."""
    frames, options = demo_clip[1][60:76], {"model": "lite", "max_instances": 3, "keypoints": "refined"}
    found = run(web_page, TRACK, "hands", [show(rgb) for rgb in frames], options, "track")
    hands = in_python("hands", frames, options | {"search": "fast"})
    expected = [[hand.to_dict(full=True) for hand in found] for found in hands]
    for one, hand in zip(chain(*found), chain(*hands), strict=True):
        for name, points in zip(("keypoints", "keypoints3D"), hand.published, strict=True):
            published = [[point[axis] for axis in "xyz"] for point in one["published"][name]]
            np.testing.assert_allclose(published, points, atol=4 if name == "keypoints" else 0.02)
        del one["published"]
    identities = [[[hand[name] for name in ("id", "handedness")] for hand in hands] for hands in (*found, *expected)]
    assert identities[: len(found)] == identities[len(found) :]
    for ours, theirs in zip(chain(*found), chain(*expected), strict=True):
        assert ours.keys() == theirs.keys()
        for points, axes, tolerance in (("keypoints", "xy", 1), ("keypoints", "z", 4), ("keypoints3D", "xyz", 0.02)):
            first, second = ([[p[axis] for axis in axes] for p in one[points]] for one in (ours, theirs))
            np.testing.assert_allclose(first, second, atol=tolerance)
            assert [p["name"] for p in ours[points]] == [p["name"] for p in theirs[points]]
        errors = [[p["errorPx"] for p in one["keypoints"]] for one in (ours, theirs)]
        np.testing.assert_allclose(*errors, rtol=0.1)
        assert ours["box"] == pytest.approx(theirs["box"], abs=1)


STILL_GOLDENS = {
    "pose.pose.static.full": ("BlazePose", {"modelType": "full"}),
    "pose.pose.static.lite": ("BlazePose", {"modelType": "lite"}),
    "facemesh.portrait.static4.plain": ("MediaPipeFaceMesh", {"maxFaces": 4}),
    "facemesh.portrait.static4.refine": ("MediaPipeFaceMesh", {"maxFaces": 4, "refineLandmarks": True}),
    "facedet.portrait.short": ("MediaPipeFaceDetector", {"maxFaces": 10}),
    "facedet.coco__000000000785.full": ("MediaPipeFaceDetector", {"maxFaces": 10, "modelType": "full"}),
}


@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("name", STILL_GOLDENS)
def test_faces_and_bodies_of_stills_are_as_mediapipe_finds_them(
    web_page, all_networks, show, data, golden_frames, name
):
    """Use the calls of tfjs-models' page. With `staticImageMode`, the images would be searched thoroughly."""
    file, golden = golden_of(data, name)
    (rgb,) = golden_frames(file, golden)[1]
    model, config = STILL_GOLDENS[name]
    found = run(web_page, "return once(given[1], given[2], await pixels(given[0]))", show(rgb), model, config)
    (frame,) = golden["frames"]
    assert len(found) == len(frame["instances"]) > 0
    points = [
        instance.get("keypoints") or np.array(instance["kps"]) * golden["size"] for instance in frame["instances"]
    ]
    assert np.mean(distances(found, points)) < 0.3
    for ours, theirs in zip(found, frame["instances"], strict=True):
        assert len(ours["keypoints"]) == len(theirs.get("keypoints", theirs.get("kps")))
        if "world" in theirs:
            world, seen = (
                [[point[key] for key in keys] for point in ours["keypoints3D"]] for keys in ("xyz", ["score"])
            )
            np.testing.assert_allclose(world, theirs["world"], atol=0.01)
            np.testing.assert_allclose(seen, np.array(theirs["keypoints"])[:, 3:], atol=0.01)


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "kind", "options"),
    [("pose.pose_1.track.lite", "body", {"model": "lite"}), ("facemesh.portrait_pan.track1.refine", "face", {})],
)
def test_faces_and_bodies_tracked_freely_are_as_mediapipe_tracks_them(
    web_page, all_networks, show, data, golden_frames, name, kind, options
):
    """Bodies have MediaPipe's smoothing, which determines their next boxes."""
    file, golden = golden_of(data, name)
    shown = [show(rgb) for rgb in islice(golden_frames(file, golden)[1], 8)]
    options = {"search": "fast", "search_interval": 1, "smoothing": "published", **options}
    found = run(web_page, TRACK, kind, shown, options, "track")
    far = []
    for frame in golden["frames"]:
        if frame["frame"] < len(found):
            here = found[frame["frame"]]
            assert [one["id"] for one in here] == [1] * len(frame["instances"])
            far += distances(here, [instance["keypoints"] for instance in frame["instances"]])
    assert np.mean(far) < 1


@pytest.mark.slow
@pytest.mark.golden
def test_blendshapes_and_poses_are_those_of_mediapipe_and_python(web_page, all_networks, site, show, data, read_rgb):
    """They come from the bundle. A stream of one face is smoothed as in its graph, and mirrored."""
    bundle = data / "real" / "tasks" / "face_landmarker.task"
    file = data / "goldens" / "tasks" / "face.stock-emotions-a-1.json"
    golden = json.loads(file.read_text("utf-8")) if file.is_file() else {"source": "none"}
    source = next((data / "real").glob(f"wild*/**/{golden['source']}"), None)
    if not bundle.is_file() or source is None:
        pytest.skip(f"{bundle.name} or the golden file of MediaPipe is not in {data}")
    site.files.setdefault("/web/models/face_landmarker.task", ("application/octet-stream", bundle.read_bytes()))
    rgb, options = read_rgb(source), {"blendshapes": True, "transform": True, "search": "fast"}
    ((face,),) = run(web_page, TRACK, "face", [show(rgb)], options, "detect")
    (truth,) = golden["frames"]
    height, width = rgb.shape[:2]
    assert (
        distances([face], [np.array(landmark)[:, :2] * (width, height) for landmark in truth["face_landmarks"]])[0]
        < 0.3
    )
    names, scores = zip(*((one["category_name"], one["score"]) for one in truth["face_blendshapes"][0]), strict=True)
    assert tuple(face["blendshapes"]) == names
    np.testing.assert_allclose(list(face["blendshapes"].values()), scores, atol=0.02)
    np.testing.assert_allclose(face["transform"], truth["facial_transformation_matrixes"][0], atol=0.05)

    frames = [np.ascontiguousarray(rgb[:, shift : shift + width - 40]) for shift in (0, 20, 40)]
    options |= {"flip_horizontal": True}
    found = run(web_page, TRACK, "face", [show(frame) for frame in frames], options, "track")
    expected = in_python("face", frames, options | {"landmark_model": bundle})
    for (ours,), (theirs,) in zip(found, expected, strict=True):
        assert distances([ours], [theirs.keypoints])[0] < 0.3
        np.testing.assert_allclose(list(ours["blendshapes"].values()), list(theirs.blendshapes.values()), atol=0.02)
        np.testing.assert_allclose(ours["transform"], theirs.transform, atol=0.05)


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "call", "options"),
    [
        ("pose.pose_squats.track.lite", "track", {"model": "lite", "smoothing": "one_euro"}),
        ("pose.pose.static.full", "detect", {"mirrored": True, "flip_horizontal": True}),
    ],
)
def test_people_are_as_python_finds_them(both, data, golden_frames, name, call, options):
    """Bodies have their own hands and faces, also when hands are tracked from frame to frame."""
    images = islice(golden_frames(*golden_of(data, name))[1], 3)
    frames = [np.ascontiguousarray(rgb[::2, ::2]) for rgb in images]
    found, results = both("holistic", frames, {"search": "fast", **options}, call)
    expected = [[one.to_dict(full=True) for one in people] for people in results]
    assert [len(people) for people in found] == [len(people) for people in expected]
    pairs = [pair for people in zip(found, expected, strict=True) for pair in zip(*people, strict=True)]
    assert all(any(theirs[part] for _, theirs in pairs) for part in PARTS)
    for ours, theirs in pairs:
        assert ours.keys() == theirs.keys()
        assert ours["id"] == theirs["id"]
        for part in PARTS:
            assert (ours[part] is None) == (theirs[part] is None), part
            if theirs[part]:
                assert ours[part].keys() == theirs[part].keys()
                assert [ours[part].get(key) for key in ("id", "handedness")] == [
                    theirs[part].get(key) for key in ("id", "handedness")
                ]
                points = [[point["x"], point["y"]] for point in theirs[part]["keypoints"]]
                assert distances([ours[part]], [points])[0] < 1
                assert ours[part]["box"] == pytest.approx(theirs[part]["box"], abs=4)


@pytest.mark.slow
def test_masks_are_as_python_gives_them(both, demo_clip):
    """Masks of the false detection in the clip are smoothed over time."""
    options = {"model": "full", "segmentation": True, "search": "fast"}
    found, expected = both("body", demo_clip[1][:3], options)
    for (ours,), (theirs,) in zip(found, expected, strict=True):
        shown = ours["segmentation"]
        png = np.frombuffer(base64.b64decode(shown["png"]), np.uint8)
        grey = cv2.imdecode(png, cv2.IMREAD_GRAYSCALE)
        assert grey.shape == (shown["height"], shown["width"]) == (384, 512)
        mask = cv2.resize(theirs.mask, (512, 384), interpolation=cv2.INTER_AREA)
        assert 0.01 < mask.mean() < 0.9
        assert np.abs(grey / 255 - mask).mean() < 0.005


@pytest.mark.slow
def test_frames_that_arrive_too_fast_are_dropped(web_page, show, demo_clip):
    """Of three images at once, the first and the last are processed. The last also answers for the second."""
    found = run(web_page, """
        const detector = await kit.createDetector("MediaPipeHands");
        const [first, second, other] = await Promise.all(given[0].map(pixels));
        const images = [first, second, other];
        const all = await Promise.all(images.map((image, i) => detector.estimateHands(image, null, 40 * i)));
        const none = await detector.estimateHands(null);
        detector.dispose();
        const after = await detector.estimateHands(first).catch((error) => error.message);
        return {all, none, after};
    """, [show(demo_clip[1][i]) for i in (60, 70)] + [show(np.zeros((50, 70, 3), np.uint8))])  # fmt: skip
    first, *rest = found["all"]
    assert first
    assert rest == [[], []]
    assert found["none"] == []
    assert "disposed of" in found["after"]


REFUSED = [
    ("kit.createDetector('MoveNet')", "unknown model .* known: MediaPipeHands"),
    ("kit.LocalDetector.create('poses')", 'Unknown kind "poses". Choose from body, face, hands, holistic'),
    ("kit.LocalDetector.create('hands', {visibility: true})", "visibility=true requires a Sonjit server"),
    ("kit.LocalDetector.create('hands', {distance: true})", "distance=true requires a Sonjit server"),
    ("kit.createDetector('MediaPipeFaceDetector', {landmarkModelUrl: 'a.tflite'})", "box has no landmark network"),
    ("kit.LocalDetector.create('face', {}, {base: '/wrong/'})", "is not the published face_landmark_with_attention"),
    ("kit.LocalDetector.create('face', {}, {landmarkModelUrl: '/renamed.tflite'})", "TransformLandmarkz are unknown"),
    ("kit.createDetector('MediaPipeHands', {maxHands: 51})", "1 to 50"),
    ("kit.createDetector('MediaPipeHands', {landmarkModelUrl: '/hands/model.json'})", "Use the .tflite file"),
    ("kit.createDetector('MediaPipeHands', {detectorModelUrl: '/none.tflite'})", "none.tflite: 404"),
    ("kit.createDetector('MediaPipeHands', {detectorModelUrl: '/web/sonjit-web.js'})", "cannot be read as a network"),
    (
        "kit.createDetector('MediaPipeHands', {detectorModelUrl: '/web/models/hand_landmark_lite.tflite'})",
        "hand_landmark_lite.tflite is another network: it takes 224 x 224",
    ),
    ("kit.createDetector('MediaPipeHands', {base: '/wrong/'})", "is not the published palm_detection_full.tflite"),
    ("kit.createDetector('MediaPipeHands', {base: '/nowhere'})", "its script was not loaded"),
    (
        "kit.LocalDetector.create('face', {}, {landmarkModelUrl: 'data:,none.task'})",
        "is not a task bundle: it is not a zip file",
    ),
    ("kit.LocalDetector.create('face', {model: 'mesh', transform: true})", "cannot be combined with model"),
    ("kit.LocalDetector.create('hands', {}, {landmarkModelUrl: 'a.task'})", "only face_landmarker.task is supported"),
    (
        "(await kit.LocalDetector.create('hands', {search: 'thorough'})).track(new ImageData(8, 8))",
        r"is for detect\(\): track\(\) searches fast",
    ),
    ("kit.LocalDetector.create('hands', {search_interval: 0})", "a whole number from 1"),
    ("once('MediaPipeHands', {}, 'photo.png')", "a String is not an image; known: HTMLImageElement"),
]


def test_errors_name_a_remedy(web_page, all_networks, site):
    web_page.expected += ["404", "favicon"]
    for path, (kind, body) in list(site.files.items()):
        if path.startswith("/web/"):
            broken = gzip.decompress(body)[:-1] + b"x" if path.endswith("palm_detection_full.tflite") else body
            if path.endswith("attention.tflite"):
                broken = gzip.decompress(body).replace(b"TransformLandmarks", b"TransformLandmarkz")
                site.files.setdefault("/renamed.tflite", (kind, broken))
            site.files.setdefault(path.replace("/web/", "/wrong/"), (kind, broken))
    for call, says in REFUSED:
        with pytest.raises(RuntimeError, match=says):
            run(web_page, f"await {call}")


@pytest.mark.parametrize(
    ("missing", "says"), [("Worker", "has no workers"), ("WebAssembly", "has no WebAssembly with SIMD")]
)
def test_what_the_browser_lacks_is_named(web_page, site, missing, says):
    """The script of the worker removes a feature of the browser first."""
    kind, body = site.files["/web/sonjit-web-worker.js"]
    site.files["/lacking/sonjit-web-worker.js"] = (kind, f"delete globalThis.{missing};".encode() + body)
    with pytest.raises(RuntimeError, match=says):
        run(web_page, f"""
            const kept = globalThis.{missing};
            if ("{missing}" === "Worker") delete globalThis.Worker;
            try {{
                await kit.createDetector("MediaPipeHands", {{base: "/lacking/"}});
            }} finally {{
                globalThis.{missing} = kept;
            }}
        """)  # fmt: skip


def fine_tuned_file(weights):
    """Return the published file with weights that shift keypoints by 5 px to the lower right in the crop."""
    from ai_edge_litert import schema_py_generated as schema

    data = weights["hand-lite"].read_bytes()
    model = schema.ModelT.InitFromPackedBuf(data, 0)
    bias = next(tensor for tensor in model.subgraphs[0].tensors if b"/conv_landmarks/BiasAdd" in tensor.name)
    numbers = bytes(model.buffers[bias.buffer].data)
    assert data.count(numbers) == 1
    return data.replace(numbers, (np.frombuffer(numbers, np.float16) + np.float16(5)).tobytes())


@pytest.mark.nightly
@pytest.mark.slow
def test_a_fine_tuned_hand_network_is_read_as_in_python(web_page, site, show, weights, demo_clip, tmp_path):
    data = fine_tuned_file(weights)
    path = tmp_path / "own.tflite"
    path.write_bytes(data)
    site.files["/own.tflite"] = "application/octet-stream", data
    frames = demo_clip[1][60:180:40]
    options = {"model": "lite", "search": "fast"}
    shown, own = [show(rgb) for rgb in frames], {"landmarkModelUrl": "/own.tflite"}
    found, published = (run(web_page, TRACK, "hands", shown, options, "detect", files) for files in (own, {}))
    results = in_python("hands", frames, options | {"landmark_model": str(path)}, "detect")
    expected = [[hand.to_dict(full=True) for hand in hands] for hands in results]
    assert [len(hands) for hands in found] == [len(hands) for hands in expected]
    assert sum(map(len, found)) > 0
    for ours, theirs in zip(chain(*found), chain(*expected), strict=True):
        assert ours["handedness"] == theirs["handedness"]
        first, second = ([[point[axis] for axis in "xy"] for point in one["keypoints"]] for one in (ours, theirs))
        np.testing.assert_allclose(first, second, atol=0.5)
    before, after = (
        [point["x"] for hand in chain(*hands) for point in hand["keypoints"]] for hands in (published, found)
    )
    assert np.abs(np.array(before) - np.array(after)).max() > 1


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.golden
@pytest.mark.parametrize("model", ["attention", "box"])
def test_faces_of_selfie_views_are_as_python_finds_them(both, data, golden_frames, model):
    rgb = next(iter(golden_frames(*golden_of(data, "facemesh.portrait_pan.track1.refine"))[1]))
    options = {"model": model, "search": "fast", "mirrored": True}
    ((face,),), ((expected,),) = both("face", [rgb], options, "detect")
    assert distances([face], [expected.keypoints])[0] < 0.5


@pytest.mark.slow
def test_videos_and_canvases_give_the_results_of_their_pixels(web_page, site):
    """The worker copies their frames. Mirrored images, and canvases with transparent parts, are the same too."""
    site.files["/clip.mp4"] = "video/mp4", (PROJECT / "src/sonjit/_util/assets/demo.mp4").read_bytes()
    found = run(web_page, """
        const video = Object.assign(document.createElement("video"), {src: "/clip.mp4", muted: true});
        await new Promise((next) => Object.assign(video, {onseeked: next, currentTime: 2, preload: "auto"}));
        const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
        const pen = canvas.getContext("2d");
        pen.drawImage(video, 0, 0);
        const plain = pen.getImageData(0, 0, canvas.width, canvas.height);
        const detector = await kit.LocalDetector.create("hands", {model: "lite", search: "fast"});
        const found = {};
        const pointsOf = ({hands}) => hands.map(({keypoints}) => keypoints.map(({x, y}) => [x, y]));
        for (const flip of [false, true]) {
            const images = {plain, video, canvas, bitmap: await createImageBitmap(canvas)};
            for (const [name, image] of Object.entries(images)) {
                const answer = await detector.track(image, {time: 0, flip});
                detector.reset();
                found[`${name} ${flip}`] = [answer.width, answer.height, pointsOf(answer)];
            }
        }
        pen.clearRect(0, 0, 9, canvas.height);
        found["clear false"] = [canvas.width, canvas.height, pointsOf(await detector.track(canvas, {time: 0}))];
        detector.close();
        return found;
    """)  # fmt: skip
    for name, (width, height, hands) in found.items():
        expected = found[f"plain {name.split()[1]}"]
        assert (width, height, len(hands)) == (expected[0], expected[1], len(expected[2])), name
        np.testing.assert_allclose(hands, expected[2], atol=2, err_msg=name)
    assert len(found["plain true"][2]) > 0
