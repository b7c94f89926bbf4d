import json

import av
import cv2
import numpy as np
import pytest

from sonjit.cli import main
from sonjit.media import Header, open_writer
from sonjit.results import Frame, Hand
from sonjit.studio.calibration.board import target_from_text
from sonjit.studio.cameras.files import load_cameras, save_cameras

from ..drawn_boards import draw_seen, held_places, middled  # noqa: TID252  # one maker of boards for all packages
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
def test_what_hinders_calibration_is_one_line(recorded, tmp_path, capsys):
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
        assert main(["annotate", "calibrate", *arguments, *out]) == 2
        output = capsys.readouterr().err
        assert message in output
        assert output.count("\n") == 1
    late = ["annotate", "calibrate", str(folder / "none"), "--board", BOARD, "--out", str(tmp_path / "rig.doc")]
    assert main(late) == 2
    assert "name a .json" in capsys.readouterr().err  # before any image is read
    assert not list(tmp_path.iterdir())
    unwritable = ["--report", str(tmp_path / "rig.json" / "r.html")]
    assert main(["annotate", "calibrate", str(folder), "--board", BOARD, "--lens", "radial", *out, *unwritable]) != 0
    assert "Traceback" not in capsys.readouterr().err
    assert load_cameras(tmp_path / "rig.json").names == ("cam0", "cam1")  # the work of minutes is kept


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


def test_a_rig_that_was_read_wrongly_is_reported(tmp_path, capsys):
    rig = random_rig(5, 3, lens=False)
    save_cameras(rig, tmp_path / "rig.json", format="interhand")
    content = json.loads((tmp_path / "rig.json").read_text())
    content["0"]["campos"] = {view.name: (view.t * 1000).tolist() for view in rig}  # the usual mistake
    (tmp_path / "rig.json").write_text(json.dumps(content))
    assert main(["annotate", "cameras", str(tmp_path / "rig.json")]) == 0
    assert "do not point at one place" in capsys.readouterr().err
    save_cameras(rig.moved(np.eye(3), np.zeros(3), 1000), tmp_path / "mm.json")
    assert main(["annotate", "cameras", str(tmp_path / "mm.json")]) == 0
    assert "is the unit right?" in capsys.readouterr().err


def test_clocks_are_compared(tmp_path, capsys):
    for name, first in (("a", 20), ("b", 14)):
        with av.open(str(tmp_path / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("mpeg4", rate=30)
            stream.width, stream.height, stream.bit_rate = 64, 48, 4_000_000
            rng = np.random.default_rng(0)
            for number in range(40):
                image = np.clip((180 if number >= first else 40) + rng.normal(0, 12, (48, 64, 3)), 0, 255)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image.astype(np.uint8), format="rgb24")))
            container.mux(stream.encode())
    out = tmp_path / "sync.json"
    assert main(["annotate", "sync", str(tmp_path), "--by", "flash", "--out", str(out)]) == 0
    output = capsys.readouterr().err
    assert "b: offset +200.0 ms" in output
    assert "34 frame sets of 2 cameras" in output
    written = json.loads(out.read_text())
    assert written["images"]["b"][0] == 0
    assert written["images"]["a"][0] == 6
    assert main(["annotate", "sync", str(tmp_path), "--by", "timecode"]) == 2


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


def test_a_mirrored_world_is_refused(tables, capsys):
    folder, points, sides = tables
    rig = load_cameras(folder / "rig.json")
    for view in rig:
        other = [[{"Right": "Left", "Left": "Right"}[name] for name in names] for names in sides]
        _write(folder / "tables" / f"{view.name}.json", view.project(points), other)
    out = folder / "hands.json"
    assert main(["annotate", "triangulate", str(folder / "rig.json"), str(folder / "tables"), "--out", str(out)]) == 1
    assert "have the shape of the other side" in capsys.readouterr().err
    assert not out.exists()
