"""`sonjit annotate auto`, `train` and `rank` on a small project."""

import pytest

from sonjit.cli import main

from .annotated import FRAMES, people_mark

pytestmark = pytest.mark.slow


def test_hands_are_labelled_learned_from_and_ranked(made, capsys):
    project, joints, _ = made
    call = ["annotate", "auto", str(project.folder), "--fps", "1"]
    assert main(call) == 0
    assert f"{FRAMES} frame sets: {FRAMES * 42} of {FRAMES * 42} joints labelled (100.0 %)" in capsys.readouterr().err
    people_mark(project, joints, range(6))
    assert main(["annotate", "train", str(project.folder)]) == 0
    assert "learned where people put joints, from 6 frame sets" in capsys.readouterr().err
    assert main(call) == 0
    assert f"{FRAMES} frame sets, {FRAMES} from before" in capsys.readouterr().err
    assert main(["annotate", "rank", str(project.folder), "--count", "0"]) == 2
    assert main(["annotate", "rank", str(project.folder), "--count", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3


def test_problems_are_reported_and_are_the_exit_status(made, capsys):
    project, _, _ = made
    (project.view("cam1").path / "7.png").write_bytes(b"no image")
    assert main(["annotate", "auto", str(project.folder), "--fps", "1"]) == 1
    assert "7.png" in capsys.readouterr().err


def test_a_network_is_trained_with_the_settings_that_were_given(made, capsys, monkeypatch):
    """Check the settings; tests of recipes cover the training."""
    project, joints, _ = made
    main(["annotate", "auto", str(project.folder), "--fps", "1"])
    people_mark(project, joints, range(6))
    calls = []

    def train(opened, recipe, settings, *, device, progress):
        calls.append((opened.folder, recipe, settings, device))
        return project.folder / "trained", {"weights": "net.safetensors"}

    monkeypatch.setattr("sonjit.studio.cli.annotate.train_network", train)
    call = ["annotate", "train", str(project.folder), "--network", "hand-full", "--steps", "2", "--set", "batch=3"]
    assert main(call) == 0
    assert calls == [(project.folder, "hand-full", {"steps": "2", "batch": "3"}, "cpu")]
    out, err = capsys.readouterr()
    assert "net.safetensors" in out
    assert f"sonjit annotate auto {project.folder} --network {project.folder / 'trained'}" in err
