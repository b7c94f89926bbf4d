"""Stills in `web/` are searched as in Python if the networks exist."""

import cv2
import numpy as np
import pytest

from .conftest import run
from .web_module import PARTS, TRACK, distances, in_python

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def photograph(data, name):
    file = data / "real" / "wild" / f"{name}.jpg"
    if not file.is_file():
        pytest.skip(f"no {file.name} in {data}")
    return np.ascontiguousarray(cv2.imread(str(file))[..., ::-1])


@pytest.mark.nightly_after(1)
@pytest.mark.golden
@pytest.mark.parametrize(
    ("name", "options"), [("group-2", {"max_instances": 12}), ("cgi-model-10", {"model": "lite", "max_instances": 4})]
)
def test_hands_of_stills_are_those_of_pythons_search(both, data, name, options):
    """The default search uses arms, windows and the mirrored image. Heads and arms decide the side."""
    (found,), (hands,) = both("hands", [photograph(data, name)], options, "detect")
    expected = [hand.to_dict(full=True) for hand in hands]
    assert_same_hands(found, expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours["score"] == pytest.approx(theirs["score"], abs=0.02)
        assert ours["handednessScore"] == pytest.approx(theirs["handednessScore"], abs=0.02)


def assert_same_hands(found, expected):
    """Compare counts and sides exactly, and keypoints to half a pixel."""
    assert [hand["handedness"] for hand in found] == [hand["handedness"] for hand in expected] != []
    for ours, theirs in zip(found, expected, strict=True):
        assert distances([ours], [[[p["x"], p["y"]] for p in theirs["keypoints"]]])[0] < 0.5


@pytest.mark.nightly
def test_dark_and_grey_stills_are_searched_in_good_light(both, photo):
    dark = (photo // 6).astype(np.uint8)
    grey = np.repeat(cv2.cvtColor(dark, cv2.COLOR_RGB2GRAY)[..., None], 3, axis=2)
    for ours, theirs in zip(*both("hands", [dark, grey], {}, "detect"), strict=True):
        assert_same_hands(ours, [hand.to_dict() for hand in theirs])


@pytest.mark.nightly_after(1, per="kind")
@pytest.mark.golden
@pytest.mark.parametrize(
    ("kind", "name", "options", "tolerance"),
    [
        ("face", "group-2", {"model": "mesh", "max_instances": 20}, 0.1),
        ("face", "group-2", {"model": "box", "max_instances": 20}, 0.1),
        ("body", "person-lexi", {"model": "full", "max_instances": 4}, 1),
        ("holistic", "person-lexi", {"model": "lite", "max_instances": 2, "search": "thorough"}, 1),
    ],
)
def test_faces_bodies_and_people_of_stills_are_those_of_pythons_search(both, data, name, kind, options, tolerance):
    """Windows are searched, bodies below their faces, and hands at the ends of arms."""
    (found,), (results,) = both(kind, [photograph(data, name)], options, "detect")
    expected = [one.to_dict(full=True) for one in results]
    assert len(found) == len(expected) > 0
    for ours, theirs in zip(found, expected, strict=True):
        for part in PARTS if kind == "holistic" else [None]:
            one, other = (each if part is None else each[part] for each in (ours, theirs))
            assert (one is None) == (other is None), part
            if one is not None:
                assert one["score"] == pytest.approx(other["score"], abs=0.02)
                assert distances([one], [[[p["x"], p["y"]] for p in other["keypoints"]]])[0] < tolerance


@pytest.mark.nightly
@pytest.mark.golden
def test_people_have_the_faces_that_their_head_crops_show(web_page, all_networks, show, data):
    """The search for bodies ends before that for faces if it finds the maximum number of bodies."""
    rgb, options = photograph(data, "stock-group-2"), {"model": "full", "max_instances": 4}
    (found,) = run(web_page, TRACK, "holistic", [show(rgb)], options, "detect")
    (people,) = in_python("holistic", [rgb], options | {"search": "fast"}, "detect")
    expected = [person.face is not None for person in people]
    assert sum(person["face"] is not None for person in found) > sum(expected) > 0


@pytest.mark.nightly
@pytest.mark.golden
def test_bodies_that_cover_each_other_are_those_of_pythons_search(web_page, all_networks, show, data):
    """Compare the count, and the positions that Python finds again after one pixel in a thousand is brighter."""
    rgb, options = photograph(data, "solvay1927"), {"model": "full", "max_instances": 10}
    rgb = np.ascontiguousarray(rgb[:, : rgb.shape[1] // 2])
    (found,) = run(web_page, TRACK, "body", [show(rgb)], options, "detect")
    chance = np.random.default_rng(0)
    brighter = [rgb + (chance.random(rgb.shape[:2]) < 0.001)[..., None] * (rgb < 255) for _ in range(2)]
    expected, *others = in_python("body", [image.astype(np.uint8) for image in (rgb, *brighter)], options, "detect")

    def far(one, other):
        return np.linalg.norm(one.keypoints[:, :2] - other.keypoints[:, :2], axis=1).mean()

    assert len(found) == len(expected) > 2
    steady = 0
    for one in expected:
        again = [min(bodies, key=lambda other, one=one: far(one, other)) for bodies in others]
        if max(far(one, other) for other in again) < 10:
            steady += 1
            ours = min(found, key=lambda body, one=one: distances([body], [one.keypoints])[0])
            assert distances([ours], [one.keypoints])[0] < 10
            assert min(abs(ours["score"] - other.score) for other in (one, *again)) < 0.02
    assert steady > 1


@pytest.mark.golden
def test_instances_beyond_the_maximum_are_counted_as_in_python(web_page, all_networks, show, data):
    rgb, options = photograph(data, "group-5"), {"model": "mesh", "max_instances": 2}
    answer = run(web_page, """
        const detector = await kit.LocalDetector.create("face", given[1]);
        const {faces, total, complete} = await detector.detect(await pixels(given[0]));
        detector.close();
        return {shown: faces.length, total, complete};
    """, show(rgb), options)  # fmt: skip
    (expected,) = in_python("face", [rgb], options, "detect")
    assert answer == {"shown": 2, "total": expected.total, "complete": expected.complete}
    assert answer["total"] > 2


@pytest.mark.nightly
def test_stills_show_everyone_by_default_and_streams_the_usual_number(web_page, all_networks, show, demo_clip):
    """The image shows four hands. Streams of hands have at most two by default."""
    frame = demo_clip[1][240]
    counts = run(web_page, """
        const counts = [];
        for (const options of [{search: "fast"}, {search: "fast", max_instances: 1}]) {
            const detector = await kit.LocalDetector.create("hands", options);
            for (const how of ["detect", "track"])
                counts.push((await detector[how](await pixels(given[0]))).hands.length);
            detector.close();
        }
        return counts;
    """, show(np.concatenate([frame, frame], 1)))  # fmt: skip
    assert (counts[0] > 2, *counts[1:]) == (True, 2, 1, 1)


@pytest.mark.nightly
def test_a_stream_counts_instances_beyond_the_maximum_as_in_python(web_page, all_networks, show, demo_clip):
    rgb, options = demo_clip[1][240], {"max_instances": 1}
    totals = run(web_page, """
        const detector = await kit.LocalDetector.create("hands", given[1]);
        const totals = [];
        for (let i = 0; i < 3; i++) totals.push((await detector.track(await pixels(given[0]), {time: i / 30})).total);
        detector.close();
        return totals;
    """, show(rgb), options)  # fmt: skip
    expected = in_python("hands", [rgb] * 3, options | {"search": "fast"})
    assert totals == [frame.total for frame in expected] == [2, 2, 2]


@pytest.mark.nightly
def test_after_a_reset_a_stream_begins_as_the_first_one(web_page, all_networks, show, demo_clip):
    paths = [show(rgb) for rgb in demo_clip[1][60:64]]
    first, again = run(web_page, """
        const detector = await kit.LocalDetector.create("body", {model: "lite", max_instances: 2});
        const frames = await Promise.all(given[0].map(pixels));
        const streams = [];
        for (let stream = 0; stream < 2; stream++) {
            const answers = [];
            for (const [i, frame] of frames.entries()) answers.push(await detector.track(frame, {time: i / 30}));
            streams.push(JSON.stringify(answers));
            detector.reset();
        }
        detector.close();
        return streams;
    """, paths)  # fmt: skip
    assert first == again


def test_without_the_networks_for_it_stills_are_searched_fast(web_page, all_networks, site, show, photo):
    """The worker warns once in the console. An explicit request is an error."""
    web_page.expected.append("404")
    for path, (kind, body) in list(site.files.items()):
        if path.startswith("/web/") and not path.endswith("hand_heads.npz"):
            site.files[path.replace("/web/", "/few/")] = (kind, body)
    heard = b"console.warn = (line) => new BroadcastChannel('warned').postMessage(line);"
    kind, body = site.files["/few/sonjit-web-worker.js"]
    site.files["/few/sonjit-web-worker.js"] = (kind, heard + body)
    warned, *found = run(web_page, """
        const warned = [];
        new BroadcastChannel("warned").onmessage = ({data}) => data.includes("searched") && warned.push(data);
        const image = await pixels(given[0]);
        const few = await kit.LocalDetector.create("hands", {}, {base: "/few/"});
        const all = [await few.detect(image), await few.detect(image)];
        few.configure({search: "fast"});
        all.push(await few.detect(image));
        few.configure({search: "thorough"});
        all.push(await few.detect(image).catch((error) => error.message));
        few.close();
        return [warned, ...all];
    """, show(photo))  # fmt: skip
    assert len(warned) == 1
    assert "searched fast: " in warned[0]
    assert "few/models/hand_heads.npz: 404" in warned[0]
    assert found[0] == found[1] == found[2]
    assert found[0]["hands"]
    assert "hand_heads.npz: 404" in found[3]


@pytest.mark.nightly
@pytest.mark.golden
def test_the_boxes_to_hide_in_a_stream_stay_for_a_second(web_page, all_networks, show, data):
    rgb = cv2.resize(photograph(data, "person-lexi"), None, fx=0.4, fy=0.4)
    (face,) = in_python("face", [rgb], {}, "detect")[0]
    left, top, right, bottom = face.box
    shown, blank = show(rgb), show(np.full_like(rgb, 90))
    found, wrong = run(web_page, """
        const detector = await kit.LocalDetector.create("holistic", {search: "fast"});
        const found = [];
        for (const [path, time] of given[0]) found.push(await detector.cover(await pixels(path), {time}));
        found.push(await detector.cover(await pixels(given[0][0][0]), {time: NaN})); // an unknown time
        const wrong = await (await kit.LocalDetector.create("face", {search: "fast"}))
            .cover(await pixels(given[0][0][0])).catch(({message}) => message);
        detector.close();
        return [found.map(({faces}) => faces), wrong];
    """, [[shown, 0], [shown, 0.03], [blank, 0.06], [blank, 600]])  # fmt: skip
    *hidden, gone, untimed = found
    x, y = (left + right) / 2, (top + bottom) / 2
    assert all(any(box[0] < x < box[2] and box[1] < y < box[3] for box in boxes) for boxes in [*hidden, untimed])
    assert gone == []
    assert "Create a detector of holistic" in wrong


@pytest.mark.nightly
@pytest.mark.golden
def test_people_without_a_visible_face_stay_hidden_in_a_stream_of_a_page(web_page, all_networks, show, data):
    """After a cut at once, and for a second after the last detection."""
    rgb = cv2.resize(photograph(data, "person-lexi"), None, fx=0.4, fy=0.4)
    (face,) = in_python("face", [rgb], {}, "detect")[0]
    left, top, right, bottom = face.box
    margin = 0.15 * (bottom - top)
    corners = [round(value) for value in (left - margin, top - margin, right + margin, bottom + margin)]
    faceless = cv2.rectangle(rgb.copy(), tuple(corners[:2]), tuple(corners[2:]), (150, 110, 90), -1)
    # nobody finds its shoulders in the blurred image, whose colours are no cut
    after_cut, later = run(web_page, """
        const detector = await kit.LocalDetector.create("holistic", {search: "fast"});
        const [blank, image, blurred] = await Promise.all(given[0].map(pixels));
        await detector.cover(blank, {time: 0});
        const afterCut = await detector.cover(image, {time: 0.03});
        detector.reset();
        await detector.cover(image, {time: 0});
        const later = await detector.cover(blurred, {time: 0.9});
        detector.close();
        return [afterCut.faces, later.faces];
    """, [show(np.full_like(rgb, 90)), show(faceless), show(cv2.blur(faceless, (61, 61)))])  # fmt: skip
    x, y = (left + right) / 2, (top + bottom) / 2
    for boxes in (after_cut, later):
        assert any(box[0] < x < box[2] and box[1] < y < box[3] for box in boxes)
