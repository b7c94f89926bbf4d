"""The programs in examples/ run and print correct results."""

import re
import runpy
import shutil
import subprocess
import sys
import types
from pathlib import Path

import cv2
import numpy as np
import pytest

import sonjit
from sonjit.geometry.cameras import CalibratedCamera
from sonjit.media import open_source
from sonjit.results.measures import measures
from sonjit.results.skeletons import load_skeleton
from sonjit_lab.hand_models.rig import load_rig
from sonjit_studio import CameraRig, RigCamera, save_cameras

PROJECT = Path(__file__).parents[2]
EXAMPLES = PROJECT / "examples"
FRAMES = 40  # of clip.mp4
SHORT = list(EXAMPLES.glob("*.py"))

pytestmark = pytest.mark.usefixtures("weights")


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Return a function that gives the printed lines of a program."""
    monkeypatch.chdir(tmp_path)

    def call(name, *arguments):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return call


@pytest.fixture(scope="module")
def clip(reader_files):
    return reader_files / "clip.mp4"


@pytest.mark.parametrize(
    "path", [path for path in SHORT if "sys.argv" in path.read_text("utf-8")], ids=lambda p: p.name
)
def test_without_arguments_a_program_prints_its_usage(path, run, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyautogui", types.ModuleType("pyautogui"))
    with pytest.raises(SystemExit, match=rf"python examples/{path.name} \S"):
        run(path.name)


@pytest.mark.slow
def test_finger_counter(run, clip):
    lines = run("finger_counter.py", clip)
    assert len(lines) == FRAMES
    for line in lines:
        left, _, total = line.partition(": ")[2].partition(" = ")
        assert sum(map(int, left.split(" + "))) == int(total) <= 10


@pytest.mark.slow
def test_pinch_in_cm(run, clip):
    lines = run("pinch_in_cm.py", clip)
    assert len(lines) == FRAMES
    for line in lines:
        apart_cm = float(re.search(r"([\d.]+) cm", line)[1])
        assert 0 < apart_cm < 20
        if abs(apart_cm - 2) > 0.06:
            assert ("pinched" in line) == (apart_cm < 2)


@pytest.mark.nightly_after(1)
@pytest.mark.slow
def test_virtual_mouse(run, clip, monkeypatch):
    moves, clicks, apart = [], [], []
    screen = types.ModuleType("pyautogui")
    screen.size, screen.click = (lambda: (1920, 1080)), (lambda: clicks.append(len(moves)))
    screen.moveTo = lambda x, y: moves.append((x, y))
    monkeypatch.setitem(sys.modules, "pyautogui", screen)
    run("virtual_mouse.py", clip)
    expected = []
    for frame in sonjit.track(clip, "hands", max_instances=1, mirrored=True, smoothing="one_euro"):
        height, width = frame.image.shape[:2]
        (hand,) = frame.hands
        x, y, _ = hand["index_finger_tip"]
        expected.append((x / width * 1920, y / height * 1080))
        apart.append(measures(hand)["pinch_index_m"])
    np.testing.assert_allclose(moves, expected, atol=1e-3)
    assert bool(clicks) == (min(apart) < 0.03)


@pytest.mark.slow
def test_pandas_export(run, clip, tmp_path):
    pandas = pytest.importorskip("pandas", reason="the extra pandas is not installed")
    lines = run("pandas_export.py", clip, tmp_path / "clip.csv")
    table = pandas.read_csv(tmp_path / "clip.csv")
    assert table["frame"].nunique() == FRAMES
    assert set(table["name"]) == set(load_skeleton("hand_mediapipe21").keypoints)
    assert [line.split()[1] for line in lines if line.startswith(("1", "2"))] == ["Left", "Right"] or "Right" in lines[
        2
    ]


@pytest.mark.slow
def test_batch_folder(run, reader_files, tmp_path):
    pandas = pytest.importorskip("pandas", reason="the extra pandas is not installed")
    pytest.importorskip("pyarrow", reason="the extra tables is not installed")
    recordings = tmp_path / "recordings"
    shutil.copytree(reader_files / "recordings", recordings)
    (recordings / "broken.mp4").write_bytes(b"no video")
    (left_out,) = run("batch_folder.py", recordings, "tables")
    assert "broken.mp4" in left_out
    tables = {path.stem: pandas.read_parquet(path) for path in (tmp_path / "tables").iterdir()}
    assert tables.keys() == {"one", "two"}
    assert {table["id"].min() for table in tables.values()} == {1}
    (tmp_path / "tables" / "one.parquet").write_bytes(b"kept")
    run("batch_folder.py", recordings, "tables")
    assert (tmp_path / "tables" / "one.parquet").read_bytes() == b"kept"


@pytest.mark.slow
def test_server_client(run, reader_files, tmp_path, monkeypatch):
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    command = [sys.executable, "-m", "sonjit", "serve", "--port", "0", "--temporary"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            address = next(found[0] for line in server.stdout if (found := re.search(r"http://[\d.:]+", line)))
            monkeypatch.setenv("SONJIT_SERVER", address)
            lines = run("server_client.py", reader_files / "photo.jpg", "drawn.png")
        finally:
            server.terminate()
    with sonjit.create_detector("hands", static_image=True) as detector:
        hands = detector.detect(reader_files / "photo.jpg")
    assert len(lines) == len(hands) == 2
    drawn = cv2.imread(str(tmp_path / "drawn.png"))[..., ::-1]
    assert np.abs(drawn.astype(int) - hands.draw()).mean() < 0.1


@pytest.mark.slow
def test_blender_bvh(run, clip, tmp_path):
    try:
        load_rig("Right")
    except sonjit.SonjitError as error:
        pytest.skip(str(error))
    lines = run("blender_bvh.py", clip, "motion")
    files = sorted((tmp_path / "motion").iterdir())
    assert len(lines) == len(files) == 2
    for path in files:
        text = path.read_text("utf-8")
        assert re.search(r"\nFrames: (\d+)\nFrame Time: 0.0333", text)[1] == str(FRAMES)
        rows = text.partition("Frame Time")[2].splitlines()[1:]
        assert len(rows) == FRAMES
        assert {len(row.split()) for row in rows} == {text.count("position") + text.count("rotation")}


@pytest.mark.slow
def test_two_cameras(run, reader_files, tmp_path, write_video):
    """Shift the image of the second camera by 40 px, so that everything lies at focal length * base / 40."""
    shift, focal, base = 40, 600.0, 0.1
    with open_source(reader_files / "clip.mp4") as source:
        frames = [one.rgb for one in source][:10]
    height, width = frames[0].shape[:2]
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    views = {name: CalibratedCamera(K, np.eye(3), np.array([x, 0, 0])) for name, x in (("left", 0.0), ("right", -base))}
    save_cameras(
        CameraRig([RigCamera(name, width, height, view) for name, view in views.items()]), tmp_path / "rig.json"
    )
    write_video(tmp_path / "left.mp4", frames)
    write_video(tmp_path / "right.mp4", [np.roll(rgb, -shift, axis=1) for rgb in frames])
    lines = run("two_cameras.py", "rig.json", "left.mp4", "right.mp4")
    assert {line.split()[2] for line in lines} == {"Left:", "Right:"}
    assert len(lines) >= len(frames)
    depths = [float(re.search(r"([\d.]+)\s*\] m$", line)[1]) for line in lines]
    assert np.median(depths) == pytest.approx(focal * base / shift, rel=0.03)
