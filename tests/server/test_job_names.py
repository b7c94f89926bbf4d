from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from sonjit.media import natural_key
from sonjit.server.job_files import free_name, split_name

anything = st.text() | st.text("./\\:ab \0\n", max_size=30) | st.text("한é.", min_size=80, max_size=400)


@given(anything)
def test_any_sent_name_becomes_a_visible_file_of_one_folder(tmp_path_factory, sent):
    folder, name = split_name(sent)
    for part in (name, folder):
        if part is not None:
            assert Path(part).name == part
            assert not part.startswith(".")
            assert all(character >= " " for character in part)
            assert len(part.encode()) <= 160
    target = tmp_path_factory.getbasetemp() / name
    target.write_bytes(b"x")  # the file system takes it
    target.unlink()


@given(anything)
def test_cleaning_a_clean_name_changes_nothing(sent):
    _, name = split_name(sent)
    assert split_name(name) == (None, name)


def test_names_that_climb():
    for sent in ("../../etc/passwd.png", "/etc/passwd.png", "C:\\Windows\\passwd.png", "a/./../passwd.png"):
        assert split_name(sent)[1].endswith("passwd.png")
        assert "/" not in split_name(sent)[1]


@given(st.lists(st.sampled_from(["a.png", "A.PNG", "a_2.png", "b", "한.jpg"]), max_size=12))
def test_no_two_files_share_a_name_whatever_the_case(names):
    taken = set()
    free = [free_name(name, taken) for name in names]
    assert len({name.casefold() for name in free}) == len(names)
    assert all(one.startswith(name.partition(".")[0]) for one, name in zip(free, names, strict=True))


def test_the_second_of_a_name_sorts_right_after_the_first():
    taken = set()
    names = [free_name(name, taken) for name in ("f9.png", "f9.png", "f10.png")]
    assert sorted(names, key=natural_key) == names
