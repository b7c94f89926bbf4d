import json
import re
import struct
import tomllib
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit import InputError
from sonjit.geometry.cameras import CalibratedCamera, distort, fold_radius, undistort
from sonjit.geometry.rotations import matrix_from_rotation_vector
from sonjit_studio.camera_files import load_cameras, save_cameras
from sonjit_studio.camera_numbers import to_opencv
from sonjit_studio.rig import CameraRig, RigCamera, world_on_board
from sonjit_studio.views import open_view, views_by_camera

from .rigs import FISHEYE, LENS, PRISM, RATIONAL, TILTED, assert_same_rig, random_rig, with_lenses

FORMATS = {"sonjit": "r.json", "interhand": "i_camera.json", "anipose": "r.toml", "opencv": "r.yml", "colmap": "r"}


def _saved(folder, form, rig=None):
    path = folder / FORMATS[form]
    save_cameras(rig or random_rig(3, lens=form != "interhand"), path, format=form)
    return path


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_what_is_written_is_read_back(tmp_path, form, seed):
    rig = random_rig(1 + 2 * seed, seed, lens=form != "interhand" and seed % 2 == 0)
    assert_same_rig(load_cameras(_saved(tmp_path, form, rig)), rig)


@pytest.mark.parametrize("form", ["sonjit", "anipose", "opencv", "colmap"])
@pytest.mark.parametrize("lens", ["four", "five", "eight", "twelve", "fourteen", "fisheye"])
def test_lenses_of_every_number_of_coefficients_are_read_back(tmp_path, form, lens):
    lenses = {"four": LENS[:4], "five": LENS, "eight": RATIONAL, "twelve": PRISM, "fourteen": TILTED}
    rig = with_lenses(random_rig(2), [lenses.get(lens, FISHEYE)])
    if form == "colmap" and lens in ("twelve", "fourteen"):
        with pytest.raises(InputError, match="which COLMAP cannot represent"):
            _saved(tmp_path, form, rig)
        return
    assert_same_rig(load_cameras(_saved(tmp_path, form, rig)), rig)


def test_four_coefficients_of_a_json_file_need_their_model(tmp_path):
    path = _saved(tmp_path, "sonjit", with_lenses(random_rig(1), [FISHEYE]))
    path.write_text(path.read_text().replace('"model": "fisheye"', '"n": 0'))
    with pytest.raises(InputError, match=r"camera 0: 4 coefficients: add"):
        load_cameras(path)


@pytest.mark.parametrize(("model", "is_fisheye"), [("plumb_bob", False), ("equidistant", True), ("FISHEYE", True)])
def test_models_that_opencvs_files_name_are_read(tmp_path, model, is_fisheye):
    path = tmp_path / "cam.yml"
    storage = cv2.FileStorage(str(path), cv2.FILE_STORAGE_WRITE)
    values = {"image_width": 640, "image_height": 480, "K": np.diag([500.0, 500, 1]), "D": FISHEYE, "R": np.eye(3)}
    for name, value in {**values, "t": np.zeros(3), "distortion_model": model}.items():
        storage.write(name, value)
    storage.release()
    camera = load_cameras(path, unit="m")["cam"].camera
    assert camera.is_fisheye == is_fisheye
    np.testing.assert_allclose(camera.distortion[:4], FISHEYE)
    path.write_text(path.read_text().replace(model, "omni"))
    with pytest.raises(InputError, match="lens model 'omni'"):
        load_cameras(path, unit="m")


def test_a_folder_of_opencv_files_contains_a_camera_each(tmp_path):
    rig = random_rig(11)
    save_cameras(rig, tmp_path / "rig", format="opencv")
    assert len(list((tmp_path / "rig").iterdir())) == 11
    assert_same_rig(load_cameras(tmp_path / "rig"), rig)


def test_opencv_files_of_other_programs_are_read(tmp_path):
    view = random_rig(1).cameras[0]
    storage = cv2.FileStorage(str(tmp_path / "left.yml"), cv2.FILE_STORAGE_WRITE)
    for name, value in (("image_width", 640), ("image_height", 480), ("cameraMatrix", view.camera.K)):
        storage.write(name, value)
    storage.write("distCoeffs", view.camera.distortion)
    storage.write("rvec", cv2.Rodrigues(view.R)[0])
    storage.write("tvec", view.t * 1000)
    storage.release()
    with pytest.raises(InputError, match="unit"):
        load_cameras(tmp_path / "left.yml")
    rig = load_cameras(tmp_path / "left.yml", unit="mm")
    points = np.random.default_rng(0).normal(0, 0.1, (20, 3))
    theirs, _ = cv2.projectPoints(points, cv2.Rodrigues(view.R)[0], view.t, view.camera.K, view.camera.distortion)
    np.testing.assert_allclose(rig["left"].project(points), theirs[:, 0] + 0.5, atol=1e-6)


