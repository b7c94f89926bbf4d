"""Gestures and motions in `web/` are those of Python."""

from itertools import chain

import numpy as np
import pytest

import sonjit
from sonjit.gestures import GESTURES, GestureRecording, GestureSmoother, LearnedGestures
from sonjit.results import Frame, Hand
from sonjit.runs import EventLimits, EventTracker

from .conftest import run
from .web_module import TRACK, in_python

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


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_streams_have_the_motions_that_python_gives_them(web_page, show, demo_clip):
    """A frame of the clip moves to the right between two rests, which is a swipe, also in tfjs-models' format."""
    frame, step = demo_clip[1][60], 45
    shifts = [0] * 4 + [step * k for k in range(6)][1:] + [5 * step] * 2
    frames = np.full((len(shifts), *frame.shape), 90, np.uint8)
    for rgb, shift in zip(frames, shifts, strict=True):
        rgb[:, shift:] = frame[:, : frame.shape[1] - shift]
    options = {"model": "lite", "search": "fast"}
    expected = [hands.motions for hands in in_python("hands", frames, options | {"gestures": "canned"})]
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


@pytest.mark.nightly
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


@pytest.mark.nightly
def test_gestures_of_stills_are_those_of_python(both, demo_clip, photo):
    """Python and pages read the appearance of hands in stills."""
    found, hands = both("hands", [photo, *demo_clip[1][60:110:10]], {"gestures": "canned"}, "detect")
    stills, expected = list(chain(*found)), [hand.gesture for hand in chain(*hands)]
    assert not any("appearance" in one for one in stills)
    assert [one["gesture"] and one["gesture"]["name"] for one in stills] == [one and one.name for one in expected]
    pairs = [(one["gesture"]["score"], other.score) for one, other in zip(stills, expected, strict=True) if other]
    assert pairs
    np.testing.assert_allclose(*zip(*pairs, strict=True), atol=0.01)
