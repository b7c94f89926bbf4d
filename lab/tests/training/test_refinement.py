"""Training of the refinement: keypoint definition, network, format, and equal results in detectors."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit._util.data_files import ASSETS
from sonjit.cli import main
from sonjit.detectors.kinds.hand_heads import REFINEMENT_ASSET, HandRefinement, RefinementInputs, load_hand_refinement
from sonjit_lab.training.hands import refinement, refinement_data
from sonjit_lab.training.hands.refinement import CHANNELS, Refinement, RefinementSettings
from sonjit_lab.training.hands.refinement_data import RefinableHands, map_files
from sonjit_lab.training.recipes import TrainingRequest, run_recipe

from .small_runs import held_out_frames, origin

SIDES = (28, 14, 7)


def made_hands(count, seed=0):
    """Return hands whose detected keypoints are the exact ones with noise."""
    rng = np.random.default_rng(seed)
    exact = rng.uniform(0.2, 0.8, (count, 21, 3)).astype(np.float32)
    world = 0.2 * exact
    keypoints = exact + rng.normal(0, 0.005, exact.shape).astype(np.float32)
    visible = np.ones((count, 21), np.bool_)
    return RefinableHands(keypoints, world, exact, world, visible, np.arange(count))


def made_maps(model, count, seed=0):
    rng = np.random.default_rng(seed)
    shapes = zip(CHANNELS[model], SIDES, strict=True)
    return [torch.from_numpy(rng.random((count, side * side, depth)).astype(np.float16)) for depth, side in shapes]


def as_taps(maps, row):
    """Return the maps (1, C, side, side) of a row, as an engine returns them."""
    return [values[row].float().numpy().T.reshape(1, -1, side, side) for values, side in zip(maps, SIDES, strict=True)]


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """Return data whose maps are generated, because another test covers the reading of images."""
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)

    def made_up(root, model, more, out, progress):
        out.mkdir(parents=True, exist_ok=True)
        for file, values in zip(map_files(out), made_maps(model, 12, seed=len(root.name)), strict=True):
            file.write_bytes(values.numpy().tobytes())
        return made_hands(12)

    monkeypatch.setattr(refinement_data, "write_refinable_hands", made_up)
    return tmp_path / "data"


@pytest.mark.parametrize("model", CHANNELS)
def test_the_arrays_equal_the_network(model):
    torch.manual_seed(0)
    network = Refinement(channels=4, hidden=8, rounds=2, dropout=0.1)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    maps, hands = made_maps(model, 3), made_hands(3)
    network.fit_normalisation(model, maps)
    network.eval()
    with torch.no_grad():
        found, world, log_error = network(model, maps, torch.from_numpy(hands.keypoints), torch.from_numpy(hands.world))
    starts = (f"{model}.", "both.")
    arrays = {
        name.partition(".")[2]: value.astype(np.float32)
        for name, value in network.arrays().items()
        if name.startswith(starts)
    }
    for row in range(3):
        inputs = RefinementInputs(hands.keypoints[row], hands.world[row], as_taps(maps, row))
        keypoints, metres, error = HandRefinement(arrays)(inputs)
        np.testing.assert_allclose(keypoints, found[-1][row], atol=2e-3)
        np.testing.assert_allclose(metres, world[row], atol=2e-3)
        np.testing.assert_allclose(error, log_error[row].exp(), rtol=2e-2)


def test_a_definition_moves_exact_keypoints_to_those_of_the_network():
    """Shift the tip of the thumb along its last bone, by a tenth of the bone."""
    hands = made_hands(200)
    shifted = hands.exact.copy()
    shifted[:, 4] += 0.1 * (hands.exact[:, 3] - hands.exact[:, 4])
    hands = refinement_data.replace(hands, keypoints=shifted)
    definition = refinement_data.published_definition(hands)
    np.testing.assert_allclose(definition[4], [0.1, 0, 0], atol=2e-3)
    np.testing.assert_allclose(np.delete(definition, 4, 0), 0, atol=2e-3)
    assert hands.defined_by(definition).errors(shifted).max() < 1e-3 < hands.errors(shifted).max()


def test_hands_are_held_out_of_training():
    with pytest.raises(InputError, match="refine-1 is in train and in held_out"):
        RefinementSettings(train=("refine-1",), held_out=("refine-1",))


def test_the_recipe_writes_the_shipped_format(folders, tmp_path):
    """Train with the widths of the recipe's full size, on few hands."""
    settings = {"train": "a", "held_out": "b", "steps": "2", "batch": "4"}
    results = run_recipe(TrainingRequest("refine", tmp_path / "run", data=folders, settings=settings))
    with np.load(results["refinement"]) as written, np.load(ASSETS / REFINEMENT_ASSET) as shipped:
        assert list(written) == list(shipped)
        for name in shipped:
            assert (written[name].shape, written[name].dtype) == (shipped[name].shape, shipped[name].dtype)
        np.testing.assert_array_equal(written["both.share"], shipped["both.share"])


