"""A small project for the automatic annotator."""

import numpy as np
import pytest

from sonjit_studio import detection, run_folder

from .annotated import CHUNK, FRAMES, DrawnHands, drawn_joints, drawn_project


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Return a project, its joints, and the detector that finds them."""
    project, joints = drawn_project(tmp_path), drawn_joints()
    detector = DrawnHands(project.rig, joints)
    monkeypatch.setattr(run_folder, "CHUNK_FRAME_SETS", CHUNK)
    monkeypatch.setattr(detection, "_open_once", lambda _: (project, detector))
    monkeypatch.setattr(
        "sonjit_studio.bones.mesh_distances", lambda side, lengths, points: np.full(len(points), np.nan)
    )
    yield project, joints.reshape(FRAMES, 2, 21, 3), detector
    project.close()
