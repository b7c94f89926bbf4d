"""The notebooks in examples/ run completely, and the repository contains no outputs."""

import os
import shutil
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).parents[2] / "examples"

nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")


@pytest.fixture
def run(monkeypatch, tmp_path, weights):
    """Return a function that gives the printed and returned text of each cell, and counts pictures."""
    nbclient = pytest.importorskip("nbclient", reason="nbclient is not installed")
    pytest.importorskip("ipykernel", reason="ipykernel is not installed")
    for variable, value in {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "MPLBACKEND": "agg"}.items():
        monkeypatch.setenv(variable, value)
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")

    def call(name):
        notebook = nbformat.read(EXAMPLES / name, as_version=4)
        client = nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}})
        client.execute()
        text = ""
        for cell in notebook.cells:
            for output in cell.get("outputs", []):
                text += output.get("text", "") + str(output.get("data", {}).get("text/plain", "")) + "\n"
        return text

    return call


def test_first_steps(run):
    lines = sum(
        len(cell.source.splitlines())
        for cell in nbformat.read(EXAMPLES / "first_steps.ipynb", 4).cells
        if cell.cell_type == "code"
    )
    assert lines <= 25
    output = run("first_steps.ipynb")
    assert "Left [" in output
    assert "Right [" in output


@pytest.mark.nightly
@pytest.mark.golden
@pytest.mark.files("real/tfjs-models/pose-detection/**/*squats*.mp4")
def test_sports_video(run, file, tmp_path):
    shutil.copy(file, tmp_path / "squats.mp4")
    output = run("sports_video.ipynb")
    assert "left_knee_angle_rad" in output
    assert "{1: " in output


@pytest.mark.nightly
def test_sign_language_folder(run, reader_files, tmp_path):
    pytest.importorskip("pandas", reason="the extra pandas is not installed")
    shutil.copytree(reader_files / "recordings", tmp_path / "recordings")
    output = run("sign_language_folder.ipynb")
    assert "hands seen" in output
    assert (tmp_path / "signing.csv").is_file()


@pytest.mark.nightly
def test_finetune_keypoint(run):
    pytest.importorskip("torch", reason="the extra train is not installed")
    assert "learned [" in run("finetune_keypoint.ipynb")


@pytest.mark.nightly
def test_two_cameras_3d(run):
    pytest.importorskip("moderngl", reason="the extra synth is not installed")
    output = run("two_cameras_3d.ipynb")
    errors = [float(line.split()[1]) for line in output.splitlines() if "mm from the truth" in line]
    assert errors
    assert min(errors) < 25


@pytest.mark.nightly
def test_explain_decision(run):
    output = run("explain_decision.ipynb")
    assert "with a grey patch" in output
    assert "index_finger_tip.x" in output
