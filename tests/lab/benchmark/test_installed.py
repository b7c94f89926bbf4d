import json
import subprocess
import sys

import pytest

from sonjit.lab.benchmark import installed
from sonjit.lab.benchmark.installed import measure_closure


@pytest.mark.slow
def test_closure_contains_requirements_without_extras():
    closure = measure_closure("sonjit")
    assert {"sonjit", "numpy", "openvino", "rich", "cyclopts", "av"} <= set(closure["distributions"])
    assert "pytest" not in closure["distributions"]
    assert closure["bytes"] == sum(entry["bytes"] for entry in closure["distributions"].values())
    assert closure["distributions"]["sonjit"]["bytes"] > 500_000  # the package itself, even where it is editable


def test_closure_of_something_not_installed_is_empty():
    closure = measure_closure("no-such-distribution")
    assert (closure["bytes"], closure["distributions"]) == (0, {})


def test_script_needs_no_sonjit(tmp_path):
    command = [sys.executable, "-I", "-S", installed.__file__, "numpy"]
    closure = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert closure["distributions"] == {}  # -S: no site-packages in sight
