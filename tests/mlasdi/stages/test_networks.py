"""Networks, random features and ridge regression against their formulas."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlasdi.stages import FeatureMap, NetworkSettings, build_network, ridge_solve
from mlasdi.stages.networks import Sine, network_from_state


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(
    hidden=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    activation=st.sampled_from(["tanh", "softplus", "sine"]),
    n_in=st.integers(1, 5),
    n_out=st.integers(1, 5),
)
def test_layers_and_their_initial_weights(hidden, activation, n_in, n_out):
    settings = NetworkSettings(hidden=tuple(hidden), activation=activation, kappa=2.5)
    network = build_network(n_in, n_out, settings, generator())
    linear = [layer for layer in network if isinstance(layer, nn.Linear)]
    assert [layer.in_features for layer in linear] == [n_in, *hidden]
    assert [layer.out_features for layer in linear] == [*hidden, n_out]
    for layer in linear:
        std = math.sqrt(2 / (layer.in_features + layer.out_features))
        assert layer.weight.abs().max() <= 2 * std * (1 + 1e-6)
        assert (layer.bias == 0).all()
    first, *others = [layer for layer in network if not isinstance(layer, nn.Linear)]
    assert isinstance(first, {"tanh": nn.Tanh, "softplus": nn.Softplus, "sine": Sine}[activation])
    assert all(isinstance(layer, nn.Softplus if activation == "softplus" else nn.Tanh) for layer in others)
    assert isinstance(network[-1], nn.Linear)


def test_weights_are_normal_clipped_at_two_standard_deviations():
    network = build_network(200, 300, NetworkSettings(hidden=(300,)), generator())
    weights = network[0].weight.detach() / math.sqrt(2 / 500)
    # The standard deviation of a standard normal variable restricted to [-2, 2].
    clipped = math.sqrt(1 - 4 * math.exp(-2) / math.sqrt(2 * math.pi) / math.erf(math.sqrt(2)))
    assert float(weights.std()) == pytest.approx(clipped, rel=0.01)
    assert float(weights.mean()) == pytest.approx(0, abs=0.02)


def test_the_sine_layer_multiplies_the_frequency():
    network = build_network(2, 1, NetworkSettings(hidden=(7,), activation="sine", kappa=11.0), generator())
    z = torch.randn(5, 2, generator=generator(1))
    hidden = torch.sin(11.0 * (z @ network[0].weight.T + network[0].bias))
    torch.testing.assert_close(network(z), hidden @ network[2].weight.T + network[2].bias)


def test_weights_follow_from_the_seed():
    settings = NetworkSettings(hidden=(4, 5))
    first, again = (build_network(2, 3, settings, generator(3)) for _ in range(2))
    other = build_network(2, 3, settings, generator(4))
    z = torch.ones(1, 2)
    assert torch.equal(first(z), again(z))
    assert not torch.equal(first(z), other(z))


def test_a_network_is_restored_from_its_weights():
    """Six hidden layers: their names are sorted as numbers, not as strings."""
    settings = NetworkSettings(hidden=(3, 4, 5, 6, 7, 8), activation="sine", kappa=2.0)
    network = build_network(2, 9, settings, generator())
    rebuilt = network_from_state(dict(network.state_dict()), settings)
    z = torch.randn(4, 2, generator=generator(1))
    assert torch.equal(network(z), rebuilt(z))


@pytest.mark.parametrize("bad", [{"hidden": ()}, {"kappa": 0.0}, {"activation": "relu"}, {"layers": 3}])
def test_bad_network_settings_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        NetworkSettings.model_validate(bad)


@pytest.mark.parametrize("n_sine", [0, 6])
def test_features_are_a_constant_the_input_its_products_and_sines(n_sine):
    features = FeatureMap.random(3, n_sine, 0.7, generator())
    s = torch.randn(2, 4, 3, generator=generator(1), dtype=torch.float64)
    values = features(s)
    assert values.shape == (2, 4, 1 + 3 + 6 + n_sine)
    a, b, c = s[1, 2].tolist()
    products = [1, a, b, c, a * a, a * b, a * c, b * b, b * c, c * c]
    sines = [
        math.sin(sum(x * w for x, w in zip((a, b, c), column, strict=True)) + phase)
        for column, phase in zip(features.frequencies.T.tolist(), features.phases.tolist(), strict=True)
    ]
    torch.testing.assert_close(values[1, 2], torch.tensor([*products, *sines], dtype=torch.float64))


def test_weighted_sums_are_products_with_the_features():
    features, s = FeatureMap.random(3, 7, 0.7, generator()), torch.randn(2, 5, 3, generator=generator()).double()
    weights = torch.randn(features(s).shape[-1], 4, generator=generator()).double()
    torch.testing.assert_close(features.weighted_sums(s, weights), features(s) @ weights)


def test_frequencies_have_the_asked_scale_and_phases_fill_the_circle():
    features = FeatureMap.random(4, 5000, 3.0, generator())
    assert float(features.frequencies.std()) == pytest.approx(3.0, rel=0.02)
    assert features.phases.abs().max() <= math.pi
    assert float(features.phases.std()) == pytest.approx(math.pi / math.sqrt(3), rel=0.03)


def test_ridge_minimises_misfit_plus_penalty():
    """Against least squares of the augmented system, and as a stationary point of the stated objective."""
    features = torch.randn(30, 8, generator=generator(), dtype=torch.float64)
    targets = torch.randn(30, 3, generator=generator(1), dtype=torch.float64)
    ridge = 0.05
    weights = ridge_solve(features, targets, ridge)
    augmented = torch.cat([features, math.sqrt(ridge * 30) * torch.eye(8, dtype=torch.float64)])
    zeros = torch.zeros(8, 3, dtype=torch.float64)
    expected = torch.linalg.lstsq(augmented, torch.cat([targets, zeros])).solution
    torch.testing.assert_close(weights, expected)
    w = weights.clone().requires_grad_()
    objective = (features @ w - targets).square().sum(dim=1).mean() + ridge * w.square().sum()
    (gradient,) = torch.autograd.grad(objective, w)
    assert gradient.abs().max() < 1e-10


def test_ridge_returns_non_finite_weights_where_features_overflow():
    """As unstable latent dynamics do when a step of the optimiser is too long; there is no warning."""
    features = torch.rand(5, 3, generator=generator(), dtype=torch.float64) * torch.tensor([1, 1, 1e200])
    assert not ridge_solve(features, torch.ones(5, 2, dtype=torch.float64), 1e-8).isfinite().all()
