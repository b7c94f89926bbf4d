"""Factors: independent draws, pinned values without effect on others, and errors that list known values."""

import numpy as np
import pytest

from sonjit._util.errors import InputError
from sonjit.lab.synthesis.factors import FACTORS, Choice, Factors


def setting(factor, rng):
    """Return a text that narrows a factor, and a function that checks whether a value obeys it."""
    if isinstance(factor.values, Choice):
        values = rng.permutation([str(value).lower() for value in factor.values.values])[:2].tolist()
        return f"{factor.name}={','.join(values)}", lambda value: str(value).lower() in values
    low, high = np.sort(rng.uniform(factor.values.low, factor.values.high, 2)).round(2)
    if factor.values.integer:
        low, high = int(low), int(high) + 1
    return f"{factor.name}={low}..{high}", lambda value: low <= value <= high


@pytest.mark.parametrize("factor", FACTORS, ids=lambda one: one.name)
def test_narrowing_one_factor_works_and_changes_no_other(factor):
    rng = np.random.default_rng(3)
    text, holds = setting(factor, rng)
    free, pinned = Factors(FACTORS), Factors(FACTORS, [text])
    for index in range(20):
        before, after = free.draw(5, index), pinned.draw(5, index)
        assert holds(after[factor.name]), (text, after[factor.name])
        moved = {name for name in before if before[name] != after[name]}
        of_person = {one.name for one in FACTORS if one.of == "person"} if factor.name == "person" else set()
        assert moved <= {factor.name} | of_person


def test_the_same_seed_draws_the_same_and_a_person_keeps_what_is_theirs():
    factors = Factors(FACTORS)
    assert factors.draw(4, 9) == Factors(FACTORS).draw(4, 9)
    assert factors.draw(4, 9) != factors.draw(5, 9)
    someone = Factors(FACTORS, ["person=7"])
    first, second = someone.draw(4, 1), someone.draw(4, 2)
    theirs = [factor.name for factor in FACTORS if factor.of == "person"]
    assert {name: first[name] for name in theirs} == {name: second[name] for name in theirs}
    assert first != second


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("tone", "give factor=value"),
        ("tone=", "requires whole numbers"),
        ("colour=3", "Unknown factor 'colour'. Choose from person, tone"),
        ("tone=11", "requires whole numbers from 1..10"),
        ("tone=2.5", "requires whole numbers"),
        ("distance=far", "requires numbers from"),
        ("distance=nan", "requires numbers from"),
        ("distance=0.9..0.4", "the minimum is above the maximum"),
        ("hands=three", "Choose from 0, 1, 2, interacting"),
    ],
)
def test_a_wrong_setting_lists_known_values(text, says):
    with pytest.raises(InputError, match=says.replace(".", r"\.")) as error:
        Factors(FACTORS, [text])
    assert "\n" not in str(error.value)
