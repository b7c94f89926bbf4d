import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sonjit._util.errors import InputError, JobError
from sonjit.cli import main
from sonjit_lab.metrics.statistics import mean_interval
from sonjit_studio import learning, run_folder
from sonjit_studio.annotator import AnnotatorSettings, annotate
from sonjit_studio.marks import MACHINE, Mark

from .annotated import CHUNK, FRAMES, OFF_M, people_mark

pytestmark = pytest.mark.slow


def error_mm(project, joints):
    labels = list(run_folder.read_labels(project))
    off = np.concatenate([label.points_m for label in labels]) - joints
    source = np.concatenate([label.source for label in labels])
    return 1000 * np.linalg.norm(off, axis=-1)[source == 1].mean(), source


def test_the_loop_learns_what_people_mean(made):
    project, joints, _ = made
    done = annotate(project, AnnotatorSettings(fps=1))
    assert done.labelled == done.joints == FRAMES * 42
    before, source = error_mm(project, joints)
    assert (source == 1).all()
    assert abs(before - 1000 * np.linalg.norm(OFF_M[0])) < 1
    people_mark(project, joints, range(6))
    learning.fit_project_offsets(project)
    annotate(project, AnnotatorSettings(fps=1))
    after, source = error_mm(project, joints)
    assert after < before / 2
    assert (source[:6] == 2).all()
    assert (source[6:] == 1).all()


def test_the_error_on_marks_is_of_frame_sets_held_out(made, capsys):
    project, joints, _ = made
    annotate(project, AnnotatorSettings(fps=1))
    people_mark(project, joints, range(6))
    with pytest.raises(InputError, match="people marked 6 frame sets; 8 are required"):
        learning.held_out_error(project, 4)
    other = np.array([0.0, 0.010, 0.0])  # what no other fold teaches
    people_mark(project, joints + other, (6, 7))
    found = learning.held_out_error(project, 4)
    before, after = (1000 * errors.reshape(FRAMES, 42) for errors in (found.before_m, found.after_m))
    assert sorted(set(found.frame_set)) == list(range(FRAMES))
    assert found.not_found == 0
    assert np.allclose(before[:6], 1000 * np.linalg.norm(OFF_M[0]), atol=0.5)
    assert after[6:].mean() == pytest.approx(10, abs=1.5)
    assert after[:6].mean() < 0.7 * before[:6].mean()  # two of the six that teach them are wrong
    assert main(["annotate", "error", str(project.folder), "--folds", "4"]) == 0
    output = capsys.readouterr().out
    assert f"{FRAMES * 42} joints in {FRAMES} frame sets, each held out" in output
    low, high = mean_interval(after.mean(1))  # every frame set has as many joints
    assert f"{after.mean():.2f}" in output
    assert f"{low:.2f} to {high:.2f}" in output
    assert main(["annotate", "error", str(project.folder), "--folds", "1"]) == 2


def test_recordings_that_changed_are_processed_again(made):
    project, _, detector = made
    first = annotate(project, AnnotatorSettings(fps=1))
    image, cameras = project.view("cam1").path / "5.png", project.folder / "cameras.json"
    for file in (image, cameras):
        detector.looked, was = 0, file.stat()
        os.utime(file, (1, 1))
        again = annotate(project, AnnotatorSettings(fps=1))
        assert (again.kept, again.folder != first.folder) == (0, True)
        assert detector.looked >= FRAMES * len(project.rig)
        os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))
    detector.looked = 0
    assert annotate(project, AnnotatorSettings(fps=1)) == replace(first, kept=FRAMES)
    assert detector.looked == 0


def test_a_killed_run_continues_with_the_chunk_in_which_it_was(made):
    project, _, _ = made
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-m", "studio.tests.annotated", str(project.folder)], cwd=root, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    (chunk,) = project.folder.glob("auto/*/seen/*.npz")
    before = chunk.read_bytes()
    done = annotate(project, AnnotatorSettings(fps=1))
    assert done.kept == CHUNK
    assert done.labelled == done.joints == FRAMES * 42
    assert chunk.read_bytes() == before


def test_the_machines_marks_are_those_of_the_newest_run(made):
    project, joints, _ = made
    assert run_folder.machine_marks(project, 6) == []
    project.store.add([Mark("asked", 6, "cam2", 0, MACHINE, "seen", 1.0, 1.0, "M")])
    folder = annotate(project, AnnotatorSettings(fps=1)).folder
    assert project.store.marks() == []
    stale = folder / "labels" / "000000000003.parquet"
    stale.write_bytes((folder / "labels" / "000000000000.parquet").read_bytes())
    annotate(project, AnnotatorSettings(fps=1))
    assert not stale.exists()
    marks = run_folder.machine_marks(project, 6)
    assert len(marks) == 5 * 42
    assert {(mark.annotator, mark.source, mark.state) for mark in marks} == {(MACHINE, "M", "seen")}
    camera = project.rig["cam2"]
    there = camera.project(joints[6] + OFF_M).reshape(42, 2)
    for mark in marks:
        if mark.view == "cam2":
            assert np.hypot(*(there[mark.joint] - mark.position_px)) < 1
    assert set(project.store.review_priorities()) == set(project.frames)


def test_swapped_cameras_are_named_before_anything_runs(made):
    project, _, detector = made
    cameras = list(detector.rig)
    detector.rig = type(detector.rig)([cameras[1], cameras[0], *cameras[2:]][k] for k in range(5))
    with pytest.raises(InputError, match=r"cam0.*cam1"):
        annotate(project, AnnotatorSettings(fps=1))
    assert not list(project.folder.glob("auto/*/seen"))
    done = annotate(project, AnnotatorSettings(fps=1, leave_out=True))
    assert done.problems
    assert done.labelled == done.joints


