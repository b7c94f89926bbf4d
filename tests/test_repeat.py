"""The program that repeats tests finds unstable ones."""

import subprocess
import sys
from pathlib import Path

import pytest

FLAKY = """
from hypothesis import given, settings, strategies as st

order = []

def test_first(): order.append(1)
def test_second(): assert order
def test_always(): assert False

@settings(max_examples=5, database=None)
@given(st.integers(0, 2**64))
def test_drawn(number): open({draws!r}, "a").write(f"{{number}}\\n")
"""


@pytest.mark.slow
def test_a_test_that_depends_on_the_order_is_named_with_its_seeds(tmp_path):
    file = tmp_path / "test_flaky.py"
    file.write_text(FLAKY.format(draws=str(tmp_path / "draws")), "utf-8")
    tool = Path(__file__).parents[1] / "tools" / "repeat_tests.py"
    given = [tool, "--runs", "2", "--load", "1", file, "--", "-p", "no:cacheprovider", "-c", "/dev/null"]
    done = subprocess.run([sys.executable, *map(str, given)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "test_flaky.py::test_always | 2 of 2 | 1, 2 busy |" in done.stdout
    assert "test_flaky.py::test_second | 1 of 2 | " in done.stdout
    assert "test_flaky.py::test_first |" not in done.stdout
    draws = (tmp_path / "draws").read_text().splitlines()
    assert set(draws[:5]) != set(draws[5:])  # two seeds
