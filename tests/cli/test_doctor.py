from sonjit.cli import main


def run(capsys):
    status = main(["doctor"])
    captured = capsys.readouterr()
    assert captured.err == ""
    return status, captured.out


def test_a_complete_installation_has_no_findings(capsys, weights):
    status, out = run(capsys)
    assert status == 0
    assert "missing" not in out
    for part in ("sonjit", "numpy", "openvino", "device CPU", "telemetry", "weights", "cameras"):
        assert part in out


def test_absent_weights_are_missing_with_the_line_to_type(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    status, out = run(capsys)
    assert status == 1
    assert "missing" in out
    assert "sonjit models pull" in out
    assert list(tmp_path.iterdir()) == []


def test_damaged_weights_are_missing_too(capsys, tmp_path, monkeypatch, weights):
    models = tmp_path / "models"
    models.mkdir()
    for path in weights.values():
        (models / path.name).write_bytes(bytes(path.stat().st_size))
    monkeypatch.setenv("SONJIT_HOME", str(tmp_path))
    assert run(capsys)[0] == 1
