"""The endpoints of annotation, called through the app."""

import itertools
import json
import sqlite3
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from tests.server.conftest import refusal

from sonjit import InputError
from sonjit.server.app import create_app
from sonjit_studio.marks import JOINTS, MACHINE
from sonjit_studio.page import project_routes

from ..projects import make_project  # noqa: TID252  # one maker of projects for all packages

DOOR = "/v1/annotate"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return the folder of a project, and the ground truth of its frames."""
    folder = tmp_path_factory.mktemp("annotation")
    project, truth = make_project(folder, frames=3)
    (folder / "views" / "cam5" / "image20.png").unlink()
    project.close()
    return folder / "project", truth, project.rig


@pytest.fixture
def studio(made, ask):
    """Return a client of a server of the project with an empty store."""
    database = sqlite3.connect(made[0] / "annotations.sqlite")
    for table in ("history", "latest", "needs"):
        database.execute(f"DELETE FROM {table}")
    database.commit()
    database.close()
    return ask(open_project=partial(project_routes, made[0]))


def mark(view, joint, place, **others):
    x, y = (None, None) if place is None else map(float, place)
    given = {"id": f"m{next(_numbers)}", "frame": 0, "view": view, "joint": joint, "x": x, "y": y}
    return {name: value for name, value in (given | others).items() if value is not None}


def post(client, *marks, annotator="Ann", **query):
    return client.post(f"{DOOR}/marks", json={"annotator": annotator, "marks": list(marks)}, params=query)


def pixels(made, frame=0):
    return made[2].project(made[1][frame // 10])


def test_the_project_is_described(studio, made):
    project = studio.get(DOOR).json()
    assert project["frames"] == [0, 10, 20]
    assert [view["name"] for view in project["views"]] == list(made[2].names)
    assert project["views"][5]["missing"] == [20]
    assert len(project["joints"]) == JOINTS
    assert len(project["bones"]) == 40
    assert (project["views"][0]["width"], project["views"][0]["height"]) == (640, 480)


def test_two_marks_make_a_joint_that_appears_in_every_view(studio, made):
    seen = pixels(made)
    one = post(studio, mark("cam0", 4, seen[0, 4]), joint=4).json()["state"]
    assert one["points_m"][4] is None
    assert set(one["lines"]) >= {"cam1", "cam2"}
    two = post(studio, mark("cam1", 4, seen[1, 4]), joint=4).json()["state"]
    np.testing.assert_allclose(two["points_m"][4], made[1][0, 4], atol=1e-5)
    for name, own in zip(made[2].names, seen, strict=True):
        np.testing.assert_allclose(two["projected"][name][4], own[4], atol=0.02)
    assert two["lines"] == {}
    assert two["residuals_px"]["cam0"][4] == pytest.approx(0, abs=0.01)
    assert two["sigma_mm"][4] > 0
    assert studio.get(f"{DOOR}/frames/0", params={"annotator": "Ann", "joint": 4}).json() == two
    some = studio.get(f"{DOOR}/frames/0?annotator=Ann&view=cam3").json()
    assert set(some["projected"]) == {"cam3"}


def test_marks_of_several_annotators_are_compared(studio, made):
    seen = pixels(made)
    post(studio, *(mark(f"cam{k}", 2, seen[k, 2]) for k in (0, 1)))
    shifted = [mark(f"cam{k}", 2, seen[k, 2] + (30, 0)) for k in (0, 2)]
    state = post(studio, *shifted, mark("cam3", 2, None, state="absent"), annotator="Ben").json()["state"]
    assert len(state["marks"]) == 3
    assert {one["annotator"] for one in state["others"]} == {"Ann"}
    (conflict,) = state["conflicts"]
    assert (conflict["view"], conflict["annotators"]) == ("cam0", ["Ann", "Ben"])
    assert conflict["apart_px"] == pytest.approx(30, abs=1e-3)
    everyone = studio.get(f"{DOOR}/frames/0?annotator=Cho&points=all").json()
    assert everyone["points_m"][2] is not None
    assert studio.get(f"{DOOR}/frames/0?annotator=Cho").json()["points_m"][2] is None
    report = studio.get(f"{DOOR}/agreement").json()
    assert report["all"]["mean_px"] == pytest.approx(30, abs=1e-3)
    assert studio.get(DOOR).json()["annotators"] == ["Ann", "Ben"]


def test_progress_changes_and_bones(studio, made):
    since = studio.get(DOOR).json()["version"]
    for frame in (0, 10, 20):
        seen = pixels(made, frame)
        shift = np.array([[0.0, 90.0 if frame == 20 and k == 8 else 0.0] for k in range(JOINTS)])
        progress = post(
            studio,
            *(
                mark(f"cam{c}", k, seen[c, k] + shift[k], frame=frame)
                for c in range(3)
                for k in range(JOINTS)
                if np.isfinite(seen[c, k]).all()
            ),
        ).json()["state"]
    assert {tuple(bone["bone"]) for bone in progress["bones"]} >= {(7, 8)}
    progress = studio.get(f"{DOOR}/progress").json()
    assert progress["frames"] == {"0": JOINTS, "10": JOINTS, "20": JOINTS}
    changes = studio.get(f"{DOOR}/changes", params={"since": since}).json()
    assert changes["frames"] == {"0": ["Ann"], "10": ["Ann"], "20": ["Ann"]}
    assert studio.get(f"{DOOR}/changes", params={"since": changes["version"]}).json()["frames"] == {}


def test_each_frame_needs_the_joints_of_its_own_hands(studio, made):
    for frame, first in ((0, 0), (10, 0), (10, JOINTS // 2)):
        seen = pixels(made, frame)
        joints = [k for k in range(JOINTS) if np.isfinite(seen[:2, k]).all() and first <= k < first + JOINTS // 2]
        post(studio, *(mark(f"cam{c}", k, seen[c, k], frame=frame) for c in range(2) for k in joints))
    post(studio, mark("cam0", 0, (5, 5), state="uncertain", frame=20), mark("cam1", 30, None, state="absent", frame=20))
    assert studio.get(f"{DOOR}/progress").json()["joints"] == {"0": JOINTS // 2, "10": JOINTS, "20": JOINTS // 2}


def read(answer):
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/jpeg"
    return cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)


def test_images_are_read_complete_and_in_parts(studio, made):
    path = made[0].parent / "views" / "cam1" / "image10.png"
    complete = cv2.imread(str(path)).astype(float)
    endpoint = f"{DOOR}/image?view=cam1&frame=10"
    assert np.abs(read(studio.get(endpoint)) - complete).mean() < 4
    assert read(studio.get(f"{endpoint}&longest=320")).shape == (240, 320, 3)
    part = read(studio.get(f"{endpoint}&region=100,50,64,32"))
    assert np.abs(part - complete[50:82, 100:164]).mean() < 6
    assert read(studio.get(f"{endpoint}&region=620,470,64,32")).shape == (10, 20, 3)


@pytest.mark.parametrize(
    ("query", "status", "code", "message"),
    [
        ("view=cam5&frame=20", 422, "bad_image", "no image 20"),
        ("view=cam9&frame=0", 404, "not_found", "cam9"),
        ("view=cam0&frame=7", 404, "not_found", "frame 7"),
        ("view=cam0&frame=0&longest=huge", 400, "bad_option", "longest"),
        ("view=cam0&frame=0&region=1,2,3", 400, "bad_option", "region"),
        ("view=cam0&frame=0&region=9000,0,10,10", 400, "bad_option", "outside"),
    ],
)
def test_images_that_are_not_there(studio, query, status, code, message):
    assert message in refusal(studio.get(f"{DOOR}/image?{query}"), status, code)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"view": "cam9"}, "cam9"), ({"frame": 5}, "frame 5"), ({"joint": 42}, "joint 42"), ({"state": "gone"}, "gone"),
        ({"source": "M"}, "source M"), ({"base": "old"}, "base"), ({"id": None}, "lacks id"),
        ({"x": None}, "pixels of the view"),
    ],
)  # fmt: skip
def test_invalid_marks(studio, change, message):
    given = mark("cam0", 0, (1, 2)) | change
    assert message in refusal(post(studio, given), 400, "bad_option")
    assert studio.get(f"{DOOR}/history?frame=0").json() == []


@pytest.mark.parametrize(
    "body",
    [
        b"", b"\xff", b"{}", b'{"annotator": "Ann", "marks": []}', b'{"annotator": "", "marks": [{}]}',
        json.dumps({"annotator": MACHINE, "marks": [{}]}).encode(),
    ],
)  # fmt: skip
def test_invalid_request_bodies(studio, body):
    refusal(studio.post(f"{DOOR}/marks", content=body), 400, "bad_option")


def test_the_token_guards_these_endpoints_too(made, ask):
    client = ask(open_project=partial(project_routes, made[0]), token="close-sesame")
    refusal(client.get(DOOR), 401, "no_token")
    refusal(post(client, mark("cam0", 0, (1, 2))), 401, "no_token")
    assert client.get(DOOR, headers={"authorization": "Bearer close-sesame"}).status_code == 200
    foreign = {"origin": "http://elsewhere.example", "authorization": "Bearer close-sesame"}
    refusal(client.get(DOOR, headers=foreign), 403, "bad_origin")
    assert client.get("/annotate/").status_code == 200


def test_a_server_without_a_project_has_no_such_endpoints(ask):
    refusal(ask().get(DOOR), 404, "not_found")
    with pytest.raises(InputError, match="not an annotation project"):
        create_app(open_project=partial(project_routes, Path("/nowhere")))


@pytest.mark.slow
def test_the_machine_marks_what_it_finds(tmp_path, ask, photo, demo_clip, weights):
    project, _ = make_project(tmp_path, frames=1, cameras=2)
    project.close()
    for name in ("cam0", "cam1"):
        image = cv2.resize(photo, (640, 480))
        cv2.imwrite(str(tmp_path / "views" / name / "image0.png"), image[..., ::-1])
    client = ask(open_project=partial(project_routes, tmp_path / "project"))
    prelabels = client.post(f"{DOOR}/prelabel?frame=0&annotator=Ann&view=cam0").json()
    assert {one["view"] for one in prelabels["machine"]} == {"cam0"}
    assert {(one["annotator"], one["source"]) for one in prelabels["machine"]} == {(MACHINE, "M")}
    assert len({one["joint"] for one in prelabels["machine"]}) == len(prelabels["machine"]) >= 21
    assert prelabels["marks"] == []
    assert prelabels["points_m"] == [None] * JOINTS
    machine = prelabels["machine"][0]
    prelabels = post(client, mark("cam0", machine["joint"], (machine["x"], machine["y"]), source="H+M")).json()["state"]
    assert prelabels["marks"][0]["source"] == "H+M"
    again = client.post(f"{DOOR}/prelabel?frame=0&annotator=Ann&view=cam0").json()
    assert len(again["machine"]) == len(prelabels["machine"])
