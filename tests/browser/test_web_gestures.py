"""Gestures and motions of hands in `web/`: those that Python gives them, as the worker answers them to the page."""

import numpy as np
import pytest

import sonjit
from sonjit.gestures import GESTURES, GestureRecording, GestureSmoother, LearnedGestures
from sonjit.results import Hand

from .conftest import run
from .web_module import TRACK

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_hands_have_the_gestures_that_python_gives_them(web_page, show, photo, demo_clip, site, tmp_path):
    """Steady in a stream, in tfjs-models' shape, and those of a file of one's own; other kinds have none."""
    frames = [show(rgb) for rgb in demo_clip[1][60:64]]
    found = run(web_page, TRACK, "hands", frames, {"gestures": "canned"}, "track")
    smoother = GestureSmoother()
    for i, hands in enumerate(found):
        steady = smoother([Hand.from_dict(one) for one in hands], i / 30)
        assert [one["gesture"] and one["gesture"]["name"] for one in hands] == [one and one.name for one in steady]
    assert any(one["gesture"] for hands in found for one in hands)
    path = show(photo)
    (name,) = run(web_page, """
        const hands = await once("MediaPipeHands", {gestures: "canned", maxHands: 1}, await load(given[0]));
        return hands.map(({gesture}) => gesture.name);
    """, path)  # fmt: skip
    (hand, *_) = run(web_page, TRACK, "hands", [path], {}, "detect")[0]
    assert "gesture" not in hand
    LearnedGestures.learn([GestureRecording.of("mine", [Hand.from_dict(hand)] * 3)]).save(tmp_path / "mine.npz")
    site.files["/mine.npz"] = ("application/octet-stream", (tmp_path / "mine.npz").read_bytes())
    told = run(web_page, """
        const detector = await kit.LocalDetector.create("hands", {}, {gesturesUrl: "mine.npz"});
        const {hands} = await detector.detect(await pixels(given[0]));
        detector.close();
        return hands.map(({gesture}) => gesture?.name);
    """, path)  # fmt: skip
    assert told[0] == "mine"
    assert name in GESTURES
    with pytest.raises(RuntimeError, match="gesturesUrl: face has no hands"):
        run(web_page, "await kit.LocalDetector.create('face', {}, {gesturesUrl: 'mine.npz'})")


def test_streams_have_the_motions_that_python_gives_them(web_page, show, demo_clip):
    """A swipe: a frame of the clip that rests, is drawn to the right and rests again; in tfjs-models' shape too."""
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
    told = [[(one.name, one.phase, one.id, one.handedness) for one in events] for events in expected]
    for ours in (found["own"], found["theirs"]):
        assert [[tuple(one[k] for k in ("name", "phase", "id", "handedness")) for one in here] for here in ours] == told
        times = [one["time"] for here in ours for one in here]
        assert times == pytest.approx([one.time for events in expected for one in events], abs=1e-6)
    assert {step[:2] for events in told for step in events} >= {("Swipe_Right", "begin"), ("Swipe_Right", "end")}
    assert found["none"] == [None, None]
