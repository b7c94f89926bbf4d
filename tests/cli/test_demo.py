import shutil

import pytest

from sonjit import create_detector, track
from sonjit.cli import find, main
from sonjit.media import load_frames, open_source

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def demo(tmp_path_factory, weights, reader_files):
    """Return the folder that one run of the demo has written, for the first frames of its clip."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    shutil.copy(reader_files / "short.mp4", folder.parents[1] / "demo.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(find, "ASSETS", folder.parents[1])
        assert main(["demo", "--out", str(folder)]) == 0
    return folder


def test_it_writes_a_table_twice_and_a_video(demo):
    assert sorted(path.name for path in demo.iterdir()) == ["hands.csv", "hands.json", "hands.mp4"]
    count = 8
    frames = load_frames(demo / "hands.json")[1]
    assert [frame.index for frame in frames] == list(range(count))
    assert len(load_frames(demo / "hands.csv")[1]) == count
    with open_source(demo / "hands.mp4") as source:
        assert source.count == count


def test_the_bundled_files_are_copied_and_show_a_person(sonjit, tmp_path, weights):
    assert sonjit("demo", "--copy", tmp_path / "new")[0] == 0
    folder = tmp_path / "new"
    assert sorted(path.name for path in folder.iterdir()) == ["clip.mp4", "photo.jpg", "squats.mp4"]
    assert (folder / "photo.jpg").stat().st_size < 60_000
    assert (folder / "squats.mp4").stat().st_size < 400_000
    for kind, count in (("body", 1), ("face", 1), ("hands", 2)):
        with create_detector(kind, static_image=True) as detector:
            found = detector.detect(folder / "photo.jpg")
        assert len(found) == count
        assert min(one.score for one in found) > 0.7
    frames = list(track(folder / "squats.mp4", "body", count="left_knee_angle_rad"))
    assert min(body.score for frame in frames for body in frame.bodies) > 0.7
    assert [event.type for frame in frames for event in frame.events] == ["repetition", "repetition"]


def test_copied_files_replace_no_other_files(sonjit, tmp_path):
    (tmp_path / "squats.mp4").write_bytes(b"mine")
    status, out, (line,) = sonjit("demo", "--copy", tmp_path)
    assert (status, out, "is another file" in line) == (2, "", True)
    assert [path.name for path in tmp_path.iterdir()] == ["squats.mp4"]
    assert (tmp_path / "squats.mp4").read_bytes() == b"mine"
    assert sonjit("demo", "--copy", tmp_path / "again")[0] == 0
    assert sonjit("demo", "--copy", tmp_path / "again")[0] == 0
    status, _, (line,) = sonjit("demo", "--copy", tmp_path / "again", "--out", tmp_path)
    assert (status, "--out has no effect" in line) == (2, True)


def test_a_folder_that_cannot_be_made_is_one_line(sonjit, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    status, out, (line,) = sonjit("demo", "--out", tmp_path / "file" / "folder")
    assert (status, out, line.startswith("sonjit: ")) == (2, "", True)
    assert "choose another folder with --out" in line


def test_without_weights_it_names_the_command(sonjit, tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path / "home"))
    status, out, (line,) = sonjit("demo", "--out", tmp_path / "out")
    assert (status, out, "sonjit models pull" in line) == (2, "", True)
    assert not list((tmp_path / "out").iterdir())
