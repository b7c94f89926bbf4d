"""Load random weights in the layouts of released checkpoints: NETWORK_keys.csv (key, shape, dtype) in a folder."""

import csv
import sys
import tempfile
from pathlib import Path

import torch

from sonjit.lab.networks import create_network, list_networks

for file in sorted(Path(sys.argv[1]).glob("*_keys.csv")):
    name, state = file.name.partition("_")[0], {}
    if name not in list_networks():
        continue
    for row in csv.DictReader(file.open()):
        sizes = [int(size) for size in row["shape"].split("x") if size.isdigit()]
        state[f"module.{row['key']}"] = torch.rand(sizes).to(getattr(torch, row["dtype"]))
    with tempfile.NamedTemporaryFile(suffix=".pth.tar") as path:
        torch.save({"epoch": 3, "network": state, "optimizer": {}}, path.name)
        network = create_network(name, path.name)
    own = {f"module.{key}": value for key, value in network.state_dict().items()}
    equal = sum(key in own and torch.equal(own[key], value) for key, value in state.items())
    print(f"{file.stem}: {equal} of {len(state)} tensors are equal; {network.options}")