def test_xml_and_the_header_of_older_opencv_are_read(tmp_path):
    rig = random_rig(3, lens=True)
    save_cameras(rig, tmp_path / "rig.xml", format="opencv")
    assert_same_rig(load_cameras(tmp_path / "rig.xml"), rig)
    text = _saved(tmp_path, "opencv", rig).read_text()
    (tmp_path / "old.yml").write_text(text.replace("%YAML 1.2", "%YAML:1.0"))
    assert_same_rig(load_cameras(tmp_path / "old.yml"), rig)


def test_files_of_opencvs_family_count_from_a_pixels_middle(tmp_path):
    """Check that other programs project with a written file like the rig, minus half a pixel."""
    rig, points = random_rig(2), np.random.default_rng(0).normal(0, 0.1, (20, 3))
    content = tomllib.loads(_saved(tmp_path, "anipose", rig).read_text())
    lines: list[str] = []
    for index, view in enumerate(rig):
        table = content[f"cam_{index}"]
        K, bent, turn = (np.array(table[name]) for name in ("matrix", "distortions", "rotation"))
        theirs, _ = cv2.projectPoints(points * 1000, turn, np.array(table["translation"]), K, bent)
        np.testing.assert_allclose(view.project(points), theirs[:, 0] + 0.5, atol=1e-6)
        lines += [f"[cameras.{index}]", "size = [640, 480]", f"matrix = {K.tolist()}", f"distortions = {bent.tolist()}"]
        lines += [f"rotation = {view.R.tolist()}", f"translation = {view.t.tolist()}"]
    caliscope = tmp_path / "camera_array.toml"
    caliscope.write_text("\n".join(lines))
    config = tmp_path / "config.toml"
    own = "\n".join(lines).replace("[cameras.0]", "[cam_0]\ncam_id = 0").replace("[cameras.1]", "[cam_1]\ncam_id = 1")
    config.write_text(f"{own}\n[charuco]\ncolumns = 4\n")
    for read in (load_cameras(caliscope), load_cameras(config)):
        assert read.names == ("cam_0", "cam_1")
        for view, other in zip(rig, read, strict=True):
            np.testing.assert_allclose(view.project(points), other.project(points), atol=1e-6)


def test_cameras_that_caliscope_ignores_or_did_not_calibrate_are_left_out(tmp_path):
    fields = "matrix = {}\ndistortions = {}\nrotation = {}\ntranslation = {}\nignore = {}"
    table = f"[cameras.{{}}]\nsize = [640.0, 480.0]\n{fields}"
    known = "[[500.0, 0.0, 320.0], [0.0, 500.0, 240.0], [0.0, 0.0, 1.0]]", "[0.1]", "[0.0, 0.1, 0.0]", "[0.0, 0.0, 1.0]"
    rows = [(*known, "false"), (*known, "true"), *[(*['"null"'] * 4, text) for text in ("true", "false")]]
    path = tmp_path / "camera_array.toml"
    path.write_text("\n\n".join(table.format(index, *row) for index, row in enumerate(rows)))
    for poses in (True, False):
        assert load_cameras(path, poses=poses).names == ("cam_0",)
    path.write_text(table.format(0, *rows[2]))
    with pytest.raises(InputError, match="contains no cameras"):
        load_cameras(path)


def test_lenses_are_read_without_poses(tmp_path):
    rig = random_rig(1)
    K, bent = to_opencv(rig["cam0"].camera.K), rig["cam0"].camera.distortion
    toml = f"[cameras.0]\nsize = [640, 480]\nmatrix = {K.tolist()}\ndistortions = {bent.tolist()}"
    (tmp_path / "camera_array.toml").write_text(toml)
    storage = cv2.FileStorage(str(tmp_path / "cam_0.yml"), cv2.FILE_STORAGE_WRITE)
    for name, value in (("image_width", 640), ("image_height", 480), ("camera_matrix", K), ("dist_coeffs", bent)):
        storage.write(name, value)
    storage.release()
    for name, message in (("camera_array.toml", "rotation"), ("cam_0.yml", "rotation")):
        read = load_cameras(tmp_path / name, poses=False)["cam_0"].camera
        np.testing.assert_allclose(read.K, rig["cam0"].camera.K)
        np.testing.assert_allclose(read.distortion, bent)
        with pytest.raises(InputError, match=message):
            load_cameras(tmp_path / name, unit="m")


