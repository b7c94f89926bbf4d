import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
from tests.support.progress_log import ProgressLog

from sonjit._util.errors import InputError, SonjitError
from sonjit.results import Face
from sonjit_lab.datasets import open_dataset
from sonjit_lab.hand_models.rig import load_rig
from sonjit_studio import camera_files, privacy, triangulation
from sonjit_studio.commands import surfaces
from sonjit_studio.people import HANDS, Detections, PeopleInSpace, save_people
from sonjit_studio.privacy import FacesFound, ReleasedImage, hide_faces, hide_faces_of_other_views
from sonjit_studio.release import Capture, load_card, split_people, write_release
from sonjit_studio.run_folder import FOLDER, Labels
from sonjit_studio.surfaces import fit_surfaces, save_surfaces

from .projects import hands, make_project, write_views
from .rigs import random_rig

CARD = """
title = "Drawn hands"
licence = "CC-BY-4.0"
consent = "drawn"
contact = "a@example.org"
[captures.project]
subject = "01"
split = "test"
sequences = [{name = "fist", type = "PP", first = 0, last = 10}, {name = "rest", type = "ROM", first = 11, last = 99}]
"""


class Faces:
    """Fake of both face detectors: detections of the first, and confirmation by the second."""

    def __init__(self, boxes=(), *, seen=False):
        self.boxes, self.seen = boxes, seen

    def __call__(self, model):
        return self

    def detect(self, rgb, boxes=None):
        if boxes is not None:
            return boxes if self.seen else []
        return [Face(0.9, np.array([[x0, y0, 0], [x1, y0, 0]]), (x0, y0, x1, y1)) for x0, y0, x1, y1 in self.boxes]


def label(project, points, source, cameras=3):
    """Set labels (3, 2, 21, 3) for the project's frames 0, 10 and 20, by the first cameras."""
    covariance, some = np.broadcast_to(1e-6 * np.eye(3), (*points.shape, 3)).copy(), np.zeros((3, 2, 21))
    seen = np.ones((3, cameras, 2, 21), np.bool_)
    labels = Labels(np.array([0, 10, 20]), points, covariance, source, some.astype(int), some, seen, some[..., 0])
    folder = project.folder / FOLDER / "run"
    labels.save(folder / "labels")
    (folder / "settings.json").write_text(json.dumps({"views": project.rig.names[:cameras]}))


@pytest.fixture
def show_faces(monkeypatch):
    """Return a function that gives the detector of faces for all images from now on."""
    return lambda *given, **more: monkeypatch.setattr(privacy, "_detector", Faces(*given, **more))


@pytest.fixture
def labelled(tmp_path, show_faces):
    """Return a project with labels at its frames 0, 10 and 20, their ground truth, and a card."""
    project, joints = make_project(tmp_path, cameras=3, frames=3)
    points = joints.reshape(3, 2, 21, 3).copy()
    points[0, 1] = np.nan
    source = np.where(np.isfinite(points).all(-1), 1, 0)
    source[1] = 2
    label(project, points, source)
    (project.folder / FOLDER / "current.json").write_text('{"run": "run"}')
    (tmp_path / "card.toml").write_text(CARD)
    show_faces()
    yield project, points, load_card(tmp_path / "card.toml")
    project.close()


def test_a_release_reads_back_as_interhand(labelled, tmp_path):
    project, points, card = labelled
    done = write_release([project], card, tmp_path / "out", fps=50)
    assert (done.frame_sets, done.images) == (3, 9)
    data = open_dataset("interhand2.6m", tmp_path / "out", split="test")
    assert "centres of rotation" in (tmp_path / "out" / "README.md").read_text("utf-8")
    kinds = {sequence.name: sequence.kind for sequence in card.captures[project.name].sequences}
    assert len(data) == 9
    coco = open_dataset("folder", tmp_path / "out", annotations="annotations/test/coco_test.json", check="all")
    assert len(coco) == 9
    for sample, same in zip(data, coco, strict=True):
        assert sample.subject.endswith(same.subject)
        assert (same.frame, same.view) == (sample.frame, sample.view)
        assert {hand.side for hand in same.instances} == {hand.side for hand in sample.instances}
    for sample in data:
        row = sample.frame // 10
        assert sample.sequence.endswith("fist" if row < 2 else "rest")
        assert sample.tags["sequence_type"] == kinds[sample.sequence.rpartition("/")[2]]
        assert max(sample.width, sample.height) <= 512
        assert sample.rgb().shape[:2] == (sample.height, sample.width)
        for hand in sample.instances:
            world = (hand.keypoints_m - sample.camera.t) @ sample.camera.R
            np.testing.assert_allclose(world, points[row, int(hand.side == "Left")], atol=2e-6)
    assert len(data[0].instances) == 1
    assert len(open_dataset("interhand2.6m", tmp_path / "out", split="test", annotations="human")) == 3


