"""Other programs can read the exports for the study of sign languages."""

import csv
import struct
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.gestures import GestureSegment, exports, segments_of
from sonjit.media import Header, open_writer
from sonjit.results import Body, Face, Frame, Hand, Person
from sonjit.results.skeletons import load_skeleton

SEGMENTS = [
    GestureSegment("I & J", 0.5, 1.25, 0.9, 0, "Right", moving=False),
    GestureSegment("J", 0.75, 1.5, 0.8, 0, "Right", moving=True),
    GestureSegment("A", 1.5, 2.0, 0.7, 3, "Left", moving=False),
]


@pytest.fixture
def frames(posed):
    """Return two seconds of a hand with two gestures and a gap, and a second hand in the last frames."""
    shown = [("victory", 20), (None, 5), ("open", 30), ("fist", 2), ("open", 3)]
    names = [name for name, count in shown for _ in range(count)]
    poses, left = {name: posed(name) for name in {*names} - {None}}, posed("fist", "Left")
    made = [[replace(poses[name])] if name else [] for name in names]
    for hands in made[-10:]:
        hands.append(replace(left))
    for hands in made:
        for number, hand in enumerate(hands):
            hand.id = number
    return [Frame(index, index / 30, hands) for index, hands in enumerate(made)]


def test_segments_are_what_is_held_for_a_while(frames):
    found = [(segment.name, segment.handedness, segment.id) for segment in segments_of(frames)]
    assert found == [("Victory", "Right", 0), ("Open_Palm", "Right", 0), ("Closed_Fist", "Left", 1)]
    first, second, _ = segments_of(frames)
    assert (first.start, first.end) == (0, pytest.approx(19 / 30))
    assert second.start == pytest.approx(25 / 30, abs=0.16)
    assert 0.3 < second.score <= 1
    with pytest.raises(InputError, match="no time"):
        segments_of([Frame(0, None, frames[0].hands)])


