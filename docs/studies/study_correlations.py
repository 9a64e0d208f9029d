"""Correlation of latent states with what a first stage leaves, and what a second stage gains, over many cases."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from study_problems import FirstStage, Problem, burgers, heat, multiscale, vlasov, with_noise

from mlasdi.decoders import DecoderSettings, fit_decoder
from mlasdi.validation.stage_measures import correlation_ratio, distance_correlation

MEASURES = {
    "pearson": "Pearson",
    "linear": "multiple linear",
    "distance": "distance correlation",
    "ratio": "correlation ratio",
}


@dataclass(frozen=True)
class Size:
    """How large the study is.

    Attributes:
        latent_dims, steps, noise: of the first stages; all combinations. Noise is relative to the solutions.
        second_steps: of the second stage.
        n_x, n_t: of the Burgers problem.
        with_vlasov: one more problem.
    """

    latent_dims: tuple[int, ...] = (2, 5)
    steps: tuple[int, ...] = (200, 2000)
    noise: tuple[float, ...] = (0.0, 0.02, 0.2)
    second_steps: int = 1500
    n_x: int = 301
    n_t: int = 301
    with_vlasov: bool = False

    def problems(self) -> Iterator[Problem]:
        yield multiscale(2)
        yield burgers(self.n_x, self.n_t, max(self.n_t // 50, 1))
        yield heat()
        if self.with_vlasov:
            yield vlasov()


FULL = Size(
    latent_dims=(2, 4, 6, 10), steps=(200, 1000, 5000), noise=(0.0, 0.01, 0.05, 0.2), second_steps=5000, n_x=1001,
    n_t=1001, with_vlasov=True,
)  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """One first stage with the second stage on its residual.

    Attributes:
        correlations: measure -> value from 0 to 1.
        first: error of the first stage at the test points (mean over them of the largest over time), without noise.
        gain: share of it that the second stage takes away; negative where it adds.
        fit_gain: the same for the norm of the training residual, noise included.
    """

    problem: str
    latent_dim: int
    steps: int
    noise: float
    correlations: dict[str, float]
    first: float
    gain: float
    fit_gain: float


def cells(size: Size) -> Iterator[Cell]:
    for clean in size.problems():
        for noise in size.noise:
            problem = with_noise(clean, noise, seed=0) if noise else clean
            for latent_dim in size.latent_dims:
                for steps in size.steps:
                    yield _cell(clean.name, problem, latent_dim, steps, noise, size)


def _cell(name: str, problem: Problem, latent_dim: int, steps: int, noise: float, size: Size) -> Cell:
    first = FirstStage.trained(problem, latent_dim, {"steps": steps}, seed=0)
    decoder = fit_decoder(
        first.along, first.residual, DecoderSettings(steps=size.second_steps), torch.Generator().manual_seed(0),
        lambda step, loss: None,
    )  # fmt: skip
    before, after = (float(problem.errors(one).mean()) for one in (first.surrogate, first.followed_by(decoder)))
    left = first.residual - decoder.evaluate(first.along)
    z, residual = first.along.z.flatten(0, 1).numpy(), first.residual.flatten(0, 1).numpy()
    correlations = {
        "pearson": pearson(z, residual),
        "linear": multiple_linear(z, residual),
        "distance": distance_correlation(torch.from_numpy(z), torch.from_numpy(residual)) or 0.0,
        "ratio": correlation_ratio(torch.from_numpy(z), torch.from_numpy(residual)) or 0.0,
    }
    fit_gain = 1 - float(left.norm() / first.residual.norm())
    return Cell(name, latent_dim, steps, noise, correlations, before, 1 - after / before, fit_gain)


# Correlations


def pearson(z: Float[np.ndarray, "sample latent"], residual: Float[np.ndarray, "sample rank"]) -> float:
    """Largest Pearson correlation of each residual coordinate with a latent one; root mean square over the coordinates.

    Coordinates count by their variance.
    """
    centred_z, centred = z - z.mean(axis=0), residual - residual.mean(axis=0)
    covariance = centred_z.T @ centred / len(z)
    spread = np.maximum(centred_z.std(axis=0), np.finfo(float).tiny)
    explained = ((covariance / spread[:, None]) ** 2).max(axis=0)  # variance of each coordinate that one state explains
    return float(np.sqrt(explained.sum() / centred.var(axis=0).sum()))


def multiple_linear(z: Float[np.ndarray, "sample latent"], residual: Float[np.ndarray, "sample rank"]) -> float:
    """Root of the share of the residual's variance that a linear function of z explains."""
    centred_z, centred = z - z.mean(axis=0), residual - residual.mean(axis=0)
    fitted = centred_z @ np.linalg.lstsq(centred_z, centred, rcond=None)[0]
    return float(np.linalg.norm(fitted) / np.linalg.norm(centred))


# Lines


@dataclass(frozen=True)
class Line:
    """How well a line on a measure tells second stages that pay from those that do not.

    Attributes:
        low, high: the lines in between are all as good, and the best.
        accuracy: mean of the shares told right among those that pay and among those that do not.
        at_published: the same for the line at 0.3.
        area: under the receiver operating characteristic: one for a perfect order, a half for none.
        area_range: its 5 and 95 % quantiles over resampled cases.
    """

    low: float
    high: float
    accuracy: float
    at_published: float
    area: float
    area_range: tuple[float, float]


def best_line(values: Sequence[float], pays: Sequence[bool], published: float = 0.3) -> Line | None:
    """None where all pay, or none does."""
    v, p = np.array(values), np.array(pays)
    if p.all() or not p.any():
        return None

    def accuracy(line: float) -> float:
        return 0.5 * float((v[p] >= line).mean() + (v[~p] < line).mean())

    edges = np.concatenate([[0.0], np.unique(v), [max(1.0, v.max()) + 1e-9]])
    middles = 0.5 * (edges[1:] + edges[:-1])
    scores = np.array([accuracy(line) for line in middles])
    best = int(scores.argmax())
    rng = np.random.default_rng(0)
    again = (rng.integers(len(v), size=len(v)) for _ in range(500))
    areas = [_area(v[one], p[one]) for one in again if 0 < p[one].sum() < len(p)]
    low, high = np.quantile(areas, [0.05, 0.95]).tolist()
    ends = float(edges[best]), float(min(edges[best + 1], 1.0))
    return Line(*ends, float(scores[best]), accuracy(published), _area(v, p), (low, high))


def _area(values: Float[np.ndarray, " case"], pays: Bool[np.ndarray, " case"]) -> float:
    order = values[pays][:, None] - values[~pays][None]
    return float((order > 0).mean() + 0.5 * (order == 0).mean())
