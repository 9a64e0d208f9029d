"""Every shape of data trains: few points, short axes, one value a time, rank 1, and solutions that do not change."""

from collections.abc import Callable

import numpy as np
import pytest

import mlasdi
from mlasdi.surrogate import Surrogate
from mlasdi.training import race
from mlasdi.training.context import TrainingContext

T = np.linspace(0, 1, 11)
TIME = T[:, None]
# Few steps: how good the networks are does not matter here.
PAPER = {"kind": "mlasdi-paper", "first_stage": {"steps": 10}, "stages": [{"kind": "decoder", "steps": 10}]}
MODELS = {"default": {}, "kriging": {"kind": "snapshot-gp"}, "published": PAPER}
EACH_MODEL = pytest.mark.parametrize("model", ["default", "kriging", pytest.param("published", marks=pytest.mark.slow)])

FIELDS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "wave": lambda a, x: a * np.exp(-(((x - 0.3 - 0.3 * a * TIME) / 0.2) ** 2)),
    "separable": lambda a, x: a * np.exp(-a * TIME) * np.cos(x),
    "steady": lambda a, x: a * np.cos(x) + 0 * TIME,
    "constant": lambda a, x: np.ones((len(a), len(T), len(x))),
    "constant but for rounding": lambda a, x: 3.0 + 2e-16 * np.round(a * TIME * x) + 0 * x,
    "zero": lambda a, x: np.zeros((len(a), len(T), len(x))),
}


def fitted(field: str, n_points: int, n_x: int, model: str) -> tuple[Surrogate, np.ndarray, np.ndarray]:
    a, x = np.linspace(1, 2, n_points), np.linspace(0.2, 1, n_x)
    u = FIELDS[field](a[:, None, None], x)
    surrogate = mlasdi.fit(a[:, None], T, u, parameters={"a": (1, 2)}, coordinates={"x": x}, **MODELS[model])
    return surrogate, a[:, None], u


@EACH_MODEL
@pytest.mark.parametrize("n_x", [9, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2))])
@pytest.mark.parametrize("n_points", [2, 4, *(pytest.param(n, marks=pytest.mark.slow) for n in (3, 5))])
@pytest.mark.parametrize("field", ["constant", "zero", "constant but for rounding"])
def test_solutions_that_do_not_change(field: str, n_points: int, n_x: int, model: str) -> None:
    surrogate, mu, u = fitted(field, n_points, n_x, model)
    prediction = surrogate.predict(mu)
    np.testing.assert_allclose(prediction.mean, u, atol=1e-12)
    assert np.isfinite(prediction.std).all()
    assert surrogate.error_estimate is None or surrogate.error_estimate < 1e-12
    if model != "kriging":
        assert "not-trained" in {finding["kind"] for finding in surrogate.record.findings}


@EACH_MODEL
@pytest.mark.parametrize(
    ("n_points", "n_x"),
    [(2, 1), *(pytest.param(*n, marks=pytest.mark.slow) for n in ((3, 1), (2, 2), (3, 2), (4, 1), (5, 9)))],
)
@pytest.mark.parametrize(
    "field", ["wave", *(pytest.param(name, marks=pytest.mark.slow) for name in ("separable", "steady"))]
)
def test_few_points_short_axes_and_low_ranks(field: str, n_points: int, n_x: int, model: str) -> None:
    surrogate, mu, u = fitted(field, n_points, n_x, model)
    prediction = surrogate.predict([[1.37]])
    assert np.isfinite(prediction.mean).all()
    assert np.isfinite(prediction.std).all()
    if model != "published":  # which has hardly been trained
        np.testing.assert_allclose(surrogate.predict(mu).mean, u, atol=5e-3 * np.abs(u).max())


@pytest.mark.parametrize(
    "model", ["kriging", *(pytest.param(name, marks=pytest.mark.slow) for name in ("default", "published"))]
)
@pytest.mark.parametrize(
    "shape", [(1, 5), *(pytest.param(one, marks=pytest.mark.slow) for one in ((1, 1), (2, 1), (5, 1), (2, 2)))]
)
def test_grids_with_axes_of_one_and_two_points(shape: tuple[int, int], model: str) -> None:
    a = np.linspace(1, 2, 4)
    coordinates = {"x": np.linspace(0, 1, shape[0]), "z": np.linspace(0, 1, shape[1])}
    profile = np.cos(coordinates["x"][:, None] + coordinates["z"])
    u = (a[:, None] * np.exp(-a[:, None] * T))[:, :, None, None] * profile
    surrogate = mlasdi.fit(a[:, None], T, {"u": u}, parameters={"a": (1, 2)}, coordinates=coordinates, **MODELS[model])
    assert surrogate.layout.shape == shape
    assert np.isfinite(surrogate.predict([[1.37]]).mean).all()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_not_finite_are_named(value: float) -> None:
    u = FIELDS["wave"](np.linspace(1, 2, 3)[:, None, None], np.linspace(0, 1, 4))
    u[1, 2, 3] = value
    with pytest.raises(ValueError, match=r"u is not finite at u\[1, 2, 3\]"):
        mlasdi.fit(np.linspace(1, 2, 3), T, u, parameters={"a": (1, 2)})


# Models that cannot be trained

ERRORS = [
    np.linalg.LinAlgError("Singular matrix"),
    FloatingPointError("overflow"),
    ZeroDivisionError("division by zero"),
    RuntimeError("torch.linalg.eig: input tensor should not contain infs or NaNs."),
    ValueError("array must not contain infs or NaNs"),
]


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception, but: str) -> None:
    """Every model but those whose name begins with `but` cannot be trained."""
    fit = race._fitted

    def fitted_or_not(name: str, context: TrainingContext) -> race.Contender:
        if not name.startswith(but):
            raise error
        return fit(name, context)

    monkeypatch.setattr(race, "_fitted", fitted_or_not)


@pytest.mark.parametrize("error", [ERRORS[0], *(pytest.param(one, marks=pytest.mark.slow) for one in ERRORS[1:])])
@pytest.mark.parametrize("model", ["default", pytest.param("published", marks=pytest.mark.slow)])
def test_a_model_that_cannot_be_trained_leaves_the_others(
    monkeypatch: pytest.MonkeyPatch, error: Exception, model: str
) -> None:
    failing(monkeypatch, error, but="kriging")
    surrogate, mu, u = fitted("wave", 5, 9, model)
    assert surrogate.record.chosen.startswith("kriging")
    np.testing.assert_allclose(surrogate.predict(mu).mean, u, atol=0.01)
    failures = {name: one["failure"] for name, one in surrogate.record.candidates.items() if "failure" in one}
    assert failures
    assert all(str(error) in reason for reason in failures.values())
    messages = [finding["message"] for finding in surrogate.record.findings if finding["kind"] == "not-trained"]
    assert [message.partition(" cannot")[0] for message in messages] == list(failures)
    assert surrogate.describe()["candidates"].keys() == surrogate.record.candidates.keys()


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, RuntimeError("shapes differ"), but="kriging")
    with pytest.raises(RuntimeError, match="shapes differ"):
        fitted("wave", 5, 9, "default")


def test_without_kriging_there_is_no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, np.linalg.LinAlgError("Singular matrix"), but="nothing")
    with pytest.raises(np.linalg.LinAlgError):
        fitted("wave", 5, 9, "default")
