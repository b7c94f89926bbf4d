"""The commands of each README: from data in the official layout to network, evaluation, submission and card."""

import json
import math

import pytest
from lab.tests.papers.systems import SYSTEMS, commands_of, shortened

from sonjit import SonjitError
from sonjit.cli import main
from sonjit.weights import find_weight


@pytest.mark.nightly_after(1)
@pytest.mark.slow
@pytest.mark.parametrize("name", SYSTEMS)
def test_the_commands_of_a_readme_lead_from_data_to_card(name, tmp_path, monkeypatch, capsys):
    if name == "mediapipe_hands":
        try:
            find_weight("hand-full")
        except SonjitError as error:
            pytest.skip(f"{str(error).partition(';')[0]}; type: sonjit models pull")
    system = SYSTEMS[name]
    system.write(tmp_path)
    monkeypatch.chdir(tmp_path)
    for words in commands_of(name):
        assert main(shortened(words, system.settings, 1)) in (0, None), capsys.readouterr().err
        out = tmp_path / words[words.index("--out") + 1]
        if words[0] == "train":
            assert (out / "weights.safetensors").is_file()
            continue
        assert main(["card", str(out / "eval.json"), "--name", name, "--out", str(tmp_path / "cards")]) in (0, None)
        (run,) = (run for run in json.loads((out / "eval.json").read_text())["runs"] if run["mode"] != "tracking")
        assert run["evaluated"] > 0
        main_metric = next(metric["value"] for metric in run["metrics"] if metric["name"] == run["main"])
        assert math.isfinite(main_metric)
    assert list((tmp_path / "cards").glob("*.md"))
    for file, rows in system.submissions.items():
        text = (tmp_path / file).read_text()
        sent = text.splitlines() if file.endswith(".txt") else json.loads(text)
        if rows is not None:  # joints and vertices, or lines
            assert len(sent) == rows or [len(part) for part in sent] == [rows, rows]
