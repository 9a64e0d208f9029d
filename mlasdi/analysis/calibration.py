"""Bayesian calibration: the posterior of the parameters, given measurements.

Sampled by the ensemble sampler emcee (Foreman-Mackey et al., PASP 125, 2013) with differential evolution moves
(ter Braak and Vrugt, Stat. Comput. 18, 2008). The error of the surrogate is part of the likelihood.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import chdtri

from mlasdi.analysis.edges import at_edges, edge_warning
from mlasdi.analysis.inputs import Inputs
from mlasdi.analysis.measurements import Measurements
from mlasdi.analysis.quantities import Model
from mlasdi.prediction import html_table, short_number

if TYPE_CHECKING:
    import pandas as pd

N_SCREENED, N_STARTS = 256, 3  # points of the first screening, and those from which the largest density is searched
STEP = 1e-4  # of finite differences, in the unit cube
BLOCK = 50  # steps of the sampler between two looks at its convergence
# When a chain is long enough (Vehtari et al., Bayesian Anal. 16, 2021, who ask for 1.01 of chains that are longer).
MIN_EFFECTIVE, MAX_RHAT = 400, 1.05
MISFIT_LEVEL = 0.999  # a misfit that right noise and a right model have with this probability, or a smaller one


@dataclass(frozen=True, repr=False)
class Calibration:
    """The posterior of the parameters.

    Attributes:
        names: the parameters, in the order of the columns of `samples`.
        prior: parameter -> its distribution before the measurements.
        samples: points drawn from the posterior `[sample, n_params]`; `model.predict(samples)` gives its predictions.
        best: the point of the largest density.
        n_measurements: number of measured values.
        misfit: squared Mahalanobis distance of measurements and prediction at `best`, over the number of measurements;
            near 1 if noise and model are right.
        surrogate_share: share of the residuals' variance at `best` that is the error of the surrogate.
        rhat: parameter -> split R-hat of the walkers (Gelman et al., Bayesian Data Analysis, 2013); near 1.
        autocorrelation: parameter -> autocorrelation time, in steps.
        steps: steps of each walker that were kept.
        acceptance: share of accepted steps.
        edges: parameter -> edge of the trained box that cuts off its posterior: `low`, `high` or `both`.
        warnings: what limits the answer.
    """

    names: tuple[str, ...]
    prior: Mapping[str, str]
    samples: Float[np.ndarray, "sample n_params"]
    best: Mapping[str, float]
    n_measurements: int
    misfit: float
    surrogate_share: float
    rhat: Mapping[str, float]
    autocorrelation: Mapping[str, float]
    steps: int
    acceptance: float
    edges: Mapping[str, str]
    warnings: tuple[str, ...] = ()

    @property
    def mean(self) -> dict[str, float]:
        """Parameter -> mean of the posterior."""
        return dict(zip(self.names, self.samples.mean(axis=0).tolist(), strict=True))

    @property
    def std(self) -> dict[str, float]:
        """Parameter -> standard deviation of the posterior."""
        return dict(zip(self.names, self.samples.std(axis=0).tolist(), strict=True))

    def quantile(self, level: float) -> dict[str, float]:
        """Parameter -> quantile of the posterior.

        Raises:
            ValueError: the level is not between 0 and 1.
        """
        if not 0 <= level <= 1:
            raise ValueError(f"quantile {level}: give a level between 0 and 1")
        return dict(zip(self.names, np.quantile(self.samples, level, axis=0).tolist(), strict=True))

    def to_dataframe(self) -> "pd.DataFrame":
        """A row for each parameter: `best`, `mean`, `std`, `q5`, `q50`, `q95`, `rhat`, `autocorrelation`, `edge`."""
        import pandas as pd

        columns = {
            "best": self.best,
            "mean": self.mean,
            "std": self.std,
            **{f"q{100 * level:g}": self.quantile(level) for level in (0.05, 0.5, 0.95)},
            "rhat": self.rhat,
            "autocorrelation": self.autocorrelation,
            "edge": self.edges,
        }
        table = pd.DataFrame({name: pd.Series(values, index=self.names) for name, values in columns.items()})
        return table.rename_axis("parameter").reset_index()

    def _facts(self) -> dict[str, str]:
        low, high = self.quantile(0.05), self.quantile(0.95)
        facts = {
            name: f"{short_number(mean)} (90 %: {short_number(low[name])} to {short_number(high[name])})"
            for name, mean in self.mean.items()
        }
        facts["measurements"] = f"{self.n_measurements}, misfit {self.misfit:.2g}"
        facts["surrogate's share of the variance"] = f"{100 * self.surrogate_share:.2g} %"
        facts["R-hat"] = f"{max(self.rhat.values()):.3f}"
        return facts | ({"warnings": " ".join(self.warnings)} if self.warnings else {})

    def __repr__(self) -> str:
        return "Calibration(" + "; ".join(f"{name}: {fact}" for name, fact in self._facts().items()) + ")"

    def _repr_html_(self) -> str:
        return html_table("Calibration", self._facts())


@dataclass(frozen=True)
class _Posterior:
    """Log density over the unit cube, in which the prior is uniform."""

    model: Model
    inputs: Inputs
    measurements: Measurements

    def __call__(self, v: Float[np.ndarray, "n free"]) -> Float[np.ndarray, " n"]:
        found = np.full(len(v), -np.inf)
        inside = ((v >= 0) & (v <= 1)).all(axis=1)
        mu = self.inputs.at(v)
        for constraint in self.inputs.space.linear_constraints:
            inside &= constraint.holds(self.inputs.space.columns(mu))
        if inside.any():
            found[inside] = self.measurements.log_likelihood(self.model, mu[inside])
        return found

    def modes(self, generator: np.random.Generator) -> list[tuple[float, np.ndarray, np.ndarray]]:
        """Local maxima from the best of many points: log density, place, and a Gaussian's standard deviations there."""
        d = len(self.inputs.free)
        v = generator.random((N_SCREENED, d))
        density = self(v)
        if not np.isfinite(density).any():
            raise ValueError("no point of the prior meets the constraints of the trained region")
        starts = v[np.argsort(-density)[: min(N_STARTS, np.isfinite(density).sum())]]
        return [self._mode(start) for start in starts]

    def _mode(self, start: Float[np.ndarray, " free"]) -> tuple[float, np.ndarray, np.ndarray]:
        def negative(v: np.ndarray) -> tuple[float, np.ndarray]:
            steps = np.where(v + STEP > 1, -STEP, STEP)
            values = -self(np.concatenate([v[None], v + np.diag(steps)]))
            # A constraint may cut a step off; there is no way further in that direction.
            return float(values[0]), np.where(np.isfinite(values[1:]), (values[1:] - values[0]) / steps, 0.0)

        found = minimize(negative, start, jac=True, method="L-BFGS-B", bounds=[(0, 1)] * len(start))
        best = found.x
        steps = np.where(best + 2 * STEP > 1, -STEP, STEP)
        offsets = [k * np.diag(steps) for k in (0, 1, 2)]
        around = self(np.concatenate([best + offset for offset in offsets])).reshape(3, -1)
        curvature = -(around[2] - 2 * around[1] + around[0]) / STEP**2
        usable = np.isfinite(curvature) & (curvature > 1)
        return -float(found.fun), best, np.where(usable, 1 / np.sqrt(np.where(usable, curvature, 1)), 0.3)