def test_freemocaps_file_is_anipose_with_more_in_its_metadata(tmp_path):
    rig = random_rig(2)
    written = _saved(tmp_path, "anipose", rig)
    text = written.read_text().replace('unit = "mm"', 'charuco_square_size = 58.0\npath_to_recorded_videos = "x"')
    text = text.replace("fisheye = false", "world_position = [0.0, 1.0, 2.0]")
    written.write_text(text)
    with pytest.raises(InputError, match="--unit"):
        load_cameras(written)
    points = np.random.default_rng(0).normal(0, 0.1, (20, 3))
    read = load_cameras(written, unit="mm")
    for view in rig:
        table = next(entry for entry in tomllib.loads(text).values() if entry.get("name") == view.name)
        K, bent, turn, shift = (np.array(table[one]) for one in ("matrix", "distortions", "rotation", "translation"))
        theirs, _ = cv2.projectPoints(points * 1000, turn, shift, K, bent)
        np.testing.assert_allclose(read[view.name].project(points), theirs[:, 0] + 0.5, atol=1e-6)


def test_folders_of_dat_files_are_read(tmp_path):
    rig = random_rig(2)
    for number, view in enumerate(rig):

        def rows(matrix):
            return "".join(" ".join(map(repr, row)) + " \n" for row in np.atleast_2d(matrix).tolist())

        K = view.camera.K - np.array([[0, 0, 0.5], [0, 0, 0.5], [0, 0, 0]])  # OpenCV counts from a pixel's middle
        (tmp_path / f"c{number}.dat").write_text(f"intrinsic:\n{rows(K)}distortion:\n{rows(view.camera.distortion)}")
        pose = f"R:\n{rows(view.R)}T:\n{rows(100 * view.t[:, None])}\n#another place\nR:\n{rows(np.eye(3))}"
        (tmp_path / f"rot_trans_c{number}.dat").write_text(pose)
    with pytest.raises(InputError, match="--size WIDTHxHEIGHT --out"):
        load_cameras(tmp_path, unit="cm")
    with pytest.raises(InputError, match="unit"):
        load_cameras(tmp_path, size=(640, 480))
    size = rig.cameras[0].width, rig.cameras[0].height
    for given_path in (tmp_path, tmp_path / "c1.dat"):
        found = load_cameras(given_path, unit="10mm", size=size)
        assert found.names == ("cam0", "cam1")
        for own, other in zip(found, rig, strict=True):
            np.testing.assert_allclose(own.camera.K, other.camera.K)
            np.testing.assert_allclose(np.column_stack([own.R, own.t]), np.column_stack([other.R, other.t]))
            np.testing.assert_allclose(own.camera.distortion, other.camera.distortion)
    for name, text, message in (
        ("c1.dat", "intrinsic:\n1 2 x", "line 2: '1 2 x' are not numbers"),
        ("c1.dat", "intrinsic:\n1 2 3", r"c1\.dat: intrinsic"),
        ("c2.dat", "intrinsic:\n1 2 3", r"c2\.dat, but neither rot_trans_c2\.dat nor"),
    ):
        complete = (tmp_path / name).read_text() if (tmp_path / name).is_file() else ""
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=message):
            load_cameras(tmp_path, unit="cm", size=size)
        (tmp_path / name).write_text(complete) if complete else (tmp_path / name).unlink()


@pytest.mark.files("fixtures/interhand_multiview/annotations/*/*_camera.json")
def test_interhand_files_have_camera_positions_instead_of_translations(file, tmp_path):
    rig = load_cameras(file)  # image sizes from the file beside it
    raw = json.loads(file.read_text())
    record = next(iter(raw.values()))
    for view in rig:
        np.testing.assert_allclose(view.centre_m * 1000, record["campos"][view.name], atol=1e-6)
        assert view.inside(np.array([[view.camera.K[0, 2], view.camera.K[1, 2]]])).all()
        np.testing.assert_allclose(view.camera.K[:2, 2] - 0.5, record["princpt"][view.name], atol=1e-6)
    save_cameras(rig, tmp_path / "again_camera.json", format="interhand")
    assert_same_rig(load_cameras(tmp_path / "again_camera.json"), rig)
    cameras_file = tmp_path / "one_camera.json"
    cameras_file.write_text(json.dumps(raw))
    with pytest.raises(InputError, match="--size"):
        load_cameras(cameras_file)
    portrait = {(view.width < view.height) for view in load_cameras(cameras_file, size=(512, 334))}
    assert portrait == {view.width < view.height for view in rig}


