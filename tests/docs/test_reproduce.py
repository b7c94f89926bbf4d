"""The tutorial on published numbers runs as it stands, on the sample of InterHand2.6M and with placeholder weights."""

import json
import re
import shlex
import shutil

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; type: pip install torch")

from sonjit.cli import main  # noqa: E402
from sonjit_lab.networks import create_network  # noqa: E402

from .test_pages import DOCS, blocks_of  # noqa: E402

PAGE = DOCS / "tutorials" / "reproduce.md"
IMAGES = 1
RAN = [["datasets", "list"], ["datasets", "check"], ["datasets", "show"], ["networks", "internet"], ["eval"], ["eval"]]


@pytest.fixture
def folder(data, tmp_path, monkeypatch):
    """Return a reader's folder with the sample as the test split, an official checkpoint, and RootNet's results."""
    sample = data / "fixtures" / "interhand_multiview"
    if not sample.is_dir():
        pytest.skip(f"no {sample}")
    root = tmp_path / "InterHand2.6M"
    shutil.copytree(sample / "images" / "train", root / "images" / "test")
    shutil.copytree(sample / "annotations" / "train", root / "annotations" / "test")
    shutil.copy(sample / "annotations" / "skeleton.txt", root / "annotations")
    for file in (root / "annotations" / "test").iterdir():
        file.rename(file.with_name(file.name.replace("train", "test")))
    file = root / "annotations" / "test" / "InterHand2.6M_test_data.json"
    labels = json.loads(file.read_text())
    labels["images"] = labels["images"][:2]
    kept = {image["id"] for image in labels["images"]}
    labels["annotations"] = [annotation for annotation in labels["annotations"] if annotation["image_id"] in kept]
    file.write_text(json.dumps(labels))
    results = [
        {"annot_id": annotation["id"], "bbox": annotation["bbox"], "abs_depth": [700, 700]}
        for annotation in labels["annotations"]
    ]
    (tmp_path / "rootnet_interhand2.6m_output_test.json").write_text(json.dumps(results))
    network = create_network("internet", "demo", layout="interhand")
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 20, "network": state}, tmp_path / "snapshot_20.pth.tar")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.nightly
@pytest.mark.slow
@pytest.mark.golden
def test_from_a_data_set_to_the_published_table(folder, capfd):
    ran, printed = [], ""
    for block in blocks_of(PAGE):
        if block.language == "python":
            capfd.readouterr()
            exec(compile(block.code, block.place, "exec"), {})
            printed = capfd.readouterr().out
            continue
        code = re.sub(r"--limit \d+", f"--limit {IMAGES}", block.code.replace("\\\n", " "))
        code = code.replace("--jobs 4", "--jobs 1")
        for line in code.splitlines():
            program, *words = shlex.split(line, comments=True)
            assert program == "sonjit"
            assert main(words) == 0, (line, capfd.readouterr().err)
            ran.append(words[: 1 if words[0] in ("eval", "card") else 2])
    assert ran == [*RAN, ["card"]]
    assert (folder / "samples.png").is_file()
    report = (folder / "runs/internet/report.md").read_text("utf-8")
    assert "InterNet, trained on SH+IH, test H+M, 5 fps | 12.16 | 16.02" in report
    trial, complete = (json.loads((folder / f"runs/{name}/eval.json").read_text()) for name in ("trial", "internet"))
    assert trial["runs"][0]["evaluated"] == IMAGES < complete["runs"][0]["evaluated"]
    metric = next(metric for metric in complete["runs"][0]["metrics"] if metric["name"] == "mpjpe_interacting")
    assert f"mpjpe_interacting: {metric['value']:.2f} mm ({metric['low']:.2f} to" in printed
    assert "InterNet, evaluated again" in next((folder / "cards").glob("*.md")).read_text("utf-8")
