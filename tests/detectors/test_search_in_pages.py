"""The search of web pages for bodies has the limits of Python."""

import pytest

from sonjit.detectors.search.score import LIMITS

from ..support.page_modules import run_module  # noqa: TID252  # one build for all packages


@pytest.mark.parametrize("least", [0.0, 0.25, 0.5, 1.0])
def test_people_and_heads_are_proposed_from_scores_that_follow_the_minimum(least):
    """Heads of lower scores are found too, because they cover other people."""
    heads = [LIMITS["head"] * share for share in (0.25, 0.75, 1.5, 2.5)]
    found, asked, proposed = run_module(
        """
        const {BodySearch} = await page("../search/bodies.js");
        const image = {width: 64, height: 64, data: new Uint8ClampedArray(4 * 64 * 64)};
        const asked = {faces: new Set(), people: new Set()};
        const keypoints = [[24, 20], [40, 20], [32, 26], [32, 34], [16, 22], [48, 22]];
        const faces = {
            find: async (_, score) => {
                asked.faces.add(score);
                return input.heads.map((score) => ({score, keypoints}));
            },
        };
        const people = {
            find: async (_image, _window, score) => {
                asked.people.add(score);
                return {people: [], hands: []};
            },
        };
        const search = new BodySearch(image, {faces, people}, {published: input.least, isThorough: true});
        const proposed = new Set();
        for await (const proposals of search.propose())
            for (const {score} of proposals) proposed.add(score);
        const scores = new Set(search.heads.map(({score}) => score));
        output([[...scores], {faces: [...asked.faces], people: [...asked.people]}, [...proposed]]);
        """,
        {"least": least, "heads": heads},
    )
    assert found == heads
    assert asked == {"faces": [LIMITS["head"]], "people": [LIMITS["person"] * least / 0.5]}
    assert proposed == [score for score in heads if score >= LIMITS["head"] * least / 0.5]


def test_minimum_scores_of_people_may_be_0_and_1():
    """They are limited to 0.001..0.999, as in Python."""
    counts = run_module(
        """
        const {PeopleNetwork} = await page("../search/network.js");
        const [side, values] = [38, 11];
        const map = new Float32Array(side * side * values);
        for (let cell = 0; cell < side * side; cell++) map[cell * values + 6] = -20;
        const cell = values * (19 * side + 19) + 6;
        [map[cell], map[cell + 3], map[cell + 4]] = [8, 1, 1.5];
        const image = {width: 300, height: 300, data: new Uint8ClampedArray(4 * 300 * 300)};
        const picture = {size: 300, rows: 300, input: new Float32Array(3 * 300 * 300), levels: new Float32Array(256)};
        const first = {...picture, samplesCentres: false, run: async () => [new Float32Array(1)]};
        const network = new PeopleNetwork(first, {input: new Float32Array(1), run: async () => [map]});
        const counts = [];
        for (const least of [0, 0.5, 1])
            counts.push((await network.find(image, [0, 0, 300, 300], least)).people.length);
        output(counts);
        """
    )
    assert counts == [1, 1, 1]
