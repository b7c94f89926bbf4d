"""Gestures and motions in `web/` are those of Python."""

import io
from itertools import chain

import numpy as np
import pytest

import sonjit
from sonjit.detectors.kinds import hand_heads
from sonjit.detectors.kinds.hand_heads import AppearanceInputs, HandHeads, head_inputs
from sonjit.detectors.kinds.hands import Hands
from sonjit.gestures import GESTURES, GestureRecording, GestureSmoother, LearnedGestures
from sonjit.gestures.classifier import LEAST_SCORE, NONE, GestureClassifier, features_of
from sonjit.results import Frame, Hand
from sonjit.runs import EventLimits, EventTracker

from .conftest import run
from .web_module import TRACK

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_hands_have_the_gestures_that_python_gives_them(web_page, show, photo, demo_clip, site, tmp_path):
    """Streams smooth gestures. tfjs-models' format and files of custom gestures work; other kinds have none."""
    frames = [show(rgb) for rgb in demo_clip[1][60:64]]
    found = run(web_page, TRACK, "hands", frames, {"gestures": "canned"}, "track")
    smoother = GestureSmoother()
    for i, hands in enumerate(found):
        steady = smoother([Hand.from_dict(hand) for hand in hands], i / 30)
        assert [hand["gesture"] and hand["gesture"]["name"] for hand in hands] == [one and one.name for one in steady]
    assert any(hand["gesture"] for hands in found for hand in hands)
    path = show(photo)
    (name,) = run(web_page, """
        const hands = await once("MediaPipeHands", {gestures: "canned", maxHands: 1}, await load(given[0]));
        return hands.map(({gesture}) => gesture.name);
    """, path)  # fmt: skip
    (hand, *_) = run(web_page, TRACK, "hands", [path], {}, "detect")[0]
    assert "gesture" not in hand
    LearnedGestures.learn([GestureRecording.of("mine", [Hand.from_dict(hand)] * 3)]).save(tmp_path / "mine.npz")
    site.files["/mine.npz"] = ("application/octet-stream", (tmp_path / "mine.npz").read_bytes())
    names = run(web_page, """
        const detector = await kit.LocalDetector.create("hands", {}, {gesturesUrl: "mine.npz"});
        const {hands} = await detector.detect(await pixels(given[0]));
        detector.close();
        return hands.map(({gesture}) => gesture?.name);
    """, path)  # fmt: skip
    assert names[0] == "mine"
    assert name in GESTURES
    with pytest.raises(RuntimeError, match="gesturesUrl: face has no hands"):
        run(web_page, "await kit.LocalDetector.create('face', {}, {gesturesUrl: 'mine.npz'})")


def test_gestures_of_refined_hands_are_those_of_published_ones(web_page, show, demo_clip):
    """This includes mirrored results. Pages get the published keypoints, from which custom gestures are learned."""
    frames = [show(rgb) for rgb in demo_clip[1][60:64]]
    options = {"gestures": "canned", "smoothing": "one_euro", "search": "fast", "flip_horizontal": True}
    published, refined = (
        list(chain(*run(web_page, TRACK, "hands", frames, {**options, "keypoints": name}, "track")))
        for name in ("published", "refined")
    )
    assert len(published) == len(refined) == len(frames)
    for one, other in zip(published, refined, strict=True):
        assert other["gesture"] == {"name": one["gesture"]["name"], "score": pytest.approx(one["gesture"]["score"])}
        assert other.keys() - one.keys() == {"published"}
        assert one["keypoints"] != other["keypoints"]


