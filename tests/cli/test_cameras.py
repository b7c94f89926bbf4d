"""A camera that is unplugged, or a video that is cut, ends a command in one line, and its results are kept."""

import cv2
import numpy as np
import pytest

from sonjit.media import load_frames


@pytest.fixture
def _unplugged(monkeypatch):
    """A camera that gives no more images after a few."""

    class Camera:
        left = 5

        def __init__(self, _number):
            pass

        def isOpened(self):  # noqa: N802
            return True

        def get(self, _key):
            return 0

        def read(self):
            self.left -= 1
            return (True, np.full((48, 64, 3), 90, np.uint8)) if self.left >= 0 else (False, None)

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoCapture", Camera)


@pytest.mark.slow
@pytest.mark.usefixtures("_unplugged", "weights")
def test_an_unplugged_camera_leaves_its_table(sonjit, out):
    status, _, lines = sonjit("hands", "camera:0", "--save", out / "t.jsonl", "--draw", out / "d.mp4")
    assert status == 1
    assert any("camera:0 ended after" in line for line in lines)
    assert load_frames(out / "t.jsonl")[1]
    assert (out / "d.mp4").stat().st_size > 0


@pytest.mark.slow
@pytest.mark.usefixtures("_unplugged", "weights")
@pytest.mark.parametrize(
    "command",
    ["motions camera:0", f"motions camera:0 --limit {10**20}", "stream camera:0 --to osc://127.0.0.1:9 --model lite"],
)
def test_an_unplugged_camera_ends_live_commands_in_one_line(sonjit, command):
    status, _, lines = sonjit(*command.split())
    assert status == 1
    assert len(lines) == 2
    assert lines[0].startswith("sonjit: camera:0 ended after")


@pytest.mark.slow
@pytest.mark.usefixtures("weights")
def test_a_cut_video_is_one_line_of_motions(sonjit, media, tmp_path):
    whole = (media / "clip.mp4").read_bytes()
    (cut := tmp_path / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    status, _, lines = sonjit("motions", cut)
    assert status != 0
    assert all(line.startswith("sonjit: ") or "motions in" in line for line in lines)
