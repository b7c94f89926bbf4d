"""Hand surfaces over a recording: the rigged hand and MANO fitted to joints, drawn, and released."""

import cv2
import numpy as np
import pytest

from sonjit._util.errors import InputError, SonjitError
from sonjit.lab.datasets import open_dataset
from sonjit.lab.hand_models.rig import load_rig
from sonjit.studio.cameras.files import save_cameras
from sonjit.studio.cli.annotate_triangulate import surfaces
from sonjit.studio.release.data_card import load_card
from sonjit.studio.release.release import release
from sonjit.studio.triangulation.people import HANDS, Detections, PeopleInSpace, save_people
from sonjit.studio.triangulation.surfaces import fit_surfaces, save_surfaces
from sonjit.studio.triangulation.triangulation import triangulate

from .projects import hands, write_views
from .rigs import random_rig
from .test_release import labelled

__all__ = ["labelled"]


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
    save_cameras(rig, tmp_path / "rig.json")
    seen = rig.project(joints[:, None])
    found = triangulate(rig, seen)
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
def test_mano_is_released_as_its_reader_expects(labelled, tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    from sonjit.lab.hand_models.placeholders import placeholder_mano

    models = {side: placeholder_mano(side) for side in ("right", "left")}
    monkeypatch.setattr("sonjit.lab.hand_models.mano.load_mano", lambda _, side: models[side])
    project, _, _ = labelled
    generator = torch.Generator().manual_seed(1)
    pose = 0.3 * torch.randn(3, 48, generator=generator)
    shape, place = 0.5 * torch.randn(10, generator=generator).expand(3, -1), torch.zeros(3, 3)
    made = models["right"](pose, shape, place, flat_hand_mean=False)
    joints = np.full((3, 2, 21, 3), np.nan)
    joints[:, 0] = made[1].numpy()
    relabel(project, joints)
    card = load_card(tmp_path / "card.toml")
    release([project], card, tmp_path / "out", fps=50, surfaces="mano", mano={"Right": tmp_path, "Left": tmp_path})
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


def relabel(project, joints):
    """Set automatic labels (3, 2, 21, 3) for the project's frames 0, 10 and 20."""
    from sonjit.studio.automatic.run_folder import FOLDER, Labels

    there = np.isfinite(joints).all(-1)
    some, seen = np.zeros((3, 2, 21)), np.ones((3, 3, 2, 21), np.bool_)
    covariance = np.broadcast_to(1e-6 * np.eye(3), (3, 2, 21, 3, 3)).copy()
    labels = Labels(
        np.array([0, 10, 20]), joints, covariance, there.astype(int), some.astype(int), some, seen, some[..., 0]
    )
    labels.save(project.folder / FOLDER / "run" / "labels")
