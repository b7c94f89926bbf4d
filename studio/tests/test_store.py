import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sonjit import InputError, JobError
from sonjit_studio.marks import MACHINE, AnnotationStore, Mark, ReviewPriority, agreement, conflicts, mark_from_dict

states = st.sampled_from(["seen", "occluded", "uncertain", "absent", "cleared"])


@pytest.fixture
def store(tmp_path):
    with_path = AnnotationStore(tmp_path / "annotations.sqlite")
    yield with_path
    with_path.close()


def mark(number, *, frame=0, view="a", joint=0, annotator="Ann", state="seen", x=1.0, y=2.0, source="H"):
    if state in ("absent", "cleared"):
        x = y = None
    return Mark(f"id-{number}", frame, view, joint, annotator, state, x, y, source)


def as_tuples(marks):
    return {mark.key: (mark.state, mark.x, mark.y, mark.source) for mark in marks}


@settings(max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2), st.sampled_from("ab"), st.integers(0, 2), st.sampled_from(["Ann", "Ben"]), states,
            st.floats(0, 640),
        ),
        max_size=40,
    )
)  # fmt: skip
def test_the_newest_mark_of_each_place_counts_and_history_keeps_all(tmp_path_factory, deeds):
    store = AnnotationStore(tmp_path_factory.mktemp("store") / "s.sqlite")
    marks = [
        mark(number, frame=frame, view=view, joint=joint, annotator=name, state=state, x=x)
        for number, (frame, view, joint, name, state, x) in enumerate(deeds)
    ]
    for one in marks:
        store.add([one])
    newest = {mark.key: mark for mark in marks}
    kept = [one for one in newest.values() if one.state != "cleared"]
    assert as_tuples(store.marks()) == as_tuples(kept)
    assert [one.id for one in store.history()] == [mark.id for mark in marks]
    for frame in range(3):
        assert as_tuples(store.marks(frame)) == as_tuples([one for one in kept if one.frame == frame])
    counts = store.triangulable()
    for frame in range(3):
        places = Counter((one.joint, one.annotator) for one in kept if one.frame == frame and one.has_position)
        assert counts.get(frame, 0) == len({joint for (joint, _), views in places.items() if views > 1})
    store.close()


def test_a_mark_sent_twice_is_written_once(store):
    first, again = (store.add([mark(1)])[0] for _ in range(2))
    assert first == again
    assert first.written
    assert len(store.history()) == 1
    with pytest.raises(InputError, match="used for another mark"):
        store.add([mark(1, x=9.0)])


def test_a_stale_window_receives_the_current_marks(store):
    (first,) = store.add([mark(1)], [0])
    (second,) = store.add([mark(2, x=4.0)], [first.mark.version])
    (stale,) = store.add([mark(3, x=7.0)], [first.mark.version])
    assert second.written
    assert not stale.written
    assert stale.mark == second.mark
    assert [one.x for one in store.marks()] == [4.0]
    assert not store.add([mark(4)], [0])[0].written
    assert store.add([mark(5)], [None])[0].written
    (cleared,) = store.add([mark(6, state="cleared")], [None])
    assert store.add([mark(7)], [0])[0].written, "what was taken back is as good as none"
    assert not store.add([mark(8)], [cleared.mark.version])[0].written


def test_a_bad_mark_among_several_leaves_all_unwritten(store):
    store.add([mark(1)])
    with pytest.raises(InputError):
        store.add([mark(2, joint=3), mark(1, x=3.0)])
    assert len(store.history()) == 1


def test_changes_and_needs(store):
    store.add([mark(1, frame=3), mark(2, frame=4, annotator="Ben")])
    since = store.version
    assert store.changed_frames(since) == {}
    store.add([mark(3, frame=4), mark(4, frame=4, annotator="Ben", x=3.0)])
    assert store.changed_frames(since) == {4: ("Ann", "Ben")}
    store.set_review_priorities({4: ReviewPriority(0.5, "views disagree"), 7: ReviewPriority(2.0)})
    assert store.review_priorities() == {4: ReviewPriority(0.5, "views disagree"), 7: ReviewPriority(2.0)}
    store.set_review_priorities({9: ReviewPriority(1.0)})
    assert list(store.review_priorities()) == [9]


def test_several_at_once_lose_nothing(tmp_path):
    path = tmp_path / "s.sqlite"

    def work(name):
        own = AnnotationStore(path)
        for number in range(25):
            own.add([replace(mark(f"{name}-{number}", joint=number, annotator=name), x=float(number))])
        own.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, ("Ann", "Ben", "Cho")))
    store = AnnotationStore(path)
    assert len(store.history()) == 75
    assert len({one.version for one in store.history()}) == 75
    store.close()


