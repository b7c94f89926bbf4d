"""Load random weights in the layouts of released checkpoints, and compare InterNet and RootNet with the released code.

    python benchmarks/official_checkpoints.py --keys FOLDER --interhand FOLDER --rootnet FOLDER

`--keys` has files NETWORK_keys.csv (key, shape, dtype). The others are checkouts of facebookresearch/InterHand2.6M and
mks0601/3DMPPE_ROOTNET_RELEASE, whose networks run as they are on the same images. The exit status is 1 if one of
their tensors is not loaded, or if an output differs by more than 1e-5 of its largest value.
"""

import argparse
import csv
import importlib
import sys
import tempfile
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from torchvision.models import resnet

from sonjit_lab.networks import create_network, list_networks


def loaded(name, state, **options):
    """Return Sonjit's network with weights of the released layout, and whether all its tensors are equal."""
    with tempfile.NamedTemporaryFile(suffix=".pth.tar") as path:
        content = {f"module.{key}": value for key, value in state.items()}
        torch.save({"epoch": 3, "network": content, "optimizer": {}}, path.name)
        network = create_network(name, path.name, **options).eval()
    own = network.state_dict()
    count = sum(key in own and torch.equal(own[key], value) for key, value in state.items())
    print(f"{name}: {count} of {len(state)} tensors are equal; {network.options}")
    return network, count == len(state)


def released(folder, config, build):
    """Return a released network on the CPU, with random weights that neither vanish nor explode."""
    for name in [name for name in sys.modules if name in ("config", "model") or name.partition(".")[0] == "nets"]:
        del sys.modules[name]
    sys.path[:0] = [str(folder / "common"), str(folder / "main")]
    module = sys.modules["config"] = ModuleType("config")
    module.cfg, resnet.model_urls, torch.Tensor.cuda = config, {}, lambda tensor: tensor
    network = build(importlib.import_module("model"))
    for name, value in network.state_dict().items():
        if value.ndim > 1:
            torch.nn.init.kaiming_normal_(value).mul_(0.1 if value.ndim == 2 else 1)
        elif value.is_floating_point():
            value.uniform_(*((0.5, 1) if name.endswith(("weight", "var")) else (-0.1, 0.1)))
    return network.eval()


def agree(theirs, mine):
    """Print the largest difference of each output, as a share of its largest value or of 1. Return whether all fit."""
    shares = [float((value - mine[key]).abs().max() / value.abs().max().clamp(min=1)) for key, value in theirs.items()]
    print("".join(f"  {key}: {share:.1e}\n" for key, share in zip(theirs, shares, strict=True)), end="")
    return max(shares) <= 1e-5


def main():
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    for name in ("keys", "interhand", "rootnet"):
        parser.add_argument(f"--{name}", type=Path)
    options, good = parser.parse_args(), True
    torch.manual_seed(0)
    for file in sorted(options.keys.glob("*_keys.csv")) if options.keys else ():
        name, state = file.name.partition("_")[0], {}
        for key, shape, kind in list(csv.reader(file.open()))[1:]:
            state[key] = torch.rand([int(n) for n in shape.split("x") if n.isdigit()]).to(getattr(torch, kind))
        _ = name in list_networks() and loaded(name, state)
    images, depths = torch.rand(3, 3, 256, 256), torch.rand(3, 1) * 900 + 300
    if options.interhand:
        config = SimpleNamespace(resnet_type=50, output_hm_shape=(64, 64, 64), output_root_hm_shape=64)
        network = released(options.interhand, config, lambda model: model.get_model("test", 21))
        own, is_equal = loaded("internet", network.state_dict(), layout="interhand")
        theirs = network({"img": images}, {}, {}, "test") | {
            "heatmap": network.pose_net(network.backbone_net(images))[0]
        }
        good &= is_equal & agree(theirs, own(images))
    if options.rootnet:
        config = SimpleNamespace(resnet_type=50, output_shape=(64, 64))
        network = released(options.rootnet, config, lambda model: model.get_pose_net(config, is_train=False))
        own, is_equal = loaded("rootnet", network.state_dict(), input_scale=255)
        given = own.normalise_crops(images), depths
        good &= is_equal & agree({"coord": network(*given)}, own(*given))
    return 0 if good else 1


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
