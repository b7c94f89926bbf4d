"""Stored outputs: what Sonjit gives users for fixed inputs, so that no result changes without notice.

    SONJIT_STORE=1 .venv/bin/python -m pytest tests/results/measures/test_stored.py   # after a wanted change

A test that stores its output is skipped, because it compares nothing. A test compares one output.
Numbers are compared with a tolerance, because CPUs and versions of libraries round differently.
"""

import gzip
import json
import math
import os
from dataclasses import fields, is_dataclass
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "stored"
DIGITS = 6  # stored digits of a number
ABSENT = "absent"


def assert_as_stored(name, answer, *, relative=1e-4, absolute=2e-5):
    """Compare an answer of plain values, arrays, dataclasses, lists and dicts with the stored one of that name."""
    path, present = FOLDER / f"{name}.json.gz", plain(answer)
    if os.environ.get("SONJIT_STORE"):
        FOLDER.mkdir(exist_ok=True)
        path.write_bytes(gzip.compress(json.dumps(present, separators=(",", ":")).encode(), 9, mtime=0))
        pytest.skip(f"stored {path.name}: read what changed, then run again without SONJIT_STORE")
    stored = json.loads(gzip.decompress(path.read_bytes()))
    found = list(differences(stored, json.loads(json.dumps(present)), relative, absolute))
    assert not found, f"{len(found)} differences from {path.name}, stored and now: {found[:5]}"


def plain(value):
    """Return a value in the types of JSON, with rounded numbers."""
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, float | np.floating):
        return float(f"{value:.{DIGITS}g}") if math.isfinite(value) else str(float(value))
    if is_dataclass(value):
        return {item.name: plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in (sorted(value) if isinstance(value, set | frozenset) else value)]
    if isinstance(value, bytes):
        return value.hex()
    return value.item() if isinstance(value, np.generic) else value


def differences(stored, present, relative, absolute, where=""):
    """Yield place, stored and present value where they differ."""
    both = (stored, present)
    if all(isinstance(one, dict) for one in both):
        for key in {**stored, **present}:
            pair = (one.get(key, ABSENT) for one in both)
            yield from differences(*pair, relative, absolute, f"{where}.{key}")
    elif all(isinstance(one, list) for one in both) and len(stored) == len(present):
        for index, pair in enumerate(zip(*both, strict=True)):
            yield from differences(*pair, relative, absolute, f"{where}[{index}]")
    elif all(isinstance(one, int | float) and not isinstance(one, bool) for one in both):
        if not math.isclose(*both, rel_tol=relative, abs_tol=absolute):
            yield where, *both
    elif stored != present:
        yield where, *both
