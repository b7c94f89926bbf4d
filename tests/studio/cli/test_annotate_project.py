import json

import pytest

from sonjit.cli import main
from sonjit.studio.annotation.marks import Mark
from sonjit.studio.annotation.project import open_project
from sonjit.studio.cameras.files import save_cameras

from ..projects import hands, write_views  # noqa: TID252  # one maker of projects for all packages
from ..rigs import random_rig  # noqa: TID252


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """Return the working folder, which contains `rig.json` and `views/`."""
    monkeypatch.chdir(tmp_path)
    rig = random_rig(3)
    save_cameras(rig, tmp_path / "rig.json")
    write_views(tmp_path / "views", rig, hands(2))
    return tmp_path


def test_a_project_is_created_and_described(recorded, capsys):
    (recorded / "views" / "cam2" / "image10.png").unlink()
    assert main(["annotate", "new", "desk", "--cameras", "rig.json", "--views", "views"]) == 0
    output = capsys.readouterr().err
    assert "3 of 3 cameras, 2 frame sets" in output
    assert "view cam2 lacks 1 of them: 10" in output
    project = open_project(recorded / "desk")
    assert project.name == "desk"
    project.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--views", "views", "--cameras", "none.json"], "none.json"),
        (["--views", "cam9=views/cam0", "--cameras", "rig.json"], "camera 'cam9' is not in the rig"),
        (["--views", "views/cam0", "--cameras", "rig.json"], "at least two"),
        (["--views", "views", "--cameras", "rig.json", "--name", " "], "project name"),
    ],
)
def test_wrong_calls_are_one_line(recorded, capsys, arguments, message):
    assert main(["annotate", "new", "desk", *arguments]) == 2
    output = capsys.readouterr().err
    assert output.count("\n") == 1
    assert message in output
    assert not (recorded / "desk").exists()


@pytest.mark.parametrize("verb", ["open", "agreement"])
def test_invalid_project_is_refused(recorded, capsys, verb):
    assert main(["annotate", verb, "views"]) == 2
    assert "is not an annotation project" in capsys.readouterr().err


def test_agreement_is_printed(recorded, capsys):
    main(["annotate", "new", "desk", "--cameras", "rig.json", "--views", "views"])
    project = open_project(recorded / "desk")
    for name, x in (("Ann", 10.0), ("Ben", 13.0)):
        project.store.add([Mark(name, 0, "cam0", 8, name, "seen", x, 20.0)])
    project.close()
    capsys.readouterr()
    assert main(["annotate", "agreement", "desk", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["annotators"]["Ann | Ben"]["mean_px"] == 3
    assert main(["annotate", "agreement", "desk"]) == 0
    table = capsys.readouterr().out
    assert "right_index_finger_tip" in table
    assert "3.00" in table
