import errno

import pytest

from sonjit.errors import InputError, JobError
from sonjit.files import atomic_file, atomic_folder, write_bytes, write_text


def names(folder):
    return sorted(file.name for file in folder.iterdir())


def half(file, error):
    file.write_text("half")
    raise error


def test_a_file_takes_its_name_when_it_is_whole(tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with atomic_file(file) as draft:
        draft.write_text("new")
        assert draft.suffix == ".txt"
        assert file.read_text() == "old"
    assert file.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
@pytest.mark.parametrize("of_run", [False, True])
def test_a_stopped_file_leaves_the_old_one(tmp_path, error, of_run):
    file = tmp_path / "a.txt"
    file.write_text("old")
    with pytest.raises(error), atomic_file(file, of_run=of_run) as draft:
        half(draft, error)
    assert file.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_what_the_disk_refuses_names_the_file(tmp_path):
    with pytest.raises(JobError, match=r"a\.txt failed: No space left"), atomic_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_a_missing_folder_is_made_and_what_is_none_is_said_before_the_work(tmp_path):
    with atomic_file(tmp_path / "new" / "deep" / "a.txt") as draft:
        draft.write_text("a")
    assert (tmp_path / "new/deep/a.txt").read_text() == "a"
    with pytest.raises(InputError, match="cannot be written: "), atomic_file(tmp_path / "new/deep/a.txt/b.txt"):
        pytest.fail("the block ran")
    with pytest.raises(InputError, match="is a folder"), atomic_file(tmp_path):
        pytest.fail("the block ran")


def test_a_run_makes_its_folder_and_takes_over_the_draft_of_a_killed_one(tmp_path):
    file = tmp_path / "run" / "a.txt"
    with atomic_file(file, of_run=True) as draft:
        place = draft
    place.write_text("half of a run that was killed")
    write_text(file, "é\n", of_run=True)
    assert file.read_bytes() == b"\xc3\xa9\n"
    assert names(file.parent) == ["a.txt"]


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
