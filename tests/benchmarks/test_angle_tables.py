"""Errors of joint angles: the page of measurements has the numbers of the file that reports read."""

import json

import one_camera
from pages import read_section

from sonjit.report import errors


def test_the_page_has_the_numbers_of_the_file_of_errors():
    content = json.loads(errors.FILE.read_text("utf-8"))
    between = read_section("measured.md", "python benchmarks/one_camera.py --write")
    lines = list(one_camera.table_lines(content["models"]))
    assert len(lines) == 2 + 4 * len(content["models"]) * len(errors.JOINTS)
    assert [line for line in lines if line not in between] == []
    assert content["command"] in between
