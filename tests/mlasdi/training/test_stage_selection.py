"""Which stages are kept: decided on data whose best model is known."""

import numpy as np
import pytest
import torch

from mlasdi.alignment import Aligned
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.stages import FeatureMap, FeatureStage, KrigingStage, StagedModel, TrainingSet
from mlasdi.training import ModelSettings, StageSelection, TrainingContext
from mlasdi.training.settings import KrigingSettings, SineFeaturesSettings

FEATURES = {"kind": "sine-features", "kappa": [0.3], "ridge": [1e-5]}
KRIGING = {"kind": "kriging"}


@pytest.fixture
def data(oscillator, points) -> TrainingSet:
    return oscillator.training_set(points, np.array([[0.15], [0.62]]))


def context(data: TrainingSet, basis: PodBasis, *stages: dict, **given) -> TrainingContext:
    settings = {"first_stage": {"kind": "variable-projection"}, "stages": stages, "latent_dim": 2, **given}
    return TrainingContext(
        settings=ModelSettings.model_validate(settings),
        data=data,
        aligned=Aligned(basis, data.c.numpy()),
        generator=torch.Generator().manual_seed(0),
        report=lambda progress: None,
        space=ParameterSpace((Parameter("s", 0.0, 1.0),)),
    )


def first_model(oscillator, data: TrainingSet, ridge: float) -> StagedModel:
    """The true dynamics with a decoder that is exact for a small ridge, and too flat for a large one."""
    decoder = FeatureStage.unfitted(FeatureMap.random(2, 4, 0.5, torch.Generator().manual_seed(0)), ridge)
    return StagedModel(oscillator.latent_model(data.x), (decoder,)).refit(data)


def test_the_better_of_two_variants_is_kept(oscillator, data, four_coordinates):
    """A ridge of 10 fits next to nothing of the residual."""
    stage = FEATURES | {"ridge": [10.0, 1e-5]}
    selection = StageSelection(context(data, four_coordinates, stage))
    model = selection.add_stages(first_model(oscillator, data, 0.1))
    assert selection.names == ["sine-features (kappa 0.3, ridge 1e-05)"]
    assert model.stages[1].ridge == 1e-5
    assert selection.dropped == {}


def test_a_stage_is_dropped_where_the_model_is_exact_already(oscillator, data, four_coordinates):
    """What an exact decoder leaves is rounding; features fitted to it cannot lower the error by a tenth."""
    selection = StageSelection(context(data, four_coordinates, FEATURES))
    before = first_model(oscillator, data, 1e-10)
    assert selection.add_stages(before) is before
    assert selection.names == []
    (error,) = selection.dropped.values()
    assert error > 0.9 * selection.context.loo_error(before)


def test_without_min_gain_every_stage_is_kept(oscillator, data, four_coordinates):
    selection = StageSelection(context(data, four_coordinates, FEATURES, KRIGING, min_gain=None))
    model = selection.add_stages(first_model(oscillator, data, 1e-10))
    assert [stage.kind for stage in model.stages] == ["sine-features", "sine-features", "kriging"]
    assert model.stages[-1].drift_weight == 1
    losses = [selection.losses[name][0][1] for name in selection.names]
    assert losses[1] < 1e-8  # kriging reproduces the training data
    assert set(selection.losses) == set(selection.names)


def test_ratios_of_a_dropped_stage_are_those_of_the_two_models(oscillator, data, four_coordinates):
    selection = StageSelection(context(data, four_coordinates, FEATURES, min_gain=0.99))
    before = first_model(oscillator, data, 1e-2)
    selection.add_stages(before)
    ((name, ratios),) = selection.dropped_ratios.items()
    ((same_name, error),) = selection.dropped.items()
    assert name == same_name
    assert ratios[1] == pytest.approx(error / selection.context.loo_error(before))
    assert 0 < ratios[0] < 1  # the stage does lower the training error


def test_kriging_is_kept_unless_it_raises_the_error(data, four_coordinates):
    selection = StageSelection(context(data, four_coordinates, KRIGING, min_gain=0.1))
    for score, is_kept in ((0.5, True), (1.0, True), (1.09, True), (1.11, False)):
        assert selection._is_kept(KrigingSettings(), score, 1.0) == is_kept
    for score, is_kept in ((0.5, True), (0.89, True), (0.91, False), (1.0, False)):
        assert selection._is_kept(SineFeaturesSettings(), score, 1.0) == is_kept


def test_with_few_points_kriging_alone_is_added(oscillator, four_coordinates):
    """Four points: one less than leave-one-out errors need."""
    four = oscillator.training_set(np.linspace(0, 1, 4)[:, None], np.array([[0.5]]))
    selection = StageSelection(context(four, four_coordinates, FEATURES, KRIGING))
    model = selection.add_stages(first_model(oscillator, four, 0.1))
    assert [stage.kind for stage in model.stages] == ["sine-features", "kriging"]
    assert isinstance(model.stages[1], KrigingStage)
    assert selection.names == ["kriging"]
    assert len(selection.dropped) == 1


def test_no_stage_is_fitted_to_noise(oscillator, points, four_coordinates):
    """With a noise level above the residual, all later stages are skipped, without an error."""
    data = oscillator.training_set(points, np.array([[0.15], [0.62]]))
    before = first_model(oscillator, data, 0.1)
    square = context(data, four_coordinates, FEATURES).mean_square_residual(before)
    noisy = TrainingSet(data.x, data.c, data.t, data.kernels, data.anchors, noise=square)
    selection = StageSelection(context(noisy, four_coordinates, FEATURES, KRIGING, noise_floor=2.0))
    assert selection.add_stages(before) is before
    assert selection.dropped == {"sine-features": None, "kriging": None}


def test_stages_of_one_name_are_numbered(data, four_coordinates):
    shared = context(data, four_coordinates, FEATURES)
    shared.names.append("kriging")
    assert shared.label("kriging") == "kriging #2"
    assert shared.label("decoder") == "decoder"