def test_streams_have_the_motions_that_python_gives_them(web_page, show, demo_clip):
    """A frame of the clip moves to the right between two rests, which is a swipe, also in tfjs-models' format."""
    frame, step = demo_clip[1][60], 45
    shifts = [0] * 4 + [step * k for k in range(6)][1:] + [5 * step] * 2
    frames = np.full((len(shifts), *frame.shape), 90, np.uint8)
    for rgb, shift in zip(frames, shifts, strict=True):
        rgb[:, shift:] = frame[:, : frame.shape[1] - shift]
    options = {"model": "lite", "search": "fast"}
    with sonjit.create_detector("hands", gestures="canned", precision="f32", **options) as detector:
        expected = [detector.detect(rgb, time=i / 30).motions for i, rgb in enumerate(frames)]
    found = run(web_page, """
        const [paths, options] = given;
        const gestures = "canned";
        const detector = await kit.LocalDetector.create("hands", {...options, gestures});
        const plain = await kit.LocalDetector.create("hands", options);
        const tfjs = await kit.createDetector("MediaPipeHands", {modelType: "lite", handedness: "own", gestures});
        const [own, theirs] = [[], []];
        for (const [i, path] of paths.entries()) {
            const image = await pixels(path);
            own.push((await detector.track(image, {time: i / 30})).motions);
            theirs.push((await tfjs.estimateHands(image, null, 1000 * i / 30)).motions);
        }
        const image = await pixels(paths[0]);
        const none = [(await plain.track(image)).motions, (await detector.detect(image)).motions];
        for (const one of [detector, plain]) one.close();
        tfjs.dispose();
        return {own, theirs, none};
    """, [show(rgb) for rgb in frames], options)  # fmt: skip
    steps = [[(event.name, event.phase, event.id, event.handedness) for event in events] for events in expected]
    for ours in (found["own"], found["theirs"]):
        assert [
            [tuple(one[k] for k in ("name", "phase", "id", "handedness")) for one in here] for here in ours
        ] == steps
        times = [one["time"] for here in ours for one in here]
        assert times == pytest.approx([event.time for events in expected for event in events], abs=1e-6)
    assert {step[:2] for events in steps for step in events} >= {("Swipe_Right", "begin"), ("Swipe_Right", "end")}
    assert found["none"] == [None, None]


def test_streams_have_the_events_that_python_gives_them(web_page, show, demo_clip):
    """Hands show gestures, cross limits of a measure, disappear for a second and return."""
    frames, options = demo_clip[1][40:80:2], {"model": "lite", "search": "fast"}
    limits = ["index_reach:0.8:0.7", "pinch_index_m:0.03:0.05"]
    frames = [*frames, *[np.full_like(frames[0], 90)] * 10, *frames[:10]]
    tracker, expected = EventTracker([EventLimits.from_text(text, "hands") for text in limits]), []
    with sonjit.create_detector("hands", gestures="canned", precision="f32", **options) as detector:
        for i, rgb in enumerate(frames):
            hands = detector.detect(rgb, time=i / 10)
            expected.append(tracker(Frame(i, i / 10, list(hands), motions=hands.motions)))
    found = run(web_page, """
        const [paths, options, limits] = given;
        const detector = await kit.LocalDetector.create("hands", {...options, gestures: "canned", events: limits});
        const all = [];
        for (const [i, path] of paths.entries()) {
            const {events} = await detector.track(await pixels(path), {time: i / 10});
            all.push(events);
        }
        detector.close();
        return all;
    """, [show(rgb) for rgb in frames], options, limits)  # fmt: skip
    fields = ("name", "type", "phase", "id", "handedness")
    named = [[tuple(getattr(event, field) for field in fields) for event in events] for events in expected]
    assert [[tuple(event[field] for field in fields) for event in events] for events in found] == named
    assert {phase for events in named for _, kind, phase, *_ in events if kind == "gesture"} == {"begin", "end"}
    assert {phase for events in named for _, kind, phase, *_ in events if kind == "measure"} >= {"begin", "cancel"}
    for ours, theirs in zip(chain(*found), chain(*expected), strict=True):
        assert (ours["begin"], ours["end"]) == (pytest.approx(theirs.begin), theirs.end and pytest.approx(theirs.end))
        assert ours["value"] == pytest.approx(theirs.value, abs=0.02)


