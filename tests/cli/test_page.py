"""`sonjit page`: its output files, and one line for each error."""

import json

import pytest

from sonjit.cli import main
from sonjit.weights import find_weight


@pytest.fixture
def engine(tmp_path, weights):
    """Return a fake module with the networks of one model."""
    folder = tmp_path / "engine"
    (folder / "models").mkdir(parents=True)
    (folder / "sonjit-web.js").write_text("export {};")
    for name in ("palm-lite", "hand-lite"):
        (folder / "models" / find_weight(name).name).symlink_to(find_weight(name))
    return folder


def test_the_folder_contains_all_files_of_its_index_and_the_installed_models(tmp_path, engine, capsys):
    out = tmp_path / "app"
    assert main(["page", str(out), "--engine", str(engine)]) == 0
    output = capsys.readouterr().out
    assert str(out) in output
    assert "searched fast for hands: without pose_landmark_full.tflite, " in output
    files = json.loads((out / "files.json").read_text())["files"]
    assert [name for name in files if not (out / name).exists()] == []
    kinds = json.loads((out / "kinds.json").read_text())["kinds"]
    assert {name: kind["models"] for name, kind in kinds.items()} == {"hands": ["lite"]}
    assert 'data-computes="here"' in (out / "index.html").read_text()
    assert (out / "engine/models/hand_landmark_lite.tflite").stat().st_size > 1_000_000


def test_errors_of_writing_are_one_line(tmp_path, engine, capsys):
    (tmp_path / "file").write_text("")
    empty = tmp_path / "empty"
    empty.mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "sonjit-web.js").write_text("")
    for out, place, message in (
        (engine, engine, "not empty"),
        (tmp_path / "file", engine, "file"),
        (tmp_path / "file" / "app", engine, "file"),
        (empty, empty, "make web"),
        (empty, tmp_path / "bare", "no networks"),
    ):
        assert main(["page", str(out), "--engine", str(place)]) == 2
        complaint = capsys.readouterr().err
        assert message in complaint
        assert complaint.count("\n") == 1
    assert list(empty.iterdir()) == []
