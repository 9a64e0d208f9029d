"""Forms of latent dynamics on three problems: how often they blow up between the training points, and their errors."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float
from scipy.integrate import solve_ivp
from study_problems import BETWEEN, Problem, burgers, vlasov
from torch import Tensor
from trajectory_fit import DynamicsOverBox, TrajectoryFitSettings, fit_trajectories

from mlasdi.interpolation import Kernel, Kriging, select_kernels
from mlasdi.latent import BoundedQuadratic, Trajectories
from mlasdi.latent.parametrisations import Affine, Form, FreeQuadratic, SecondOrder
from mlasdi.preprocessing import BasisSettings, PodBasis, TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.stages import FeatureMap, FeatureStage, TrainingSet
from mlasdi.surrogate.error_norms import max_relative_error

FORMS: Mapping[str, type[Form]] = {
    "affine": Affine,
    "quadratic, free": FreeQuadratic,
    "quadratic, bounded": BoundedQuadratic,
    "second order": SecondOrder,
}
COUNTS: Mapping[str, str] = {
    "mean": "posterior mean",
    "shared": "samples, shared kernel",
    "own": "samples, kernels by marginal likelihood",
    "longer": "the same samples, three times as long",
}
FREE, BOUNDED = "quadratic, free", "quadratic, bounded"
N_ANCHORS = 16
N_SHOWN = 150  # samples that are drawn
# Duffing: x'' + delta x' + x + x^3 = gamma cos(omega t), from x = 1 at rest.
OMEGA, DUFFING_END = 1.4, 12.0


class BoundedByRungeKutta(BoundedQuadratic):
    """The bounded form, integrated by a scheme that would show a blow-up."""

    energy_stable: ClassVar[bool] = False


@dataclass(frozen=True)
class Size:
    """How large the study is.

    Attributes:
        n_latent: POD coordinates that the dynamics are of; three for Duffing, which has no more.
        n_samples: random parameter points, each with one sample of the posterior.
        iterations: of the calibration.
        first_stage, steps, latent_dims: of the default model's first stage: iterations, steps of the integration, and
            latent dimensions, three for Duffing.
        roughness: penalties that are compared on the Vlasov problem.
        n_x, n_t: of the Burgers problem.
        vlasov: options of the Vlasov problem.
        n_duffing: times of the Duffing problem.
    """

    n_latent: int = 4
    n_samples: int = 10_000
    iterations: int = 30
    first_stage: int = 150
    steps: int = 100
    latent_dims: tuple[int, ...] = (2, 3, 4)
    roughness: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 1e-1)
    n_x: int = 1001
    n_t: int = 1001
    vlasov: Mapping[str, Any] = field(default_factory=dict)
    n_duffing: int = 61

    def problems(self) -> Iterator[Problem]:
        yield burgers(self.n_x, self.n_t, max(self.n_t // 50, 1))
        yield vlasov(**self.vlasov)
        yield duffing(self.n_duffing)


FULL = Size(n_samples=100_000, iterations=100)


def duffing(n_time: int = 61) -> Problem:
    """Forced Duffing oscillators, lifted to a quadratic system by w = x^2; 3 x 3 training points, six between them.

    The state is (x, x', w / sqrt 2): its square norm is twice the energy, x'^2 + x^2 + x^4 / 2, and the quadratic terms
    do no work on it.
    """
    space = ParameterSpace((Parameter("gamma", 0.8, 1.6), Parameter("delta", 0.1, 0.3)))
    t = np.linspace(0, DUFFING_END, n_time)

    def solved(mu: Float[np.ndarray, "param 2"]) -> TrainingData:
        u = np.empty((len(mu), n_time, 3))
        for i, (gamma, delta) in enumerate(mu):

            def rate(time: float, s: np.ndarray, g: float = gamma, d: float = delta) -> list[float]:
                return [s[1], g * np.cos(OMEGA * time) - d * s[1] - s[0] - s[0] ** 3]

            x, v = solve_ivp(rate, (0, DUFFING_END), [1.0, 0.0], t_eval=t, rtol=1e-10, atol=1e-10).y
            u[i] = np.stack([x, v, x**2 / np.sqrt(2)], axis=1)
        layout = StateLayout(fields=("u",), coordinates={"i": np.arange(3.0)})
        return TrainingData(space, layout, mu, t, u)

    return Problem("duffing", solved(space.grid(3)), solved(space.from_unit(BETWEEN)))


@dataclass(frozen=True)
class Result:
    """One form on one problem.

    Attributes:
        train: relative root mean square misfit of the integrated latent trajectories at the training points.
        latent: the same at the test points, with interpolated coefficients.
        field: largest relative error of the decoded field over times and test points.
        blown_up: what is counted -> random points whose dynamics blow up, of `n_samples`; see `COUNTS`.
        reach: largest |z| of each sample, in three training intervals, over the largest of the training trajectories;
            infinite where it blows up.
        shown: first latent coordinate of some samples, in these intervals `[sample, time]`; not a number from the
            blow-up on.
        fit_s: seconds of the calibration.
        n_coefficients: for each training point.
    """

    train: float
    latent: float
    field: float
    blown_up: Mapping[str, int]
    reach: Float[np.ndarray, " sample"]
    shown: Float[np.ndarray, "sample time"]
    fit_s: float
    n_coefficients: int


@dataclass(frozen=True)
class Case:
    """All forms on one problem.

    Attributes:
        kriging: error of plain kriging of the snapshots.
        by_runge_kutta: blow-ups of the bounded form by the Runge-Kutta scheme with four times as many steps.
        known: first latent coordinate of the training trajectories `[point, time]`.
    """

    problem: Problem
    results: Mapping[str, Result]
    kriging: float
    by_runge_kutta: int
    known: Float[np.ndarray, "point time"]


def case(problem: Problem, size: Size) -> Case:
    """Calibrates each form to the leading POD coordinates, and measures its errors."""
    basis = PodBasis.fit(problem.train.u, BasisSettings())
    n = min(size.n_latent, basis.rank)
    c, tau, x = torch.from_numpy(basis.project(problem.train.u)), problem.tau, problem.x
    kernels = select_kernels(x, c.flatten(1).numpy())
    data = TrainingSet(x, c, tau, kernels, problem.train.space.unit_sobol(N_ANCHORS, 0))
    x_test = problem.train.space.to_unit(problem.test.mu)
    frequencies = (OMEGA * DUFFING_END,) if problem.name == "duffing" else ()
    results, runge_kutta = {}, 0
    for name, form in FORMS.items():
        made = form(n, frequencies)
        start = time.perf_counter()
        settings = TrajectoryFitSettings(iterations=size.iterations)
        fitted = fit_trajectories(made, c[..., :n], tau, x, settings, kernels.mean)
        seconds = time.perf_counter() - start
        results[name] = _measured(fitted, problem, basis, data, x_test, kernels.uncertainty, size, seconds)
        if name == BOUNDED:
            form_shown = BoundedByRungeKutta(n, frequencies)
            shown = replace(fitted, form=form_shown, kernel=None, substeps=4 * fitted.substeps)
            runge_kutta = _sampled(shown, size, tau).blown_up
    kriged = np.tensordot(Kriging(x, kernels.mean).weights(x_test), problem.train.u, axes=1)
    plain = float(max_relative_error(problem.test.u, kriged).max())
    return Case(problem, results, plain, runge_kutta, c[..., 0].numpy())


@dataclass(frozen=True)
class Penalised:
    """A quadratic form with one penalty on coefficients that are not linear in the parameters.

    Attributes:
        train, latent: as of `Result`.
        blown_up: samples that blow up, kernels by marginal likelihood.
    """

    form: str
    roughness: float
    train: float
    latent: float
    blown_up: int


def penalised(size: Size) -> Iterator[Penalised]:
    """The free and the bounded form on the Vlasov problem, for each penalty."""
    problem = vlasov(**size.vlasov)
    basis = PodBasis.fit(problem.train.u, BasisSettings())
    n = min(size.n_latent, basis.rank)
    c, c_test = (torch.from_numpy(basis.project(data.u))[..., :n] for data in (problem.train, problem.test))
    kernel = select_kernels(problem.x, c.flatten(1).numpy()).mean
    x_test = problem.train.space.to_unit(problem.test.mu)
    for name in (FREE, BOUNDED):
        for roughness in size.roughness:
            settings = TrajectoryFitSettings(iterations=size.iterations, roughness=roughness)
            fitted = fit_trajectories(FORMS[name](n), c, problem.tau, problem.x, settings, kernel)
            train, latent = (
                _misfit(fitted.trajectories(x, problem.tau).z, truth) for x, truth in ((problem.x, c), (x_test, c_test))
            )
            blown_up = _sampled(replace(fitted, kernel=None), size, problem.tau).blown_up
            yield Penalised(name, roughness, train, latent, blown_up)


def _measured(
    fitted: DynamicsOverBox,
    problem: Problem,
    basis: PodBasis,
    data: TrainingSet,
    x_test: Float[np.ndarray, "param d"],
    uncertainty: Kernel,
    size: Size,
    fit_s: float,
) -> Result:
    n, tau = fitted.form.n_observed, data.t
    c_test = torch.from_numpy(basis.project(problem.test.u))
    solved = fitted.trajectories(x_test, tau).z[..., :n]
    # A decoder that is linear in fixed features, tied down at anchors between the points, as in the default model.
    features = FeatureMap.random(n, 100, 0.3, torch.Generator().manual_seed(0))
    along = fitted.trajectories(data.all_x, tau).z[..., :n]
    decoder = FeatureStage.unfitted(features, 1e-8).refit(
        Trajectories(torch.from_numpy(data.all_x), tau, along), data.targets
    )
    decoded = basis.lift(decoder.evaluate(Trajectories(torch.from_numpy(x_test), tau, solved)).numpy())
    widest, long = replace(fitted, kernel=None), torch.linspace(0, 3, 3 * len(tau) - 2, dtype=tau.dtype)
    longer = _sampled(widest, size, long)
    x_random = np.random.default_rng(0).uniform(size=(size.n_samples, fitted.x.shape[1]))
    parts = np.array_split(x_random, max(len(x_random) // 1000, 1))
    counts = {
        "mean": sum(int((~widest.trajectories(part, tau).finished).sum()) for part in parts),
        "shared": _sampled(replace(fitted, kernel=uncertainty), size, tau).blown_up,
        "own": int((longer.ended <= 1).sum()),
        "longer": longer.blown_up,
    }
    known = fitted.trajectories(fitted.x, tau).z[..., :n]
    return Result(
        _misfit(known, data.c[..., :n]),
        _misfit(solved, c_test[..., :n]),
        float(max_relative_error(problem.test.u, decoded).max()),
        counts,
        longer.reach / float(data.c[..., :n].norm(dim=-1).max()),
        longer.shown,
        fit_s,
        fitted.coefficients.shape[1],
    )


@dataclass(frozen=True)
class Samples:
    """When each sample blows up, if it does, how far it goes, and the first coordinate of some."""

    ended: Float[np.ndarray, " sample"]
    reach: Float[np.ndarray, " sample"]
    shown: Float[np.ndarray, "sample time"]

    @property
    def blown_up(self) -> int:
        return int(np.isfinite(self.ended).sum())


def _sampled(fitted: DynamicsOverBox, size: Size, tau: Float[Tensor, " time"]) -> Samples:
    """One posterior sample at each of the random points."""
    rng = np.random.default_rng(0)
    outcome = fitted.sampled(rng.uniform(size=(size.n_samples, fitted.x.shape[1])), tau, rng)
    z = outcome.z[..., : fitted.form.n_observed]
    reach = np.where(outcome.finished.numpy(), z.norm(dim=-1).amax(dim=-1).numpy(), np.inf)
    some = slice(N_SHOWN)
    gone = (tau >= outcome.blew_up_at[some, None]).numpy()
    return Samples(outcome.blew_up_at.numpy(), reach, np.where(gone, np.nan, z[some, :, 0].numpy()))


def _misfit(z: Float[Tensor, "param time latent"], truth: Float[Tensor, "param time latent"]) -> float:
    return float((z - truth).norm() / truth.norm())
