"""Find people and hands as masks with a bundled network, without PyTorch."""
