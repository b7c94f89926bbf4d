"""Processes whose coverage is not measured, because the measurement changes what a test checks."""

import os


def environment():
    """Return the environment of this process without the variables that start the measurement."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
