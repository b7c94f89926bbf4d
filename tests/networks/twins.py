"""Tiny twins of the registered networks."""

from sonjit.networks import list_networks, network_entry


def networks_by_class():
    """One registered name for each class of network: the first."""
    entries = {name: network_entry(name) for name in reversed(list_networks())}
    return {type(entry.build(**entry.tiny)): name for name, entry in entries.items()}
