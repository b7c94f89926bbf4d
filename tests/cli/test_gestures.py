"""`sonjit gestures`: recordings are stored, trained and distinguished."""

import numpy as np
import pytest

from sonjit import create_detector
from sonjit._util.errors import InputError
from sonjit.gestures import GestureRecording, LearnedGestures, custom
from sonjit.media import Header, load_frames, open_writer
from sonjit.results import Frame, Hand


@pytest.fixture
def recordings(tmp_path):
    """Return a folder with two recordings for each of two gestures, from random points."""
    folder = tmp_path / "mine"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in ("claw", "beak"):
        base = rng.normal(size=(2, 21, 3))
        for number in (1, 2):
            points = (base + rng.normal(scale=0.01, size=(6, 2, 21, 3))).astype(np.float16)
            GestureRecording(name, points).save(folder / f"{name}-{number}.npz")
    return folder


def test_recordings_are_trained_tested_and_listed(sonjit, recordings, tmp_path):
    out = tmp_path / "mine.npz"
    assert sonjit("gestures", "train", recordings, "--out", out)[::2] == (0, [])
    few = GestureRecording("beak", np.random.default_rng(1).normal(size=(1, 2, 21, 3)).astype(np.float16))
    (tmp_path / "few").mkdir()
    few.save(tmp_path / "few" / "beak-1.npz")
    messages = sonjit("gestures", "train", tmp_path / "few", "--out", tmp_path / "few.npz")[2]
    assert messages == ["sonjit: beak: 1 hand may not be enough. Record 20"]
    assert sonjit("gestures", "list", out)[1].split() == ["beak", "claw"]
    assert "claw: 12 hands in 2 recordings" in sonjit("gestures", "list", recordings)[1]
    assert "right: 24 of 24 (100.0%)" in sonjit("gestures", "test", recordings)[1]
    assert "Thumb_Up" in sonjit("gestures", "list")[1].split()


def test_no_trained_file_replaces_a_recording_or_joins_the_recordings(sonjit, recordings, tmp_path):
    before = {file: file.read_bytes() for file in recordings.iterdir()}
    (tmp_path / "link.npz").symlink_to(recordings / "claw-1.npz")
    (tmp_path / "link").symlink_to(recordings)
    for out in (recordings / "claw-1.npz", recordings / "new.npz", tmp_path / "link.npz", tmp_path / "link" / "a.npz"):
        code, _, (line,) = sonjit("gestures", "train", recordings, "--out", out)
        assert (code, "contains only recordings" in line) == (2, True)
    assert {file: file.read_bytes() for file in recordings.iterdir()} == before


@pytest.mark.slow
def test_hands_of_an_image_are_recorded_and_those_of_a_video_exported(sonjit, photo, write_video, weights, tmp_path):
    import cv2

    image, folder = tmp_path / "photos" / "wave" / "photo.png", tmp_path / "mine"
    image.parent.mkdir(parents=True)
    cv2.imwrite(str(image), photo[..., ::-1])
    record = "gestures", "record", "wave"
    other = tmp_path / "other.png"
    other.write_bytes(image.read_bytes())
    assert sonjit(*record, image, other, "--to", folder)[1].startswith("2 hands of wave")
    assert "Use sonjit gestures record-folders" in sonjit(*record, tmp_path / "photos", "--to", folder)[2][0]
    assert "--source requires an argument" in sonjit(*record, "--to", folder)[2][0]
    code, out, _ = sonjit("gestures", "record-folders", tmp_path / "photos", "--to", folder)
    assert code == 0, out
    assert sorted(file.name for file in folder.iterdir()) == ["wave-1.npz", "wave-2.npz"]
    assert custom.load_recording(folder / "wave-1.npz").name == "wave"
    assert sonjit("gestures", "train", folder, "--out", tmp_path / "mine.npz")[0] == 0
    code, shown, _ = sonjit("hands", image, "--gestures", tmp_path / "mine.npz")
    assert code == 0
    assert "wave" in shown.split()
    assert "curl" not in shown
    video = write_video(tmp_path / "clip.mp4", [photo] * 8, fps=25)
    code, out, _ = sonjit("gestures", "export", video, "--gestures", tmp_path / "mine.npz", "--out", tmp_path / "c.csv")
    assert code == 0, out
    assert ",wave," in (tmp_path / "c.csv").read_text()


def test_gestures_are_for_what_has_hands(sonjit, recordings):
    LearnedGestures.learn([custom.load_recording(recordings / "claw-1.npz")]).save(recordings / "mine.npz")
    with pytest.raises(InputError, match=r"mine\.npz'\): face has no option gestures"):
        create_detector("face", gestures=recordings / "mine.npz")
    code, _, err = sonjit("face", "photo.png", "--gestures", recordings / "mine.npz")
    assert (code, len(err)) == (2, 1)
    assert "--gestures" in err[0]


