"""Evaluate a caller's network and leave it unchanged."""

import random
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

import numpy as np
import torch
from torch import nn

_N = TypeVar("_N", bound=nn.Module)
_P = ParamSpec("_P")
_T = TypeVar("_T")


@contextmanager
def eval_mode(*networks: nn.Module) -> Generator[None]:
    """Set networks to eval mode, and restore the mode of each of their modules at the end.

    >>> network = nn.Sequential(nn.BatchNorm2d(3)).train()
    >>> with eval_mode(network):
    ...     maps = network(torch.zeros(1, 3, 4, 4))  # the statistics of the batch norm stay the same
    >>> network.training
    True
    """
    modes = [(module, module.training) for network in networks for module in network.modules()]
    for network in networks:
        network.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def evaluates(compute: Callable[Concatenate[_N, _P], _T]) -> Callable[Concatenate[_N, _P], _T]:
    """Wrap a function whose first argument is a network: it runs in eval mode without gradients, see `eval_mode`."""

    @wraps(compute)
    def evaluate(network: _N, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        with eval_mode(network), torch.inference_mode():
            return compute(network, *args, **kwargs)

    return evaluate


@contextmanager
def unchanged(network: nn.Module) -> Generator[None]:
    """Use eval mode, and restore the modes, gradients and choices of parameters to train, and all random generators."""
    parameters = [(parameter, parameter.requires_grad, parameter.grad) for parameter in network.parameters()]
    for parameter, _, _ in parameters:
        parameter.grad = None  # backward would add to the caller's tensors
    states = random.getstate(), np.random.get_state()
    try:
        with eval_mode(network), torch.random.fork_rng():
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        for parameter, trained, gradient in parameters:
            parameter.requires_grad_(trained)
            parameter.grad = gradient
