import pytest
from benchmarks.official_settings import rows

from sonjit.cli import main


def test_every_setting_equals_that_of_the_release_or_has_a_reason():
    compared = list(rows())
    assert len(compared) > 100
    assert not [row for row in compared if row[-1] == "missing"]
    for name, key, official, ours, verdict in compared:
        assert (verdict == "equal") or official != ours, (name, key)


def test_a_plan_counts_steps_and_computation_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    words = ["train", "rootnet", "--plan", "--set", "side=32", "--set", "depth=10", "--set", "width=8"]
    texts = []
    for batch in (2, 8):
        more = ["--set", "channels=8", "--set", f"batch={batch}", "--steps", "500", "--set", "dataset=folder"]
        assert main([*words, *more, "--set", "test_split="]) == 0
        texts.append(capsys.readouterr().out)
    assert "steps: 500 of 8 examples, 4,000 examples in all" in texts[1]
    flops = [float(text.partition("computation: ")[2].split()[0]) for text in texts]
    assert flops[1] == pytest.approx(4 * flops[0], rel=0.01)
    assert not list(tmp_path.iterdir())
