import errno
import os
import signal
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sonjit._util import data_files, errors
from sonjit._util.files import (
    atomic_file,
    atomic_folder,
    folded_name,
    free_name,
    sole_writer,
    write_bytes,
)
from sonjit.gestures.control import load_map
from sonjit.media import load_frames


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def half(file, error):
    file.write_text("half")
    raise error


def test_a_file_takes_its_name_when_it_is_complete(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with atomic_file(file) as draft:
        draft.write_text("new")
        assert draft.suffix == ".txt"
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    ("read", "name"),
    [(load_map, "map.toml"), (load_frames, "table.json"),
     (load_frames, "table.jsonl"), (data_files.read_json, "labels.json")],
)  # fmt: skip
def test_what_nests_without_end_is_refused_in_a_line_that_names_it(tmp_path, read, name):
    file = tmp_path / name
    file.write_text("a = " * (file.suffix == ".toml") + "[" * 100_000)
    with pytest.raises(errors.InputError, match=name):
        read(file)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_stopped_file_leaves_the_old_one(tmp_path, error):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(error), atomic_file(file) as draft:
        half(draft, error)
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_the_disk_refuses_names_the_file(tmp_path):
    with pytest.raises(errors.JobError, match=r"a\.txt failed: No space left"), atomic_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_missing_folder_is_created_and_an_invalid_one_is_reported_before_the_work(tmp_path):
    with atomic_file(tmp_path / "new" / "deep" / "a.txt") as draft:
        draft.write_text("a")
    assert (tmp_path / "new/deep/a.txt").read_text() == "a"
    with pytest.raises(errors.InputError, match="cannot be written: "), atomic_file(tmp_path / "new/deep/a.txt/b.txt"):
        pytest.fail("the block ran")
    with pytest.raises(errors.InputError, match="is a folder"), atomic_file(tmp_path):
        pytest.fail("the block ran")


KILLED = """
import os, signal, sys
from pathlib import Path
from sonjit._util.files import Draft, WorkFolder
out = Path(sys.argv[1])
drafts = [Draft(out / "a.txt"), Draft(out / "b", folder=True)]
drafts[0].path.write_text("half")
(drafts[1].path / "c.txt").write_text("half")
folder = WorkFolder()
print("ready", flush=True)
sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""
WRITER = """
import sys
from pathlib import Path
from sonjit._util.files import WorkFolder, write_text
write_text(Path(sys.argv[1]) / "d.txt", "whole")
WorkFolder().cleanup()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal, and keeps drafts that are open")
@pytest.mark.slow
def test_drafts_and_work_folders_are_removed_only_after_their_process_has_ended(tmp_path):
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    out.mkdir()
    temporary.mkdir()
    environment = os.environ | {"TMPDIR": str(temporary)}
    (out / ".mine.part.txt").write_text("no draft of Sonjit's")
    killed = subprocess.Popen(
        [sys.executable, "-c", KILLED, out], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    )
    with killed:
        assert killed.stdout.readline() == b"ready\n"
        subprocess.run([sys.executable, "-c", WRITER, out], check=True, env=environment)
        assert len(names(out)) == 4
        assert len(names(temporary)) == 1
        killed.communicate(b"\n")
    assert killed.returncode == -signal.SIGKILL
    assert len(names(out)) == 4
    subprocess.run([sys.executable, "-c", WRITER, out], check=True, env=environment)
    assert names(out) == [".mine.part.txt", "d.txt"]
    assert names(temporary) == []


WAITER = """
import logging, sys
from pathlib import Path
from sonjit._util.files import sole_writer
logging.basicConfig(format="%(message)s")
with sole_writer(Path(sys.argv[1])):
    print("alone", flush=True)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="folders have no locks there")
@pytest.mark.slow
def test_two_runs_write_into_a_folder_one_after_the_other(tmp_path):
    with sole_writer(tmp_path / "out"):
        (tmp_path / "out" / "a").write_text("first")
        command = [sys.executable, "-c", WAITER, tmp_path / "out"]
        second = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert second.stderr.readline().endswith(b"out: in use by another run; waiting\n")
        assert second.poll() is None
    assert second.communicate(timeout=60)[0] == b"alone\n"
    with sole_writer(tmp_path / "never"):
        pass
    assert names(tmp_path) == ["out"]


def test_a_link_is_followed(tmp_path):
    (tmp_path / "b").symlink_to(tmp_path / "a")
    write_bytes(tmp_path / "b", b"new")
    assert (tmp_path / "b").is_symlink()
    assert (tmp_path / "a").read_bytes() == b"new"


def test_files_join_a_folder_when_all_are_written(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    (folder / "one").write_text("old")
    with pytest.raises(ValueError, match="stop"), atomic_folder(folder) as draft:
        half(draft / "one", ValueError("stop"))
    assert (folder / "one").read_text() == "old"
    with atomic_folder(folder) as draft:
        (draft / "one").write_text("new")
    assert (folder / "one").read_text() == "new"
    assert names(folder) == ["kept", "one"]
    assert names(tmp_path) == ["out"]


@given(st.lists(st.sampled_from(["a.png", "A.PNG", "a_2.png", "b", "é.jpg", "e\u0301.jpg", "한.jpg"]), max_size=12))
def test_no_two_files_share_a_name_whatever_the_case_and_form(wanted):
    taken = set()
    free = [free_name(name, taken) for name in wanted]
    assert len({folded_name(name) for name in free}) == len(wanted)
    assert all(one.startswith(name.partition(".")[0]) for one, name in zip(free, wanted, strict=True))