def test_csv_has_a_row_for_each_segment(tmp_path):
    exports.save_segments_csv(tmp_path / "clip.csv", SEGMENTS)
    with (tmp_path / "clip.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["gesture"] for row in rows] == ["I & J", "J", "A"]
    assert list(rows[1].values()) == ["Right", "0", "motion", "J", "0.750", "1.500", "0.800"]


def test_elan_has_a_tier_for_the_gestures_of_a_hand_and_one_for_its_motions(tmp_path):
    (tmp_path / "clip.eaf").write_bytes(exports.eaf_from_segments(SEGMENTS, "/films/clip.mp4"))
    root = ElementTree.parse(tmp_path / "clip.eaf").getroot()
    assert root.tag == "ANNOTATION_DOCUMENT"
    assert root.find("HEADER/MEDIA_DESCRIPTOR").get("RELATIVE_MEDIA_URL") == "./clip.mp4"
    slots = {one.get("TIME_SLOT_ID"): int(one.get("TIME_VALUE")) for one in root.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(slots.values())
    types = {one.get("LINGUISTIC_TYPE_ID") for one in root.iter("LINGUISTIC_TYPE")}
    tiers = {}
    for tier in root.iter("TIER"):
        assert tier.get("LINGUISTIC_TYPE_REF") in types
        tiers[tier.get("TIER_ID")] = [
            (one.findtext("ANNOTATION_VALUE"), slots[one.get("TIME_SLOT_REF1")], slots[one.get("TIME_SLOT_REF2")])
            for one in tier.iter("ALIGNABLE_ANNOTATION")
        ]
    assert tiers == {
        "Right 0 held": [("I & J", 500, 1250)],
        "Right 0 motion": [("J", 750, 1500)],
        "Left 3 held": [("A", 1500, 2000)],
    }
    (tmp_path / "empty.eaf").write_bytes(exports.eaf_from_segments([], "bad\udcff\1.mp4"))
    root = ElementTree.parse(tmp_path / "empty.eaf").getroot()
    assert root.find("TIER") is None
    assert root.find("HEADER/MEDIA_DESCRIPTOR").get("MEDIA_URL") == "bad\\xff\\x01.mp4"


def read_pose(path):
    """Return size, components with their point counts, frame rate, points and scores of a .pose file."""
    data, at = path.read_bytes(), 0

    def take(layout):
        nonlocal at
        values = struct.unpack_from("<" + layout, data, at)
        at += struct.calcsize("<" + layout)
        return values

    def text():
        (count,) = take("H")
        return take(f"{count}s")[0].decode()

    version, width, height, _, components = take("fHHHH")
    assert version == pytest.approx(0.2)
    named = {}
    for _ in range(components):
        name, holds = text(), text()
        points, lines, colours = take("HHH")
        named[name] = [text() for _ in range(points)]
        assert holds == "XYZC"
        take(f"{2 * lines + 3 * colours}H")
    fps, frames, people = take("fIH")
    total = sum(map(len, named.values()))
    points = np.array(take(f"{frames * people * total * 3}f")).reshape(frames, people, total, 3)
    scores = np.array(take(f"{frames * people * total}f")).reshape(frames, people, total)
    assert at == len(data)
    return (width, height), named, fps, points, scores


def save_pose(path, frames, size):
    """Write a file, and return the notes about its times."""
    with open_writer(path, Header("clip.mp4", *size)) as writer:
        for frame in frames:
            writer.write(frame)
    return "; ".join(writer.notes)


def test_pose_files_hold_every_hand_under_mediapipes_names(frames, tmp_path):
    save_pose(tmp_path / "clip.pose", frames, (640, 480))
    size, named, fps, points, scores = read_pose(tmp_path / "clip.pose")
    assert size == (640, 480)
    assert list(named) == ["LEFT_HAND_LANDMARKS", "RIGHT_HAND_LANDMARKS"]
    assert named["LEFT_HAND_LANDMARKS"][:2] == ["WRIST", "THUMB_CMC"]
    assert named["RIGHT_HAND_LANDMARKS"][20] == "PINKY_TIP"
    assert fps == pytest.approx(30)
    assert points.shape == (60, 1, 42, 3)
    np.testing.assert_array_equal(points[0, 0, 21:], frames[0].hands[0].keypoints)
    assert not points[0, 0, :21].any()
    assert scores[0, 0].tolist() == [0] * 21 + [1] * 21
    assert not scores[22].any()
    two = [Frame(0, 0.0, [replace(frames[0].hands[0], id=key) for key in (4, 9)])]
    two += [Frame(row, row / 30, [replace(frames[0].hands[0], id=key)]) for row, key in ((1, 9), (2, 9), (3, 7))]
    save_pose(tmp_path / "two.pose", [*two, replace(two[0], index=4, time=4 / 30)], (640, 480))
    shown = read_pose(tmp_path / "two.pose")[4].any(-1).astype(int).tolist()  # each has a place of its own
    assert shown == [[1, 1, 0], [0, 1, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]]
    with pytest.raises(InputError, match="requires a video with at least two frames"):
        save_pose(tmp_path / "one.pose", frames[:1], (640, 480))
    with pytest.raises(InputError, match="no keypoints were found"):
        save_pose(tmp_path / "none.pose", frames[20:25], (640, 480))


def test_people_have_their_own_hands_in_pose_files(posed, tmp_path):
    def body(place):
        points = np.full((33, 3), place, np.float32)
        points[32] = np.nan
        return Body(0.9, points, points.copy(), np.full(33, 0.5, np.float32), np.full(33, 0.5, np.float32), id=0)

    people = [Person(body(1), None, None, None), Person(body(2), None, posed("open"), None)]
    save_pose(tmp_path / "two.pose", [Frame(0, 0.0, people=people), Frame(1, 0.04)], (64, 48))
    _, named, fps, points, scores = read_pose(tmp_path / "two.pose")
    assert list(named) == ["POSE_LANDMARKS", "RIGHT_HAND_LANDMARKS"]
    assert named["POSE_LANDMARKS"][:2] == ["NOSE", "LEFT_EYE_INNER"]
    assert fps == pytest.approx(25)
    assert points.shape == (2, 2, 54, 3)
    assert points[0, :, 0, 0].tolist() == [1, 2]
    assert scores[0, 0, 31:].tolist() == [0.5] + [0] * 22  # an unknown point, and no hand
    assert scores[0, 1, 33:].tolist() == [1] * 21


def test_the_formats_own_package_reads_the_same(frames, tmp_path):
    reader = pytest.importorskip("pose_format", reason="pose-format, which only this test needs, is not installed")
    save_pose(tmp_path / "clip.pose", frames, (640, 480))
    pose = reader.Pose.read((tmp_path / "clip.pose").read_bytes())
    _, _, fps, points, scores = read_pose(tmp_path / "clip.pose")
    assert pose.body.fps == pytest.approx(fps)
    np.testing.assert_array_equal(pose.body.data.filled(0), points)
    np.testing.assert_array_equal(pose.body.confidence, scores)
    assert pose.header.get_point_index("RIGHT_HAND_LANDMARKS", "INDEX_FINGER_TIP") == 29


@pytest.mark.parametrize(
    ("media", "name", "mime"),
    [
        ("a/clip.MP4", "clip.MP4", "video/mp4"), ("b.mov", "b.mov", "video/quicktime"),
        ("c.mpg", "c.mpg", "video/mpeg"), ("d.avi", "d.avi", "video/x-msvideo"), ("e.mkv", "e.mkv", "unknown"),
    ],
)  # fmt: skip
def test_elan_gets_the_name_and_type_of_the_video(tmp_path, media, name, mime):
    (tmp_path / "clip.eaf").write_bytes(exports.eaf_from_segments(SEGMENTS, media))
    root = ElementTree.parse(tmp_path / "clip.eaf").getroot()
    found = root.find("HEADER/MEDIA_DESCRIPTOR").attrib
    assert found == {"MEDIA_URL": name, "MIME_TYPE": mime, "RELATIVE_MEDIA_URL": f"./{name}"}
    slots = [(one.get("TIME_SLOT_ID"), one.get("TIME_VALUE")) for one in root.iter("TIME_SLOT")]
    assert slots == [(f"ts{k}", str(time)) for k, time in enumerate((500, 750, 1250, 1500, 1500, 2000), 1)]
    spans = [tuple(one.attrib.values()) for one in root.iter("ALIGNABLE_ANNOTATION")]
    assert spans == [("a1", "ts1", "ts3"), ("a2", "ts2", "ts4"), ("a3", "ts5", "ts6")]
    assert root.get("FORMAT") == root.get("VERSION") == "3.0"
    assert root.find("HEADER").attrib == {"MEDIA_FILE": "", "TIME_UNITS": "milliseconds"}
    kind = {"GRAPHIC_REFERENCES": "false", "LINGUISTIC_TYPE_ID": "gestures", "TIME_ALIGNABLE": "true"}
    assert root.find("LINGUISTIC_TYPE").attrib == kind


def hand_at(place, id=None, side="Right"):
    points = np.full((21, 3), place, np.float32)
    return Hand(side, 0.75, points, points, id=id)


@pytest.mark.parametrize(
    ("ids", "people"),
    [
        ([[7, 3], [3], [3, 7]], [[1, 2], [0, 1], [2, 1]]),
        ([[None, None], [None]], [[1, 2], [1]]),
        ([[7, None], [None, 7], [None]], [[1, 2], [2, 1], [0, 1]]),
        ([[7, 8, 9], [9, 5], [5, 7]], [[1, 2, 3], [0, 0, 1, 2], [2, 0, 0, 1]]),
        ([[7], [8], [8, 7]], [[1], [0, 1], [2, 1]]),  # in turns
    ],
)
def test_a_hand_stays_the_person_of_its_track(tmp_path, ids, people):
    frames = [
        Frame(row, row / 10, [hand_at(number, id) for number, id in enumerate(own, 1)]) for row, own in enumerate(ids)
    ]
    save_pose(tmp_path / "a.pose", frames, (640, 480))
    _, _, fps, points, scores = read_pose(tmp_path / "a.pose")
    count = max(map(len, people))
    assert fps == pytest.approx(10)
    assert points[:, :, 20, 2].tolist() == [own + [0] * (count - len(own)) for own in people]
    assert set(np.unique(scores)) <= {0, 0.75}


@pytest.mark.parametrize("times_s", [(0.0,), (0.5, 0.5), (None, 0.5), (0.5, None), (0.5, 0.4)])
def test_pose_files_need_times_that_increase(tmp_path, times_s):
    frames = [Frame(index, time_s, [hand_at(1)]) for index, time_s in enumerate(times_s)]
    with pytest.raises(InputError, match=r"requires a video with at least two frames|describe one video"):
        save_pose(tmp_path / "a.pose", frames, (640, 480))


def test_pose_files_have_the_lines_and_colours_of_every_part(tmp_path):
    names = {"POSE": "body_blazepose33", "FACE": "face_mediapipe478"}
    body = Body(0.9, np.full((33, 3), 5, np.float32), np.zeros((33, 3), np.float32), np.ones(33), np.ones(33), id=0)
    face = Face(0.25, np.full((478, 3), 6, np.float32), (0, 0, 1, 1), id=0)
    person = Person(body, hand_at(7, 0, "Left"), hand_at(8, 0), face)
    save_pose(tmp_path / "a.pose", [Frame(0, 1.0, people=[person]), Frame(1, 3.0)], (64, 48))
    (width, height), named, fps, points, scores = read_pose(tmp_path / "a.pose")
    order = ["POSE", "FACE", "LEFT_HAND", "RIGHT_HAND"]
    assert (width, height, fps, [*named]) == (64, 48, 0.5, [f"{part}_LANDMARKS" for part in order])
    assert named["FACE_LANDMARKS"] == [str(number) for number in range(478)]
    assert points[0, 0, :, 1].tolist() == [5] * 33 + [6] * 478 + [7] * 21 + [8] * 21
    assert scores[0, 0].tolist() == [1] * 33 + [0.25] * 478 + [0.75] * 42
    assert not points[1].any()
    data = (tmp_path / "a.pose").read_bytes()
    assert struct.unpack_from("<fHHHH", data) == (pytest.approx(0.2), 64, 48, 64, 4)
    for part, colour in zip(order, [(255,) * 3, (128,) * 3, (255, 160, 60), (60, 160, 255)], strict=True):
        lines = load_skeleton(names.get(part, "hand_mediapipe21")).connections
        ends = b"".join(struct.pack("<HH", *line) for line in lines)
        assert ends + struct.pack("<HHH", *colour) * len(lines) in data
        start = data.index(f"{part}_LANDMARKS".encode()) + len(f"{part}_LANDMARKS") + 6
        assert struct.unpack_from("<HHH", data, start) == (len(named[f"{part}_LANDMARKS"]), len(lines), len(lines))


def test_pose_files_of_a_variable_rate_have_every_place_at_its_time(tmp_path):
    """The x coordinate is the time: 3 s at 30 frames per second, then 8 s at 5, as phones record in poor light."""
    times = [*(k / 30 for k in range(90)), *(3 + k / 5 for k in range(40))]
    frames = []
    for index, time in enumerate(times):
        points = np.full((21, 3), 100 * time, np.float32)
        frames.append(Frame(index, time, [Hand("Right", 0.9, points, points, id=0)]))
    text = save_pose(tmp_path / "v.pose", frames, (640, 480))
    _, _, fps, points, scores = read_pose(tmp_path / "v.pose")
    assert fps == pytest.approx(30)
    np.testing.assert_allclose(points[:, 0, :, 0], 100 * np.arange(len(points))[:, None] / fps * np.ones(21), atol=0.01)
    np.testing.assert_allclose(scores, 0.9, atol=1e-6)
    place = f"{tmp_path / 'v.pose'}: 325 rows at 30.00 per second"
    assert text == f"{place} are between the 130 frames, whose rate is variable"
    assert save_pose(tmp_path / "c.pose", frames[:90], (640, 480)) == ""
