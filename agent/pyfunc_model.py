"""The code of a registered model. MLflow copies this file into every version and runs it to load one.

So it imports nothing of `agent`; `mlasdi` is found installed, or among the code saved with the version.
"""

from typing import Any

import numpy as np
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel, PythonModelContext


class SurrogateModel(PythonModel):
    """A saved surrogate as an MLflow model."""

    def load_context(self, context: PythonModelContext) -> None:
        """Load the surrogate that was saved with this version."""
        from mlasdi import Surrogate

        self.surrogate = Surrogate.load(context.artifacts["surrogate"])

    # A plain array as annotation: MLflow tries to validate others by itself, against this annotation.
    def predict(
        self, context: PythonModelContext, model_input: np.ndarray, params: dict[str, Any] | None = None
    ) -> np.ndarray:
        """Predict trajectories.

        Args:
            model_input: parameters `[n_mu, n_params]`, float64, columns as `inputs` in the model's metadata names them.
            params: `output`: `"mean"` (default) or `"std"`; `n_stages`: how many stages to sum (default: all).

        Returns:
            `[param, time, state]`, float64.

        Raises:
            ValueError: `output` is neither of the two.
        """
        params = params or {}
        output = params.get("output") or "mean"
        if output not in ("mean", "std"):
            raise ValueError(f"output '{output}' is not known; give 'mean' or 'std'")
        prediction = self.surrogate.predict(model_input, n_stages=params.get("n_stages"), std=output == "std")
        return np.asarray(getattr(prediction, output), dtype=np.float64)


set_model(SurrogateModel())
