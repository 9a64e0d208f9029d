"""Fully connected networks in float32, and fixed feature maps whose output weights have a closed form."""

import itertools
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from mlasdi.stages.settings import NetworkSettings


class Sine(nn.Module):
    """sin(kappa x)."""

    def __init__(self, kappa: float) -> None:
        super().__init__()
        self.kappa = kappa

    def forward(self, x: Tensor) -> Tensor:
        return torch.sin(self.kappa * x)


def build_network(n_in: int, n_out: int, settings: NetworkSettings, generator: torch.Generator) -> nn.Sequential:
    """Fully connected network; Xavier normal weights clipped at two standard deviations, zero biases."""
    sizes = (n_in, *settings.hidden, n_out)
    layers: list[nn.Module] = []
    for depth, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        linear = nn.Linear(fan_in, fan_out)
        std = math.sqrt(2 / (fan_in + fan_out))
        nn.init.trunc_normal_(linear.weight, std=std, a=-2 * std, b=2 * std, generator=generator)
        nn.init.zeros_(linear.bias)
        layers.append(linear)
        if depth == len(sizes) - 2:
            break
        if settings.activation == "softplus":
            layers.append(nn.Softplus())
        elif settings.activation == "sine" and depth == 0:
            layers.append(Sine(settings.kappa))
        else:
            layers.append(nn.Tanh())
    return nn.Sequential(*layers)


def network_from_state(tensors: dict[str, Tensor], architecture: NetworkSettings) -> nn.Sequential:
    """The network that has these weights."""
    linear = [tensor for name, tensor in sorted(tensors.items(), key=_depth) if name.endswith("weight")]
    network = build_network(linear[0].shape[1], linear[-1].shape[0], architecture, torch.Generator())
    network.load_state_dict(tensors)
    return network


def _depth(item: tuple[str, Tensor]) -> int:
    return int(item[0].split(".")[0])


class FeatureMap:
    """Fixed features of an input s: 1, s, the products s_i s_j, and random sines `sin(kappa (W s + b))`.

    A decoder that is linear in these features has its output weights in closed form (ridge regression).
    """

    def __init__(self, frequencies: Float[Tensor, "n_in n_sine"], phases: Float[Tensor, " n_sine"]) -> None:
        self.frequencies = frequencies
        self.phases = phases
        self._pairs = torch.triu_indices(len(frequencies), len(frequencies))

    @classmethod
    def random(cls, n_in: int, n_sine: int, kappa: float, generator: torch.Generator) -> "FeatureMap":
        """Normal frequencies of standard deviation `kappa`, uniform phases; float64."""
        frequencies = kappa * torch.randn(n_in, n_sine, generator=generator, dtype=torch.float64)
        phases = math.pi * (2 * torch.rand(n_sine, generator=generator, dtype=torch.float64) - 1)
        return cls(frequencies, phases)

    def __call__(self, s: Float[Tensor, "*batch n_in"]) -> Float[Tensor, "*batch n_features"]:
        return torch.cat([self._polynomial(s), self._sines(s)], dim=-1)

    def weighted_sums(
        self, s: Float[Tensor, "*batch n_in"], weights: Float[Tensor, "n_features n_out"]
    ) -> Float[Tensor, "*batch n_out"]:
        """`self(s) @ weights`, without a copy of all features in one array."""
        rows = s.reshape(-1, s.shape[-1])
        polynomial = self._polynomial(rows)
        split = polynomial.shape[-1]
        sums = torch.addmm(polynomial @ weights[:split], self._sines(rows), weights[split:])
        return sums.reshape(*s.shape[:-1], -1)

    def _polynomial(self, s: Float[Tensor, "*batch n_in"]) -> Float[Tensor, "*batch n_monomials"]:
        i, j = self._pairs
        products = s.index_select(-1, i) * s.index_select(-1, j)
        return torch.cat([torch.ones_like(s[..., :1]), s, products], dim=-1)

    def _sines(self, s: Float[Tensor, "*batch n_in"]) -> Float[Tensor, "*batch n_sine"]:
        return torch.sin(torch.matmul(s, self.frequencies).add_(self.phases))


def ridge_solve(
    features: Float[Tensor, "sample n_features"], targets: Float[Tensor, "sample n_out"], ridge: float
) -> Float[Tensor, "n_features n_out"]:
    """Weights W that minimise mean |features W - targets|^2 + ridge |W|^2, by the normal equations.

    They are not finite where the features overflow, as those of unstable latent dynamics do. The optimiser then takes a
    shorter step.
    """
    rows = features.detach().numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        gram = torch.from_numpy(rows.T @ rows)  # NumPy uses that the product is symmetric, which takes half the time
    gram.diagonal().add_(ridge * len(features))
    # The memory layout of loaded weights, so that a surrogate predicts the same to the last bit after saving.
    return torch.linalg.solve(gram, features.T @ targets).contiguous()
