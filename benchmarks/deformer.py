"""Measure Deformer on one window, in Sonjit's module and in the published layer graph, and on a video.

python benchmarks/deformer.py [--rounds 5] [--threads 2]

Both use the same random weights, seeded by name, and must agree. They run alternately, and the median counts.
"""

import argparse
from functools import partial
from itertools import count

import torch
import torch.nn.functional as F  # noqa: N812
from handoccnet import PlainGraph, taking_turns
from torchvision.ops import roi_align

from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.deformer import DeformerStream


class PlainDeformer(PlainGraph):
    """Published graph without optimisation: it computes attention weights and normalises every decoder layer."""

    def __init__(self, weights, positions):
        super().__init__(weights)
        self.positions = positions  # (N, 1, C) of a map and (T, 1, C) of a window

    def attention(self, name, query, key, value):
        inner, outer = (f"{name}.in_proj_", f"{name}.out_proj.")
        return F.multi_head_attention_forward(
            query, key, value, 256, 8, self.weights[f"{inner}weight"], self.weights[f"{inner}bias"], None, None, False,
            0.0, self.weights[f"{outer}weight"], self.weights[f"{outer}bias"], training=False, need_weights=True,
        )[0]  # fmt: skip

    def layer_norm(self, name, x):
        return F.layer_norm(x, (256,), self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def feed(self, name, x):
        return self.linear(f"{name}.linear2", F.relu(self.linear(f"{name}.linear1", x)))

    def encoder(self, name, x, positions):
        for layer in (f"{name}.layers.{i}" for i in range(3)):
            x = self.layer_norm(
                f"{layer}.norm1", x + self.attention(f"{layer}.self_attn", x + positions, x + positions, x)
            )
            x = self.layer_norm(f"{layer}.norm2", x + self.feed(layer, x))
        return x

    def decoder(self, name, queries, memory, positions):
        object_queries = queries.unsqueeze(1).repeat(1, memory.shape[1], 1)
        x, every = torch.zeros_like(object_queries), []
        for layer in (f"{name}.layers.{i}" for i in range(3)):
            x = self.layer_norm(
                f"{layer}.norm1", x + self.attention(f"{layer}.self_attn", x + object_queries, x + object_queries, x)
            )
            found = self.attention(f"{layer}.multihead_attn", x + object_queries, memory + positions, memory)
            x = self.layer_norm(f"{layer}.norm2", x + found)
            x = self.layer_norm(f"{layer}.norm3", x + self.feed(layer, x))
            every.append(self.layer_norm(f"{name}.norm", x))
        return torch.stack(every)[-1][0]

    def __call__(self, images, boxes):
        hands, frames = images.shape[:2]
        rois = torch.cat([torch.arange(hands * frames)[:, None], boxes.flatten(0, 1)], 1)
        maps = roi_align(self.pyramid("base_net", images.flatten(0, 1)), rois, 32, 0.25, -1)
        memory = self.encoder("hand_transformer.encoder", maps.flatten(2).permute(2, 0, 1), self.positions[0])
        tokens = self.decoder(
            "hand_transformer.decoder", self.weights["hand_query_embed.weight"], memory, self.positions[0]
        )
        heat = memory
        for layer in range(3):
            heat = self.linear(f"hand_hm_embed.layers.{layer}", heat)
            heat = heat.relu() if layer < 2 else heat
        heat = (heat.permute(1, 2, 0) * self.weights["hand_hm_layer.betas"]).softmax(-1).unflatten(2, (32, 32))
        centres = (torch.arange(32) + 0.5) / 32
        joints = torch.stack([(heat * centres).sum((2, 3)), (heat * centres[:, None]).sum((2, 3))], -1)
        time = tokens.unflatten(0, (hands, frames)).transpose(0, 1)
        time = self.encoder("temporal_hand_transformer_encoder", time, self.positions[1])
        query = self.weights["temporal_hand_query_embed.weight"]
        shape = self.decoder("temporal_hand_transformer_decoder", query, time, self.positions[1])
        base = torch.cat([time.transpose(0, 1).flatten(0, 1), joints.flatten(1)], 1)
        for layer in (0, 2):
            base = F.leaky_relu(self.linear(f"mano_branch.mano_base_layer.{layer}", base))
        heads = ("pose_reg", "fw_dynamic_pose_reg", "bw_dynamic_pose_reg", "confidence_reg")
        poses = [self.linear(f"mano_branch.{head}", base) for head in heads]
        return joints, *poses, self.linear("mano_branch.shape_reg", shape)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    network = create_network("deformer", "demo").eval()
    with torch.no_grad():  # random weights are too large: without scaling, attention concentrates on single positions
        for key, value in network.state_dict().items():
            if key.endswith(("bn3.weight", "latlayer1.weight", "latlayer2.weight", "latlayer3.weight")):
                value *= 0.3
    images = network_entry("deformer").inputs[0].example()
    boxes = torch.tensor([96.0, 80, 396, 360]).expand(1, 7, 4)
    positions = [part.positions[:, None] for part in (network.hand_transformer, network)]
    plain = PlainDeformer(network.state_dict(), positions)
    with torch.inference_mode():
        out = network(images, boxes)
        names = ("joints2d", "pose6d", "fw6d", "bw6d", None, "mano_shape")
        for name, expected in zip(names, plain(images, boxes), strict=True):
            if name:
                torch.testing.assert_close(expected, out[name], rtol=1e-3, atol=1e-3 * float(out[name].abs().max()))
        stream, frames = DeformerStream(network, gap=1), count()  # the first result comes after three frames
        runs = {
            "sonjit, window of 7": partial(network, images, boxes),
            "plain graph, window of 7": partial(plain, images, boxes),
            "sonjit, video frame": lambda: stream.push(next(frames), images[0, 0], boxes[0, 0]),
        }
        times = taking_turns(runs, options.rounds)
    print("| | wall ms | processor ms |\n|---|---|---|")
    for name, (wall, cpu) in times.items():
        print(f"| {name} | {wall:.0f} | {cpu:.0f} |")


if __name__ == "__main__":
    main()
