"""Tiny twins of the registered networks."""

import torch

from sonjit.lab.networks import create_network, list_networks, network_entry


def inputs_of(name):
    entry = network_entry(name)
    return entry.tiny_inputs or entry.inputs


def twin(name, weights="demo", **options):
    """Return the tiny twin of a network in evaluation mode."""
    return create_network(name, weights, **{**network_entry(name).tiny, **options}).eval()


def run(network, *images):
    with torch.inference_mode():
        return network(*images)


def examples(name, batch=1, seed=0):
    return [spec.example(batch, seed) for spec in inputs_of(name)]


def networks_by_class():
    """Return the first registered name of each network class."""
    entries = {name: network_entry(name) for name in reversed(list_networks())}
    return {type(entry.build(**entry.tiny)): name for name, entry in entries.items()}
