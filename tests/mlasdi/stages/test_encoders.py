"""Encoders: a linear one recovers an affine map, and both are restored from their saved state."""

import torch

from mlasdi.stages import LinearEncoder, NetworkEncoder, NetworkSettings, build_network


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_an_affine_map_is_recovered():
    c, matrix, offset = random(3, 20, 5), random(5, 2, seed=1), random(2, seed=2)
    encoder = LinearEncoder.fit(c, c @ matrix + offset)
    torch.testing.assert_close(encoder.weights, torch.cat([offset[None], matrix]), rtol=1e-7, atol=1e-7)
    unseen = random(4, 5, seed=3)
    torch.testing.assert_close(encoder.encode(unseen), unseen @ matrix + offset, rtol=1e-7, atol=1e-7)


def test_fit_is_least_squares_where_no_affine_map_fits():
    c, z = random(3, 20, 5), random(3, 20, 2, seed=1)
    encoder = LinearEncoder.fit(c, z)
    library = torch.cat([torch.ones(60, 1, dtype=torch.float64), c.reshape(60, 5)], dim=1)
    expected = torch.linalg.lstsq(library, z.reshape(60, 2)).solution
    torch.testing.assert_close(encoder.weights, expected, rtol=1e-6, atol=1e-8)


def test_encoders_are_restored_from_their_state():
    settings = NetworkSettings(hidden=(6, 4))
    network = build_network(5, 2, settings, torch.Generator().manual_seed(0))
    c = random(3, 5)
    for encoder in (LinearEncoder(random(6, 2)), NetworkEncoder(network, settings)):
        rebuilt = type(encoder).from_state(*encoder.state())
        assert torch.equal(rebuilt.encode(c), encoder.encode(c))
        assert encoder.encode(c).dtype == torch.float64
        assert not encoder.encode(c).requires_grad