def test_files_of_interhand_state_where_their_pixels_begin(tmp_path):
    rig, points = random_rig(2, lens=False), np.random.default_rng(0).normal(0, 0.1, (20, 3))
    path = _saved(tmp_path, "interhand", rig)
    record = json.loads(path.read_text())
    assert record["0"].pop("pixel_centre") == 0.5
    for stated, offset in (({"pixel_centre": 0.5}, 0), ({"pixel_centre": 0}, 0.5), ({}, 0.5)):
        path.write_text(json.dumps({"0": record["0"] | stated}))
        np.testing.assert_allclose(load_cameras(path).project(points), rig.project(points) + offset, atol=1e-6)
    path.write_text(json.dumps({"0": record["0"] | {"pixel_centre": "corner"}}))
    with pytest.raises(InputError, match=r"pixel_centre is 'corner'; must be 0 or 0\.5"):
        load_cameras(path)


@pytest.mark.parametrize(
    ("model", "numbers", "lens"),
    [
        ("SIMPLE_PINHOLE", "500 320 240", None),
        ("SIMPLE_RADIAL", "500 320 240 -0.1", [-0.1, 0, 0, 0, 0]),
        ("RADIAL", "500 320 240 -0.1 0.02", [-0.1, 0.02, 0, 0, 0]),
        ("OPENCV", "500 510 320 240 -0.1 0.02 0.001 0.002", [-0.1, 0.02, 0.001, 0.002, 0]),
        ("FULL_OPENCV", "500 510 320 240 -0.1 0.02 0.001 0.002 0.003 0 0 0", [-0.1, 0.02, 0.001, 0.002, 0.003]),
    ],
)
def test_colmaps_lens_models(tmp_path, model, numbers, lens):
    (tmp_path / "cameras.txt").write_text(f"# a comment\n7 {model} 640 480 {numbers}\n")
    (tmp_path / "images.txt").write_text("# a comment\n1 1 0 0 0 0.1 0.2 0.3 7 views/left one.png\n1 2 -1\n")
    (view,) = load_cameras(tmp_path, unit="m")
    assert view.name == "views/left one"
    assert view.camera.K[0].tolist() == [500, 0, 320]
    np.testing.assert_allclose(view.t, [0.1, 0.2, 0.3])
    assert (view.camera.distortion is None) if lens is None else view.camera.distortion.tolist() == lens


def test_a_lens_that_is_not_supported_is_named(tmp_path):
    (tmp_path / "cameras.txt").write_text("1 THIN_PRISM_FISHEYE 640 480 5 5 3 2 0 0 0 0 0 0 0 0\n")
    (tmp_path / "images.txt").write_text("1 1 0 0 0 0 0 0 1 a.png\n\n")
    with pytest.raises(InputError, match=r"line 1: .*THIN_PRISM_FISHEYE.* not supported"):
        load_cameras(tmp_path, unit="m")


def test_values_that_a_format_lacks_are_not_written(tmp_path):
    with pytest.raises(InputError, match="distortion"):
        save_cameras(random_rig(2), tmp_path / "i.json", format="interhand")
    camera = random_rig(1, lens=False).cameras[0].camera
    skewed = camera.K.copy()
    skewed[0, 1] = 3
    rig = CameraRig([RigCamera("a", 640, 480, CalibratedCamera(skewed, camera.R, camera.t))])
    for form in ("interhand", "colmap"):
        with pytest.raises(InputError, match="skew"):
            _saved(tmp_path, form, rig)
    with pytest.raises(InputError, match=r"name a \.json"):
        save_cameras(rig, tmp_path / "rig.doc")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"R": [[1, 0, 0], [0, 1, 0], [0, 0, -1]]}, "mirrors the world"),
        ({"t": [0, 1]}, "expected 3"),
        ({"t": [0, 1, 10**400]}, "t must have 3 numbers"),
        ({"K": [[0, 0, 1], [0, 5, 1], [0, 0, 1]]}, "focal lengths above 0"),
        ({"name": "cam1"}, "two cameras are named 'cam1'"),
        ({"distortion": "bent"}, "distortion"),
    ],
)
def test_an_impossible_camera_is_named(tmp_path, change, message):
    path = _saved(tmp_path, "sonjit")
    content = json.loads(path.read_text())
    content["cameras"][0] |= change
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message) as caught:
        load_cameras(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("form", "path", "message"),
    [
        ("sonjit", ["cameras"], "cameras must be a list"),
        ("interhand", ["0", "campos"], "campos and size must have an entry for each camera"),
        ("interhand", ["0", "size"], "campos and size must have an entry for each camera"),
    ],
)
def test_cameras_that_are_no_list_or_table_are_refused(tmp_path, form, path, message):
    file = _saved(tmp_path, form)
    content = table = json.loads(file.read_text())
    *outer, last = path
    for name in outer:
        table = table[name]
    table[last] = 3
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=message):
        load_cameras(file)


