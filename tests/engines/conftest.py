"""Tests of engines load each network anew."""

import pytest


@pytest.fixture(autouse=True)
def nothing_is_kept(monkeypatch):
    monkeypatch.setenv("SONJIT_KEPT_NETWORKS", "0")
