import json
import shutil

import av
import cv2
import numpy as np
import pytest

from sonjit import InputError
from sonjit_studio.project import create_project, open_project
from sonjit_studio.views import CameraFrames, find_views, load_frame_sets, open_view, save_frame_sets

from .projects import hands, make_project, write_views
from .rigs import random_rig


@pytest.fixture
def rig():
    return random_rig(3)


@pytest.fixture
def views(tmp_path, rig):
    return write_views(tmp_path / "views", rig, hands(3))


def write_video(path, frames, *, size=(640, 480), gop=12):
    """Write a video in which the brightness of each frame is its number."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "4", "g": str(gop)})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.codec_context.max_b_frames = 2
        for number in range(frames):
            image = np.full((size[1], size[0], 3), 20 + 4 * number, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image)))
        container.mux(stream.encode(None))
    return path


def test_a_project_loads_as_it_was_created(tmp_path):
    project, _ = make_project(tmp_path, frames=3)
    project.close()
    again = open_project(tmp_path / "project")
    assert again.frames == project.frames == (0, 10, 20)
    assert again.rig.names == project.rig.names == tuple(again.views)
    assert again.missing() == {}
    assert again.view("cam1").read(10).shape == (480, 640, 3)
    again.close()


def test_a_project_moves_with_its_images(tmp_path):
    project, _ = make_project(tmp_path / "here")
    project.close()
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = open_project(tmp_path / "there" / "project")
    assert moved.view("cam0").read(0).any()
    moved.close()


def test_a_missing_image_moves_no_other(tmp_path, rig, views):
    (views["cam1"] / "image10.png").unlink()
    project = create_project(tmp_path / "project", rig, views)
    assert project.frames == (0, 10, 20)
    assert project.missing() == {"cam1": (10,)}
    expected = cv2.imread(str(views["cam1"] / "image20.png"))[..., ::-1]
    np.testing.assert_array_equal(project.view("cam1").read(20), expected)
    with pytest.raises(InputError, match="no image 10"):
        project.view("cam1").read(10)
    project.close()


def test_any_frame_of_a_video_is_found(tmp_path):
    view = open_view(write_video(tmp_path / "v.mp4", 50))
    assert view.numbers == tuple(range(50))
    for number in (0, 1, 2, 30, 31, 49, 3, 4, 48, 12, 11, 10, 0):
        assert abs(float(view.read(number).mean()) - (20 + 4 * number)) < 1.5
    with pytest.raises(InputError, match="no frame 50"):
        view.read(50)
    view.close()


def test_videos_that_began_at_different_times_are_matched_by_a_file(tmp_path, rig):
    paths = {name: write_video(tmp_path / f"{name}.mp4", 12) for name in ("cam0", "cam1")}
    sets = {
        "cam0": {image: image - 4 for image in range(4, 12)},
        "cam1": {image: image for image in range(8) if image != 3},
    }
    frame_sets = {name: CameraFrames(one) for name, one in sets.items()}
    project = create_project(tmp_path / "project", rig, paths, frame_sets=frame_sets)
    before = project.recordings()
    project.close()
    again = open_project(tmp_path / "project")
    assert again.frames == tuple(range(8))
    assert again.missing() == {"cam1": (3,)}
    for frame in (0, 7, 2):
        assert [
            abs(float(again.view(name).read(frame).mean()) - 20 - 4 * (frame + late)) < 1.5
            for name, late in (("cam0", 4), ("cam1", 0))
        ] == [True, True]
    with pytest.raises(InputError, match="no image of frame set 3"):
        again.view("cam1").read(3)
    assert again.recordings() == before
    save_frame_sets(
        tmp_path / "project" / "frame_sets.json", {"cam0": frame_sets["cam0"], "cam1": CameraFrames({0: 0})}
    )
    assert again.recordings() != before  # what was detected is detected anew
    again.close()


@pytest.mark.parametrize("change", [{"times_s": [10**400]}, {"images": {"cam0": [float("inf")]}}])
def test_frame_sets_of_impossible_numbers_are_refused(tmp_path, change):
    file = tmp_path / "sync.json"
    save_frame_sets(file, {"cam0": CameraFrames({0: 0})})
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(InputError, match="is not a file of sonjit annotate sync"):
        load_frame_sets(file, ("cam0",))


def test_a_damaged_video_gives_what_can_be_decoded(tmp_path):
    path = write_video(tmp_path / "v.mkv", 40)
    data = bytearray(path.read_bytes())
    path.write_bytes(data[: len(data) * 2 // 3])
    view = open_view(path)
    assert 0 < len(view.numbers) < 40
    assert abs(float(view.read(3).mean()) - 32) < 1.5
    view.close()


def test_names_of_cameras_are_found(tmp_path, rig, views):
    root = tmp_path / "views"
    assert find_views(rig.names, [str(root)]) == views
    assert find_views(rig.names, [str(root / "cam2"), f"cam0={root / 'cam1'}"]) == {
        "cam2": views["cam2"],
        "cam0": views["cam1"],
    }
    shutil.move(root / "cam1", root / "1")
    assert find_views(rig.names, [str(root)])["cam1"] == root / "1"


@pytest.mark.parametrize(
    ("files", "cameras"),
    [
        ("handpose3d_cam0.mp4 handpose3d_cam1.mp4", "cam0 cam1"),
        ("Camera_000_synchronized.mp4 Camera_001_synchronized.mp4 notes.txt", "cam_0 cam_1"),
        ("hands_left.mp4 hands_right.mp4", "left right"),
        ("cam0.mp4 cam0_drawn.mp4 cam0.csv cam1.mp4 cam1_drawn.mp4 cam1.csv", "cam0 cam1"),
    ],
)
def test_files_may_name_their_camera_in_a_longer_name(tmp_path, files, cameras):
    for file in files.split():
        (tmp_path / file).touch()
    cameras = cameras.split()
    found = find_views([*cameras, "cam_7"], [str(tmp_path)])
    assert list(found) == cameras
    assert [path.name for path in found.values()] == [
        part for part in files.split() if "mp4" in part and "dr" not in part
    ]
    assert find_views([*cameras, "cam_7"], [str(found[cameras[1]])]) == {cameras[1]: found[cameras[1]]}


@pytest.mark.parametrize(
    ("named", "message"),
    [
        (["nothing=views/cam0"], "camera 'nothing' is not in the rig"),
        (["other"], "no such camera"),
        (["views", "cam0=views/cam1"], "camera cam0 has two views"),
    ],
)
def test_unknown_names_are_refused(tmp_path, rig, views, monkeypatch, named, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    with pytest.raises(InputError, match=message):
        find_views(rig.names, named)


def spoil_number(path):
    for file in path.iterdir():
        file.rename(file.with_name(file.name.replace("image", "image9")))


def spoil_size(path):
    for file in path.iterdir():
        cv2.imwrite(str(file), np.zeros((20, 30, 3), np.uint8))


def spoil_all(path):
    for file in path.iterdir():
        file.write_bytes(file.read_bytes()[:100])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: shutil.rmtree(path), "no such file or folder"),
        (lambda path: [file.unlink() for file in path.iterdir()], "has no images"),
        (spoil_number, "share no frame set"),
        (spoil_size, "30 x 20 pixels .* camera has 640 x 480"),
        (spoil_all, "view cam2: .*cut short"),
    ],
)
def test_views_that_do_not_fit_are_refused(tmp_path, rig, views, spoil, message):
    spoil(views["cam2"])
    with pytest.raises(InputError, match=message) as caught:
        create_project(tmp_path / "project", rig, views)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "project").exists()


def test_a_corrupt_video_is_refused(tmp_path, rig, views):
    (tmp_path / "broken.mp4").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(range(256)) * 40)
    with pytest.raises(InputError, match=r"view cam0: .*broken\.mp4"):
        create_project(tmp_path / "project", rig, views | {"cam0": tmp_path / "broken.mp4"})


def test_a_project_is_not_made_twice_nor_where_nothing_can_be_written(tmp_path, rig, views):
    create_project(tmp_path / "project", rig, views).close()
    with pytest.raises(InputError, match="already contains a project"):
        create_project(tmp_path / "project", rig, views)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be created"):
        create_project(tmp_path / "file" / "project", rig, views)


@pytest.mark.parametrize("name", ["cameras.json", "frame_sets.json"])
def test_a_project_replaces_and_reads_no_file_that_is_not_its_own(tmp_path, rig, views, name):
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / name).write_text("precious")
    with pytest.raises(InputError, match=f"{name} exists, and a project writes its own: choose another"):
        create_project(tmp_path / "project", rig, views)
    assert [file.read_text() for file in (tmp_path / "project").iterdir()] == ["precious"]


def change(path, **members):
    path.write_text(json.dumps(json.loads(path.read_text()) | members))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda p: change(p / "project.json", version=2), "newer Sonjit"),
        (lambda p: change(p / "project.json", views=[1]), "damaged"),
        (lambda p: change(p / "project.json", views={"cam0": "gone", "cam1": "gone"}), "no such file or folder"),
        (lambda p: change(p / "project.json", views={"cam9": "../views/cam0"}), "camera 'cam9' is not in the rig"),
        (lambda p: (p / "project.json").unlink(), "is not an annotation project"),
        (lambda p: (p / "cameras.json").unlink(), r"cameras\.json"),
    ],
)
def test_a_project_that_cannot_be_opened_gives_the_reason(tmp_path, spoil, message):
    make_project(tmp_path, cameras=3)[0].close()
    spoil(tmp_path / "project")
    with pytest.raises(InputError, match=message) as caught:
        open_project(tmp_path / "project")
    assert "\n" not in str(caught.value)