def test_what_was_acknowledged_outlives_a_kill(tmp_path):
    path = tmp_path / "s.sqlite"
    script = """
import sys
from pathlib import Path
from sonjit_studio.marks import AnnotationStore, Mark
store = AnnotationStore(Path(sys.argv[1]))
for number in range(10**6):
    store.add([Mark(f"m{number}", number, "a", 0, "Ann", "seen", 1.0, 2.0)])
    print(number, flush=True)
"""
    writer = subprocess.Popen([sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True)
    for _ in range(40):
        writer.stdout.readline()
    os.kill(writer.pid, signal.SIGKILL)
    acknowledged = 39 + len(writer.stdout.read().splitlines())
    writer.wait()
    writer.stdout.close()
    store = AnnotationStore(path)
    frames = {one.frame for one in store.marks()}
    assert frames >= set(range(acknowledged + 1))
    store.close()


def test_a_store_of_a_newer_version_or_of_something_else_is_refused(tmp_path):
    path = tmp_path / "s.sqlite"
    AnnotationStore(path).close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(InputError, match="newer Sonjit"):
        AnnotationStore(path)
    (tmp_path / "text").write_text("no database, however long it may be " * 40)
    with pytest.raises(InputError, match="cannot be used"):
        AnnotationStore(tmp_path / "text")
    with pytest.raises(InputError, match="cannot be opened"):
        AnnotationStore(tmp_path / "nowhere" / "s.sqlite")


def test_a_store_that_cannot_be_written_is_reported(tmp_path):
    store = AnnotationStore(tmp_path / "s.sqlite")
    store._database.execute("PRAGMA query_only = ON")  # as a disk that has become read-only
    with pytest.raises(JobError, match="cannot be written"):
        store.add([mark(1)])
    store.close()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joint": 42}, "joints are 0 to 41"), ({"x": float("nan")}, "pixels of the view"),
        ({"state": "gone"}, "state 'gone'"), ({"state": "absent"}, "requires no x and y"),
        ({"source": "M"}, "source M by Ann"), ({"annotator": MACHINE}, f"source H by {MACHINE}"),
        ({"id": ""}, "mark id"),
    ],
)  # fmt: skip
def test_what_can_be_no_mark_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        replace(mark(1), **change)


@pytest.mark.parametrize("x", [10**400, -(10**400), 10**6])
def test_numbers_outside_every_image_are_no_marks(x):
    with pytest.raises(InputError, match="give pixels of the view"):
        mark_from_dict({"id": "a", "frame": 0, "view": "a", "joint": 0, "x": x, "y": 2}, "Ann")


def test_a_damaged_schema_is_reported_in_one_line(store):
    store.close()
    data = store.path.read_bytes()
    store.path.write_bytes(data.replace(b"WITHOUT ROWID", b"WITHOUT R\xffWID"))
    assert store.path.read_bytes() != data
    with pytest.raises(InputError, match=r"annotations\.sqlite cannot be used: .*; is the folder"):
        AnnotationStore(store.path)


def test_damage_inside_a_store_is_reported_in_one_line(store):
    store.add([mark(number, joint=number % 42, frame=number // 42) for number in range(1000)])
    store.close()
    data = bytearray(store.path.read_bytes())
    data[8192:] = bytes(len(data) - 8192)  # all pages but those of the tables' names
    store.path.write_bytes(data)
    damaged = AnnotationStore(store.path)
    try:
        with pytest.raises(InputError, match=r"annotations\.sqlite is damaged: .*; restore a backup"):
            damaged.history()
    finally:
        damaged.close()


def mark_at(annotator, x, y=0.0, *, frame=0, view="a", joint=0, state="seen"):
    place = (None, None) if state == "absent" else (x, y)
    source = "M" if annotator == MACHINE else "H"
    return Mark(f"{annotator}{frame}{view}{joint}", frame, view, joint, annotator, state, *place, source)


@given(st.lists(st.floats(0, 30), min_size=1, max_size=20))
def test_distances_between_two_people(apart):
    marks = [mark_at("Ann", 0.0, frame=k) for k in range(len(apart))]
    marks += [mark_at("Ben", 0.0, px, frame=k, joint=0) for k, px in enumerate(apart)]
    report = agreement(marks, (5.0,))
    assert report["all"]["pairs"] == len(apart)
    assert report["all"]["mean_px"] == pytest.approx(np.mean(apart))
    assert report["all"]["median_px"] == pytest.approx(np.median(apart))
    assert report["all"]["within"]["5"] == pytest.approx(np.mean(np.array(apart) <= 5))
    assert report["annotators"]["Ann | Ben"]["mean_px"] == report["joints"]["right_wrist"]["mean_px"]


def test_conflicts_are_marks_far_apart_or_there_and_not_there():
    marks = [
        *(mark_at("Ann", 0.0, joint=1), mark_at("Ben", 4.0, joint=1)),
        *(mark_at("Ann", 0.0, joint=2), mark_at("Ben", 40.0, joint=2)),
        *(mark_at("Ann", 0.0, joint=3), mark_at("Ben", 0.0, joint=3, state="absent")),
        *(mark_at("Ann", 0.0, joint=4, state="absent"), mark_at("Ben", 0.0, joint=4, state="absent")),
    ]
    found = conflicts(marks)
    assert [(one["joint"], one["apart_px"]) for one in found] == [(2, 40.0), (3, None)]
