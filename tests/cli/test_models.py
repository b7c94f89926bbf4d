import json
import zipfile

import pytest

from sonjit.weights import load_catalog


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    monkeypatch.setenv("SONJIT_OFFLINE", "1")
    return tmp_path


@pytest.fixture
def damaged(home):
    """Return a file of the right size with wrong content."""
    weight = load_catalog()["hand-recrop"]
    (home / "models").mkdir()
    (home / "models" / weight.file).write_bytes(bytes(weight.bytes))
    return weight


def test_list_as_json(sonjit, damaged, home):
    records = {record["name"]: record for record in json.loads(sonjit("models", "list", "--json")[1])}
    assert list(records) == list(load_catalog())
    assert (records["hand-recrop"]["cached"], records["hand-full"]["cached"]) == (True, False)
    assert records["hand-full"]["path"] == str(home / "models" / "hand_landmark_full.tflite")
    assert records["palm-lite"]["sources"][1]["registry"] == "npm"


def test_path_prints_the_folder_or_the_file_and_nothing_else(sonjit, damaged, home):
    assert sonjit("models", "path")[1] == f"{home / 'models'}\n"
    assert sonjit("models", "path", "hand-recrop")[1] == f"{home / 'models' / damaged.file}\n"


def test_verify_names_the_packages_to_pull_again(sonjit, damaged):
    status, out, lines = sonjit("models", "verify")
    assert (status, out) == (1, "")
    assert "hand_recrop.tflite is damaged: its sha256 is" in lines[0]
    assert lines[-1] == "run: sonjit models pull hand-recrop"


def test_verify_of_an_empty_cache_is_well_unless_a_name_is_given(sonjit):
    assert sonjit("models", "verify")[:2] == (0, "0 files checked, all intact\n")
    assert sonjit("models", "verify", "hands")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("path hand-full", ["run: sonjit models pull hand-full"]),
        ("pull", ["lacks palm_detection_lite.tflite, palm_", "hand_landmark_full"]),  # the hands
        ("pull mask-rcnn", ["the weights of mask-rcnn cannot be fetched: sonjit networks lists their source"]),
        ("pull nope", ["Unknown weight 'nope'. Choose from palm-lite"]),
        ("add", ["name a .task file"]),
    ],
)
def test_an_impossible_call_is_one_line(sonjit, arguments, words):
    status, _, (line,) = sonjit("models", *arguments.split())
    assert status in (1, 2)
    assert all(word in line for word in words)


@pytest.mark.nightly
@pytest.mark.usefixtures("registry")
def test_pull_really_fetches_and_prints_the_paths(sonjit, monkeypatch):
    monkeypatch.delenv("SONJIT_OFFLINE")
    names = ("hand-rig-left", "hand-recrop")
    _, out, lines = sonjit("models", "pull", *names)
    assert [line.rpartition("/")[2] for line in out.splitlines()] == ["hand_rig_left.glb", "hand_recrop.tflite"]
    assert any("downloading mediapipe 0.10.21" in line for line in lines)
    assert sonjit("models", "verify", *names)[0] == 0


def test_a_bundle_is_added_and_listed_with_what_it_holds(sonjit, home, tmp_path):
    path = tmp_path / "any.task"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("pose_detector.tflite", b"\0\0\0\0TFL3people")
        file.writestr("pose_landmarks_detector.tflite", b"\0\0\0\0TFL3points")
    there = home / "models" / "pose_landmarker.task"
    networks = "pose_detector.tflite, pose_landmarks_detector.tflite"
    assert sonjit("models", "add", path)[1] == f"{there}: pose_landmarker with {networks}\n"
    assert networks in sonjit("models", "list")[1].splitlines()[-1]
    record = json.loads(sonjit("models", "list", "--json")[1])[-1]
    assert record["path"] == str(there)
    assert record["members"] == {"pose_detector.tflite": 14, "pose_landmarks_detector.tflite": 14}
