"""Runs on a Ray cluster of two local nodes write the same files as one process."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from sonjit.cli import main
from sonjit.weights.catalog import models_folder

from ..support import ray_cluster as cluster  # noqa: TID252  # one cluster for all tests

pytest.importorskip("ray", reason="needs sonjit[ray]")
psutil = pytest.importorskip("psutil")
pytestmark = [
    pytest.mark.nightly,
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Ray runs several nodes on Linux only"),
]
IMAGES = 20
IMPATIENT = "from sonjit._util import pools; from sonjit.__main__ import run; pools._CONNECT_S = 1; run()"
"""Program that waits a second for running calls after Ctrl-C, and not ten."""


@pytest.fixture(scope="module", autouse=True)
def home():
    """Return a home and temporary folder for Ray, so that tests use neither token nor records of this account."""
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp") as folder:  # paths of its sockets must be short
        cluster.ENVIRONMENT |= {"HOME": folder, "RAY_TMPDIR": folder, "SONJIT_HOME": str(models_folder().parent)}
        cluster.ENVIRONMENT.pop("RAY_ADDRESS", None)
        yield Path(folder)


@pytest.fixture(scope="module")
def head(home):
    with cluster.head() as node:
        yield node


def sum_on(workers, **environment):
    """Run calls on Ray in a process, and return its exit status and its output."""
    script = "import operator; from sonjit._util.pools import run_calls\n"
    script += f"print(sorted(run_calls(operator.add, [(1, 2), (3, 4)], workers={workers!r})))"
    command, env = [sys.executable, "-c", script], cluster.ENVIRONMENT | environment
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr


SUMS = "[(0, 3), (1, 7)]\n"


def test_without_an_address_the_run_starts_and_stops_a_cluster(home):
    other = home / "dead"  # what a cluster leaves that was killed
    (other / "ray").mkdir(parents=True)
    (other / "ray" / "ray_current_cluster").write_text("127.0.0.1:1", "utf-8")
    assert sum_on("ray", HOME=str(other), RAY_TMPDIR=str(other))[:2] == (0, SUMS)


@pytest.mark.parametrize("mode", ["token", "disabled"])
def test_clusters_with_and_without_a_token_answer_an_account_that_has_one(home, mode, monkeypatch):
    account = home / mode
    (account / ".ray").mkdir(parents=True)
    (account / ".ray" / "auth_token").write_text("0123456789abcdef0123456789abcdef", "utf-8")
    monkeypatch.setattr(
        cluster, "ENVIRONMENT", cluster.ENVIRONMENT | {"HOME": str(account), "RAY_TMPDIR": str(account)}
    )
    with monkeypatch.context() as patch:
        patch.setitem(cluster.ENVIRONMENT, "RAY_AUTH_MODE", mode)
        node = cluster.head()
    with node:
        assert sum_on(f"ray:{node.address}", RAY_AUTH_MODE=mode) == (0, SUMS, "")


@pytest.fixture(scope="module")
def stills(weights, tmp_path_factory):
    folder = tmp_path_factory.mktemp("ray") / "stills"
    cluster.write_stills(folder, IMAGES)
    return folder


@pytest.fixture(scope="module")
def local_table(stills):
    table = stills.parent / "local.csv"
    assert main(["hands", str(stills), "--save", str(table)]) == 0
    return table.read_bytes()


def test_with_a_killed_node_nothing_is_lost_and_nothing_twice(head, stills, local_table, tmp_path):
    with cluster.Node("--address", head.address) as node:
        process = cluster.start_run(stills, tmp_path / "t.csv", f"ray:{head.address}")
        cluster.wait_for_files(process, tmp_path / "t.csv", 6)
        node.kill()
        line = cluster.finish(process)
    assert line.startswith(f"{IMAGES} files, ")
    assert (tmp_path / "t.csv").read_bytes() == local_table


def test_ctrl_c_leaves_a_valid_table_and_the_next_run_continues(head, stills, local_table, tmp_path):
    table = tmp_path / "t.csv"
    process = cluster.start_run(stills, table, f"ray:{head.address}", ("-c", IMPATIENT))
    cluster.wait_for_files(process, table, 2)
    head.each_caller(psutil.Process.suspend)  # so that some files are unfinished on any machine
    process.send_signal(signal.SIGINT)
    output = process.communicate()[1]
    head.each_caller(psutil.Process.kill)
    assert (process.returncode, output) == (130, "sonjit: stopped; finished results are kept\n")
    kept = table.read_bytes()
    assert local_table.startswith(kept)
    assert 1 < kept.count(b"\n") < local_table.count(b"\n")
    line = cluster.finish(cluster.start_run(stills, table, f"ray:{head.address}"))
    assert " finished before" in line
    assert table.read_bytes() == local_table


def sonjit(*arguments, folder=None):
    command = [sys.executable, "-m", "sonjit", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, env=cluster.ENVIRONMENT, capture_output=True, text=True, check=False)


def test_relative_paths_and_a_parquet_file_for_each_input(head, stills, tmp_path, monkeypatch):
    """Check that readers open a folder of Parquet files as one data set."""
    from pyarrow import dataset

    for name in ("here", "there"):
        shutil.copytree(stills, tmp_path / name / "stills", ignore=lambda _, files: [f for f in files if f > "00004"])
    arguments = ["hands", "stills", "--save", "tables/{name}.parquet", "--draw", "drawn"]
    monkeypatch.chdir(tmp_path / "here")
    assert main(arguments) == 0
    done = sonjit(*arguments, "--workers", f"ray:{head.address}", folder=tmp_path / "there")
    assert done.returncode == 0, done.stderr
    for path in [*(tmp_path / "here").glob("tables/*.parquet"), *(tmp_path / "here").glob("drawn/*.jpg")]:
        assert (tmp_path / "there" / path.relative_to(tmp_path / "here")).read_bytes() == path.read_bytes()
    assert dataset.dataset(tmp_path / "there" / "tables").count_rows() >= 4 * 21
    again = sonjit(*arguments, "--workers", f"ray:{head.address}", folder=tmp_path / "there")
    assert ", 4 finished before" in again.stderr


def test_a_bad_address_is_one_line(stills, tmp_path):
    for address in ("127.0.0.1:1", "nobody"):
        done = sonjit("hands", stills, "--save", tmp_path / "t.csv", "--workers", f"ray:{address}")
        assert done.stderr.startswith(f"sonjit: --workers ray:{address}: ")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