def test_a_named_capture_must_have_cameras(tmp_path):
    file = _saved(tmp_path, "interhand")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"1": [2, 3]}))
    with pytest.raises(InputError, match="captures has no '1'"):
        load_cameras(file, capture="1")


def test_a_width_beyond_all_numbers_is_refused(tmp_path):
    file = _saved(tmp_path, "opencv")
    file.write_text(re.sub(r"image_width: \d+", f"image_width: 1{400 * '0'}", file.read_text()))
    with pytest.raises(InputError, match="image_width is not a number"):
        load_cameras(file)


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_damage_is_one_line(tmp_path_factory, form, data):
    path = _saved(tmp_path_factory.mktemp("rig"), form)
    file = path if path.is_file() else path / data.draw(st.sampled_from(["cameras.txt", "images.txt"]))
    complete = file.read_text()
    at = data.draw(st.integers(0, len(complete) - 1))
    with_what = data.draw(st.sampled_from(["", "x", "{", "\n", "nan", "]", '"', ": ", "\x00", "[[", "-1e999"]))
    file.write_text(complete[:at] + with_what + complete[at + data.draw(st.integers(0, 40)) :])
    try:
        message = str(load_cameras(path).names)
    except InputError as error:
        message = str(error)
    assert "\n" not in message


def test_nothing_there_is_one_line(tmp_path):
    for name in ("none.json", "none.toml", "none.yml", "cameras.txt"):
        with pytest.raises(InputError, match=r"cannot be read|no such file"):
            load_cameras(tmp_path / name)
    with pytest.raises(InputError, match="has no camera files"):
        load_cameras(tmp_path)
    with pytest.raises(InputError, match="are read from"):
        load_cameras(tmp_path / "rig.doc")


seeds = st.integers(0, 10**6)


@given(seeds)
@pytest.mark.slow
def test_an_epipolar_line_passes_through_what_the_other_camera_sees(seed):
    rig, point = random_rig(2, seed % 100), np.random.default_rng(seed).normal(0, 0.08, 3)
    one, other = rig
    if not other.inside(other.project(point)):
        return
    line = one.epipolar_line(one.project(point), other, points=300)
    step = np.linalg.norm(np.diff(line, axis=0), axis=1).max()
    assert np.linalg.norm(line - other.project(point), axis=1).min() <= step
    before = one.epipolar_line(one.project(point), other, depth_m=(0.01, np.linalg.norm(point - one.centre_m) - 0.05))
    assert len(before) == 0 or np.linalg.norm(before - other.project(point), axis=1).min() > 1


def test_a_folder_of_recordings_may_hold_tables(tmp_path):
    for name in ("cam_0.mp4", "xy.csv", "CHARUCO/xyz.csv", "cam_1/1.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert set(views_by_camera([str(tmp_path)])) == {"cam_0", "cam_1"}
    for name in ("frame_0050_cam0.jpg", "frame_0051_cam0.jpg"):
        (tmp_path / "cam_1" / name).touch()
    assert set(views_by_camera([str(tmp_path)])) == {"cam_0", "cam_1"}
    for name in ("camA-12.jpg", "camB-12.jpg"):
        (tmp_path / "CHARUCO" / name).touch()
    with pytest.raises(InputError, match=r"folder has images of camA, camB: name it without left="):
        views_by_camera([f"left={tmp_path / 'CHARUCO'}"])


@pytest.mark.parametrize(
    ("names", "cameras"),
    [
        ("cam_0_frame_0050 cam_0_frame_1000 cam_1_frame_0050", "cam_0 cam_1"),
        ("frame_0050_cam0 frame_1000_cam0 frame_0050_cam10 frame_0050_cam1", "cam0 cam1 cam10"),
        ("c0_0001 c1_0001 c1_0002", "c0 c1"), ("camA-12 camB-12", "camA camB"), ("view1_003 view2_003", "view1 view2"),
        ("Camera 1 (50) Camera 2 (50)", "Camera 1 Camera 2"), ("left01 right01 right02", "left right"),
        ("port_0_12 port_1_12 background", "port_0 port_1"),
    ],
)  # fmt: skip
def test_images_of_several_cameras_may_lie_in_one_folder(tmp_path, names, cameras):
    folder = tmp_path / "take [1]"  # no pattern
    folder.mkdir()
    split = re.findall(r"Camera \d \(\d+\)|\S+", names)
    for name in split:
        cv2.imwrite(str(folder / f"{name}.png"), np.zeros((8, 8), np.uint8))
    views = views_by_camera([str(folder)])
    assert list(views) == re.findall(r"Camera \d|\S+", cameras)
    numbers = {name: open_view(path).numbers for name, path in views.items()}
    first = min(own[0] for own in numbers.values())
    assert all(own[0] == first for own in numbers.values())  # frame sets go by the frame, not by the camera's number
    assert first in (1, 3, 12, 50)
    assert sum(map(len, numbers.values())) == len([name for name in split if name != "background"])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("0_0050 1_0050", r"0_0050\.png and 1_0050\.png, and the names do not show which number is the camera's"),
        ("left_01 old_left_01 right_01", r"several recordings of one camera, left_\*\.\* and old_left_\*\.\*"),
    ],
)
def test_names_without_a_camera_are_refused(tmp_path, names, message):
    for name in names.split():
        (tmp_path / f"{name}.png").touch()
    with pytest.raises(InputError, match=message):
        views_by_camera([str(tmp_path)])


