"""Modes of linear latent dynamics: growth rates, frequencies, and how much of the motion each carries."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float


@dataclass(frozen=True)
class Modes:
    """Eigenvalues of the linear part of latent dynamics, that with the largest share of the motion first.

    Attributes:
        rates: eigenvalues; of two conjugate ones, that with the positive imaginary part `[mode]`. The real part is the
            growth rate, the imaginary part the angular frequency.
        shares: of the motion along a trajectory, both of two conjugate modes together; their sum is one `[mode]`.
    """

    rates: Complex[np.ndarray, " mode"]
    shares: Float[np.ndarray, " mode"]

    @classmethod
    def along(
        cls,
        rates: Complex[np.ndarray, " size"],
        vectors: Complex[np.ndarray, "size size"],
        states: Float[np.ndarray, "time size"],
        t: Float[np.ndarray, " time"],
        n_observed: int,
    ) -> "Modes":
        """The modes of one trajectory.

        The velocity v = dz/dt obeys dv/dt = A v whatever the constant term of the dynamics is. With the eigenvectors
        w_i and v = sum_i a_i(t) w_i, the share of mode i is the mean square of `a_i w_i / lambda_i`, where slower
        rates count as one over the time interval.

        Args:
            rates: eigenvalues lambda_i.
            vectors: eigenvectors w_i, as columns.
            states: a trajectory of the dynamics.
            t: its times.
            n_observed: the leading entries of a state, which count.
        """
        velocity = np.gradient(states, t, axis=0)
        amplitudes = np.linalg.lstsq(vectors, velocity.T.astype(complex), rcond=None)[0]
        size = np.sum(np.abs(vectors[:n_observed]) ** 2, axis=0)
        slowest = 1 / (t[-1] - t[0])
        energy = size * np.mean(np.abs(amplitudes) ** 2, axis=1) / np.maximum(np.abs(rates), slowest) ** 2
        kept = rates.imag >= 0
        energy = np.where(rates.imag > 0, 2, 1)[kept] * energy[kept]
        order = np.argsort(-energy, kind="stable")
        total = energy.sum()
        return cls(rates[kept][order], energy[order] / total if total > 0 else energy[order])