@pytest.fixture
def waved(tmp_path):
    """Return a table of a clip in which a hand moves up and down three times and rests after each movement."""
    rng, hand = np.random.default_rng(0), np.random.default_rng(1).normal(size=(21, 3)) * 40
    way = [*np.linspace(0, -300, 10), *np.linspace(-300, 0, 10), *[0] * 15]
    heights = [*[0] * 15, *way, *way, *way]
    with open_writer(tmp_path / "clip.json", Header("clip.mp4", 640, 480, 30.0, "hands-full")) as writer:
        for index, height in enumerate(heights):
            points = (hand + rng.normal(size=(21, 3)) + np.array([320, 300 + height, 0])).astype(np.float32)
            writer.write(Frame(index, index / 30, [Hand("Right", 1.0, points, points / 1000, id=0)]))
    return tmp_path / "clip.json"


def test_a_table_of_another_clock_than_the_video_is_refused_for_a_player(sonjit, tmp_path):
    table = tmp_path / "a.jsonl"
    notes = ["a.mp4: read at 120 frames per second, from 2 s"]
    with open_writer(table, Header("a.mp4", 64, 48, 120.0, "full", notes=notes)) as writer:
        writer.write(Frame(0, 0.0))
    code, _, err = sonjit("gestures", "export", table, "--out", tmp_path / "a.eaf")
    assert code == 2
    assert "other times than the video, because of --fps" in err[0]
    assert sonjit("gestures", "export", table, "--out", tmp_path / "a.csv")[0] == 0


def test_motions_are_recorded_trained_tested_and_exported(sonjit, waved, tmp_path, monkeypatch):
    monkeypatch.setattr("sonjit.cli.gestures.track", lambda source, kind: iter(load_frames(source)[1]))
    folder, mine = tmp_path / "mine", tmp_path / "mine.npz"
    for _ in range(2):
        code, out, _ = sonjit("gestures", "record", "beckon", waved, "--to", folder, "--moving")
        assert (code, out.split()[:2]) == (0, ["3", "motions"])
    assert "beckon: 6 motions in 2 recordings" in sonjit("gestures", "list", folder)[1]
    assert "right: 6 of 6 (100.0%)" in sonjit("gestures", "test", folder)[1]
    assert sonjit("gestures", "train", folder, "--out", mine)[0] == 0
    assert sonjit("gestures", "list", mine)[1].split() == ["beckon"]
    for ending in ("csv", "eaf"):
        code, out, _ = sonjit("gestures", "export", waved, "--gestures", mine, "--out", tmp_path / f"clip.{ending}")
        assert (code, out.split()[:2]) == (0, ["3", "segments"])
        assert (tmp_path / f"clip.{ending}").read_text().count("beckon") == 3
    assert 'MEDIA_URL="clip.mp4"' in (tmp_path / "clip.eaf").read_text()
    code, out, _ = sonjit("gestures", "export", waved, "--out", tmp_path / "clip.pose")
    assert (code, out.split()[:2]) == (0, ["120", "frames"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("record", "a/b", "x.jpg", "--to", "mine"), "name a gesture by 1 to 40 letters"),
        (("record", "None", "x.jpg", "--to", "mine"), "None means that a hand makes no gesture"),
        (("record", "Clap", "x.jpg", "--to", "mine"), "Clap is already a motion"),
        (("record-folders", ".", "--to", "mine"), "name a folder with a folder of images per gesture"),
        (("record", "a", "x.jpg", "--to", "mine", "--samples", "0"), "for --samples. Must be >= 1"),
        (("train", "nothing", "--out", "x.npz"), "nothing: no recordings"),
        (("export", "x.mp4", "--out", "x.txt"), "unknown ending '.txt'. Choose from .csv, .eaf, .pose"),
        (("export", "x.mp4", "--out", "x.pose", "--gestures", "x.npz"), "--gestures does not apply to .pose"),
        (("export", "x.csv", "--out", "x.pose"), "x.csv does not contain the size of the video"),
        (("list", __file__), "test_gestures.py is damaged or no .npz file of plain arrays (it has another format"),
        (("list", "nothing.npz"), "nothing.npz cannot be read: No such file"),
    ],
)
def test_impossible_requests_are_refused_in_one_line(sonjit, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = sonjit("gestures", *arguments)
    assert code
    assert len(err) == 1
    assert message in err[0]
