"""Elastic registration of curves: the part of one curve that corresponds to each part of another.

In the square-root velocity representation q = c' / |c'|^(1/2), changes of the parameter are isometries, and the best
one, at which |q1 - (q2 o gamma) gamma'^(1/2)| is smallest, is found by dynamic programming. On polygons the scalar
product over a step is that of the chords, over the square root of the product of the steps in the two parameters.
Reference: A. Srivastava, E. Klassen, S. H. Joshi and I. H. Jermyn, Shape analysis of elastic curves in Euclidean
spaces, IEEE Transactions on Pattern Analysis and Machine Intelligence 33, 2011.
"""

from typing import no_type_check

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from mlasdi.curves.curves import linear_in_index
from mlasdi.solvers.compilation import compiled

N_NODES = 257  # of the curves that are matched
# Times between those that are matched, and the standard deviation, in times, of the filter that smooths matches over
# time. Chosen on sod, traffic (the Riemann problem of the LWR model) and fisher.
STRIDE, SMOOTHING = 4, 2.0
BAND = 0.25  # largest difference of matched parameters, safety bound
# Steps of the two parameters, without common factors: slopes of the match from 1/4 to 4.
STEPS = np.array([(a, b) for a in range(1, 5) for b in range(1, 5) if np.gcd(a, b) == 1])


def registered(
    reference: Float[np.ndarray, "time component node"],
    curves: Float[np.ndarray, "time component node"],
    value_weight: float,
    *,
    is_signed: bool,
) -> Float[np.ndarray, "time component node"]:
    """The curves of a run in the parameters of those of another run, in common units.

    Args:
        value_weight: of the distance in values of the points that are matched, against that of the directions.
        is_signed: whether a jump up never corresponds to a jump down.
    """
    n_times, _, n_nodes = curves.shape
    times = np.unique(np.append(np.arange(0, n_times, STRIDE), n_times - 1))
    nodes = np.linspace(0.0, n_nodes - 1.0, N_NODES)
    of_reference, of_run = (_of_unit_length(one[times], nodes) for one in (reference, curves))
    matches = _matches(of_reference, of_run, value_weight, is_signed, STEPS, int(BAND * N_NODES)) / (N_NODES - 1)
    between = linear_in_index(matches, np.interp(np.arange(n_times), times, np.arange(len(times))))
    smooth = gaussian_filter1d(between, SMOOTHING, axis=0, mode="nearest")
    at = linear_in_index(smooth.T, np.linspace(0.0, N_NODES - 1.0, n_nodes)).T * (n_nodes - 1)
    left = np.minimum(at.astype(int), n_nodes - 2)[:, None]
    part = at[:, None] - left
    return np.take_along_axis(curves, left, 2) * (1 - part) + np.take_along_axis(curves, left + 1, 2) * part


def _of_unit_length(
    curves: Float[np.ndarray, "time component node"], nodes: Float[np.ndarray, " matched"]
) -> Float[np.ndarray, "time component matched"]:
    """Curves at fractional node numbers, scaled to length 1."""
    matched = np.ascontiguousarray(np.moveaxis(linear_in_index(np.moveaxis(curves, 2, 0), nodes), 0, 2))
    length = np.linalg.norm(np.diff(matched, axis=2), axis=1).sum(axis=1)
    return matched / length[:, None, None]


# `no_type_check`: the shape checker that runs in tests must not wrap functions that numba compiles.
@compiled
@no_type_check
def _matches(reference, curves, value_weight, is_signed, steps, band):
    """For each time and node of the reference, the node of the curve that corresponds to it [time, node].

    Minimises the sum over the steps (a, b) of the match of half (a + b) (1 + value_weight |u1 - u2|^2) less the scalar
    product of the chords in units of the node spacing, over (a b)^(1/2). First and last nodes correspond.
    """
    n_times, n_components, n = curves.shape
    densities = (n - 1.0) ** 2 / np.sqrt(steps[:, 0] * steps[:, 1])
    found = np.empty((n_times, n))
    energy = np.empty((n, n))
    best_step = np.zeros((n, n), np.int8)
    misfits, products = np.empty(n), np.empty(n)
    for t in range(n_times):
        energy[:] = np.inf
        energy[0, 0] = 0.0
        for i in range(1, n):
            low, high = max(1, i - band), min(n, i + band + 1)
            misfits[low:high] = 1.0
            for d in range(1, n_components):
                for j in range(low, high):
                    misfits[j] += value_weight * (reference[t, d, i] - curves[t, d, j]) ** 2
            for k in range(len(steps)):  # inner loops over j alone, which the compiler turns into vector instructions
                a, b = steps[k]
                if a > i:
                    continue
                first = max(low, b)
                products[: high - first] = 0.0
                for d in range(n_components):
                    chord = reference[t, d, i] - reference[t, d, i - a]
                    ends, starts = curves[t, d, first:high], curves[t, d, first - b : high - b]
                    if is_signed or d == 0:
                        for j in range(len(ends)):
                            products[j] += chord * (ends[j] - starts[j])
                    else:
                        for j in range(len(ends)):
                            products[j] += abs(chord * (ends[j] - starts[j]))
                before, now, misfit = energy[i - a, first - b : high - b], energy[i, first:high], misfits[first:high]
                step = best_step[i, first:high]
                half, density = 0.5 * (a + b), densities[k]
                for j in range(len(now)):
                    candidate = before[j] + half * misfit[j] - products[j] * density
                    is_better = candidate < now[j]
                    now[j] = candidate if is_better else now[j]
                    step[j] = k if is_better else step[j]
        i = j = n - 1
        found[t, n - 1] = n - 1
        while i > 0:
            a, b = steps[best_step[i, j]]
            for k in range(1, a + 1):
                found[t, i - k] = j - b * k / a
            i -= a
            j -= b
    return found
