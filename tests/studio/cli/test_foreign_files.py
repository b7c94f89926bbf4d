"""Commands of the studio keep every file that Sonjit did not create, in each folder that they write to."""

import json

import pytest

from sonjit.studio.cameras.files import save_cameras

from ..projects import hands, write_views  # noqa: TID252  # one maker of projects for all packages
from ..rigs import random_rig  # noqa: TID252

CARD = """
title = "Hands"
licence = "CC0"
consent = "yes"
contact = "somebody"
[captures.desk]
subject = "s1"
sequences = [{name = "0001_fist", type = "PP", first = 0, last = 1}]
"""


@pytest.fixture
def recorded(planted, monkeypatch):
    """Return the working folder with `rig.json`, `views/`, `card.toml` and files that Sonjit did not create."""
    folder, changed = planted
    monkeypatch.chdir(folder)
    rig = random_rig(3)
    save_cameras(rig, folder / "rig.json")
    write_views(folder / "views", rig, hands(2))
    (folder / "card.toml").write_text(CARD, "utf-8")
    return folder, changed


@pytest.mark.slow
@pytest.mark.usefixtures("weights")
def test_foreign_files_stay_next_to_a_project(sonjit, recorded):
    folder, changed = recorded
    project = folder / "desk"
    new = ["annotate", "new", project, "--cameras", folder / "rig.json", "--views", folder / "views"]
    assert sonjit(*new)[0] == 0
    assert changed() == []
    for name in ("notes.txt", "runs/notes.txt", "release/notes.txt"):
        (project / name).parent.mkdir(exist_ok=True)
        (project / name).write_text("precious", "utf-8")
    for command in (
        ["annotate", "auto", project, "--model", "lite"],
        ["annotate", "auto", project, "--model", "full"],
        ["annotate", "rank", project],
        ["annotate", "release", project, project / "release", "--card", folder / "card.toml"],
        ["annotate", "release", project, folder, "--card", folder / "card.toml"],
        ["annotate", "release", project, folder / "released", "--card", folder / "card.toml"],
        ["annotate", "train", project],
    ):
        status, _, errors = sonjit(*command)
        assert status == 0 or errors, "a refusal is explained"
        assert changed() == []
        for name in ("notes.txt", "runs/notes.txt", "release/notes.txt"):
            assert (project / name).read_text("utf-8") == "precious"


@pytest.mark.slow
@pytest.mark.usefixtures("weights")
def test_foreign_files_stay_in_folders_of_views_and_tables(sonjit, recorded):
    folder, changed = recorded
    tables = folder / "input"
    for view in ("cam0", "cam1", "cam2"):
        assert sonjit("hands", folder / "views" / view, "--search", "fast", "--save", tables / f"{view}.json")[0] == 0
    for command in (
        ["annotate", "new", folder, "--cameras", folder / "rig.json", "--views", folder / "views"],
        ["annotate", "new", folder / "thesis", "--cameras", folder / "rig.json", "--views", folder / "views"],
        ["annotate", "sync", folder / "views", "--by", "index", "--out", folder / "sync.json"],
        ["annotate", "triangulate", folder / "rig.json", *sorted(tables.glob("cam*.json")), "--out", folder / "p.json"],
        ["annotate", "triangulate", folder / "rig.json", tables, "--out", folder / "q.json"],
        ["annotate", "export", folder / "p.json", "--out", folder / "hands.csv"],
    ):
        status, _, errors = sonjit(*command)
        assert status == 0 or errors, "a refusal is explained"
        assert changed() == []
    assert json.loads((folder / "sync.json").read_text("utf-8"))
