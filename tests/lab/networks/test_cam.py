"""Class activation maps of classifiers: sums of the maps, torchvision's weights, pooling."""

import pytest
import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from sonjit import InputError
from sonjit.lab.networks import create_network, list_networks, network_entry
from sonjit.lab.networks.classifiers import class_activation_map

NAMES = list_networks("cam-*")


def twin(name, **options):
    """Return a tiny network of that name with random weights, and a batch for it."""
    entry = network_entry(name)
    network = create_network(name, "demo", **entry.tiny, **options).eval()
    return network, entry.tiny_inputs[0].example(2)


def test_the_origins_of_checkpoints_are_files_of_torchvision():
    enums = [torchvision.models.get_model_weights(name) for name in torchvision.models.list_models()]
    files = {weights.url for enum in enums for weights in enum}
    origins = [network_entry(name).where for name in (*NAMES, *list_networks("fc-*"))]
    urls = [word for origin in origins for word in origin.split() if word.startswith("https://")]
    assert len(urls) == len(origins) - 3  # all but cam-nin, cam-small, fc-small
    assert set(urls) <= files


@pytest.mark.parametrize("name", NAMES)
def test_a_score_is_the_mean_of_its_map_and_the_bias(name):
    network, images = twin(name)
    with torch.inference_mode():
        out = network(images)
        maps = class_activation_map(out["features"], network.head.weight)
    assert maps.shape == (2, 3, *out["features"].shape[2:])
    torch.testing.assert_close(maps.mean((2, 3)) + network.head.bias, out["scores"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_max_pooling_scores_at_least_what_a_mean_of_positive_features_would(name):
    gap, images = twin(name)
    gmp, _ = twin(name, pooling="gmp")
    with torch.inference_mode():
        features = gmp(images)["features"]
        torch.testing.assert_close(gap(images)["features"], features)
        peaks = torch.stack([channel.max() for channel in features[0]])
        torch.testing.assert_close(gmp(images)["scores"][0], gmp.head(peaks))


@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(0, 99))
def test_maps_of_any_shape_sum_to_the_weighted_sums(batch, classes, channels, side, seed):
    generator = torch.Generator().manual_seed(seed)
    features = torch.rand(batch, channels, side, side + 1, generator=generator)
    weights = torch.randn(classes, channels, generator=generator)
    maps = class_activation_map(features, weights)
    torch.testing.assert_close(maps.sum((2, 3)), features.sum((2, 3)) @ weights.T, rtol=1e-5, atol=1e-4)
    chosen = [classes - 1, 0]
    torch.testing.assert_close(class_activation_map(features, weights, chosen), maps[:, chosen])


def test_a_checkpoint_of_torchvision_gives_torchvisions_scores(tmp_path):
    official = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1], num_classes=3).eval()
    torch.save(official.state_dict(), tmp_path / "resnet.pth")
    network = create_network("cam-resnet18", tmp_path / "resnet.pth", tiny=True, classes=3).eval()
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        expected = official((images - network.mean) / network.std)
        torch.testing.assert_close(network(images)["scores"], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_backbone_of_torchvision_loads_and_what_it_lacks_stays(tmp_path):
    official = torchvision.models.GoogLeNet(num_classes=2, init_weights=False).eval()
    torch.save(official.state_dict(), tmp_path / "googlenet.pth")
    fresh = create_network("cam-googlenet", classes=3, units=(16,))
    head = fresh.head.weight.clone()
    fresh.load_official(official.state_dict())
    torch.testing.assert_close(fresh.head.weight, head)
    torch.testing.assert_close(
        fresh.state_dict()["backbone.inception4e.branch1.conv.weight"], official.inception4e.branch1.conv.weight
    )
    with pytest.raises(InputError, match="do not fit cam-vgg16"):
        create_network("cam-vgg16", tmp_path / "googlenet.pth", tiny=True)


@pytest.mark.parametrize("options", [{"pooling": "median"}, {"classes": 0}], ids=str)
def test_an_option_that_makes_no_network_is_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        create_network("cam-small", **options)


def test_it_learns():
    torch.manual_seed(0)
    network, images = twin("cam-small")
    network.train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    labels = torch.tensor([0, 1])
    losses = []
    for _ in range(8):
        loss = cross_entropy(network(images)["scores"], labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
