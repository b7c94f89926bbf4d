import pytest

from sonjit.cli import main
from sonjit.media import load_frames, open_source

pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def demo(tmp_path_factory, weights):
    """Return the folder that one run of the demo has written."""
    folder = tmp_path_factory.mktemp("demo") / "new" / "folder"
    assert main(["demo", "--out", str(folder)]) == 0
    return folder


def test_it_writes_a_table_twice_and_a_video(demo, demo_clip):
    assert sorted(path.name for path in demo.iterdir()) == ["hands.csv", "hands.json", "hands.mp4"]
    count = len(demo_clip[1])
    frames = load_frames(demo / "hands.json")[1]
    assert [frame.index for frame in frames] == list(range(count))
    assert len(load_frames(demo / "hands.csv")[1]) == count
    with open_source(demo / "hands.mp4") as source:
        assert source.count == count


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
