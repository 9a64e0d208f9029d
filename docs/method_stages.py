"""The published recipe on the multiscale problem, stage by stage: latent states, residuals, and where the error is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from method_cases import SEED, Numbers, Size, trajectories

from mlasdi.solvers import Parameter, ParameterSpace, Snapshots
from mlasdi.solvers.builtin.multiscale import Multiscale
from mlasdi.surrogate import relative_error
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import ErrorSplit, error_split

AMPLITUDE = ParameterSpace((Parameter("A", 1.0, 1.4),))


@dataclass(frozen=True)
class StageByStage:
    """The published recipe at a point between the training points.

    Attributes:
        t, x: times and grid.
        z: latent trajectories `[time, latent]`.
        truth: states `[time, x]`.
        residuals: truth minus the prediction with the first k stages `[stage, time, x]`.
        errors: relative L2 error over time `[stage, time]`.
        split: parts of the error by the number of stages.
        names: of the stages.
    """

    t: Float[np.ndarray, " time"]
    x: Float[np.ndarray, " x"]
    z: Float[np.ndarray, "time latent"]
    truth: Float[np.ndarray, "time x"]
    residuals: Float[np.ndarray, "stage time x"]
    errors: Float[np.ndarray, "stage time"]
    split: ErrorSplit
    names: Sequence[str]

    def numbers(self) -> Numbers:
        """Errors by the number of stages, for the page."""
        return {
            str(k): {
                "max": float(errors.max()),
                "projection": self.split.projection,
                "autoencoder": float(self.split.autoencoder[k - 1]),
                "latent dynamics": float(self.split.latent_dynamics[k - 1]),
                "interpolation": float(self.split.interpolation[k - 1]),
            }
            for k, errors in enumerate(self.errors, start=1)
        }


def stage_by_stage(size: Size) -> StageByStage:
    """Multiscale, amplitudes 1 and 1.4 for training, 1.2 for the test (arXiv 2506.09207, section 4.1)."""
    fom = Multiscale()
    data = trajectories(fom, AMPLITUDE, np.array([[1.0], [1.4]]), size.multiscale_every)
    test = trajectories(fom, AMPLITUDE, np.array([[1.2]]), size.multiscale_every)
    truth = Snapshots(test.t, test.u[0])
    network = {"kind": "autoencoder", "steps": size.steps}
    settings = ModelSettings.model_validate(
        {"kind": "mlasdi-paper", "latent_dim": 10, "n_time": len(data.t), "first_stage": network,
         "stages": [{"kind": "decoder", "steps": size.steps}]}
    )  # fmt: skip
    surrogate = fit(data, settings, seed=SEED)
    predicted = np.stack(
        [surrogate.predict({"A": 1.2}, n_stages=k + 1, std=False).mean[0] for k in range(surrogate.n_stages)]
    )
    errors = np.stack([relative_error(truth.u, one) for one in predicted])
    split = error_split(surrogate, {"A": 1.2}, truth.t, truth.u)
    z = surrogate.latent_trajectories({"A": 1.2}).mean[0]
    x = data.layout.coordinates["x"]
    return StageByStage(truth.t, x, z, truth.u, truth.u - predicted, errors, split, surrogate.record.stage_names)
