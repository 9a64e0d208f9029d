"""The hyperparameters of latent dynamics that are tried: forms, ranks, degrees, powers of the parameters, ridges."""

from collections.abc import Sequence
from math import comb

import numpy as np

from mlasdi.operator_inference import (
    DISCRETE,
    OF_SECOND_ORDER,
    Form,
    OperatorInferenceSettings,
    TrajectoryData,
    exponents,
)

RIDGES = tuple(10.0**power for power in range(-12, -2))
POWERS = (-1.0, 0.0, 1.0, 2.0)  # of a parameter: those that equations have most often; no others were tried
MAX_DEGREE = 3  # in the parameters
TERMS_A_POINT = 1.5  # of a polynomial in the parameters, at most
POINTS_A_TERM = 2.0  # of a polynomial of degree 2 or more in powers of the parameters; chosen on heat4
# Relative truncation errors of the ranks that are tried.
TRUNCATIONS = (3e-2, 1e-2, 1e-3, 1e-4)
MOST_MODES: dict[Form, int] = {
    "linear": 80,
    "two-delays": 120,
    "continuous-linear": 80,
    "second-order": 80,
    "quadratic": 20,
    "cubic": 8,
    "quintic": 3,
    "kernel-quadratic": 50,
    "kernel-cubic": 30,
}


def ranks(data: TrajectoryData, form: Form) -> list[int]:
    """Ranks at a few truncation errors of the trajectories, each relative to its own size."""
    energy = np.sum((data.c / data.state_norms.max(axis=1)[:, None, None]) ** 2, axis=(0, 1))
    left_out = np.sqrt(np.append(np.cumsum(energy[::-1])[::-1], 0.0) / max(energy.sum(), np.finfo(float).tiny))
    most = min(MOST_MODES[form], data.c.shape[2])
    return sorted({min(max(int(np.argmax(left_out <= tolerance)), 1), most) for tolerance in TRUNCATIONS})


def degrees(data: TrajectoryData) -> list[int]:
    """Total degrees in the parameters with not many more terms than there are points."""
    d = data.x.shape[1]
    return [degree for degree in range(MAX_DEGREE + 1) if degree == 0 or comb(d + degree, d) <= most_terms(data)]


def most_terms(data: TrajectoryData) -> float:
    """Products of the parameters, at most."""
    return TERMS_A_POINT * data.n_points


def allows_powers(data: TrajectoryData, settings: OperatorInferenceSettings) -> bool:
    """Whether the points can tell powers of the parameters apart.

    Higher degrees fit the operators of any power to few points: heat4 with 22 points and 15 terms chose a logarithm
    with an error of 19 %, where first degree has 1.5 %.
    """
    n_terms = len(exponents(data.x.shape[1], settings.degree, settings.parameter_degrees))
    return settings.degree < 2 or data.n_points >= POINTS_A_TERM * n_terms


def neighbours(
    settings: OperatorInferenceSettings, data: TrajectoryData, choices: Sequence[str]
) -> list[OperatorInferenceSettings]:
    """Candidates that differ in one hyperparameter by one step."""

    def steps(values: Sequence, value: float) -> list:
        place = list(values).index(value)
        return [values[k] for k in (place - 1, place + 1) if 0 <= k < len(values)]

    grid = RIDGES[::2] if settings.ridge in RIDGES[::2] else RIDGES
    changes: list[dict] = []
    for choice in choices:
        if choice == "ridge":
            changes += [{"ridge": value} for value in steps(grid, settings.ridge)]
        elif choice == "degree":
            for change in _other_degrees(settings, data):
                plain = {**change, "powers": (), "ratios": ()}
                changes += [change, plain] if settings.powers and change["degree"] else [plain]
        elif choice == "rank":
            changes += [{"rank": value} for value in steps(ranks(data, settings.form), settings.rank)]
        elif choice == "powers" and settings.degree:
            changes += _other_powers(settings, data)
        elif choice == "start" and settings.form in OF_SECOND_ORDER:
            changes.append({"start": "rest" if settings.start == "kriged" else "kriged"})
    return [settings.model_copy(update=change) for change in changes]


def _other_degrees(settings: OperatorInferenceSettings, data: TrajectoryData) -> list[dict]:
    """Changes by one of the total degree, which is then that of all parameters, or of the degree in one parameter.

    Few points determine few terms, and often one parameter needs a higher degree than the others. The wave speed of a
    bar enters its equation by its square, the damping linearly: with nine points on the diagonals of the box, where
    the square of one parameter cannot be told from that of the other, the error falls from 283 to .35 %.
    """
    d, allowed = data.x.shape[1], degrees(data)
    found = [(degree, ()) for degree in allowed if abs(degree - settings.degree) == 1]
    current = settings.parameter_degrees or (settings.degree,) * d
    for k in range(d if d > 1 else 0):
        for step in (-1, 1):
            other = (*current[:k], current[k] + step, *current[k + 1 :])
            degree = max(other)
            if min(other) >= 0 and 0 < degree <= MAX_DEGREE and len(exponents(d, degree, other)) <= most_terms(data):
                found.append((degree, () if len(set(other)) == 1 else other))
    return [{"degree": degree, "parameter_degrees": each} for degree, each in dict.fromkeys(found)]


def _other_powers(settings: OperatorInferenceSettings, data: TrajectoryData) -> list[dict]:
    """Changes of the power of one parameter, at the same degree and at the first."""
    powers = settings.powers or (1.0,) * len(data.ratios)
    changes: list[dict] = []
    for k, ratio in enumerate(data.ratios):
        for value in POWERS if ratio else ():
            if value != powers[k]:
                others = (*powers[:k], value, *powers[k + 1 :])
                has_any = set(others) != {1.0}
                found: dict = {"powers": others if has_any else (), "ratios": data.ratios if has_any else ()}
                changes.append(found)
                if settings.degree > 1:
                    changes.append(found | {"degree": 1, "parameter_degrees": ()})
    return changes


def forms_for(data: TrajectoryData) -> list[Form]:
    """All forms that the times admit, cheap ones first."""
    forms: list[Form] = ["continuous-linear", "linear", "two-delays", "second-order"]
    # Few coordinates, those of a pendulum for example, may have strong nonlinearities, and polynomials of any degree.
    forms += ["quintic"] if data.c.shape[2] <= MOST_MODES["quintic"] else []
    forms += ["cubic", "kernel-quadratic", "kernel-cubic"]
    return [form for form in forms if data.is_uniform or form not in DISCRETE]