def test_the_recipe_writes_the_same_refinement_again(folders, tmp_path):
    settings = {"train": "a", "held_out": "b", "steps": "4", "batch": "8", "hidden": "4", "channels": "4"}

    def run(name):
        return run_recipe(TrainingRequest("refine", tmp_path / name, data=folders, settings=settings))

    results = run("one")
    assert {"full_error_ratio", "lite_joints_close", "definition"} <= set(results)
    run("two")
    first, second = ((tmp_path / name / REFINEMENT_ASSET).read_bytes() for name in ("one", "two"))
    assert first == second


@pytest.mark.usefixtures("weights")
@pytest.mark.parametrize("model", CHANNELS)
def test_the_shipped_refinement_reduces_errors_as_stored(model, tmp_path):
    """Evaluate hands of the bundled clip with the recipe's data and metrics, and compare with stored numbers."""
    engine = refinement_data.load_engine(
        refinement_data.find_weight(f"hand-{model}"), refinement_data.EXACT, taps=refinement_data.TAPS
    )
    crops = [
        (*crop.row, crop.maps, sample.frame)
        for sample in held_out_frames(tmp_path)
        for crop in refinement_data._crops(sample, engine, 0, np.random.default_rng(sample.frame))
    ]
    keypoints, world, exact, exact_world, visible, maps, image = zip(*crops, strict=True)
    columns = (keypoints, world, exact, exact_world, visible, image)
    hands = RefinableHands(*map(np.array, columns))
    shipped = load_hand_refinement(model)
    taps = [[torch.from_numpy(each)[None] for each in row] for row in maps]
    found = [
        shipped(RefinementInputs(*row, as_taps(own, 0)))
        for *row, own in zip(hands.keypoints, hands.world, taps, strict=True)
    ]
    refined, metres, error = map(np.array, zip(*found, strict=True))
    metrics = refinement.refinement_metrics(hands, refined, error, metres)
    for name, stored in origin(REFINEMENT_ASSET)["bundled_clip"][model].items():
        assert metrics[name] == pytest.approx(stored, rel=0.01), name


@pytest.mark.slow
@pytest.mark.usefixtures("weights", "renderer", "rigs")
def test_crops_of_rendered_hands_have_exact_keypoints(tmp_path):
    factors = ("hands=1", "gesture=open", "distance=0.35", "yaw_deg=0", "held=none", "occluders=0", "cut=0")
    arguments = [word for factor in factors for word in ("--set", factor)]
    assert main(["synth", str(tmp_path / "data"), "--count", "3", "--seed", "3", *arguments]) == 0
    hands = refinement_data.write_refinable_hands(tmp_path / "data", "lite", 1, tmp_path / "maps")
    sizes = [file.stat().st_size // 2 for file in map_files(tmp_path / "maps")]
    assert sizes == [len(hands) * side * side * depth for side, depth in zip(SIDES, CHANNELS["lite"], strict=True)]
    assert hands.errors(hands.keypoints).mean() < 0.12
    np.testing.assert_allclose(hands.exact_world.mean(1), hands.world.mean(1), atol=1e-5)
    assert np.linalg.norm(hands.exact_world - hands.world, axis=2).mean() < 0.04  # metres; in other axes it is larger
