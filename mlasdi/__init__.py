"""Multi-stage latent space dynamics models: fit, predict, save, load."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlasdi.results import Prediction
    from mlasdi.surrogate import Surrogate

__all__ = ["Prediction", "Surrogate"]


def __getattr__(name: str) -> Any:
    # Imported on first use: torch and GPyTorch take seconds, and settings and help pages need neither.
    if name == "Surrogate":
        from mlasdi.surrogate import Surrogate

        return Surrogate
    if name == "Prediction":
        from mlasdi.results import Prediction

        return Prediction
    raise AttributeError(f"module 'mlasdi' has no attribute '{name}'")