@pytest.mark.parametrize("lens", [LENS[:4], LENS, RATIONAL, PRISM, TILTED, FISHEYE])
def test_lenses_are_opencvs(lens):
    view = with_lenses(random_rig(1), [lens], zoom=0.5).cameras[0]
    points = np.random.default_rng(0).normal(0, 0.25, (50, 3))
    K = to_opencv(view.camera.K)
    if lens is FISHEYE:
        want = cv2.fisheye.projectPoints(points[:, None], cv2.Rodrigues(view.R)[0], view.t, K, lens)[0]
    else:
        want = cv2.projectPoints(points, cv2.Rodrigues(view.R)[0], view.t, K, lens)[0]
    np.testing.assert_allclose(view.project(points), want.reshape(-1, 2) + 0.5, atol=1e-6)
    rays = view.camera.undistorted_rays(view.project(points))
    seen = view.camera.from_world(points)
    np.testing.assert_allclose(rays, seen[:, :2] / seen[:, 2:], atol=1e-9)


@pytest.mark.nightly_after(5)
@pytest.mark.parametrize("seed", range(20))
def test_the_rays_of_strong_lenses_are_found(seed):
    rng = np.random.default_rng(seed)
    lens = rng.uniform(-0.6, 0.6, 8)
    lens[2:4] = 0  # tangential distortion shows two rays at one place near the edge of the range
    length, turn = rng.uniform(0, 0.98 * min(fold_radius(lens), 2), 100), rng.uniform(0, 2 * np.pi, 100)
    rays = length[:, None] * np.stack([np.cos(turn), np.sin(turn)], -1)
    np.testing.assert_allclose(undistort(distort(rays, lens), lens), rays, atol=1e-6)


vectors = st.lists(st.floats(-2, 2), min_size=3, max_size=3).map(np.array)


@given(vectors, vectors)
def test_a_board_on_the_floor_is_the_origin_and_up_is_z(turn, place):
    R, t = matrix_from_rotation_vector(turn), place
    turned, moved = world_on_board(R, t)
    on_board = np.array([[0, 0, 0], [1, 0, 0], [0, 0, -1.0]])  # its z points into the floor
    there = (on_board @ R.T + t) @ turned.T + moved
    np.testing.assert_allclose(there, [[0, 0, 0], [1, 0, 0], [0, 0, 1]], atol=1e-9)


QUALISYS = """<?xml version='1.0' encoding='ASCII'?>
<calibration><cameras><camera serial="front">
<fov_video left="10" right="649" top="20" bottom="499"/>
<transform r11="0" r12="1" r13="0" r21="-1" r22="0" r23="0" r31="0" r32="0" r33="1" x="100" y="200" z="3000"/>
<intrinsic focalLengthU="51200" focalLengthV="57600" centerPointU="20480" centerPointV="16640" skew="0"
 radialDistortion1="6.4" radialDistortion2="0" tangentalDistortion1="0" tangentalDistortion2="0"/>
</camera></cameras></calibration>"""


