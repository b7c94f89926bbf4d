"""Measure InterNet and RootNet on one crop in Sonjit's modules, the published layers and the OpenVINO exports.

python benchmarks/internet.py [--rounds 9] [--threads 2]

All three use the same random weights, seeded by name, and must agree. They run alternately, and the median counts.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torchvision.models import resnet50

from sonjit.engines.quiet_openvino import ov
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.export import export_network


def enlarging():
    layers = []
    for inputs in (2048, 256, 256):
        layers += [nn.ConvTranspose2d(inputs, 256, 4, 2, 1, bias=False), nn.BatchNorm2d(256), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


class PlainTrunk(nn.Module):
    """torchvision's network without its head."""

    def __init__(self):
        super().__init__()
        self.layers = resnet50()
        del self.layers.fc, self.layers.avgpool

    def forward(self, x):
        net = self.layers
        x = net.maxpool(net.relu(net.bn1(net.conv1(x))))
        return net.layer4(net.layer3(net.layer2(net.layer1(x))))


class PlainInterNet(nn.Module):
    """Published graph with the output conversion of the released code."""

    def __init__(self, weights):
        super().__init__()
        self.trunk = PlainTrunk()
        self.hands = nn.ModuleList(enlarging() for _ in range(2))
        self.volumes = nn.ModuleList(nn.Conv2d(256, 21 * 64, 1) for _ in range(2))
        self.root, self.hand = (
            nn.Sequential(nn.Linear(2048, 512), nn.ReLU(inplace=True), nn.Linear(512, count)) for count in (64, 2)
        )
        fill(self.trunk.layers, weights, "backbone_net.resnet.")
        for number in range(2):
            fill(self.hands[number], weights, f"pose_net.joint_deconv_{number + 1}.")
            fill(self.volumes[number], weights, f"pose_net.joint_conv_{number + 1}.0.")
        fill(self.root, weights, "pose_net.root_fc.")
        fill(self.hand, weights, "pose_net.hand_fc.")

    def forward(self, images):
        x = self.trunk(images)
        hands = [
            volume(hand(x)).view(-1, 21, 64, 64, 64) for hand, volume in zip(self.hands, self.volumes, strict=True)
        ]
        heatmap = torch.cat(hands, 1)
        mean = x.mean((2, 3))
        root = (self.root(mean).softmax(1) * torch.arange(64).float()).sum(1, keepdim=True)
        over_z, z = heatmap.max(2)
        over_y, y = over_z.max(2)
        column = over_y.max(2)[1]
        row = y.gather(2, column[:, :, None])[:, :, 0]
        deep = z.gather(2, row[:, :, None, None].expand(-1, -1, 1, 64))[:, :, 0].gather(2, column[:, :, None])[:, :, 0]
        return torch.stack([column, row, deep], 2).float(), root, self.hand(mean).sigmoid()


class PlainRootNet(nn.Module):
    """Published graph."""

    def __init__(self, weights):
        super().__init__()
        self.trunk, self.enlarge = PlainTrunk(), enlarging()
        self.xy, self.depth = nn.Conv2d(256, 1, 1), nn.Conv2d(2048, 1, 1)
        for part, prefix in (
            (self.trunk.layers, "backbone."),
            (self.enlarge, "root.deconv_layers."),
            (self.xy, "root.xy_layer."),
            (self.depth, "root.depth_layer."),
        ):
            fill(part, weights, prefix)

    def forward(self, images, k_value):
        x = self.trunk(images)
        share = self.xy(self.enlarge(x)).view(-1, 64 * 64).softmax(1).view(-1, 64, 64)
        bins = torch.arange(64).float()
        place = [(share.sum(axis) * bins).sum(1) for axis in (1, 2)]
        gamma = self.depth(x.mean((2, 3), keepdim=True))[:, 0, 0]
        return (torch.stack([*place, (gamma * k_value)[:, 0]], 1),)


def fill(module, weights, prefix):
    module.load_state_dict({k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)})


def taking_turns(runs, rounds):
    """Run all functions alternately. Return median wall and processor time and minimum wall time in ms by name."""
    times = {name: [] for name in runs}
    for turn in range(rounds + 2):
        for name in list(runs) if turn % 2 else list(runs)[::-1]:  # alternate the order
            wall, cpu = time.perf_counter(), time.process_time()
            runs[name]()
            if turn >= 2:
                times[name].append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
    medians = {name: [median(column) for column in zip(*each, strict=True)] for name, each in times.items()}
    return {name: (*medians[name], min(each)[0]) for name, each in times.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    plain_of = {
        "internet": (PlainInterNet, ("joint_coord", "rel_root_depth", "hand_type")),
        "rootnet": (PlainRootNet, ("coord",)),
    }
    print(
        "| network | run | wall ms | processor ms | minimum wall ms | speed / sonjit eager |\n|---|---|---|---|---|---|"
    )
    for name, (kind, outputs) in plain_of.items():
        entry = network_entry(name)
        network = create_network(name, "demo").eval()
        plain = kind(network.state_dict()).eval()
        inputs = [spec.example() for spec in entry.inputs]
        with TemporaryDirectory() as folder, torch.inference_mode():
            out = network(*inputs)
            for key, value in zip(outputs, plain(*inputs), strict=True):
                torch.testing.assert_close(value, out[key], rtol=1e-3, atol=1e-3)
            times = taking_turns(
                {"sonjit, eager": partial(network, *inputs), "plain graph, eager": partial(plain, *inputs)},
                options.rounds,
            )
            path = export_network(network, entry.inputs, Path(folder) / f"{name}.xml").path
            settings = {"INFERENCE_NUM_THREADS": options.threads, "INFERENCE_PRECISION_HINT": "f32"}
            request = ov.Core().compile_model(path, "CPU", settings).create_infer_request()
            arrays = [value.numpy() for value in inputs]
            # Measured separately, because its threads keep spinning for a while and would slow the next run.
            times |= taking_turns({"export, OpenVINO f32": partial(request.infer, arrays)}, options.rounds)
        eager = times["sonjit, eager"][0]
        for run, (middle, cpu, least) in times.items():
            print(f"| {name} | {run} | {middle:.0f} | {cpu:.0f} | {least:.0f} | {eager / middle:.2f} |")


if __name__ == "__main__":
    main()