def test_every_file_is_listed_with_its_checksum(labelled, tmp_path):
    project, _, card = labelled
    out = tmp_path / "out"
    write_release([project], card, out, fps=50)
    lines = dict(reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines())
    files = {file.relative_to(out).as_posix() for file in out.rglob("*") if file.is_file()}
    assert set(lines) == files - {"SHA256SUMS"}
    for name, digest in lines.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    statistics = json.loads((out / "statistics.json").read_text())
    assert statistics["joints_by_source"] == {"M": 21 + 42, "H": 42}
    assert statistics["sequences_by_type"] == {"PP": 1, "ROM": 1}
    coco = json.loads((out / "annotations/test/coco_test.json").read_text())
    assert {annotation["source"] for annotation in coco["annotations"]} == {"H", "M"}


def test_excluded_cameras_are_not_released(labelled, tmp_path):
    project, points, card = labelled
    label(project, points, np.where(np.isfinite(points).all(-1), 1, 0), cameras=2)
    assert write_release([project], card, tmp_path / "out", fps=50).images == 6
    assert {file.parent.name for file in (tmp_path / "out").rglob("*.jpg")} == {"camcam0", "camcam1"}
    coco = json.loads((tmp_path / "out/annotations/test/coco_test.json").read_text())
    flags = {flag for annotation in coco["annotations"] for flag in annotation["keypoints"][2::3]}
    assert 2 in flags


def test_a_stopped_release_continues(labelled, tmp_path):
    project, _, card = labelled
    steps = iter(range(3))

    def stop():
        if next(steps) == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_release([project], card, tmp_path / "out", fps=50, progress=ProgressLog(stop))
    assert not (tmp_path / "out").exists()
    write_release([project], card, tmp_path / "out", fps=50)
    write_release([project], card, tmp_path / "whole", fps=50)
    assert (tmp_path / "out" / "SHA256SUMS").read_text() == (tmp_path / "whole" / "SHA256SUMS").read_text()


def test_a_finished_release_stays_as_it_is(labelled, tmp_path):
    project, _, card = labelled
    write_release([project], card, tmp_path / "out", fps=50)
    before = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()}
    with pytest.raises(InputError, match="already exists"):
        write_release([project], card, tmp_path / "out", fps=50)
    after = {file: (file.stat().st_mtime_ns, file.read_bytes()) for file in tmp_path.rglob("*") if file.is_file()}
    assert after == before


def test_faces_are_blurred_and_those_over_hands_are_not_shown(labelled, tmp_path, show_faces):
    project, _, card = labelled
    show_faces([(0, 0, 640, 480)])
    done = write_release([project], card, tmp_path / "over", fps=50)
    assert (done.images, done.faces) == (0, FacesFound(withheld=9))
    show_faces([(1, 1, 20, 20)])
    done = write_release([project], card, tmp_path / "beside", fps=50)
    assert (done.images, done.faces) == (9, FacesFound(blurred=9))
    assert "where another view shows one: 9." in (tmp_path / "beside" / "README.md").read_text()


@pytest.mark.parametrize("joint", [None, 0, 8])
def test_a_hand_is_no_face_where_it_is_too_small_and_a_second_network_sees_none(show_faces, joint):
    camera = random_rig(1).cameras[0]
    joints = hands()[0].reshape(2, 21, 3).copy()
    joints[1] = np.nan
    depth = camera.camera.from_world(joints[0])[:, 2].mean()
    # on a joint, or in the palm between them
    x, y = camera.project(joints[0, [0, 5, 17]].mean(0) if joint is None else joints[0, joint])
    rgb = np.random.default_rng(0).integers(0, 255, (camera.height, camera.width, 3), np.uint8)
    for width_m, seen, found in ((0.03, False, "hands"), (0.03, True, "withheld"), (0.15, False, "withheld")):
        half = width_m * camera.camera.K[0, 0] / depth / 2
        show_faces([(x - half, y - half, x + half, y + half)], seen=seen)
        shown, faces, _ = hide_faces(rgb, camera, joints)
        assert faces == FacesFound(**{found: 1})
        np.testing.assert_array_equal(shown, rgb)