def test_qualisys_files_are_read(tmp_path):
    path = tmp_path / "Calib.qca.txt"
    path.write_text(QUALISYS)
    (camera,) = load_cameras(path)
    assert (camera.name, camera.width, camera.height) == ("front", 640, 480)
    np.testing.assert_allclose(to_opencv(camera.camera.K), [[800, 0, 310], [0, 900, 240], [0, 0, 1]])
    np.testing.assert_allclose(camera.camera.distortion, [0.1, 0, 0, 0, 0])
    assert camera.camera.model == "pinhole"
    R, t = camera.camera.pose  # three metres above the floor, the camera looks down
    np.testing.assert_allclose(R @ [0.1, 0.2, 0] + t, [0, 0, 3], atol=1e-12)
    np.testing.assert_allclose(R @ [0.1, 1.2, 0] + t, [1, 0, 3], atol=1e-12)
    bent = QUALISYS.replace('radialDistortion2="0"', 'radialDistortion2="-3.2" radialDistortion3="0.64"')
    bent = bent.replace(
        'tangentalDistortion1="0" tangentalDistortion2="0"',
        'tangentalDistortion1="0.064" tangentalDistortion2="-0.128"',
    )
    path.write_text(bent)
    (camera,) = load_cameras(path)
    across, down = np.meshgrid(np.linspace(-0.35, 0.35, 9), np.linspace(-0.25, 0.25, 9))
    points = np.stack([across, down, np.ones_like(across)], -1).reshape(-1, 3)
    lens = np.array([0.1, -0.05, 0.001, -0.002, 0.01])
    expected = cv2.projectPoints(points, np.zeros(3), np.zeros(3), to_opencv(camera.camera.K), lens)[0][:, 0] + 0.5
    np.testing.assert_allclose(camera.camera.project(points), expected, atol=1e-6)
    for damaged in (QUALISYS.replace("focalLengthU", "focal"), QUALISYS.replace('x="100"', 'x="a"'), QUALISYS[:300]):
        path.write_text(damaged)
        with pytest.raises(InputError, match=r"Calib\.qca\.txt"):
            load_cameras(path)


def _binary_model(folder, model, numbers, names):
    """Write COLMAP's cameras.bin and images.bin of one camera and several images."""
    (folder / "bin").mkdir()
    lens = struct.pack("<QiiQQ", 1, 7, model, 1280, 960) + struct.pack(f"<{len(numbers)}d", *numbers)
    (folder / "bin/cameras.bin").write_bytes(lens)
    images = [struct.pack("<Q", len(names))]
    for number, name in enumerate(names):
        pose = struct.pack("<7d", 0.8, 0.1 * number, -0.2, 0.3, 0.1, 0.2 * number, 1.5)
        points = struct.pack("<Q", 2) + struct.pack("<ddqddq", 1.0, 2.0, 3, 4.0, 5.0, -1)
        images.append(struct.pack("<i", number + 1) + pose + struct.pack("<i", 7) + name.encode() + b"\0" + points)
    (folder / "bin/images.bin").write_bytes(b"".join(images))
    return folder / "bin"


@pytest.mark.parametrize(
    ("model", "name", "numbers"),
    [
        (1, "PINHOLE", [900, 910, 640, 480]),
        (6, "FULL_OPENCV", [900, 910, 640, 480, -0.2, 0.05, 0.001, -0.002, 0.01, 0.02, 0.03, 0.04]),
        (8, "SIMPLE_RADIAL_FISHEYE", [500, 640, 480, 0.05]),
        (9, "RADIAL_FISHEYE", [500, 640, 480, 0.05, -0.01]),
    ],
)
def test_colmaps_binary_files_equal_its_text(tmp_path, model, name, numbers):
    folder = _binary_model(tmp_path, model, numbers, ["a/left.png", "a/right.png"])
    (tmp_path / "cameras.txt").write_text(f"7 {name} 1280 960 {' '.join(map(str, numbers))}\n")
    poses = [
        f"{n + 1} 0.8 {0.1 * n} -0.2 0.3 0.1 {0.2 * n} 1.5 7 a/{side}.png\n\n"
        for n, side in enumerate(("left", "right"))
    ]
    (tmp_path / "images.txt").write_text("".join(poses))
    rig = load_cameras(folder, unit="mm")
    assert rig.names == ("a/left", "a/right")
    assert_same_rig(rig, load_cameras(tmp_path, unit="mm"), atol=1e-12)
    assert_same_rig(rig, load_cameras(folder / "cameras.bin", unit="mm"), atol=0)
    if "FISHEYE" in name:
        points = np.random.default_rng(0).uniform((-0.5, -0.5, 1.5), (0.5, 0.5, 2.5), (20, 3))
        camera, (f, cx, cy, *k) = rig.cameras[1], numbers
        angle = np.arctan2(np.linalg.norm(points[:, :2], axis=1), points[:, 2])
        radius = angle * (1 + sum(value * angle ** (2 * power) for power, value in enumerate(k, 1)))
        expected = points[:, :2] / np.linalg.norm(points[:, :2], axis=1, keepdims=True) * radius[:, None] * f + (cx, cy)
        in_world = (points - camera.t) @ camera.R
        np.testing.assert_allclose(camera.project(in_world), expected, atol=1e-9)


