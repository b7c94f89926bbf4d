"""What images of a class have in common, and answers to questions."""

import numpy as np
import pytest

from sonjit import InputError
from sonjit.explain import informative_regions, mean_map, train_answerer

RNG = np.random.default_rng(6)


def test_the_loudest_region_comes_first_and_silent_images_are_left_out():
    images = [RNG.integers(0, 255, (40, 80, 3), np.uint8) for _ in range(3)]
    maps = [np.full((4, 8), -1.0, np.float32) for _ in range(3)]
    maps[0][1, 2], maps[2][2, 5] = 3, 9
    regions = informative_regions(images, maps)
    assert [one.index for one in regions] == [2, 0]
    x_min, y_min, x_max, y_max = (int(edge) for edge in regions[0].box)
    assert x_min <= 55 <= x_max
    assert y_min <= 25 <= y_max
    np.testing.assert_array_equal(regions[0].crop, images[2][y_min:y_max, x_min:x_max])
    with pytest.raises(InputError, match="one per image"):
        informative_regions(images, maps[:1])


def test_no_image_drowns_the_others_in_the_mean():
    maps = [np.zeros((2, 2), np.float32) for _ in range(2)]
    maps[0][0, 0], maps[1][1, 1] = 1, 1000
    np.testing.assert_allclose(mean_map(maps), [[0.5, 0], [0, 0.5]])
    with pytest.raises(InputError, match="at least one"):
        mean_map([])


def make_questions(count):
    """Images of a red or green thing on the left or right, and questions about colour and side."""
    rng = np.random.default_rng(count)
    features, questions, answers, places = [], [], [], []
    for _ in range(count):
        colour, side = rng.integers(2, size=2)
        one = rng.uniform(0, 0.05, (4, 3, 6))  # channels: red, green, left, right
        column = int(4 * side + rng.integers(2))
        one[colour, 1, column] = one[2 + side, 1, column] = 1
        about = rng.random() < 0.5
        features.append(one)
        questions.append("What colour is it?" if about else "On which side is it?")
        answers.append(("red", "green")[colour] if about else ("left", "right")[side])
        places.append(column)
    return features, questions, answers, places


def test_questions_are_answered_and_the_map_shows_the_thing():
    features, questions, answers, _ = make_questions(200)
    answerer = train_answerer(np.stack([one.mean((1, 2)) for one in features]), questions, answers)
    assert "colour" in answerer.words
    right = 0
    features, questions, answers, places = make_questions(60)
    for one, question, answer, column in zip(features, questions, answers, places, strict=True):
        said, probability, where = answerer.answer(one, question)
        right += said == answer
        assert 0 < probability <= 1
        if said == answer:
            assert np.unravel_index(where.argmax(), where.shape) == (1, column)
    assert right >= 55


def test_the_answers_part_from_the_image_is_the_mean_of_its_map():
    features, questions, answers, _ = make_questions(30)
    answerer = train_answerer(np.stack([one.mean((1, 2)) for one in features]), questions, answers, steps=20)
    said, _, where = answerer.answer(features[0], "what?")
    weights = answerer.image_weights[answerer.answers.index(said)]
    assert where.mean() == pytest.approx(weights @ features[0].mean((1, 2)), rel=1e-5)


def test_what_does_not_belong_together_is_refused():
    with pytest.raises(InputError, match="as many of each"):
        train_answerer(np.zeros((2, 3)), ["a"], ["b"])
