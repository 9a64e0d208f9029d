"""The code of a registered model, which MLflow copies into every version and runs to load it.

It imports only `mlasdi`, which is installed or among the code saved with the version.
"""

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext

OUTPUTS = ("mean", "std", "quantiles", "samples")


class SurrogateModel(PythonModel):
    """A saved surrogate as an MLflow model."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the surrogate that was saved with this version."""
        from mlasdi import Surrogate

        self.surrogate = Surrogate.load(context.artifacts["surrogate"])

    # The annotation is a plain array, because MLflow validates inputs against others.
    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Predict trajectories.

        Args:
            model_input: a table with a column for each parameter, by name; or, where the model is unwrapped from MLflow
                (`unwrap_python_model`), an array `[n_mu, n_params]` in the order of the model's metadata, `inputs`.
            params: `output`: `"mean"` (default), `"std"`, `"quantiles"` or `"samples"`; `quantiles`: levels between 0
                and 1, and `n_samples`, either of which implies its output; `seed` of the samples; `times` (default:
                those of training); `n_stages`: number of stages in the mean (default: all); `extrapolate`: whether
                points and times outside the trained ranges are allowed (default: no).

        Returns:
            `[param, time, state]`, float64, with an axis after the first for quantiles or samples.

        Raises:
            ValueError: the parameters contradict each other or cannot be used, or points or times lie outside the
                trained ranges without `extrapolate`.

        Warns:
            ExtrapolationWarning: outside the trained ranges, with `extrapolate`.
        """
        params = params or {}
        names = [parameter.name for parameter in self.surrogate.space.parameters]
        model_input = np.asarray(model_input[names] if hasattr(model_input, "columns") else model_input, np.float64)
        levels, n_samples = list(_given(params, "quantiles", ())), _given(params, "n_samples", 0)
        times = list(_given(params, "times", ())) or None
        output = _output(_given(params, "output", "mean"), bool(levels), bool(n_samples))
        # A server of MLflow returns no warnings: a client would take these values for as good as others.
        note = self.surrogate.outside(model_input, None if times is None else np.array(times))
        if note and not _given(params, "extrapolate", False):
            raise ValueError(f'{note}; give the parameter "extrapolate": true to predict there')
        if output == "samples":
            generator = np.random.default_rng(int(_given(params, "seed", 0)))
            return self.surrogate.sample(model_input, int(n_samples), generator, times)
        is_mean = output == "mean"
        prediction = self.surrogate.predict(model_input, times, n_stages=params.get("n_stages"), std=not is_mean)
        if output == "quantiles":
            return prediction.quantiles(levels)
        return np.asarray(getattr(prediction, output), dtype=np.float64)


def _given(params: dict[str, Any], name: str, otherwise: Any) -> Any:
    value = params.get(name)
    return otherwise if value is None else value


def _output(output: str, has_levels: bool, has_samples: bool) -> str:
    """The requested output, explicit or implied."""
    if output not in OUTPUTS:
        raise ValueError(f"output '{output}' is not known; give one of {', '.join(OUTPUTS)}")
    if has_levels and has_samples:
        raise ValueError("quantiles and n_samples are both given; give one of them")
    if output == "mean":
        return "quantiles" if has_levels else "samples" if has_samples else "mean"
    if (output == "quantiles") != has_levels or (output == "samples") != has_samples:
        needs = {"quantiles": "levels in `quantiles`", "samples": "a number `n_samples`"}
        raise ValueError(f"output '{output}' needs {needs.get(output, 'neither quantiles nor n_samples')}")
    return output


set_model(SurrogateModel())
