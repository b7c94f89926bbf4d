"""`sonjit networks`: names, facts and errors."""

import pytest

from sonjit.cli import main

pytest.importorskip("torch", reason="sonjit[train] is not installed")


@pytest.mark.slow
def test_networks_are_listed_with_their_facts(capfd):
    assert main(["networks", "hand-[fhl]*"]) == 0
    heading, *lines = capfd.readouterr().out.splitlines()
    assert heading.split() == ["name", "parameters", "MFLOP", "input", "licence", "weights"]
    assert [line.split()[0] for line in lines] == ["hand-full", "hand-heavy", "hand-lite"]
    assert all("3 x 224 x 224 in 0..1" in line and "Apache-2.0" in line for line in lines)


def test_a_pattern_without_networks_names_those_that_there_are(capfd):
    assert main(["networks", "feet-*"]) == 2
    err = capfd.readouterr().err
    assert "No network matches 'feet-*'. Choose from " in err
    assert "hand-full" in err
    assert err.count("\n") == 1
