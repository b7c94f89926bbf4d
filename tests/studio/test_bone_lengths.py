import numpy as np
import pytest

from sonjit.studio.automatic import labelling as bone_lengths
from sonjit.studio.automatic.labelling import person_bone_lengths
from sonjit.studio.automatic.run_folder import ChunkDetections

from .annotated import FRAMES, drawn_joints, drawn_project, people_mark


@pytest.fixture
def project(tmp_path):
    opened = drawn_project(tmp_path)
    yield opened
    opened.close()


def detections(rig, joints_m, rows):
    points = np.moveaxis(rig.project(joints_m[rows].reshape(len(rows), 2, 21, 3)), 0, 1)
    return ChunkDetections(np.array(rows), points.astype(np.float32), np.ones(points.shape[:-1], np.float32), ())


def lengths_of(joints_m):
    return bone_lengths._median_lengths(joints_m.reshape(-1, 2, 21, 3))


def test_only_the_frame_sets_that_count_are_triangulated(project, monkeypatch):
    joints = drawn_joints()
    chunks = [detections(project.rig, joints, list(rows)) for rows in np.split(np.arange(FRAMES), 2)]
    counts = []
    triangulate = bone_lengths.triangulate_detections

    def counting(rig, seen, offsets):
        counts.append(len(seen.frames))
        return triangulate(rig, seen, offsets)

    monkeypatch.setattr(bone_lengths, "triangulate_detections", counting)
    monkeypatch.setattr(bone_lengths, "SAMPLED_FRAME_SETS", FRAMES // 4)
    sampled = person_bone_lengths(project, project.rig, chunks, None)
    assert counts == [1, 1]
    np.testing.assert_allclose(sampled, lengths_of(joints[[0, FRAMES // 2]]), atol=1e-4)


def test_marked_frame_sets_are_sampled_over_the_recording(project, monkeypatch):
    joints = drawn_joints()
    joints[FRAMES // 2 :] *= 1.2  # the recording ends with a larger hand
    people_mark(project, joints, range(FRAMES))
    monkeypatch.setattr(bone_lengths, "SAMPLED_FRAME_SETS", 6)
    chunks = [detections(project.rig, joints, list(range(FRAMES)))]
    rows = np.unique(np.linspace(0, FRAMES - 1, 6).round().astype(int))
    assert (rows >= FRAMES // 2).sum() == 3
    found = person_bone_lengths(project, project.rig, chunks, None)
    np.testing.assert_allclose(found, lengths_of(joints[rows]), atol=1e-6)
    assert not np.allclose(found, lengths_of(joints[:6]), atol=1e-4)