def file_of(arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return "application/octet-stream", file.getvalue()


def shipped(module, name):
    with np.load(module[f"models/{name}"]) as arrays:
        return {key: arrays[key] for key in arrays.files if "appearance" not in key and "with_image" not in key}


def random_layers(rng, sizes, gains):
    """Return weights and biases by name, of layers with these numbers of inputs and of final outputs."""
    arrays = {}
    for k, (rows, columns) in enumerate(sizes):
        arrays[f"weights_{k}"] = rng.normal(0, gains[k] / rows**0.5, (rows, columns))
        arrays[f"bias_{k}"] = rng.normal(0, 0.1, columns)
    return arrays


def shares_with_image(network, hand, appearance):
    """Return the calibrated probabilities of the shapes of a hand."""
    features = features_of([hand])
    row = np.concatenate([appearance.ravel(), np.maximum(features[0] @ network["weights_0"] + network["bias_0"], 0)])
    for k in (1, 2):
        row = np.maximum(row @ network[f"weights_{k}"] + network[f"bias_{k}"], 0)
    logits = row @ network["weights_3"] + network["bias_3"]
    powers = np.exp(logits - logits.max())
    by_image = np.bincount(network["shape"], powers / powers.sum())
    exponent, factor = network["calibration"]
    shares = by_image**exponent * np.where(np.arange(17) == 0, factor, 1)
    return shares / shares.sum()


@pytest.fixture
def with_appearance(site, module):
    """Copy of the module with random weights for the appearance: arrays of the head and of the network."""
    rng = np.random.default_rng(9)
    head = {"appearance": rng.normal(0, 0.05, (304, 32)), "appearance_keypoint": rng.normal(0, 0.3, (21, 32))}
    head |= {"appearance_correction_0": rng.normal(0, 0.05, (714, 16)), "appearance_correction_bias_0": np.zeros(16)}
    head |= {"appearance_correction_1": rng.normal(0, 0.01, (16, 42)), "appearance_correction_bias_1": np.zeros(42)}
    head |= {"appearance_again": rng.normal(0, 0.05, (304, 32)), "appearance_again_keypoint": np.zeros((21, 32))}
    sizes = ((506, 128), (1514, 192), (192, 128), (128, 68))
    network = random_layers(rng, sizes, (0.7, 1.4, 1.4, 3)) | {"shape": np.arange(68) % 17}
    network["calibration"] = np.array([1.2, 0.9])
    site.files |= {
        path.replace("/web/", "/with_appearance/"): file
        for path, file in site.files.items()
        if path.startswith("/web/")
    }
    heads = shipped(module, "hand_heads.npz") | {f"full.{name}": np.float32(one) for name, one in head.items()}
    gestures = shipped(module, "gestures.npz") | {f"with_image.{name}": one for name, one in network.items()}
    site.files |= {
        "/with_appearance/models/hand_heads.npz": file_of(heads),
        "/with_appearance/models/gestures.npz": file_of(gestures),
    }
    return head, network


def test_gestures_of_stills_read_appearance_if_files_have_it(
    web_page, all_networks, with_appearance, module, show, demo_clip, photo, monkeypatch
):
    """NumPy classifies the appearance of the last inference of Python's search. Streams have none, nor do pages."""
    head, network = with_appearance
    alone = GestureClassifier(shipped(module, "gestures.npz"))
    inferences, observe = [], Hands.observe

    def recorded(keypoints, maps, mean):
        inferences.append([(keypoints.copy(), [one.copy() for one in maps])])  # the engine reuses its buffers
        return head_inputs(keypoints, maps, mean)

    def observed(*given):
        seen = observe(*given)
        inferences[-1].append(seen.keypoints)
        return seen

    monkeypatch.setattr(hand_heads, "head_inputs", recorded)
    monkeypatch.setattr(Hands, "observe", observed)
    images = [photo, *demo_clip[1][60:110:10]]
    with sonjit.create_detector("hands", static_image=True, precision="f32") as detector:
        hands = [hand for rgb in images for hand in detector.detect(rgb)]
    expected, without = [], []
    for hand in hands:
        keypoints, maps = next(given for given, *seen in inferences if np.array_equal(seen, [hand.keypoints]))
        appearance = HandHeads(head).appearance(AppearanceInputs(keypoints, maps[1:]))
        for labels, shown in ((expected, appearance), (without, 0 * appearance)):
            shares = shares_with_image(network, hand, shown)
            name = alone.vocabulary.name(alone.vocabulary.shapes[shares.argmax()], hand.keypoints)
            labels.append((name if shares.max() > LEAST_SCORE and name != NONE else None, float(shares.max())))
    stills, (stream,) = run(web_page, """
        const options = {gestures: "canned"};
        const detector = await kit.LocalDetector.create("hands", options, {base: "/with_appearance/"});
        const stills = [];
        for (const path of given[0]) stills.push(...(await detector.detect(await pixels(path))).hands);
        const stream = [(await detector.track(await pixels(given[0][1]))).hands];
        detector.close();
        return [stills, stream];
    """, [show(rgb) for rgb in images])  # fmt: skip
    assert not any("appearance" in one for one in [*stills, *stream])
    assert [one["gesture"] and one["gesture"]["name"] for one in stills] == [name for name, _ in expected]
    pairs = [
        (one["gesture"]["score"], score) for one, (_, score) in zip(stills, expected, strict=True) if one["gesture"]
    ]
    np.testing.assert_allclose(*zip(*pairs, strict=True), atol=0.004)
    assert min(abs(one - other) for (_, one), (_, other) in zip(expected, without, strict=True)) > 0.005
    assert {name for name, _ in expected} != {name for name, _ in without}
    by_keypoints = [alone(Hand.from_dict(one)) for one in stream]
    assert by_keypoints
    assert [one["gesture"]["score"] for one in stream] == pytest.approx(
        [keypoint.score for keypoint in by_keypoints], abs=1e-4
    )
