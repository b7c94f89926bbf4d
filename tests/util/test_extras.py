import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from sonjit._util.errors import MissingExtraError
from sonjit._util.extras import EXTRAS, extra_of, is_installed, optional_import, require

_PROJECT = Path(__file__).parents[2] / "pyproject.toml"


def test_the_table_is_what_the_project_declares():
    declared = tomllib.loads(_PROJECT.read_text("utf-8"))["project"]["optional-dependencies"]
    assert set(EXTRAS) == set(declared) - {"dev"}
    distributions = packages_distributions()
    for extra, modules in EXTRAS.items():
        lines = list(declared[extra])
        lines += [line for other in declared if f"sonjit[{other}]" in lines for line in declared[other]]
        for module in (set(modules) & set(distributions)) - {"starlette", "pydantic", "cryptography"}:  # of others
            names = {name.lower().replace("_", "-") for name in distributions[module]}
            assert any(line.startswith(tuple(names)) for line in lines), (extra, module)


def test_a_missing_module_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with (
        pytest.raises(
            MissingExtraError, match=r"^Parquet needs an optional dependency: pip install 'sonjit\[tables\]'$"
        ),
        optional_import("Parquet"),
    ):
        import pyarrow.parquet  # noqa: F401
    with pytest.raises(MissingExtraError, match=r"sonjit\[tables\]"):
        require("pyarrow", "Parquet")
    assert not is_installed("tables")


def test_a_module_of_no_extra_is_missing_as_it_is():
    assert extra_of("sonjit_has_none") is None
    assert extra_of(None) is None
    with pytest.raises(ModuleNotFoundError, match="sonjit_has_none"), optional_import("this"):
        import sonjit_has_none  # noqa: F401
