import pytest

from .round_trips import FORMATS, read_back


@pytest.mark.parametrize("name", FORMATS)
def test_what_a_format_represents_is_read_back(name, tmp_path):
    table = read_back(tmp_path / "set", name)
    wrong = {what: text for what, text in table.items() if text not in ("–", "3 of 3", "1 of 1")}
    assert not wrong
