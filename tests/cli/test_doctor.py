import pytest


def test_a_complete_installation_has_no_findings(sonjit, weights):
    status, out, errors = sonjit("doctor")
    assert (status, errors, "missing" in out) == (0, [], False)
    for part in ("sonjit", "numpy", "openvino", "device CPU", "telemetry", "weights", "cameras", "extras"):
        assert part in out


@pytest.mark.parametrize("are_damaged", [False, True])
def test_weights_that_are_absent_or_damaged_are_missing(sonjit, tmp_path, monkeypatch, weights, are_damaged):
    if are_damaged:
        (tmp_path / "models").mkdir()
        for path in weights.values():
            (tmp_path / "models" / path.name).write_bytes(bytes(path.stat().st_size))
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    status, out, errors = sonjit("doctor")
    assert (status, errors) == (1, [])
    assert "missing" in out
    assert "sonjit models pull" in out
    assert sorted(tmp_path.rglob("*")) == before
