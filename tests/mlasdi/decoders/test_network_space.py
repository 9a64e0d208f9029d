"""Networks of full states and of rotated coordinates, once they are expressed in POD coordinates."""

import numpy as np
import pytest
import torch

from mlasdi.decoders import NetworkSpace
from mlasdi.preprocessing import BasisSettings, PodBasis
from mlasdi.stages import NetworkSettings, build_network

N_STATE = 12


@pytest.fixture(scope="module", params=[1, 2], ids=["one field", "two fields of different size"])
def space(request: pytest.FixtureRequest) -> NetworkSpace:
    rng = np.random.default_rng(0)
    u = rng.standard_normal((30, 4)) @ rng.standard_normal((4, N_STATE)) + 1.0
    if request.param == 2:
        u[:, N_STATE // 2 :] *= 100.0
    sizes = (N_STATE // request.param,) * request.param
    return NetworkSpace(basis=PodBasis.fit(u, BasisSettings(compress=False), sizes), full_states=True)


@pytest.fixture(scope="module")
def c(space: NetworkSpace) -> torch.Tensor:
    assert space.basis is not None
    return torch.randn(5, space.basis.rank, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def network(n_in: int, n_out: int) -> torch.nn.Sequential:
    """Random weights, biases included."""
    found = build_network(n_in, n_out, NetworkSettings(hidden=(7, 6)), torch.Generator().manual_seed(2))
    with torch.no_grad():
        for layer in found[::2]:
            layer.bias.copy_(torch.randn(layer.bias.shape, generator=torch.Generator().manual_seed(3)))
    return found


def test_networks_see_the_states(space: NetworkSpace, c: torch.Tensor) -> None:
    """Each field in its unit; differences of states have no mean."""
    assert space.basis is not None
    states = space.basis.lift(c.numpy()) / space.basis.unit
    np.testing.assert_allclose(space.seen(c).numpy(), states, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        space.seen(c, is_difference=True).numpy(), states - space.basis.mean / space.basis.unit, rtol=1e-5, atol=1e-5
    )


def test_the_encoder_is_the_same_function(space: NetworkSpace, c: torch.Tensor) -> None:
    full = network(N_STATE, 3)
    torch.testing.assert_close(space.encoder(full)(c.float()), full(space.seen(c)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("is_difference", [False, True])
def test_the_decoder_is_projected(space: NetworkSpace, is_difference: bool) -> None:
    assert space.basis is not None
    full, z = network(3, N_STATE), torch.randn(8, 3, generator=torch.Generator().manual_seed(4))
    decoded = full(z).detach().double().numpy() * space.basis.unit
    expected = space.basis.project(decoded + is_difference * space.basis.mean)
    found = space.decoder(full, is_difference=is_difference)(z).detach().numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_mean_squares_are_those_of_states(space: NetworkSpace, c: torch.Tensor) -> None:
    """Also where networks see POD coordinates, whose modes are orthonormal."""
    in_coordinates = NetworkSpace(basis=space.basis)
    full, small = space.seen(c, is_difference=True), in_coordinates.seen(c, is_difference=True)
    assert float(full.square().mean()) * space.square_unit == pytest.approx(
        float(small.square().mean()) * in_coordinates.square_unit, rel=1e-5
    )


def test_networks_of_rotated_coordinates_are_the_same_functions() -> None:
    """And what these networks see has a root mean square of one where POD coordinates have unit mean square norm."""
    space, c = NetworkSpace(), torch.randn(50, 6, generator=torch.Generator().manual_seed(1)).double()
    c /= c.square().sum(dim=1).mean().sqrt()
    seen = space.seen(c)
    assert float(seen.square().mean()) == pytest.approx(1.0)
    encoder, decoder, z = network(6, 2), network(2, 6), torch.randn(8, 2, generator=torch.Generator().manual_seed(4))
    torch.testing.assert_close(space.encoder(encoder)(c.float()), encoder(seen), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(space.seen(space.decoder(decoder)(z).double()), decoder(z), rtol=1e-4, atol=1e-5)
