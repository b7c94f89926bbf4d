"""Train small networks in this process, or in the processes of torchrun, and save their gradients and weights."""

import sys
from contextlib import suppress
from pathlib import Path

import torch

from sonjit_lab.training import processes
from sonjit_lab.training.loop import TrainingSettings, train
from sonjit_lab.training.recipes import TrainingRequest

STEPS, BATCHES = 3, 4


class Small(torch.nn.Module):
    """A network with dropout, a batch norm, and a layer that only some batches use."""

    def __init__(self):
        super().__init__()
        self.first = torch.nn.Linear(3, 8, bias=False)  # a norm takes a bias away: its gradient is rounding
        self.norm = torch.nn.BatchNorm1d(8)
        self.drop = torch.nn.Dropout(0.3)
        self.last = torch.nn.Linear(8, 1)
        self.sometimes = torch.nn.Linear(3, 1)
        self.unused = torch.nn.Linear(3, 1)

    def forward(self, values):
        found = self.last(self.drop(self.norm(self.first(values))))
        return found + self.sometimes(values) if values[0, 0] > 0 else found


def batch(rng):
    values = torch.from_numpy(rng.standard_normal((16, 3), "f4"))
    return values, values.sum(1, keepdim=True)


def losses(network, data):
    return {"squares": ((network(data[0]) - data[1]) ** 2).mean()}


def main(folder, *names, steps=0):
    """Train one network after the other. Processes join once: a second group would meet the addresses of the first."""
    with processes.joined(TrainingRequest(recipe="small", out=Path(folder))) as request:
        for name in names:
            run(request.out / name, steps)


def run(out, steps):
    torch.manual_seed(1)
    network = Small()
    settings = TrainingSettings(steps=STEPS, learning_rate=1e-2, warmup=0, save_every=1, accumulate=BATCHES)
    gradients, rows = [], []

    class StoppedError(Exception):
        """End of the training before its last step."""

    def progress(done, _steps, values):
        gradients.append({name: value.grad for name, value in network.named_parameters() if value.grad is not None})
        gradients[-1] = {name: value.clone() for name, value in gradients[-1].items()}
        rows.append(dict(values))
        if done == steps:
            raise StoppedError

    with suppress(StoppedError):
        train(network, batch, losses, settings, out=out, progress=progress)
    torch.save({"gradients": gradients, "rows": rows, "weights": network.state_dict()}, f"{out}.pt")


if __name__ == "__main__":
    main(*sys.argv[1:])
