import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit.cli import main
from sonjit.media import Header, open_writer
from sonjit.results import Frame, Hand
from sonjit_studio.board_recognition import find_targets
from sonjit_studio.boards import target_from_text
from sonjit_studio.camera_files import load_cameras, save_cameras
from sonjit_studio.marks import Mark
from sonjit_studio.project import open_project

from ..drawn_boards import draw_seen, held_places, middled  # noqa: TID252  # one maker of boards for all packages
from ..projects import hands, write_views  # noqa: TID252
from ..rigs import assert_same_rig, random_rig  # noqa: TID252

BOARD = "charuco:7x5:36mm:27mm:4x4_50"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Return a folder with images of a board per camera. The first board lies on the floor."""
    folder, rig, board = tmp_path_factory.mktemp("recorded"), random_rig(2, 8, distance_m=0.7), target_from_text(BOARD)
    places = held_places(10, 1, towards=rig.centres_m.mean(0), tilt_rad=0.5, reach_m=0.05)
    for view in rig:
        (folder / view.name).mkdir()
        for frame, place in enumerate(places):
            shown = draw_seen(board, middled(board, place), view, rays=2)
            cv2.imwrite(str(folder / view.name / f"{frame}.png"), shown)
    return folder, rig


@pytest.mark.slow
def test_a_rig_is_calibrated_and_reported(recorded, tmp_path, capsys):
    folder, rig = recorded
    out, report = tmp_path / "rig.json", tmp_path / "r.html"
    arguments = ["annotate", "calibrate", str(folder), "--board", BOARD, "--out", str(out), "--report", str(report)]
    assert main([*arguments, "--floor", "0", "--lens", "radial"]) == 0
    output = capsys.readouterr().err
    assert "RMS reprojection error 0." in output
    assert "mirrored" in output
    made = load_cameras(out)
    apart = [np.linalg.norm(np.diff(one.centres_m, axis=0)) for one in (made, rig)]
    assert apart[0] == pytest.approx(apart[1], rel=0.02)
    assert (made.centres_m[:, 2] > 0.2).all()  # above the floor
    page = report.read_text()
    assert page.count("<image") == 6
    assert "cam1, frame set" in page
    assert "http" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")


@pytest.mark.slow
def test_what_hinders_calibration_is_one_line(recorded, tmp_path, capsys, refusal):
    folder, _ = recorded
    out = ["--out", str(tmp_path / "rig.json")]
    for arguments, message in (
        ([str(folder), "--board", "charuco:7x5:36mm:27mm:5x5_50"], "shows the board"),
        ([str(folder / "none"), "--board", BOARD], "no such file or folder"),
        ([f"a={folder}/cam0", f"a={folder}/cam1", "--board", BOARD], "camera 'a' has two views"),
        ([str(folder), "--board", BOARD, "--every", "0"], "--every 0"),
        ([str(folder), "--board", BOARD, "--sync", "flash"], "images without times"),
        ([str(folder), "--board", BOARD, "--floor", "99"], "--floor 99: no image of that frame set"),
    ):
        assert message in refusal("annotate", "calibrate", *arguments, *out)
    late = ["annotate", "calibrate", str(folder / "none"), "--board", BOARD, "--out", str(tmp_path / "rig.doc")]
    assert main(late) == 2
    assert "name a .json" in capsys.readouterr().err  # before any image is read
    assert not list(tmp_path.iterdir())
    unwritable = ["--report", str(tmp_path / "rig.json" / "r.html")]
    assert main(["annotate", "calibrate", str(folder), "--board", BOARD, "--lens", "radial", *out, *unwritable]) != 0
    assert "Traceback" not in capsys.readouterr().err
    assert load_cameras(tmp_path / "rig.json").names == ("cam0", "cam1")  # the work of minutes is kept


@pytest.mark.slow
def test_lenses_come_from_other_recordings_and_wrong_images_are_named(recorded, tmp_path, capsys):
    folder, rig = recorded
    given = ["--board", BOARD, "--out", str(tmp_path / "rig.json"), "--lens-recordings", str(folder)]
    assert main(["annotate", "calibrate", str(folder), *given]) == 0
    (tmp_path / "lenses.json").write_bytes((tmp_path / "rig.json").read_bytes())
    assert {"lens of cam0", "lens of cam1"} <= set(re.findall(r"lens of \w+", capsys.readouterr().err))
    for arguments, message in (
        ([str(folder / "cam0")], "Unknown camera 'cam1'"),
        ([str(folder), "--lenses", str(tmp_path / "lenses.json")], "cannot be combined with --lens-recordings"),
    ):
        assert main(["annotate", "calibrate", *arguments, *given]) == 2
        assert message in capsys.readouterr().err
    views = {name: Path(shutil.copytree(folder / name, tmp_path / name)) for name in rig.names}
    (views["cam1"] / "4.png").write_bytes(b"damaged")
    board = target_from_text(BOARD)
    assert any("4.png" in problem for problem in find_targets([board], views).problems)
    cv2.imwrite(str(views["cam0"] / "8.png"), np.zeros((100, 100, 3), np.uint8))
    message = r"8.png of camera 'cam0' has 100 x 100 pixels and those before had 640 x 480"
    with pytest.raises(InputError, match=message):
        find_targets([board], views)


def test_a_board_is_drawn(tmp_path, capsys):
    assert main(["annotate", "board", BOARD, "--out", str(tmp_path / "b.svg")]) == 0
    assert (tmp_path / "b.svg").read_text().startswith("<svg")
    assert main(["annotate", "board", BOARD, "--out", str(tmp_path / "b.doc")]) == 2
    assert "as .svg" in capsys.readouterr().err


def test_cameras_are_shown_and_converted(tmp_path, capsys):
    rig = random_rig(4, 3)
    save_cameras(rig, tmp_path / "rig.toml")
    assert main(["annotate", "cameras", str(tmp_path / "rig.toml")]) == 0
    shown = capsys.readouterr()
    assert "cam3" in shown.out
    assert "4 cameras point at" in shown.err
    assert "sonjit:" not in shown.err
    assert main(["annotate", "cameras", str(tmp_path / "rig.toml"), "--out", str(tmp_path / "colmap")]) == 0
    assert_same_rig(load_cameras(tmp_path / "colmap"), rig)
    assert main(["annotate", "cameras", str(tmp_path / "rig.toml"), "--size", "big"]) == 2
    assert main(["annotate", "cameras", str(tmp_path / "none.toml")]) == 2


@pytest.fixture
def tables(tmp_path, demo_clip):
    """Return four cameras with a table for each, with the hands of the clip that they see."""
    _, _, truth = demo_clip
    rig = random_rig(4, 6)
    kept = [frame for frame in truth if len(frame["hands"]) == 2][:12]
    points = np.array([[hand["xyz_m"] for hand in frame["hands"]] for frame in kept])
    points -= points.reshape(-1, 3).mean(0)
    save_cameras(rig, tmp_path / "rig.json")
    sides = [[hand["handedness"] for hand in frame["hands"]] for frame in kept]
    (tmp_path / "tables").mkdir()
    for view in rig:
        _write(tmp_path / "tables" / f"{view.name}.json", view.project(points), sides)
    return tmp_path, points, sides


def _write(path, pixels, sides):
    with open_writer(
        path, Header(source="clip", width=640, height=480, fps=30.0, model="full", kind="hands")
    ) as writer:
        for index, (both, names) in enumerate(zip(pixels, sides, strict=True)):
            hands = [
                Hand(name, 0.9, np.c_[xy, np.zeros(21)].astype(np.float32), np.zeros((21, 3), np.float32), None)
                for xy, name in zip(both, names, strict=True)
            ]
            writer.write(Frame(index, index / 30, hands))


def test_hands_of_all_views_are_triangulated(tables, capsys):
    folder, points, sides = tables
    out = folder / "hands.json"
    assert main(["annotate", "triangulate", str(folder / "rig.json"), str(folder / "tables"), "--out", str(out)]) == 0
    written = json.loads(out.read_text())
    for frame, truth, names in zip(written["frames"], points, sides, strict=True):
        got = {hand["handedness"]: hand for hand in frame["hands"]}
        for name, expected in zip(names, truth, strict=True):
            np.testing.assert_allclose(got[name]["keypoints_m"], expected, atol=1e-5)
            assert min(got[name]["views"]) == 4
    assert "keypoints that were seen are triangulated" in capsys.readouterr().err


def test_swapped_tables_are_named_and_nothing_is_written(tables, capsys):
    folder, _, _ = tables
    two = [folder / "tables" / f"cam{number}.json" for number in (0, 2)]
    contents = [path.read_bytes() for path in two]
    for path, content in zip(two, reversed(contents), strict=True):
        path.write_bytes(content)
    out = folder / "hands.json"
    arguments = ["annotate", "triangulate", str(folder / "rig.json"), str(folder / "tables"), "--out", str(out)]
    assert main(arguments) == 2
    assert "'cam0' and 'cam2' are swapped" in capsys.readouterr().err
    assert not out.exists()
    assert main([*arguments, "--leave-out"]) == 1
    assert json.loads(out.read_text())["cameras"] == ["cam1", "cam3"]


def _change(path, change):
    """Change the frames of a table in place; `change` gets the number and the record of each."""
    table = json.loads(path.read_text())
    table["frames"] = [frame for number, frame in enumerate(table["frames"]) if change(number, frame) is not False]
    path.write_text(json.dumps(table))


def _exchange(number, frame):
    for hand in frame["hands"]:
        hand["handedness"] = {"Left": "Right", "Right": "Left"}[hand["handedness"]]


def _mirror(number, frame):
    _exchange(number, frame)
    for hand in frame["hands"]:
        for point in hand["keypoints"]:
            point["x"] = 640 - point["x"]


def _lose_six(number, frame):
    frame["time"] += 0.2 if number >= 5 else 0


def _halve_rate(number, frame):
    frame["time"] *= 2


@pytest.mark.parametrize(
    ("change", "words", "status"),
    [
        (_mirror, "camera 'cam2': its images are mirrored, so left and right are exchanged", 2),
        (_exchange, "camera 'cam2': left and right are exchanged in its table", 2),
        (_lose_six, "images 5 of cam0 and cam2 are 200 ms apart by their times, and 7 of 12 images by more than", 0),
        (_halve_rate, "frame rates differ: cam2 15 and the others 30 images per second", 0),
    ],
)
def test_facts_that_contradict_each_other_are_one_line(tables, capsys, change, words, status):
    folder, _, _ = tables
    arguments = ["annotate", "triangulate", str(folder / "rig.json"), str(folder / "tables")]
    assert main([*arguments, "--out", str(folder / "before.json")]) == 0
    assert "sonjit:" not in capsys.readouterr().err
    _change(folder / "tables" / "cam2.json", change)
    assert main([*arguments, "--out", str(folder / "after.json")]) == status
    (line,) = (line for line in capsys.readouterr().err.splitlines() if words in line)
    assert line.startswith("sonjit: ")


def test_hands_whose_sides_are_exchanged_in_all_tables_are_refused(tables, capsys):
    folder, _, _ = tables
    for path in (folder / "tables").iterdir():
        _change(path, _exchange)
    out = folder / "hands.json"
    assert main(["annotate", "triangulate", str(folder / "rig.json"), str(folder / "tables"), "--out", str(out)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{out} was not written" in line
    assert "hands have the shape of the other side" in line
    assert not out.exists()


def test_images_of_another_size_than_the_calibration_are_named(tables, capsys):
    folder, _, _ = tables
    path = folder / "tables" / "cam1.json"
    table = json.loads(path.read_text())
    path.write_text(json.dumps({**table, "width": 480, "height": 640}))
    arguments = ["annotate", "triangulate", str(folder / "rig.json"), str(folder / "tables")]
    assert main([*arguments, "--out", str(folder / "out.json")]) == 0
    size = "640 x 480, turned by 90 degrees"
    assert f"images of camera cam1 have 480 x 640 pixels and its calibration is for {size}" in capsys.readouterr().err


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """Return the working folder, which contains `rig.json` and `views/`."""
    monkeypatch.chdir(tmp_path)
    rig = random_rig(3)
    save_cameras(rig, tmp_path / "rig.json")
    write_views(tmp_path / "views", rig, hands(2))
    return tmp_path


def test_a_project_is_created_and_described(desk, capsys):
    (desk / "views" / "cam2" / "image10.png").unlink()
    assert main(["annotate", "new", "desk", "--cameras", "rig.json", "--views", "views"]) == 0
    output = capsys.readouterr().err
    assert "3 of 3 cameras, 2 frame sets" in output
    assert "view cam2 lacks 1 of them: 10" in output
    project = open_project(desk / "desk")
    assert project.name == "desk"
    project.close()


def test_intrinsics_of_another_image_size_are_named(desk, capsys):
    options = ["--cameras", "rig.json", "--views", "views"]
    assert main(["annotate", "new", "desk", *options]) == 0
    assert "sonjit:" not in capsys.readouterr().err
    rig = json.loads((desk / "rig.json").read_text())
    rig["cameras"][1]["K"][0][2] *= 2
    (desk / "rig.json").write_text(json.dumps(rig))
    assert main(["annotate", "new", "other", *options]) == 0
    (line,) = (line for line in capsys.readouterr().err.splitlines() if line.startswith("sonjit:"))
    assert "camera cam1: its principal point (644, 236) is that of images of about 1288 x 472 pixels" in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--views", "views", "--cameras", "none.json"], "none.json"),
        (["--views", "cam9=views/cam0", "--cameras", "rig.json"], "camera 'cam9' is not in the rig"),
        (["--views", "views/cam0", "--cameras", "rig.json"], "at least two"),
        (["--views", "views", "--cameras", "rig.json", "--name", " "], "project name"),
    ],
)
def test_wrong_calls_are_one_line(desk, refusal, arguments, message):
    assert message in refusal("annotate", "new", "desk", *arguments)
    assert not (desk / "desk").exists()


@pytest.mark.parametrize("verb", ["open", "agreement"])
def test_invalid_project_is_refused(desk, refusal, verb):
    assert "is not an annotation project" in refusal("annotate", verb, "views")


def test_agreement_is_printed(desk, capsys):
    main(["annotate", "new", "desk", "--cameras", "rig.json", "--views", "views"])
    project = open_project(desk / "desk")
    for name, x in (("Ann", 10.0), ("Ben", 13.0)):
        project.store.add([Mark(name, 0, "cam0", 8, name, "seen", x, 20.0)])
    project.close()
    capsys.readouterr()
    assert main(["annotate", "agreement", "desk", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["annotators"]["Ann | Ben"]["mean_px"] == 3
    assert main(["annotate", "agreement", "desk"]) == 0
    table = capsys.readouterr().out
    assert "right_index_finger_tip" in table
    assert "3.00" in table


CARD = """
title = "Hands"
licence = "CC0"
consent = "yes"
contact = "somebody"
[captures.desk]
subject = "s1"
sequences = [{name = "0001_fist", type = "PP", first = 0, last = 1}]
"""


@pytest.fixture
def planted_desk(planted, monkeypatch):
    """Return the working folder with `rig.json`, `views/`, `card.toml` and files that Sonjit did not create."""
    folder, changed = planted
    monkeypatch.chdir(folder)
    rig = random_rig(3)
    save_cameras(rig, folder / "rig.json")
    write_views(folder / "views", rig, hands(2))
    (folder / "card.toml").write_text(CARD, "utf-8")
    return folder, changed


@pytest.mark.slow
@pytest.mark.usefixtures("weights")
def test_foreign_files_stay_next_to_a_project(sonjit, planted_desk):
    folder, changed = planted_desk
    project = folder / "desk"
    new = ["annotate", "new", project, "--cameras", folder / "rig.json", "--views", folder / "views"]
    assert sonjit(*new)[0] == 0
    assert changed() == []
    for name in ("notes.txt", "runs/notes.txt", "release/notes.txt"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("precious", "utf-8")
    for command in (
        ["annotate", "auto", project, "--model", "lite"],
        ["annotate", "auto", project, "--model", "full"],
        ["annotate", "rank", project],
        ["annotate", "release", project, project / "release", "--card", folder / "card.toml"],
        ["annotate", "release", project, folder, "--card", folder / "card.toml"],
        ["annotate", "release", project, folder / "released", "--card", folder / "card.toml"],
        ["annotate", "train", project],
    ):
        status, _, errors = sonjit(*command)
        assert status == 0 or errors, "a refusal is explained"
        assert changed() == []
        for name in ("notes.txt", "runs/notes.txt", "release/notes.txt"):
            assert (project / name).read_text("utf-8") == "precious"