@pytest.mark.parametrize("showing", [1, 2])
def test_a_face_that_other_views_show_is_hidden_in_all(showing):
    """Derive the distance in one view only from the size."""
    rig, head = random_rig(3, 5), np.array([0.05, -0.1, 0.05])
    rng, none = np.random.default_rng(0), np.full((2, 21, 3), np.nan)
    views = []
    for row, camera in enumerate(rig):
        x, y = camera.project(head)
        half = 0.08 * camera.camera.K[0, 0] / camera.camera.from_world(head)[2]
        boxes = ((x - half, y - half, x + half, y + half),) if row < showing else ()
        rgb = rng.integers(0, 255, (camera.height, camera.width, 3), np.uint8)
        views.append(ReleasedImage(rgb, FacesFound(len(boxes)), boxes))
    shown = hide_faces_of_other_views(rig, views, none)
    for row, (before, after, (x, y)) in enumerate(
        zip(views, shown, rig.project(head).round().astype(int), strict=True)
    ):
        if row < showing:
            assert after == before
        else:
            assert after.faces.blurred
            assert after.rgb[y - 9 : y + 9, x - 9 : x + 9].std() < before.rgb.std() / 3
    over = none.copy()
    over[0] = head + rng.normal(0, 0.02, (21, 3))
    assert [view.faces.withheld for view in hide_faces_of_other_views(rig, views, over)] == [
        int(k >= showing) for k in range(3)
    ]


@pytest.mark.parametrize("field", ["title", "licence", "consent", "contact"])
def test_a_release_requires_the_fields_of_the_card(tmp_path, field):
    lines = [line for line in CARD.splitlines() if not line.startswith(field)]
    (tmp_path / "card.toml").write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"lacks {field}"):
        load_card(tmp_path / "card.toml")


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ('title = "Drawn hands"', "title = {en = 1}", "lacks title"),
        ("[captures.project]", "captures = 3\n[other]", "captures must contain a table for each project"),
        ("[captures.project]", "[captures]", r"captures\.subject lacks subject"),
        ("sequences = [", "sequences = 5 #", r"captures\.project\.sequences must be a list of tables"),
        ("sequences = [", 'sequences = ["0001_fist", ', "a sequence requires name, first and last"),
        ("first = 0", "first = inf", "a sequence requires name, first and last"),
        ('"PP"', "7", "unknown sequence type 7"),
    ],
)
def test_a_card_of_another_form_is_refused(tmp_path, before, after, message):
    assert before in CARD
    (tmp_path / "card.toml").write_text(CARD.replace(before, after, 1))
    with pytest.raises(InputError, match=message) as caught:
        load_card(tmp_path / "card.toml")
    assert "\n" not in str(caught.value)


def test_two_projects_are_two_captures(labelled, tmp_path):
    project, _, card = labelled
    other = replace(project, folder=tmp_path / "other" / "project")
    with pytest.raises(InputError, match="project, project: two projects have one name"):
        write_release([project, other], card, tmp_path / "out")


def test_no_person_is_in_two_splits():
    people = [Capture(str(k % 10), None, ()) for k in range(30)]
    splits = split_people(people)
    assert len(splits) == 10
    assert {split: list(splits.values()).count(split) for split in ("train", "val", "test")} == {
        "train": 7, "val": 1, "test": 2
    }  # fmt: skip
    with pytest.raises(InputError, match="one split each"):
        split_people([Capture("1", "train", ()), Capture("1", "test", ())])


@pytest.fixture
def rigged():
    try:
        load_rig("Right")
    except SonjitError as error:
        pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull rigs")


def people_of(joints):
    frames = np.arange(len(joints)) * 10
    return PeopleInSpace(HANDS, (1,), frames, frames / 30, joints.reshape(len(joints), 1, 42, 3))


