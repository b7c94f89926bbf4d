import json
import zipfile

import pytest

from sonjit._util.errors import InputError
from sonjit.cli.models import app
from sonjit.weights import load_catalog


def run(*arguments):
    return app(list(arguments), exit_on_error=False, print_error=False, result_action="return_value")


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


def test_list_as_json(capsys, damaged, home):
    run("list", "--json")
    records = {record["name"]: record for record in json.loads(capsys.readouterr().out)}
    assert list(records) == list(load_catalog())
    assert records["hand-recrop"]["cached"] is True
    assert records["hand-full"]["cached"] is False
    assert records["hand-full"]["path"] == str(home / "models" / "hand_landmark_full.tflite")
    assert records["palm-lite"]["sources"][1]["registry"] == "npm"


def test_path_prints_the_folder_or_the_file_and_nothing_else(capsys, damaged, home):
    run("path")
    run("path", "hand-recrop")
    assert capsys.readouterr().out == f"{home / 'models'}\n{home / 'models' / damaged.file}\n"
    with pytest.raises(InputError, match="run: sonjit models pull hand-full"):
        run("path", "hand-full")


def test_verify_names_the_packages_to_pull_again(capsys, damaged):
    assert run("verify") == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hand_recrop.tflite is damaged: its sha256 is" in captured.err
    assert captured.err.endswith("run: sonjit models pull hand-recrop\n")


def test_verify_of_an_empty_cache_is_well_unless_a_name_is_given(capsys):
    assert run("verify") == 0
    assert capsys.readouterr().out == "0 files checked, all intact\n"
    assert run("verify", "hands") == 1


def test_pull_without_a_name_pulls_the_hands():
    with pytest.raises(InputError, match=r"lacks palm_detection_lite.tflite, palm_.*, hand_.*, hand_landmark_full"):
        run("pull")


def test_pull_refuses_an_unknown_name():
    with pytest.raises(
        InputError, match="the weights of mask-rcnn cannot be fetched: sonjit networks lists their source"
    ):
        run("pull", "mask-rcnn")
    with pytest.raises(InputError, match=r"Unknown weight 'nope'. Choose from palm-lite"):
        run("pull", "nope")


@pytest.mark.network
def test_pull_really_fetches_and_prints_the_paths(capsys, monkeypatch):
    monkeypatch.delenv("SONJIT_OFFLINE")
    run("pull", "hand-rig-left", "hand-recrop")
    captured = capsys.readouterr()
    assert [line.rpartition("/")[2] for line in captured.out.splitlines()] == [
        "hand_rig_left.glb",
        "hand_recrop.tflite",
    ]
    assert "downloading mediapipe 0.10.21" in captured.err
    assert run("verify", "hand-rig-left", "hand-recrop") == 0


def test_a_bundle_is_added_and_listed_with_what_it_holds(capsys, home, tmp_path):
    path = tmp_path / "any.task"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("pose_detector.tflite", b"\0\0\0\0TFL3people")
        file.writestr("pose_landmarks_detector.tflite", b"\0\0\0\0TFL3points")
    run("add", str(path))
    there = home / "models" / "pose_landmarker.task"
    networks = "pose_detector.tflite, pose_landmarks_detector.tflite"
    assert capsys.readouterr().out == f"{there}: pose_landmarker with {networks}\n"
    run("list")
    assert networks in capsys.readouterr().out.splitlines()[-1]
    run("list", "--json")
    record = json.loads(capsys.readouterr().out)[-1]
    assert record["path"] == str(there)
    assert record["members"] == {"pose_detector.tflite": 14, "pose_landmarks_detector.tflite": 14}
    with pytest.raises(InputError, match=r"name a \.task file"):
        run("add")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(("--seed", "3"), "--seed requires --finetune"), (("--finetune", "-1"), "--finetune -1: must be at least 0")],
)
def test_quantize_refuses_what_has_no_effect(arguments, message):
    with pytest.raises(InputError, match=message):
        run("quantize", *arguments)
