"""InterNet as an exported file: equal outputs, and one line for invalid files."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.engines.quiet_openvino import ov
from sonjit.lab.lifting import Lift, create_lifter
from sonjit.lab.lifting.lifter import ExportedInterNet
from sonjit.lab.networks import create_network, network_entry
from sonjit.lab.networks.export import export_network
from sonjit.lab.networks.internet import LAYOUTS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize(("ending", "dynamic"), [(".xml", False), (".onnx", True)])
def test_an_exported_file_gives_the_networks_numbers(tmp_path, ending, dynamic):
    network = create_network("internet", "demo", layout="rhd", **network_entry("internet").tiny).eval()
    path = tmp_path / f"internet{ending}"
    export_network(network, network_entry("internet").tiny_inputs, path, dynamic_batch=dynamic)
    crops = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(3))
    exported = ExportedInterNet(path).eval()
    with torch.inference_mode():
        expected, given = network(crops), exported(crops)
    assert given.keys() == {"joint_coord", "rel_root_depth", "hand_type"}
    for name, value in given.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-3, atol=1e-3)
    assert exported.layout is LAYOUTS["rhd"]
    assert exported.space == network.space
    create_lifter(Lift(weights=str(path)))
    with pytest.raises(InputError, match="was written with layout='rhd', not 'stb'"):
        create_lifter(Lift(weights=str(path), layout="stb"))
    if ending == ".xml":  # as if another program had written it
        path.write_text(path.read_text("utf-8").replace("sonjit", "other"), "utf-8")
        with pytest.raises(InputError, match=r"internet.xml does not define its layout; set .* interhand, stb or rhd"):
            create_lifter(Lift(weights=str(path)))
        assert ExportedInterNet(path, "stb").layout is LAYOUTS["stb"]


def test_other_files_are_refused_in_one_line(tmp_path):
    ops = ov.opset13
    image = ops.parameter([1, 3, 256, 256], np.float32)
    ov.save_model(ov.Model([ops.relu(image)], [image]), tmp_path / "relu.xml")
    (tmp_path / "junk.xml").write_bytes(b"<net")
    (tmp_path / "junk.onnx").write_bytes(b"\0" * 40)
    cases = {
        "relu.xml": "not an InterNet",
        "junk.xml": "not a model",
        "junk.onnx": "o",
        "absent.xml": "no such model file",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message) as caught:
            create_lifter(Lift(weights=str(tmp_path / name)))
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)
