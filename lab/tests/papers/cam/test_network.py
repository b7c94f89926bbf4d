"""Class activation maps of classifiers: sums of the maps, torchvision's weights, pooling."""

import pytest
import torch
import torchvision
from lab.tests.networks.properties import examples, twin

from sonjit import InputError
from sonjit_lab.networks import create_network, list_networks
from sonjit_lab.papers.cam import network as classifiers


@pytest.mark.nightly_after(2)
@pytest.mark.parametrize("name", list_networks("cam-*"))
def test_a_score_is_the_mean_of_its_map_and_the_bias(name):
    network = twin(name)
    with torch.inference_mode():
        out = network(*examples(name, 2))
        maps = classifiers.class_activation_map(out["features"], network.head.weight)
    assert maps.shape == (2, 3, *out["features"].shape[2:])
    torch.testing.assert_close(maps.mean((2, 3)) + network.head.bias, out["scores"], rtol=1e-5, atol=1e-5)


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
