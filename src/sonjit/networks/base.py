"""What every network is: a `torch.nn.Module` whose forward gives a mapping from name to tensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import nn

from sonjit.errors import InputError
from sonjit.networks.checkpoints import fit_state_dict

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from torch import Tensor


class Network(nn.Module):
    """Base of the networks of this room.

    Attributes:
        name: under which it is registered; set by `create_network`.
    """

    name: str = "network"

    def load_official(self, state_dict: Mapping[str, Tensor], strict: bool = True) -> None:
        """Take over weights under the names of the official code.

        Args:
            state_dict: official key -> tensor; a leading "module." is dropped.
            strict: refuse missing and unexpected keys too, not only those of another shape.

        Raises:
            InputError: naming the keys that do not fit and the network that they would.
        """
        fit_state_dict(self, self.from_official(state_dict), strict=strict)

    def from_official(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Official keys and layouts as this module's own; what differs by network is overridden there."""
        return {key.removeprefix("module."): value for key, value in state_dict.items()}

    def load_tflite(self, path: Path) -> None:
        """Take over the weights of a published TFLite file.

        Raises:
            InputError: there is no such file for this network, or it holds another one.
        """
        raise InputError(f"{self.name} has no TFLite form: {path.name} cannot be loaded into it")

    if TYPE_CHECKING:

        def __call__(self, *args: Any, **kwargs: Any) -> dict[str, Tensor]: ...  # noqa: ANN401
