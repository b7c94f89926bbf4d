"""Examples are drawn in shuffled epochs without replacement, the same after a resume and in several processes."""

import numpy as np
import pytest
import torch

from sonjit_lab.training.batches import epoch_indices, prefetch, seeds_of
from sonjit_lab.training.hands.samples import draw_batch

LENGTH, COUNT = 23, 4


def drawn(numbers, accumulate=1, workers=0):
    """Return the examples of the batches of steps, as a recipe draws them."""
    indices = [divmod(number, accumulate) for number in numbers]
    batches = prefetch(
        batch_of, indices, seed=5, workers=workers, device=torch.device("cpu"), batches_in_step=accumulate
    )
    return [item.tolist() for item in batches]


def batch_of(rng):
    return draw_batch(rng, samples=range(LENGTH), make_example=lambda sample, _: sample, join=torch.tensor, count=COUNT)


def test_each_epoch_has_every_example_once_in_another_order():
    order = np.concatenate(drawn(range(23)))  # four epochs
    epochs = order[: 4 * LENGTH].reshape(4, LENGTH)
    assert all(sorted(epoch.tolist()) == list(range(LENGTH)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 4


@pytest.mark.parametrize("accumulate", [1, 2, 3])
def test_a_resume_and_other_processes_change_nothing(accumulate):
    whole = drawn(range(12), accumulate)
    assert drawn(range(6, 12), accumulate) == whole[6:]
    shared = {}
    for process in range(accumulate):  # each process makes its batches of every step
        numbers = range(process, 12, accumulate)
        shared |= dict(zip(numbers, drawn(numbers, accumulate), strict=True))
    assert [shared[number] for number in range(12)] == whole == drawn(range(12))


def test_examples_without_labels_are_replaced_by_others():
    odd = [index for step in range(6) for index in draw_odd(seeds_of(0, step, 0)[0])]
    assert all(index % 2 for index in odd)
    assert set(odd) >= set(range(1, LENGTH, 2)) - {odd[-1]}


def draw_odd(rng):
    return draw_batch(
        rng, samples=range(LENGTH), make_example=lambda item, _: item if item % 2 else None, join=list, count=COUNT
    )


def test_a_generator_of_others_draws_at_random():
    assert len(epoch_indices(np.random.default_rng(0), 3, 50)) == 50