@pytest.mark.slow
@pytest.mark.usefixtures("rigged")
def test_the_rigged_hand_lies_over_every_view(tmp_path, capsys):
    rig, joints = random_rig(3), hands(2)
    write_views(tmp_path / "views", rig, joints)
    camera_files.save_cameras(rig, tmp_path / "rig.json")
    seen = rig.project(joints[:, None])
    found = triangulation.triangulate(rig, seen)
    detections = Detections(HANDS, (0, 10), np.array([0, 1 / 3]), seen, np.ones(seen.shape[:-1]))
    save_people(tmp_path / "hands.json", rig, detections, found)
    people, out, over = tmp_path / "hands.json", tmp_path / "surfaces.npz", tmp_path / "over"
    surfaces(people, out=out, draw=over, cameras=tmp_path / "rig.json", views=[str(tmp_path / "views")])
    assert "left hand: 2 frame sets, joints " in capsys.readouterr().err
    with np.load(out) as made:
        assert made["right_angles_rad"].shape == (2, 5, 3, 3)
        assert made["left_frames"].tolist() == [0, 10]
        assert made["right_error_m"].max() < 0.012  # the drawn hands bend as no rig can
        near = np.linalg.norm(made["right_vertices_m"][0][:, None] - joints[0, :21], axis=-1).min(0)
        assert near.max() < 0.03
        vertices = made["right_vertices_m"][1]
    for camera in rig:
        name = "image10.png"
        before, after = (cv2.imread(str(folder / camera.name / name)) for folder in (tmp_path / "views", over))
        changed = np.abs(after.astype(int) - before).max(-1) > 20
        x, y = np.clip(camera.project(vertices), 0, (camera.width - 1, camera.height - 1)).T.astype(int)
        assert changed[y, x].mean() > 0.8
        assert 0 < changed.mean() < 0.5


def test_errors_of_fitting_are_one_line(tmp_path):
    with pytest.raises(InputError, match="--draw requires --cameras and --views"):
        surfaces(tmp_path / "hands.json", out=tmp_path / "s.npz", draw=tmp_path / "over")
    with pytest.raises(InputError, match=r"are saved as \.npz"):
        save_surfaces(tmp_path / "s.obj", [])
    with pytest.raises(InputError, match="no frame set has all 21"):
        fit_surfaces(people_of(np.full((1, 42, 3), np.nan)))
    with pytest.raises(InputError, match=r"require MANO_LEFT\.pkl"):
        fit_surfaces(people_of(hands(1)), {"Right": tmp_path / "MANO_RIGHT.pkl"})


@pytest.mark.slow
def test_left_shapes_are_released_as_interhands_tools_read_them(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from sonjit_lab.hand_models.placeholders import placeholder_mano

    own = placeholder_mano("left").double()
    own.left_shapes = "corrected"
    monkeypatch.setattr("sonjit_lab.hand_models.mano.load_mano", lambda *_: own.in_convention("distributed"))
    joints = np.full((1, 42, 3), np.nan)
    joints[0, 21:] = own(torch.zeros(1, 48).double(), torch.linspace(-1, 1, 10)[None].double())[1][0].numpy()
    (surface,) = fit_surfaces(people_of(joints), {"Left": tmp_path})
    pose, shape, trans = (torch.tensor(surface.parameters[name]) for name in ("pose", "shape", "trans"))
    np.testing.assert_allclose(surface.vertices_m, own(pose, shape[None], trans, flat_hand_mean=False)[0], atol=1e-5)


@pytest.mark.slow
def test_mano_is_released_as_its_reader_expects(labelled, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from sonjit_lab.hand_models.placeholders import placeholder_mano

    models = {side: placeholder_mano(side) for side in ("right", "left")}
    monkeypatch.setattr("sonjit_lab.hand_models.mano.load_mano", lambda _, side: models[side])
    project, _, _ = labelled
    generator = torch.Generator().manual_seed(1)
    pose = 0.3 * torch.randn(3, 48, generator=generator)
    shape, place = 0.5 * torch.randn(10, generator=generator).expand(3, -1), torch.zeros(3, 3)
    made = models["right"](pose, shape, place, flat_hand_mean=False)
    joints = np.full((3, 2, 21, 3), np.nan)
    joints[:, 0] = made[1].numpy()
    label(project, joints, np.isfinite(joints).all(-1).astype(int))
    card = load_card(tmp_path / "card.toml")
    write_release(
        [project], card, tmp_path / "out", fps=50, surfaces="mano", mano={"Right": tmp_path, "Left": tmp_path}
    )
    with np.load(tmp_path / "out/annotations/test/surfaces_test_Capture0.npz") as written:
        assert written["right_vertices_m"].shape == (3, 778, 3)
        assert written["right_error_m"].max() < 0.0015
        off = np.linalg.norm(written["right_vertices_m"] - made[0].numpy(), axis=-1)
        assert off.mean() < 0.006  # joints do not show all of a shape
    sample = open_dataset("interhand2.6m", tmp_path / "out", split="test")[0]
    (hand,) = sample.instances
    again = models["right"].double()
    read = (torch.tensor(np.asarray(part))[None] for part in (hand.mesh.pose, hand.mesh.betas, hand.mesh.trans))
    turned, betas, moved = read
    world = again(turned, betas, moved, flat_hand_mean=False)[1][0].numpy()
    assert np.abs(world - joints[sample.frame // 10, 0]).max() < 0.002
