"""A training run of a few seconds, for tests of the training loop."""

import json

import numpy as np
import torch

from sonjit._util.data_files import ASSETS, read_toml_table
from sonjit_lab.training.hands.samples import HandSettings, hand_data
from sonjit_lab.training.loop import LOG, TrainingSettings, train
from sonjit_lab.training.recipes import TrainingRequest

OPTIONS = TrainingSettings(steps=12, learning_rate=1e-2, warmup=2, save_every=5)


def line():
    """Return a layer with dropout, which draws random numbers in each step."""
    torch.manual_seed(1)
    return torch.nn.Sequential(
        torch.nn.Linear(3, 8), torch.nn.Dropout(0.3), torch.nn.BatchNorm1d(8), torch.nn.Linear(8, 1)
    )


def batch(rng):
    values = torch.from_numpy(rng.standard_normal((16, 3), np.float32))
    return values, values.sum(1, keepdim=True)


def losses(network, data):
    values, targets = data
    return {"squares": ((network(values) - targets) ** 2).mean()}


class PowerCutError(Exception):
    """Interruption of a run."""


def run(out, *, stop_after=None, options=OPTIONS, network=None):
    network = line() if network is None else network

    def progress(done, _steps, _losses):
        if done == stop_after:
            raise PowerCutError

    train(network, batch, losses, options, out=out, progress=progress)
    return network


def write_people(root, images, people):
    """Write labels of images without hands, in turn of some people, whose names begin with that of the folder."""
    root.mkdir(parents=True, exist_ok=True)
    records = [
        {"id": index, "file_name": f"{index}.png", "width": 8, "height": 8, "subject": f"{root.name}{index % people}"}
        for index in range(images)
    ]
    (root / "dataset.json").write_text(json.dumps({"images": records, "annotations": [], "categories": []}), "utf-8")


def log_of(folder):
    """Return the content of a log without times."""
    rows = [json.loads(text) for text in (folder / LOG).read_text("utf-8").splitlines()]
    assert all(0 <= row.pop("waited_seconds") <= row.pop("seconds") for row in rows)
    return rows


def origin(file):
    """Return the entry of a shipped file in the table of origins."""
    (entry,) = (entry for entry in read_toml_table(ASSETS / "origins.toml")["file"] if entry["name"].endswith(file))
    return entry


def held_out_frames(folder):
    """Return every tenth held-out frame of the bundled clip of rendered hands, as samples with exact keypoints."""
    data = hand_data(TrainingRequest("rootnet", folder), HandSettings(), lambda sample: bool(sample.instances))
    return data.held_out[::10]
