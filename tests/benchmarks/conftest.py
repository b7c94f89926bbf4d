import pytest
from bench import register

from sonjit.cli.commands import COMMANDS


@pytest.fixture(autouse=True)
def bench_command():
    """Add the command of the program to the command line."""
    register()
    yield
    COMMANDS.pop("bench")
