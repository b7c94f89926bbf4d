"""Explain the outputs of networks for hands and of classifiers of photographs, without PyTorch."""
