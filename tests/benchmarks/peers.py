"""Further peers: interpolation at Chebyshev points, and a Gaussian process with time as an input."""

import numpy as np
from jaxtyping import Float
from methods import Fitted, quiet
from numpy.polynomial import chebyshev
from paper_problems import Problem

from mlasdi.solvers import ParameterSpace

N_MODES = 20  # POD coefficients that the Gaussian process predicts
MOST_INPUTS = 600  # points of parameters and time that it is trained on


def chebyshev_points(space: ParameterSpace, n: int) -> Float[np.ndarray, "param n_params"]:
    """The largest tensor grid of Chebyshev points (of the first kind) that has at most `n` points."""
    counts = [max(int(n ** (1 / space.n_params) + 1e-9), 1)] * space.n_params
    for axis in range(space.n_params):  # one more along the first axes, where there is room
        if np.prod(counts) // counts[axis] * (counts[axis] + 1) <= n:
            counts[axis] += 1
    axes = [0.5 * (1 + chebyshev.chebpts1(k)) for k in counts]
    return space.from_unit(np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, space.n_params))


def tensor_polynomial(problem: Problem, seed: int) -> Fitted:
    """Polynomial interpolation of the snapshots; the training points must be those of `chebyshev_points`."""
    data = problem.train
    x = data.space.to_unit(data.mu)
    counts = [len(np.unique(column.round(12))) for column in x.T]

    def features(mu: Float[np.ndarray, "param n_params"]) -> Float[np.ndarray, "param feature"]:
        unit = 2 * data.space.to_unit(mu) - 1
        found = np.ones((len(unit), 1))
        for k, count in enumerate(counts):
            along = chebyshev.chebvander(unit[:, k], count - 1)
            found = (found[:, :, None] * along[:, None]).reshape(len(unit), -1)
        return found

    weights = np.linalg.solve(features(data.mu), data.u.reshape(len(data.u), -1))
    return Fitted(lambda mu: (features(mu) @ weights).reshape(len(mu), *data.u.shape[1:]))


def gp_in_time(problem: Problem, seed: int) -> Fitted:
    """POD coefficients as functions of parameters and time: one scikit-learn Gaussian process for all of them."""
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    data = problem.train
    mean = data.u.mean(axis=(0, 1))
    flat = (data.u - mean).reshape(-1, data.u.shape[-1])
    modes = np.linalg.svd(flat, full_matrices=False)[2][:N_MODES]
    every = max(-(-len(flat) // MOST_INPUTS), 1)
    t = (data.t - data.t[0]) / (data.t[-1] - data.t[0])
    inputs = _with_time(data.space.to_unit(data.mu), t[::every])
    targets = (data.u[:, ::every] - mean).reshape(-1, data.u.shape[-1]) @ modes.T
    unit = np.sqrt(np.mean(targets[:, 0] ** 2))
    kernel = ConstantKernel(1.0, (1e-3, 1e4)) * RBF(np.ones(inputs.shape[1]), (0.01, 50.0)) + WhiteKernel(
        1e-6, (1e-10, 1e-1)
    )
    model = GaussianProcessRegressor(kernel, n_restarts_optimizer=1, random_state=seed)
    with quiet():
        model.fit(inputs, targets / unit)

    def predict(mu: Float[np.ndarray, "param n_params"]) -> Float[np.ndarray, "param time state"]:
        found = unit * model.predict(_with_time(data.space.to_unit(mu), t)).reshape(len(mu), len(t), -1)
        return mean + found @ modes

    return Fitted(predict)


def _with_time(x: Float[np.ndarray, "param d"], t: Float[np.ndarray, " time"]) -> Float[np.ndarray, "row d+1"]:
    return np.column_stack([np.repeat(x, len(t), axis=0), np.tile(t, len(x))])
