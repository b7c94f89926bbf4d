"""A small project for the automatic annotator."""

import numpy as np
import pytest

from sonjit.multiview.automatic import annotator, detection

from .annotated import CHUNK, FRAMES, DrawnHands, drawn_joints, drawn_project


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A project, its joints, and the detector that sees them."""
    project, joints = drawn_project(tmp_path), drawn_joints()
    detector = DrawnHands(project.rig, joints)
    monkeypatch.setattr(annotator, "_CHUNK", CHUNK)
    monkeypatch.setattr(detection, "_opened", lambda _: (project, detector))
    monkeypatch.setattr(
        "sonjit.multiview.automatic.labels.fit_mesh", lambda rig, points: (None, None, np.full(len(points), np.nan))
    )
    monkeypatch.setattr("sonjit.multiview.automatic.labels.rig_of_lengths", lambda side, lengths: None)
    yield project, joints.reshape(FRAMES, 2, 21, 3), detector
    project.close()
