"""Networks that are trained on a GPU predict as those trained on the CPU, up to rounding that training amplifies."""

import numpy as np
import pytest
import torch

from mlasdi.preprocessing import TrainingData
from mlasdi.training import ModelSettings, fit

SETTINGS = {
    "kind": "mlasdi-paper",
    "latent_dim": 3,
    "n_time": 26,
    "first_stage": {"steps": 200, "propagation_weight": 0.1},
    "stages": [{"kind": "decoder", "steps": 200, "kappa": [0.3, 1.0]}],
}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("calibration", ["joint", "least-squares", "weak"])
def test_networks_trained_on_a_gpu_predict_the_same(burgers_data: TrainingData, calibration):
    first = {**SETTINGS["first_stage"], "calibration": calibration}
    settings = ModelSettings.model_validate({**SETTINGS, "first_stage": first})
    mu = burgers_data.mu.mean(axis=0, keepdims=True)
    on_gpu, on_cpu = (fit(burgers_data, settings, seed=0, device=device).predict(mu).mean for device in ("cuda", "cpu"))
    size = np.abs(on_cpu).max()
    np.testing.assert_allclose(on_gpu, on_cpu, atol=1e-2 * size)


def test_a_missing_device_gives_the_error_of_torch(burgers_data: TrainingData):
    with pytest.raises((RuntimeError, AssertionError), match=r"(?i)device|cuda"):
        fit(burgers_data, ModelSettings.model_validate(SETTINGS), seed=0, device="cuda:99")