def test_a_mirrored_world_is_refused(made):
    project, joints, detector = made
    detector.joints_m = joints.reshape(FRAMES, 42, 3) * (1, 1, -1)
    with pytest.raises(JobError, match="mirrored"):
        annotate(project, AnnotatorSettings(fps=1))


def test_images_that_cannot_be_used_are_named(made):
    project, _, _ = made
    folder = project.view("cam1").path
    (folder / "5.png").write_bytes((folder / "4.png").read_bytes())
    (folder / "7.png").write_bytes(b"no image")
    problems = annotate(project, AnnotatorSettings(fps=1)).problems
    assert any("cam1" in line and "image 5 repeats" in line for line in problems)
    assert any("cam1" in line and "7.png" in line for line in problems)


def test_facts_that_contradict_each_other_are_named_first(made, capsys):
    project, _, _ = made
    call = ["annotate", "auto", str(project.folder), "--fps", "1"]
    assert main(call) == 0
    assert "principal point" not in capsys.readouterr().err
    file = project.folder / "cameras.json"
    rig = json.loads(file.read_text())
    rig["cameras"][1]["K"][0][2] += 400
    file.write_text(json.dumps(rig))
    main(call)
    assert "sonjit: camera cam1: its principal point (" in capsys.readouterr().err.splitlines()[0]


@pytest.mark.nightly
def test_hands_are_labelled_learned_from_and_ranked(made, capsys):
    project, joints, _ = made
    call = ["annotate", "auto", str(project.folder), "--fps", "1"]
    assert main(call) == 0
    assert f"{FRAMES} frame sets: {FRAMES * 42} of {FRAMES * 42} joints labelled (100.0 %)" in capsys.readouterr().err
    people_mark(project, joints, range(6))
    assert main(["annotate", "train", str(project.folder)]) == 0
    assert "learned where people put joints, from 6 frame sets" in capsys.readouterr().err
    assert main(call) == 0
    assert f"{FRAMES} frame sets, {FRAMES} from before" in capsys.readouterr().err
    assert main(["annotate", "rank", str(project.folder), "--count", "0"]) == 2
    assert main(["annotate", "rank", str(project.folder), "--count", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3


def mark_joint(project, joints, frame, joint, who, shift_px=0, source="H"):
    """Mark a joint in all views, in the first one beside its place."""
    for view, camera in enumerate(project.rig):
        x, y = camera.project(joints[frame].reshape(42, 3)[joint][None])[0].tolist()
        key = f"{frame}-{joint}-{who}-{view}"
        x += shift_px if view == 0 else 0
        project.store.add([Mark(key, frame, camera.name, joint, who, "seen", x, y, source)])


def test_labels_have_the_residual_views_and_source_of_the_marks_that_gave_them(made, capsys):
    project, joints, _ = made
    mark_joint(project, joints, 0, 8, "Ann")
    mark_joint(project, joints, 0, 8, "Ben", 100)  # two people disagree in one view of five
    mark_joint(project, joints, 1, 4, "Ann")
    mark_joint(project, joints, 1, 8, "Ann", source="H+M")
    mark_joint(project, joints, 2, 4, "Ann", 100)  # one person slips
    mark_joint(project, joints, 3, 8, "Ann")
    mark_joint(project, joints, 3, 8, "Ben", 2)
    for who, shift_px in (("Ann", 0), ("Ben", 1), ("Cal", 100)):
        mark_joint(project, joints, 4, 12, who, shift_px)
    done = annotate(project, AnnotatorSettings(fps=1))
    chunks = list(run_folder.read_labels(project))
    points, source, views, residual = (
        np.concatenate([getattr(chunk, name) for chunk in chunks])
        for name in ("points_m", "source", "views", "residual_px")
    )
    off_mm = 1000 * np.linalg.norm(points - joints.reshape(-1, 2, 21, 3), axis=-1)

    def shown(frame, joint):
        return source[frame, 0, joint], views[frame, 0, joint], residual[frame, 0, joint]

    for frame, joint, kind in ((1, 4, 2), (1, 8, 3)):  # a checked mark does not change the source of other joints
        assert shown(frame, joint)[:2] == (kind, 5)
        assert shown(frame, joint)[2] < 0.1
        assert off_mm[frame, 0, joint] < 0.1
    assert shown(3, 8)[:2] == (2, 5)
    assert 0 < shown(3, 8)[2] < 2
    for frame, joint in ((0, 8), (2, 4)):
        marks = [mark for mark in project.store.marks(frame) if mark.joint == joint and mark.annotator != MACHINE]
        places = {camera.name: camera.project(points[frame, 0, joint][None])[0] for camera in project.rig}
        squares = [((places[mark.view] - mark.position_px) ** 2).sum() for mark in marks]
        assert shown(frame, joint)[:2] == (2, 5)
        assert shown(frame, joint)[2] == pytest.approx(np.sqrt(np.mean(squares)), rel=1e-6)
        assert shown(frame, joint)[2] > 5
    assert off_mm[4, 0, 12] < 1  # the median of three keeps what two of them agree on
    ranked = sorted(project.store.review_priorities().items(), key=lambda item: -item[1].score)
    assert {frame for frame, _ in ranked[:3]} == {0, 2, 4}
    why = {frame: need.why for frame, need in ranked}
    assert why[0].startswith("people disagree by 100 px, a mark is")
    assert "px off right joint 4" in why[2]
    assert why[4].startswith("people disagree by 100 px")
    (note,) = done.notes
    assert note.startswith("people's marks in 3 frame sets disagree by more than 10 px or are more than 5 px off")
    assert done.problems == ()
