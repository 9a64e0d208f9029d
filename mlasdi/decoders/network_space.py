"""The variables in which networks are trained, POD coordinates or full states, and where."""

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mlasdi.preprocessing import PodBasis

SEED = 0  # of the rotation


@dataclass(frozen=True)
class NetworkSpace:
    """Variables and device of a training of networks.

    With `full_states` a network sees the values of the states, as published. Otherwise it sees POD coordinates after a
    random rotation, scaled to a root mean square of one: like the values of a state, they are then of equal size, which
    suits Adam, and POD coordinates are not (after 2,500 steps on the multiscale problem, errors of both stages fall
    from 23 and 8 to 17 and 5 %).

    After the training the outermost layers are expressed in POD coordinates: exactly for rotated ones and for encoders
    of states in the span of the basis, by orthogonal projection for decoders of full states. What such a decoder has
    outside of the span of the training data is dropped.

    Attributes:
        device: on which networks are trained, as torch names it.
        interval: length of the training interval, in the solver's unit of time.
        basis: from POD coordinates to states; None if the coordinates are all that is known.
        full_states: whether networks see states in place of their POD coordinates.
    """

    device: str = "cpu"
    interval: float = 1.0
    basis: PodBasis | None = None
    full_states: bool = False

    def seen(self, c: Float[Tensor, "*batch rank"], *, is_difference: bool = False) -> Float[Tensor, "*batch variable"]:
        """What networks see of POD coordinates, in single precision.

        Args:
            is_difference: of two states, so that the mean state has no part in it.
        """
        columns, mean = self._map(c.shape[-1])
        values = c @ columns.T if is_difference else mean + c @ columns.T
        return values.float().to(self.device)

    @property
    def square_unit(self) -> float:
        """Factor from mean squares of what networks see to mean squares of the values of states."""
        if self.full_states or self.basis is None:
            return 1.0
        return self.basis.scale**2 / len(self.basis.mean)

    def encoder(self, network: nn.Sequential) -> nn.Sequential:
        """The encoder as a function of POD coordinates, on the CPU."""
        first, *_ = network.parameters()
        columns, mean = self._map(first.shape[1])
        return _with_layer(network, 0, lambda weight, bias: (weight @ columns, bias + weight @ mean))

    def decoder(self, network: nn.Sequential, *, is_difference: bool = False) -> nn.Sequential:
        """The decoder with POD coordinates as its values, on the CPU; argument as for `seen`."""
        *_, last_bias = network.parameters()
        columns, mean = self._map(len(last_bias))
        projection = columns.T / columns.square().sum(dim=0)[:, None]
        offset = torch.zeros_like(mean) if is_difference else mean
        return _with_layer(network, -1, lambda weight, bias: (projection @ weight, projection @ (bias - offset)))

    def _map(self, n: int) -> tuple[Float[Tensor, "variable rank"], Float[Tensor, " variable"]]:
        """Orthogonal columns that POD coordinates are multiplied by, and what is added.

        Args:
            n: number of coordinates, where networks see rotated ones.
        """
        if self.full_states:
            assert self.basis is not None  # full states are asked for only where the basis is known
            unit = torch.from_numpy(self.basis.norm_unit)
            columns = self.basis.scale * torch.from_numpy(self.basis.modes) / unit.reshape(-1, 1)
            return columns, torch.from_numpy(self.basis.mean) / unit
        rotation = np.linalg.qr(np.random.default_rng(SEED).standard_normal((n, n)))[0]
        # The root mean square norm of POD coordinates is one.
        return torch.from_numpy(math.sqrt(n) * rotation), torch.zeros(n).double()


def _with_layer(
    network: nn.Sequential, place: int, change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
) -> nn.Sequential:
    """A copy of the network with another weight and bias in one linear layer."""
    layers = list(deepcopy(network).cpu())
    weight, bias = (parameter.detach().double() for parameter in layers[place].parameters())
    weight, bias = change(weight, bias)
    with torch.no_grad():
        new = nn.Linear(weight.shape[1], weight.shape[0])
        new.weight.copy_(weight)
        new.bias.copy_(bias)
    layers[place] = new
    return nn.Sequential(*layers)
