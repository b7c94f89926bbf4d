"""The program that stresses Sonjit generates its files, and finds no errors in a short run."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

TOOL = Path(__file__).parents[1] / "tools" / "torture"
CHEAP = ("images", "pickles", "matlab", "sqlite", "protocols", "recipes")


@pytest.mark.slow
def test_each_kind_of_damaged_file_is_tried():
    done = subprocess.run(
        [sys.executable, str(TOOL), "--tries", "2", "--only", *CHEAP], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("2 tried, 0 failures")) == (0, len(CHEAP)), done.stderr