@pytest.mark.parametrize("kept", [0, 3, 40, 90])
def test_cut_binary_files_are_one_line(tmp_path, kept):
    folder = _binary_model(tmp_path, 1, [900, 910, 640, 480], ["a.png"])
    for file in ("cameras.bin", "images.bin"):
        content = (folder / file).read_bytes()
        (folder / file).write_bytes(content[:kept])
        if kept < len(content):
            with pytest.raises(InputError, match=rf"{file} is cut off or no file of COLMAP"):
                load_cameras(folder, unit="m")
        (folder / file).write_bytes(content)
    with pytest.raises(InputError, match="does not state the unit"):
        load_cameras(folder)


def _kalibr(path, cameras):
    lines = []
    for number, (pose, model, intrinsics, lens) in enumerate(cameras):
        lines += [
            f"cam{number}:",
            "  camera_model: pinhole",
            f"  distortion_model: {model}",
            "  resolution: [1280, 960]",
        ]
        lines += [f"  intrinsics: {intrinsics}", f"  distortion_coeffs: {lens}"]
        lines += [f"  T_cn_cnm1: {pose.tolist()}"] if number else []
    path.write_text("\n".join(lines))
    return path


def test_kalibrs_chain_projects_as_opencv(tmp_path):
    rng = np.random.default_rng(2)
    poses = []
    for _ in range(3):
        pose = np.eye(4)
        pose[:3, :3] = matrix_from_rotation_vector(rng.normal(0, 0.1, 3))
        pose[:3, 3] = rng.normal(0, 0.2, 3)
        poses.append(pose)
    lens = [-0.2, 0.05, 0.001, -0.002]
    cameras = [
        (poses[0], "radtan", [900.0, 910.0, 650.3, 470.7], lens),
        (poses[1], "equidistant", [500.0, 505.0, 640.5, 481.2], lens),
        (poses[2], "none", [800.0, 805.0, 630.0, 480.0], []),
    ]
    rig = load_cameras(_kalibr(tmp_path / "camchain.yaml", cameras))
    points = rng.uniform((-0.4, -0.4, 1.6), (0.4, 0.4, 2.4), (30, 3))
    turn = np.eye(4)
    for number, (pose, model, (fx, fy, cx, cy), k) in enumerate(cameras):
        turn = pose @ turn if number else turn
        K, R, t = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]), cv2.Rodrigues(turn[:3, :3])[0], turn[:3, 3]
        if model == "equidistant":
            expected, _ = cv2.fisheye.projectPoints(points[:, None], R, t, K, np.array(k))
        else:
            expected, _ = cv2.projectPoints(points, R, t, K, np.array(k or [0.0] * 4))
        np.testing.assert_allclose(rig.cameras[number].project(points), expected[:, 0] + 0.5, atol=1e-9)


@pytest.mark.parametrize(
    ("model", "lens", "words"),
    [
        ("fov", [0.9], "has the model pinhole, fov: calibrate with pinhole and radtan or equidistant or none"),
        ("[radtan]", [0.9], r"has the model pinhole, \['radtan'\]: calibrate"),
        ("{radtan: 1}", [0.9], "has the model pinhole, {'radtan': 1}: calibrate"),
    ],
)
def test_other_models_of_kalibr_are_refused(tmp_path, model, lens, words):
    with pytest.raises(InputError, match=words):
        load_cameras(_kalibr(tmp_path / "camchain.yaml", [(np.eye(4), model, [900.0, 900.0, 640.0, 480.0], lens)]))


def test_pose2sims_calibration_is_in_metres(tmp_path):
    rig = with_lenses(random_rig(3), [LENS] * 3)
    save_cameras(rig, tmp_path / "anipose.toml")
    content = tomllib.loads((tmp_path / "anipose.toml").read_text())
    lines = []
    for table in (content[f"cam_{number}"] for number in range(3)):
        values = {
            **table,
            "name": f"view{table['name']}",
            "translation": [value / 1000 for value in table["translation"]],
        }
        lines += [f"[{values['name']}]", *(f"{key} = {json.dumps(value)}" for key, value in values.items())]
    (tmp_path / "Calib.toml").write_text("\n".join([*lines, "[metadata]", "adjusted = false", "error = 0.0"]))
    found = load_cameras(tmp_path / "Calib.toml")
    assert_same_rig(CameraRig(replace(camera, name=camera.name.removeprefix("view")) for camera in found), rig)
    text = (tmp_path / "anipose.toml").read_text().replace('unit = "mm"', "adjusted = false\nerror = 0.0")
    (tmp_path / "anipose.toml").write_text(text)
    with pytest.raises(InputError, match="does not state the unit"):
        load_cameras(tmp_path / "anipose.toml")
