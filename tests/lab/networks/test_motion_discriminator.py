"""The motion discriminator compared with the reference."""

import numpy as np
import pytest
import torch

from sonjit import InputError
from sonjit.lab.networks import create_network


@pytest.mark.golden
@pytest.mark.files("goldens/networks/motion_discriminator*.npz")
def test_judgements_are_the_references(file):
    network = create_network("motion-discriminator", "demo").eval()
    states = []
    network.gru.register_forward_hook(lambda *call: states.append(call[2][0]))
    with np.load(file) as golden, torch.inference_mode():
        out = network(torch.from_numpy(golden["seq"]))
        assert out.keys() <= set(golden)
        for name, value in out.items():
            np.testing.assert_allclose(value, golden[name], rtol=0, atol=1e-4 * abs(golden[name]).max())
        np.testing.assert_allclose(states[0].transpose(0, 1)[:, :, ::16], golden["gru_out"], rtol=0, atol=1e-4)


def test_motions_of_any_length_are_judged_and_others_refused():
    network = create_network("motion-discriminator", channels=8).eval()
    for count in (1, 7, 20):
        out = network(torch.zeros(2, count, 46))
        assert out["attention"].shape == (2, count)
        torch.testing.assert_close(out["attention"].sum(1), torch.ones(2))
    with pytest.raises(InputError, match=r"motions have shape \(2, 7, 48\); expected \(B, T, 46\)"):
        network(torch.zeros(2, 7, 48))