def calibrated(
    model: Model, measurements: Measurements, inputs: Inputs, *, walkers: int | None, max_steps: int, seed: int
) -> Calibration:
    """See `Surrogate.calibrate`."""
    import emcee

    inputs.check_free("calibration")
    if any(one.parameter.is_discrete for one in inputs.free):
        raise ValueError("calibration needs continuous parameters; fix the discrete ones in prior")
    d = len(inputs.free)
    n_walkers = max(32, 4 * d) if walkers is None else walkers
    if n_walkers < 2 * d + 2 or max_steps < 2 * BLOCK:
        raise ValueError(
            f"walkers {n_walkers} and max_steps {max_steps}: give at least {2 * d + 2} walkers and {2 * BLOCK} steps"
        )
    generator, density = np.random.default_rng(seed), _Posterior(model, inputs, measurements)
    modes = density.modes(generator)
    moves = [(emcee.moves.DEMove(), 0.6), (emcee.moves.StretchMove(), 0.3), (emcee.moves.DESnookerMove(), 0.1)]
    sampler = emcee.EnsembleSampler(n_walkers, d, density, moves=moves, vectorize=True)
    state = emcee.State(_starts(modes, n_walkers, density, generator))
    state.random_state = np.random.RandomState(generator.integers(2**31)).get_state()
    while True:
        state = sampler.run_mcmc(state, BLOCK)
        chain = sampler.get_chain(discard=sampler.iteration // 3)
        times = np.broadcast_to(emcee.autocorr.integrated_time(chain, tol=0), (d,))
        rhat = split_rhat(chain)
        effective = chain[..., 0].size / times.max()
        is_converged = effective >= MIN_EFFECTIVE and rhat.max() <= MAX_RHAT
        if is_converged or sampler.iteration + BLOCK > max_steps:
            break
    best = max(modes, key=lambda mode: mode[0])[1]
    samples = inputs.at(chain.reshape(-1, d))
    at_best = inputs.at(best[None])
    misfit, share = measurements.misfit(model, at_best), measurements.surrogate_share(model, at_best)
    edges = at_edges(inputs.space, samples, inputs.names)
    warnings = [] if is_converged else [_unconverged(float(effective), float(rhat.max()), max_steps)]
    warnings += [edge_warning("the posterior", edges)] if edges else []
    warnings += _misfit_warnings(misfit, len(measurements), d)
    return Calibration(
        names=inputs.space.names, prior=inputs.texts, samples=samples,
        best=dict(zip(inputs.space.names, at_best[0].tolist(), strict=True)),
        n_measurements=len(measurements), misfit=misfit, surrogate_share=share,
        rhat=dict(zip(inputs.names, rhat.tolist(), strict=True)),
        autocorrelation=dict(zip(inputs.names, times.tolist(), strict=True)),
        steps=len(chain), acceptance=float(sampler.acceptance_fraction.mean()), edges=edges, warnings=tuple(warnings),
    )  # fmt: skip


def _starts(modes: Any, n_walkers: int, density: _Posterior, generator: np.random.Generator) -> np.ndarray:
    """Starts of the walkers, around modes in proportion to their mass in a Gaussian approximation."""
    mass = np.array([value + np.log(std).sum() for value, _, std in modes])
    weights = np.exp(mass - mass.max())
    chosen = generator.choice(len(modes), size=4 * n_walkers, p=weights / weights.sum())
    centres, stds = np.array([mode[1] for mode in modes])[chosen], np.array([mode[2] for mode in modes])[chosen]
    v = centres + stds * generator.standard_normal(centres.shape)
    v = np.clip(1 - np.abs(1 - np.abs(v)), 0, 1)  # reflected at the edges
    usable = v[np.isfinite(density(v))]
    if len(usable) < n_walkers:
        raise ValueError("the posterior lies where constraints of the trained region cut nearly all of it off")
    return usable[:n_walkers]


def split_rhat(chain: Float[np.ndarray, "step walker free"]) -> Float[np.ndarray, " free"]:
    """Split R-hat: between-chain and within-chain variance of the halves of all chains."""
    half = len(chain) // 2
    halves = np.concatenate([chain[:half], chain[half : 2 * half]], axis=1)
    within, between = halves.var(axis=0, ddof=1).mean(axis=0), half * halves.mean(axis=0).var(axis=0, ddof=1)
    return np.sqrt((half - 1) / half + between / half / np.maximum(within, np.finfo(float).tiny))


def _unconverged(effective: float, rhat: float, max_steps: int) -> str:
    return (
        f"the sampler has not converged after {max_steps} steps: {effective:.0f} independent samples (of "
        f"{MIN_EFFECTIVE}), R-hat {rhat:.3f} (at most {MAX_RHAT}); give more max_steps"
    )


def _misfit_warnings(misfit: float, n_measurements: int, d: int) -> list[str]:
    if misfit * n_measurements <= chdtri(max(n_measurements - d, 1), 1 - MISFIT_LEVEL):
        return []
    return [
        f"residuals are larger than noise and surrogate explain ({misfit:.2g} times in mean square): the noise is "
        "larger than given, or the solver does not describe the measurements"
    ]
