"""The choice of kappa: on signals of known frequency, and where training and left-out errors disagree."""

import math

import pytest
import torch

from mlasdi.decoders import DecoderSettings
from mlasdi.decoders.sine_frequency import FRACTIONS, left_out_error, spectral_kappa, with_kappa
from mlasdi.latent import Trajectories
from mlasdi.stages import NetworkSettings
from mlasdi.training import ModelSettings, fit

T = torch.linspace(0, 1, 401).double()
AMPLITUDES = torch.tensor([1.0, 1.2, 1.4]).double()


def circles(amplitudes: torch.Tensor = AMPLITUDES) -> Trajectories:
    """Latent trajectories that go once around a circle of radius A, the parameter."""
    phase = 2 * math.pi * T
    z = amplitudes[:, None, None] * torch.stack([phase.cos(), phase.sin()], dim=-1)
    return Trajectories(amplitudes[:, None], T, z)


def wave(cycles: int, along: Trajectories) -> torch.Tensor:
    """A residual that oscillates `cycles` times, of the amplitude of the latent state."""
    return along.x[:, :, None] * torch.sin(2 * math.pi * cycles * T)[None, :, None]


def settings(**given) -> DecoderSettings:
    network = NetworkSettings(hidden=(30, 30), activation="sine")
    return DecoderSettings.model_validate({"network": network.model_dump(), "steps": 1500, **given})


@pytest.mark.parametrize("cycles", [3, 12])
def test_the_spectrum_of_a_pure_tone_is_its_frequency(cycles):
    """A latent state of speed 2 pi A, and weights of variance 2 / (2 + 30)."""
    along = circles(torch.tensor([1.5, 1.5]).double())
    expected = cycles / 1.5 * math.sqrt((2 + 30) / 2)
    assert spectral_kappa(along, wave(cycles, along), 30) == pytest.approx(expected, rel=0.02)


def test_the_spectrum_ignores_the_size_of_the_residual_and_a_constant():
    along = circles()
    residual = wave(5, along)
    assert spectral_kappa(along, 1e-6 * residual + 3, 30) == pytest.approx(spectral_kappa(along, residual, 30))


def test_kappa_is_unknown_where_nothing_changes_in_time():
    along = circles()
    still = Trajectories(along.x, T, torch.full_like(along.z, 0.1))
    assert spectral_kappa(still, wave(5, along), 30) is None
    assert spectral_kappa(along, torch.full_like(along.z, 0.1), 30) is None
    chosen = with_kappa(still, wave(5, along), settings(kappa="auto"), torch.Generator())
    assert chosen.network.kappa == 1.0


@pytest.mark.slow
def test_left_out_trajectories_reject_a_kappa_that_overfits():
    """The residual depends on the phase alone, which all radii share. Fast features separate the radii."""
    along = circles()
    residual = wave(2, along)
    generator = torch.Generator().manual_seed(0)
    slow, fast = (
        left_out_error(along, residual, with_kappa(along, residual, settings(kappa=(kappa,)), generator), generator)
        for kappa in (2.0, 60.0)
    )
    assert slow < 0.3 < fast
    assert with_kappa(along, residual, settings(kappa=(60.0, 2.0)), generator).network.kappa == 2.0


def test_the_choice_does_not_change_the_random_numbers_of_the_training():
    along = circles()
    generator = torch.Generator().manual_seed(0)
    before = generator.get_state()
    chosen = with_kappa(along, wave(2, along), settings(kappa="auto", steps=5), generator)
    assert torch.equal(generator.get_state(), before)
    top = spectral_kappa(along, wave(2, along), 30)
    assert chosen.network.kappa in [fraction * top for fraction in FRACTIONS]
    assert chosen.kappa is None


def test_settings_without_a_choice_are_returned_unchanged():
    along = circles()
    given = settings()
    assert with_kappa(along, wave(2, along), given, torch.Generator()) is given


def test_a_kappa_without_a_sine_layer_is_refused():
    with pytest.raises(ValueError, match="sine"):
        DecoderSettings(network=NetworkSettings(activation="tanh"), kappa="auto")
    assert DecoderSettings(kappa=3).kappa == (3.0,)
    for bad in ((-1.0,), (), "fast", (1.0, float("nan"))):
        with pytest.raises(ValueError, match="positive numbers in a list") as failure:
            DecoderSettings(kappa=bad)
        assert failure.value.error_count() == 1


@pytest.mark.slow
def test_the_choice_is_part_of_a_model(burgers_data):
    stage = {"kind": "decoder", "steps": 20, "kappa": "spectrum"}
    given = {"kind": "mlasdi-paper", "latent_dim": 2, "n_time": 21, "first_stage": {"steps": 20}, "stages": [stage]}
    surrogate = fit(burgers_data, ModelSettings.model_validate(given), seed=0)
    _, decoder = surrogate.model.stages
    assert decoder.settings.kappa != 1.0
    assert surrogate.record.stage_names[1] == f"sine-decoder (kappa {decoder.settings.kappa:.3g})"
