"""`.rrd` recordings, read back with Rerun's own reader."""

import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit._util.extras import MissingExtraError
from sonjit.detectors.kinds import options_for
from sonjit.media import Header, load_frames, open_writer
from sonjit.results import Frame
from sonjit.runs import Detect

pytest.importorskip("rerun")


def rows_of(path):
    """Return the rows of a recording as (entity, frame, values by component)."""
    from rerun.chunk import RrdReader

    rows = []
    for chunk in RrdReader(path).stream():
        batch = chunk.to_record_batch()
        for row in batch.to_pylist():
            values = {name: value for name, value in row.items() if ":" in name and value is not None}
            rows.append((chunk.entity_path, row.get("frame"), values))
    return rows


def test_keypoints_values_and_gaps_of_a_recording(tmp_path, hand, person):
    path, hand, person = tmp_path / "a.rrd", replace(hand(), id=7), person()
    with open_writer(path, Header("clip.mp4", 640, 480, 30), {"spread_rad": float, "gesture": str}) as writer:
        writer.write(Frame(0, 0.0, [hand]), [{"spread_rad": 0.25, "gesture": "fist"}])
        writer.write(Frame(1, 0.1))
        writer.write(Frame(2, 0.2, people=[person]), [{} for _ in person.parts])
    rows = rows_of(path)
    pixels = next(values for entity, frame, values in rows if (entity, frame) == ("/image/hands/7", 0))
    np.testing.assert_allclose(pixels["Points2D:positions"], hand.keypoints[:, :2], atol=1e-4)
    metres = next(values for entity, frame, values in rows if (entity, frame) == ("/space/hands/7", 0))
    np.testing.assert_allclose(metres["Points3D:positions"], hand.keypoints_3d, atol=1e-6)
    curves = [values for entity, _, values in rows if entity == "/values/hands/7/spread_rad"]
    assert [values["Scalars:scalars"] for values in curves] == [[0.25]]
    assert any(
        "Clear:is_recursive" in values for entity, frame, values in rows if entity == "/image/hands/7" and frame == 1
    )
    parts = {
        entity.rpartition("/")[2] for entity, frame, _ in rows if frame == 2 and entity.startswith("/image/people")
    }
    assert parts == {name for name in person.members if getattr(person, name)}
    from rerun.chunk import RrdReader

    for name in ("ViewCoordinates", "Boxes2D"):  # the axes, and the border of the image
        always = [chunk for chunk in RrdReader(path).stream() if name in str(chunk.to_record_batch().schema)]
        assert [chunk.is_static for chunk in always] == [True]
    classes = [values for entity, _, values in rows if "AnnotationContext:context" in values][-1]
    assert "index_finger_tip" in str(classes)


def test_unknown_keypoints_are_left_out(tmp_path, hand):
    hand = hand()
    hand = replace(hand, keypoints=np.where(np.arange(21)[:, None] == 3, np.float32(np.nan), hand.keypoints))
    with open_writer(tmp_path / "a.rrd", Header()) as writer:
        writer.write(Frame(0, None, [hand]))
    (values,) = (values for entity, _, values in rows_of(tmp_path / "a.rrd") if entity == "/image/hands/1")
    assert values["Points2D:keypoint_ids"] == [k for k in range(21) if k != 3]
    assert len(values["Points2D:positions"]) == 20


def test_a_recording_without_a_size_has_no_border(tmp_path):
    for width, height, count in ((640, None, 0), (None, 480, 0), (None, None, 0), (640, 480, 1)):
        with open_writer(tmp_path / "a.rrd", Header("clip.mp4", width, height)) as writer:
            writer.write(Frame(0, 0.0))
        assert sum(entity == "/image/border" for entity, _, _ in rows_of(tmp_path / "a.rrd")) == count


def test_a_discarded_recording_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), open_writer(tmp_path / "a.rrd", Header()):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with open_writer(tmp_path / "a.rrd", Header()):
        pass
    with pytest.raises(InputError, match="Recordings for Rerun cannot be read back"):
        load_frames(tmp_path / "a.rrd")


def test_without_the_extra_the_command_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rerun", None)
    monkeypatch.delitem(sys.modules, "sonjit.media.tables.rerun_files", raising=False)
    with pytest.raises(MissingExtraError, match=r"\[rerun\]"):
        open_writer(tmp_path / "a.rrd", Header())


def test_photographs_share_a_recording(tmp_path, hand):
    photos = SimpleNamespace(name="photos", kind="folder", width=640, height=480, fps=None)
    photos.geometry, photos.offset_s, photos.notes = None, 0.0, []
    with Detect(options_for("hands")).open_table(str(tmp_path / "a.rrd"), photos) as table:
        for index in range(2):
            table.write(Frame(index, None, [replace(hand(), id=None)], source=f"{index}.png"), None)
    frames = [frame for entity, frame, _ in rows_of(tmp_path / "a.rrd") if entity == "/image/hands/1"]
    assert sorted(set(frames)) == [0, 1]
