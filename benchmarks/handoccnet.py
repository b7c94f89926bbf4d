"""Measure HandOccNet on one crop in Sonjit's module, the published layer graph and the OpenVINO export.

python benchmarks/handoccnet.py [--rounds 15] [--threads 2] [--hands 1000]

All three use the same random weights, seeded by name, and must agree. They run alternately, and the median counts. A
further row measures MANO for many hands at once.
"""

import argparse
import time
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812

from sonjit.engines import EngineOptions, load_engine
from sonjit.lab.hand_models import demo_mano
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.export import export_network


class PlainGraph:
    """Published graph without optimisation: FIT weighs all pairs twice, and the unused map is computed."""

    def __init__(self, weights):
        self.weights = weights

    def conv(self, name, x, stride=1):
        weight = self.weights[f"{name}.weight"]
        return F.conv2d(x, weight, self.weights.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def norm(self, name, x):
        mean, var, weight, bias = (
            self.weights[f"{name}.{k}"] for k in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    def linear(self, name, x):
        return F.linear(x, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def bottleneck(self, name, x, stride):
        inner = F.leaky_relu(self.norm(f"{name}.bn1", self.conv(f"{name}.conv1", x)))
        inner = F.leaky_relu(self.norm(f"{name}.bn2", self.conv(f"{name}.conv2", inner, stride)))
        inner = self.norm(f"{name}.bn3", self.conv(f"{name}.conv3", inner))
        if f"{name}.downsample.0.weight" in self.weights:
            x = self.norm(f"{name}.downsample.1", self.conv(f"{name}.downsample.0", x, stride))
        return F.leaky_relu(inner + x)

    def pyramid(self, name, x):
        x = F.leaky_relu(self.norm(f"{name}.layer0.1", self.conv(f"{name}.layer0.0", x, 2)))
        x, stages = F.max_pool2d(x, 3, 2, 1), []
        for stage, blocks in enumerate((3, 4, 6, 3), 1):
            for block in range(blocks):
                x = self.bottleneck(f"{name}.layer{stage}.0.{block}", x, 2 if stage > 1 and block == 0 else 1)
            stages.append(x)
        x = self.conv(f"{name}.toplayer", x)
        for lateral, stage in enumerate(reversed(stages[:3]), 1):
            up = F.interpolate(x, size=stage.shape[2:], mode="bilinear", align_corners=False)
            x = up + self.conv(f"{name}.latlayer{lateral}", stage)
            if lateral == 2 and f"{name}.smooth2.weight" in self.weights:
                self.conv(f"{name}.smooth2", x)  # the published code computes this unused map
        return self.conv(f"{name}.smooth3", x)

    def trunk(self, x):
        x = F.avg_pool2d(self.pyramid("backbone", x), 2)
        both = torch.cat([x.max(1, keepdim=True)[0], x.mean(1, keepdim=True)], 1)
        gate = self.norm(
            "backbone.attention_module.spatial.bn", self.conv("backbone.attention_module.spatial.conv", both)
        )
        return x, gate.sigmoid()

    def heads(self, name, x):
        return self.conv(name, x).flatten(2).unflatten(1, (4, 64)).mT

    def block(self, name, query, key, injecting):
        asked, shown = query + self.weights[f"{name}.q_embedding"], key + self.weights[f"{name}.k_embedding"]
        looks = self.heads(f"{name}.encode_query", asked) @ self.heads(f"{name}.encode_key", shown).mT / 8
        looks = looks.softmax(-1)
        if injecting:
            pairs = self.heads(f"{name}.encode_query2", asked) @ self.heads(f"{name}.encode_key2", shown).mT / 8
            looks = looks * pairs.sum(-1, keepdim=True).sigmoid()
        x = (looks @ self.heads(f"{name}.encode_value", key)).transpose(1, 2).flatten(2)
        if not injecting:
            x = x + query.flatten(2).mT
        inner = F.layer_norm(x, (256,), self.weights[f"{name}.norm2.weight"], self.weights[f"{name}.norm2.bias"])
        x = x + self.linear(f"{name}.mlp.fc2", F.gelu(self.linear(f"{name}.mlp.fc1", inner)))
        return x.mT.unflatten(2, (32, 32))

    def residual(self, name, x, norms=("bn1", "bn2", "bn3")):
        inner = x
        for number, norm in enumerate(norms, 1):
            inner = self.conv(f"{name}.conv{number}", F.leaky_relu(self.norm(f"{name}.{norm}", inner)))
        return x + inner

    def hourglass(self, level, x):
        name = f"regressor.hand_regHead.hg.0.hg.{level}"
        beside, low = self.residual(f"{name}.0.0", x), self.residual(f"{name}.1.0", F.max_pool2d(x, 2))
        low = self.hourglass(level - 1, low) if level else self.residual(f"{name}.3.0", low)
        return beside + F.interpolate(self.residual(f"{name}.2.0", low), scale_factor=2)

    def __call__(self, images):
        x, gate = self.trunk(images)
        primary, x = x * gate, x * (1 - gate)
        for block in range(2):
            x = self.block(f"FIT.layers.{block}", x, primary, injecting=True)
        both = torch.cat([primary, x], 1)
        key = x = self.conv("FIT.conv1.2", F.relu(self.conv("FIT.conv1.0", both))) + self.conv("FIT.conv2.0", both)
        for block in range(2):
            x = self.block(f"SET.layers.{block}", x, key, injecting=False)
        head = "regressor.hand_regHead"
        x = self.residual(f"{head}.res.0.0", self.hourglass(3, x))
        encoding = F.leaky_relu(self.norm(f"{head}.fc.0.block.1", self.conv(f"{head}.fc.0.block.0", x)))
        heat = self.conv(f"{head}.score.0", encoding).flatten(2) * self.weights[f"{head}.betas"]
        heat = heat.softmax(-1).unflatten(2, (32, 32))
        encoder = "regressor.hand_Encoder"
        x = self.conv(f"{encoder}.heatmap_conv", heat) + self.conv(f"{encoder}.encoding_conv", encoding)
        for unit in range(8):
            x = self.residual(f"{encoder}.reg.{unit}", x, ("bn", "bn1", "bn2"))
            x = F.max_pool2d(x, 2) if unit % 2 else x
        base = x.flatten(1)
        for layer in (0, 2):
            base = F.leaky_relu(self.linear(f"regressor.mano_regHead.mano_base_layer.{layer}", base))
        return self.linear("regressor.mano_regHead.pose_reg", base), self.linear(
            "regressor.mano_regHead.shape_reg", base
        )


def taking_turns(runs, rounds):
    """Run all functions alternately, and return the median wall and processor time in ms by name."""
    times = {name: [] for name in runs}
    for turn in range(rounds + 3):
        for name, run in runs.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn >= 3:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: [1e3 * median(column) for column in zip(*each, strict=True)] for name, each in times.items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--hands", type=int, default=1000)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    entry = network_entry("handoccnet")
    network = create_network("handoccnet", "demo").eval()
    with torch.no_grad():  # random weights are too large: without scaling, attention concentrates on single positions
        for key, value in network.state_dict().items():
            if key.endswith(("bn3.weight", "latlayer1.weight", "latlayer2.weight", "latlayer3.weight")):
                value *= 0.3
    images = entry.inputs[0].example()
    plain, mano = PlainGraph(network.state_dict()), demo_mano()
    with TemporaryDirectory() as folder, torch.inference_mode():
        out = network(images)
        for name, expected in zip(("pose6d", "mano_shape"), plain(images), strict=True):
            torch.testing.assert_close(expected, out[name], rtol=1e-3, atol=1e-3 * float(out[name].abs().max()))
        export = export_network(network, entry.inputs, Path(folder) / "handoccnet.xml")
        runs = {
            "sonjit, eager": partial(network, images),
            "plain graph, eager": partial(plain, images),
        }
        image = (images * 255).byte().permute(0, 2, 3, 1).contiguous().numpy()
        for precision in ("f32", "auto"):
            engine = load_engine(export.path, EngineOptions(precision=precision, threads=options.threads))
            engine.input[:] = image
            runs[f"export, OpenVINO {precision}"] = engine.run
        hand = {key: out[key].clone() for key in ("mano_pose", "mano_shape")}
        runs["mano, 1 hand"] = partial(mano, *hand.values(), flat_hand_mean=False)
        rng = torch.Generator().manual_seed(0)
        many = (torch.randn(options.hands, 48, generator=rng) * 0.3, torch.randn(options.hands, 10, generator=rng))
        runs[f"mano, {options.hands} hands"] = partial(mano, *many)
        times = taking_turns(runs, options.rounds)
    eager = times["sonjit, eager"][0]
    print("| | wall ms | processor ms | speed / sonjit eager |\n|---|---|---|---|")
    for name, (wall, cpu) in times.items():
        print(f"| {name} | {wall:.1f} | {cpu:.1f} | {np.round(eager / wall, 2)} |")


if __name__ == "__main__":
    main()
